"""``icm-bench fuzz``: hostile bytes for parsers and services that strangers reach; each input gives a result or one
typed error, and the services live on.

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
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import google_crc32c
from tqdm import tqdm

from edge_service.images import read_image
from icm.codec.bitstream.record import parse_stream
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.codec.decoder import Decoder
from icm.errors import IcmError, ImageError, RecordError
from icm_bench.fuzz.proofs import REPAIRS, ProofTargets, change_number
from icm_bench.fuzz.script import mutate_order, mutate_records, record_stream
from icm_bench.fuzz.servers import ServerTargets, running
from icm_bench.report import RESULTS, print_table, write_json

CORPUS = Path("tests/fuzz/corpus")
SECONDS_AN_INPUT = 10
"""After which an input hangs."""
MEMORY_BYTES = 2 << 30
"""That one run may take beyond what it began with."""
MAX_INPUT = 1 << 16
WARM_SHARE = 0.2
"""Part of the time after which the services' memory should not grow any more."""
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
    """The parsers that are fuzzed, by the names of their folders in the corpus."""
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


def mutate_for(name: str, data: bytes, others: Sequence[bytes], dice: random.Random) -> bytes:
    """Random changes that suit a target: some keep enough of the form to get past its first check."""
    match name:
        case "chain" | "seals" | "deleted" | "manifest" | "case":
            changed = change_number(data, dice) if dice.random() < 0.5 else mutate(data, others, dice)
            return REPAIRS[name](changed) if name in REPAIRS and dice.random() < 0.7 else changed
        case "picture" | "http":
            return mutate(data, others, dice)
        case "ingest" | "calls" | "watch":
            changed = mutate_order(data, dice)
            if name == "ingest":
                changed = mutate_records(changed, dice)
            return mutate(changed, others, dice) if dice.random() < 0.3 else changed
        case _:
            changed = mutate(data, others, dice)
            return with_checksums(changed) if name == "latents" or dice.random() < 0.5 else changed


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
    golden = (bundle / "golden.icm").read_bytes()
    if name == "latents":
        found.append(golden)
    elif name == "ingest":
        found.append(record_stream(golden))
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


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long, over all targets (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the random changes (default: %(default)s)")
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    try:
        results = _fuzz(options)
    except IcmError as error:
        print(f"icm-bench fuzz: {error}", file=sys.stderr)
        return 1
    for table in ("targets", "services"):
        print_table([*results[table][0]], [tuple(row.values()) for row in results[table]])
    print(f"written to {write_json('fuzz', results, options.results)}")
    return 1 if any(row["found"] for row in results["targets"]) else 0


def _fuzz(options: argparse.Namespace) -> dict[str, Any]:
    dice, tried, found = random.Random(options.seed), Counter[str](), Counter[str]()
    bundle = Bundle.load(options.bundle, 1)
    with ExitStack() as stack:
        services = stack.enter_context(running(options.bundle, Path(stack.enter_context(TemporaryDirectory()))))
        servers = ServerTargets(services)
        stack.callback(servers.close)
        proofs = stack.enter_context(ProofTargets())
        fuzzed = targets(bundle) | proofs | servers.targets()
        inputs = {name: seeds(name, options.corpus, options.bundle) for name in fuzzed}
        _bound_memory()
        begin, end = time.monotonic(), time.monotonic() + 60 * options.minutes
        warm: dict[str, float] = {}
        with tqdm(unit="input", desc="fuzz", leave=False, disable=None) as bar:
            while time.monotonic() < end:
                if not warm and time.monotonic() > begin + WARM_SHARE * (end - begin):
                    warm = services.resident_mb()
                for name, target in fuzzed.items():
                    data = mutate_for(name, dice.choice(inputs[name]), inputs[name], dice)
                    tried[name] += 1
                    if (wrong := attempt(target, data)) is not None:
                        found[name] += 1
                        path = options.corpus / name / f"found-{hashlib.sha256(data).hexdigest()[:16]}"
                        path.write_bytes(data)
                        print(f"{name}: {wrong}; kept as {path}", file=sys.stderr)
                        if not services.sound():
                            # All that follows would be blamed on inputs that are not to blame.
                            end = begin
                bar.update(len(fuzzed))
        memory = [
            {"service": name, "warm_mb": warm.get(name, size), "end_mb": size}
            for name, size in services.resident_mb().items()
        ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {
        "minutes": options.minutes,
        "seed": options.seed,
        "peak_mb": peak,
        "targets": [{"target": name, "inputs": tried[name], "found": found[name]} for name in fuzzed],
        "services": memory,
    }


def _bound_memory() -> None:
    """An input that asks for gigabytes then raises MemoryError instead of taking the machine down."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES, resource.RLIM_INFINITY))
