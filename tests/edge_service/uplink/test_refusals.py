"""What an edge says while a cloud refuses its records."""

from __future__ import annotations

import asyncio

import pytest

from edge_service.uplink.uplink import REFUSED_RETRY_SECONDS
from tests.edge_service.ingest_server import Ingest, serving
from tests.edge_service.parts import CODEC_ID, OTHER_CODEC_ID, spool_records


async def test_a_refusal_that_lasts_is_logged_once_however_much_it_holds_back_by_then(
    gate, sending, problems, caplog, clock
) -> None:
    ingest = Ingest(refuses=CODEC_ID)
    async with serving(ingest) as port, sending(gate, port, clock=clock):
        for attempt in range(1, 5):
            spool_records(gate, 1)
            await ingest.until_hellos(attempt)
            await clock.until_slept_by()
            (line,) = problems.lines()
            clock.advance(REFUSED_RETRY_SECONDS)
            await asyncio.sleep(0)
    assert f"; {attempt} records of that codec wait" in line
    assert len([message for message in caplog.messages if "the cloud refuses" in message]) == 1


@pytest.mark.parametrize(("first", "behind"), [(0, 0), (3, 0), (2, 4)])
async def test_a_refusal_is_told_in_the_clouds_words_and_with_what_it_holds_back(
    gate, sending, problems, first: int, behind: int
) -> None:
    spool_records(gate, first)
    spool_records(gate, behind, codec_id=OTHER_CODEC_ID)
    async with serving(Ingest(refuses=CODEC_ID)) as port, sending(gate, port):
        text = await problems.first()
        assert text == (
            "uplink of gate: the cloud refuses: FAILED_PRECONDITION:"
            " this cloud has codec aa, the edge has codec bb: install bb;"
            f" {first} records of that codec wait, and {behind} of later ones behind them"
        )
