"""When frames were taken: times that rise, whatever a container says.

A container may give no times at all, those of decoding instead of showing, times that start anew because a camera was
switched off, wrap around, or leap by an hour. ``ffmpeg`` turns all of them into one line, and ``Timeline`` does it in
the same way: jumps are closed before decoding, of the two stamps that a decoded frame has the better one is taken, and
where there is none the usual interval has passed.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

_LONGEST_GAP = 30 * 3600.0
"""Seconds that two packets of a file may lie apart; a camera may have slept between them."""
_LONGEST_GAP_OF_STREAMS = 10.0
"""The same for formats that are cut out of transmissions, whose clocks start anew (MPEG-TS and the like)."""
_MOST_BACK = 1.0
"""Seconds that time may go back from one packet or frame to the next before it counts as a jump."""
_MOST_BACK_OF_STREAMS = 0.1
"""The same for packets of formats whose clocks start anew."""
_MOST_DELAY = 10.0
"""Seconds from a packet's decoding to its showing in such formats; where there are more, one of the two stamps is
damaged. In others a pause may lie between."""
_MOST_REORDERED = 4
"""Frames by which the orders of decoding and showing differ, as a rule."""

_MOST_LATE_US = 10e6
"""What comes later than this after its time stamp shows that a clock was set, and not a network that stood still."""
_MOST_DRIFT = 0.001
"""By how much a camera's clock may run faster or slower than this machine's."""


class Timeline:
    """The line of one stream: ``packet`` for each before it is decoded, ``frame`` for each that comes out.

    All stamps are whole numbers in units of the stream's time base, or None where there is none.
    """

    def __init__(
        self,
        time_base: Fraction,
        interval: Fraction,
        clock_may_restart: bool,
        longest_gap: float,
        jumped: Callable[[float, float], None],
    ) -> None:
        """Creates the line of time of one stream.

        Args:
            time_base: seconds of a unit.
            interval: usual seconds from frame to frame.
            clock_may_restart: whether the format is one that is cut out of transmissions, such as MPEG-TS.
            longest_gap: seconds, where that is less than the format allows anyway; packets that lie further apart
                follow each other at once.
            jumped: called with the seconds that were closed up, negative for a jump back, and the seconds into the
                line.
        """
        self._base, self._interval = time_base, interval / time_base
        usual_gap, most_back = (
            (_LONGEST_GAP_OF_STREAMS, _MOST_BACK_OF_STREAMS) if clock_may_restart else (_LONGEST_GAP, _MOST_BACK)
        )
        self._longest = Fraction(min(longest_gap, usual_gap)) / time_base
        self._most_packets_back = Fraction(most_back) / time_base
        # Decoding order lets stamps go back and lie apart by some frames, however slow these are.
        reordered = _MOST_REORDERED * self._interval
        self._most_frames_back = max(Fraction(_MOST_BACK) / time_base, reordered)
        # A frame may be coded before a pause that it is shown after.
        longest_delay = _MOST_DELAY if clock_may_restart else min(longest_gap, usual_gap)
        self._most_delay = max(Fraction(longest_delay) / time_base, reordered)
        self._jumped = jumped
        self._offset = 0
        self._start: int | None = None
        self._last_dts: int | None = None
        self._expected: int | None = None
        self._guess = _BestGuess()
        self._last_stamp: int | None = None
        self._first: Fraction | None = None
        self._last = Fraction(0)
        self._last_us = 0
        self._fell_back: Fraction | None = None

    def packet(self, pts: int | None, dts: int | None, duration: int | None) -> tuple[int | None, int | None]:
        """The packet's stamps without the jumps before it."""
        step = duration or round(self._interval)
        if dts is None:
            # Packets before the first stamp; a time of showing alone may go back and forth.
            self._expected = None if self._expected is None else self._expected + step
        else:
            if pts is not None and abs(pts - dts) > self._most_delay:
                pts = None
            self._close_jump(dts + self._offset)
            self._last_dts = dts + self._offset
            self._expected = self._last_dts + step
        return _moved(pts, self._offset), _moved(dts, self._offset)

    def frame(self, pts: int | None, dts: int | None) -> int:
        """Microseconds from the first frame to this one; more than at the frame before."""
        stamp = self._guess.next(pts, dts)
        if stamp == self._last_stamp:
            # A clock that stands still is none.
            stamp = None
        else:
            self._last_stamp = stamp
        if self._first is None:
            self._first = Fraction(stamp if stamp is not None else 0)
            return 0
        time = self._last + self._interval if stamp is None else stamp - self._first
        fell_back, self._fell_back = self._fell_back, None
        if fell_back is not None and time + self._most_frames_back < self._last:
            # A jump that the packets did not show: this frame lies behind it as well.
            self._first -= fell_back
            time += fell_back
        if time + self._most_frames_back < self._last:
            self._fell_back = self._last + self._interval - time
            time = self._last + self._interval
        elif time <= self._last:
            # By half, so that the line comes back to stamps that go on as they should.
            time = self._last + self._interval / 2
        self._last = time
        self._last_us = max(round(time * self._base * 1_000_000), self._last_us + 1)
        return self._last_us

    def _close_jump(self, dts: int) -> None:
        if self._start is None:
            self._start = dts
        if self._expected is None or self._last_dts is None:
            return
        jump = dts - self._expected
        if dts + self._most_packets_back < self._last_dts or jump > self._longest:
            self._offset -= jump
            self._jumped(float(jump * self._base), float((self._expected - self._start) * self._base))


class _BestGuess:
    """Which of a frame's two stamps to believe: the one that failed to rise less often so far, as FFmpeg's decoders
    choose.
    """

    def __init__(self) -> None:
        self._last_pts: int | None = None
        self._last_dts: int | None = None
        self._faulty_pts = self._faulty_dts = 0

    def next(self, pts: int | None, dts: int | None) -> int | None:
        if dts is not None:
            self._faulty_dts += self._last_dts is not None and dts <= self._last_dts
            self._last_dts = dts
        elif pts is not None:
            self._last_dts = pts
        if pts is not None:
            self._faulty_pts += self._last_pts is not None and pts <= self._last_pts
            self._last_pts = pts
        elif dts is not None:
            self._last_pts = dts
        return pts if pts is not None and (self._faulty_pts <= self._faulty_dts or dts is None) else dts


def _moved(stamp: int | None, offset: int) -> int | None:
    return None if stamp is None else stamp + offset


class LiveTimeline:
    """Capture times of a camera's frames: by its own time stamps, which say how far they lie apart, on the clock of
    this machine, which saw them arrive.

    A frame may arrive late but never early. So the line of time stamps is laid where the frame that was under way for
    the shortest time arrived at once, and none is dated in the future.
    """

    def __init__(self) -> None:
        self._offset_us = 0.0
        self._last_pts = float("inf")
        self._last_arrival_us = 0
        self._last_us: int | None = None

    def packet(self, arrival_us: int, pts: float | None) -> int:
        """When a coded frame was captured, microseconds since 1970.

        Args:
            arrival_us: when it arrived, on that scale.
            pts: when it is to be shown by the camera's time stamp, in seconds; None where there is none.
        """
        if pts is None:
            return arrival_us
        late_us = arrival_us - (pts * 1e6 + self._offset_us)
        passed_us = arrival_us - self._last_arrival_us
        if not 0 <= late_us <= _MOST_LATE_US or pts < self._last_pts - _MOST_BACK:
            # It was under way for less than any before it, one of the clocks was set, or the camera began anew.
            self._offset_us += late_us
            late_us = 0.0
        else:
            # The two clocks do not run alike, so the line follows slowly.
            self._offset_us += min(late_us, max(0.0, passed_us * _MOST_DRIFT))
        self._last_pts, self._last_arrival_us = pts, arrival_us
        return round(arrival_us - late_us)

    def frame(self, capture_us: int, now_us: int) -> int:
        """The capture time of the next frame that comes out of the decoder: later than the one before, unless the
        machine's clock was set back.
        """
        if self._last_us is not None and capture_us <= self._last_us < now_us:
            capture_us = self._last_us + 1
        self._last_us = capture_us
        return capture_us
