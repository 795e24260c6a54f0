"""The render cache keeps what was used last, within its bound, over restarts, and believes no damaged file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud_service.clips.cache import RenderCache
from icm.errors import StorageError

KIB = 1024


def key(number: int) -> str:
    return hashlib.sha256(bytes([number])).hexdigest()


def piece(number: int, size: int = 6 * KIB) -> bytes:
    return bytes([number]) * size


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir())


def test_a_piece_comes_back_as_it_was_put_there_after_a_restart_too(tmp_path: Path) -> None:
    cache = RenderCache(tmp_path / "rendered", 1 << 20)
    assert cache.get(key(1)) is None
    cache.put(key(1), piece(1))
    assert cache.get(key(1)) == piece(1)
    again = RenderCache(tmp_path / "rendered", 1 << 20)
    assert (again.get(key(1)), again.get(key(2))) == (piece(1), None)
    assert again.disk_bytes == cache.disk_bytes == on_disk(tmp_path / "rendered")


def test_what_was_not_used_for_the_longest_goes_first(tmp_path: Path) -> None:
    cache = RenderCache(tmp_path, 3 * 8 * KIB)
    for number in (1, 2, 3):
        cache.put(key(number), piece(number))
    cache.get(key(1))
    cache.put(key(4), piece(4))
    assert [number for number in (1, 2, 3, 4) if cache.get(key(number))] == [1, 3, 4]
    # The order of the last uses is on the disk as well.
    for number, used in ((1, 30), (3, 10), (4, 20)):
        os.utime(tmp_path / f"{key(number)}.piece", (used, used))
    again = RenderCache(tmp_path, 2 * 8 * KIB)
    assert [number for number in (1, 3, 4) if again.get(key(number))] == [1, 4]


def test_a_clip_counts_while_it_is_there_and_pieces_make_room_for_it(tmp_path: Path) -> None:
    cache = RenderCache(tmp_path, 3 * 8 * KIB)
    for number in (1, 2, 3):
        cache.put(key(number), piece(number))
    taken = cache.disk_bytes
    with cache.clip() as path:
        path.write_bytes(bytes(10 * KIB))
        assert cache.disk_bytes == taken + path.stat().st_blocks * 512
        cache.make_room()
        assert cache.disk_bytes <= 3 * 8 * KIB
        assert cache.get(key(1)) is None
        assert cache.get(key(3)) == piece(3)
        cache.put(key(4), piece(4))
        assert cache.disk_bytes <= 3 * 8 * KIB
    assert not path.exists()
    assert cache.disk_bytes == sum(of.stat().st_blocks * 512 for of in tmp_path.iterdir())


@pytest.mark.parametrize("harm", ["flipped", "cut off", "empty", "another's"])
def test_a_damaged_piece_is_not_believed_and_goes(tmp_path: Path, harm: str) -> None:
    cache = RenderCache(tmp_path, 1 << 20)
    cache.put(key(1), piece(1))
    cache.put(key(2), piece(2))
    path = tmp_path / f"{key(1)}.piece"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(
        {"flipped": bytes(content), "cut off": path.read_bytes()[:-1], "empty": b"", "another's": b"x" * 9000}[harm]
    )
    assert cache.get(key(1)) is None
    assert not path.exists()
    assert cache.disk_bytes == on_disk(tmp_path)
    assert cache.get(key(2)) == piece(2)


def test_what_is_larger_than_the_bound_is_not_kept_and_drives_nothing_out(tmp_path: Path) -> None:
    cache = RenderCache(tmp_path, 20 * KIB)
    cache.put(key(1), piece(1))
    cache.put(key(2), piece(2, 21 * KIB))
    assert (cache.get(key(1)), cache.get(key(2))) == (piece(1), None)
    nothing = RenderCache(tmp_path, 0)
    nothing.put(key(3), piece(3))
    assert on_disk(tmp_path) == nothing.disk_bytes == 0


def test_a_start_deletes_leftovers_of_its_own_and_nothing_else(tmp_path: Path) -> None:
    RenderCache(tmp_path, 1 << 20).put(key(1), piece(1))
    for name in (f".{key(2)}.piece.part", "clip-0123456789abcdef.mp4", "clip.mp4", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    RenderCache(tmp_path, 1 << 20)
    assert {path.name for path in tmp_path.iterdir()} == {f"{key(1)}.piece", "clip.mp4", "notes.txt"}


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "rendered").write_bytes(b"in the way")
    with pytest.raises(StorageError, match="rendered"):
        RenderCache(tmp_path / "rendered", 1 << 20)


@given(
    st.integers(0, 40 * KIB),
    st.lists(
        st.tuples(st.sampled_from(["put", "get", "shrink", "restart"]), st.integers(0, 5), st.integers(0, 20 * KIB)),
        max_size=25,
    ),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_asked_it_stays_within_its_bound_and_tells_what_it_was_told(
    tmp_path: Path, most: int, steps: list[tuple[str, int, int]]
) -> None:
    for path in tmp_path.iterdir():
        path.unlink()
    cache = RenderCache(tmp_path, most)
    told: dict[int, bytes] = {}
    for what, number, size in steps:
        if what == "put":
            told[number] = piece(number, size)
            cache.put(key(number), told[number])
        elif what == "get":
            assert cache.get(key(number)) in (None, told.get(number))
        elif what == "shrink":
            cache.shrink(size)
            assert cache.disk_bytes <= size
        else:
            cache = RenderCache(tmp_path, most)
        assert cache.disk_bytes == on_disk(tmp_path) <= most
