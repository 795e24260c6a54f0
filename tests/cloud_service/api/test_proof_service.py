"""Chains over RPC: heads that clients get are checked, and only a reader may vouch for an edge's key."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from cloud_service.api import proof_service
from cloud_service.proof.chain_file import ChainFile
from icm.client.cloud import AsyncCloudClient, CloudClient
from icm.client.connection import Tls
from icm.client.proof import ChainHead
from icm.codec.bundle.loading import Bundle
from icm.errors import ConfigError, NotFoundError, PermissionDeniedError, ProofError
from icm.proof.keys import SigningKey
from icm.proof.statements import EdgeKey
from tests.cases import coded_stream, moving_square
from tests.certificates import Certificates
from tests.cloud_service.proof.kept import links
from tests.cloud_service.running import running_cloud

KEY = SigningKey.new().public.hex()


async def test_both_clients_get_the_heads_of_a_chain_in_pages_from_any_block_on(
    tmp_path: Path, loaded: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof_service, "MOST_BLOCKS", 2)
    for _ in range(5):
        async with running_cloud(tmp_path, loaded, None) as cloud:
            if not links(tmp_path):
                await cloud.deliver(*coded_stream(loaded, "gate", moving_square(12)))
            keeper = cloud.app._keeper
            await asyncio.to_thread(keeper.add_edge_key, EdgeKey("gate", bytes(32), 1, "Ann", "one more block"))
    expected = [link.head for link in links(tmp_path)]
    assert len(expected) > 4
    async with running_cloud(tmp_path, loaded, None) as cloud:
        address = f"127.0.0.1:{cloud.app.port}"

        def blocking() -> list[ChainHead]:
            with CloudClient(address) as client:
                assert [head.block for head in client.heads("gate", 3)] == list(range(3, len(expected) + 1))
                assert list(client.heads("yard")) == []
                with pytest.raises(ConfigError, match="numbered from 1 on"):
                    list(client.heads("gate", 0))
                with pytest.raises(ConfigError):
                    list(client.heads("no/camera"))
                return list(client.heads("gate"))

        found = await asyncio.to_thread(blocking)
        async with AsyncCloudClient(address) as client:
            assert [head async for head in client.heads("gate")] == found
    assert [head.line for head in found] == [head.line().decode() for head in expected]
    assert [(head.hash, head.key) for head in found] == [(head.hash.hex(), head.key.hex()) for head in expected]


async def test_heads_that_do_not_follow_each_other_are_refused(tmp_path: Path, loaded: Bundle) -> None:
    async with running_cloud(tmp_path, loaded, None) as cloud:
        await cloud.deliver(*coded_stream(loaded, "gate", moving_square(12)))
        for reason in ("first", "second", "third"):
            entry = EdgeKey("gate", bytes(32), 1, "Ann", reason)
            await asyncio.to_thread(cloud.app._keeper.add_edge_key, entry)
        found = [placed.link for placed in ChainFile(tmp_path / "proof", "gate").links()]
        forged = replace(found[1], block=replace(found[1].block, last_us=2))
        lines = b"".join(link.pack() for link in (found[0], forged, *found[2:]))
        (tmp_path / "proof/gate.chain").write_bytes(lines)
        async with AsyncCloudClient(f"127.0.0.1:{cloud.app.port}") as client:
            with pytest.raises(ProofError, match="block 2 of camera gate"):
                [head async for head in client.heads("gate")]


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
            with pytest.raises(PermissionDeniedError, match="may not read camera 'yard'"):
                [head async for head in client.heads("yard")]
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
