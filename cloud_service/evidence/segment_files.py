"""A segment's file and what it takes to decode it, read for an export."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cloud_service.bundles import Bundles
from cloud_service.processing.engine.decoding import keyframe_of
from cloud_service.store import RecordStore, reading
from cloud_service.store.segment import Segment
from icm.codec.bitstream.record import Kind, Record, StreamHeader
from icm.codec.decoder import Decoder
from icm.errors import IcmError, RecordError, StoredDamageError, storage_error

_READ_BYTES = 1 << 20


class SegmentFile:
    """One segment's file, held open, so that it can be read to its end even if it is deleted meanwhile.

    Attributes:
        segment: whose file it is.
        header: of its records; None where the file does not begin with one.
        first: its first record; None where that cannot be read.
        problem: what is wrong with the file, as far as was read; empty for nothing.
    """

    def __init__(self, root: Path, segment: Segment) -> None:
        """Opens the file.

        Raises:
            StorageError: it cannot be read.
        """
        self.segment = segment
        self._path = root / segment.path
        self.header: StreamHeader | None = None
        self.first: Record | None = None
        self.problem = ""
        try:
            self._file = self._path.open("rb")
        except OSError as error:
            raise storage_error(error, segment.path) from None
        try:
            chunk = reading.read(root, segment, 0, segment.size, sealed=False, limit=1)
            if chunk is not None:
                self.header, self.first = chunk.header, chunk.records[0]
            else:
                self.problem = "it does not begin with a whole record"
        except RecordError as error:
            self.problem = str(error)
        except IcmError:
            self._file.close()
            raise

    def chunks(self) -> Iterator[bytes]:
        """The file's bytes, and closes it. What cannot be read is a ``problem``."""
        left = self.segment.size
        with self._file:
            while left:
                try:
                    data = self._file.read(min(_READ_BYTES, left))
                except OSError as error:
                    self.problem = self.problem or f"it cannot be read to its end: {error.strerror}"
                    return
                if not data:
                    self.problem = self.problem or f"{left} of its {self.segment.size} bytes are gone"
                    return
                left -= len(data)
                yield data

    def follows(self, before: SegmentFile | None) -> bool:
        """Whether its first record can be decoded once the file before was."""
        first, header = self.first, self.header
        if first is None or header is None:
            return False
        if first.kind is Kind.I:
            return True
        if before is None or before.header is None or before.problem:
            return False
        last = before.segment.sequences
        whole = last.last - last.first + 1 == before.segment.records
        same = replace(before.header, base_us=header.base_us) == header
        return same and whole and last.last == first.sequence - first.reference


class KeyframeSource:
    """Gives the keys of segments that begin with a P record. Thread-safe."""

    def __init__(self, store: RecordStore, bundles: Bundles) -> None:
        self._store, self._bundles = store, bundles

    def packed(self, file: SegmentFile) -> bytes:
        """A segment's key as a file: the one that lies beside it, or else one that is made from the records before.

        Raises:
            IcmError: there is none, and none can be made.
        """
        segment, header, first = file.segment, file.header, file.first
        if header is None or first is None:
            raise StoredDamageError(f"segment {segment.path} has no first record")
        key = self._store.keyframes.read(segment, first) or self._made(segment, header, first)
        return header.pack() + key.pack(header)

    def _made(self, segment: Segment, header: StreamHeader, first: Record) -> Record:
        found = self._store.find(segment.camera, segment.epoch, first.sequence)
        bundle = self._bundles.of(header.codec_id, f"segment {segment.path}")
        decoder = Decoder(bundle)
        for record in found.records:
            latents = decoder.latents(record, header.width, header.height)
        key = keyframe_of(bundle, first, latents)
        self._store.keyframes.keep(segment, header, key)
        return key
