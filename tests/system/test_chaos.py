"""Processes are killed and connections are cut at every point of the protocol: nothing acknowledged is lost, nothing is
kept twice, the order stays."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from icm_bench.delivery.chaos import CLOUD, CUTS, EDGE, Chaos, DatabaseFault


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


@pytest.mark.parametrize("name", [EDGE, CLOUD])
async def test_a_disk_that_fills_up_holds_frames_back_and_costs_none_that_was_acknowledged(
    tmp_path: Path, bundle: Path, name: str
) -> None:
    async with Chaos(tmp_path, bundle) as chaos:
        if not chaos.disks[name].mounted:
            pytest.skip("only root can mount a small disk")
        await chaos.progress()
        await chaos.full_disk(name)
        await chaos.progress()
        verdict = await chaos.finish()
    assert verdict.kept, verdict
    assert verdict.acknowledged >= 10


async def test_clocks_that_jump_change_neither_order_nor_identity(tmp_path: Path, bundle: Path) -> None:
    async with Chaos(tmp_path, bundle) as chaos:
        for name, seconds in ((EDGE, 86_400.0), (CLOUD, -86_400.0), (EDGE, -3_600.0), (CLOUD, 3_600.0)):
            await chaos.progress()
            chaos.clocks[name].jump(seconds)
        await chaos.progress()
        await chaos.kill(EDGE, CLOUD)
        await chaos.progress()
        verdict = await chaos.finish()
    assert verdict.kept, verdict
    assert verdict.acknowledged >= 30


async def test_second_services_are_refused_and_a_database_that_is_replaced_costs_nothing(
    tmp_path: Path, bundle: Path
) -> None:
    """Beside one that runs and one that is frozen; without a database, with an earlier one and a damaged one."""
    async with Chaos(tmp_path, bundle) as chaos:
        await chaos.progress()
        await chaos.start_second(EDGE)
        await chaos.progress()
        await chaos.freeze(CLOUD, 0.5)
        for how in get_args(DatabaseFault):
            await chaos.progress()
            await chaos.replace_database(how)
        await chaos.progress()
        verdict = await chaos.finish()
    assert verdict.kept, verdict
    assert verdict.acknowledged >= 30
