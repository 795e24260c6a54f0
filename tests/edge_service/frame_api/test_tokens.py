"""Tokens of the frame API: who has none gets nothing coded, and the file that lists them lets nobody in."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge_service.cli import main
from edge_service.frame_api.token_access import TokenAccess
from edge_service.frame_api.tokens import Tokens, add_token
from edge_service.spool.store import Spool
from icm.errors import ConfigError, PermissionDeniedError, UnauthenticatedError
from icm.rpc import open_calls
from icm.rpc.channels import open_channel
from icm.rpc.servers import Server
from icm.rpc.status import reason_of
from icm.service.clock import ManualClock, SystemClock
from icm.v1 import camera_pb2, camera_pb2_grpc, frame_pb2
from tests.certificates import Certificates
from tests.edge_service.frame_api.test_frame_api import Edge, edge_on, raw
from tests.edge_service.test_edge_process import BUNDLE

DOOR = camera_pb2.SubmitFrameRequest(camera="door", frame=frame_pb2.Frame(raw=raw(4, 4)))


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.yaml"


@pytest.fixture
def token(path: Path) -> str:
    return add_token(path, "door-app", ["door"])


@pytest.fixture
async def edge(token: str, path: Path, spool: Spool, metrics, problems, clock: ManualClock) -> AsyncIterator[Edge]:
    async with edge_on(spool, metrics, problems, clock, Tokens(path)) as edge:
        yield edge


class SilentCamera(camera_pb2_grpc.CameraServiceServicer):
    """Answers nothing, for as long as it may."""

    async def SubmitFrames(self, requests, context):
        await context.send_initial_metadata(())
        await asyncio.Event().wait()
        yield


async def test_a_stream_over_which_nothing_is_said_ends_with_its_token_and_none_begins_without_one(
    token: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_calls, "LOOK_SECONDS", 0.01)
    server = Server("127.0.0.1:0", False, guards=(TokenAccess(Tokens(path), SystemClock()),))
    camera_pb2_grpc.add_CameraServiceServicer_to_server(SilentCamera(), server.grpc)
    await server.start()
    unauthenticated = (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    async with open_channel(f"127.0.0.1:{server.port}", False) as channel:
        stub = camera_pb2_grpc.CameraServiceStub(channel)
        silent = stub.SubmitFrames(metadata=bearer(token))
        await silent.initial_metadata()
        assert await refusal(stub.SubmitFrames(metadata=bearer("guessed")).read()) == unauthenticated
        await asyncio.to_thread(path.write_text, "[]")
        assert await refusal(silent.read()) == unauthenticated
    await server.stop(0)


async def refusal(call) -> tuple[grpc.StatusCode, str | None]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), reason_of(caught.value)


async def test_a_client_with_a_token_submits_and_one_without_or_with_another_does_not(edge: Edge, token: str) -> None:
    assert (await edge.stub.SubmitFrame(DOOR, metadata=bearer(token))).frame.sequence == 1
    unauthenticated = (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert await refusal(edge.stub.SubmitFrame(DOOR)) == unauthenticated
    assert await refusal(edge.stub.SubmitFrame(DOOR, metadata=bearer(token[:-1]))) == unauthenticated
    assert len(edge.records()) == 1


async def test_a_token_is_for_the_cameras_it_was_made_for(edge: Edge, path: Path) -> None:
    other = add_token(path, "yard-app", ["yard"])
    denied = (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    assert await refusal(edge.stub.SubmitFrame(DOOR, metadata=bearer(other))) == denied


async def test_a_token_that_is_taken_out_of_the_file_ends_the_stream_that_uses_it(
    edge: Edge, token: str, path: Path
) -> None:
    call = edge.stub.SubmitFrames(metadata=bearer(token))
    await call.write(camera_pb2.SubmitFramesRequest(submit=DOOR))
    assert (await call.read()).submitted.frame.sequence == 1
    await asyncio.to_thread(path.write_text, "[]")
    await call.write(camera_pb2.SubmitFramesRequest(submit=DOOR))
    assert (await refusal(call.read()))[0] is grpc.StatusCode.UNAUTHENTICATED
    assert len(edge.records()) == 1


def test_the_file_holds_a_digest_and_is_the_owners_alone(path: Path, token: str) -> None:
    assert token not in path.read_text()
    assert yaml.safe_load(path.read_text()) == [
        {"client": "door-app", "sha256": hashlib.sha256(token.encode()).hexdigest(), "cameras": ["door"]}
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_every_token_is_another_and_too_long_to_guess(path: Path) -> None:
    tokens = {add_token(path, f"app-{number}", ["door"]) for number in range(8)}
    assert len(tokens) == 8
    assert min(map(len, tokens)) >= 43


def test_a_digest_out_of_the_file_is_no_token(path: Path, token: str) -> None:
    (entry,) = yaml.safe_load(path.read_text())
    with pytest.raises(UnauthenticatedError):
        Tokens(path).check(bearer(entry["sha256"]), "door")


@given(st.text(max_size=80))
def test_nothing_else_is_taken_for_a_token(tmp_path_factory: pytest.TempPathFactory, guess: str) -> None:
    path = tmp_path_factory.mktemp("tokens") / "tokens.yaml"
    token = add_token(path, "door-app", ["door"])
    tokens = Tokens(path)
    for metadata in (bearer(guess), (("authorization", guess),), (("token", token),), (("authorization", token),)):
        with pytest.raises(UnauthenticatedError):
            tokens.check(metadata, "door")
    tokens.check((("user-agent", guess), *bearer(token)), "door")


@pytest.mark.parametrize("camera", ["", "yard", "../door", "door\n"])
def test_no_other_camera_is_taken_for_the_tokens(path: Path, token: str, camera: str) -> None:
    with pytest.raises(PermissionDeniedError, match="door-app is for door"):
        Tokens(path).check(bearer(token), camera)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("client: door-app", "the whole"),
        ("- {client: door-app, sha256: s3cret, cameras: [door]}", "0.sha256"),
        ("- {client: door-app, token: s3cret, cameras: [door]}", "0.sha256"),
        ("- {client: s3cret: x", "not valid YAML"),
        ("- {client: 007, sha256: s3cret, cameras: []}", "YAML reads 007 as a number: quote it"),
        (f"- {{client: app, sha256: {'0' * 63}a, cameras: [12:30]}}", "YAML reads 12:30 as a number: quote it"),
        ("- {client: app, sha256: 5_3_0_1, cameras: []}", r"0\.sha256: Input should be a valid string$"),
        ("- {client: app, client: s3cret}", "'client' stands twice"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_never_quoted(path: Path, text: str, problem: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError, match=problem) as caught:
        Tokens(path)
    assert str(path) in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_the_command_prints_the_token_once_and_makes_no_second_one(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["token", "door-app", "--camera", "door", "--file", str(path)]
    assert main(arguments) == 0
    Tokens(path).check(bearer(capsys.readouterr().out.strip()), "door")
    assert main(arguments) == 2
    assert "door-app has a token" in capsys.readouterr().err


@pytest.mark.parametrize(("client", "camera"), [("../app", "door"), ("door-app", "../door")])
def test_names_that_cannot_be_are_refused(path: Path, client: str, camera: str) -> None:
    with pytest.raises(ConfigError, match="cannot make a token"):
        add_token(path, client, [camera])
    assert not path.exists()


def checked(*settings: str) -> int:
    needed = (f"bundle={BUNDLE}", "cameras=[{name: door, source: {kind: submitted}}]")
    return main(["check", *(f"--set={setting}" for setting in (*needed, *settings))])


def test_an_api_that_strangers_reach_takes_no_pictures_without_tokens(
    tmp_path: Path, path: Path, token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tls = Certificates(tmp_path / "certs").server()
    public = ("frame_api.address=0.0.0.0:7444", f"frame_api.tls={{certificate: {tls.certificate}, key: {tls.key}}}")
    assert checked(*public) == 2
    assert "refusing to take pictures from anybody at 0.0.0.0:7444" in capsys.readouterr().err
    assert checked(*public, f"frame_api.tokens={path}") == 0
    assert checked(*public, "frame_api.allow_plaintext=true") == 0


@pytest.mark.parametrize("setting", ["frame_api.tokens", "frame_api.tls.key", "cloud.tls.authority"])
def test_check_names_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str) -> None:
    tls = Certificates(tmp_path / "certs").edge("north", "door")
    sections = {"frame_api.tls": ("certificate", "key"), "cloud.tls": ("certificate", "key", "authority")}
    good = [f"{at}.{name}={getattr(tls, name)}" for at, names in sections.items() for name in names]
    assert checked(*good) == 0
    assert checked(*good, f"{setting}=/nowhere") == 2
    assert "cannot read /nowhere" in capsys.readouterr().err


def test_a_link_to_the_file_of_tokens_stays_one(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    link = tmp_path / "tokens.yaml"
    link.symlink_to("secrets/real.yaml")
    for client in ("door-app", "gate-app"):
        add_token(link, client, ["door"])
    assert link.is_symlink()
    assert [entry["client"] for entry in yaml.safe_load((tmp_path / "secrets/real.yaml").read_text())] == [
        "door-app",
        "gate-app",
    ]


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ConfigError, match="is no file: name one to keep tokens in"):
            add_token(path, "door-app", ["door"])
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_that_is_not_there_is_named_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"there is no folder {tmp_path / 'typo'}; make it, or name another file"):
        add_token(tmp_path / "typo/tokens.yaml", "door-app", ["door"])
    assert not any(tmp_path.iterdir())
