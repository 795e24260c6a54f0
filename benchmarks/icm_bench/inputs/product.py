"""What this project makes of a file, before anything is coded."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge_service.images import read_image
from edge_service.sources.file import FileSource
from edge_service.sources.folder import SUFFIXES, FolderSource
from icm.command.inputs import open_frames, readable
from icm.errors import IcmError
from icm.media.pictures import is_picture
from icm.service.clock import SystemClock
from icm_bench.inputs.cases import Picture


@dataclass
class Outcome:
    """What came of a file.

    Attributes:
        times: in seconds from the first picture.
        said: in plain words.
    """

    pictures: list[Picture] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    error: str | None = None

    @property
    def status(self) -> int:
        """What ``icm encode`` would end with."""
        return 2 if self.error is not None else 3 if self.missing else 0


def read(path: Path) -> Outcome:
    """What ``icm encode`` would code."""
    result = Outcome()
    try:
        with (
            readable(path) as source,
            open_frames(source, result.said.append, result.missing.append) as (_, pictures),
        ):
            for time_us, picture in pictures:
                result.pictures.append(picture)
                result.times.append(time_us / 1e6)
    except IcmError as error:
        result.error = str(error)
    return result


class _QuickClock(SystemClock):
    """Its spans pass by themselves, so that nothing is waited for."""

    def __init__(self) -> None:
        self._passed = 0.0

    def now_us(self) -> int:
        return 1_700_000_000_000_000

    def monotonic(self) -> float:
        self._passed += 1e7
        return self._passed


def differs_at_the_edge(path: Path, coded: Outcome) -> str | None:
    """What the edge's sources and its frame API make of the file otherwise than ``icm`` does; None if nothing."""
    others = {"file source": _from_source(FileSource(path, True, False, _QuickClock()))} if not is_picture(path) else {}
    if path.suffix.lower() in SUFFIXES and path.parent.name == "alone":
        others["folder source"] = _from_source(FolderSource(path.parent, 10, _QuickClock()))
        if is_picture(path) and len(coded.pictures) == 1:
            api = others["frame API"] = Outcome()
            try:
                api.pictures = [read_image(path.read_bytes())]
            except IcmError as error:
                api.error = str(error)
    for name, other in others.items():
        if name == "folder source" and coded.error is not None and not other.pictures:
            continue
        if len(other.pictures) != len(coded.pictures):
            return f"the {name} gives {len(other.pictures)} pictures, icm {len(coded.pictures)}: {other.error}"
        pairs = zip(coded.pictures, other.pictures, strict=True)
        if not all(np.array_equal(one, two) for one, two in pairs):
            return f"the {name} gives other pictures than icm"
        gaps = np.diff(coded.times)
        if name == "file source" and (gaps < 60).all() and not np.allclose(other.times, coded.times, atol=0.002):
            return f"the {name} gives other times than icm: {other.times[:8]} for {coded.times[:8]}"
        if other.status == 0 and coded.status != 0 and name == "file source" and not other.said:
            return f"the {name} says nothing of {coded.missing or coded.error}"
    return None


class _Heard(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())


def _from_source(source: FileSource | FolderSource) -> Outcome:
    result = Outcome()
    log, heard = logging.getLogger("edge_service.sources"), _Heard(result.said)
    log.addHandler(heard)
    log.propagate = False
    try:
        source.check()
        for frame in source.frames(threading.Event()):
            result.pictures.append(frame.image)
            result.times.append(frame.capture_us / 1e6)
        result.times = [time - result.times[0] for time in result.times]
    except IcmError as error:
        result.error = str(error)
    finally:
        log.removeHandler(heard)
        log.propagate = True
    return result
