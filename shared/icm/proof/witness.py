"""Whether a chain still holds what was seen of it before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from icm.errors import ProofError
from icm.proof.chain import Block, Head, Link


def check_witnessed(witnessed: Sequence[Head], shown: Iterable[tuple[Block, Head]]) -> Head | None:
    """Follows a camera's chain from the first head that was seen of it to its newest.

    Args:
        witnessed: heads of one camera that were seen; each must be in the chain still.
        shown: the blocks that there are now, in their order, from the first of ``witnessed`` on.

    Returns:
        The newest head that is shown; None if nothing was witnessed.

    Raises:
        ProofError: the first contradiction, by name.
    """
    waiting = {head.block: head for head in sorted(witnessed, key=lambda head: -head.signed_us)}
    for head in witnessed:
        if (waiting[head.block].hash, waiting[head.block].store) != (head.hash, head.store):
            raise ProofError(f"{_name(head)} was shown in two forms, as witnessed {_when(head)} and after that")
    if not waiting:
        return None
    first, last = min(waiting), max(waiting)
    newest: Head | None = None
    for block, head in shown:
        seen = waiting.pop(block.number, None)
        if seen is not None and (seen.hash, seen.store, seen.key) != (head.hash, head.store, head.key):
            raise ProofError(f"{_name(seen)} is another one now than was witnessed {_when(seen)}")
        if newest is None and block.number != first:
            break
        Link(block, (), head).check_frame(newest)
        newest = head
    if waiting:
        gone = waiting[min(waiting)]
        ends = f"the chain ends with block {newest.block}" if newest is not None else "the cloud shows no such block"
        raise ProofError(f"{_name(gone)}, witnessed {_when(gone)}, is not there any more: {ends}")
    assert newest is not None
    assert newest.block >= last
    return newest


def _name(head: Head) -> str:
    return f"block {head.block} of camera {head.camera}"


def _when(head: Head) -> str:
    return f"as signed {datetime.fromtimestamp(head.signed_us / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}"
