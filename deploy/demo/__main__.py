"""``make demo``: a clip goes from a real edge to a real cloud, on this machine, before your eyes."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from deploy.demo import comparison
from deploy.demo.clip import Clip, cut, measure
from deploy.demo.play import Outcome, Stage, play
from deploy.demo.summary import Summary
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.errors import IcmError
from icm.testing import assets

FPS_PER_CORE = 1.0
"""Frames of 768x576 that a CPU core codes, decodes, looks at and renders with room to spare: each takes about 0.4 s."""


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        summary = _show(options)
    except IcmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; both services have ended", file=sys.stderr)
        return 130
    print(summary.text())
    print(summary.json())
    return 0


def _show(options: argparse.Namespace) -> Summary:
    weights = options.weights or assets.fetch(assets.WEIGHTS, assets.CACHE, _say)
    source = measure(options.clip or assets.fetch_clip(assets.CACHE, _say))
    folder = options.data / time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise IcmError(f"cannot make the folder {folder}: {error.strerror}; choose another --data") from None
    fps = options.fps or default_fps(source, options.frames, os.cpu_count() or 1)
    clip = cut(source, folder / f"{source.path.stem}.mkv", options.frames, fps)
    _say(
        f"playing {clip.frames} frames of {clip.title} in real time, {float(clip.fps):g} of its {float(source.fps):g}"
        f" frames per second (FPS=n chooses), which takes {clip.seconds:.0f} s; all files go to {folder}"
    )
    stage = Stage(clip, options.bundle, weights, folder, options.quality, options.device)
    outcome = _run(stage)
    _say("coding the same frames as JPEG and H.264 for comparison")
    return Summary(
        clip, options.bundle.name, options.quality, outcome.progress, outcome.watcher, comparison.encode(clip),
        stage.archive, outcome.videos, stage.sheet, outcome.seconds,
    )  # fmt: skip


def default_fps(clip: Clip, frames: int | None, cores: int) -> float:
    """Frames per second that a machine of so many cores keeps up with; more only to find enough frames in the clip."""
    return min(float(clip.fps), max(cores * FPS_PER_CORE, (frames or 0) / clip.seconds))


def _run(stage: Stage) -> Outcome:
    async def until_told() -> Outcome:
        # A plain kill must take the services along, as Ctrl-C does.
        task = asyncio.current_task()
        assert task is not None
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await play(stage)

    try:
        return asyncio.run(until_told())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _positive(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number greater than 0")


def _count(text: str) -> int:
    with contextlib.suppress(ValueError):
        if int(text) > 0:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number greater than 0")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description=__doc__)
    parser.add_argument(
        "--frames",
        type=_count,
        default=os.environ.get("FRAMES") or None,
        help="end after so many (default: the whole clip)",
    )
    parser.add_argument(
        "--fps", type=_positive, default=os.environ.get("FPS") or None,
        help="play so many of the clip's frames per second (default: one a CPU core)",
    )  # fmt: skip
    parser.add_argument("--clip", type=Path, help="a video file of your own (default: one that is fetched)")
    parser.add_argument("--weights", type=Path, help="YOLO weights of your own (default: yolo26n.pt, fetched)")
    parser.add_argument(
        "--bundle", type=Path, default=DEFAULT_BUNDLE, help="folder of a codec bundle (default: %(default)s)"
    )
    parser.add_argument("--quality", type=float, default=3.0, help="quality level (default: %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: %(default)s)")
    parser.add_argument("--data", type=Path, default=Path("demo-data"), help="(default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
