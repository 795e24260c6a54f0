"""``icm-cloud render`` and the clients: the running cloud makes the file, and what is missing is said."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest

import icm
from cloud_service.cli import main
from icm.codec.bundle.loading import Bundle
from icm.errors import ConfigError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from tests.certificates import Certificates
from tests.cloud_service.clips.recorded import at, chain, numbers, shown
from tests.cloud_service.parts import coded_header
from tests.cloud_service.running import running_cloud
from tests.services import cloud_thread


@dataclass(frozen=True)
class Cloud:
    """A cloud that listens, with 45 frames of the camera ``gate``.

    Attributes:
        address: of it.
        folder: where it keeps all.
    """

    address: str
    folder: Path


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, bundle: Path, loaded: Bundle) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")

    async def fill() -> None:
        async with running_cloud(folder, loaded, None) as cloud:
            await cloud.deliver(coded_header(loaded), chain(loaded, 45))

    asyncio.run(fill())
    with cloud_thread(folder, bundle, None, {}) as port:
        yield Cloud(f"127.0.0.1:{port}", folder)


def time(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at(seconds))


def render(cloud: Cloud, target: Path, first: float, end: float, *more: str) -> int:
    return main(
        [
            *("render", "--address", cloud.address, "--camera", "gate", "-o", str(target)),
            *("--from", time(first).isoformat(), "--to", time(end).isoformat(), *more),
        ]
    )


@pytest.mark.parametrize("more", [(), ("--decoder", "base"), ("--boxes",)])
def test_the_command_writes_the_frames_of_a_stretch(
    cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    target = tmp_path / "clip.mp4"
    assert render(cloud, target, 0.5, 2.5, *more) == 0
    assert shown(target.read_bytes()).frames == numbers(6, 26)
    assert "20 frames from 2026-09-21T14:13:20.500000Z on, 2.0 s" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("first", "end", "more", "text"),
    [
        (2, 1, (), "ends before it begins"),
        (100, 101, (), "nothing is stored of camera 'gate' between 2026-09-21T14:15:00.000Z and"),
        (0, 4000, (), "one may last 3600 s"),
        (0, 1, ("--camera", "nosuch"), "there is no camera 'nosuch'"),
        (0, 1, ("--certificate", "a.pem"), "give --authority too"),
        (0, 1, ("--address", "192.0.2.1:7443"), "plaintext"),
    ],
)
def test_what_there_cannot_be_is_refused_by_name_and_leaves_no_file(
    cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str], first: float, end: float,
    more: tuple[str, ...], text: str,
) -> None:  # fmt: skip
    target = tmp_path / "clip.mp4"
    target.write_bytes(b"of earlier")
    assert render(cloud, target, first, end, *more) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.startswith("icm-cloud: ")
    assert error.count("\n") == 1
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("clip.mp4", b"of earlier")]


@pytest.mark.parametrize("text", ["yesterday", "2026-11-27T10:00:00", "10:00"])
def test_a_time_that_is_none_or_has_no_zone_is_refused_by_name(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["render", "--camera", "gate", "--from", text, "--to", "2026-11-27T10:00:00Z", "-o", "clip.mp4"])
    assert ended.value.code == 2
    assert f"argument --from: {text!r}" in capsys.readouterr().err


def test_a_folder_in_the_files_place_is_named(cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert render(cloud, tmp_path, 0, 1) == 2
    assert f"{tmp_path} is a folder" in capsys.readouterr().err
    assert render(cloud, tmp_path / "file" / "clip.mp4", 0, 1) == 0


def test_clients_get_a_clip_and_learn_how_far_it_is(cloud: Cloud) -> None:
    file, told = BytesIO(), list[float]()
    with icm.CloudClient(cloud.address) as client:
        clip = client.clip("gate", time(1), time(3), file, decoder="base", progress=told.append)
        assert shown(file.getvalue()).frames == numbers(11, 31)
        assert (clip.start, clip.frames, clip.bytes, clip.gaps) == (time(1), 20, len(file.getvalue()), ())
        assert clip.duration == pytest.approx(timedelta(seconds=2), abs=timedelta(milliseconds=1))
        assert told == sorted(told)
        with pytest.raises(NotFoundError, match="nothing is stored"):
            client.clip("gate", time(100), time(101), BytesIO())
        with pytest.raises(ConfigError, match="time zone"):
            client.clip("gate", datetime(2026, 1, 1), time(1), BytesIO())
        with pytest.raises(ConfigError, match="there is no decoder 'best': give one of base, finetuned"):
            client.clip("gate", time(0), time(1), BytesIO(), decoder="best")


async def test_clients_of_asyncio_get_the_same(cloud: Cloud) -> None:
    file = BytesIO()
    async with icm.AsyncCloudClient(cloud.address) as client:
        clip = await client.clip("gate", time(1), time(3), file)
        with pytest.raises(NotFoundError, match="nothing is stored"):
            await client.clip("gate", time(100), time(101), BytesIO())
    assert shown(file.getvalue()).frames == numbers(11, 31)
    assert clip.bytes == len(file.getvalue())


def test_frames_that_are_missing_are_named_and_the_command_ends_with_status_3(
    cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fourth = sorted((cloud.folder / "records/gate").rglob("*.icm"))[3]
    content = fourth.read_bytes()
    fourth.unlink()
    try:
        assert render(cloud, tmp_path / "clip.mp4", 2.5, 4.5, "--decoder", "base") == 3
        assert shown((tmp_path / "clip.mp4").read_bytes()).frames == numbers(26, 31) + numbers(41, 46)
        assert "missing: 10 frames from 2026-09-21T14:13:23+00:00 to 2026-09-21T14:13:23.900000+00:00: segment" in (
            capsys.readouterr().err
        )
    finally:
        fourth.write_bytes(content)


def test_over_tls_a_caller_gets_clips_of_the_cameras_that_its_certificate_names(
    tmp_path: Path, bundle: Path, loaded: Bundle
) -> None:
    certificates = Certificates(tmp_path / "certs")
    server, edge, reader = certificates.server(), certificates.edge("north", "gate"), certificates.reader()
    other = certificates.edge("south", "yard")
    flags = {f"ingest.tls.{name}": str(getattr(server, name)) for name in ("certificate", "key", "authority")}

    async def fill() -> None:
        async with running_cloud(tmp_path / "cloud", loaded, None, tls=edge, **flags) as cloud:
            await cloud.deliver(coded_header(loaded), chain(loaded, 20))

    asyncio.run(fill())

    def clip(of) -> int:
        tls = icm.Tls(of.authority, of.certificate, of.key)
        with icm.CloudClient(f"127.0.0.1:{port}", tls=tls) as client:
            return client.clip("gate", time(0), time(1), BytesIO()).frames

    with cloud_thread(tmp_path / "cloud", bundle, certificates, flags) as port:
        assert clip(reader) == clip(edge) == 10
        with pytest.raises(PermissionDeniedError, match="gate"):
            clip(other)
        options = ["--authority", str(reader.authority), "--certificate", str(reader.certificate)]
        of_reader = Cloud(f"127.0.0.1:{port}", tmp_path)
        assert render(of_reader, tmp_path / "clip.mp4", 0, 1, *options, "--key", str(reader.key)) == 0
        unknown = icm.CloudClient(of_reader.address, tls=icm.Tls(reader.authority), timeout=1)
        with unknown as client, pytest.raises((UnauthenticatedError, icm.errors.UnreachableError)):
            client.clip("gate", time(0), time(1), BytesIO())
