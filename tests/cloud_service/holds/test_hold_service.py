"""Holds over RPC, with clients and commands, against a cloud that runs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloud_service.commands import run
from icm.client.cloud import AsyncCloudClient, CloudClient
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame
from icm.errors import ConfigError, NotFoundError
from tests.cloud_service.parts import START_US, coded_header, coded_records
from tests.cloud_service.running import running_cloud

START = datetime(2026, 9, 21, 14, tzinfo=UTC)
HOUR = timedelta(hours=1)


async def test_a_hold_is_added_listed_and_released_by_both_clients_and_the_command(
    loaded: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running_cloud(tmp_path, loaded, None) as cloud:
        address = f"127.0.0.1:{cloud.app.port}"
        async with AsyncCloudClient(address) as client:
            hold = await client.add_hold(START, START + HOUR, owner="anna", reason="theft", cameras=["gate"])
            assert (hold.start, hold.end, hold.owner, hold.cameras) == (START, START + HOUR, "anna", ("gate",))
            assert await client.holds() == [hold]
            with pytest.raises(ConfigError, match="end after it begins"):
                await client.add_hold(START, START, owner="anna", reason="theft")
            with pytest.raises(NotFoundError, match="no hold"):
                await client.release_hold("h-none", "anna")

        def use() -> None:
            with CloudClient(address) as client:
                assert client.release_hold(hold.id, "bert").released_by == "bert"
                assert client.holds() == []
                assert [each.id for each in client.holds(everything=True)] == [hold.id]
            told = ["--from", "2026-09-21T14:00Z", "--to", "2026-09-21T15:00Z", "--reason", "fire", "--owner", "anna"]
            assert run(["holds", "add", *told, "--address", address]) == 0
            assert run(["holds", "list", "--address", address]) == 0
            assert run(["holds", "add", *told, "--max-bytes", "5000", "--address", address]) == 0
            assert run(["holds", "add", *told[:2], "--to", "2026-09-21T14:00Z", *told[4:], "--address", address]) == 2

        await asyncio.to_thread(use)
    printed = capsys.readouterr()
    assert printed.out.count("all cameras  2026-09-21T14:00:00Z to 2026-09-21T15:00:00Z  anna: fire") == 3
    assert "anna: fire, keeps 0 of 5000 bytes" in printed.out
    assert "end after it begins" in printed.err


async def test_all_holds_together_keep_a_part_of_the_disk_at_most(
    loaded: Bundle, coded: list[CodedFrame], tmp_path: Path
) -> None:
    async with running_cloud(tmp_path, loaded, None, **{"retention.holds.max_fraction": 0.0}) as cloud:
        await cloud.deliver(coded_header(loaded), coded_records(coded, 30))
        start = datetime.fromtimestamp(START_US / 1e6, UTC)
        async with AsyncCloudClient(f"127.0.0.1:{cloud.app.port}") as client:
            await client.add_hold(start - HOUR, start, owner="anna", reason="nothing is stored of that yet")
            with pytest.raises(ConfigError, match=r"bytes would be kept, and all holds may keep 0"):
                await client.add_hold(start, start + HOUR, owner="anna", reason="theft")
            assert [hold.reason for hold in await client.holds()] == ["nothing is stored of that yet"]
