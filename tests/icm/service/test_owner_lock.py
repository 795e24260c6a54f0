"""What one process holds, no other gets, for as long as it lives; and who lost it notices."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from icm.errors import SpoolError
from icm.service.owner_lock import OwnerLock


def test_what_a_process_holds_is_free_as_soon_as_it_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from icm.service.owner_lock import OwnerLock;"
        "from icm.errors import SpoolError\n"
        "lock = OwnerLock(Path(sys.argv[1]), 'the thing', 'icm-test', SpoolError); print('held', flush=True)\n"
        "time.sleep(600)"
    )
    path = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    with holder.stdout:
        holder.stdout.readline()
        with pytest.raises(SpoolError, match=rf"the thing is in use by another icm-test \(process {holder.pid} on"):
            OwnerLock(path, "the thing", "icm-test", SpoolError)
        os.kill(holder.pid, signal.SIGSTOP)
        with pytest.raises(SpoolError, match="in use"):
            OwnerLock(path, "the thing", "icm-test", SpoolError)
        holder.kill()
        holder.wait()
    OwnerLock(path, "the thing", "icm-test", SpoolError).release()


def deleted(lock: Path) -> None:
    lock.unlink()


def replaced(lock: Path) -> None:
    lock.unlink()
    lock.write_text("process 1 on another machine, abc")


def taken_elsewhere(lock: Path) -> None:
    lock.write_text("process 1 on a machine whose locks this kernel does not see, abc")


def mounted_over(lock: Path) -> None:
    lock.parent.rename(lock.parent.with_name("moved"))
    shutil.copytree(lock.parent.with_name("moved"), lock.parent)


@pytest.mark.parametrize("happens", [deleted, replaced, taken_elsewhere, mounted_over])
def test_who_lost_what_it_holds_notices(tmp_path: Path, happens: Callable[[Path], None]) -> None:
    path = tmp_path / "held" / "lock"
    lock = OwnerLock(path, "the thing", "icm-test", SpoolError)
    lock.check()
    happens(path)
    with pytest.raises(SpoolError, match="the thing is not the one any more"):
        lock.check()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SpoolError, match="cannot use the thing: Not a directory"):
        OwnerLock(tmp_path / "file" / "held" / "lock", "the thing", "icm-test", SpoolError)


def test_what_was_let_go_of_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(2):
        lock = OwnerLock(tmp_path / "lock", "the thing", "icm-test", SpoolError)
        lock.check()
        lock.release()
