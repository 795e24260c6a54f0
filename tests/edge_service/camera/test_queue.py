from __future__ import annotations

import threading

import numpy as np

from edge_service.camera.queue import FrameQueue
from edge_service.sources import Frame


def frame(number: int) -> Frame:
    return Frame(np.zeros((1, 1, 3), np.uint8), number)


def test_a_live_source_loses_its_oldest_frames_and_each_is_told() -> None:
    lost: list[int] = []
    queue = FrameQueue(2, True, lambda frame: lost.append(frame.capture_us))
    for number in range(5):
        queue.put(frame(number))
    queue.close()
    assert lost == [0, 1, 2]
    kept = [queue.get(), queue.get(), queue.get()]
    assert [item.capture_us if item else None for item in kept] == [3, 4, None]


def test_any_other_source_waits_and_loses_nothing() -> None:
    lost: list[Frame] = []
    queue = FrameQueue(2, False, lost.append)

    def put_all() -> None:
        for number in range(50):
            queue.put(frame(number))
        queue.close()

    thread = threading.Thread(target=put_all)
    thread.start()
    got = []
    while (item := queue.get()) is not None:
        got.append(item.capture_us)
        assert len(queue._frames) <= 2
    thread.join()
    assert got == list(range(50))
    assert lost == []


def test_a_closed_queue_takes_nothing_and_holds_nobody_up() -> None:
    queue = FrameQueue(1, False, lambda frame: None)
    queue.put(frame(1))
    thread = threading.Thread(target=queue.put, args=(frame(2),))
    thread.start()
    queue.close()
    thread.join()
    assert [queue.get(), queue.get()][1] is None
