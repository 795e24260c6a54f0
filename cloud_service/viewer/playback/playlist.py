"""Playlists of HLS: a window of a camera as a list of pieces that any player plays in a row.

A video of the archive is named by its fragments, ranges of its bytes, which share their init segment with all videos of
a size. What has no video any more is named in pieces of the same length, which are rendered when they are asked for.
Times in the pieces are those of the capture, so what is missing is a gap, and no piece of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil
from typing import NamedTuple
from urllib.parse import quote

from cloud_service.archive.fragments import Fragment
from cloud_service.viewer.playback.stored.segments import Kept, StoredSegment
from cloud_service.viewer.playback.stored.windows import HOUR_US, Window
from cloud_service.viewer.web.templates import stamp_text

PIECE_US = 5_000_000
"""Of what is rendered: where the archive's videos have a key frame."""
_FINE_US = 2 * HOUR_US
"""Of a longer window a video is one piece, so that the playlist of a day is not that long."""
TYPE = "application/vnd.apple.mpegurl"


class _Piece(NamedTuple):
    start_us: int
    duration_us: int
    init: str
    lines: tuple[str, ...]
    kind: str
    """What the init segment is of: where it changes, players begin anew."""


def playlist(segments: Iterable[StoredSegment], window: Window, token: str) -> str:
    """The playlist of those segments that can be shown.

    Args:
        segments: of one camera, by capture time.
        window: pieces that do not reach into it are left out.
        token: that the pieces' addresses carry; empty for none.
    """
    query = f"?token={quote(token, safe='')}" if token else ""
    pieces = [piece for segment in segments for piece in _pieces(segment, window, query)]
    longest = max((ceil(piece.duration_us / 1e6) for piece in pieces), default=1)
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{max(longest, 1)}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
    ]
    init = kind = ""
    for piece in pieces:
        if kind and piece.kind != kind:
            lines.append("#EXT-X-DISCONTINUITY")
        if piece.init != init:
            lines.append(f'#EXT-X-MAP:URI="{piece.init}"')
        init, kind = piece.init, piece.kind
        lines += [f"#EXT-X-PROGRAM-DATE-TIME:{stamp_text(piece.start_us)}", *piece.lines]
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""])


def video_name(segment: StoredSegment) -> str:
    """Of the MP4, relative to the playlist. A video that is rendered anew has another length, so ranges of the one
    before do not lead into it.
    """
    return f"video/{segment.number}-{segment.video_bytes}.mp4"


def _joined(fragments: tuple[Fragment, ...]) -> Fragment:
    """All fragments of a video, which lie behind each other, as one."""
    first, last = fragments[0], fragments[-1]
    return Fragment(
        first.offset,
        last.offset + last.length - first.offset,
        first.start_us,
        last.start_us + last.duration_us - first.start_us,
    )


def _pieces(segment: StoredSegment, window: Window, query: str) -> Iterator[_Piece]:
    if segment.kept is Kept.VIDEO:
        for of in [_joined(segment.fragments)] if window.length_us > _FINE_US else segment.fragments:
            if window.overlaps(of.start_us, of.start_us + of.duration_us - 1):
                yield _Piece(
                    of.start_us,
                    of.duration_us,
                    f"init/{segment.init}.mp4{query}",
                    (
                        f"#EXTINF:{of.duration_us / 1e6:.6f},",
                        f"#EXT-X-BYTERANGE:{of.length}@{of.offset}",
                        f"{video_name(segment)}{query}",
                    ),
                    segment.init,
                )
    elif segment.kept is Kept.RECORDS:
        for start_us in range(segment.first_us, segment.end_us, PIECE_US):
            end_us = min(start_us + PIECE_US, segment.end_us)
            if window.overlaps(start_us, end_us - 1):
                name = f"rendered/{start_us}-{end_us}"
                yield _Piece(
                    start_us,
                    end_us - start_us,
                    f"{name}/init.mp4{query}",
                    (f"#EXTINF:{(end_us - start_us) / 1e6:.6f},", f"{name}/piece.m4s{query}"),
                    "rendered",
                )
