"""All that one model found in a segment, as one run of bytes: some 7 bytes a box where a row takes 112.

A version, then, deflated by zlib with its checksum: a header, the names of classes and the numbers of sightings, and a
column after the other. Of each frame capture time, sequence and how many boxes it has; of each box its class, sighting,
score and edges. Columns are split into planes, all lowest bytes first, since the upper ones are nearly always the same.

Edges are whole numbers of half pixels, so a box comes back within a quarter pixel; they are kept as the difference to
the box before of the same sighting, which is small. Scores come back within 1/131070.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cloud_service.detection.base import Detection
from icm.errors import StoredDamageError

_VERSION = 1
_HEADER = struct.Struct("<IIHI")
"""Frames, boxes, classes, sightings."""
_UNITS = 2
"""Of an edge, in a pixel. The widest picture that a record can hold has 16,384 pixels."""
_MOST = 65_535


class PackedFrame(NamedTuple):
    """What was found in a frame.

    Attributes:
        sequence: the frame's.
        capture_us: when it was captured, microseconds since 1970.
        detections: in the detector's order; may be empty.
        sightings: for each detection the ``id`` of its row in ``sightings``.
    """

    sequence: int
    capture_us: int
    detections: tuple[Detection, ...]
    sightings: tuple[int, ...]


class Boxes(NamedTuple):
    """What was found in the frames of a segment.

    Attributes:
        captures: int64[frames], microseconds since 1970, rising.
        sequences: int64[frames].
        counts: int64[frames], boxes in each.
        names: the classes.
        classes: int64[boxes], places in ``names``; frame by frame.
        sightings: int64[boxes], ``id`` in ``sightings``.
        scores: float64[boxes].
        edges: float64[boxes, 4]: left, top, right, bottom in pixels.
    """

    captures: NDArray[np.int64]
    sequences: NDArray[np.int64]
    counts: NDArray[np.int64]
    names: tuple[str, ...]
    classes: NDArray[np.int64]
    sightings: NDArray[np.int64]
    scores: NDArray[np.float64]
    edges: NDArray[np.float64]

    def frames(self) -> Iterator[PackedFrame]:
        """The frames, oldest first."""
        found = self._detections(0, len(self.classes))
        sightings, start = self.sightings.tolist(), 0
        for sequence, capture_us, count in zip(
            self.sequences.tolist(), self.captures.tolist(), self.counts.tolist(), strict=True
        ):
            end = start + count
            yield PackedFrame(sequence, capture_us, tuple(found[start:end]), tuple(sightings[start:end]))
            start = end

    def frame(self, sequence: int) -> PackedFrame | None:
        """One frame, if it is among them."""
        for index in np.flatnonzero(self.sequences == sequence).tolist():
            start = int(self.counts[:index].sum())
            end = start + int(self.counts[index])
            found, sightings = self._detections(start, end), self.sightings[start:end].tolist()
            return PackedFrame(sequence, int(self.captures[index]), tuple(found), tuple(sightings))
        return None

    def _detections(self, start: int, end: int) -> list[Detection]:
        columns = (self.classes[start:end], self.scores[start:end], self.edges[start:end])
        return [
            Detection(self.names[index], score, *edges)
            for index, score, edges in zip(*(column.tolist() for column in columns), strict=True)
        ]


def pack(frames: Sequence[PackedFrame]) -> bytes:
    """The bytes of frames, which may come in any order."""
    ordered = sorted(frames, key=lambda frame: (frame.capture_us, frame.sequence))
    found = [detection for frame in ordered for detection in frame.detections]
    names = list(dict.fromkeys(detection.class_name for detection in found))
    place = {name: index for index, name in enumerate(names)}
    of_boxes = [sighting for frame in ordered for sighting in frame.sightings]
    sightings, sighting_index = np.unique(np.array(of_boxes, np.int64), return_inverse=True)
    edges = np.array([(box.left, box.top, box.right, box.bottom) for box in found], np.float64).reshape(-1, 4)
    units = np.rint(edges * _UNITS).clip(0, _MOST).astype(np.uint16)
    scores = np.array([box.score for box in found], np.float64)
    by_sighting = np.argsort(sighting_index, kind="stable")
    content = b"".join(
        [
            _HEADER.pack(len(ordered), len(found), len(names), len(sightings)),
            *(struct.pack("<H", len(name.encode())) + name.encode() for name in names),
            sightings.astype("<i8").tobytes(),
            _planes(_steps(np.array([frame.capture_us for frame in ordered], np.int64)), "<i8"),
            _planes(_steps(np.array([frame.sequence for frame in ordered], np.int64)), "<i8"),
            _planes(np.array([len(frame.detections) for frame in ordered], np.int64), "<u2"),
            _planes(np.array([place[box.class_name] for box in found], np.int64), "<u2"),
            _planes(sighting_index, "<u4"),
            _planes(np.rint(scores.clip(0, 1) * _MOST), "<u2"),
            # Unsigned numbers wrap around, and adding up undoes it.
            *(_planes(_steps(units[by_sighting, edge]), "<u2") for edge in range(4)),
        ]
    )
    return bytes([_VERSION]) + zlib.compress(content)


def unpack(data: bytes) -> Boxes:
    """What ``pack`` made bytes of.

    Raises:
        StoredDamageError: they are none of its.
    """
    try:
        if data[:1] != bytes([_VERSION]):
            raise ValueError(f"their version is {data[:1].hex()}")
        reader = _Reader(zlib.decompress(data[1:]))
        frames, boxes, classes, sightings = _HEADER.unpack(reader.take(_HEADER.size))
        names = tuple(reader.take(struct.unpack("<H", reader.take(2))[0]).decode() for _ in range(classes))
        of_index = np.frombuffer(reader.take(8 * sightings), "<i8").astype(np.int64)
        captures = np.cumsum(reader.column("<i8", frames))
        sequences = np.cumsum(reader.column("<i8", frames))
        counts = reader.column("<u2", frames)
        of_boxes = reader.column("<u2", boxes)
        sighting_index = reader.column("<u4", boxes)
        scores = reader.column("<u2", boxes) / _MOST
        by_sighting = np.argsort(sighting_index, kind="stable")
        units = np.empty((boxes, 4), np.int64)
        for edge in range(4):
            units[by_sighting, edge] = np.cumsum(reader.column("<u2", boxes)) & _MOST
        return Boxes(captures, sequences, counts, names, of_boxes, of_index[sighting_index], scores, units / _UNITS)
    except (struct.error, zlib.error, ValueError, IndexError) as error:
        raise StoredDamageError(f"packed boxes are damaged ({error}): {_ADVICE}") from None


_ADVICE = "the database holds what nobody wrote; restart icm-cloud, which looks for damage"


class _Reader:
    """Takes bytes one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content, self._place = content, 0

    def take(self, size: int) -> bytes:
        """The next bytes.

        Raises:
            ValueError: there are fewer.
        """
        taken = self._content[self._place : self._place + size]
        if len(taken) < size:
            raise ValueError("they end too early")
        self._place += size
        return taken

    def column(self, kind: str, count: int) -> NDArray[np.int64]:
        """The next column, int64[count], of numbers that are kept as this type of NumPy's."""
        size = np.dtype(kind).itemsize
        planes = np.frombuffer(self.take(size * count), np.uint8).reshape(size, count)
        return np.ascontiguousarray(planes.T).reshape(-1).view(kind).astype(np.int64)


def _planes(values: NDArray[Any], kind: str) -> bytes:
    size = np.dtype(kind).itemsize
    return values.astype(kind).view(np.uint8).reshape(-1, size).T.tobytes()


def _steps(values: NDArray[Any]) -> NDArray[Any]:
    """Each value's difference to the one before it, the first's to 0."""
    return np.diff(values, prepend=values.dtype.type(0))
