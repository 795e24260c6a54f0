"""Boxes behind a clip that say to players of ONVIF's Export File Format (26.06) when, where and by whom.

Other players pass them over. They are no proof: the signature boxes of that format need an RSA key and a certificate,
and are not here; a case's own manifest signs the file with these boxes in it.
"""

from __future__ import annotations

from struct import pack

_SECONDS_1904 = 2_082_844_800
"""From 1904, from which ISO/IEC 14496-12 counts, to 1970."""
_MICROSECONDS_1601 = 11_644_473_600_000_000
"""From 1601, from which the start of a track is counted, to 1970."""
_TRACK = 1
"""The only one of the archive's videos."""


def surveillance_boxes(*, camera: str, unit: str, operator: str, exported_us: int, start_us: int) -> bytes:
    """A ``meta`` box for the end of an MP4 file: ``suep`` (the export) and ``cstb`` (capture time of time 0).

    Args:
        camera: name of the source.
        unit: name of what exports.
        operator: who exports.
        exported_us: when, microseconds since 1970.
        start_us: capture time of the first frame, microseconds since 1970.
    """
    # A handler of `null` says that the box only holds others.
    handler = _box(b"hdlr", bytes(8) + b"null" + bytes(12) + b"\0")
    export = (
        pack(">B3x", 1) + _text(unit) + _text("") + _text("") + pack(">Q", exported_us // 1_000_000 + _SECONDS_1904)
    )
    export += _text(operator) + pack(">IH", 1, _TRACK) + _text(camera) + _text("") + _text("") + _text("")
    start = pack(">IIQ", 1, _TRACK, (start_us + _MICROSECONDS_1601) * 10)
    return _box(b"meta", bytes(4) + handler + _box(b"suep", export) + _box(b"cstb", start))


def _box(kind: bytes, content: bytes) -> bytes:
    return pack(">I", 8 + len(content)) + kind + content


def _text(text: str) -> bytes:
    return text.encode() + b"\0"
