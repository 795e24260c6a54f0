"""The engine's seam: only messages cross it, so the pipeline serves an engine in another process as one in its own."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from copy import copy
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Engine as Database

from cloud_service.archive.rendering import RenderedVideo, SegmentRenderer
from cloud_service.bundles import Bundles
from cloud_service.detection import Detection
from cloud_service.metrics import Metrics
from cloud_service.processing.engine.base import Engine, LaneId, Result, Work
from cloud_service.processing.engine.decoding import BatchDecoder
from cloud_service.processing.engine.in_process import InProcessEngine
from icm.codec.bitstream.record import Kind, Record
from icm.codec.bundle.loading import Bundle
from icm.codec.decoder import Decoder
from icm.codec.encoder import CodedFrame, Encoder
from icm.codec.transforms.film_grain import Grain
from tests.cloud_service.parts import (
    FRAME_US,
    HEIGHT,
    START_US,
    WIDTH,
    BrightnessDetector,
    coded_header,
    coded_records,
)
from tests.cloud_service.processing.test_pipeline import Reader

PATIENCE_SECONDS = 60.0


def engine_with(bundle: Bundle, detector: BrightnessDetector) -> InProcessEngine:
    return InProcessEngine(
        decoder=BatchDecoder(Bundles([bundle])),
        detector=detector,
        renderer=SegmentRenderer(32),
        stage_seconds=Metrics("test").stage_seconds,
    )


def work_on(bundle: Bundle, records: Sequence[Record], camera: str = "gate", *, ends: bool = False) -> Work:
    return Work(
        lane=LaneId(camera, "live"),
        segment=1,
        header=coded_header(bundle, camera),
        records=tuple(records),
        starts=records[0].sequence == 1,
        ends=ends,
        keyframe=None,
        detect=True,
        archive=True,
    )


class GatedDetector(BrightnessDetector):
    """Waits before it looks until it is let go, and remembers how many pictures it was given at once."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.begun = threading.Event(), threading.Event()
        self.batches: list[int] = []

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        self.batches.append(len(images))
        self.begun.set()
        assert self.go.wait(PATIENCE_SECONDS)
        return super().detect(images)


@pytest.fixture
def moving(loaded: Bundle) -> list[Record]:
    """An I record and P records, each of which refers to the one before."""
    encoder, scene = Encoder(loaded), np.random.default_rng(1).integers(60, 200, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    records = []
    for sequence in range(1, 26):
        picture = scene.copy()
        picture[8:24, sequence : sequence + 12] = 255
        records.append(encoder.encode(picture, 5).record(sequence, START_US + (sequence - 1) * FRAME_US))
    return records


def test_work_and_results_come_out_of_a_pickle_as_they_went_in(loaded: Bundle, moving: list[Record]) -> None:
    engine = engine_with(loaded, BrightnessDetector())
    broken = [*moving[:3], moving[5]]
    work = work_on(loaded, broken, ends=True)
    assert pickle.loads(pickle.dumps(work)) == work
    result = engine.submit(pickle.loads(pickle.dumps(work))).result(PATIENCE_SECONDS)
    engine.close()
    assert pickle.loads(pickle.dumps(result)) == result
    assert [frame.sequence for frame in result.frames] == [1, 2, 3, 6]
    assert [frame.detections is not None for frame in result.frames] == [True, True, True, False]
    assert result.frames[3].problem is not None
    assert result.frames[3].problem.reason == "REFERENCE_MISSING"
    assert result.video is not None
    assert result.video.frames == 3


@pytest.mark.parametrize("archive", [True, False])
def test_the_last_picture_of_a_watched_piece_comes_back_also_where_nobody_had_to_make_it(
    loaded: Bundle, coded: list[CodedFrame], archive: bool
) -> None:
    # Equal frames: the detector looks at the first one alone.
    records = [coded[0].record(n, START_US + n * FRAME_US) for n in (1, 2, 3)]
    engine = engine_with(loaded, BrightnessDetector())
    watched = replace(work_on(loaded, records), archive=archive, watched=True)
    shown = engine.submit(watched).result(PATIENCE_SECONDS).picture
    unwatched = engine.submit(replace(watched, watched=False)).result(PATIENCE_SECONDS).picture
    engine.close()
    assert shown is not None
    assert shown.shape == (HEIGHT, WIDTH, 3)
    assert unwatched is None


class LookingDetector(BrightnessDetector):
    """Remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[NDArray[np.uint8]] = []

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        self.images += [image.copy() for image in images]
        return super().detect(images)


@pytest.mark.parametrize(("alone", "after"), [(1.0, 1.0), (0.5, 0.5), (0.5, 0.0)])
def test_people_and_the_detector_each_see_the_pictures_that_the_bundle_means_for_them(
    loaded: Bundle, moving: list[Record], alone: float, after: float
) -> None:
    bundle, shares = copy(loaded), {Kind.I: alone, Kind.P: after}
    bundle.grain = Grain([8.0] * loaded.levels)
    grains = {kind: Grain([share * 8.0] * loaded.levels) for kind, share in shares.items()}
    bundle.detector_grain = grains.__getitem__  # type: ignore[method-assign]
    detector = LookingDetector()
    engine = engine_with(bundle, detector)
    shown = engine.submit(replace(work_on(bundle, moving[:3]), watched=True)).result(PATIENCE_SECONDS).picture
    engine.close()
    decoder = Decoder(bundle)
    latents = [decoder.latents(record, WIDTH, HEIGHT) for record in moving[:3]]
    assert shown is not None
    assert np.array_equal(shown, decoder.picture(latents[-1]))
    for seen, of in zip(detector.images, latents, strict=True):
        assert np.array_equal(seen, decoder.picture(of, for_detector=True))
        assert np.array_equal(seen, decoder.picture(of)) == (shares[of.kind] == 1)


def test_what_waits_is_looked_at_together_in_its_order_and_no_more_than_a_batch_at_once(
    loaded: Bundle, coded: list[CodedFrame]
) -> None:
    detector = GatedDetector()
    engine = engine_with(loaded, detector)
    cameras = [f"camera-{index}" for index in range(7)]
    first = engine.submit(work_on(loaded, coded_records(coded, 1), "first"))
    assert detector.begun.wait(PATIENCE_SECONDS)
    later = [engine.submit(work_on(loaded, coded_records(coded, 2), camera)) for camera in cameras]
    detector.go.set()
    results = [future.result(PATIENCE_SECONDS) for future in (first, *later)]
    assert [len(result.frames) for result in results] == [1] + 7 * [2]
    assert detector.batches == [1, 4, 4, 4, 2]
    assert [video.camera for video in engine.close()] == ["first", *cameras]


def test_work_that_waits_can_be_cancelled_and_what_follows_is_done(loaded: Bundle, coded: list[CodedFrame]) -> None:
    detector = GatedDetector()
    engine = engine_with(loaded, detector)
    first = engine.submit(work_on(loaded, coded_records(coded, 1), "gate"))
    assert detector.begun.wait(PATIENCE_SECONDS)
    second = engine.submit(work_on(loaded, coded_records(coded, 1), "yard"))
    third = engine.submit(work_on(loaded, coded_records(coded, 1), "lobby"))
    assert second.cancel()
    detector.go.set()
    assert len(first.result(PATIENCE_SECONDS).frames) == 1
    assert len(third.result(PATIENCE_SECONDS).frames) == 1
    assert detector.seen == 2
    engine.close()


_engine: InProcessEngine
"""Of a worker's process."""


def _open(folder: Path) -> None:
    global _engine
    _engine = engine_with(Bundle.load(folder, threads=1), BrightnessDetector())


def _work(work: Work) -> Result:
    return _engine.submit(work).result()


def _close() -> list[RenderedVideo]:
    return _engine.close()


class ProcessesEngine:
    """An engine of two other processes; each camera has its own of them."""

    model, batch, together, capacity = BrightnessDetector.model, BrightnessDetector.batch, 1, 16

    def __init__(self, bundle: Bundle) -> None:
        self._bundles = Bundles([bundle])
        context = multiprocessing.get_context("spawn")
        self._workers = [
            ProcessPoolExecutor(1, mp_context=context, initializer=_open, initargs=(bundle.folder,)) for _ in range(2)
        ]

    def worker_of(self, camera: str) -> int:
        return crc32(camera.encode()) % len(self._workers)

    def check(self, codec_id: bytes, what: str) -> None:
        self._bundles.of(codec_id, what)

    def submit(self, work: Work) -> Future[Result]:
        return self._workers[self.worker_of(work.lane.camera)].submit(_work, work)

    def close(self) -> list[RenderedVideo]:
        videos = [video for worker in self._workers for video in worker.submit(_close).result()]
        self.shut_down()
        return videos

    def shut_down(self) -> None:
        for worker in self._workers:
            worker.shutdown()


class ReaderOfProcesses(Reader):
    """A cloud whose engine is elsewhere."""

    def engine(self) -> Engine:
        self.processes = ProcessesEngine(self.bundle)
        return self.processes


@pytest.fixture
def reader(tmp_path: Path, database: Database, loaded: Bundle, coded: list[CodedFrame]) -> Iterator[ReaderOfProcesses]:
    reader = ReaderOfProcesses(tmp_path, database, loaded, coded)
    yield reader
    reader.processes.shut_down()


def test_an_engine_in_other_processes_gives_events_videos_and_keyframes_without_a_store(
    reader: ReaderOfProcesses, moving: list[Record]
) -> None:
    assert {reader.processes.worker_of(camera) for camera in ("gate", "door")} == {0, 1}
    for camera in ("gate", "door"):
        reader.append(moving, camera)
    reader.work_off()
    for camera in ("gate", "door"):
        assert reader.seen(camera) == list(range(1, 26))
        assert reader.rendered(camera) == [10, 10, 5]
        assert len(list((reader.folder / "records" / camera).rglob("*.keyframe"))) == 2
        assert len(list((reader.folder / "archive" / camera).rglob("*.mp4"))) == 3
    assert reader.problems.lines() == []
