"""What becomes of exports over time, and over restarts of the viewer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from cloud_service.viewer.exports.jobs import KEPT_US, MOST, ExportJobs
from cloud_service.viewer.exports.links import ShareLinks
from cloud_service.viewer.exports.record import Export, State, Verdict
from icm.errors import BusyError, ConfigError, NotFoundError, StoredDamageError
from icm.service.clock import ManualClock


class Cloud:
    """Writes a file once it is let, or fails."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.go_on, self._error, self.asked = asyncio.Event(), error, 0

    async def export(
        self,
        output: Path | str,
        cameras: str | Sequence[str],
        start: datetime,
        end: datetime,
        *,
        case: str,
        by: str,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        self.asked += 1
        if progress is not None:
            progress(1, 4)
        await self.go_on.wait()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        await asyncio.to_thread(Path(output).write_bytes, b"zip!")
        return 4


def jobs_in(folder: Path, cloud: Cloud, clock: ManualClock | None = None) -> ExportJobs:
    return ExportJobs(folder=folder, cloud=cloud, bundles=[], clock=clock or ManualClock())


async def ask(jobs: ExportJobs) -> Export:
    return await jobs.add(owner="otto", cameras=["gate"], from_us=0, to_us=1, case="a case")


async def eventually(holds: Callable[[], bool]) -> None:
    for _ in range(2000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not come to that")


async def until(jobs: ExportJobs, name: str, state: State) -> Export:
    await eventually(lambda: jobs.get(name).state is state)
    return jobs.get(name)


def files_in(folder: Path) -> list[Path]:
    return list(folder.glob("*.zip*"))


async def test_an_export_is_made_and_is_there_after_a_restart(tmp_path: Path) -> None:
    cloud = Cloud()
    jobs = jobs_in(tmp_path, cloud)
    jobs.start()
    export = await ask(jobs)
    running = await until(jobs, export.id, State.RUNNING)
    assert (running.ended, jobs.get(export.id).share) == (False, 25)
    cloud.go_on.set()
    done = await until(jobs, export.id, State.DONE)
    await jobs.close()
    again = jobs_in(tmp_path, Cloud())
    assert again.all() == [done]
    assert again.file(done).read_bytes() == b"zip!"


async def test_what_was_being_made_when_the_viewer_ended_is_told_as_failed(tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, Cloud())
    jobs.start()
    export = await ask(jobs)
    await until(jobs, export.id, State.RUNNING)
    await jobs.close()
    (tmp_path / f"{export.id}.zip.part").write_bytes(b"half")
    again = jobs_in(tmp_path, Cloud())
    assert (again.get(export.id).state, "ask for it again" in again.get(export.id).problem) == (State.FAILED, True)
    assert not files_in(tmp_path), "what belongs to no export is not kept"


async def test_a_refusal_of_the_cloud_is_told_and_a_busy_one_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud_service.viewer.exports.jobs._AGAIN_SECONDS", 0.01)
    busy, refusing = Cloud(error=BusyError("later", 1)), Cloud(error=NotFoundError("nothing is stored of that"))
    for cloud, state in ((busy, State.DONE), (refusing, State.FAILED)):
        cloud.go_on.set()
        jobs = jobs_in(tmp_path / state, cloud)
        jobs.start()
        export = await until(jobs, (await ask(jobs)).id, state)
        await jobs.close()
        assert cloud.asked == (2 if state is State.DONE else 1)
        assert export.problem == ("" if state is State.DONE else "nothing is stored of that")


async def test_an_export_that_is_old_is_deleted_and_one_that_is_being_made_never(tmp_path: Path) -> None:
    cloud, clock = Cloud(), ManualClock()
    cloud.go_on.set()
    jobs = jobs_in(tmp_path, cloud, clock)
    jobs.start()
    old = await until(jobs, (await ask(jobs)).id, State.DONE)
    await jobs.close()
    clock.advance(KEPT_US / 1e6)
    cloud.go_on.clear()
    again = jobs_in(tmp_path, cloud, clock)
    young = await ask(again)
    again.start()
    await until(again, young.id, State.RUNNING)
    await eventually(lambda: old not in again.all())
    assert not again.file(old).exists()
    with pytest.raises(ConfigError, match="wait until that is done"):
        await again.remove(young.id)
    await again.close()


async def test_only_so_many_wait_and_are_kept(tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, Cloud())
    for _ in range(8):
        await ask(jobs)
    with pytest.raises(BusyError, match="8 exports wait already"):
        await ask(jobs)
    done = replace(jobs.all()[0], state=State.FAILED)
    jobs._exports = {str(number): done for number in range(MOST)}
    with pytest.raises(ConfigError, match="delete some first"):
        await ask(jobs)


async def test_a_damaged_note_is_named_and_the_others_are_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = jobs_in(tmp_path, Cloud())
    export = await ask(jobs)
    (tmp_path / "0123.json").write_text('{"id": "0123"}')
    with caplog.at_level(logging.WARNING):
        assert [each.id for each in jobs_in(tmp_path, Cloud()).all()] == [export.id]
    assert "0123.json" in caplog.text


async def test_nothing_is_checked_before_it_is_there(tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, Cloud())
    export = await ask(jobs)
    with pytest.raises(ConfigError, match="nothing to check yet"):
        await jobs.check(export.id)
    assert jobs.get(export.id).verdict is Verdict.NONE


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": 1}', "\0"])
def test_what_is_no_note_of_an_export_is_refused(text: str) -> None:
    with pytest.raises(StoredDamageError):
        Export.from_text(text)


def test_a_link_leads_to_one_export_until_its_time(tmp_path: Path) -> None:
    links = ShareLinks(tmp_path)
    _, _, export, expires, signature = links.path_of("0123abcd", 1000).split("/")
    links.check(export, expires, signature, 999)
    ShareLinks(tmp_path).check(export, expires, signature, 999)
    for wrong in (
        (export, expires, signature, 1000),
        (export, "2000", signature, 999),
        ("0123abce", expires, signature, 999),
        (export, expires, signature[:-1], 999),
        (export, expires, "\u00e4", 999),
        (export, "x", links.path_of(export, 0).rsplit("/", 1)[1], 999),
    ):
        with pytest.raises(NotFoundError, match="leads nowhere"):
            links.check(*wrong)
    (tmp_path / "links.key").unlink()
    with pytest.raises(NotFoundError):
        ShareLinks(tmp_path).check(export, expires, signature, 999)
