"""Parts of a cloud as tests put them together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from cloud_service.detection import Detection
from cloud_service.store import RawRecord, RecordStore
from cloud_service.store.index import SegmentIndex
from icm.codec.bitstream.record import Kind, Record, StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame
from icm.errors import DetectorError
from icm.service.clock import Clock, ManualClock

START_US = 1_790_000_000_000_000
"""2026-09-21T14:13:20Z."""
FRAME_US = 100_000
WIDTH, HEIGHT = 64, 48
EPOCH = 7
_opened: dict[Engine, list[RecordStore]] = defaultdict(list)


def header(camera: str = "gate", epoch: int = EPOCH, codec_id: bytes = bytes(32), width: int = WIDTH) -> StreamHeader:
    return StreamHeader(codec_id, camera, epoch, START_US, width, HEIGHT)


def record(sequence: int, payload: bytes = b"payload", capture_us: int | None = None) -> Record:
    """Record ``sequence`` of a camera of 10 fps; not decodable."""
    at = START_US + (sequence - 1) * FRAME_US if capture_us is None else capture_us
    return Record(sequence, at, Kind.I, 0, 48, 1, payload)


def raw(records: Sequence[Record], of: StreamHeader) -> list[RawRecord]:
    return [RawRecord(item, item.pack(of)) for item in records]


def coded_records(coded: Sequence[CodedFrame], count: int, first: int = 1) -> list[Record]:
    """Decodable records ``first`` and on of a camera of 10 fps."""
    return [coded[n % len(coded)].record(n, START_US + (n - 1) * FRAME_US) for n in range(first, first + count)]


def coded_header(bundle: Bundle, camera: str = "gate", epoch: int = EPOCH) -> StreamHeader:
    return header(camera, epoch, bundle.codec_id)


def open_store(root: Path, database: Engine, segment_seconds: float = 1.0, clock: Clock | None = None) -> RecordStore:
    store = RecordStore(root, SegmentIndex(database), segment_seconds, clock or ManualClock())
    _opened[database].append(store)
    return store


def close_stores(database: Engine) -> None:
    """Ends what was opened on a database and left as if its process was killed: its threads use the database still."""
    for store in _opened.pop(database, ()):
        # One that took records after its end has nobody left to tell the index.
        with suppress(RuntimeError):
            store.close()
    database.dispose()


class BrightnessDetector:
    """Finds one ``bright`` or ``dark`` thing, as large as the picture, and can be told to fail."""

    model = "brightness"
    batch = 4

    def __init__(self) -> None:
        self.failing = False
        self.seen = 0

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        if self.failing:
            raise DetectorError("the detector was told to fail; tell it not to")
        self.seen += len(images)
        return [[self._look(image)] for image in images]

    def _look(self, image: NDArray[np.uint8]) -> Detection:
        height, width = image.shape[:2]
        name = "bright" if image.mean() > 127 else "dark"
        return Detection(name, float(image.mean() / 255), 0.0, 0.0, float(width), float(height))
