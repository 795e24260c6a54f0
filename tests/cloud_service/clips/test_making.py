"""How clips are made: what is decoded for them, and that they end at once when nobody wants them any more."""

from __future__ import annotations

from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine

from cloud_service.archive.catalogue import VideoCatalogue
from cloud_service.archive.storage import ArchiveStorage
from cloud_service.bundles import Bundles
from cloud_service.clips.cache import RenderCache
from cloud_service.clips.making import Clip, ClipMaker
from cloud_service.clips.request import ClipDecoder, ClipRequest
from cloud_service.clips.sources import SourceFinder
from cloud_service.events.store import EventStore
from cloud_service.store import RecordStore
from icm.codec.bundle.loading import Bundle
from tests.cloud_service.clips.recorded import at, chain, numbers, shown
from tests.cloud_service.parts import coded_header, open_store, raw


@dataclass
class Maker:
    """What makes clips of 40 records in one segment, and counts for how many of them it asks whether to go on.

    Attributes:
        folder: where clips and the cache are.
        wanted: how often it may ask before nobody wants the clip any more.
        asked: how often it did.
    """

    folder: Path
    store: RecordStore
    maker: ClipMaker
    sources: SourceFinder
    wanted: int = 1_000_000
    asked: int = 0

    def make(self, first: float, end: float) -> Clip:
        request = ClipRequest("gate", at(first), at(end), ClipDecoder.BASE)
        target, self.asked = self.folder / "clip.mp4", 0
        return self.maker.make(
            request, self.sources.find(request), target, progress=lambda _: None, check_wanted=self._ask
        )

    @property
    def pieces(self) -> int:
        """How many the cache holds."""
        return len(list((self.folder / "rendered").glob("*.piece")))

    def _ask(self) -> None:
        self.asked += 1
        if self.asked > self.wanted:
            raise CancelledError


@pytest.fixture
def maker(tmp_path: Path, database: Engine, loaded: Bundle) -> Maker:
    store = open_store(tmp_path / "records", database, segment_seconds=60)
    header = coded_header(loaded)
    store.append(header, raw(chain(loaded, 120), header))
    sources = SourceFinder(store, VideoCatalogue(database), ArchiveStorage(str(tmp_path / "archive")), database)
    cache = RenderCache(tmp_path / "rendered", 1 << 30)
    made = ClipMaker(store=store, sources=sources, bundles=Bundles([loaded]), events=EventStore(database), cache=cache)
    return Maker(tmp_path, store, made, sources)


def test_only_the_five_seconds_that_hold_frames_of_the_clip_are_rendered(maker: Maker) -> None:
    clip = maker.make(6.2, 6.5)
    assert (clip.cut.frames, clip.cut.start_us) == (3, at(6.2))
    assert shown((maker.folder / "clip.mp4").read_bytes()).frames == numbers(63, 66)
    # Decoded from the segment's start on, as records need those before them, and not behind the piece's end.
    assert maker.pieces == 1
    assert 100 <= maker.asked <= 103
    maker.make(5.0, 10.0)
    assert maker.pieces == 1
    assert maker.asked <= 3
    maker.make(4.9, 10.1)
    assert maker.pieces == 3


@pytest.mark.parametrize("wanted", [0, 1, 30, 75])
def test_when_nobody_wants_it_any_more_it_ends_before_the_next_record(maker: Maker, wanted: int) -> None:
    maker.wanted = wanted
    with pytest.raises(CancelledError):
        maker.make(0, 12)
    assert maker.asked == wanted + 1
    assert maker.pieces == wanted // 50
    maker.wanted = 1_000_000
    assert maker.make(0, 12).cut.frames == 120


def test_a_clip_of_what_is_rendered_and_known_is_the_same_file_as_before(maker: Maker) -> None:
    maker.make(1, 11)
    before = (maker.folder / "clip.mp4").read_bytes()
    maker.make(1, 11)
    assert (maker.folder / "clip.mp4").read_bytes() == before
    assert maker.asked < 10
