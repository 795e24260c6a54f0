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
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from deploy.demo import comparison
from deploy.demo.clip import Clip, cut, measure
from deploy.demo.play import Outcome, Stage, playing
from deploy.demo.summary import Summary
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.errors import IcmError
from icm.testing import assets

FPS_PER_CORE = 1.0
"""Frames of 768x576 that a CPU core codes, decodes, looks at and renders with room to spare: each takes about 0.4 s."""


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        _show(options)
    except IcmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; all services have ended", file=sys.stderr)
        return 130
    return 0


def _show(options: argparse.Namespace) -> None:
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

    def summary(outcome: Outcome) -> Summary:
        _say("coding the same frames as JPEG and H.264 for comparison")
        return Summary(
            clip, options.bundle.name, options.quality, outcome.progress, outcome.watcher, comparison.encode(clip),
            stage.archive, outcome.videos(), stage.sheet, outcome.seconds,
        )  # fmt: skip

    if not options.keep:
        _print(summary(_run(stage)))
        return

    async def keep(outcome: Outcome) -> None:
        _print(await asyncio.to_thread(summary, outcome))
        _say(f"cloud and viewer stay up until Ctrl-C; {outcome.viewer.text()}")
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, told.set)
        await told.wait()

    _run(stage, keep)


def default_fps(clip: Clip, frames: int | None, cores: int) -> float:
    """Frames per second that a machine of so many cores keeps up with; more only to find enough frames in the clip."""
    return min(float(clip.fps), max(cores * FPS_PER_CORE, (frames or 0) / clip.seconds))


def _run(stage: Stage, then: Callable[[Outcome], Awaitable[None]] | None = None) -> Outcome:
    """Plays the clip; ``then`` is done while cloud and viewer still run."""

    async def until_told() -> Outcome:
        # A plain kill must take the services along, as Ctrl-C does.
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        async with playing(stage, _say) as outcome:
            if then is not None:
                await then(outcome)
        return outcome

    try:
        return asyncio.run(until_told())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _print(summary: Summary) -> None:
    print(summary.text())
    print(summary.json(), flush=True)


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
    parser.add_argument(
        "--keep", action="store_true", default=os.environ.get("KEEP", "0") not in ("", "0"),
        help="leave cloud and viewer up until Ctrl-C",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, default=Path("demo-data"), help="(default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
