"""Keyframes: what makes a segment readable by itself.

A camera sends an I record at its stream's start and P records from then on, so most segments begin with a P record. A
keyframe is that first frame as an I record: the same sequence, capture time and latents. It lies beside the segment,
which stays what the camera sent, as ``<segment>.keyframe``, a stream of one record. Keyframes are made from records, so
one that is lost or damaged costs reading from an earlier segment on, and is made again by whoever does so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from cloud_service.store.segment import Segment
from icm.atomic_file import write_atomically
from icm.codec.bitstream.record import Kind, Record, StreamHeader, parse_stream
from icm.errors import RecordError, StorageError, storage_error

log = logging.getLogger(__name__)


class SegmentKeyframes:
    """The keyframes of all segments below a store's folder. Thread-safe: a keyframe is written whole or not at all."""

    def __init__(self, root: Path, check_owned: Callable[[], None] = lambda: None) -> None:
        """Opens the keyframes of the segments in a folder.

        Args:
            check_owned: as in ``RecordStore``.
        """
        self._root, self._check_owned = root, check_owned

    def read(self, segment: Segment, first: Record) -> Record | None:
        """The keyframe of a segment that begins with the record ``first``; None if there is none that can be used."""
        path = self._path(segment)
        try:
            _, records = parse_stream(path.read_bytes())
            (keyframe,) = records
        except FileNotFoundError:
            return None
        except (OSError, RecordError, ValueError) as error:
            log.warning("the keyframe %s cannot be used: %s", path, error)
            return None
        same = (keyframe.sequence, keyframe.capture_us, keyframe.digest) == (
            first.sequence,
            first.capture_us,
            first.digest,
        )
        if not same or keyframe.kind is not Kind.I:
            log.warning("the keyframe %s is another frame's than the segment's first", path)
            return None
        return keyframe

    def write(self, segment: Segment, header: StreamHeader, keyframe: Record) -> None:
        """Puts a keyframe beside its segment, on the disk when this returns.

        Args:
            header: the segment's.

        Raises:
            StorageError: the disk refused, or the store is this process's no more.
        """
        self._check_owned()
        path = self._path(segment)
        try:
            write_atomically(path, header.pack() + keyframe.pack(header))
        except OSError as error:
            raise storage_error(error, path) from None

    def keep(self, segment: Segment, header: StreamHeader, keyframe: Record) -> None:
        """Puts a keyframe beside its segment as ``write`` does. Where the disk refuses, that is logged: the next reader
        that comes by from an earlier segment makes it again.
        """
        try:
            self.write(segment, header, keyframe)
        except StorageError as error:
            log.warning("segment %s gets no keyframe: %s", segment.path, error)

    def _path(self, segment: Segment) -> Path:
        return (self._root / segment.path).with_suffix(".keyframe")
