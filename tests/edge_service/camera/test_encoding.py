from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from edge_service.camera import encoding
from edge_service.camera.encoding import EncodingStage
from edge_service.camera.queue import FrameQueue
from edge_service.rate.control import CodingParameters, RateControl, RateTarget
from edge_service.sources import Frame, Spooled
from edge_service.spool.camera_spool import CameraSpool
from edge_service.spool.store import Spool
from icm.codec.bitstream.record import RECORD_OVERHEAD, Record, StreamHeader
from icm.errors import ImageError, SpoolFullError
from icm.service.clock import ManualClock
from tests.edge_service.parts import CODEC_ID, fixed_quality, plain_codec

T0 = 1_700_000_000_000_000
Run = Callable[[Spool, list[Frame]], threading.Event]


def frame(capture_us: int = T0, width: int = 8, height: int = 6, result: Future[Spooled] | None = None) -> Frame:
    return Frame(np.full((height, width, 3), 7, np.uint8), capture_us, None, result)


@pytest.fixture
def start(metrics, problems) -> Callable[..., tuple[threading.Thread, threading.Event]]:
    def start(
        spool: Spool, frames: list[Frame], announce=lambda: None, rate: RateControl | None = None
    ) -> tuple[threading.Thread, threading.Event]:
        queue = FrameQueue(len(frames) + 1, False, lambda frame: None)
        for item in frames:
            queue.put(item)
        queue.close()
        stop, gate = threading.Event(), spool.camera("gate")
        rate = rate or fixed_quality(gate)
        stage = EncodingStage(plain_codec(), rate, queue, gate, metrics, problems, announce, stop)
        thread = threading.Thread(target=stage.run)
        thread.start()
        return thread, stop

    return start


def stored(camera: CameraSpool) -> list[tuple[StreamHeader, Record]]:
    found: list[tuple[StreamHeader, Record]] = []
    while batch := camera.read(found[-1][1].sequence if found else 0, 100, 1 << 20):
        header, _ = StreamHeader.parse(batch.header)
        found += [(header, Record.parse_whole(data, header)) for _, data in batch.records]
    return found


def test_stamps_sequence_capture_time_and_codec(spool: Spool, start, sample) -> None:
    announced: list[int] = []
    start(spool, [frame(T0), frame(T0 + 100_000)], lambda: announced.append(1))[0].join()
    (header, first), (_, second) = stored(spool.camera("gate"))
    assert (header.codec_id, header.camera, header.epoch) == (CODEC_ID, "gate", spool.camera("gate").epoch)
    assert (header.width, header.height) == (8, 6)
    assert [(r.sequence, r.capture_us, r.quality) for r in (first, second)] == [(1, T0, 48), (2, T0 + 100_000, 48)]
    assert len(announced) == 2
    assert sample("icm_edge_frames_total", camera="gate", outcome="spooled") == 2
    assert sample("icm_edge_encoded_bytes_total", camera="gate", kind="I") == 2 * (RECORD_OVERHEAD + 3)


def test_frames_that_the_target_does_not_pay_for_are_left_out_but_never_one_that_somebody_waits_for(
    spool: Spool, start, sample
) -> None:
    gate, clock = spool.camera("gate"), ManualClock()
    # A record of 26 bytes overdraws a budget of 8 bits a second for longer than this test's clock runs, which stands.
    rate = RateControl("gate", RateTarget(3.0, 8.0), 7.0, lambda: gate.waiting_bytes, 0.0, clock)
    result: Future[Spooled] = Future()
    start(spool, [frame(T0), frame(T0 + 1), frame(T0 + 2, result=result), frame(T0 + 3)], rate=rate)[0].join()
    assert [record.capture_us for _, record in stored(gate)] == [T0, T0 + 2]
    assert result.result().sequence == 2
    assert sample("icm_edge_frames_total", camera="gate", outcome="rate_controlled") == 2


def test_a_scaled_picture_is_coded_under_a_header_of_its_own_size(spool: Spool, start) -> None:
    class Halving(RateControl):
        def next(self, owed: bool) -> CodingParameters:
            return CodingParameters(1.5, 0.5)

    gate = spool.camera("gate")
    rate = Halving("gate", RateTarget(3.0), 7.0, lambda: gate.waiting_bytes, 0.0, ManualClock())
    start(spool, [frame(T0)], rate=rate)[0].join()
    ((header, record),) = stored(gate)
    assert (header.width, header.height) == (4, 3)
    assert record.quality == 24


def test_a_header_changes_only_when_it_does_not_hold(spool: Spool, start) -> None:
    frames = [frame(T0), frame(T0 - 30_000_000), frame(T0, width=9), frame(T0 - 3_600_000_000, width=9)]
    start(spool, frames)[0].join()
    headers = [header for header, _ in stored(spool.camera("gate"))]
    assert headers[0] == headers[1]
    assert len(set(headers)) == 3
    assert [record.capture_us for _, record in stored(spool.camera("gate"))] == [f.capture_us for f in frames]


def test_a_frame_that_cannot_be_coded_is_dropped_and_counted(spool: Spool, start, sample) -> None:
    start(spool, [frame(), frame(height=13), frame()])[0].join()
    assert [record.sequence for _, record in stored(spool.camera("gate"))] == [1, 2]
    assert sample("icm_edge_dropped_total", camera="gate", reason="image") == 1


def test_a_submitter_hears_what_became_of_its_frame(spool: Spool, start) -> None:
    good, bad = Future[Spooled](), Future[Spooled]()
    start(spool, [frame(result=good), frame(height=13, result=bad)])[0].join()
    assert good.result() == Spooled(spool.camera("gate").epoch, 1, RECORD_OVERHEAD + 3, 8, 6)
    with pytest.raises(ImageError, match="13 rows"):
        bad.result()


def test_a_frame_whose_submitter_went_away_is_not_coded(spool: Spool, start) -> None:
    gone = Future[Spooled]()
    gone.cancel()
    start(spool, [frame(result=gone)])[0].join()
    assert stored(spool.camera("gate")) == []


@pytest.fixture
def small(tmp_path: Path, clock: ManualClock) -> Spool:
    """Has room for one record."""
    return Spool(tmp_path / "small", RECORD_OVERHEAD + 3, 3600.0, clock)


async def test_a_full_spool_holds_a_cameras_frames_back_until_there_is_room(
    small: Spool, start, problems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "SPOOL_RETRY_SECONDS", 0.001)
    thread, _ = start(small, [frame(T0), frame(T0 + 1)])
    assert "is full" in await problems.first()
    small.camera("gate").persisted(1, 1)
    thread.join()
    assert [record.capture_us for _, record in stored(small.camera("gate"))] == [T0 + 1]
    assert problems.lines() == []
    small.close()


async def test_a_full_spool_does_not_hold_up_a_shutdown(small: Spool, start, problems, sample) -> None:
    thread, stop = start(small, [frame(), frame()])
    await problems.first()
    stop.set()
    thread.join()
    assert sample("icm_edge_dropped_total", camera="gate", reason="shutdown") == 1
    small.close()


def test_a_full_spool_refuses_a_submitted_frame_at_once(small: Spool, start) -> None:
    refused = Future[Spooled]()
    start(small, [frame(), frame(result=refused)])[0].join()
    with pytest.raises(SpoolFullError):
        refused.result()
    small.close()
