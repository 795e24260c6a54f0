"""Hands new events, and news of frames that were skipped, to whoever watches, as they are made."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from cloud_service.events.store import FrameEvent, FrameSkipped
from icm.errors import BusyError

FeedItem = FrameEvent | FrameSkipped

WATCHER_LIMIT = 256
"""Events a watcher may lag behind before it is given up."""


class Subscription:
    """One watcher's events, from its subscription on. Belongs to the event loop it was made on."""

    def __init__(self, wanted: Callable[[FeedItem], bool]) -> None:
        self._wanted = wanted
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[FeedItem | None] = asyncio.Queue(WATCHER_LIMIT)
        self._too_slow = False

    def offer(self, events: Sequence[FeedItem]) -> None:
        """Queues those that are wanted; may be called on any thread."""
        if chosen := [event for event in events if self._wanted(event)]:
            self._loop.call_soon_threadsafe(self._put, chosen)

    def end(self) -> None:
        """No more events will come; may be called on any thread."""
        self._loop.call_soon_threadsafe(self._put, [None])

    async def next(self) -> FeedItem | None:
        """The next event, or None when there will be no more.

        Raises:
            BusyError: the watcher lags too far behind; events are missing from here on.
        """
        if self._too_slow and self._queue.empty():
            raise BusyError(f"this watcher lags more than {WATCHER_LIMIT} frames behind; read faster, or watch less")
        return await self._queue.get()

    def _put(self, items: Sequence[FeedItem | None]) -> None:
        for item in items:
            if self._too_slow:
                return
            try:
                self._queue.put_nowait(item)
            except asyncio.QueueFull:
                self._too_slow = True


class EventFeed:
    """Where events are published. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions: list[Subscription] = []
        self._closed = False

    def publish(self, events: Sequence[FeedItem]) -> None:
        with self._lock:
            for subscription in self._subscriptions:
                subscription.offer(events)

    def close(self) -> None:
        """Ends every subscription, also those to come."""
        with self._lock:
            self._closed = True
            for subscription in self._subscriptions:
                subscription.end()

    @contextmanager
    def subscribe(self, wanted: Callable[[FeedItem], bool]) -> Iterator[Subscription]:
        """Events that are wanted, published while the block runs."""
        subscription = Subscription(wanted)
        with self._lock:
            self._subscriptions.append(subscription)
            if self._closed:
                subscription.end()
        try:
            yield subscription
        finally:
            with self._lock:
                self._subscriptions.remove(subscription)
