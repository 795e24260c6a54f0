"""What ``icm-cloud retention`` shows of an archive, and asks of a cloud that runs."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from cloud_service.commands import run
from cloud_service.database.opening import open_database
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame
from icm.rpc.status import reason_of
from icm.v1.archive_pb2 import GetFrameRequest
from icm.v1.frame_pb2 import FrameRef
from tests.cloud_service.parts import EPOCH, close_stores, coded_header, coded_records
from tests.cloud_service.retention.world import World
from tests.cloud_service.running import running_cloud


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A folder with a cloud's store of three segments from September 2026; the cloud does not run."""
    database = open_database(f"sqlite:///{tmp_path / 'cloud.db'}")
    world = World(tmp_path, database)
    world.seal(segments=3)
    world.delete_numbers(1)
    world.store.close()
    close_stores(database)
    return tmp_path


def retention(folder: Path, word: str, *more: str) -> int:
    return run(["retention", word, "--set", f"store.folder={folder}", *more])


def test_the_plan_lists_what_would_go_with_the_rule_and_deletes_nothing(
    archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert retention(archive, "plan") == 0
    assert capsys.readouterr().out.count("\n") == 1
    for _ in range(2):
        assert retention(archive, "plan", "--set", "retention.records.max_age_seconds=60") == 0
        rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
        assert [(row["tier"], row["camera"], row["number"], row["rule"]) for row in rows] == [
            ("records", "gate", "2", "records.max_age_seconds 60"),
            ("records", "gate", "3", "records.max_age_seconds 60"),
        ]


def test_explain_says_what_becomes_of_a_time_and_what_became_of_one_that_is_gone(
    archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = ("--camera", "gate", "--at")
    assert retention(archive, "explain", *camera, "2026-09-21T14:13:21.500Z") == 0
    assert "records 2" in (said := capsys.readouterr().out)
    assert "has no limit of age" in said
    limit = ("--set", "retention.records.max_age_seconds=60")
    assert retention(archive, "explain", *camera, "2026-09-21T14:13:21.500Z", *limit) == 0
    assert "goes with the next pass: max_age (records.max_age_seconds 60)" in capsys.readouterr().out
    assert retention(archive, "explain", *camera, "2026-09-21T14:13:20.500Z") == 0
    assert "deleted on" in capsys.readouterr().out
    assert retention(archive, "explain", *camera, "2020-01-01T00:00Z") == 2
    assert "nothing of camera 'gate' at 2020-01-01T00:00:00Z" in capsys.readouterr().err


def test_where_there_is_no_store_the_commands_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("plan", "apply"):
        assert retention(tmp_path / "none", word) == 2
    assert capsys.readouterr().err.count("name the settings of the cloud that has one") == 2


async def test_a_cloud_deletes_by_its_settings_and_says_of_a_frame_that_it_is_gone(
    loaded: Bundle, coded: list[CodedFrame], tmp_path: Path
) -> None:
    of = coded_header(loaded)
    async with running_cloud(tmp_path, loaded, None) as cloud:
        await cloud.deliver(of, coded_records(coded, 25))
    flags = {"retention.records.max_age_seconds": 1}
    async with running_cloud(tmp_path, loaded, None, **flags) as cloud:
        loop = cloud.app._retention
        assert loop.state.waiting
        assert await asyncio.to_thread(retention, tmp_path, "apply") == 0
        gone = ("gate", "records", "max_age")
        await asyncio.to_thread(lambda: _until(lambda: loop.state.deleted_items[gone] == 3))
        with pytest.raises(Exception, match=r"deleted on .* by rule records\.max_age_seconds 1") as raised:
            await cloud.archive.GetFrame(GetFrameRequest(frame=FrameRef(camera="gate", epoch=EPOCH, sequence=3)))
        assert reason_of(raised.value) == "FRAME_DELETED"  # type: ignore[arg-type]
        await cloud.deliver(of, coded_records(coded, 1, first=26))


def _until(holds: Callable[[], bool]) -> None:
    while not holds():
        Event().wait(0.02)
