"""Hostile bytes: all that the fuzzer ever found, and some more each time, give a result or one typed error.

``icm-bench fuzz --minutes N`` goes on for longer, with the same targets and corpus.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm.codec.bitstream.record import parse_stream
from icm.codec.bundle.loading import Bundle
from icm.errors import RecordError
from icm_bench.fuzz.fuzz import Target, attempt, mutate, mutate_for, picture, seeds, stream, targets, with_checksums
from icm_bench.fuzz.proofs import ProofTargets

CORPUS = Path(__file__).parent / "corpus"
PROOFS = ("chain", "seals", "deleted", "manifest", "case")
NAMES = ("stream", "picture", "latents", *PROOFS)
TRIES = 40


@pytest.fixture(scope="module")
def fuzzed(bundle: Path) -> Iterator[dict[str, Target]]:
    with ProofTargets() as proofs:
        yield targets(Bundle.load(bundle, 1)) | proofs


def test_every_target_is_tested(fuzzed: dict[str, Target]) -> None:
    assert set(NAMES) == set(fuzzed)


@pytest.mark.parametrize("path", [path for name in NAMES for path in sorted((CORPUS / name).glob("*"))], ids=str)
def test_what_the_corpus_holds_is_taken(fuzzed: dict[str, Target], path: Path) -> None:
    assert attempt(fuzzed[path.parent.name], path.read_bytes()) is None


@pytest.mark.parametrize("name", NAMES)
def test_what_the_corpus_holds_is_taken_however_it_is_changed(
    fuzzed: dict[str, Target], bundle: Path, name: str
) -> None:
    inputs, dice = seeds(name, CORPUS, bundle), random.Random(1)
    for _ in range(TRIES):
        data = mutate(dice.choice(inputs), inputs, dice)
        for changed in (data, with_checksums(data)):
            assert attempt(fuzzed[name], changed) is None, changed.hex()


@pytest.mark.parametrize("name", PROOFS)
def test_what_proves_an_archive_is_taken_however_its_numbers_and_what_vouches_for_them_are_forged(
    fuzzed: dict[str, Target], bundle: Path, name: str
) -> None:
    inputs, dice = seeds(name, CORPUS, bundle), random.Random(2)
    for _ in range(2 * TRIES):
        data = mutate_for(name, dice.choice(inputs), inputs, dice)
        assert attempt(fuzzed[name], data) is None, data.hex()


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_taken(data: bytes) -> None:
    assert attempt(stream, data) is None
    assert attempt(picture, data) is None


def test_a_target_that_breaks_is_seen() -> None:
    def broken(data: bytes) -> None:
        raise ZeroDivisionError("by what was sent")

    assert attempt(broken, b"") == "raises ZeroDivisionError: by what was sent"


def test_checksums_are_put_right_so_that_more_than_the_first_check_is_reached(bundle: Path) -> None:
    (data, *_) = seeds("stream", CORPUS, bundle)
    spoilt = bytearray(data)
    spoilt[-5] ^= 1
    with pytest.raises(RecordError, match="checksum"):
        list(parse_stream(bytes(spoilt))[1])
    assert len(list(parse_stream(with_checksums(bytes(spoilt)))[1])) == len(list(parse_stream(data)[1]))
