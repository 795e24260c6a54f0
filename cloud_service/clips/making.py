"""Makes clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloud_service.bundles import Bundles
from cloud_service.clips.cache import RenderCache
from cloud_service.clips.cutting import Cut, write_clip
from cloud_service.clips.latents import LatentReader
from cloud_service.clips.recording import read_recording
from cloud_service.clips.rendering import PieceRenderer
from cloud_service.clips.request import ClipRequest, Gap, Gaps
from cloud_service.clips.sources import SourceFinder, Sources
from cloud_service.detection.base import Detection
from cloud_service.events.store import EventStore, FrameEvent
from cloud_service.store import RecordStore, Segment
from icm.errors import FrameDeletedError, NotFoundError, RecordError, StorageError, StoredDamageError
from icm.frame_id import FrameId


@dataclass(frozen=True)
class Clip:
    """A clip that was made.

    Attributes:
        cut: what the file holds.
        gaps: frames that are not in it, though they were stored, in order.
    """

    cut: Cut
    gaps: Sequence[Gap]


class ClipMaker:
    """Makes clips of what is stored. Thread-safe."""

    def __init__(
        self, *, store: RecordStore, sources: SourceFinder, bundles: Bundles, events: EventStore, cache: RenderCache
    ) -> None:
        self._store, self._sources, self._bundles, self._events = store, sources, bundles, events
        self._cache = cache

    def make(
        self,
        request: ClipRequest,
        sources: Sources,
        target: Path,
        *,
        progress: Callable[[int], None],
        check_wanted: Callable[[], None],
    ) -> Clip:
        """Makes a clip.

        Args:
            request: what it is to show.
            sources: its own.
            target: the file that is written.
            progress: told how far it is, in microseconds of capture time after the clip's start.
            check_wanted: called often; what it raises ends the work.

        Raises:
            BundleError: nothing decodes the records, or not with the decoder that is wanted.
            BusyError: it needs too many records, for now.
            NotFoundError: no frame is of that time.
            StorageError: the disk or the database does not answer; or a video of the archive cannot be read, where
                nothing was to be rendered.
            StoredDamageError: what there is of that time is damaged or gone, all of it.
        """
        gaps = Gaps()
        renderer = PieceRenderer(
            request=request,
            size=sources.size,
            latents=LatentReader(self._store, self._bundles, request.decoder, check_wanted),
            cache=self._cache,
            detections=self._detections,
            gaps=gaps,
        )

        def pieces() -> Iterator[bytes]:
            for source in sources.of:
                check_wanted()
                video, segment, deleted = source.video, source.segment, source.deleted
                if deleted is not None:
                    first, last = max(deleted.first_us, request.from_us), min(deleted.last_us, request.to_us - 1)
                    gaps.lost(first, last, deleted.records, deleted.why, apart=True)
                try:
                    cut = self._sources.read(video, request) if video is not None else b""
                except StorageError:
                    # Whoever renders needs no video.
                    if segment is None or not sources.renders:
                        raise
                    video, cut = None, b""
                if video is not None:
                    gaps.shown()
                    yield from [cut] if cut else []
                elif segment is not None:
                    yield from self._rendered(segment, request, renderer, gaps)
                if segment is not None:
                    progress(max(0, min(segment.last_capture_us, request.to_us) - request.from_us))

        try:
            cut = write_clip(target, pieces(), request.from_us, request.to_us)
        except NotFoundError:
            if not gaps.found:
                raise
            raise StoredDamageError(f"nothing of the clip can be shown: {gaps.found[0].reason}") from None
        return Clip(cut, gaps.found)

    def _rendered(self, segment: Segment, request: ClipRequest, renderer: PieceRenderer, gaps: Gaps) -> Iterator[bytes]:
        try:
            recording = read_recording(self._store, segment)
        except (NotFoundError, RecordError, StorageError) as error:
            first, last = (
                max(segment.first_capture_us, request.from_us),
                min(segment.last_capture_us, request.to_us - 1),
            )
            absent = self._store.absent(segment.camera, segment.epoch, segment.sequences.first)
            reason = str(absent) if isinstance(absent, FrameDeletedError) else str(error)
            gaps.lost(first, last, segment.records, reason)
        else:
            yield from renderer.render(recording)

    def _detections(self, frame: FrameId) -> Sequence[Detection]:
        event = self._events.get(frame)
        return event.detections if isinstance(event, FrameEvent) else ()
