"""A process that is killed between the steps of a deletion, for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cloud_service.database.opening import open_database
from cloud_service.retention.execution import Step
from tests.cloud_service.parts import close_stores
from tests.cloud_service.retention.world import World
from tests.cloud_service.store.test_store import append

ROOT = Path(__file__).parents[3]


def die_at(folder: Path, name: str) -> None:
    """What the child does: makes five segments, deletes the first three, and is killed after a step."""
    database = open_database(f"sqlite:///{folder / 'cloud.db'}")

    def kill(step: Step) -> None:
        if step.name == name:
            os.kill(os.getpid(), signal.SIGKILL)

    world = World(folder, database, kill)
    world.seal(segments=5)
    world.add_keyframe(2)
    world.delete_numbers(1, 2, 3)


@pytest.mark.parametrize("step", [Step.NOTED, Step.COMMITTED, Step.UNLINKED, Step.DONE])
def test_a_kill_between_the_steps_leaves_all_or_nothing_and_a_start_finishes_it(tmp_path: Path, step: Step) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.cloud_service.retention.test_kill import die_at;"
        f" die_at(Path({str(tmp_path)!r}), {step.name!r})"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    database = open_database(f"sqlite:///{tmp_path / 'cloud.db'}")
    world = World(tmp_path, database)
    assert world.numbers() == ([1, 2, 3, 4, 5] if step is Step.NOTED else [4, 5])
    assert world.usage() == world.on_disk()
    assert world.rows("garbage") == 0
    assert append(world.store, 5, 25) == [False, False]
    close_stores(database)
