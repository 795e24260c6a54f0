"""A place in a camera's log of records."""

from __future__ import annotations

from typing import NamedTuple


class Position(NamedTuple):
    """Between two records; positions compare in the order the records were persisted.

    Attributes:
        segment: the segment's number, from 1 on. A number that no segment has stands for the next one there is.
        offset: byte in the segment's file where the next record starts; 0 for the segment's first.
    """

    segment: int
    offset: int


START = Position(0, 0)
"""Before everything."""
