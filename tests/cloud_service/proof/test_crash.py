"""A cloud that is killed leaves a chain that holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.cloud_service.proof.kept import Kept, entries, links


@pytest.mark.parametrize("blocks", [1, 7])
def test_a_sigkill_leaves_a_chain_that_holds_and_is_made_whole_by_the_next_start(
    tmp_path: Path, database: Engine, blocks: int
) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from cloud_service.database.opening import database_engine\n"
        "from cloud_service.proof import keeper\n"
        "from tests.cloud_service.proof.kept import Kept\n"
        "keeper.MOST_LEAVES = 1\n"
        "kept = Kept(Path(sys.argv[1]), database_engine(sys.argv[2]))\n"
        "for second in range(100_000):\n"
        "    kept.append(10 * second + 1, 10 * second + 10)\n"
        "    kept.keeper.work()\n"
        "    print(kept.keeper.newest('gate').block if second > 1 else 0, flush=True)\n"
    )
    url = database.url.render_as_string(hide_password=False)
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path), url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        while (told_block := int(process.stdout.readline())) < blocks:
            pass
        process.kill()
        told_block = int((process.stdout.read().splitlines() or [str(told_block)])[-1])
    process.wait()
    kept = Kept(tmp_path, database)
    assert len(links(tmp_path)) >= told_block
    kept.keeper.work()
    kept.close()
    numbers = [leaf.facts.number for leaf in entries(tmp_path)]
    assert numbers == [segment.number for segment in kept.segments()]
    assert kept.problems.lines() == []
