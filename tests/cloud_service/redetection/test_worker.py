"""The past is detected anew: by a process of its own, after the live work, each segment once, whatever ends it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine

from cloud_service.events.store import EventStore
from cloud_service.redetection.jobs import Counts, State
from icm.codec.bitstream.record import Record
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame, Encoder
from tests.cloud_service.parts import FRAME_US, HEIGHT, START_US, WIDTH, coded_records
from tests.cloud_service.redetection.parts import Archive, weights_in

PATIENCE_SECONDS = 180.0


@pytest.fixture
def archive(tmp_path: Path, database: Engine, loaded: Bundle, coded: list[CodedFrame]) -> Archive:
    """Five segments of ten frames, bright and dark by turns."""
    archive = Archive(tmp_path, database, loaded)
    archive.append(coded_records(coded, 50))
    return archive


def work_off(archive: Archive, act: Callable[[], bool | None] = lambda: True) -> None:
    """Runs until no job is left.

    Args:
        act: called before each piece of work; False lets it wait, as if live work was to be done.
    """
    worker, ended = archive.worker(lambda: act() is not False), threading.Event()
    worker.start()
    try:
        for _ in range(int(PATIENCE_SECONDS / 0.05)):
            if archive.jobs.next() is None:
                return
            ended.wait(0.05)
        pytest.fail(f"not done in time: {archive.jobs.overview()}")
    finally:
        worker.stop()


def children() -> list[int]:
    """Processes that this one has started for re-detection."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                command = Path(f"/proc/{name}/cmdline").read_bytes()
                parent = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if b"cloud_service.redetection.child" in command and parent == os.getpid():
                found.append(int(name))
    return found


def test_results_lie_beside_those_of_other_weights(archive: Archive, database: Engine) -> None:
    live = [archive.live_event(sequence) for sequence in range(1, 51)]
    EventStore(database).commit(live, (), {})
    job = archive.order("gate")
    work_off(archive)
    assert archive.seen() == {n: "" if n % 2 else "cat" for n in range(1, 51)}
    assert archive.status(job)[0].state == State.DONE
    assert archive.status(job)[1] == Counts(5, 5, 0, 50, 50, 0, 25)
    models = [event.model for event in archive.events.search("gate", limit=1000)]
    assert models.count("live") == 50
    assert children() == []


def test_weights_of_the_same_name_are_another_model(archive: Archive) -> None:
    archive.order("gate")
    work_off(archive)
    before = archive.seen()
    weights_in(archive.folder, found="bird")
    archive.order("gate")
    work_off(archive)
    assert set(archive.seen().values()) == {"bird", ""}
    assert set(before.values()) == {"cat", ""}
    assert len({event.model for event in archive.events.search("gate", limit=1000)}) == 2


def test_only_frames_of_the_range_and_every_nth_of_them_are_looked_at(archive: Archive) -> None:
    job = archive.order("gate", span=(START_US + 15 * FRAME_US, START_US + 34 * FRAME_US), every=3)
    work_off(archive)
    assert list(archive.seen()) == [18, 21, 24, 27, 30, 33]
    assert archive.status(job)[1] == Counts(3, 3, 0, 6, 6, 0, 3)


def test_frames_in_which_nothing_changed_take_over_what_was_found(
    tmp_path: Path, database: Engine, loaded: Bundle
) -> None:
    archive, encoder = Archive(tmp_path, database, loaded), Encoder(loaded)
    levels = [220] * 14 + [30] * 11
    archive.append(
        [
            encoder.encode(np.full((HEIGHT, WIDTH, 3), level, np.uint8), 5).record(n, START_US + (n - 1) * FRAME_US)
            for n, level in enumerate(levels, 1)
        ]
    )
    job = archive.order("gate", changed=True)
    work_off(archive)
    assert archive.seen() == {n: "cat" if n <= 14 else "" for n in range(1, 26)}
    assert archive.status(job)[1].frames == 25
    assert archive.status(job)[1].looked_at == 2


def test_a_job_begins_in_the_middle_of_a_chain_of_p_records(moving: list[Record], archive_of_moving: Archive) -> None:
    job = archive_of_moving.order("gate", span=(START_US + 21 * FRAME_US, START_US + 10**9))
    work_off(archive_of_moving)
    assert archive_of_moving.status(job)[1] == Counts(1, 1, 0, 4, 4, 0, len(moving[21:]))


@pytest.fixture
def moving(loaded: Bundle) -> list[Record]:
    """An I record and 24 P records, each of which leans on the one before; bright in the corner."""
    encoder, scene = Encoder(loaded), np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    records = []
    for sequence in range(1, 26):
        picture = scene.copy()
        picture[24:40, sequence : sequence + 12] = 20
        records.append(encoder.encode(picture, 5).record(sequence, START_US + (sequence - 1) * FRAME_US))
    return records


@pytest.fixture
def archive_of_moving(tmp_path: Path, database: Engine, loaded: Bundle, moving: list[Record]) -> Archive:
    archive = Archive(tmp_path, database, loaded)
    archive.append(moving)
    return archive


def test_while_the_live_work_is_not_done_nothing_is_begun(archive: Archive) -> None:
    job = archive.order("gate")
    during: list[Counts] = []

    def busy() -> bool:
        during.append(archive.status(job)[1])
        return len(during) > 30

    work_off(archive, busy)
    assert during[:31] == [Counts(segments=5)] * 31
    assert archive.status(job)[1].frames == 50


def test_a_cancelled_job_ends_also_while_it_waits_and_what_it_found_stays(archive: Archive) -> None:
    first, second = archive.order("gate"), archive.order("gate", every=50)

    def cancelled() -> bool:
        if archive.status(first)[1].done < 2:
            return True
        if archive.jobs.is_open(first):
            archive.jobs.cancel(first)
        return not archive.jobs.is_open(first) and archive.status(second)[0].state != State.WAITING

    work_off(archive, cancelled)
    assert archive.status(first)[0].state == State.CANCELLED
    assert archive.status(first)[1].done == 2
    assert archive.status(second)[0].state == State.DONE
    assert list(archive.seen()) == [*range(1, 21), 50]


def test_segments_that_are_gone_or_damaged_are_counted_and_the_others_looked_at(archive: Archive) -> None:
    files = sorted((archive.folder / "records" / "gate").rglob("*.icm"))
    job = archive.order("gate")
    files[1].unlink()
    damaged = bytearray(files[3].read_bytes())
    damaged[len(damaged) // 2] ^= 1
    files[3].write_bytes(damaged)
    work_off(archive)
    job_row, counts = archive.status(job)
    assert job_row.state == State.DONE
    assert (counts.done, counts.lost) == (5, 2)
    seen = list(archive.seen())
    assert [n for n in seen if n <= 30 or n > 40] == [*range(1, 11), *range(21, 31), *range(41, 51)]
    assert 0 < len([n for n in seen if 30 < n <= 40]) < 10


def test_weights_that_were_replaced_fail_the_job_and_not_the_next_one(archive: Archive) -> None:
    first = archive.order("gate")
    weights_in(archive.folder, found="bird")
    second = archive.order("gate")
    work_off(archive)
    assert archive.status(first)[0].state == State.FAILED
    assert "were replaced since the job was made" in archive.status(first)[0].problem
    assert archive.status(second)[0].state == State.DONE


def test_a_process_that_is_killed_is_followed_by_another_that_goes_on(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud_service.redetection.worker._RETRY_SECONDS", 0.0)
    job = archive.order("gate")
    killed: list[int] = []

    def kill_once() -> None:
        if archive.status(job)[1].done == 2 and not killed:
            killed.extend(children())
            for process in killed:
                os.kill(process, signal.SIGKILL)

    work_off(archive, kill_once)
    assert len(killed) == 1
    assert archive.status(job)[0].state == State.DONE
    assert archive.status(job)[1] == Counts(5, 5, 0, 50, 50, 0, 25)


def test_a_process_that_dies_again_and_again_fails_the_job(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud_service.redetection.worker._RETRY_SECONDS", 0.0)
    job = archive.order("gate")

    def kill() -> None:
        for process in children():
            os.kill(process, signal.SIGKILL)

    work_off(archive, kill)
    assert archive.status(job)[0].state == State.FAILED
    assert "ended with status -9" in archive.status(job)[0].problem
    assert archive.seen() == {}


def test_a_stop_lets_go_of_a_job_and_the_next_start_goes_on(archive: Archive) -> None:
    job, passed = archive.order("gate"), threading.Event()

    def wait_after_two() -> bool:
        if archive.status(job)[1].done < 2:
            return True
        passed.set()
        return False

    worker = archive.worker(wait_after_two)
    worker.start()
    assert passed.wait(PATIENCE_SECONDS)
    worker.stop()
    assert children() == []
    assert archive.status(job)[0].state == State.RUNNING
    work_off(archive)
    assert archive.status(job)[1] == Counts(5, 5, 0, 50, 50, 0, 25)
