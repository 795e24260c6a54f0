"""Checks an evidence file as a stranger would: by ``icm verify``, in a process of its own at the lowest priority."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cloud_service.viewer.exports.record import Verdict

_NICENESS = 19
_MOST_CHARACTERS = 20_000
_HOLDS, _BROKEN = 0, 1


async def check_case(file: Path, bundles: Sequence[Path]) -> tuple[Verdict, str]:
    """What the check says: its verdict, and its words.

    Args:
        file: the evidence file.
        bundles: folders of the codecs to decode with.
    """
    command = (sys.executable, "-c", "import sys; from icm.command.cli import main; sys.exit(main())")
    process = await asyncio.create_subprocess_exec(
        *command,
        "verify",
        str(file),
        *(part for bundle in bundles for part in ("--bundle", str(bundle))),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    with suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    told = output.decode(errors="replace").replace(str(file), "case.zip")[-_MOST_CHARACTERS:]
    verdicts = {_HOLDS: Verdict.HOLDS, _BROKEN: Verdict.BROKEN}
    return verdicts.get(process.returncode or 0, Verdict.FAILED), told
