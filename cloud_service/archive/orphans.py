"""Orphans: videos and thumbnails in the archive's folders that no row of the database knows.

A crash between a file and its row leaves one, and so does a database that was set aside. They are looked for a few
folders at a time, and judged once all were seen: many at once are no orphans but another's files, another database or a
fault, and then nothing goes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select

from cloud_service.archive.storage import ArchiveStorage
from cloud_service.database.retention_tables import GarbageRow
from cloud_service.database.tables import CursorRow, RecordSegmentRow, TombstoneRow, VideoSegmentRow
from cloud_service.database.usage import Tier

LEAST_AGE_US = 3600 * 1_000_000
"""Younger files may be on their way into the database."""
MOST_ORPHANS = 1000
"""In one sweep; from so many on nothing goes."""
MOST_PART = 0.01
"""Of all files that were looked at, but always two."""
FOLDERS_AT_ONCE = 60
_DAY, _HOUR = re.compile(r"\d{4}-\d\d-\d\d"), re.compile(r"[0-2]\d")
_FILE = re.compile(r"\d{8}T\d{12}Z-(\d{6,})\.(mp4|jpg)")
_TIERS = {"mp4": Tier.VIDEO, "jpg": Tier.THUMBNAILS}


@dataclass(frozen=True)
class Orphan:
    """A file that no row knows.

    Attributes:
        path: relative to the archive's root.
        number: of the segment that it was made from, by its name.
        disk_bytes: what the disk gave it.
        may_go: whether it is known what it was, and that nothing makes or needs it any more.
    """

    path: str
    camera: str
    number: int
    tier: Tier
    disk_bytes: int
    may_go: bool


@dataclass(frozen=True)
class Swept:
    """What a whole sweep found.

    Attributes:
        files: videos and thumbnails that were looked at.
        going: what is to be deleted.
        staying: orphans that stay, for a person to look at.
    """

    files: int
    going: Sequence[Orphan]
    staying: Sequence[Orphan]


class OrphanSweep:
    """One sweep through an archive, some folders with each ``step``. Belongs to one thread."""

    def __init__(self, storage: ArchiveStorage, database: Engine, held: Callable[[str, int, int, int], bool]) -> None:
        """Begins a sweep.

        Args:
            held: whether a segment of a camera must stay, by its number and its first and last capture time.
        """
        self._storage, self._database, self._held = storage, database, held
        self._folders = self._hours()
        self._files = 0
        self._found: list[Orphan] = []

    def step(self, now_us: int) -> Swept | None:
        """Looks at the next folders.

        Args:
            now_us: a time that can be trusted, microseconds since 1970.

        Returns:
            What was found, once all were looked at; then the sweep is at its end.

        Raises:
            StorageError: the archive does not answer.
            SQLAlchemyError: the database does not answer.
        """
        for _ in range(FOLDERS_AT_ONCE):
            folder = next(self._folders, None)
            if folder is None:
                return self._judge()
            self._found += self._look(*folder, now_us)
        return None

    def _judge(self) -> Swept:
        count = len(self._found)
        if count >= MOST_ORPHANS or count > max(2, MOST_PART * self._files):
            return Swept(self._files, (), self._found)
        going = [orphan for orphan in self._found if orphan.may_go]
        return Swept(self._files, going, [orphan for orphan in self._found if not orphan.may_go])

    def _hours(self) -> Iterator[tuple[str, str]]:
        """Each camera with each of its folders by hour."""
        for camera in self._storage.folders(""):
            for day in self._storage.folders(camera):
                if _DAY.fullmatch(day):
                    for hour in self._storage.folders(f"{camera}/{day}"):
                        if _HOUR.fullmatch(hour):
                            yield camera, f"{camera}/{day}/{hour}"

    def _look(self, camera: str, folder: str, now_us: int) -> list[Orphan]:
        named = [
            (file, int(match[1]), _TIERS[match[2]])
            for file in self._storage.files(folder)
            if (match := _FILE.fullmatch(file.name))
        ]
        self._files += len(named)
        old = [each for each in named if now_us - each[0].changed_us > LEAST_AGE_US]
        with self._database.connect() as connection:
            known = known_paths(connection, camera, [number for _, number, _ in old])
            unknown = [each for each in old if f"{folder}/{each[0].name}" not in known]
            free = self._free(connection, camera, [number for _, number, _ in unknown]) if unknown else set()
        return [
            Orphan(f"{folder}/{file.name}", camera, number, tier, file.disk_bytes, number in free)
            for file, number, tier in unknown
        ]

    def _free(self, connection: Connection, camera: str, numbers: Sequence[int]) -> set[int]:
        """Which of some segments are there or were deleted, are rendered, and are not held: what lies beside the
        archive's rows of these is of no use.
        """
        rendered = connection.scalar(select(CursorRow.archive_segment).where(CursorRow.camera == camera)) or 0
        found: set[int] = set()
        for of in (RecordSegmentRow, TombstoneRow):
            query = select(of.number, of.first_capture_us, of.last_capture_us).where(
                of.camera == camera, of.number.in_(numbers), of.number < rendered
            )
            for number, first_us, last_us in connection.execute(query):
                if not self._held(camera, number, first_us, last_us):
                    found.add(number)
        return found


def known_paths(connection: Connection, camera: str, numbers: Sequence[int]) -> set[str]:
    """The paths of all files that the database knows of some segments, those that are about to be deleted included."""
    if not numbers:
        return set()
    of = VideoSegmentRow
    rows = connection.execute(
        select(of.path, of.thumbnail_path).where(of.camera == camera, of.number.in_(numbers))
    ).all()
    garbage = connection.scalars(
        select(GarbageRow.path).where(GarbageRow.root == "archive", GarbageRow.path.startswith(f"{camera}/"))
    )
    return {path for row in rows for path in row} | set(garbage)
