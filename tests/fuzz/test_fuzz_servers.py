"""Hostile clients of the running services: each script is answered with a typed status, and both services live on.

``icm-bench fuzz --minutes N`` goes on for longer, with the same targets and corpus.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icm_bench.fuzz.fuzz import attempt, mutate_for, seeds
from icm_bench.fuzz.script import pack, record_stream, unpack
from icm_bench.fuzz.servers import Running, ServerTargets, running

CORPUS = Path(__file__).parent / "corpus"
NAMES = ("ingest", "calls", "watch", "http")
TRIES = 40
GROWTH_MB = 250
"""Of either service over all tests of this file; most of it is its first work. A record may ask for more, see
``icm.codec.bitstream.record.MAX_PIXELS``, and these do not."""


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Running]:
    with running(bundle, tmp_path_factory.mktemp("fuzz")) as services:
        yield services


@pytest.fixture(scope="module")
def servers(services: Running) -> Iterator[ServerTargets]:
    servers = ServerTargets(services)
    yield servers
    servers.close()


def test_every_target_is_tested(servers: ServerTargets) -> None:
    assert set(NAMES) == set(servers.targets())


@pytest.mark.parametrize("path", [path for name in NAMES for path in sorted((CORPUS / name).glob("*"))], ids=str)
def test_what_the_corpus_holds_is_answered(servers: ServerTargets, path: Path) -> None:
    assert attempt(servers.targets()[path.parent.name], path.read_bytes()) is None


def test_whatever_a_client_says_it_is_answered_and_the_services_live_on(
    services: Running, servers: ServerTargets, bundle: Path
) -> None:
    fuzzed = servers.targets()
    inputs = {name: seeds(name, CORPUS, bundle) for name in NAMES}
    before = services.resident_mb()

    @settings(
        max_examples=TRIES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(seed=st.integers(0, 1 << 32))
    def answered(seed: int) -> None:
        dice = random.Random(seed)
        for name in NAMES:
            data = mutate_for(name, dice.choice(inputs[name]), inputs[name], dice)
            assert attempt(fuzzed[name], data) is None, (name, data.hex())

    answered()
    after = services.resident_mb()
    assert {name: after[name] - before[name] < GROWTH_MB for name in after} == dict.fromkeys(after, True)


async def test_after_all_that_both_end_in_order(services: Running, servers: ServerTargets, bundle: Path) -> None:
    assert attempt(servers.ingest, record_stream((bundle / "golden.icm").read_bytes())) is None
    assert [await services.services[name].stop() for name in ("edge", "cloud")] == [0, 0]
    services_logs = [service.log for service in services.services.values()]
    assert not any("Traceback" in log for log in services_logs)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_script(data: bytes) -> None:
    behaviour, messages = unpack(data)
    again = unpack(pack(behaviour, messages))
    assert again == (behaviour, messages)


def test_a_service_that_let_an_exception_through_is_seen(services: Running) -> None:
    with services.services["cloud"].log_path.open("a") as log:
        log.write("Traceback (most recent call last):\n")
    with pytest.raises(Exception, match="let an exception through"):
        services.check()
