"""The bounded queue between a camera's source and its encoder."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from edge_service.sources.base import Frame


class FrameQueue:
    """Holds a few frames. When it is full a live source loses its oldest frame, any other source waits. Thread-safe."""

    def __init__(self, capacity: int, newest_wins: bool, dropped: Callable[[Frame], None]) -> None:
        """Creates an empty queue.

        Args:
            dropped: called with each frame that a newer one pushed out.
        """
        self._capacity = capacity
        self._newest_wins = newest_wins
        self._dropped = dropped
        self._frames: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, frame: Frame) -> None:
        """Adds a frame; waits while the queue is full unless the newest wins. Once closed, frames are not taken."""
        oldest: Frame | None = None
        with self._changed:
            if not self._newest_wins:
                self._changed.wait_for(lambda: len(self._frames) < self._capacity or self._closed)
            elif len(self._frames) == self._capacity:
                oldest = self._frames.popleft()
            if self._closed:
                return
            self._frames.append(frame)
            self._changed.notify_all()
        if oldest is not None:
            self._dropped(oldest)

    def get(self) -> Frame | None:
        """The oldest frame; waits for one. None once the queue is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._closed)
            if not self._frames:
                return None
            frame = self._frames.popleft()
            self._changed.notify_all()
            return frame

    def close(self) -> None:
        """No more frames are taken; those inside can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
