"""The ``icm`` command, a process each time, on files of every name and content, and what it leaves behind."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from icm.codec.bundle.manifest import GOLDEN
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm_bench.inputs import damage
from icm_bench.inputs.cases import scene
from icm_bench.inputs.videos import scenes, write

SECONDS = 60
NAMES = [
    "a b.png",
    "12:30:00.mp4",
    "100%.png",
    "%03d.mp4",
    "two\nlines.png",
    "-dash.png",
    "snow ☃ é.mp4",
    "none",
    "film.png",
    "photo.mp4",
    "a.tar.gz",
    "a.mp4.png",
    "raw\udcff.png",
    "semi;colon'quote\".mp4",
    "pipe|.png",
    "file:x.mp4",
    "\x1b[31mred.png",
    ".hidden.png",
    "a.icm",
    "tab\t.mp4",
]


@dataclass(frozen=True)
class Run:
    """One call.

    Attributes:
        what: what the call is.
        arguments: those after ``icm``.
        folder: where it runs.
        statuses: the right ones.
    """

    what: str
    arguments: list[str]
    folder: Path
    statuses: tuple[int, ...]
    made: tuple[str, ...] = ()
    sent: bytes = b""


def runs(dice: random.Random, root: Path, count: int) -> Iterator[Run]:
    """So many calls, those that go wrong among them."""
    makers = [_named, _named, _hit, _decoded, _odd]
    for index in range(count):
        folder = root / str(index)
        folder.mkdir(parents=True)
        yield makers[index % len(makers)](dice, folder, index // len(makers))


def _content(dice: random.Random, path: Path, film: bool) -> Path:
    if film:
        return write(path, scenes(dice, 3, (32, 32)), format="mp4")
    with path.open("wb") as file:
        Image.fromarray(scene(dice, 33, 31)).save(file, "PNG")
    return path


def _named(dice: random.Random, folder: Path, index: int) -> Run:
    name = NAMES[(2 * index + dice.randrange(2)) % len(NAMES)]
    _content(dice, folder / name, dice.random() < 0.5)
    source = ["--", name] if name.startswith("-") else [name]
    return Run(f"a file called {name!r}", ["encode", *source, "out.icm"], folder, (0,), ("out.icm",))


def _hit(dice: random.Random, folder: Path, index: int) -> Run:
    make = dice.choice([damage.pictures, damage.videos])
    (case,) = make(dice, folder, 1)
    return Run(case.what, ["encode", case.path.name, "out.icm"], folder, (0, 2, 3))


def _decoded(dice: random.Random, folder: Path, index: int) -> Run:
    golden = (DEFAULT_BUNDLE / GOLDEN).read_bytes()
    change = dice.choice(damage.DAMAGES)
    (folder / "in.icm").write_bytes(change(golden, dice))
    output = dice.choice(["out.mkv", "out.png", "-", "out", "out.xyz", "missing/out.mkv"])
    return Run(f"{change.__name__} .icm to {output}", ["decode", "in.icm", output], folder, (0, 2, 3))


def _odd(dice: random.Random, folder: Path, index: int) -> Run:
    picture = _content(dice, folder / "in.png", False)
    match index % 12:
        case 0:
            return Run("nothing there", ["encode", "none.png", "out.icm"], folder, (2,))
        case 1:
            (folder / "empty.png").touch()
            return Run("an empty file", ["encode", "empty.png", "out.icm"], folder, (2,))
        case 2:
            return Run("a folder of pictures", ["encode", ".", "out"], folder, (0,), ("out/in.png.icm",))
        case 3:
            (folder / "bad.png").write_bytes(picture.read_bytes()[:99])
            return Run("a folder with a bad picture", ["encode", ".", "out"], folder, (3,), ("out/in.png.icm",))
        case 4:
            return Run("over its own input", ["encode", "in.png", "in.png"], folder, (2,))
        case 5:
            return Run("standard input", ["encode", "-", "out.icm"], folder, (0,), ("out.icm",), picture.read_bytes())
        case 6:
            return Run("standard output", ["encode", "in.png", "-"], folder, (0,))
        case 7:
            return Run("a quality out of range", ["encode", "--quality", "99", "in.png", "out.icm"], folder, (2,))
        case 8:
            (folder / "notes.txt").write_text("words\n" * 50)
            return Run("a text", ["encode", "notes.txt", "out.icm"], folder, (2,))
        case 9:
            return Run(
                "an output without a folder", ["encode", "in.png", "new/out.icm"], folder, (0,), ("new/out.icm",)
            )
        case 10:
            return Run("a folder that is empty", ["encode", "sub", "out"], _empty(folder), (2,))
        case _:
            return Run("a file that is no .icm", ["info", "in.png"], folder, (2,))


def _empty(folder: Path) -> Path:
    (folder / "sub").mkdir()
    return folder


def fault(run: Run) -> str | None:
    """What is wrong with how the command ended and what it left; None if nothing is."""
    before, scratch = _listed(run.folder), run.folder.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    environment = os.environ | {
        "TMPDIR": str(scratch),
    }
    command = [sys.executable, "-m", "icm.command.cli", *run.arguments]
    if run.arguments[0] != "info":
        command += ["--threads", "1"] if "--" not in command else []
    try:
        done = subprocess.run(
            command, cwd=run.folder, env=environment, input=run.sent, capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"hangs for {SECONDS} s"
    said = done.stderr.decode(errors="replace")
    if done.returncode not in run.statuses:
        return f"status {done.returncode} instead of {run.statuses}: {said[-300:]}"
    if "Traceback" in said:
        return f"a traceback: {said[-300:]}"
    lines = [line for line in said.splitlines() if line.strip()]
    if done.returncode == 2 and len(lines) != 1:
        return f"{len(lines)} lines where one should say why: {said[:400]!r}"
    if done.returncode == 3 and not lines:
        return "status 3 and not a word"
    if any(not line.startswith("icm: ") for line in lines):
        return f"a line of somebody else: {said[:400]!r}"
    if any(ord(letter) < 32 and letter != "\n" for letter in said):
        return f"control characters: {said[:400]!r}"
    after = _listed(run.folder)
    if before - after:
        return f"gone: {before - after}"
    left = {name for name in after - before if done.returncode == 2 or ".icm-" in name[0]}
    if left or list(scratch.iterdir()):
        return f"left behind: {left or list(scratch.iterdir())}"
    if not set(run.made) <= {name for name, _ in after}:
        return f"not made: {set(run.made) - {name for name, _ in after}}"
    return None


def _listed(folder: Path) -> set[tuple[str, int]]:
    return {(str(path.relative_to(folder)), path.stat().st_size) for path in folder.rglob("*") if path.is_file()}
