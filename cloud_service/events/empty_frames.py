"""Frames in which a model found nothing, kept as ranges: most frames are such, and say no more than when they were.

A row holds what a model looked at of 256 consecutive sequences of a camera: ``sequences`` as ranges, such as
``512-600,602-767``, and ``captures``, the capture times of these in their order, 8 bytes each, little-endian,
microseconds since 1970. So a frame is found by its row's key, whatever order frames come in.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, tuple_

from cloud_service.database.tables import EmptyFramesRow
from cloud_service.store import SequenceSet

FRAMES = 256
"""Sequences of a row."""


class BlockKey(NamedTuple):
    """Which sequences a row speaks of: ``FRAMES`` of them, from ``block * FRAMES`` on."""

    camera: str
    epoch: int
    block: int


@dataclass
class EmptyFrames:
    """Frames of a block in which the detector found nothing.

    Attributes:
        key: of the row.
        model: of the row.
        captures: capture time by sequence, microseconds since 1970.
    """

    key: BlockKey
    model: str
    captures: dict[int, int] = field(default_factory=dict)

    @staticmethod
    def from_row(row: Any) -> EmptyFrames:
        """Returns the frames that a row holds.

        Args:
            row: of all columns of ``EmptyFramesRow``.
        """
        members = SequenceSet.from_text(row.sequences)
        sequences = [sequence for first, last in members for sequence in range(first, last + 1)]
        captures = struct.unpack(f"<{len(sequences)}q", row.captures)
        key = BlockKey(row.camera, row.epoch, row.block)
        return EmptyFrames(key, row.model, dict(zip(sequences, captures, strict=True)))

    def to_row(self) -> dict[str, Any]:
        """All columns of ``EmptyFramesRow``."""
        ordered = sorted(self.captures)
        captures = [self.captures[sequence] for sequence in ordered]
        return {
            **self.key._asdict(),
            "model": self.model,
            "sequences": SequenceSet((sequence, sequence) for sequence in ordered).to_text(),
            "captures": struct.pack(f"<{len(captures)}q", *captures),
            "first_capture_us": min(captures),
            "last_capture_us": max(captures),
        }


CONTENT = ("sequences", "captures", "first_capture_us", "last_capture_us")
"""The columns that change as frames are added."""


def block_key(camera: str, epoch: int, sequence: int) -> BlockKey:
    """Of the rows that may speak of a frame."""
    return BlockKey(camera, epoch, sequence // FRAMES)


def empty_frames(connection: Connection, keys: Collection[BlockKey]) -> Iterator[EmptyFrames]:
    """The rows of blocks, by whatever model."""
    if not keys:
        return
    of = tuple_(EmptyFramesRow.camera, EmptyFramesRow.epoch, EmptyFramesRow.block)
    for row in connection.execute(select(EmptyFramesRow.__table__).where(of.in_(sorted(keys)))).all():
        yield EmptyFrames.from_row(row)
