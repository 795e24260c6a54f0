"""A small archive, real in all its parts, that retention is let loose on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

from sqlalchemy import Engine, select, text

from cloud_service.archive.catalogue import VideoCatalogue
from cloud_service.archive.storage import ArchiveStorage
from cloud_service.archive.writer import VideoSegment
from cloud_service.database.tables import TombstoneRow
from cloud_service.database.usage import Amount, Tier, UsageKey, read_usage
from cloud_service.detection import Detection
from cloud_service.events.store import EventStore, FrameEvent
from cloud_service.retention.execution import Deleted, Deleter, Step, collect_garbage, note_restored
from cloud_service.retention.items import Item, Planned, Reason
from cloud_service.retention.plan import Need, Planning, Scans
from cloud_service.retention.policy import Policy
from cloud_service.retention.view import DatabaseView
from cloud_service.retention_settings import RetentionSettings
from cloud_service.store import Position, RecordStore, Segment
from cloud_service.store.segment import BLOCK_BYTES
from icm.codec.bitstream.record import Record, StreamHeader
from icm.frame_id import FrameId
from icm.service.clock import ManualClock
from tests.cloud_service.parts import EPOCH, FRAME_US, START_US, header, open_store, raw, record

SEGMENT_US = 10 * FRAME_US
DAY_US = 86_400 * 1_000_000
NO_NEED = Need()


class Crash(BaseException):
    """The process is gone."""


class World:
    """A store, its database and its archive; every segment has ten frames.

    Attributes:
        clock: the machine's, by which records arrive.
    """

    def __init__(
        self,
        folder: Path,
        database: Engine,
        on_step: Callable[[Step], None] = lambda step: None,
        archive: str | None = None,
    ) -> None:
        """Makes an empty one.

        Args:
            archive: where videos lie; None for beside the records.
        """
        self.root, self.database = folder / "records", database
        self.storage = ArchiveStorage(archive or str(folder / "archive"))
        self.storage.prepare()
        self.clock, self.on_step = ManualClock(START_US), on_step
        self.sequences: Counter[str] = Counter()
        self.headers: dict[str, StreamHeader] = {}
        self.open()

    def open(self) -> None:
        """A start of the service."""
        if self.root.exists():
            collect_garbage(self.database, self.root, None)
        self.store: RecordStore = open_store(self.root, self.database, clock=self.clock)
        self.indexed()
        note_restored(self.database, self.store, self.clock.now_us())
        self.deleter = Deleter(
            root=self.root,
            store=self.store,
            database=self.database,
            storage=self.storage,
            check=lambda: None,
            on_step=lambda step: self.on_step(step),
        )

    def indexed(self) -> None:
        """Returns once the index says all that there is to say."""
        for camera in self.store.names():
            numbers = self.numbers(camera)
            while self.store.removable(camera, numbers) != set(numbers):
                Event().wait(0.001)

    def restart(self) -> None:
        self.store.close()
        self.open()

    def seal(self, camera: str = "gate", segments: int = 1, payload: bytes = b"payload", clock_off_us: int = 0) -> None:
        """Segments of ten frames each, one after the other, that arrive as they are captured.

        Args:
            clock_off_us: how far the camera's clock is ahead.
        """
        of = self.headers.setdefault(camera, replace(header(camera), base_us=START_US + min(0, clock_off_us)))
        for _ in range(segments):
            first = self.sequences[camera] + 1
            start_us = self.clock.now_us() + clock_off_us
            records: list[Record] = [record(first + index, payload, start_us + index * FRAME_US) for index in range(10)]
            self.sequences[camera] += 10
            self.store.append(of, raw(records, of))
            self.clock.advance(1.0)
        self.restart()

    def segment(self, number: int, camera: str = "gate") -> Segment:
        found = self.store.segment(camera, number)
        assert found is not None
        assert found.number == number
        return found

    def add_keyframe(self, number: int, camera: str = "gate") -> Path:
        """As the detector makes them when it comes by."""
        segment, of = self.segment(number, camera), self.headers[camera]
        self.store.keyframes.write(segment, of, record(segment.sequences.first, bytes(5000), segment.first_capture_us))
        return (self.root / segment.path).with_suffix(".keyframe")

    def add_video(self, number: int, camera: str = "gate") -> None:
        segment = self.segment(number, camera)
        stem = segment.path.removesuffix(".icm")
        video = VideoSegment(
            camera=camera,
            number=number,
            start_us=segment.first_capture_us,
            duration_us=SEGMENT_US,
            frames=10,
            path=f"{stem}.mp4",
            bytes=9000,
            thumbnail_path=f"{stem}.jpg",
            thumbnail_bytes=900,
            disk_bytes=self.storage.put(f"{stem}.mp4", bytes(9000)),
            thumbnail_disk_bytes=self.storage.put(f"{stem}.jpg", bytes(900)),
        )
        VideoCatalogue(self.database).add_whole(camera, number, video)

    def detect(self, number: int, camera: str = "gate", *found: tuple[str, float]) -> None:
        """The detector has gone through a segment, and found this in each frame."""
        segment = self.segment(number, camera)
        boxes = tuple(Detection(name, score, 0.0, 0.0, 1.0, 1.0) for name, score in found)
        events = [
            FrameEvent(FrameId(camera, EPOCH, sequence), segment.first_capture_us, "model", boxes)
            for first, last in segment.sequences
            for sequence in range(first, last + 1)
        ]
        EventStore(self.database).commit(events, [], {camera: Position(number + 1, 0)})

    def planning(
        self,
        *,
        now_us: int | None = None,
        need: Need = NO_NEED,
        trusted: bool = True,
        **told: Any,
    ) -> Planning:
        """What is to go by settings."""
        now = (self.clock.now_us() if now_us is None else now_us) if trusted else None
        view = DatabaseView(self.database, self.root)
        policy = Policy.of(RetentionSettings.model_validate(told))
        return Planning(policy, view, Scans(), now, read_usage(self.database), need, lambda *_: False, lambda _: False)

    def delete(self, **told: Any) -> list[Planned]:
        """Deletes what is to go by settings."""
        gone: list[Planned] = []
        for batch in self.planning(**told).batches():
            gone += self.deleter.delete(batch, "test", self.clock.now_us()).planned
        return gone

    def delete_numbers(self, *numbers: int, camera: str = "gate", stills: bool = False) -> Deleted:
        """Deletes these segments of records."""
        planned = [
            Planned(item_of(self.segment(number, camera)), Reason.MAX_AGE, "records.max_age_seconds 5", stills)
            for number in numbers
        ]
        return self.deleter.delete(planned, "test", self.clock.now_us())

    def numbers(self, camera: str = "gate") -> list[int]:
        """Of the segments that readers meet."""
        found, number = [], 0
        while (segment := self.store.segment(camera, number)) is not None:
            found.append(segment.number)
            number = segment.number + 1
        return found

    def tombstones(self, camera: str = "gate") -> dict[int, str]:
        """Reason by number."""
        of = TombstoneRow
        with self.database.connect() as connection:
            rows = connection.execute(select(of.number, of.reason).where(of.camera == camera).order_by(of.number))
            return {number: reason for number, reason in rows}

    def usage(self) -> dict[UsageKey, Amount]:
        """What the database says is there, where there is anything, and the key frames that the store counts."""
        found = {key: amount for key, amount in read_usage(self.database).items() if key.tier is not Tier.KEYFRAMES}
        found |= {UsageKey(camera, Tier.KEYFRAMES): amount for camera, amount in self.store.keyframes.usage().items()}
        return {key: amount for key, amount in found.items() if any(amount)}

    def on_disk(self) -> dict[UsageKey, Amount]:
        """The same, by walking through the folders."""
        tiers = {".icm": Tier.RECORDS, ".keyframe": Tier.KEYFRAMES, ".mp4": Tier.VIDEO, ".jpg": Tier.THUMBNAILS}
        found: dict[UsageKey, Amount] = {}
        assert self.storage.folder is not None
        for root in (self.root, self.storage.folder):
            for path in root.rglob("*"):
                if path.is_file() and (tier := tiers.get(path.suffix)):
                    key, of = UsageKey(path.relative_to(root).parts[0], tier), path.stat()
                    found[key] = found.get(key, Amount()) + Amount(1, of.st_size, of.st_blocks * BLOCK_BYTES)
        return found

    def rows(self, table: str) -> int:
        with self.database.connect() as connection:
            return int(connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)


def item_of(segment: Segment, tier: Tier = Tier.RECORDS) -> Item:
    return Item(
        tier,
        segment.camera,
        segment.number,
        segment.kept_from_us,
        segment.first_capture_us,
        segment.last_capture_us,
        segment.disk_bytes,
    )


def by_number(planned: Sequence[Planned]) -> list[tuple[Tier, int, Reason]]:
    return [(each.item.tier, each.item.number, each.reason) for each in planned]
