"""The catalogue of what the archive holds."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from cloud_service.archive.writer import VideoSegment
from cloud_service.database.tables import VideoSegmentRow
from cloud_service.store.cursors import set_archived


class VideoCatalogue:
    """Rows of ``video_segments``. Thread-safe."""

    def __init__(self, database: Engine) -> None:
        self._database = database

    def add_part(self, video: VideoSegment) -> None:
        """Enters a video whose record segment goes on; it will be rendered again and replaced.

        Raises:
            SQLAlchemyError: the database refused.
        """
        with Session(self._database) as session, session.begin():
            session.merge(VideoSegmentRow(**asdict(video)))

    def add_whole(self, camera: str, number: int, video: VideoSegment | None) -> None:
        """Enters the video of a whole record segment, if that gave one, and moves the archive's progress past it.

        Raises:
            SQLAlchemyError: the database refused; nothing changed.
        """
        with Session(self._database) as session, session.begin():
            if video is not None:
                session.merge(VideoSegmentRow(**asdict(video)))
            set_archived(session.connection(), camera, number + 1)

    def list(self, camera: str, from_us: int | None, to_us: int | None, most: int | None = None) -> list[VideoSegment]:
        """A camera's videos that end at or after ``from_us`` and start before ``to_us``, the ``most`` oldest first."""
        query = select(VideoSegmentRow).filter_by(camera=camera).order_by(VideoSegmentRow.start_us).limit(most)
        if from_us is not None:
            query = query.where(VideoSegmentRow.start_us + VideoSegmentRow.duration_us >= from_us)
        if to_us is not None:
            query = query.where(VideoSegmentRow.start_us < to_us)
        with Session(self._database) as session:
            return [_video(row) for row in session.scalars(query)]

    def bytes_by_camera(self) -> dict[str, tuple[int, int]]:
        """Size of each camera's videos and of its thumbnails, in bytes."""
        query = select(
            VideoSegmentRow.camera, func.sum(VideoSegmentRow.bytes), func.sum(VideoSegmentRow.thumbnail_bytes)
        ).group_by(VideoSegmentRow.camera)
        with Session(self._database) as session:
            return {camera: (int(video), int(thumbnails)) for camera, video, thumbnails in session.execute(query)}


def _video(row: VideoSegmentRow) -> VideoSegment:
    return VideoSegment(
        row.camera,
        row.number,
        row.start_us,
        row.duration_us,
        row.frames,
        row.path,
        row.bytes,
        row.thumbnail_path,
        row.thumbnail_bytes,
    )
