"""``icm-bench inputs``: random pictures and videos of every kind that people bring, and what becomes of them, beside
what Pillow and ffmpeg show.

Compared before anything is coded: how many pictures, their size as shown, their colours, their times. Damaged files are
to lose nothing that ffmpeg still shows, and to say what they lost. The ``icm`` command is to end with the right status
and one clear message, and to leave nothing behind.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from icm_bench.inputs import commands, damage, pictures, times, verdict, videos
from icm_bench.inputs.cases import Case
from icm_bench.inputs.judges import Ffmpeg
from icm_bench.report import RESULTS, print_table, write_json

Makers = dict[str, tuple[Callable[[random.Random, Path, int], Iterator[Case]], int]]


def makers(ffmpeg: Ffmpeg) -> Makers:
    """What makes files, and how many of each."""

    def edited(dice: random.Random, folder: Path, count: int) -> Iterator[Case]:
        return times.edited(dice, folder, count, ffmpeg)

    def streams(dice: random.Random, folder: Path, count: int) -> Iterator[Case]:
        return times.streams(dice, folder, count, ffmpeg)

    return {
        "pictures turned": (pictures.turned, 56),
        "modes": (pictures.modes, 49),
        "depths": (pictures.depths, 9),
        "several": (pictures.several, 36),
        "sizes": (pictures.sizes, 18),
        "videos turned": (videos.turned, 24),
        "aspects": (videos.aspects, 20),
        "colours": (videos.colours, 112),
        "paces": (times.paces, 30),
        "uneven": (times.uneven, 40),
        "edited": (edited, 24),
        "streams": (streams, 8),
        "damaged pictures": (damage.pictures, 150),
        "damaged videos": (damage.videos, 120),
    }


COMMANDS = 60


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench inputs", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of all that is random (default: %(default)s)")
    parser.add_argument("--share", type=float, default=1.0, help="of the files to make (default: all)")
    parser.add_argument("--keep", type=Path, help="a folder where the files stay, to look at those that go wrong")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        rows, wrong = search(options.keep or Path(scratch), options.seed, options.share)
    print_table([*rows[0]], [tuple(row.values()) for row in rows])
    for text in wrong:
        print(text)
    figures = {"seed": options.seed, "files": sum(row["cases"] for row in rows), "kinds": rows}
    print(f"written to {write_json('inputs', figures, options.results)}")
    return 1 if wrong else 0


def search(root: Path, seed: int, share: float) -> tuple[list[dict[str, Any]], list[str]]:
    """Makes and reads the files; a row for each kind, and what is wrong with which file."""
    ffmpeg = Ffmpeg()
    tried, faults = Counter[str](), Counter[str]()
    seconds: dict[str, float] = defaultdict(float)
    wrong: list[str] = []

    def count(kind: str, what: str, begun: float, fault: str | None) -> None:
        tried[kind] += 1
        seconds[kind] += time.monotonic() - begun
        if fault is not None:
            faults[kind] += 1
            wrong.append(f"{kind}: {what}: {fault}")

    planned = {name: (make, max(1, round(share * most))) for name, (make, most) in makers(ffmpeg).items()}
    called = max(1, round(share * COMMANDS))
    with tqdm(total=sum(most for _, most in planned.values()) + called, unit="file", leave=False, disable=None) as bar:
        for name, (make, most) in planned.items():
            folder = root / name.replace(" ", "-")
            folder.mkdir(parents=True)
            # Each of its own, so that changes to one kind leave the files of the others what they were.
            for case in make(random.Random(f"{seed} {name}"), folder, most):
                begun = time.monotonic()
                count(case.kind, f"{case.what} ({case.path.name})", begun, verdict.fault(case, ffmpeg))
                bar.update()
        for run in commands.runs(random.Random(f"{seed} commands"), root / "commands", called):
            begun = time.monotonic()
            count("commands and names", run.what, begun, commands.fault(run))
            bar.update()
    rows = [
        {"kind": kind, "cases": cases, "wrong": faults[kind], "seconds": round(seconds[kind], 1)}
        for kind, cases in tried.items()
    ]
    return rows, wrong
