"""A file is there whole or not at all, whatever stops its writer; links and permissions stay as they were."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from icm.atomic_file import atomic_writer, delete_unfinished, scratch_file, write_atomically

NOBODY = 65534
"""A user who is not root."""


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_appears_when_it_is_whole_in_folders_that_are_made(tmp_path: Path) -> None:
    target = tmp_path / "a/b/out"
    with atomic_writer(target) as file:
        file.write(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert names(target.parent) == ["out"]


def test_a_file_that_is_replaced_is_the_old_one_until_the_new_one_is_whole(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old")
    with atomic_writer(tmp_path / "out") as file:
        file.write(b"ne")
        file.flush()
        assert (tmp_path / "out").read_bytes() == b"old"
        file.write(b"w")
    assert (tmp_path / "out").read_bytes() == b"new"


def test_text_is_written_as_utf_8(tmp_path: Path) -> None:
    write_atomically(tmp_path / "out", "größer\n")
    assert (tmp_path / "out").read_bytes() == "größer\n".encode()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_block_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "out").write_bytes(b"old")
    with suppress(error), atomic_writer(tmp_path / "out") as file:
        file.write(b"new")
        raise error
    assert (tmp_path / "out").read_bytes() == b"old"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed_and_stays(tmp_path: Path, there: bool) -> None:
    (tmp_path / "elsewhere").mkdir()
    if there:
        (tmp_path / "elsewhere/real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("elsewhere/real")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere/real").read_bytes() == b"new"
    assert names(tmp_path / "elsewhere") == ["real"]


def test_a_chain_of_links_is_followed_from_each_ones_own_folder(tmp_path: Path) -> None:
    (tmp_path / "real/deep").mkdir(parents=True)
    (tmp_path / "short").symlink_to("real/deep")
    (tmp_path / "real/deep/second").symlink_to("../out")
    (tmp_path / "first").symlink_to("short/second")
    write_atomically(tmp_path / "first", b"new")
    assert (tmp_path / "real/out").read_bytes() == b"new"
    assert (tmp_path / "first").is_symlink()
    assert (tmp_path / "real/deep/second").is_symlink()


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("kind", ["folder", "pipe", "link to itself"])
def test_what_is_no_regular_file_is_never_replaced(tmp_path: Path, kind: str, private: bool) -> None:
    place = tmp_path / "out"
    make = {"folder": place.mkdir, "pipe": lambda: os.mkfifo(place), "link to itself": lambda: place.symlink_to("out")}
    make[kind]()
    before = place.lstat().st_mode
    with pytest.raises(OSError, match="no regular file"):
        write_atomically(place, b"new", private=private)
    assert place.lstat().st_mode == before
    assert names(tmp_path) == ["out"]


@pytest.mark.usefixtures("usual_umask")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_a_file_that_is_replaced_keeps_its_permissions_and_a_new_one_has_the_usual(tmp_path: Path, mode: int) -> None:
    (tmp_path / "old").touch()
    (tmp_path / "old").chmod(mode)
    for name in ("old", "new"):
        write_atomically(tmp_path / name, b"new")
    assert mode_of(tmp_path / "old") == mode
    assert mode_of(tmp_path / "new") == 0o644


@pytest.mark.usefixtures("usual_umask")
def test_a_private_file_is_the_owners_alone_from_its_first_byte_on(tmp_path: Path) -> None:
    (tmp_path / "old").touch(0o644)
    for name in ("old", "new"):
        with atomic_writer(tmp_path / name, private=True) as file:
            file.write(b"secret")
            file.flush()
            (temporary,) = tmp_path.glob(".*")
            assert mode_of(temporary) == 0o600
        assert mode_of(tmp_path / name) == 0o600


def test_the_file_is_on_the_disk_before_it_gets_its_name_and_the_name_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool]] = []
    wait = os.fsync

    def watched(descriptor: int) -> None:
        wait(descriptor)
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}")).relative_to(tmp_path)
        seen.append((str(name), (tmp_path / "a/out").exists()))

    monkeypatch.setattr(os, "fsync", watched)
    write_atomically(tmp_path / "a/out", b"new")
    assert seen == [(".", False), ("a/.out.part", False), ("a", True)]


def test_a_folder_that_may_be_written_to_but_not_read_takes_files() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "dropbox"
        folder.mkdir()
        folder.chmod(0o333)
        Path(name).chmod(0o755)
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)  # who is root may read everything
        try:
            with pytest.raises(PermissionError):
                os.listdir(folder)
            write_atomically(folder / "out", b"new")
            assert (folder / "out").read_bytes() == b"new"
        finally:
            os.seteuid(user)


_WRITER = """
import sys
from pathlib import Path
from icm.atomic_file import atomic_writer
target, size = Path(sys.argv[1]), int(sys.argv[2])
print(flush=True)
while True:
    for letter in (b"a", b"b"):
        with atomic_writer(target) as file:
            for _ in range(64):
                file.write(letter * (size // 64))
"""


def test_a_writer_that_is_killed_leaves_a_whole_file_and_at_most_one_leftover_which_the_next_write_deletes(
    tmp_path: Path,
) -> None:
    target, size, leftovers = tmp_path / "out", 1 << 22, 0
    pause = random.Random(1)
    write_atomically(target, b"a" * size)
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-c", _WRITER, target, str(size)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(pause.uniform(0, 0.03))
            writer.kill()
        content = target.read_bytes()
        assert content in (b"a" * size, b"b" * size)
        assert names(tmp_path) in (["out"], [".out.part", "out"])
        leftovers += len(names(tmp_path)) - 1
    assert leftovers, "no kill came in the middle of a write"
    write_atomically(target, b"c")
    assert target.read_bytes() == b"c"
    assert names(tmp_path) == ["out"]


def test_of_two_who_write_one_file_at_a_time_neither_spoils_the_others(tmp_path: Path) -> None:
    with atomic_writer(tmp_path / "out") as first:
        first.write(b"first, ")
        with atomic_writer(tmp_path / "out") as second:
            second.write(b"second")
            assert len(names(tmp_path)) == 2
        assert (tmp_path / "out").read_bytes() == b"second"
        first.write(b"which ended last")
    assert (tmp_path / "out").read_bytes() == b"first, which ended last"
    assert names(tmp_path) == ["out"]


def test_a_crowd_of_writers_leaves_one_whole_file(tmp_path: Path) -> None:
    contents = [bytes([number]) * 50_000 for number in range(8)]
    failed: list[BaseException] = []

    def write(content: bytes) -> None:
        try:
            for _ in range(20):
                write_atomically(tmp_path / "out", content)
                assert (tmp_path / "out").read_bytes() in contents
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert names(tmp_path) == ["out"]


def test_what_lies_under_the_temporary_name_is_neither_followed_nor_waited_for(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"untouched")
    (tmp_path / ".link.part").symlink_to("victim")
    os.mkfifo(tmp_path / ".pipe.part")
    for name in ("link", "pipe"):
        write_atomically(tmp_path / name, b"new")
        assert (tmp_path / name).read_bytes() == b"new"
    assert (tmp_path / "victim").read_bytes() == b"untouched"


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127])
def test_a_name_as_long_as_names_get_can_be_written(tmp_path: Path, name: str) -> None:
    write_atomically(tmp_path / name, b"new")
    assert (tmp_path / name).read_bytes() == b"new"


def test_an_end_without_unwinding_can_delete_what_is_being_written(tmp_path: Path) -> None:
    with suppress(FileNotFoundError), scratch_file() as copy, atomic_writer(tmp_path / "out") as file:
        file.write(b"new")
        delete_unfinished()
        assert not copy.exists()
        assert names(tmp_path) == []
    assert names(tmp_path) == []
