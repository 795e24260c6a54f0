"""From the pieces of a camera's stream to whole frames, with no more in memory than a frame needs."""

from __future__ import annotations

from collections.abc import Iterator

import av
import pytest
from av.packet import Packet

from edge_service.sources.live import coded_frames
from edge_service.sources.live.coded_frames import CodedFrames
from tests.icm.media.videos import pictures

START = b"\x00\x00\x00\x01"
TALK = START + b"\x06" + bytes(range(1, 200))
"""A piece that says something beside the pictures (SEI), as cameras send it all day."""


def pieces(count: int) -> Iterator[tuple[int, bytes]]:
    """The pieces of so many H.264 pictures, each with its picture's number."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = 64, 48, "yuv420p", 10
    encoder.options = {"tune": "zerolatency", "x264-params": "keyint=5:slices=2:threads=1"}
    for number, picture in enumerate(pictures(count)):
        picture.pts = number
        for packet in encoder.encode(picture):
            for unit in bytes(packet).split(START[1:])[1:]:
                yield number, START + unit.rstrip(b"\x00")


def piece(data: bytes, pts: int) -> Packet:
    packet = Packet(data)
    packet.pts = pts
    return packet


def h264() -> CodedFrames:
    return CodedFrames(av.CodecContext.create("h264", "r"))


def test_each_frame_is_whole_and_dated_by_its_first_piece() -> None:
    frames = h264()
    got = [frame for at, (number, data) in enumerate(pieces(8)) for frame in frames.add(piece(data, number), 1000 * at)]
    got += frames.flush()
    assert [arrival.pts for _, arrival in got] == list(range(8))
    assert [arrival.us for _, arrival in got] == sorted(arrival.us for _, arrival in got)


@pytest.mark.parametrize("pieces_before", [0, 3])
def test_a_camera_that_talks_all_day_and_shows_nothing_takes_no_more_memory_for_it(
    monkeypatch: pytest.MonkeyPatch, pieces_before: int
) -> None:
    """Each piece has a time of its own, and in none a frame ends."""
    monkeypatch.setattr(coded_frames, "MOST_BYTES", 10_000)
    frames, first = h264(), [data for _, data in pieces(1)]
    for data in first[:pieces_before]:
        assert list(frames.add(piece(data, 0), 0)) == []
    for number in range(1, 2000):
        list(frames.add(piece(TALK, number), number))
    assert len(frames._begun) <= 2
    assert sum(frame.size for frame, _ in frames.flush()) <= 10_000 + len(TALK)
    got = [frame for number, data in pieces(4) for frame in frames.add(piece(data, 3000 + number), 3000 + number)]
    got += frames.flush()
    assert [arrival.pts for _, arrival in got] == [3000, 3001, 3002, 3003]
