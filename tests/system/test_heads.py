"""Heads of chains ride in acknowledgements, edges keep them, and hold the cloud to them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest
import yaml

from cloud_service.api import proof_service
from cloud_service.cli import main as icm_cloud
from cloud_service.proof.chain_file import ChainFile
from edge_service.cli import main as icm_edge
from edge_service.proof.witness import Witness, read_heads
from icm.codec.bitstream.record import Record
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame
from icm.proof.chain import Head, Link
from icm.service.health import Problems
from icm.v1 import proof_pb2, proof_pb2_grpc
from tests.cloud_service.conftest import coded, loaded  # noqa: F401 - fixtures
from tests.cloud_service.parts import coded_header, coded_records
from tests.cloud_service.running import RunningCloud, running_cloud
from tests.cloud_service.uplink import Uplink


@pytest.fixture
def config(tmp_path: Path, bundle: Path) -> Path:
    """Settings of an edge whose spool lies in ``edge``."""
    path = tmp_path / "edge.yaml"
    cameras = [{"name": "gate", "source": {"kind": "submitted"}}]
    spool = {"folder": str(tmp_path / "edge")}
    path.write_text(yaml.safe_dump({"bundle": str(bundle), "cameras": cameras, "spool": spool}))
    (tmp_path / "edge").mkdir()
    return path


async def delivered(cloud: RunningCloud, bundle: Bundle, records: list[Record]) -> list[str]:
    """The heads that ride in acknowledgements of records."""
    of = coded_header(bundle)
    uplink = Uplink(cloud.channel)
    await uplink.hello(of)
    await uplink.send(of, records, of)
    await uplink.until(records[-1].sequence)
    await uplink.close()
    return [ack.chain_head for ack in uplink.acks if ack.chain_head]


async def checked(config: Path, cloud: RunningCloud) -> int:
    """Exit status of ``icm-edge heads --check``."""
    address = f"127.0.0.1:{cloud.app.port}"
    return await asyncio.to_thread(icm_edge, ["heads", "--check", "--config", str(config), "--cloud", address])


def links(folder: Path) -> list[Link]:
    return [placed.link for placed in ChainFile(folder / "proof", "gate").links()]


def rewrite(folder: Path, found: list[Link]) -> None:
    (folder / "proof/gate.chain").write_bytes(b"".join(link.pack() for link in found))


async def test_an_edge_keeps_the_heads_of_its_acknowledgements_and_holds_the_cloud_to_them(
    tmp_path: Path,
    config: Path,
    loaded: Bundle,  # noqa: F811
    coded: list[CodedFrame],  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proof_service, "MOST_BLOCKS", 2)
    records, problems = coded_records(coded, 60), Problems()
    witness = Witness(tmp_path / "edge", problems)
    for start in range(0, 60, 20):
        async with running_cloud(tmp_path / "cloud", loaded, None) as cloud:
            for head in await delivered(cloud, loaded, records[start : start + 20]):
                witness.take("gate", head)
    heads = [link.head for link in links(tmp_path / "cloud")]
    assert read_heads(tmp_path / "edge/heads.txt") == heads[:2]
    async with running_cloud(tmp_path / "cloud", loaded, None) as cloud:
        assert await checked(config, cloud) == 0
        assert "gate: the chain holds them all, and goes up to block 3" in capsys.readouterr().out
        # A living store is verified, too.
        place = ["--set", f"store.folder={tmp_path / 'cloud'}"]
        assert await asyncio.to_thread(icm_cloud, ["verify", "--deep", *place]) == 0
        assert "gate 1-6: ok" in capsys.readouterr().out
    rewrite(tmp_path / "cloud", links(tmp_path / "cloud")[:1])
    async with running_cloud(tmp_path / "cloud", loaded, None) as cloud:
        assert await checked(config, cloud) == 1
        assert "gate: CONTRADICTION: block 2 of camera gate, witnessed as signed" in capsys.readouterr().out
    assert problems.lines() == []


async def test_a_caller_is_told_of_a_cameras_blocks_by_pages(
    tmp_path: Path,
    loaded: Bundle,  # noqa: F811
    coded: list[CodedFrame],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proof_service, "MOST_BLOCKS", 2)
    records = coded_records(coded, 60)
    for start in range(0, 60, 20):
        async with running_cloud(tmp_path, loaded, None) as cloud:
            await delivered(cloud, loaded, records[start : start + 20])
    found = links(tmp_path)
    async with running_cloud(tmp_path, loaded, None) as cloud:
        stub = proof_pb2_grpc.ProofServiceStub(cloud.channel)

        async def numbers(camera: str, first: int) -> list[int]:
            answer = await stub.GetHeads(proof_pb2.GetHeadsRequest(camera=camera, first_block=first))
            assert all(found[Head.of(each.head.encode()).block - 1].head.line().decode() == each.head for each in
                       answer.blocks)  # fmt: skip
            return [Head.of(each.head.encode()).block for each in answer.blocks]

        assert await numbers("gate", 0) == [1, 2]
        assert await numbers("gate", 3) == [3]
        assert await numbers("gate", 4) == []
        assert await numbers("gate", 2**64 - 1) == []
        assert await numbers("yard", 1) == []
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await numbers("../gate", 1)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_edge_that_was_shown_no_head_says_so(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert icm_edge(["heads", "--config", str(config)]) == 2
    assert "the cloud shows one within an hour" in capsys.readouterr().err
