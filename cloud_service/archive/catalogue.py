"""The catalogue of what the archive holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import ColumnElement, Connection, Engine, delete, literal_column, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from cloud_service.archive.fragments import pack_fragments, unpack_fragments
from cloud_service.archive.writer import VideoSegment
from cloud_service.database.damage import trouble
from cloud_service.database.retention_tables import GarbageRow
from cloud_service.database.statements import add_rows, put_rows, transaction
from cloud_service.database.tables import VideoSegmentRow
from cloud_service.database.usage import Amount, Tier, UsageKey, add_usage
from cloud_service.store.cursors import set_archived
from cloud_service.store.segment import LONGEST_US
from icm.errors import StorageError

_TABLE = VideoSegmentRow.__table__
_NOTHING: ColumnElement[str] = literal_column("''")
"""The path of what is gone, as it stands in the indexes of what is there: a value of a statement does not fit these."""
_LONGEST_US = 2 * LONGEST_US
"""A segment's records, and its last frame, which is shown for as long as the others are on average."""
_COLUMNS = [column.name for column in _TABLE.columns if not column.primary_key]


class VideoCatalogue:
    """Rows of ``video_segments``, and what they take in ``usage``. Thread-safe."""

    def __init__(self, database: Engine) -> None:
        self._database = database

    def knows_any(self) -> bool:
        """Whether any video or thumbnail should be there.

        Raises:
            StorageError: the database does not answer.
        """
        try:
            with self._database.connect() as connection:
                return connection.execute(select(VideoSegmentRow.number).limit(1)).first() is not None
        except SQLAlchemyError as error:
            raise StorageError(f"the database does not answer: {trouble(error)}") from error

    def add_part(self, video: VideoSegment) -> None:
        """Enters a video whose record segment goes on; it will be rendered again and replaced.

        Raises:
            SQLAlchemyError: the database refused.
        """
        with transaction(self._database) as connection:
            _put(connection, video)

    def add_whole(self, camera: str, number: int, video: VideoSegment | None) -> None:
        """Enters the video of a whole record segment, if that gave one, and moves the archive's progress past it.

        Raises:
            SQLAlchemyError: the database refused; nothing changed.
        """
        with transaction(self._database) as connection:
            if video is not None:
                _put(connection, video)
            set_archived(connection, camera, number + 1)

    def oldest(self, camera: str, tier: Tier, most: int, before_us: int | None = None) -> list[VideoSegment]:
        """A camera's videos whose MP4, or whose thumbnail, is still there, the ``most`` oldest first.

        Args:
            camera: its name.
            tier: which of both counts.
            most: how many at most.
            before_us: only those that start before this, microseconds since 1970.
        """
        path = VideoSegmentRow.path if tier is Tier.VIDEO else VideoSegmentRow.thumbnail_path
        query = select(VideoSegmentRow).filter_by(camera=camera).where(path != _NOTHING)
        if before_us is not None:
            query = query.where(VideoSegmentRow.start_us < before_us)
        with Session(self._database) as session:
            return [_video(row) for row in session.scalars(query.order_by(VideoSegmentRow.start_us).limit(most))]

    def list(self, camera: str, from_us: int | None, to_us: int | None, most: int | None = None) -> list[VideoSegment]:
        """A camera's videos that end at or after ``from_us`` and start before ``to_us``, the ``most`` oldest first."""
        query = select(VideoSegmentRow).filter_by(camera=camera).where(VideoSegmentRow.path != _NOTHING)
        if from_us is not None:
            query = query.where(
                # No video is longer than that, so what is older need not be read.
                VideoSegmentRow.start_us >= from_us - _LONGEST_US,
                VideoSegmentRow.start_us + VideoSegmentRow.duration_us >= from_us,
            )
        if to_us is not None:
            query = query.where(VideoSegmentRow.start_us < to_us)
        with Session(self._database) as session:
            return [_video(row) for row in session.scalars(query.order_by(VideoSegmentRow.start_us).limit(most))]


def mark_gone(connection: Connection, camera: str, numbers: Sequence[int], tier: Tier) -> list[str]:
    """Notes as part of the connection's transaction that files are no more to be read, and takes them from the usage.

    Args:
        connection: of the transaction.
        camera: whose they are.
        numbers: of their segments; one without such a file is left as it is.
        tier: whether their MP4s go, or their thumbnails.

    Returns:
        The paths of the files, relative to the archive's root, which are to be deleted now.
    """
    of = _TABLE.c
    path, size, disk = (
        (of.path, of.bytes, of.disk_bytes)
        if tier is Tier.VIDEO
        else (of.thumbnail_path, of.thumbnail_bytes, of.thumbnail_disk_bytes)
    )
    there = (of.camera == camera) & of.number.in_(numbers) & (path != "")
    # Locked, as what is subtracted must be what is deleted, whoever renders meanwhile.
    rows = connection.execute(select(path, size, disk).where(there).with_for_update()).all()
    values: dict[str, str | int] = {path.name: "", size.name: 0, disk.name: 0}
    if tier is Tier.VIDEO:
        values |= {"init": "", "fragments": ""}
    connection.execute(update(VideoSegmentRow).where(there).values(values))
    connection.execute(
        delete(VideoSegmentRow).where(
            of.camera == camera, of.number.in_(numbers), of.path == "", of.thumbnail_path == ""
        )
    )
    taken = Amount(len(rows), sum(row[1] for row in rows), sum(row[2] for row in rows))
    add_usage(connection, {UsageKey(camera, tier): -taken})
    return [row[0] for row in rows]


def _put(connection: Connection, video: VideoSegment) -> None:
    of = _TABLE.c
    columns = (of.path, of.bytes, of.disk_bytes, of.thumbnail_path, of.thumbnail_bytes, of.thumbnail_disk_bytes)
    same = (of.camera == video.camera) & (of.number == video.number)
    before = connection.execute(select(*columns).where(same).with_for_update()).first()
    # A file that is written again is garbage no more, and one whose row goes on with another is from now on: the first
    # frame that can be decoded, whose time is in the path, may be another than before.
    garbage = GarbageRow.path.in_((video.path, video.thumbnail_path))
    connection.execute(delete(GarbageRow).where(GarbageRow.root == "archive", garbage))
    if before is not None:
        former = {before.path: before.disk_bytes, before.thumbnail_path: before.thumbnail_disk_bytes}
        gone = {path: size for path, size in former.items() if path not in ("", video.path, video.thumbnail_path)}
        entries = [{"root": "archive", "path": path, "disk_bytes": size} for path, size in gone.items()]
        add_rows(connection, GarbageRow, entries, (GarbageRow.path,))
    row = asdict(video) | {"fragments": pack_fragments(video.fragments, video.start_us)}
    put_rows(connection, VideoSegmentRow, [row], update=_COLUMNS)
    video_is = Amount(1, video.bytes, video.disk_bytes)
    thumbnail_is = Amount(1, video.thumbnail_bytes, video.thumbnail_disk_bytes)
    if before is not None and before.path:
        video_is += -Amount(1, before.bytes, before.disk_bytes)
    if before is not None and before.thumbnail_path:
        thumbnail_is += -Amount(1, before.thumbnail_bytes, before.thumbnail_disk_bytes)
    changes = {
        UsageKey(video.camera, Tier.VIDEO): video_is,
        UsageKey(video.camera, Tier.THUMBNAILS): thumbnail_is,
    }
    add_usage(connection, changes)


def _video(row: VideoSegmentRow) -> VideoSegment:
    return VideoSegment(
        camera=row.camera,
        number=row.number,
        start_us=row.start_us,
        duration_us=row.duration_us,
        frames=row.frames,
        path=row.path,
        bytes=row.bytes,
        thumbnail_path=row.thumbnail_path,
        thumbnail_bytes=row.thumbnail_bytes,
        disk_bytes=row.disk_bytes,
        thumbnail_disk_bytes=row.thumbnail_disk_bytes,
        init=row.init,
        fragments=unpack_fragments(row.fragments, row.start_us),
    )
