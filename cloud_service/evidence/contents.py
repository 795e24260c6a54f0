"""What is stored of a camera in a range of time: looked up before anything is exported, so that its size is known."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, select

from cloud_service.archive.catalogue import VideoCatalogue
from cloud_service.archive.writer import VideoSegment
from cloud_service.database.tables import TombstoneRow
from cloud_service.evidence.request import ExportRequest
from cloud_service.store import RecordStore
from cloud_service.store.cursors import load_cursors
from cloud_service.store.segment import Segment
from icm.errors import ConfigError, NotFoundError
from icm.evidence.case import TombstoneEntry
from icm.evidence.times import time_text

MOST_SEGMENTS = 100_000
"""Of all cameras in one export: eleven days of one camera's segments of ten seconds."""


@dataclass(frozen=True)
class CameraContents:
    """What there is of one camera.

    Attributes:
        camera: its name.
        segments: by number.
        videos: of these segments, by number, as far as they are whole.
        tombstones: what was deleted, by number.
    """

    camera: str
    segments: list[Segment]
    videos: dict[int, VideoSegment]
    tombstones: list[TombstoneEntry]

    @property
    def bytes(self) -> int:
        """Size of all files, about."""
        return sum(of.size for of in self.segments) + sum(video.bytes for video in self.videos.values())


class ContentsLookup:
    """Looks up what an export would hold. Thread-safe."""

    def __init__(self, store: RecordStore, catalogue: VideoCatalogue, database: Engine, most_bytes: int) -> None:
        """Creates the lookup.

        Args:
            most_bytes: size of the largest export.
        """
        self._store, self._catalogue, self._database = store, catalogue, database
        self._most_bytes = most_bytes

    def find(self, request: ExportRequest) -> list[CameraContents]:
        """What there is, by camera.

        Raises:
            ConfigError: it is more than an export may hold.
            NotFoundError: a camera is unknown, or nothing is stored of the range and nothing was deleted.
            StorageError: the database does not answer.
            SQLAlchemyError: the same.
        """
        known = set(self._store.names())
        found, segments = [], 0
        for camera in request.cameras:
            tombstones = self._tombstones(camera, request)
            if camera not in known and not tombstones:
                raise NotFoundError(f"there is no camera {camera!r}; ListCameras names them")
            deleted = {of.number for of in tombstones}
            stored = self._store.captured_between(camera, request.from_us, request.to_us)
            of_camera = sorted((of for of in stored if of.number not in deleted), key=lambda of: of.number)
            segments += len(of_camera)
            if segments > MOST_SEGMENTS:
                raise ConfigError(f"the range holds more than {MOST_SEGMENTS} segments: export it in shorter parts")
            found.append(CameraContents(camera, of_camera, self._videos(camera, of_camera), tombstones))
        if not any(of.segments or of.tombstones for of in found):
            raise NotFoundError(self._nothing(request))
        total = sum(of.bytes for of in found)
        if total > self._most_bytes:
            raise ConfigError(
                f"the range holds {total} bytes, and an export {self._most_bytes} at most (the cloud's setting"
                " export.max_bytes): export it in shorter parts"
            )
        return found

    def _videos(self, camera: str, segments: list[Segment]) -> dict[int, VideoSegment]:
        """The segments' videos. Those that the archive is not done with grow still, and are left out."""
        if not segments:
            return {}
        done = load_cursors(self._database, camera).archive
        wanted = {of.number for of in segments if of.sealed and of.number < done}
        first = min(of.first_capture_us for of in segments)
        listed = self._catalogue.list(camera, first, max(of.last_capture_us for of in segments) + 1)
        return {video.number: video for video in listed if video.number in wanted and video.path}

    def _tombstones(self, camera: str, request: ExportRequest) -> list[TombstoneEntry]:
        query = select(TombstoneRow.__table__).where(
            TombstoneRow.camera == camera,
            TombstoneRow.last_capture_us >= request.from_us,
            TombstoneRow.first_capture_us < request.to_us,
        )
        with self._database.connect() as connection:
            rows = connection.execute(query.order_by(TombstoneRow.number).limit(MOST_SEGMENTS + 1)).all()
        if len(rows) > MOST_SEGMENTS:
            raise ConfigError(
                f"more than {MOST_SEGMENTS} segments of the range were deleted: export it in shorter parts"
            )
        return [
            TombstoneEntry(
                number=row.number,
                first=time_text(row.first_capture_us),
                last=time_text(row.last_capture_us),
                records=row.records,
                sha256=row.sha256.hex(),
                reason=row.reason,
                rule=row.rule,
                by=row.deleted_by,
                at=time_text(row.deleted_us),
            )
            for row in rows
        ]

    def _nothing(self, request: ExportRequest) -> str:
        span = f"between {time_text(request.from_us)} and {time_text(request.to_us)}"
        stored = [
            f"{of.camera} has records from {time_text(of.first_capture_us)} to {time_text(of.last_capture_us)}"
            for of in self._store.cameras()
            if of.camera in request.cameras
        ]
        return f"nothing is stored {span}: {'; '.join(stored[:8])}"
