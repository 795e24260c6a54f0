"""Processes are killed and connections are cut at every point of the protocol: nothing acknowledged is lost, nothing is
kept twice, the order stays."""

from __future__ import annotations

from pathlib import Path

from benchmarks.chaos import CLOUD, CUTS, EDGE, Chaos


async def test_what_was_acknowledged_survives_kills_and_a_network_that_fails_in_every_phase(
    tmp_path: Path, bundle: Path
) -> None:
    async with Chaos(tmp_path, bundle) as chaos:
        for direction, count in CUTS:
            await chaos.progress(2)
            await chaos.cut(direction, count)
        await chaos.half_open(1.0)
        assert (await chaos.settled()).kept
        await chaos.progress()
        await chaos.kill(CLOUD)
        await chaos.progress()
        await chaos.kill(EDGE)
        await chaos.progress()
        verdict = await chaos.finish()
    assert verdict.kept, verdict
    assert verdict.stored >= verdict.acknowledged >= 2 * len(CUTS)
    assert chaos.proxy.cuts >= len(CUTS)
