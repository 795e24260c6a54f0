"""MP4 files that are two things at once: a plain file for every player, and fragments for those that ask for stretches.

The fragments' times count from 1970. As a fragmented file they would play, but VLC and ffprobe show such a file as 55
years long, with an edit list or without. So the ``moov`` box in front is a plain one, with a table of all frames and
times from 0, and the fragments lie as they are in the one ``mdat`` box behind it: players find the frames inside them
and never see the boxes between. Who serves fragments sends the init segment of another ``moov``, then ranges of bytes.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import pairwise
from typing import NamedTuple

import av

from cloud_service.archive.fragments import Fragment, to_microseconds

_TABLE = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
"""Boxes that hold the table of frames, each inside the one before."""


class Layout(NamedTuple):
    """A file and how to take it apart.

    Attributes:
        mp4: the whole file.
        init: what a player needs before any of its fragments.
        fragments: where they lie in the file.
    """

    mp4: bytes
    init: bytes
    fragments: tuple[Fragment, ...]


class _Box(NamedTuple):
    kind: bytes
    start: int
    end: int


def plain_with_fragments(fragmented: bytes) -> Layout:
    """A fragmented MP4 of one video stream, whose times count from 1970, as a plain file that holds its fragments."""
    init, fragments = split(fragmented)
    frames: Counter[_Box] = Counter()
    starts: dict[_Box, int] = {}
    times: dict[_Box, tuple[int, int]] = {}
    plain = BytesIO()
    with av.open(BytesIO(fragmented), "r") as source, av.open(plain, "w", format="mp4") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        first = None
        for packet in source.demux(video=0):
            if packet.pts is None or packet.pos is None or packet.duration is None:
                continue  # what ends the stream
            fragment = next(of for of in fragments if of.start <= packet.pos < of.end)
            frames[fragment] += 1
            starts.setdefault(fragment, packet.pos)
            times[fragment] = times.get(fragment, (packet.pts, 0))[0], packet.pts + packet.duration
            first = packet.pts if first is None else first
            packet.pts = packet.dts = packet.pts - first
            packet.stream = stream
            target.mux(packet)
    head, moov = _head(plain.getvalue())
    shift = len(head) + len(_with_chunks(moov, list(frames.values()), list(starts.values()))) + 8 - len(init)
    moov = _with_chunks(moov, list(frames.values()), [at + shift for at in starts.values()])
    body = fragmented[len(init) : fragments[-1].end]
    table = tuple(
        Fragment(
            of.start + shift, of.end - of.start, to_microseconds(start), to_microseconds(end) - to_microseconds(start)
        )
        for of, (start, end) in times.items()
    )
    return Layout(head + moov + struct.pack(">I", 8 + len(body)) + b"mdat" + body, init, table)


def split(fragmented: bytes) -> tuple[bytes, list[_Box]]:
    """The init segment of a fragmented MP4, and where its fragments begin and end."""
    boxes = list(_boxes(fragmented))
    fragments = [
        _Box(b"moof", moof.start, mdat.end)
        for moof, mdat in pairwise(boxes)
        if (moof.kind, mdat.kind) == (b"moof", b"mdat")
    ]
    return fragmented[: fragments[0].start], fragments


def _boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[_Box]:
    end = len(data) if end is None else end
    while start < end:
        size, kind = struct.unpack_from(">I4s", data, start)
        yield _Box(kind, start, start + size)
        start += size


def _head(plain: bytes) -> tuple[bytes, bytes]:
    """The ``ftyp`` and the ``moov`` box of a plain file."""
    found = {box.kind: plain[box.start : box.end] for box in _boxes(plain)}
    return found[b"ftyp"], found[b"moov"]


def _with_chunks(moov: bytes, frames: Sequence[int], offsets: Sequence[int]) -> bytes:
    """The ``moov`` box of a file whose frames lie together by fragment: so many each, from these offsets on."""
    runs = b"".join(struct.pack(">III", number, count, 1) for number, count in enumerate(frames, 1))
    moov = _with_box(moov, b"stsc", struct.pack(">II", 0, len(frames)) + runs)
    places = b"".join(struct.pack(">I", offset) for offset in offsets)
    return _with_box(moov, b"stco", struct.pack(">II", 0, len(offsets)) + places)


def _with_box(moov: bytes, kind: bytes, content: bytes) -> bytes:
    """The ``moov`` box with another content of one of the boxes in the table of frames."""
    around: list[_Box] = []
    start, end = 0, len(moov)
    for name in (*_TABLE, kind):
        box = next(box for box in _boxes(moov, start, end) if box.kind == name)
        around.append(box)
        start, end = box.start + 8, box.end
    old = around.pop()
    grown = 8 + len(content) - (old.end - old.start)
    changed = bytearray(moov)
    for box in around:
        struct.pack_into(">I", changed, box.start, box.end - box.start + grown)
    changed[old.start : old.end] = struct.pack(">I4s", 8 + len(content), kind) + content
    return bytes(changed)
