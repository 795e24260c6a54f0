"""The latents of one camera's records, from any segment on, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from cloud_service.bundles import Bundles
from cloud_service.clips.recording import Recording, read_recording
from cloud_service.clips.request import ClipDecoder
from cloud_service.processing.engine.decoding import keyframe_of
from cloud_service.store import RecordStore, Segment
from cloud_service.store.store import MOST_RECORDS_DECODED
from icm.codec.bitstream.record import Kind, Record, StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.decoder import Decoder
from icm.codec.latents.latents import Latents
from icm.errors import BusyError, NotFoundError, RecordError

log = logging.getLogger(__name__)
_KEYS_SECONDS = 30.0
"""After which to ask again for a segment that needs too many others."""

_Stream = tuple[bytes, int, int, int]
"""What all records have in common that may need each other."""


class LatentReader:
    """Decodes recordings of one camera in their order. Not thread-safe."""

    def __init__(
        self, store: RecordStore, bundles: Bundles, kind: ClipDecoder, check_wanted: Callable[[], None]
    ) -> None:
        """Makes a reader that has decoded nothing yet.

        Args:
            store: the records, and their segments' keyframes, of which it makes those that lack.
            bundles: decode them.
            kind: which of a bundle's decoders to use.
            check_wanted: called before each record; what it raises ends the work.
        """
        self._store, self._bundles, self._kind, self._check_wanted = store, bundles, kind, check_wanted
        self._bundles_by_codec: dict[bytes, Bundle] = {}
        self._stream: _Stream | None = None
        self._decoder: Decoder | None = None
        self._last = 0

    def bundle(self, recording: Recording) -> Bundle:
        """The bundle that decodes a recording.

        Raises:
            BundleError: there is none, or none with the decoder that is wanted.
        """
        codec_id = recording.header.codec_id
        if codec_id not in self._bundles_by_codec:
            bundle = self._bundles.of(codec_id, f"segment {recording.segment.path}")
            self._bundles_by_codec[codec_id] = self._kind.of(bundle)
        return self._bundles_by_codec[codec_id]

    def decoder(self, recording: Recording) -> Decoder:
        """The decoder whose next record is one of this recording's stream."""
        stream = _stream(recording.header)
        if self._decoder is None or self._stream != stream:
            self._stream, self._decoder, self._last = stream, Decoder(self.bundle(recording)), 0
        return self._decoder

    def latents(self, recording: Recording, *, from_elsewhere: bool = True) -> Iterator[Latents | RecordError]:
        """Of each record the latents, or what keeps it from being decoded.

        Args:
            recording: whose first record is decoded by its keyframe, if there is one, else after those before it.
            from_elsewhere: whether to go back as far as it takes for that.

        Raises:
            BundleError: as of ``bundle``.
            BusyError: it takes too many records.
            StorageError: the disk or the database does not answer.
        """
        decoder, header = self.decoder(recording), recording.header
        for place, record in enumerate(recording.records):
            self._check_wanted()
            try:
                if place == 0 and record.kind is Kind.P:
                    latents = self._first(recording, record, decoder, from_elsewhere)
                else:
                    latents = decoder.latents(record, header.width, header.height)
            except RecordError as error:
                yield error
            else:
                self._last = record.sequence
                yield latents

    def _first(self, recording: Recording, record: Record, decoder: Decoder, from_elsewhere: bool) -> Latents:
        header, segment = recording.header, recording.segment
        if (keyframe := self._store.keyframes.read(segment, record)) is not None:
            try:
                return decoder.latents(keyframe, header.width, header.height)
            except RecordError as error:
                log.warning("the keyframe of segment %s cannot be used: %s", segment.path, error)
        if from_elsewhere and record.sequence - record.reference != self._last:
            self._decode_before(recording)
        latents = decoder.latents(record, header.width, header.height)
        self._store.keyframes.keep(segment, header, keyframe_of(self.bundle(recording), record, latents))
        return latents

    def _decode_before(self, recording: Recording) -> None:
        """Decodes what the first record needs, from the nearest segment on that can be decoded by itself."""
        segment, header = recording.segment, recording.header
        number = self._store.decodable_from(segment.camera, segment.number)
        count = 0
        while (before := self._store.segment(segment.camera, number)) is not None and before.number < segment.number:
            count += before.records
            if count > MOST_RECORDS_DECODED:
                raise BusyError(
                    f"segment {segment.path} needs more than {MOST_RECORDS_DECODED} records before it: ask again"
                    " once the detector has come by",
                    _KEYS_SECONDS,
                )
            number = before.number + 1
            earlier = self._readable(before)
            # Another stream's does not need it.
            if earlier is not None and _stream(earlier.header) == _stream(header):
                for _ in self.latents(earlier, from_elsewhere=False):
                    pass

    def _readable(self, segment: Segment) -> Recording | None:
        try:
            return read_recording(self._store, segment)
        except (NotFoundError, RecordError) as error:
            log.warning("segment %s cannot be read: %s", segment.path, error)
            return None


def _stream(header: StreamHeader) -> _Stream:
    return header.codec_id, header.epoch, header.width, header.height
