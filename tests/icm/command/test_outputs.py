"""Where icm writes: a whole file or none, through links and pipes, never over what it reads or what is no file."""

from __future__ import annotations

import os
import stat
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from icm.atomic_file import delete_unfinished
from icm.command.outputs import open_output
from icm.errors import ConfigError, ImageError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.write_bytes(b"read me")
    return path


def write(target: Path, source: Path, data: bytes = b"new") -> None:
    with open_output(target, source) as file:
        file.write(data)


def test_a_file_appears_whole_in_a_folder_that_is_made(tmp_path: Path, source: Path) -> None:
    with open_output(tmp_path / "a/b/out", source) as file:
        file.write(b"new")
        assert not (tmp_path / "a/b/out").exists()
    assert (tmp_path / "a/b/out").read_bytes() == b"new"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "a/b/out").stat().st_mode) == 0o666 & ~umask
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["out"]


def test_what_fails_leaves_what_was_there(tmp_path: Path, source: Path) -> None:
    (tmp_path / "out").write_bytes(b"old")
    with suppress(ImageError), open_output(tmp_path / "out", source) as file:
        file.write(b"new")
        raise ImageError("damaged")
    assert (tmp_path / "out").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_a_file_that_is_replaced_keeps_who_may_read_it(tmp_path: Path, source: Path) -> None:
    (tmp_path / "out").touch(0o600)
    write(tmp_path / "out", source)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o600


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed_and_stays(tmp_path: Path, source: Path, there: bool) -> None:
    real = tmp_path / "elsewhere/real"
    real.parent.mkdir()
    if there:
        real.write_bytes(b"old")
    (tmp_path / "middle").symlink_to("elsewhere/real")
    (tmp_path / "link").symlink_to(tmp_path / "middle")
    write(tmp_path / "link", source)
    assert (tmp_path / "link").is_symlink()
    assert real.read_bytes() == b"new"


def test_a_pipe_is_written_to_and_stays(tmp_path: Path, source: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write(tmp_path / "pipe", source)
    reader.join()
    assert got == [b"new"]
    assert (tmp_path / "pipe").is_fifo()


def test_a_pipe_that_is_open_already_is_written_to(source: Path) -> None:
    reading, writing = os.pipe()
    write(Path(f"/dev/fd/{writing}"), source)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"new"


def test_a_device_is_written_to_and_stays(source: Path) -> None:
    # A terminal's: where that is, no file can take a device's place, should this ever fail.
    ours, theirs = os.openpty()
    device = Path(os.ttyname(theirs))
    write(device, source)
    assert os.read(ours, 100) == b"new"
    assert device.is_char_device()
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("way", ["itself", "by a link", "by another name", "by a roundabout path"])
def test_what_is_read_is_never_written(tmp_path: Path, source: Path, way: str) -> None:
    target = {
        "itself": source,
        "by a link": tmp_path / "link",
        "by another name": tmp_path / "hard",
        "by a roundabout path": tmp_path / "folder/../in",
    }[way]
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "hard").hardlink_to(source)
    with pytest.raises(ConfigError, match="is the file to read"):
        write(target, source)
    assert source.read_bytes() == b"read me"


def test_what_cannot_be_written_is_named(tmp_path: Path, source: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for target, message in (
        (tmp_path, "is a folder: name the file to write"),
        (tmp_path / "loop", "leads back to itself"),
        (source / "out", "cannot write"),
        (Path("/proc/none/out"), "cannot write"),
        (tmp_path / ("x" * 300), "cannot write"),
    ):
        with pytest.raises(ConfigError, match=message):
            write(target, source)
    assert source.read_bytes() == b"read me"


def test_a_name_as_long_as_names_get_can_be_written(tmp_path: Path, source: Path) -> None:
    write(tmp_path / ("x" * 255), source)
    assert (tmp_path / ("x" * 255)).read_bytes() == b"new"


def test_an_end_without_notice_leaves_nothing_unfinished(tmp_path: Path, source: Path) -> None:
    with suppress(ConfigError), open_output(tmp_path / "out", source) as file:
        file.write(b"new")
        delete_unfinished()
        assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_end_at_the_moment_a_file_is_made_leaves_nothing(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, left = os.open, []

    def interrupted(path: Path, flags: int, *mode: int) -> int:
        handle = make(path, flags, *mode)
        if flags & os.O_CREAT:
            delete_unfinished()
            left.extend(Path(path).parent.iterdir())
        return handle

    monkeypatch.setattr(os, "open", interrupted)
    with suppress(ConfigError):
        write(tmp_path / "out", source)
    assert set(left) == {source}
