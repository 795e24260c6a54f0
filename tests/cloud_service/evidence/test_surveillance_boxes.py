"""Clips of an export say by boxes of ONVIF's Export File Format what they are of, and play as before."""

from __future__ import annotations

import struct
import subprocess
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import av

from icm.evidence.times import microseconds_of
from tests.cases import contents
from tests.cloud_service.evidence.conftest import Served
from tests.debian_tools import environment, needed


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """The boxes that lie one behind the other in data, as (type, content)."""
    found, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        assert 8 <= size <= len(data) - at
        found.append((kind, data[at + 8 : at + size]))
        at += size
    return found


def texts(data: bytes, count: int) -> tuple[list[str], bytes]:
    """So many texts that a zero byte ends each, and what comes behind."""
    *found, rest = data.split(b"\0", count)
    return [text.decode() for text in found], rest


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """Time in ticks and luma of each frame that is shown."""
    with av.open(BytesIO(data), "r") as container:
        return [(frame.pts or 0, bytes(frame.planes[0])) for frame in container.decode(video=0)]


def test_a_clip_says_who_exported_it_when_of_which_camera_and_when_it_begins(served: Served, tmp_path: Path) -> None:
    case = served.export(tmp_path / "case.zip", by="Änn 証")
    clip = case.cameras[0].clips[1]
    data = contents(tmp_path / "case.zip")[clip.path]
    kind, content = boxes(data)[-1]
    assert (kind, content[:4]) == (b"meta", bytes(4))
    handler, export, start = boxes(content[4:])
    assert handler == (b"hdlr", bytes(8) + b"null" + bytes(13))
    assert (export[0], export[1][:4]) == (b"suep", b"\1\0\0\0")
    unit, rest = texts(export[1][4:], 3)
    (exported,) = struct.unpack_from(">Q", rest)
    operator, rest = texts(rest[8:], 1)
    tracks = struct.unpack_from(">IH", rest)
    source, rest = texts(rest[6:], 4)
    assert (unit, operator, source, rest) == (["ICM Bridge", "", ""], ["Änn 証"], ["gate", "", "", ""], b"")
    told = datetime(1904, 1, 1, tzinfo=UTC) + timedelta(seconds=exported)
    assert 0 <= microseconds_of(case.exported_at) / 1e6 - told.timestamp() < 1
    assert start[0] == b"cstb"
    count, track, begins = struct.unpack(">IIQ", start[1])
    begun = datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=begins // 10)
    assert begun.isoformat(timespec="microseconds").replace("+00:00", "Z") == clip.start
    with av.open(BytesIO(data), "r") as container:
        assert (count, track) == (1, container.streams.video[0].id)
    assert tracks == (1, track)


def test_players_show_the_very_frames_of_the_archives_video(served: Served, tmp_path: Path) -> None:
    clip = served.export(tmp_path / "case.zip").cameras[0].clips[1]
    data = contents(tmp_path / "case.zip")[clip.path]
    (archived,) = (served.folder / "archive/gate").rglob(Path(clip.path).name)
    assert data.startswith(archived.read_bytes())
    assert len(frames(data)) == clip.frames
    assert frames(data) == frames(archived.read_bytes())


def test_ffprobe_counts_its_frames_without_a_complaint(served: Served, tmp_path: Path) -> None:
    program = needed("ffprobe")
    clip = served.export(tmp_path / "case.zip").cameras[0].clips[1]
    (tmp_path / "clip.mp4").write_bytes(contents(tmp_path / "case.zip")[clip.path])
    command = [program, "-v", "warning", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"]
    told = subprocess.run(
        [*command, tmp_path / "clip.mp4"], check=True, capture_output=True, text=True, env=environment()
    )
    assert (told.stdout.strip(), told.stderr) == (str(clip.frames), "")
