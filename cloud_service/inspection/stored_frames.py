"""Any stored frame, decoded from its record and those that it needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloud_service.bundles import Bundles
from cloud_service.clips.request import ClipDecoder
from cloud_service.feedback.segment_leases import Renew, SegmentLeases
from cloud_service.processing.engine.decoding import keyframe_of
from cloud_service.store import RecordStore
from icm.codec.bitstream.record import Record, StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.decoder import Decoder
from icm.codec.latents.latents import Latents
from icm.errors import RecordError, StoredDamageError
from icm.frame_id import FrameId


@dataclass(frozen=True)
class StoredFrame:
    """A frame as it was decoded.

    Attributes:
        header: of its segment.
        record: that it was decoded from: its own, or the keyframe of the segment that it begins.
        bundle: that decoded it.
        latents: its own.
        reference: latents of the frame that this record refers to; None for one that is coded alone.
    """

    header: StreamHeader
    record: Record
    bundle: Bundle
    latents: Latents
    reference: Latents | None

    def picture(self, decoder: ClipDecoder = ClipDecoder.FINETUNED) -> NDArray[np.uint8]:
        """The picture, uint8[H, W, 3] RGB.

        Raises:
            BundleError: the bundle has no such decoder.
        """
        return Decoder(decoder.of(self.bundle)).picture(self.latents)


class StoredFrames:
    """Decodes stored frames. Thread-safe."""

    def __init__(self, store: RecordStore, bundles: Bundles, leases: SegmentLeases) -> None:
        """Decodes nothing yet.

        Args:
            store: of the records, and of their segments' keyframes, of which those that lack are made on the way.
            bundles: decode them.
            leases: of the store's segments.
        """
        self._store, self._bundles, self._leases = store, bundles, leases

    def decode(self, key: FrameId) -> StoredFrame:
        """A frame.

        Raises:
            NotFoundError: it is not here; a FrameDeletedError if it was.
            BundleError: there is no bundle that decodes it.
            StorageError: its file cannot be read, or the database does not answer.
            StoredDamageError: its file holds something else, or it cannot be decoded.
            ReferenceMissingError: a record that it needs is not here.
            BusyError: it needs more of them than one call decodes.
        """
        segment = self._store.holder(key.camera, key.epoch, key.sequence)
        if segment is None:
            raise self._store.absent(key.camera, key.epoch, key.sequence)
        with self._leases.segment(segment) as renew:
            return self._decoded(key, renew)

    def picture(self, key: FrameId) -> tuple[int, NDArray[np.uint8]]:
        """When a frame was captured, microseconds since 1970, and its picture, uint8[H, W, 3] RGB; raises as ``decode``
        does.
        """
        frame = self.decode(key)
        return frame.record.capture_us, frame.picture()

    def still(self, key: FrameId) -> StoredFrame | None:
        """A frame whose record was deleted, if its picture was left; None if it was not, or its file cannot be read.

        Raises:
            BundleError: there is no bundle that decodes it.
            StoredDamageError: it cannot be decoded.
            SQLAlchemyError: the database does not answer.
        """
        found = self._store.stills.find(*key)
        if found is None:
            return None
        header, record = found.header, found.record
        bundle = self._bundles.of(header.codec_id, f"the still {key.sequence} of camera {key.camera!r}")
        try:
            latents = Decoder(bundle).latents(record, header.width, header.height)
        except RecordError as error:
            raise StoredDamageError(f"still {key.sequence} of {key.camera!r} cannot be decoded: {error}") from None
        return StoredFrame(header, record, bundle, latents, None)

    def _decoded(self, key: FrameId, renew: Renew) -> StoredFrame:
        header, records, lacking = self._store.find(key.camera, key.epoch, key.sequence)
        bundle = self._bundles.of(header.codec_id, f"frame {key.sequence} of camera {key.camera!r}")
        decoder = Decoder(bundle)
        latents: Latents | None = None
        # Of a long chain only the last two are kept: the latents of a frame can take megabytes.
        for record in records:
            renew()
            reference = latents
            try:
                latents = decoder.latents(record, header.width, header.height)
            except RecordError as error:
                # Its checksum is right, so nobody damaged it; and it is none of the caller's doing.
                raise StoredDamageError(f"frame {key.sequence} of {key.camera!r} cannot be decoded: {error}") from None
            if record.sequence in lacking:
                self._store.keyframes.keep(*lacking[record.sequence], keyframe_of(bundle, record, latents))
        assert latents is not None
        return StoredFrame(header, records[-1], bundle, latents, reference if records[-1].reference else None)
