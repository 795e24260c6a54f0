"""The ``icm-bench`` command: one subcommand a benchmark, each in a module of its own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from shared.errors import IcmError

BENCHMARKS = {
    "rate-accuracy": "bits per pixel against detection on labelled photos",
    "video": "bitrate against detection on a still camera's clip",
    "motion-modes": "where the bits of P records go, and what each of their modes is worth",
    "visual": "what decoded pictures are to a person, and whether a checkerboard is in them",
    "regions": "where a picture's bits go, and what knowing the objects would be worth",
    "sheet": "originals beside what JPEG, AVIF and our decoders make of them",
    "training-log": "how training went, from the logs of its stages",
    "exactness": "whether bits decode to the same latents whatever computes the integer networks",
    "speed": "what coding a frame costs, part by part",
    "layers": "what the blocks that transforms can be made of cost a multiplication",
    "cost": "memory, install size and throughput of the services",
    "load": "how many cameras one cloud takes, and what each costs it",
    "framing": "bytes that a record costs on the wire beside its payload",
    "rate-control": "how near a camera comes to its target bitrate, and how soon once its link halves",
    "chaos": "what delivery keeps of its promises while services die and the network fails",
    "soak": "memory of both services over hours",
    "fuzz": "hostile bytes for every parser and service that strangers reach",
    "results-page": "docs/results.md from what the others wrote",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark named first with the arguments that follow it; 1 with one line on stderr where it cannot."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] not in BENCHMARKS:
        listing = "\n".join(f"  {name:15} {meaning}" for name, meaning in BENCHMARKS.items())
        print(f"usage: icm-bench BENCHMARK [options]\n{listing}", file=sys.stderr)
        return 0 if given and given[0] in ("-h", "--help") else 2
    module = importlib.import_module(f"benchmarks.{given[0].replace('-', '_')}")
    try:
        result: int = module.main(given[1:])
    except (IcmError, FileNotFoundError) as error:
        print(f"icm-bench {given[0]}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"icm-bench {given[0]}: interrupted", file=sys.stderr)
        return 130
    return result
