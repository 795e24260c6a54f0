"""Chains over RPC: only a reader may vouch for an edge's key."""

from __future__ import annotations

from pathlib import Path

import pytest

from icm.client.cloud import AsyncCloudClient
from icm.client.connection import Tls
from icm.codec.bundle.loading import Bundle
from icm.errors import ConfigError, NotFoundError, PermissionDeniedError
from icm.proof.keys import SigningKey
from icm.proof.statements import EdgeKey
from tests.cases import coded_stream, moving_square
from tests.certificates import Certificates
from tests.cloud_service.proof.kept import links
from tests.cloud_service.running import running_cloud

KEY = SigningKey.new().public.hex()


async def test_a_reader_may_vouch_for_an_edges_key_and_the_edge_itself_may_not(tmp_path: Path, loaded: Bundle) -> None:
    certificates = Certificates(tmp_path / "certs")
    edge, reader, server = certificates.edge("north", "gate"), certificates.reader(), certificates.server()
    flags = {f"ingest.tls.{name}": str(getattr(server, name)) for name in ("certificate", "key", "authority")}
    async with running_cloud(tmp_path / "cloud", loaded, None, edge, **flags) as cloud:
        await cloud.deliver(*coded_stream(loaded, "gate", moving_square(12)))
        address, mine = f"127.0.0.1:{cloud.app.port}", Tls(edge.authority, edge.certificate, edge.key)
        async with AsyncCloudClient(address, tls=mine) as client:
            with pytest.raises(PermissionDeniedError, match="may not read all cameras"):
                await client.accept_edge_key("gate", KEY, by="north", reason="it is mine")
        async with AsyncCloudClient(address, tls=Tls(reader.authority, reader.certificate, reader.key)) as client:
            with pytest.raises(ConfigError, match="'reason' is a text of 1 to 500 characters"):
                await client.accept_edge_key("gate", KEY, by="Ann", reason=" ")
            with pytest.raises(ConfigError, match="is no public key"):
                await client.accept_edge_key("gate", "77", by="Ann", reason="a new disk")
            with pytest.raises(NotFoundError, match="no camera 'yard'"):
                await client.accept_edge_key("yard", KEY, by="Ann", reason="a new disk")
            await client.accept_edge_key("gate", KEY, by="Ann", reason="a new disk")
    (accepted,) = [entry for link in links(tmp_path / "cloud") for entry in link.entries if isinstance(entry, EdgeKey)]
    assert accepted.key.hex() == KEY
    assert accepted.by.startswith("Ann (certificate of ")
