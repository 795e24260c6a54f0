"""What can be asked for, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from icm.codec.bundle.loading import Bundle
from icm.errors import ConfigError

MOST_SECONDS = 3600
"""Length of the longest clip."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ClipDecoder(StrEnum):
    """What turns records into pictures: the bundle's decoder, or that from before its finetuning."""

    FINETUNED = "finetuned"
    BASE = "base"

    def of(self, bundle: Bundle) -> Bundle:
        """The bundle with this decoder.

        Raises:
            BundleError: it has none from before its finetuning, or that is damaged.
        """
        return bundle.unfinetuned() if self is ClipDecoder.BASE else bundle


@dataclass(frozen=True)
class ClipRequest:
    """A stretch of a camera's past.

    Attributes:
        camera: its name.
        from_us: frames captured at or after this, microseconds since 1970.
        to_us: frames captured before this.
        decoder: what turns records into pictures.
        boxes: whether to draw what was detected.
    """

    camera: str
    from_us: int
    to_us: int
    decoder: ClipDecoder = ClipDecoder.FINETUNED
    boxes: bool = False

    def check(self) -> None:
        """Checks that there can be such a stretch.

        Raises:
            ConfigError: there cannot.
        """
        start, end = utc_text(self.from_us), utc_text(self.to_us)
        if self.from_us >= self.to_us:
            raise ConfigError(f"a clip from {start} to {end} ends before it begins: give a later end")
        if self.to_us - self.from_us > MOST_SECONDS * 1_000_000:
            raise ConfigError(
                f"a clip from {start} to {end} lasts {(self.to_us - self.from_us) // 1_000_000} s, and one may last"
                f" {MOST_SECONDS} s: ask for it in parts"
            )

    def holds(self, capture_us: int) -> bool:
        """Whether a frame of this capture time belongs into the clip."""
        return self.from_us <= capture_us < self.to_us


class Gap(NamedTuple):
    """Neighbouring frames that cannot be shown.

    Attributes:
        first_us: capture time of the first, microseconds since 1970.
        last_us: of the last.
        frames: how many there are.
        reason: why not the first, for a person; what follows mostly needs it.
    """

    first_us: int
    last_us: int
    frames: int
    reason: str


class Gaps:
    """The frames of a clip that cannot be shown, told in order with those that can. Not thread-safe.

    Attributes:
        found: what there is so far.
    """

    def __init__(self) -> None:
        self.found: list[Gap] = []
        self._open = False

    def shown(self) -> None:
        """A frame is in the clip, after those before."""
        self._open = False

    def lost(self, first_us: int, last_us: int, frames: int, reason: str, *, apart: bool = False) -> None:
        """Frames are not in the clip.

        Args:
            apart: whether they lack for their own reason, and not because of those before.
        """
        if self._open and not (apart and reason != self.found[-1].reason):
            before = self.found.pop()
            first_us, frames, reason = before.first_us, before.frames + frames, before.reason
        self.found.append(Gap(first_us, last_us, frames, reason))
        self._open = True


def utc_text(microseconds: int) -> str:
    """A time since 1970 as people write it."""
    return f"{_EPOCH + timedelta(microseconds=microseconds):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
