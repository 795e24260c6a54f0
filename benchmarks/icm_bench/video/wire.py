"""What a stream takes on a link beside its own bytes: ours by gRPC, a video codec's by RTP, headers of IP included."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

BATCH_SECONDS = 0.5
"""For how long an edge gathers records into one message, by default."""
MESSAGE_BYTES, RECORD_BYTES = 108.0, 8.8
"""What a message of records, and each record in it, costs beyond the records: fitted to ``icm-bench framing``."""
_RTP_HEADERS = 12 + 8 + 20
"""Of RTP (RFC 3550), UDP and IPv4."""
_RTP_PAYLOAD = 1400
"""Bytes of a frame that one packet carries at most, so that no network of 1,500 bytes divides it."""


def by_grpc(fps: float) -> float:
    """Bytes a record of ours takes beyond itself."""
    return RECORD_BYTES + MESSAGE_BYTES / max(1.0, BATCH_SECONDS * fps)


def by_rtp(frame_bytes: Sequence[int]) -> list[int]:
    """Frames of a video codec with the headers of their packets; RTCP, and what starts a session, are not counted."""
    return [size + _RTP_HEADERS * ceil(size / _RTP_PAYLOAD) for size in frame_bytes]
