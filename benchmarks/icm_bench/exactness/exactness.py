"""``icm-bench exactness``: whether a record's bits decode to the same latents, and these code to the same bits,
whatever computes the integer networks.

Records of a camera's video, of many sizes and qualities, are decoded by every runtime from their bytes alone, each
with a chain of its own. Runtimes with one filter changed are the control: their mismatches must be found.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from icm.codec.bitstream.record import Kind, Record, parse_stream
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.codec.decoder import Decoder
from icm.codec.latents.latents import Latents
from icm.codec.motion.linear_path import LinearPath
from icm.codec.motion.prediction import LinearPicture, reference_after
from icm.errors import RecordError
from icm.testing import assets
from icm_bench.exactness.chain import CHAINS, Chain, Sent, records
from icm_bench.exactness.runtimes import CONTROLS, PATHS, RUNTIMES, Make, bundle_in
from icm_bench.report import RESULTS, print_rows, write_json

_CODED_AGAIN = 4
"""Every how many-th record's latents are coded again: that takes as long as decoding, and runs the same networks on the
same numbers."""
_CONTROLLED = 25
"""Records of each chain that the controls decode too."""
_SHOWN = 20
"""Mismatches that are told one by one."""


@dataclass
class Tally:
    """What became of the records that one runtime decoded.

    Attributes:
        kinds: how many of each.
        coded: how many were coded again.
        latents: how many they code: all of an I record's, those of a P record's moved positions.
        mismatches: what is wrong with which record.
    """

    kinds: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    coded: int = 0
    latents: int = 0
    mismatches: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        for kind, count in other.kinds.items():
            self.kinds[kind] += count
        self.coded += other.coded
        self.latents += other.latents
        self.mismatches += other.mismatches

    def row(self, column: str, name: str) -> dict[str, Any]:
        return {
            column: name,
            "records": sum(self.kinds.values()),
            **{kind.name: count for kind, count in self.kinds.items()},
            "coded_again": self.coded,
            "latents": self.latents,
            "mismatches": len(self.mismatches),
        }


class Runtime:
    """One runtime's decoder of one chain, and the tally of it."""

    def __init__(self, bundle: Bundle, make: Make, path: Callable[[LinearPath], LinearPath] | None = None) -> None:
        """Creates a decoder of the bundle on another runtime.

        Args:
            make: makes what computes the integer networks.
            path: makes what computes the linear path.
        """
        self._bundle = bundle_in(bundle, make, path)
        self._decoder = Decoder(self._bundle)
        self._last: Latents | None = None
        self.tally = Tally()

    def take(self, sent: Sent, name: str) -> None:
        """Decodes a record, codes some again, and notes what is not as it was made."""
        again, updated = sum(self.tally.kinds.values()) % _CODED_AGAIN == 0, sent.latents.updated
        count = updated.size if sent.kind is Kind.I else np.count_nonzero(updated)
        self.tally.kinds[sent.kind] += 1
        self.tally.coded += again
        self.tally.latents += len(sent.latents.values) * int(count)
        try:
            header, (record,) = parse_stream(sent.data)
            latents = self._decoder.latents(record, header.width, header.height)
            wrong = _difference(latents, sent.latents) or (self._coded_otherwise(record, latents) if again else None)
        except RecordError as error:
            wrong = str(error)
        if wrong:
            quality = f"quality {sent.quality}/16"
            self.tally.mismatches.append(f"{name}, record {sent.sequence} ({sent.kind.name}, {quality}): {wrong}")
            # The records after it are judged by themselves.
            latents = sent.latents
            self._decoder.resume(sent.sequence, latents)
        self._last = latents

    def _coded_otherwise(self, record: Record, latents: Latents) -> str | None:
        entropy, last = self._bundle.entropy, self._last
        if record.kind is Kind.I:
            payload = entropy.encode(latents)
        else:
            assert last is not None
            payload = coded_after(self._bundle, last, latents)
        return None if payload == record.payload else "its latents are coded to other bytes"


def coded_after(bundle: Bundle, last: Latents, latents: Latents, pictures: LinearPicture | None = None) -> bytes:
    """The payload of a P record with motion, given the frame that it refers to; pictures, of the chain of both."""
    assert bundle.motion is not None
    reference = reference_after(last, latents.quality, bundle.octaves, pictures or LinearPicture(bundle.motion.path))
    level = bundle.entropy.level(latents.quality)
    return bundle.motion.encode(latents.values, latents.field, reference, level)


def _difference(one: Latents, other: Latents) -> str | None:
    parts: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {
        "latents": (one.values, other.values),
        "hyper-latents": (one.hyper, other.hyper),
        "modes": (one.field.modes, other.field.modes),
        "vectors": (one.field.vectors, other.field.vectors),
        "background": (one.background.values, other.background.values),
    }
    for part, (found, coded) in parts.items():
        if not np.array_equal(found, coded):
            return f"its {part} are not those that were coded"
    return None


@dataclass
class Findings:
    """Of one chain or of several.

    Attributes:
        runtimes: tallies by name.
        controls: tallies by name.
        qualities: sixteenths of a level that occurred.
        requantised: P records of another quality than their reference.
        again: records that are the frame before coded again alone.
    """

    runtimes: dict[str, Tally] = field(default_factory=lambda: {name: Tally() for name in RUNTIMES})
    controls: dict[str, Tally] = field(default_factory=lambda: {name: Tally() for name in CONTROLS})
    qualities: set[int] = field(default_factory=set)
    requantised: int = 0
    again: int = 0

    def add(self, other: Findings) -> None:
        for name, tally in other.runtimes.items():
            self.runtimes[name].add(tally)
        for name, tally in other.controls.items():
            self.controls[name].add(tally)
        self.qualities |= other.qualities
        self.requantised += other.requantised
        self.again += other.again

    def told(self) -> dict[str, Any]:
        return {
            "qualities": len(self.qualities),
            "requantised": self.requantised,
            "again_alone": self.again,
            "runtimes": [tally.row("runtime", name) for name, tally in self.runtimes.items()],
            "controls": [tally.row("control", name) for name, tally in self.controls.items()],
        }

    def faults(self) -> list[str]:
        """What must not be: mismatches of runtimes, and a control without any."""
        missed = [f"the control {name} went unseen" for name, tally in self.controls.items() if not tally.mismatches]
        return [wrong for tally in self.runtimes.values() for wrong in tally.mismatches] + missed


def examine(bundle: Bundle, clip: Path, chain: Chain, count: int) -> Findings:
    """Has every runtime decode the first ``count`` records of a chain, and every control the first few of them.

    Raises:
        ImageError: the clip cannot be read.
    """
    runtimes = {name: Runtime(bundle, make, PATHS.get(name)) for name, make in RUNTIMES.items()}
    controls = {name: Runtime(bundle, make, PATHS.get(name)) for name, make in CONTROLS.items()}
    findings, place = Findings(), f"chain {chain.number} ({chain.width}x{chain.height})"
    quality = None
    for number, sent in enumerate(records(bundle, clip, chain, count)):
        for name, runtime in (runtimes | controls if number < _CONTROLLED else runtimes).items():
            runtime.take(sent, f"{name}: {place}")
        findings.again += sent.again
        findings.requantised += sent.kind is Kind.P and sent.quality != quality
        quality = sent.quality
        findings.qualities.add(quality)
    findings.runtimes = {name: runtime.tally for name, runtime in runtimes.items()}
    findings.controls = {name: runtime.tally for name, runtime in controls.items()}
    return findings


def _examine_apart(folder: Path, clip: Path, chain: Chain, count: int) -> Findings:
    # Every core has a process of its own.
    torch.set_num_threads(1)
    return examine(Bundle.load(folder, 1), clip, chain, count)


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench exactness", description=__doc__)
    parser.add_argument("--clip", type=Path, help="any video of a camera; default: the demo's, fetched")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    # What is missing is found before processes start.
    bundle = Bundle.load(options.bundle, 1)
    clip = options.clip or assets.fetch_clip(assets.CACHE, print)
    shares = [(options.records + number) // len(CHAINS) for number in range(len(CHAINS))]
    findings = Findings()
    with (
        ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool,
        tqdm(total=options.records, unit="record", disable=None) as bar,
    ):
        running = {
            pool.submit(_examine_apart, options.bundle, clip, chain, share): share
            for chain, share in zip(CHAINS, shares, strict=True)
        }
        for future in as_completed(running):
            findings.add(future.result())
            bar.update(running[future])
    told = findings.told()
    sizes = ", ".join(dict.fromkeys(f"{chain.width}x{chain.height}" for chain in CHAINS))
    libraries = {library: version(library) for library in ("onnxruntime", "torch", "numpy")}
    coded = {"bundle": bundle.name, "codec": bundle.codec_id.hex()[:16], "records": options.records}
    figures = coded | {"chains": len(CHAINS), "sizes": sizes, "libraries": libraries}
    for rows in (told["runtimes"], told["controls"]):
        print_rows(rows)
        print()
    print(f"written to {write_json('exactness', figures | told, options.results)}")
    faults = findings.faults()
    for fault in faults[:_SHOWN]:
        print(f"icm-bench exactness: {fault}", file=sys.stderr)
    return 1 if faults else 0
