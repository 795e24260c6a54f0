"""An edge seals what it sends, the cloud keeps the seals, and not even the cloud's owner can forge a camera."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cloud_service.cli import main as icm_cloud
from cloud_service.proof.signing import signing_key
from cloud_service.seals.files import parts_in
from cloud_service.seals.keeper import SealKeeper
from edge_service.metrics import EdgeMetrics
from edge_service.proof import sealing
from edge_service.spool.store import Spool
from edge_service.uplink.uplink import Uplink
from icm.codec.bitstream.record import StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame
from icm.proof.keys import SigningKey
from icm.rpc.channels import open_channel
from icm.service.clock import SystemClock
from icm.service.health import Problems
from icm.v1.ingest_pb2 import RecordBatch, Seal, StreamRecordsRequest
from tests.cloud_service.conftest import coded, loaded  # noqa: F401 - fixtures
from tests.cloud_service.parts import coded_header, coded_records
from tests.cloud_service.running import running_cloud
from tests.cloud_service.uplink import Uplink as PlainUplink


class Arrivals:
    """Counts the records over which seals have come to a cloud of this process."""

    def __init__(self) -> None:
        self._count, self._changed = 0, asyncio.Condition()

    async def note(self, seal: Seal) -> None:
        async with self._changed:
            self._count += sum(seal.lengths[::2])
            self._changed.notify_all()

    async def until(self, count: int) -> None:
        """Waits until so many are sealed."""
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: self._count >= count)


@pytest.fixture
def arrivals(monkeypatch: pytest.MonkeyPatch) -> Arrivals:
    """Seals are due as soon as there is something to seal, and those that come are counted."""
    monkeypatch.setattr(sealing, "SEAL_SECONDS", 0.0)
    arrivals, take, notes = Arrivals(), SealKeeper.take, set[asyncio.Task[None]]()

    def counted(keeper: SealKeeper, camera: str, epoch: int, key: bytes, seal: Seal) -> None:
        take(keeper, camera, epoch, key, seal)
        notes.add(asyncio.get_running_loop().create_task(arrivals.note(seal)))

    monkeypatch.setattr(SealKeeper, "take", counted)
    return arrivals


class Edge:
    """The sending half of an edge, for the camera gate."""

    def __init__(self, spool: Spool, uplink: Uplink) -> None:
        self._spool, self._uplink = spool, uplink

    async def deliver(self, bundle: Bundle, frames: list[CodedFrame], first: int, count: int) -> StreamHeader:
        """Spools records, and returns when the cloud has them."""
        camera = self._spool.camera("gate")
        of = coded_header(bundle, epoch=camera.epoch)
        for record in coded_records(frames, count, first):
            camera.append(record.sequence, of.pack() if record.sequence == first else None, record.pack(of))
        self._uplink.announce()
        async with asyncio.timeout(60):
            await self._uplink.drained()
        return of


@asynccontextmanager
async def edge(folder: Path, port: int, bundle: Bundle, key: SigningKey | None) -> AsyncIterator[Edge]:
    spool = Spool(folder, 1 << 30, 1e9, SystemClock())
    channel = open_channel(f"127.0.0.1:{port}", allow_plaintext=False)
    uplink = Uplink(spool.camera("gate"), bundle.codec_id, channel, EdgeMetrics("test"), Problems(), key=key)
    running = asyncio.create_task(uplink.run())
    try:
        yield Edge(spool, uplink)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await channel.close()
        spool.close()


def sealed(folder: Path) -> set[int]:
    """Sequences over which the cloud keeps seals."""
    return {
        sequence
        for path in (folder / "proof/seals").rglob("*.seals")
        for parts in parts_in(path).values()
        for part in parts
        for sequence in part.sequences
    }


def verify(capsys: pytest.CaptureFixture[str], folder: Path, *options: str) -> tuple[int, str]:
    status = icm_cloud(["verify", "--deep", "--store", str(folder), *options])
    return status, capsys.readouterr().out


async def test_all_that_an_edge_sends_is_sealed_over_streams_and_restarts(
    tmp_path: Path,
    loaded: Bundle,  # noqa: F811
    coded: list[CodedFrame],  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    arrivals: Arrivals,
) -> None:
    key, folder = SigningKey.new(), tmp_path / "cloud"
    for start in (1, 36):
        async with (
            running_cloud(folder, loaded, None) as cloud,
            edge(tmp_path / "edge", cloud.app.port, loaded, key) as sender,
        ):
            of = await sender.deliver(loaded, coded, start, 35)
            await arrivals.until(start + 34)
    status, said = verify(capsys, folder, "--edge-key", f"gate={key.public.hex()}")
    assert status == 0, said
    assert f"gate: 70 of 70 records sealed by the edge's key {key.public.hex()}" in said

    # By another key than the edge's, nothing counts.
    other = SigningKey.new().public.hex()
    status, said = verify(capsys, folder, "--edge-key", f"gate={other}")
    assert (status, "it is sealed by another key" in said) == (1, True)

    # Segments around it that are gone make no difference to one that stays.
    files = sorted((folder / "records").rglob("*.icm"))
    files[1].unlink()
    status, said = verify(capsys, folder)
    assert (status, "2: MISSING" in said, "records sealed" in said, "ALTERED" in said) == (1, True, True, False)

    # The cloud's owner has the key of its chains and can make them anew, but not a record of the camera.
    data = files[0].read_bytes()
    last = coded_records(coded, 1, 10)[0]
    forged = type(last)(**{**vars(last), "quality": last.quality - 16})
    files[0].write_bytes(data[: -len(last.pack(of))] + forged.pack(of))
    for path in ((folder / "proof").glob("*.chain"), folder.glob("cloud.db*")):
        for each in path:
            each.unlink()
    public = signing_key(folder).public
    async with running_cloud(folder, loaded, None):
        pass
    assert signing_key(folder).public == public
    status, said = verify(capsys, folder)
    assert status == 1
    assert "gate 1: ALTERED: the seal over records" in said
    assert "over other bytes than segment 1 holds" in said


async def test_a_key_that_was_swapped_is_found_until_an_operator_accepts_it(
    tmp_path: Path,
    loaded: Bundle,  # noqa: F811
    coded: list[CodedFrame],  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    arrivals: Arrivals,
) -> None:
    folder, keys = tmp_path / "cloud", [SigningKey.new(), SigningKey.new()]
    async with running_cloud(folder, loaded, None) as cloud:
        for number, key in enumerate(keys):
            async with edge(tmp_path / f"edge {number}", cloud.app.port, loaded, key) as sender:
                await sender.deliver(loaded, coded, 1, 15)
                await arrivals.until(15 * (number + 1))
    assert f"camera gate: records are sealed by {keys[1].public.hex()}" in caplog.text
    status, said = verify(capsys, folder)
    assert status == 1
    first, second = (key.public.hex() for key in keys)
    assert f"ALTERED: it is sealed by another key, {second}: the chain names {first}" in said

    async with running_cloud(folder, loaded, None) as cloud:
        told = ["edge-key", "--address", f"127.0.0.1:{cloud.app.port}", "--camera", "gate"]
        told += ["--edge-key", keys[1].public.hex(), "--by", "Ann", "--reason", "the edge was set up anew"]
        assert await asyncio.to_thread(icm_cloud, told) == 0
        assert await asyncio.to_thread(icm_cloud, told) == 2
    status, said = verify(capsys, folder)
    assert status == 0, said
    assert "as Ann accepted it: the edge was set up anew" in said


async def test_records_without_seals_are_counted_and_refused_where_a_key_is_demanded(
    tmp_path: Path,
    loaded: Bundle,  # noqa: F811
    coded: list[CodedFrame],  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with (
        running_cloud(tmp_path / "cloud", loaded, None) as cloud,
        edge(tmp_path / "edge", cloud.app.port, loaded, None) as sender,
    ):
        await sender.deliver(loaded, coded, 1, 15)
    status, said = verify(capsys, tmp_path / "cloud")
    assert (status, "sealed" in said) == (0, False)
    status, said = verify(capsys, tmp_path / "cloud", "--edge-key", f"gate={SigningKey.new().public.hex()}")
    assert status == 1
    assert "gate: BROKEN: 10 of 10 records of segment 1 are not sealed" in said


@pytest.mark.parametrize(
    "seal",
    [
        {},
        {"first_sequence": 1, "lengths": [5], "signature": bytes(64)},
        {"first_sequence": 1, "lengths": [4_000_000_000], "signature": bytes(64)},
        {"first_sequence": 2**64 - 1, "lengths": [5], "sealed_us": 2**64 - 1, "signature": bytes(64)},
        {"first_sequence": 900, "lengths": [1], "signature": bytes(64)},
        {"first_sequence": 1, "lengths": [1, 0, 1], "signature": b"short"},
    ],
)
async def test_a_seal_that_is_none_costs_no_record(
    tmp_path: Path,
    loaded: Bundle,  # noqa: F811
    coded: list[CodedFrame],  # noqa: F811
    seal: dict[str, object],
) -> None:
    records, of = coded_records(coded, 12), coded_header(loaded)
    async with running_cloud(tmp_path, loaded, None) as cloud:
        uplink = PlainUplink(cloud.channel)
        assert (await uplink.hello(of)).keeps_seals
        await uplink.send(of, records[:6], of)
        await uplink.until(6)
        batch = RecordBatch(seal=Seal(**seal))  # type: ignore[arg-type]
        await uplink.call.write(StreamRecordsRequest(batch=batch))
        await uplink.send(None, records[6:], of)
        await uplink.until(12)
        await uplink.close()
    assert sealed(tmp_path) == set()
