"""What a source of pictures is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edge_service.sources.submitted import SubmittedSource


@dataclass(frozen=True)
class Spooled:
    """What became of a frame: a record in the spool.

    Attributes:
        epoch: with the camera's name and ``sequence``, the frame's name; see ``FrameRef``.
        sequence: of the frame in the epoch.
        bytes: size of the whole record.
        width: of the picture as it was coded, which rate control may have made smaller.
        height: of the picture as it was coded.
    """

    epoch: int
    sequence: int
    bytes: int
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture on its way to the encoder.

    Attributes:
        image: uint8[H, W, 3], RGB, of a size that ``icm.codec.bitstream.record.check_size`` allows.
        capture_us: when it was taken, microseconds since 1970, UTC.
        quality: quality level; None for the camera's own.
        result: who waits to hear what became of it; None for nobody.
    """

    image: NDArray[np.uint8]
    capture_us: int
    quality: float | None = None
    result: Future[Spooled] | None = None


class Source(Protocol):
    """Gives pictures until it ends or is stopped.

    Attributes:
        live: the pictures come whether or not anyone takes them: an old one is worth less than a new one, and a source
            that failed or ended is tried again. A source that is not live can wait, and ends for good.
        damaged: packets or pictures that could not be decoded and were left out so far.
        submissions: where clients hand over its pictures; None for a source that gets them by itself.
    """

    live: bool
    damaged: int
    submissions: SubmittedSource | None = None

    def check(self) -> None:
        """Finds what is wrong before anything starts.

        Raises:
            ConfigError: the settings name something that is not there.
            SourceError: it is there but of no use.
        """
        ...

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Pictures in order of time; ends soon after ``stop`` is set. Blocks: give it a thread of its own.

        Raises:
            SourceError: there are no (more) pictures because something is wrong; the text says what.
        """
        ...

    def stop(self) -> None:
        """No more pictures will be asked for, whatever ``frames`` waits for; called once its ``stop`` is set, from any
        thread.
        """
        return
