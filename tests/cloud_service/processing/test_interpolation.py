"""Where several frames of a camera wait and little changes, some are looked at, and boxes between them interpolated."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sqlalchemy import Engine as Database

from cloud_service.archive.rendering import SegmentRenderer
from cloud_service.bundles import Bundles
from cloud_service.detection.base import Detection
from cloud_service.metrics import Metrics
from cloud_service.processing.engine.base import FrameResult, LaneId, Problem, Result, Work
from cloud_service.processing.engine.decoding import BatchDecoder
from cloud_service.processing.engine.in_process import InProcessEngine
from cloud_service.processing.engine.interpolation import Gap, gaps
from cloud_service.processing.engine.reuse import Look, ReuseBound
from icm.codec.bitstream.record import Kind, Record
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame, Encoder
from icm.codec.latents.latents import Latents
from icm.errors import DetectorError
from tests.cloud_service.parts import FRAME_US, HEIGHT, START_US, WIDTH, coded_header
from tests.cloud_service.processing.test_pipeline import Reader

PATIENCE_SECONDS = 60.0
BOUND = ReuseBound(change=0.0, seconds=0.0, gap_seconds=0.5, gap_change=1.0)
LANE, STREAM = LaneId("gate", "live"), (b"codec", 1, 64, 48)


def look(at: float, *found: Detection, values: NDArray[np.int16] | None = None, quality: int = 48) -> Look:
    """A look at a frame of 64 x 48 pixels that was captured at some tenth of a second."""
    values = np.zeros((4, 3, 4), np.int16) if values is None else values
    latents = Latents(values, np.zeros((1, 0, 0), np.int8), np.zeros((3, 4), bool), quality, 64, 48)
    return Look(round(at * 10), START_US + round(at * FRAME_US), STREAM, latents, found, is_seen=bool(found))


def thing(left: float, top: float = 10, width: float = 8, score: float = 0.8, name: str = "person") -> Detection:
    return Detection(name, score, left, top, left + width, top + 20)


def between(before: Look, after: Look, *at: float) -> list[tuple[Detection, ...]]:
    """What is found in frames between two looks that agree."""
    inner = [look(time) for time in at]
    assert Gap([before, *inner, after]).settle() == []
    result = []
    for one in inner:
        assert isinstance(one.found, tuple)
        result.append(one.found)
    return result


def test_a_box_moves_evenly_from_where_the_one_look_saw_it_to_where_the_other_did() -> None:
    first, second = between(look(0, thing(10, score=0.6)), look(3, thing(13, top=4, score=0.9)), 1, 2)
    assert [(d.left, d.top, d.right, d.bottom) for d in first] == [pytest.approx((11, 8, 19, 28))]
    assert [(d.left, d.top, d.right, d.bottom) for d in second] == [pytest.approx((12, 6, 20, 26))]
    assert [first[0].score, second[0].score] == [pytest.approx(0.7), pytest.approx(0.8)]


def test_two_who_walk_side_by_side_are_not_taken_for_each_other() -> None:
    (middle,) = between(look(0, thing(10), thing(16)), look(2, thing(15), thing(21)), 1)
    assert sorted(d.left for d in middle) == pytest.approx([12.5, 18.5])


def test_who_was_seen_to_move_is_known_again_further_on() -> None:
    before, here, there = look(0, thing(2)), look(1, thing(10)), look(3, thing(26))
    between(before, here)
    assert [d.left for d in between(here, there, 2)[0]] == pytest.approx([18])


def test_what_only_one_of_the_two_looks_saw_counts_as_there() -> None:
    steady = [thing(20, top=22), thing(40, top=22), thing(30, top=0)]
    faint = thing(2, score=0.3)
    for before, after in ((steady, [*steady, faint]), ([*steady, faint], steady)):
        (middle,) = between(look(0, *before), look(2, *after), 1)
        assert faint in middle


def test_what_only_one_look_saw_goes_on_as_it_moved_and_ends_at_the_pictures_edge() -> None:
    before, here = look(0, thing(58, width=6, score=0.3)), look(1, thing(55, width=6, score=0.3))
    between(before, here)
    near, gone = between(here, look(40), 2, 25)
    assert [d.left for d in near] == pytest.approx([52])
    assert gone == ()


@pytest.mark.parametrize(
    "after",
    [thing(40), thing(13, width=30), thing(13, name="dog"), thing(13, score=0.3, name="dog")],
    ids=["elsewhere", "of another shape", "of another class", "gone"],
)
def test_looks_that_saw_different_objects_have_a_frame_between_them_looked_at(after: Detection) -> None:
    looks = [look(0, thing(10)), look(1), look(2), look(3), look(4, after)]
    first, second = Gap(looks).settle()
    assert (first.looks, second.looks) == (looks[:3], looks[2:])
    assert first.end is looks[2]


def test_neighbouring_looks_need_not_agree() -> None:
    assert Gap([look(0, thing(10)), look(1, thing(50))]).settle() == []


def test_between_a_look_that_failed_and_another_nobody_knows_what_there_is() -> None:
    failed, inner = look(2), look(1)
    failed.found = problem = Problem("DETECTOR_FAILED", "it failed")
    assert Gap([look(0, thing(10)), inner, failed]).settle() == []
    assert inner.found is problem


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 12), st.integers(-1, 4), st.sampled_from([48, 48, 48, 64])), min_size=1, max_size=30
    ),
    seconds=st.floats(0, 1.5),
    change=st.floats(0, 1),
    knows_one=st.booleans(),
)
def test_whatever_comes_every_frame_lies_between_two_looks_within_the_bound(
    steps: list[tuple[int, int, int]], seconds: float, change: float, knows_one: bool
) -> None:
    bound = ReuseBound(0, 0, seconds, change)
    values, at, looks = np.zeros((4, 12), np.int16), 0, []
    for changed, tenths, quality in steps:
        values, at = values.copy(), at + tenths
        values[0, :changed] += 1
        looks.append(look(at, values=values.reshape(4, 3, 4), quality=quality))
    before, fresh = (looks[0], looks[1:]) if knows_one else (None, looks)
    found = gaps(before, fresh, bound)
    assert [one for gap in found for one in (gap.looks if len(gap.looks) == 1 else gap.looks[1:])] == fresh
    last = before
    for gap in found:
        assert gap.looks[0] is (last or gap.end)
        last = gap.end
        if len(gap.looks) > 2:
            assert 0 <= gap.end.capture_us - gap.looks[0].capture_us <= seconds * 1e6
            for one, other in zip(gap.looks, gap.looks[1:], strict=False):
                assert one.latents.quality == other.latents.quality
                assert (one.latents.values != other.latents.values).any(0).sum() <= change * 12


def test_without_a_bound_each_frame_is_looked_at() -> None:
    looks = [look(n) for n in range(4)]
    assert [gap.end for gap in gaps(None, looks, None)] == looks


class BarDetector:
    """Finds what is white, and can be told to fail from some picture on."""

    model, batch = "bars", 4

    def __init__(self) -> None:
        self.seen = 0
        self.fails_from: int | None = None

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        assert len(images) <= self.batch
        self.seen += len(images)
        if self.fails_from is not None and self.seen >= self.fails_from:
            raise DetectorError("the detector was told to fail; tell it not to")
        return [self._look(image) for image in images]

    def _look(self, image: NDArray[np.uint8]) -> list[Detection]:
        rows, columns = np.nonzero(image.mean(2) > 190)
        if len(rows) < 40:
            return []
        low, high = (np.percentile(np.stack([columns, rows]), share, axis=1) for share in (5, 95))
        return [Detection("bar", 0.9, *map(float, low), *map(float, high))]


def scene(bar: int | None) -> NDArray[np.uint8]:
    """A dim scene with a bright bar that begins at a column, if any."""
    picture = np.random.default_rng(1).integers(60, 100, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    if bar is not None:
        picture[8:40, bar : bar + 16] = 255
    return picture


class OneCamera:
    """Engines that are given the same frames of one camera: one looks at each, the other interpolates."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.encoder, self.sent = bundle, Encoder(bundle), 0
        self.plain, self.detector = BarDetector(), BarDetector()
        self.engines = [self._engine(self.plain, None), self._engine(self.detector, BOUND)]

    def show(self, *bars: int | None, archive: bool = False) -> tuple[list[FrameResult], list[FrameResult]]:
        """What both make of frames with a bar each."""
        records = self.coded(bars)
        work = Work(
            lane=LANE, segment=1, header=coded_header(self.bundle), records=tuple(records),
            starts=records[0].kind is Kind.I, ends=False, keyframe=None, detect=True, archive=archive,
        )  # fmt: skip
        plain, interpolated = (list(engine.submit(work).result(PATIENCE_SECONDS).frames) for engine in self.engines)
        return plain, interpolated

    def coded(self, bars: Sequence[int | None]) -> list[Record]:
        first, self.sent = self.sent + 1, self.sent + len(bars)
        return [
            self.encoder.encode(scene(bar), 4).record(n, START_US + (n - 1) * FRAME_US)
            for n, bar in enumerate(bars, first)
        ]

    def _engine(self, detector: BarDetector, bound: ReuseBound | None) -> InProcessEngine:
        return InProcessEngine(
            decoder=BatchDecoder(Bundles([self.bundle])),
            detector=detector,
            renderer=SegmentRenderer(32),
            stage_seconds=Metrics("test").stage_seconds,
            reuse=bound,
        )


@pytest.fixture
def camera(loaded: Bundle) -> OneCamera:
    return OneCamera(loaded)


@pytest.mark.parametrize("archive", [False, True])
def test_a_bar_that_moves_is_found_where_looking_at_every_frame_finds_it(camera: OneCamera, archive: bool) -> None:
    plain, interpolated = camera.show(*range(4, 26, 2), archive=archive)
    assert [frame.interpolated for frame in interpolated] == [False, *[True] * 4, False, *[True] * 4, False]
    assert (camera.plain.seen, camera.detector.seen) == (11, 3)
    for seen, worked_out in zip(plain, interpolated, strict=True):
        assert seen.detections is not None
        assert worked_out.detections is not None
        (one,), (other,) = seen.detections, worked_out.detections
        assert (one.left, one.right) == pytest.approx((other.left, other.right), abs=2.5)


def test_frames_that_come_one_by_one_are_all_looked_at(camera: OneCamera) -> None:
    frames = [camera.show(bar)[1][0] for bar in range(4, 14, 2)]
    assert not any(frame.interpolated for frame in frames)
    assert camera.detector.seen == 5


def test_a_bar_that_appears_in_between_is_looked_for_until_the_frame_is_found_that_first_shows_it(
    camera: OneCamera,
) -> None:
    camera.show(None)
    _, frames = camera.show(None, 20, 22, 24, 26)
    assert [frame.interpolated for frame in frames] == [False, False, False, True, False]
    assert [len(frame.detections or ()) for frame in frames] == [0, 1, 1, 1, 1]


def test_a_frame_that_equals_an_interpolated_one_has_its_boxes(camera: OneCamera) -> None:
    camera.show(4)
    _, frames = camera.show(6, 6, 8, 10)
    assert [(frame.interpolated, frame.reused_from) for frame in frames] == [
        (True, None),
        (False, 2),
        (True, None),
        (False, None),
    ]
    assert frames[0].detections == frames[1].detections


def test_where_the_detector_fails_no_boxes_are_made_up(camera: OneCamera) -> None:
    camera.show(4)
    camera.detector.fails_from = 2
    frames = camera.show(6, 8, 10)[1]
    assert {frame.problem and frame.problem.reason for frame in frames} == {"DETECTOR_FAILED"}
    camera.detector.fails_from = None
    assert [frame.interpolated for frame in camera.show(12, 14, 16)[1]] == [False, True, False]


class InterpolatingReader(Reader):
    def engine(self) -> InProcessEngine:
        self.bars, self.pieces = BarDetector(), list[int]()
        engine = InProcessEngine(
            decoder=BatchDecoder(Bundles(self.bundles)),
            detector=self.bars,
            renderer=SegmentRenderer(32),
            stage_seconds=self.metrics.stage_seconds,
            reuse=BOUND,
        )
        submit = engine.submit

        def noting(work: Work) -> Future[Result]:
            self.pieces.append(len(work.records))
            return submit(work)

        engine.submit = noting  # type: ignore[method-assign]
        return engine


def test_every_frame_has_its_event_and_interpolated_ones_are_counted(
    tmp_path: Path, database: Database, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    reader = InterpolatingReader(tmp_path, database, loaded, coded)
    reader.append(OneCamera(loaded).coded(range(4, 26, 2)))
    reader.work_off()
    assert reader.seen() == list(range(1, 12))
    interpolated = reader.value("icm_cloud_interpolated_detections_total", camera="gate")
    assert interpolated == 11 - reader.bars.seen > 0


def test_of_many_cameras_whose_frames_wait_each_gives_several_at_once(
    tmp_path: Path, database: Database, loaded: Bundle, coded: list[CodedFrame]
) -> None:
    reader = InterpolatingReader(tmp_path, database, loaded, coded)
    cameras = [f"camera-{n}" for n in range(11)]
    for camera in cameras:
        reader.append(reader.records(10), camera)
    reader.work_off()
    for camera in cameras:
        assert reader.seen(camera) == list(range(1, 11))
    assert reader.pieces == [10] * 11
