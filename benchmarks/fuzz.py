"""``icm-bench fuzz``: hostile bytes for parsers that strangers reach; each input gives a result or one typed error.

Inputs are those of a corpus, changed at random; checksums are put right half of the time, so that what lies behind them
is reached too. What crashes, hangs or asks for too much memory is kept in the corpus, where the tests replay it.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

import google_crc32c
from tqdm import tqdm

from benchmarks.report import RESULTS, print_table, write_json
from edge_service.images import read_image
from shared.codec.bundle import DEFAULT_BUNDLE, Bundle
from shared.codec.codec import Decoder
from shared.codec.record import parse_stream
from shared.errors import IcmError, ImageError, RecordError

CORPUS = Path("tests/fuzz/corpus")
SECONDS_AN_INPUT = 10
"""After which an input hangs."""
MEMORY_BYTES = 2 << 30
"""That one run may take beyond what it began with."""
MAX_INPUT = 1 << 16
_CRC_BYTES = 4

Target = Callable[[bytes], None]


def stream(data: bytes) -> None:
    """A file of records, or the bytes of a stream header and a batch: RecordError or records."""
    with suppress(RecordError):
        for _ in parse_stream(data)[1]:
            pass


def picture(data: bytes) -> None:
    """A picture that a client of the frame API submits: ImageError or pixels."""
    with suppress(ImageError):
        read_image(data)


class Latents:
    """Records of a stream whose checksums are right, to the entropy decoder: RecordError or latents."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def __call__(self, data: bytes) -> None:
        with suppress(RecordError):
            header, records = parse_stream(data)
            decoder = Decoder(self._bundle)
            for record in records:
                decoder.latents(record, header.width, header.height)


def targets(bundle: Bundle) -> dict[str, Target]:
    """What is fuzzed, by the name of its folder in the corpus."""
    return {"stream": stream, "picture": picture, "latents": Latents(bundle)}


def mutate(data: bytes, others: Sequence[bytes], dice: random.Random) -> bytes:
    """A few random changes: bits, bytes, pieces left out, doubled or taken from another input."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(changed) + 1)
        match dice.randrange(5):
            case 0 if changed:
                changed[at % len(changed)] ^= 1 << dice.randrange(8)
            case 1 if changed:
                changed[at % len(changed)] = dice.choice((0, 1, 127, 128, 255))
            case 2:
                del changed[at : at + dice.randint(1, 16)]
            case 3:
                changed[at:at] = dice.randbytes(dice.randint(1, 16))
            case _:
                other = dice.choice(others)
                start = dice.randrange(len(other) + 1)
                changed[at:] = other[start:]
    return bytes(changed[:MAX_INPUT])


def with_checksums(data: bytes) -> bytes:
    """The same with the checksums of its header and records put right, as far as their lengths lead."""
    fixed = bytearray(data)
    if len(fixed) < 38:
        return data
    at = _put_right(fixed, 0, 38 + fixed[37] + 20)
    while at is not None and at + 19 < len(fixed):
        length = int.from_bytes(fixed[at + 12 : at + 15], "little")
        at = _put_right(fixed, at, at + 19 + length)
    return bytes(fixed)


def _put_right(data: bytearray, start: int, end: int) -> int | None:
    if end + _CRC_BYTES > len(data):
        return None
    data[end : end + _CRC_BYTES] = google_crc32c.value(bytes(data[start:end])).to_bytes(_CRC_BYTES, "little")
    return end + _CRC_BYTES


def seeds(name: str, corpus: Path, bundle: Path) -> list[bytes]:
    """The inputs to begin with.

    Raises:
        IcmError: there are none.
    """
    found = [path.read_bytes() for path in sorted((corpus / name).glob("*"))]
    if name == "latents":
        found.append((bundle / "golden.icm").read_bytes())
    if not found:
        raise IcmError(f"there is no corpus at {corpus / name}: run this in the project's folder")
    return found


def attempt(target: Target, data: bytes) -> str | None:
    """What is wrong with how the target takes the input; None if nothing is."""

    def hung(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(SECONDS_AN_INPUT)
    try:
        target(data)
    except TimeoutError:
        return f"hangs for {SECONDS_AN_INPUT} s"
    except Exception as error:
        return f"raises {type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long, over all targets (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the random changes (default: %(default)s)")
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    dice, tried, found = random.Random(options.seed), Counter[str](), Counter[str]()
    fuzzed = targets(Bundle.load(options.bundle, 1))
    inputs = {name: seeds(name, options.corpus, options.bundle) for name in fuzzed}
    _bound_memory()
    end = time.monotonic() + 60 * options.minutes
    with tqdm(unit="input", desc="fuzz", leave=False, disable=None) as bar:
        while time.monotonic() < end:
            for name, target in fuzzed.items():
                data = mutate(dice.choice(inputs[name]), inputs[name], dice)
                if name != "picture" and (name == "latents" or dice.random() < 0.5):
                    data = with_checksums(data)
                tried[name] += 1
                if (wrong := attempt(target, data)) is not None:
                    found[name] += 1
                    path = options.corpus / name / f"found-{hashlib.sha256(data).hexdigest()[:16]}"
                    path.write_bytes(data)
                    print(f"{name}: {wrong}; kept as {path}", file=sys.stderr)
            bar.update(len(fuzzed))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print_table(("target", "inputs", "found"), [(name, tried[name], found[name]) for name in fuzzed])
    results = {"minutes": options.minutes, "seed": options.seed, "peak_mb": peak, "inputs": tried, "found": found}
    print(f"written to {write_json('fuzz', results, options.results)}")
    return 1 if found else 0


def _bound_memory() -> None:
    """An input that asks for gigabytes then raises MemoryError instead of taking the machine down."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES, resource.RLIM_INFINITY))
