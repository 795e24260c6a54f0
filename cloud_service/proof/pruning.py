"""Which entries of a chain are dropped: leaves of blocks whose segments were all deleted, and tombstones of those.

What does not hold of a chain stays as it is: a block that is not sound, a tombstone about another segment than its
leaf. So nobody gets rid of what they changed by waiting until it is pruned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cloud_service.proof.chain_file import PlacedLink
from icm.errors import ProofError
from icm.proof.chain import Link
from icm.proof.entries import Leaf, Tombstone
from icm.proof.statements import EdgeKey, Pruned, Ranges, ranges_of

LEAST_SEGMENTS = 1000
"""That were deleted since a chain was looked through last: before there are so many it is not worth it."""
LEAST_SHARE = 1 / 8
"""Of a chain's bytes that have to go, about, so that it is not written again and again."""
KEPT_US = 86_400_000_000
"""How long the entries of a deletion stay, so that it can be looked at with all that is known."""
SEGMENT_BYTES = 400
"""Of a leaf and a tombstone, about."""


@dataclass(frozen=True)
class _Block:
    """A block that is whole and sound.

    Attributes:
        leaves: numbers of the segments that have a leaf in it.
        tombstones: numbers of those that have a tombstone in it.
        stays: whether it holds what counts for ever.
    """

    number: int
    leaves: frozenset[int]
    tombstones: frozenset[int]
    stays: bool


class PruningPlan:
    """Reads a chain from its start, and tells what of it can go."""

    def __init__(self, placed: Iterable[PlacedLink], before: Pruned | None, until_us: int) -> None:
        """Reads the chain.

        Args:
            before: the newest statement of what was dropped.
            until_us: only deletions that were signed by then count, microseconds since 1970.

        Raises:
            OSError: it cannot be read.
            ProofError: it is damaged.
        """
        self._before = before
        self._blocks: list[_Block] = []
        self._leaves: dict[int, Leaf] = {}
        self._tombstones: dict[int, Tombstone] = {}
        for each in placed:
            self._take(each.link, until_us)

    def statement(self, camera: str, now_us: int) -> Pruned | None:
        """What is to be signed before anything goes; None if nothing can.

        Args:
            now_us: the time, microseconds since 1970.
        """
        dropped, segments = self._dropped()
        before = self._before
        if not segments:
            return None
        reasons = Counter(dict(before.reasons) if before is not None else {})
        new = [number for number in segments if before is None or not before.covers(number)]
        reasons.update(self._tombstones[number].reason for number in new)
        facts = [self._leaves[number].facts for number in segments]
        return Pruned(
            camera=camera,
            blocks=_joined(before.blocks if before is not None else (), dropped),
            segments=_joined(before.segments if before is not None else (), segments),
            reasons=tuple(sorted(reasons.items())),
            first_us=min([of.first_capture_us for of in facts] + ([before.first_us] if before is not None else [])),
            last_us=max([of.last_capture_us for of in facts] + ([before.last_us] if before is not None else [])),
            at_us=now_us,
        )

    def _take(self, link: Link, until_us: int) -> None:
        if link.pruned:
            return
        try:
            link.check_sound()
        except ProofError:
            return
        leaves = [entry for entry in link.entries if isinstance(entry, Leaf)]
        tombstones = [entry for entry in link.entries if isinstance(entry, Tombstone)]
        self._leaves.update((entry.facts.number, entry) for entry in leaves)
        if link.head.signed_us <= until_us:
            for entry in tombstones:
                self._tombstones.setdefault(entry.facts.number, entry)
        self._blocks.append(
            _Block(
                link.block.number,
                frozenset(entry.facts.number for entry in leaves),
                frozenset(entry.facts.number for entry in tombstones),
                any(isinstance(entry, EdgeKey) for entry in link.entries),
            )
        )

    def _is_gone(self, number: int) -> bool:
        tombstone, leaf = self._tombstones.get(number), self._leaves[number].facts
        return tombstone is not None and tombstone.facts in (leaf, replace(leaf, sha256=b""))

    def _dropped(self) -> tuple[set[int], set[int]]:
        """Numbers of the blocks whose entries can go, and of the segments that lose their leaves with them.

        A leaf goes only with all leaves of its segment, and a tombstone only once no leaf is left that it is about. A
        statement of before goes too, as the next says all that it said.
        """
        candidates = {
            block.number: block for block in self._blocks if not block.stays and all(map(self._is_gone, block.leaves))
        }
        while True:
            kept = [block for block in self._blocks if block.number not in candidates]
            staying = {number for block in kept for number in block.leaves}
            segments = {number for block in candidates.values() for number in block.leaves} - staying
            wrong = [block.number for block in candidates.values() if not self._went(block, segments)]
            if not wrong:
                return set(candidates), segments
            for number in wrong:
                del candidates[number]

    def _went(self, block: _Block, segments: set[int]) -> bool:
        """Whether all that a block speaks of is dropped now, or was before."""
        before = self._before
        return all(
            number in segments or (before is not None and before.covers(number) and number not in self._leaves)
            for number in block.leaves | block.tombstones
        )


def _joined(ranges: Ranges, numbers: set[int]) -> Ranges:
    """Ranges with further numbers, without going through each of the former."""
    found: list[tuple[int, int]] = []
    for first, last in sorted([*ranges, *ranges_of(numbers)]):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(last, found[-1][1])
        else:
            found.append((first, last))
    return tuple(found)
