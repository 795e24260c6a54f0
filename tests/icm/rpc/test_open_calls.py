"""Calls that may go on no longer end, whatever they wait for, and the others go on."""

from __future__ import annotations

import asyncio

import pytest

from icm.errors import UnauthenticatedError
from icm.rpc.open_calls import LOOK_SECONDS, OpenCalls
from icm.service.clock import ManualClock


class Caller:
    """Counts until it does not."""

    def __init__(self) -> None:
        self.counts = True

    def check(self) -> None:
        if not self.counts:
            raise UnauthenticatedError("this caller counts no longer")


async def call(calls: OpenCalls, caller: Caller, answer: asyncio.Event) -> str:
    async with calls.kept(caller.check):
        await answer.wait()
        return "done"


async def looked_at(clock: ManualClock) -> None:
    """Every open call, once."""
    await clock.until_slept_by()
    clock.advance(LOOK_SECONDS)
    for _ in range(20):
        await asyncio.sleep(0)


async def test_only_the_call_whose_caller_counts_no_longer_is_ended_and_the_others_are_looked_at_again() -> None:
    clock, answer = ManualClock(), asyncio.Event()
    calls, callers = OpenCalls(clock), [Caller() for _ in range(3)]
    open_ = [asyncio.create_task(call(calls, caller, answer)) for caller in callers]
    await asyncio.sleep(0)
    for ended in (0, 1):
        callers[ended].counts = False
        await looked_at(clock)
        assert [task.done() for task in open_] == [number <= ended for number in range(3)]
        with pytest.raises(UnauthenticatedError):
            await open_[ended]
    answer.set()
    assert await open_[2] == "done"


async def test_a_call_that_takes_its_time_to_end_holds_up_no_other() -> None:
    clock, forever = ManualClock(), asyncio.Event()
    calls, slow, other, may_end = OpenCalls(clock), Caller(), Caller(), asyncio.Event()

    async def reluctant() -> None:
        async with calls.kept(slow.check):
            try:
                await forever.wait()
            finally:
                await may_end.wait()

    ending = asyncio.create_task(reluctant())
    waiting = asyncio.create_task(call(calls, other, forever))
    await asyncio.sleep(0)
    slow.counts = False
    await looked_at(clock)
    await looked_at(clock)
    other.counts = False
    await looked_at(clock)
    assert waiting.done()
    with pytest.raises(UnauthenticatedError):
        await waiting
    may_end.set()
    with pytest.raises(UnauthenticatedError):
        await ending


async def test_a_caller_that_does_not_count_begins_nothing() -> None:
    caller = Caller()
    caller.counts = False
    with pytest.raises(UnauthenticatedError):
        await call(OpenCalls(ManualClock()), caller, asyncio.Event())


async def test_an_own_timeout_of_a_call_stays_one() -> None:
    with pytest.raises(TimeoutError):
        async with OpenCalls(ManualClock()).kept(lambda: None), asyncio.timeout(0):
            await asyncio.Event().wait()
