"""The zip of an evidence file: any reader reads it, every byte of it is accounted for, and hostile ones are refused."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icm.errors import EvidenceError
from icm.evidence import zip_writing
from icm.evidence.zip_reading import CaseFile
from icm.evidence.zip_writing import CaseZip

FILES = {"records/gate/a.icm": b"x" * 100, "case.json": b"{}", "empty.txt": b"", "clips/a.mp4": bytes(range(256))}


def zipped(files: dict[str, bytes] = FILES, most: int = 0) -> bytes:
    case = CaseZip()
    parts = [part for name, data in files.items() for part in case.add(name, None, [data], most)]
    return b"".join([*parts, *case.finish()])


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[bytes], dict[str, bytes]]:
    """Reads a zip whole; fails where anything is not as it was written."""

    def read(data: bytes) -> dict[str, bytes]:
        path = tmp_path / "case.zip"
        path.write_bytes(data)
        with CaseFile(path) as case:
            if case.problem:
                raise EvidenceError(case.problem)
            return {name: case.read(name, 1 << 20) for name in case.entries}

    return read


@pytest.mark.parametrize("most", [0, 2 << 30], ids=["small", "large"])
def test_what_is_written_is_read_by_us_and_by_any_zip_reader(
    opened: Callable[[bytes], dict[str, bytes]], most: int
) -> None:
    data = zipped(most=most)
    assert opened(data) == FILES
    with zipfile.ZipFile(io.BytesIO(data)) as other:
        assert other.testzip() is None
        assert {name: other.read(name) for name in other.namelist()} == FILES


@pytest.mark.parametrize("most", [0, 2 << 30], ids=["small", "large"])
def test_every_byte_that_is_changed_is_found_and_every_cut(
    opened: Callable[[bytes], dict[str, bytes]], most: int
) -> None:
    data = zipped({"a.icm": b"abc", "b.icm": b"d"}, most)
    for place in range(len(data)):
        for bit in (0x01, 0x80):
            changed = bytearray(data)
            changed[place] ^= bit
            # A name may be changed to another that can be; the manifest does not list that one.
            assert found_in(opened, bytes(changed)) != {"a.icm", "b.icm"}
        with pytest.raises(EvidenceError):
            opened(data[:place])


def found_in(opened: Callable[[bytes], dict[str, bytes]], data: bytes) -> set[str]:
    """The names of a zip's files; none where it is damaged."""
    try:
        return set(opened(data))
    except EvidenceError:
        return set()


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + b"more",
        lambda data: b"more" + data,
        lambda data: data[:37] + b"hidden" + data[37:],
        lambda data: data + data,
    ],
    ids=["behind", "before", "within", "twice"],
)
def test_bytes_that_are_put_in_are_found(
    opened: Callable[[bytes], dict[str, bytes]], change: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(EvidenceError):
        opened(change(zipped()))


def deflated() -> bytes:
    """A zip that another program wrote."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as case:
        case.writestr("a", b"0" * 1000)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "name",
    [
        "../out.icm",
        "/etc/passwd",
        "a//b",
        "a/../../b",
        "C:\\out",
        ".hidden",
        "a/.",
        "ü",
        "a b",
        "",
        "x" * 400,
    ],
)
def test_names_that_lead_out_or_need_quoting_are_refused(
    opened: Callable[[bytes], dict[str, bytes]], name: str
) -> None:
    with pytest.raises(EvidenceError):
        list(CaseZip().add(name, None, [b""]))
    case = CaseZip()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(zip_writing, "is_safe_path", lambda _: True)
        data = b"".join([*case.add(name, None, [b"x"]), *case.finish()])
    with pytest.raises(EvidenceError):
        opened(data)


def test_a_name_that_stands_twice_is_refused(opened: Callable[[bytes], dict[str, bytes]]) -> None:
    case = CaseZip()
    list(case.add("a", None, [b"1"]))
    with pytest.raises(EvidenceError):
        list(case.add("a", None, [b"2"]))
    data = zipped({"a": b"1", "b": b"2"})
    with pytest.raises(EvidenceError, match="holds two files a"):
        opened(data.replace(b"b", b"a"))


def test_a_zip_bomb_is_refused_before_anything_is_read(opened: Callable[[bytes], dict[str, bytes]]) -> None:
    with pytest.raises(EvidenceError):
        opened(deflated())
    data = bytearray(zipped({"a": b"1"}))
    entry = data.index(b"PK\1\2")
    # It says that it holds 4 GB.
    struct.pack_into("<LL", data, entry + 20, 0xFFFFFFF0, 0xFFFFFFF0)
    with pytest.raises(EvidenceError, match="does not end within"):
        opened(bytes(data))


def test_what_the_disk_refuses_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=r"cannot read .*nothing\.zip"):
        CaseFile(tmp_path / "nothing.zip")
    with pytest.raises(EvidenceError, match="cannot read"):
        CaseFile(tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), tail=st.booleans())
def test_any_bytes_give_an_error_of_ours(opened: Callable[[bytes], dict[str, bytes]], data: bytes, tail: bool) -> None:
    whole = zipped({"a": b"1"})
    try:
        opened(data + whole[-22 * tail or len(whole) :])
    except EvidenceError:
        return
    raise AssertionError(data)


def test_sixty_five_thousand_files_and_more_are_read(opened: Callable[[bytes], dict[str, bytes]]) -> None:
    files = {f"f{number}": os.urandom(1) for number in range(66_000)}
    assert opened(zipped(files)) == files


@pytest.fixture(scope="module")
def beyond_four_gib(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip with a file of 4 GiB and one behind it, as the writer gives it; the disk keeps its zeros as a hole."""
    path, zeros = tmp_path_factory.mktemp("large") / "case.zip", bytes(1 << 24)
    case = CaseZip()
    with path.open("wb") as file:
        for part in case.add("large.mp4", None, (zeros for _ in range(1 << 8)), 1 << 32):
            # The first part of a file has its header, so it is longer than the chunk.
            file.seek(len(part), os.SEEK_CUR) if part == zeros else file.write(part)
        for part in [*case.add("behind.icm", None, [b"behind"]), *case.finish()]:
            file.write(part)
    return path


def test_a_file_of_four_gib_and_what_lies_behind_it_are_read_by_us_and_by_any_zip_reader(beyond_four_gib: Path) -> None:
    with CaseFile(beyond_four_gib) as case:
        assert case.problem == ""
        assert {name: entry.size for name, entry in case.entries.items()} == {"large.mp4": 1 << 32, "behind.icm": 6}
        assert case.read("behind.icm", 6) == b"behind"
    with zipfile.ZipFile(beyond_four_gib) as other:
        assert [(info.filename, info.file_size) for info in other.infolist()] == [
            ("large.mp4", 1 << 32), ("behind.icm", 6),
        ]  # fmt: skip
        assert other.getinfo("behind.icm").header_offset > 1 << 32
        assert other.read("behind.icm") == b"behind"


def test_every_byte_that_is_changed_in_a_directory_beyond_four_gib_is_found(beyond_four_gib: Path) -> None:
    with zipfile.ZipFile(beyond_four_gib) as other:
        start = other.start_dir
    with beyond_four_gib.open("r+b") as file:
        file.seek(start)
        directory = file.read()
        for place, byte in enumerate(directory):
            file.seek(start + place)
            file.write(bytes([byte ^ 0x01]))
            file.flush()
            assert not is_whole(beyond_four_gib), place
            file.seek(start + place)
            file.write(bytes([byte]))
            file.flush()
    assert is_whole(beyond_four_gib)


def is_whole(path: Path) -> bool:
    """Whether the structure of a zip is as it was written, and its files have the names that they had."""
    try:
        with CaseFile(path) as case:
            return not case.problem and set(case.entries) == {"large.mp4", "behind.icm"}
    except EvidenceError:
        return False
