"""One camera's files of an export, one after the other, and what case.json says of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from cloud_service.archive.storage import ArchiveStorage
from cloud_service.archive.writer import VideoSegment
from cloud_service.bundles import Bundles
from cloud_service.database.damage import trouble
from cloud_service.events.store import EventStore, FrameEvent
from cloud_service.evidence.contents import CameraContents
from cloud_service.evidence.detection_files import DetectionFiles, events_of, subtitles
from cloud_service.evidence.request import ExportRequest
from cloud_service.evidence.segment_files import KeyframeSource, SegmentFile
from cloud_service.evidence.surveillance_boxes import surveillance_boxes
from cloud_service.seals.files import parts_in, seal_file
from cloud_service.store import RecordStore
from cloud_service.store.segment import Segment
from icm.errors import FrameDeletedError, IcmError, StorageError, storage_error
from icm.evidence.case import CameraCase, ClipEntry, DetectionsEntry, Gap, Missing, SegmentEntry
from icm.evidence.layout import (
    Role,
    clip_path,
    detections_path,
    keyframe_path,
    records_path,
    seals_path,
    subtitles_path,
)
from icm.evidence.times import time_text
from icm.evidence.zip_writing import CaseZip

log = logging.getLogger(__name__)
GAP_US = 10_000_000
"""How long no record is there for it to be called a gap, in microseconds."""


@dataclass(frozen=True, kw_only=True)
class ExportSources:
    """Where exports read from.

    Attributes:
        records: folder of the record store.
        seals: folder of the seals of edges.
        store: the same, opened.
        bundles: the codecs that the cloud reads.
        events: what detectors found.
        storage: the archive of videos.
    """

    records: Path
    seals: Path
    store: RecordStore
    bundles: Bundles
    events: EventStore
    storage: ArchiveStorage


@dataclass
class CameraExport:
    """One camera's part of an export under way.

    Attributes:
        contents: what there is of it.
        missing: what could not be exported, so far; shared by all cameras.
        exported_by: who exports, by their own account.
        exported_us: when, microseconds since 1970.
        codec_ids: of its records.
    """

    sources: ExportSources
    contents: CameraContents
    missing: list[Missing]
    exported_by: str
    exported_us: int
    codec_ids: set[bytes] = field(default_factory=set)
    _segments: list[SegmentEntry] = field(default_factory=list)
    _clips: list[ClipEntry] = field(default_factory=list)
    _found: DetectionsEntry | None = None

    def files(self, case: CaseZip) -> Iterator[bytes]:
        """Adds the camera's files to an evidence file; gives that one's bytes."""
        keys = KeyframeSource(self.sources.store, self.sources.bundles)
        before: SegmentFile | None = None
        with DetectionFiles(self.contents.camera) as detections:
            for segment in self.contents.segments:
                try:
                    file = SegmentFile(self.sources.records, segment)
                except IcmError as error:
                    absent = self.sources.store.absent(segment.camera, segment.epoch, segment.sequences.first)
                    why = absent if isinstance(absent, FrameDeletedError) else error
                    self._miss(segment, "its records", str(why))
                    before = None
                    continue
                yield from self._records(case, file, before, keys)
                before = file
                events = self._events(segment)
                if file.header is not None:
                    self.codec_ids.add(file.header.codec_id)
                    for event in events:
                        detections.add(event, file.header.width, file.header.height)
                yield from self._clip(case, segment, events)
            if detections.frames:
                yield from self._detections(case, detections)
        yield from self._seals(case)

    def result(self, request: ExportRequest, now_us: int) -> CameraCase:
        """What case.json says of the camera.

        Args:
            now_us: the time, microseconds since 1970; later there can be no records.
        """
        return CameraCase(
            name=self.contents.camera,
            codec_ids=sorted(codec_id.hex() for codec_id in self.codec_ids),
            segments=self._segments,
            clips=sorted(self._clips, key=lambda clip: clip.start),
            detections=self._found,
            gaps=_gaps(self.contents.segments, request.from_us, min(request.to_us, now_us)),
            tombstones=self.contents.tombstones,
        )

    def _records(
        self, case: CaseZip, file: SegmentFile, before: SegmentFile | None, keys: KeyframeSource
    ) -> Iterator[bytes]:
        segment = file.segment
        stem = segment.path.removesuffix(".icm")
        path, keyframe = records_path(stem), ""
        yield from case.add(path, Role.RECORDS, file.chunks())
        if not file.problem and segment.sha256 and case.files[-1].sha256 != segment.sha256.hex():
            file.problem = "it is not what was stored: its SHA-256 is another than when it was sealed"
        if file.first is not None and not file.follows(before):
            try:
                packed = keys.packed(file)
            except IcmError as error:
                self._miss(segment, "the frame that its first record leans on", str(error))
            else:
                keyframe = keyframe_path(stem)
                yield from case.add(keyframe, Role.KEYFRAME, [packed])
        if file.problem:
            self._miss(segment, "a part of its records", file.problem)
        self._segments.append(
            SegmentEntry(
                path=path,
                number=segment.number,
                epoch=str(segment.epoch),
                first=time_text(segment.first_capture_us),
                last=time_text(segment.last_capture_us),
                records=segment.records,
                size=case_size(case, path),
                sha256=segment.sha256.hex(),
                sealed=segment.sealed,
                keyframe=keyframe,
                problem=file.problem,
            )
        )

    def _clip(self, case: CaseZip, segment: Segment, events: list[FrameEvent]) -> Iterator[bytes]:
        video = self.contents.videos.get(segment.number)
        if video is None:
            why = "the archive has none, or is not done with it yet" if segment.sealed else "the segment grows still"
            self._miss(segment, "its video", why)
            return
        try:
            mp4 = self.sources.storage.get(video.path)
        except StorageError as error:
            self._miss(segment, "its video", str(error))
            return
        if mp4 is None:
            self._miss(segment, "its video", f"{video.path} is gone from the archive")
            return
        stem = segment.path.removesuffix(".icm")
        boxes = surveillance_boxes(
            camera=segment.camera,
            unit="ICM Bridge",
            operator=self.exported_by,
            exported_us=self.exported_us,
            start_us=video.start_us,
        )
        yield from case.add(clip_path(stem), Role.CLIP, [mp4, boxes])
        found = any(event.detections for event in events)
        if found:
            text = subtitles(events, video.start_us, video.duration_us)
            yield from case.add(subtitles_path(stem), Role.DETECTIONS, [text])
        self._clips.append(_clip_entry(video, stem, found))

    def _events(self, segment: Segment) -> list[FrameEvent]:
        try:
            return events_of(self.sources.events, segment)
        except SQLAlchemyError as error:
            self._miss(segment, "what was found in it", f"the database does not answer: {trouble(error)}")
            return []

    def _seals(self, case: CaseZip) -> Iterator[bytes]:
        """Adds what edges sealed of the segments that are there."""
        numbers = {of.number for of in self._segments}
        lines = list[bytes]()
        try:
            for day in sorted({seal_file(self.sources.seals, of.path) for of in self.contents.segments}):
                for number, parts in parts_in(day).items():
                    lines += [part.line() + b"\n" for part in parts if number in numbers]
        except OSError as error:
            what, why = "the seals of its edge", str(storage_error(error, self.sources.seals))
            self.missing.append(Missing(camera=self.contents.camera, segment=0, what=what, why=why))
            return
        if lines:
            yield from case.add(seals_path(self.contents.camera), Role.PROOF, [b"".join(lines)])

    def _detections(self, case: CaseZip, detections: DetectionFiles) -> Iterator[bytes]:
        json_path, coco_path = (detections_path(self.contents.camera, ending) for ending in ("json", "coco.json"))
        most = self.contents.bytes + (1 << 32)
        yield from case.add(json_path, Role.DETECTIONS, detections.as_json(), most)
        yield from case.add(coco_path, Role.DETECTIONS, detections.as_coco(), most)
        self._found = DetectionsEntry(
            json_path=json_path,
            coco_path=coco_path,
            frames=detections.frames,
            boxes=detections.boxes,
            models=sorted(detections.models),
        )

    def _miss(self, segment: Segment, what: str, why: str) -> None:
        camera = self.contents.camera
        log.warning("an export of camera %s lacks of segment %d %s: %s", camera, segment.number, what, why)
        self.missing.append(Missing(camera=camera, segment=segment.number, what=what, why=why))


def case_size(case: CaseZip, path: str) -> int:
    """Bytes of a file that was added to an evidence file."""
    return next(file.size for file in reversed(case.files) if file.path == path)


def _clip_entry(video: VideoSegment, stem: str, subtitled: bool) -> ClipEntry:
    return ClipEntry(
        path=clip_path(stem),
        subtitles=subtitles_path(stem) if subtitled else "",
        segment=video.number,
        start=time_text(video.start_us),
        duration_us=video.duration_us,
        frames=video.frames,
    )


def _gaps(segments: list[Segment], from_us: int, to_us: int) -> list[Gap]:
    found, reached = [], from_us
    for segment in sorted(segments, key=lambda of: of.first_capture_us):
        if segment.first_capture_us - reached >= GAP_US:
            found.append(Gap(after=time_text(reached), before=time_text(segment.first_capture_us)))
        reached = max(reached, segment.last_capture_us)
    if to_us - reached >= GAP_US:
        found.append(Gap(after=time_text(reached), before=time_text(to_us)))
    return found
