"""What a service keeps of the memory that it no longer uses."""

from __future__ import annotations

import ctypes
import os

_M_ARENA_MAX = -8
"""glibc's ``mallopt``: how many arenas there may be, malloc.h."""
_SET_BY_USER = "MALLOC_ARENA_MAX"


def share_one_arena() -> None:
    """Has all threads take memory from one place; to be called before they start.

    glibc gives each thread an arena of its own and keeps what the thread freed there. Networks ask for tens of
    megabytes at a time, now in one thread, then in another, so each arena comes to hold what only one of them uses at
    any moment: an edge of four cameras took half as much again. Waiting for one another costs nothing that could be
    measured, as they ask seldom and for much. Other C libraries have no such setting, and who has set
    ``MALLOC_ARENA_MAX`` knows better.
    """
    if _SET_BY_USER in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
