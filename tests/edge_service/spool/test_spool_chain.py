"""P records in the spool: whatever goes, what stays can be decoded. With the real codec."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_service.camera.encoding import Codec, EncodingStage
from edge_service.camera.queue import FrameQueue
from edge_service.metrics import EdgeMetrics
from edge_service.sources import Frame
from edge_service.spool import camera_spool
from edge_service.spool.folder import FILE_NAME
from edge_service.spool.store import Spool
from icm.codec.bitstream.record import Kind, Record, StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.decoder import Decoder
from icm.codec.encoder import CodedFrame, Encoder, recode_intra
from icm.codec.latents.latents import Latents
from icm.errors import IcmError
from icm.service.clock import ManualClock
from tests.edge_service.parts import WatchedProblems, fixed_quality

WIDTH, HEIGHT = 64, 48
T0 = 1_700_000_000_000_000
FRAME_US = 100_000
CLOUD_HAS = 3
INTRA_COPY_RECORDS = 16


@pytest.fixture(scope="module")
def loaded(bundle: Path) -> Bundle:
    return Bundle.load(bundle, threads=1)


@pytest.fixture(autouse=True)
def intra_copies_are_near_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few frames show what many would."""
    monkeypatch.setattr(camera_spool, "INTRA_COPY_RECORDS", INTRA_COPY_RECORDS)


class Camera:
    """A camera that looks at a still scene through which a spot moves, its encoder, and the spool of its edge."""

    def __init__(self, folder: Path, bundle: Bundle, max_bytes: int, policy: str = "drop_oldest") -> None:
        self._folder, self._bundle, self._max_bytes, self._policy = folder, bundle, max_bytes, policy
        self._scene = np.random.default_rng(1).integers(60, 200, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        self.lost: Counter[str] = Counter()
        self.made = self.coded_twice = 0
        self.metrics = EdgeMetrics("test")
        self.open()

    def open(self) -> None:
        """Starts the edge, or starts it anew."""
        self.clock = ManualClock()
        self.spool = Spool(
            self._folder, self._max_bytes, 3600.0, self.clock, self._policy,  # type: ignore[arg-type]
            lambda camera, reason, count: self.lost.update({reason: count}),
        )  # fmt: skip
        self.gate = self.spool.camera("gate")
        self.encoder = Encoder(self._bundle)

    def film(self, frames: int) -> None:
        """Captures, codes and spools so many frames."""
        queue = FrameQueue(frames, False, lambda frame: None)
        for _ in range(frames):
            queue.put(Frame(self._picture(), T0 + self.made * FRAME_US))
            self.made += 1
        queue.close()
        codec = Codec(self.encoder, self._recode_alone, self._bundle.codec_id)
        EncodingStage(
            codec, fixed_quality(self.gate), queue, self.gate, self.metrics, WatchedProblems(), lambda: None,
            threading.Event(),
        ).run()  # fmt: skip

    def waiting(self) -> list[tuple[StreamHeader, Record]]:
        found: list[tuple[StreamHeader, Record]] = []
        while batch := self.gate.read(found[-1][1].sequence if found else 0, 1000, 1 << 24):
            header, _ = StreamHeader.parse(batch.header)
            found += [(header, Record.parse_whole(data, header)) for _, data in batch.records]
        return found

    def _recode_alone(self, latents: Latents) -> CodedFrame:
        self.coded_twice += 1
        return recode_intra(self._bundle, latents)

    def _picture(self) -> NDArray[np.uint8]:
        picture = self._scene.copy()
        picture[8:24, self.made % 40 : self.made % 40 + 12] = 255
        return picture


def decode_all(bundle: Bundle, records: list[tuple[StreamHeader, Record]]) -> None:
    """Decodes them one after the other; that each is the frame that was coded, its digest says."""
    decoder = Decoder(bundle)
    for header, record in records:
        decoder.latents(record, header.width, header.height)


@pytest.fixture
def camera(tmp_path: Path, loaded: Bundle) -> Iterator[Camera]:
    camera = Camera(tmp_path / "spool", loaded, 1 << 24)
    yield camera
    camera.spool.close()


def test_one_i_record_starts_a_stream_and_p_records_follow(camera: Camera) -> None:
    camera.film(20)
    assert [record.kind for _, record in camera.waiting()] == [Kind.I] + 19 * [Kind.P]


def test_when_the_oldest_go_the_next_stands_alone_under_its_own_name_and_time(tmp_path: Path, loaded: Bundle) -> None:
    camera = Camera(tmp_path / "spool", loaded, 4_000)
    camera.film(70)
    records = camera.waiting()
    sequences = [record.sequence for _, record in records]
    assert camera.lost["spool_full"] > 0
    assert sequences == list(range(camera.lost["spool_full"] + 1, 71))
    assert records[0][1].kind is Kind.I
    assert records[1][1].kind is Kind.P
    assert [record.capture_us for _, record in records] == [T0 + (n - 1) * FRAME_US for n in sequences]
    decode_all(loaded, records)
    assert camera.spool.bytes <= 4_000
    camera.spool.close()


def test_no_more_go_together_than_intra_copies_are_apart(tmp_path: Path, loaded: Bundle) -> None:
    camera = Camera(tmp_path / "spool", loaded, 1 << 24)
    camera.film(3 * INTRA_COPY_RECORDS)
    camera.clock.advance(3601)
    camera.film(1)
    # By their age all must go, and then nothing is left to lean on.
    (last,) = camera.waiting()
    assert last[1].kind is Kind.I
    assert camera.lost["spool_aged"] == 3 * INTRA_COPY_RECORDS
    camera.spool.close()


def test_frames_are_coded_alone_beside_only_while_many_wait(camera: Camera) -> None:
    for _ in range(5):
        camera.film(INTRA_COPY_RECORDS - 1)
        camera.gate.persisted(1, camera.gate.next_sequence - 1)
    assert camera.coded_twice == 0
    camera.film(3 * INTRA_COPY_RECORDS)
    assert camera.coded_twice == 2


def test_the_first_after_what_the_cloud_has_may_lean_on_it(camera: Camera) -> None:
    camera.film(10)
    camera.gate.persisted(1, 4)
    camera.film(1)
    assert [record.kind for _, record in camera.waiting()] == 7 * [Kind.P]


def test_records_that_lean_on_what_the_cloud_has_go_up_to_the_next_that_stands_alone(
    tmp_path: Path, loaded: Bundle
) -> None:
    camera = Camera(tmp_path / "spool", loaded, 4_000)
    camera.film(10)
    camera.gate.persisted(1, 9)
    camera.film(70)
    records = camera.waiting()
    assert camera.lost["spool_full"] > 0
    assert records[0][1].kind is Kind.I
    decode_all(loaded, records)
    camera.spool.close()


def test_after_a_rejection_the_next_record_stands_alone(camera: Camera, loaded: Bundle) -> None:
    camera.film(3)
    camera.gate.rejected(3, 3)
    camera.film(2)
    assert [(record.sequence, record.kind) for _, record in camera.waiting()][2:] == [(4, Kind.I), (5, Kind.P)]


def test_what_leans_on_a_record_that_the_cloud_lacks_goes_and_is_counted(camera: Camera, loaded: Bundle) -> None:
    camera.film(INTRA_COPY_RECORDS + 10)
    camera.gate.persisted(1, 2)
    camera.gate.rejected(3, 3)
    camera.gate.restart_at_intra(3)
    records = camera.waiting()
    assert records[0][1].kind is Kind.I
    assert camera.lost["rejected_reference_missing"] == records[0][1].sequence - 4
    decode_all(loaded, records)


def test_where_nothing_stands_alone_all_goes_and_the_camera_starts_over(camera: Camera) -> None:
    camera.film(10)
    camera.gate.rejected(1, 1)
    camera.gate.restart_at_intra(1)
    assert camera.waiting() == []
    assert camera.lost["rejected_reference_missing"] == 9
    camera.film(2)
    assert [(record.sequence, record.kind) for _, record in camera.waiting()] == [(11, Kind.I), (12, Kind.P)]


def test_a_restart_starts_over_with_an_i_record(camera: Camera, loaded: Bundle) -> None:
    camera.film(5)
    camera.spool.close()
    camera.open()
    camera.film(5)
    assert [record.kind for _, record in camera.waiting()] == [Kind.I, *4 * [Kind.P]] * 2
    decode_all(loaded, camera.waiting())


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_damaged_what_is_saved_can_be_decoded_and_the_rest_is_counted(
    tmp_path: Path, loaded: Bundle, seed: int
) -> None:
    camera = Camera(tmp_path / "spool", loaded, 1 << 24)
    camera.film(5)
    camera.gate.persisted(1, CLOUD_HAS)
    camera.film(2 * INTRA_COPY_RECORDS + 20)
    camera.spool.close()
    path = tmp_path / "spool" / FILE_NAME
    data, dice = bytearray(path.read_bytes()), random.Random(seed)
    start = dice.randrange(8192, len(data) - 4096) // 4096 * 4096
    data[start : start + 4096] = dice.randbytes(4096)
    path.write_bytes(data)
    camera.lost.clear()
    camera.open()
    records = camera.waiting()
    if records and camera.lost:
        assert len(records) + camera.lost["spool_damaged"] == 2 * INTRA_COPY_RECORDS + 22
    elif camera.lost:
        # Where the camera itself is forgotten, nobody knows how far the cloud had it.
        assert camera.lost["spool_damaged"] in (2 * INTRA_COPY_RECORDS + 22, 2 * INTRA_COPY_RECORDS + 22 + CLOUD_HAS)
    there = {record.sequence for _, record in records} | {CLOUD_HAS}
    assert all(record.kind is Kind.I or record.sequence - 1 in there for _, record in records)
    first = next((index for index, (_, record) in enumerate(records) if record.kind is Kind.I), len(records))
    decode_all(loaded, records[first:])
    camera.spool.close()


@pytest.mark.parametrize(
    ("seed", "policy"),
    [(0, "drop_oldest"), (1, "drop_oldest"), (2, "drop_oldest"), (0, "keep_detections"), (1, "keep_detections")],
)
def test_whatever_happens_to_a_camera_every_record_that_waits_can_be_decoded(
    tmp_path: Path, loaded: Bundle, seed: int, policy: str
) -> None:
    dice = random.Random(seed)
    camera = Camera(tmp_path / "spool", loaded, 3_000, policy)
    cloud, decoder = 0, Decoder(loaded)
    for _ in range(15):
        match dice.choice(("film", "film", "film", "deliver", "reject", "restart")):
            case "film":
                # Under keep_detections, what comes more than a minute after a detection goes before the rest.
                camera.clock.advance(dice.choice((0, 40)))
                camera.film(dice.randint(1, 12))
            case "deliver":
                for header, record in camera.waiting()[: dice.randint(1, 20)]:
                    # As a cloud would: in order, each after the one that it refers to.
                    decoder.latents(record, header.width, header.height)
                    cloud = record.sequence
                camera.gate.persisted(1, cloud)
                camera.gate.detected(cloud)
            case "reject" if waiting := camera.waiting():
                sequence = waiting[0][1].sequence
                camera.gate.rejected(sequence, sequence)
                camera.gate.restart_at_intra(sequence)
            case "restart":
                camera.spool.close()
                camera.open()
    rest = camera.waiting()
    try:
        for header, record in rest:
            decoder.latents(record, header.width, header.height)
    except IcmError as error:
        pytest.fail(f"{error}; waiting {[(r.sequence, r.kind.name) for _, r in rest]}, the cloud has up to {cloud}")
    camera.spool.close()
