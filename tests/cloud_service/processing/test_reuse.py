"""Frames in which nothing changed, or too little, take over what was found in the frame that was looked at last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sqlalchemy import Engine as Database

from cloud_service.archive.rendering import SegmentRenderer
from cloud_service.bundles import Bundles
from cloud_service.metrics import Metrics
from cloud_service.processing.engine.base import FrameResult, LaneId, Work
from cloud_service.processing.engine.decoding import BatchDecoder
from cloud_service.processing.engine.in_process import InProcessEngine
from cloud_service.processing.engine.reuse import Looks, ReuseBound, change
from icm.codec.bitstream.record import Kind, Record
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import SHIPPED_BUNDLES
from icm.codec.decoder import Decoder
from icm.codec.encoder import CodedFrame, Encoder
from icm.codec.latents.latents import Latents
from tests.cloud_service.parts import FRAME_US, HEIGHT, START_US, WIDTH, BrightnessDetector, coded_header
from tests.cloud_service.processing.test_pipeline import Reader

PATIENCE_SECONDS = 60.0
BOUND = ReuseBound(change=5.0, seconds=1.0)
EXACT = ReuseBound(change=0.0, seconds=0.0)
LANE, STREAM = LaneId("gate", "live"), (b"codec", 1, 64, 48)
STEPS = np.full(4, 64.0, np.float32)
Picture = NDArray[np.uint8]


def scene(bar: int = 0, level: int = 120) -> Picture:
    """A scene with a bright bar that begins at a column."""
    picture = np.random.default_rng(1).integers(60, 160, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    picture[:] = picture // 4 + np.uint8(level * 3 // 4)
    picture[8:24, bar : bar + 12] = 255
    return picture


class OneCamera:
    """An engine that is given the frames of one camera in pieces, and how many pictures its detector saw."""

    def __init__(self, bundle: Bundle, bound: ReuseBound | None = BOUND) -> None:
        self.bundle, self.detector, self.encoder = bundle, BrightnessDetector(), Encoder(bundle)
        self.engine = InProcessEngine(
            decoder=BatchDecoder(Bundles([bundle])),
            detector=self.detector,
            renderer=SegmentRenderer(32),
            stage_seconds=Metrics("test").stage_seconds,
            reuse=bound,
        )
        self.sent = 0

    def coded(self, pictures: Sequence[Picture], quality: float = 3) -> list[Record]:
        first, self.sent = self.sent + 1, self.sent + len(pictures)
        return [
            self.encoder.encode(picture, quality).record(n, START_US + (n - 1) * FRAME_US)
            for n, picture in enumerate(pictures, first)
        ]

    def give(self, records: Sequence[Record], *, epoch: int = 7, archive: bool = False) -> list[FrameResult]:
        work = Work(
            lane=LANE, segment=1, header=coded_header(self.bundle, epoch=epoch), records=tuple(records),
            starts=records[0].kind is Kind.I, ends=False, keyframe=None, detect=True, archive=archive,
        )  # fmt: skip
        return list(self.engine.submit(work).result(PATIENCE_SECONDS).frames)

    def show(self, *pictures: Picture, quality: float = 3) -> list[FrameResult]:
        return self.give(self.coded(pictures, quality))


@pytest.fixture
def camera(loaded: Bundle) -> OneCamera:
    return OneCamera(loaded)


def test_equal_frames_are_looked_at_once_within_a_batch_and_across_batches(camera: OneCamera) -> None:
    frames = [frame for _ in range(5) for frame in camera.show(*[scene()] * 4)]
    assert camera.detector.seen == 1
    assert {frame.detections for frame in frames} == {frames[0].detections}
    assert [frame.reused_from for frame in frames] == [None] + [1] * 19


def test_equal_frames_are_reused_however_long_ago_the_look_was(camera: OneCamera) -> None:
    first, second = camera.coded([scene(), scene()])
    camera.give([first])
    (later,) = camera.give([replace(second, capture_us=first.capture_us + 10**12)])
    assert later.reused_from == 1


def test_a_frame_that_changed_is_looked_at(camera: OneCamera) -> None:
    frames = camera.show(scene(), scene(bar=40), scene(bar=40))
    assert [frame.reused_from for frame in frames] == [None, None, 2]
    assert camera.detector.seen == 2


def test_every_frame_is_looked_at_where_the_settings_say_so(loaded: Bundle) -> None:
    camera = OneCamera(loaded, bound=None)
    assert [frame.reused_from for frame in camera.show(*[scene()] * 4)] == [None] * 4
    assert camera.detector.seen == 4


def test_a_look_that_failed_is_nobodys_and_the_next_frame_is_looked_at(camera: OneCamera) -> None:
    camera.detector.failing = True
    assert {frame.problem and frame.problem.reason for frame in camera.show(scene(), scene())} == {"DETECTOR_FAILED"}
    camera.detector.failing = False
    assert [frame.reused_from for frame in camera.show(scene(), scene())] == [None, 3]


def test_another_quality_or_another_stream_is_looked_at(camera: OneCamera) -> None:
    camera.show(scene())
    assert camera.show(scene(), quality=4)[0].reused_from is None
    camera.encoder = Encoder(camera.bundle)
    assert camera.give(camera.coded([scene()], 4), epoch=8)[0].reused_from is None
    assert camera.detector.seen == 3


def test_a_frame_that_cannot_be_decoded_is_reported_and_what_follows_compared_with_the_last_look(
    camera: OneCamera,
) -> None:
    first, *_, moved = camera.coded([scene(), scene(bar=20), scene(bar=40)])
    camera.encoder = Encoder(camera.bundle)
    frames = camera.give([first, moved, *camera.coded([scene()])])
    assert frames[1].problem is not None
    assert frames[1].problem.reason == "REFERENCE_MISSING"
    assert frames[2].reused_from == 1


def test_an_equal_picture_is_made_once_and_is_the_one_that_was_looked_at(loaded: Bundle) -> None:
    records = OneCamera(loaded).coded([scene(), scene(), scene(bar=40), scene(bar=40)])
    decoder = BatchDecoder(Bundles([loaded]))
    work = Work(
        lane=LANE, segment=1, header=coded_header(loaded), records=tuple(records), starts=True, ends=False,
        keyframe=None, detect=True, archive=True,
    )  # fmt: skip
    frames = decoder.decode(work).frames
    made = [(decoder.picture(work, latents), latents.quality) for latents in frames if isinstance(latents, Latents)]
    shown = [decoder.for_people(work, *picture) for picture in made]
    for pictures in ([picture for picture, _ in made], shown):
        assert pictures[0] is pictures[1]
        assert pictures[2] is pictures[3]
    plain = Decoder(loaded)
    for record, (picture, _), people in zip(records, made, shown, strict=True):
        latents = plain.latents(record, WIDTH, HEIGHT)
        assert np.array_equal(plain.picture(latents), people)
        assert np.array_equal(plain.picture(latents, for_detector=True), decoder.for_detector(work, picture, record))


@pytest.mark.parametrize("folder", SHIPPED_BUNDLES, ids=lambda folder: folder.name)
def test_the_change_that_latents_tell_is_that_of_the_pictures_in_grey_levels(folder: Path) -> None:
    bundle = Bundle.load(folder, threads=1)
    engine = BatchDecoder(Bundles([bundle]))
    work = Work(
        lane=LANE, segment=1, header=coded_header(bundle), records=(), starts=True, ends=False, keyframe=None,
        detect=True, archive=True,
    )  # fmt: skip
    for quality in (1, 3, 5):
        encoder, decoder = Encoder(bundle), Decoder(bundle)
        pair = []
        for number, picture in enumerate((scene(), scene(bar=30)), 1):
            latents = decoder.latents(encoder.encode(picture, quality).record(number, 0), WIDTH, HEIGHT)
            pair.append((latents, decoder.picture(latents).astype(np.float64)))
        (before, shown), (after, shown_after) = pair
        seen = np.sqrt(np.square(shown - shown_after).mean())
        assert change(before, after, engine.steps(work, before.quality)) == pytest.approx(seen, rel=0.1)


def latents(values: NDArray[np.int16], quality: int = 48) -> Latents:
    return Latents(values, np.zeros((1, 0, 0), np.int8), np.zeros(values.shape[1:], bool), quality, 64, 48)


def record(sequence: int) -> Record:
    return Record(sequence, START_US + sequence * FRAME_US, Kind.I, 0, 48, 1, b"payload")


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 47), st.integers(-2, 2)), min_size=1, max_size=60),
    bound=st.floats(0, 20),
    seconds=st.floats(0, 3),
)
def test_small_changes_never_add_up_beyond_the_bound(
    steps: list[tuple[int, int]], bound: float, seconds: float
) -> None:
    """Whatever lies between, a frame's detections are of one that is within the bound of it, and was looked at."""
    looks, values = Looks(ReuseBound(bound, seconds)), np.zeros((4, 3, 4), np.int16)
    looked_at: dict[int, Latents] = {}
    for sequence, (place, step) in enumerate(steps, 1):
        values = values.copy()
        values.reshape(-1)[place] += step
        now = latents(values)
        look = looks.at(LANE, STREAM, record(sequence), now, STEPS)
        if look.sequence == sequence:
            looked_at[sequence] = now
        then = looked_at[look.sequence]
        apart = np.sqrt(np.square((now.values - then.values) * 64.0).sum() / (768 * 12))
        assert apart <= bound + 1e-4
        assert not apart or (sequence - look.sequence) * FRAME_US <= seconds * 1e6


def test_what_differs_a_little_and_stays_is_looked_at_once_the_time_is_up() -> None:
    looks, values = Looks(BOUND), np.zeros((4, 3, 4), np.int16)
    looks.at(LANE, STREAM, record(1), latents(values), STEPS)
    arrived = values.copy()
    arrived[0, 0, 0] = 1
    seen = [looks.at(LANE, STREAM, record(n), latents(arrived), STEPS).sequence for n in range(2, 40)]
    assert seen == [1] * 10 + [12] * 28


def test_lanes_do_not_see_each_others_looks() -> None:
    looks, same = Looks(EXACT), latents(np.zeros((4, 3, 4), np.int16))
    lanes = [LaneId("gate", "live"), LaneId("door", "live"), LaneId("gate", "other")]
    assert [looks.at(lane, STREAM, record(1 + n), same, STEPS).sequence for n, lane in enumerate(lanes)] == [1, 2, 3]


class ReusingReader(Reader):
    def engine(self) -> InProcessEngine:
        return InProcessEngine(
            decoder=BatchDecoder(Bundles(self.bundles)),
            detector=self.detector,
            renderer=SegmentRenderer(32),
            stage_seconds=self.metrics.stage_seconds,
            reuse=BOUND,
        )


def test_every_frame_has_its_event_and_those_without_a_look_are_counted(
    tmp_path: Path, database: Database, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    reader = ReusingReader(tmp_path, database, loaded, coded)
    camera = OneCamera(loaded)
    reader.append(camera.coded([scene()] * 12 + [scene(bar=40)] * 12))
    reader.work_off()
    assert reader.seen() == list(range(1, 25))
    assert reader.detector.seen == 2
    assert reader.value("icm_cloud_reused_detections_total", camera="gate") == 22


def test_a_still_scenes_video_has_a_coded_picture_a_second_and_lasts_as_long(
    tmp_path: Path, database: Database, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    reader = ReusingReader(tmp_path, database, loaded, coded)
    reader.append(OneCamera(loaded).coded([scene()] * 10))
    reader.work_off()
    (video,) = reader.catalogue.list("gate", None, None)
    assert (video.frames, video.duration_us) == (10, pytest.approx(1_000_000, abs=100))
    with av.open(str(tmp_path / "archive" / video.path)) as container:
        assert len(list(container.decode(video=0))) == 1
