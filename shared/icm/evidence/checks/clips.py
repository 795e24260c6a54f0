"""Compares clips with the records that they are to show: frame by frame, in time and in picture."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import av

from icm.errors import EvidenceError
from icm.evidence.case import CameraCase, ClipEntry
from icm.evidence.checks.findings import Findings
from icm.evidence.checks.pictures import Planes, distance, planes_of, planes_of_picture
from icm.evidence.checks.records import DecodedFrame
from icm.evidence.times import microseconds_of, time_text
from icm.evidence.zip_reading import CaseFile

TOLERANCE_US = 1000
"""How far a frame's time may be from its record's: videos count in 1/90000 s."""


class ClipCheck:
    """Compares one camera's clips with its frames, which come in the order of their segments.

    Attributes:
        frames: that were compared.
        lowest_psnr: of a frame that shows what it should, in dB; infinite before the first.
        highest_share: of a block's error of what it may be, of such frames.
    """

    def __init__(self, case: CaseFile, camera: CameraCase, findings: Findings) -> None:
        self._case, self._findings = case, findings
        self._clips = {clip.segment: clip for clip in camera.clips}
        self._damaged = {segment.number for segment in camera.segments if segment.problem}
        self._now: _Comparison | None = None
        self.frames = 0
        self.lowest_psnr, self.highest_share = float("inf"), 0.0

    def take(self, frame: DecodedFrame) -> None:
        """Compares the next frame with the clip of its segment, if there is one."""
        if self._now is None or self._now.segment != frame.segment:
            self.finish()
            clip = self._clips.pop(frame.segment, None)
            self._now = _Comparison(self._case, frame, clip, frame.segment in self._damaged, self._findings)
        shown = self._now.next(frame)
        if shown is None:
            return
        meant = planes_of_picture(frame.picture())
        found = distance(shown, meant, self._now.before)
        self._now.before = meant
        share = max(found.share, found.earlier)
        if share > 1:
            self._now.wrong(
                f"shows another picture at {time_text(frame.record.capture_us)} than the record of that time"
                f" (PSNR {found.psnr:.1f} dB, the worst block differs {share:.1f} times as much as it may)"
            )
            return
        self.frames += 1
        self.lowest_psnr = min(self.lowest_psnr, found.psnr)
        self.highest_share = max(self.highest_share, share)

    def finish(self) -> None:
        """Ends the comparison with the clip of the segment so far."""
        if self._now is not None:
            self._now.finish()
            self._now = None

    def unused(self) -> list[ClipEntry]:
        """Clips of segments of which no frame came."""
        return list(self._clips.values())


class _Comparison:
    """One clip and the frames of its segment. Of what is wrong with a clip the first thing is told.

    Attributes:
        segment: number of the segment.
        before: the last picture that a frame was compared with.
    """

    def __init__(
        self, case: CaseFile, frame: DecodedFrame, clip: ClipEntry | None, damaged: bool, findings: Findings
    ) -> None:
        """Begins the comparison.

        Args:
            damaged: whether records of the segment are, as the export said: then the clip may show more than they do.
        """
        self.segment = frame.segment
        self.before: Planes | None = None
        self._damaged, self._unmatched = damaged, 0
        self._clip, self._findings = clip, findings
        self._failed = clip is None
        self._size = frame.width + frame.width % 2, frame.height + frame.height % 2
        self._shown = self._frames(case, clip) if clip is not None else iter(())
        self._at = 0
        # The clip's next frame where it was looked at already, and the frame that the clip showed last.
        self._waiting: tuple[int, Planes] | None = None
        self._last: DecodedFrame | None = None

    def next(self, frame: DecodedFrame) -> Planes | None:
        """The clip's next frame, if it is of this frame's time.

        A frame whose picture is the very one before may be shown by that one for longer: videos do not code it again.
        """
        if self._failed:
            return None
        try:
            found = self._next_shown()
            while self._damaged and found is not None and found[0] < frame.record.capture_us - TOLERANCE_US:
                self._unmatched += 1
                found = self._next_shown()
        except EvidenceError as error:
            self.wrong(str(error))
            return None
        is_later = found is None or found[0] > frame.record.capture_us + TOLERANCE_US
        if is_later and self._last is not None and frame.looks_like(self._last):
            self._waiting, self._last = found, frame
            self._at += 1
            return None
        if found is None:
            self.wrong(f"ends before {time_text(frame.record.capture_us)}, of which there is a record: it was cut")
            return None
        at_us, planes = found
        if abs(at_us - frame.record.capture_us) > TOLERANCE_US:
            self.wrong(
                f"has a frame of {time_text(at_us)} where the next record is of {time_text(frame.record.capture_us)}:"
                " frames were cut out or put in"
            )
            return None
        self._at += 1
        self._last = frame
        return planes

    def _next_shown(self) -> tuple[int, Planes] | None:
        waiting, self._waiting = self._waiting, None
        return waiting if waiting is not None else next(self._shown, None)

    def finish(self) -> None:
        """The segment is over: so should be the clip."""
        if self._failed or self._clip is None:
            return
        try:
            more = self._next_shown()
            while self._damaged and more is not None:
                self._unmatched += 1
                more = self._next_shown()
        except EvidenceError as error:
            self.wrong(str(error))
            return
        if self._unmatched:
            self._findings.lacks(f"{self._clip.path} has {self._unmatched} frames whose records cannot be decoded")
        if more is not None:
            self.wrong(f"has more frames than its {self._at} records, from {time_text(more[0])} on")
        elif self._clip.frames != self._at + self._unmatched:
            self.wrong(f"has {self._at + self._unmatched} frames, and case.json says {self._clip.frames}")

    def wrong(self, text: str) -> None:
        """Tells what is wrong with the clip, and looks at it no further."""
        assert self._clip is not None
        self._failed = True
        self._findings.wrong(f"{self._clip.path} {text}")

    def _frames(self, case: CaseFile, clip: ClipEntry) -> Iterator[tuple[int, Planes]]:
        """The clip's frames with their capture times, microseconds since 1970.

        Raises:
            EvidenceError: it is no video, or not of the right size.
        """
        start_us = microseconds_of(clip.start)
        try:
            with av.open(_Member(case, clip.path), "r", format="mp4") as container:
                stream = container.streams.video[0]
                stream.thread_count = 1
                first: int | None = None
                if (stream.codec_context.width, stream.codec_context.height) != self._size:
                    raise EvidenceError(f"is no video of {self._size[0]}x{self._size[1]} pixels, as its records are")
                for frame in container.decode(stream):
                    if (frame.width, frame.height) != self._size or frame.pts is None or frame.time_base is None:
                        raise EvidenceError("changes its size, or has a frame without a time")
                    first = frame.pts if first is None else first
                    yield start_us + round((frame.pts - first) * frame.time_base * 1_000_000), planes_of(frame)
        except (av.FFmpegError, IndexError, ValueError, OSError) as error:
            raise EvidenceError(f"cannot be played: {error}") from None


class _Member(io.RawIOBase):
    """A file of the zip, as FFmpeg reads files."""

    def __init__(self, case: CaseFile, path: str) -> None:
        entry = case.entries.get(path)
        if entry is None:
            raise EvidenceError("is not there")
        self._case, self._begin, self._size, self._at = case, entry.data, entry.size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        count = self._size - self._at if count < 0 else min(count, self._size - self._at)
        data = self._case.read_at(self._begin + self._at, max(count, 0))
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = min(max(base + offset, 0), self._size)
        return self._at

    def tell(self) -> int:
        return self._at
