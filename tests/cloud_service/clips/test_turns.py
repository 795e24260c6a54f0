"""Who renders when: one clip of a caller at a time, two in total, and who is gone takes no place."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from cloud_service.clips.turns import Turns


class Renders:
    """Renders that last until they are let go."""

    def __init__(self) -> None:
        self.turns = Turns(2)
        self.under_way = Counter[str]()
        self.most = Counter[str]()
        self.order: list[str] = []

    async def one(self, caller: str, name: str, end: asyncio.Event) -> None:
        async with self.turns.turn(caller):
            self.under_way[caller] += 1
            self.order.append(name)
            self.most[caller] = max(self.most[caller], self.under_way[caller])
            self.most["all"] = max(self.most["all"], self.under_way.total())
            await end.wait()
            self.under_way[caller] -= 1


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_caller_has_one_turn_at_a_time_and_all_together_have_two() -> None:
    renders, end = Renders(), asyncio.Event()
    tasks = [asyncio.create_task(renders.one(caller, f"{caller}{n}", end)) for n in range(3) for caller in "abc"]
    await settle()
    assert sorted(renders.order) == ["a0", "b0"]
    end.set()
    await asyncio.gather(*tasks)
    assert renders.most == Counter({"a": 1, "b": 1, "c": 1, "all": 2})
    assert len(renders.order) == 9


async def test_one_that_waits_for_its_own_clip_keeps_nobody_else_waiting() -> None:
    renders, end = Renders(), asyncio.Event()
    tasks = [asyncio.create_task(renders.one("a", f"a{n}", end)) for n in range(3)]
    await settle()
    tasks.append(asyncio.create_task(renders.one("b", "b0", end)))
    await settle()
    assert renders.order == ["a0", "b0"]
    end.set()
    await asyncio.gather(*tasks)


async def test_a_turn_of_one_who_went_away_goes_to_the_next() -> None:
    renders, end, never = Renders(), asyncio.Event(), asyncio.Event()
    ends = {"a0": never, "b0": never, "c0": never, "d0": end}
    tasks = {name: asyncio.create_task(renders.one(name[0], name, ends[name])) for name in ends}
    await settle()
    for name in ("c0", "a0"):  # one that waits, and one that renders
        tasks[name].cancel()
    end.set()
    await tasks["d0"]
    assert renders.order == ["a0", "b0", "d0"]
    tasks["b0"].cancel()
    for name in ("a0", "b0", "c0"):
        with pytest.raises(asyncio.CancelledError):
            await tasks[name]
    async with renders.turns.turn("a"):
        """Nothing of those who went away is left in the way."""
