"""Renders records to pieces of video: what is in the cache is taken from there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cloud_service.archive.video import VideoEncoder
from cloud_service.clips.boxes import with_boxes
from cloud_service.clips.cache import RenderCache
from cloud_service.clips.latents import LatentReader
from cloud_service.clips.recording import Recording, pieces
from cloud_service.clips.request import ClipRequest, Gaps
from cloud_service.detection.base import Detection
from icm.codec.bitstream.record import Record
from icm.codec.latents.latents import Latents
from icm.errors import RecordError
from icm.frame_id import FrameId

Boxes = Mapping[int, Sequence[Detection]]
"""What was found, by the sequence of the record."""
_VERSION = 1
"""Of what is rendered from the same records; a change of the video encoder or of the boxes' looks is a new one."""


class PieceRenderer:
    """Renders the records of one clip. Not thread-safe."""

    def __init__(
        self,
        *,
        request: ClipRequest,
        size: tuple[int, int] | None,
        latents: LatentReader,
        cache: RenderCache,
        detections: Callable[[FrameId], Sequence[Detection]],
        gaps: Gaps,
    ) -> None:
        """Makes a renderer that has rendered nothing yet.

        Args:
            request: the clip.
            size: width and height of its pictures; those of another size are scaled. None for that of the first.
            latents: of its records.
            cache: where pieces are taken from and kept.
            detections: what was found in a frame.
            gaps: told of frames that are in the clip, and of those that cannot be.
        """
        self._request, self._size = request, size
        self._latents, self._cache, self._detections, self._gaps = latents, cache, detections, gaps

    def render(self, recording: Recording) -> Iterator[bytes]:
        """The pieces of a recording that hold frames of the clip: each an init segment and fragments behind it.

        Raises:
            BundleError: nothing decodes it.
            BusyError: it needs too many records.
            StorageError: the disk or the database does not answer, or the encoder failed.
        """
        records, request = recording.records, self._request
        if self._size is None:
            self._size = recording.header.width, recording.header.height
        latents = self._latents.latents(recording)
        decoded = 0
        for piece in pieces(records):
            if not any(request.holds(records[place].capture_us) for place in piece):
                continue
            boxes = self._boxes(recording, [records[place] for place in piece])
            key = self._key(recording, [records[place] for place in piece], boxes)
            known = self._cache.get(key)
            if known is not None:
                self._gaps.shown()
                yield known
                continue
            for _ in range(decoded, piece.start):
                next(latents)
            decoded = piece.stop
            rendered, whole = self._render(recording, piece, latents, boxes)
            if rendered and whole:
                self._cache.put(key, rendered)
            if rendered:
                yield rendered
        lost = recording.segment.records - len(records)
        first, last = records[-1].capture_us if records else request.from_us, recording.segment.last_capture_us
        if recording.damage and last >= request.from_us and first < request.to_us:
            self._gaps.lost(max(first, request.from_us), min(last, request.to_us - 1), lost, recording.damage)

    def _render(
        self, recording: Recording, piece: range, latents: Iterator[Latents | RecordError], boxes: Boxes
    ) -> tuple[bytes, bool]:
        """A piece, empty if it has no picture, and whether it has all of them."""
        decoder = self._latents.decoder(recording)
        assert self._size is not None
        video = VideoEncoder(*self._size)
        whole = True
        for place in piece:
            record, item = recording.records[place], next(latents)
            if isinstance(item, RecordError):
                whole = False
                if self._request.holds(record.capture_us):
                    self._gaps.lost(record.capture_us, record.capture_us, 1, str(item))
                continue
            if self._request.holds(record.capture_us):
                self._gaps.shown()
            picture = with_boxes(decoder.picture(item), boxes.get(record.sequence, ()))
            video.add(self._scaled(picture), record.capture_us)
        if not video.frames:
            return b"", whole
        mp4, init, fragments = video.finish()
        return init + mp4[fragments[0].offset : fragments[-1].offset + fragments[-1].length], whole

    def _scaled(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        assert self._size is not None
        width, height = self._size
        if picture.shape[:2] == (height, width):
            return picture
        return np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))

    def _boxes(self, recording: Recording, records: Sequence[Record]) -> Boxes:
        if not self._request.boxes:
            return {}
        camera, epoch = recording.segment.camera, recording.header.epoch
        found = {record.sequence: self._detections(FrameId(camera, epoch, record.sequence)) for record in records}
        return {sequence: detections for sequence, detections in found.items() if detections}

    def _key(self, recording: Recording, records: Sequence[Record], boxes: Boxes) -> str:
        """Names a piece by all that its bytes come from."""
        bundle, header = self._latents.bundle(recording), recording.header
        content = (
            _VERSION,
            bundle.synthesis_digest,
            [bundle.grain.deviation(record.quality) for record in records],
            header.codec_id.hex(),
            (header.camera, header.epoch, header.width, header.height),
            self._size,
            [(of.sequence, of.capture_us, of.quality, of.version, of.digest) for of in records],
            [
                (number, [(of.class_name, of.score, of.left, of.top, of.right, of.bottom) for of in found])
                for number, found in sorted(boxes.items())
            ],
        )
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()
