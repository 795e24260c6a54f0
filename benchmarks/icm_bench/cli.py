"""The ``icm-bench`` command: one subcommand a benchmark, each in a module of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

from icm.errors import IcmError
from icm.service.command_line import start
from icm.version import VERSION


class Benchmark(NamedTuple):
    """A benchmark by its module, which has a ``run(arguments) -> exit status``, and what it measures."""

    module: str
    meaning: str


BENCHMARKS = {
    "rate-accuracy": Benchmark("accuracy.rate_accuracy", "bits per pixel against detection on labelled photos"),
    "video": Benchmark("video.video", "bitrate against detection on a still camera's clip"),
    "camera-days": Benchmark(
        "archive.camera_days", "how many days of a camera a terabyte holds, as records and as video of equal worth"
    ),
    "evidence": Benchmark("archive.evidence", "how fast evidence files are made and checked, and how surely"),
    "clips": Benchmark(
        "archive.clips", "how fast clips are cut and rendered, and what key frames cost the archive's videos"
    ),
    "motion-modes": Benchmark(
        "video.motion_modes", "where the bits of P records go, and what each of their modes is worth"
    ),
    "reuse": Benchmark(
        "video.reuse", "what frames cost the cloud in which little changed, with detections reused and without"
    ),
    "redetect": Benchmark("archive.redetect", "how fast the past is looked at again, by which frames are"),
    "visual": Benchmark("pages.visual", "what decoded pictures are to a person, and whether a checkerboard is in them"),
    "regions": Benchmark("accuracy.regions", "where a picture's bits go, and what knowing the objects would be worth"),
    "sheet": Benchmark("pages.sheet", "originals beside what JPEG, AVIF and our decoders make of them"),
    "training-log": Benchmark("pages.training_log", "how training went, from the logs of its stages"),
    "exactness": Benchmark(
        "exactness.exactness", "whether bits decode to the same latents whatever computes the integer networks"
    ),
    "speed": Benchmark("speed.speed", "what coding a frame costs, part by part"),
    "layers": Benchmark("speed.layers", "what the blocks that transforms can be made of cost a multiplication"),
    "cost": Benchmark("speed.cost", "memory, install size and throughput of the services"),
    "load": Benchmark("speed.load", "how many cameras one cloud takes, and what each costs it"),
    "events": Benchmark("speed.events", "how many frames a second the event store takes, by database"),
    "index": Benchmark("speed.index", "what a start of the record store costs, by how many segments it holds"),
    "archive": Benchmark("archive.search", "how soon searches of a million frames are answered, by database"),
    "verify": Benchmark("archive.verify", "how fast an archive is verified against its chains, beside sha256sum"),
    "retention": Benchmark("archive.retention", "what a pass of retention costs, by how many segments there are"),
    "viewer": Benchmark("viewer.pages", "how soon the viewer's pages come from a million frames"),
    "viewer-wall": Benchmark("viewer.wall", "what a wall of cameras costs viewer and cloud, by how many look at it"),
    "framing": Benchmark("speed.framing", "bytes that a record costs on the wire beside its payload"),
    "rate-control": Benchmark(
        "delivery.rate_control", "how near a camera comes to its target bitrate, and how soon once its link halves"
    ),
    "chaos": Benchmark(
        "delivery.chaos", "what delivery keeps of its promises while services die and the network fails"
    ),
    "soak": Benchmark("delivery.soak", "memory of both services over hours"),
    "fuzz": Benchmark("fuzz.fuzz", "hostile bytes for every parser and service that strangers reach"),
    "inputs": Benchmark("inputs.inputs", "what becomes of random pictures and videos, against Pillow and ffmpeg"),
    "results-page": Benchmark("pages.results_page", "docs/results.md from what the others wrote"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark named first with the arguments that follow it; 1 with one line on stderr where it cannot."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:
        print(f"icm-bench {VERSION}")
        return 0
    if not given or given[0] not in BENCHMARKS:
        listing = "\n".join(f"  {name:15} {benchmark.meaning}" for name, benchmark in BENCHMARKS.items())
        print(f"usage: icm-bench BENCHMARK [options]\n{listing}", file=sys.stderr)
        return 0 if given and given[0] in ("-h", "--help") else 2
    try:
        return start(f"icm-bench {given[0]}", f"icm_bench.{BENCHMARKS[given[0]].module}", "train", given[1:])
    except (IcmError, FileNotFoundError) as error:
        print(f"icm-bench {given[0]}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"icm-bench {given[0]}: interrupted", file=sys.stderr)
        return 130
