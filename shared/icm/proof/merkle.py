"""Merkle trees as RFC 6962 (section 2.1, with the algorithms of RFC 9162, section 2.1.3) has them, over SHA-256.

What is a leaf and what is an inner node is told apart by the first byte that is hashed, so that neither can be passed
off as the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

HASH_BYTES = 32
_LEAF, _NODE = b"\x00", b"\x01"


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf that holds these bytes."""
    return hashlib.sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node above two others."""
    return hashlib.sha256(_NODE + left + right).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root of the tree over the hashes of leaves, in their order; of none, SHA-256 of nothing."""
    if not leaves:
        return hashlib.sha256().digest()
    level = list(leaves)
    while len(level) > 1:
        level = _above(level)
    return level[0]


def path_to(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes that lead from one leaf to the root, the lowest first.

    Args:
        leaves: the hashes of all.
        index: of the leaf, from 0 on.
    """
    level, path = list(leaves), []
    while len(level) > 1:
        beside = index ^ 1
        if beside < len(level):
            path.append(level[beside])
        level, index = _above(level), index >> 1
    return path


def root_by_path(leaf: bytes, index: int, count: int, path: Sequence[bytes]) -> bytes | None:
    """The root of the tree in which a path leads to a leaf; None if no tree of this size has such a path.

    Args:
        leaf: the leaf's hash.
        index: of the leaf, from 0 on.
        count: of all leaves.
        path: as of ``path_to``.
    """
    if not 0 <= index < count:
        return None
    last, found = count - 1, leaf
    for beside in path:
        if last == 0:
            return None
        if index & 1 or index == last:
            found = node_hash(beside, found)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            found = node_hash(found, beside)
        index, last = index >> 1, last >> 1
    return found if last == 0 else None


def _above(level: list[bytes]) -> list[bytes]:
    """The next level: pairs are joined, and a last one without a neighbour goes up as it is."""
    joined = [node_hash(*level[place : place + 2]) for place in range(0, len(level) - 1, 2)]
    return joined + level[-1:] if len(level) % 2 else joined
