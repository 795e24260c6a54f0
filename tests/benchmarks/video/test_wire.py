"""What is added for the link is what was measured, and what the standards say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icm.codec.bitstream.record import RECORD_OVERHEAD
from icm_bench.report import RESULTS
from icm_bench.video.wire import MESSAGE_BYTES, RECORD_BYTES, by_grpc, by_rtp

ROOT = Path(__file__).parents[3]


def test_our_transport_costs_what_framing_measured() -> None:
    framing = json.loads((ROOT / RESULTS / "framing.json").read_text())
    for row in framing["rows"]:
        if row["batch_seconds"]:  # without batching pings and acknowledgements of each record come on top
            records = row["batch_seconds"] * framing["fps"]
            measured = row["wire"] - RECORD_OVERHEAD
            assert measured == pytest.approx(RECORD_BYTES + MESSAGE_BYTES / records, rel=0.1)


def test_more_records_in_a_message_share_its_cost() -> None:
    assert by_grpc(25) < by_grpc(10) < by_grpc(1) == RECORD_BYTES + MESSAGE_BYTES


def test_a_frame_goes_in_as_many_packets_as_it_needs() -> None:
    assert by_rtp([1, 1400, 1401, 5000]) == [41, 1440, 1481, 5160]
