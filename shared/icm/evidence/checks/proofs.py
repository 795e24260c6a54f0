"""Checks a camera's part of the proof: entry, path, root, head, signature, and that nothing is left out."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from icm.errors import EvidenceError, ProofError
from icm.evidence.case import CameraCase, Case, SegmentEntry
from icm.evidence.checks.findings import Findings
from icm.evidence.layout import MOST_CASE_BYTES, proof_path
from icm.evidence.proof_file import BlockProof, CameraProof, parse_proof
from icm.evidence.times import microseconds_of, time_text
from icm.evidence.zip_reading import CaseFile
from icm.proof.chain import Block, Head, check_inclusion
from icm.proof.entries import Leaf, SegmentFacts, Tombstone, entry_of
from icm.proof.statements import Pruned


class ProofCheck:
    """Checks one camera's proof."""

    def __init__(
        self,
        *,
        case: CaseFile,
        described: Case,
        camera: CameraCase,
        digests: Mapping[str, str],
        signer: bytes,
        findings: Findings,
    ) -> None:
        """Creates the check.

        Args:
            described: all of case.json.
            camera: the camera's part of it.
            digests: SHA-256 of each file of the zip as it is, in hexadecimal.
            signer: the public key of the manifest's signature.
        """
        self._case, self._described, self._camera = case, described, camera
        self._digests, self._signer, self._findings = digests, signer, findings
        self._leaves: dict[int, Leaf] = {}
        self._tombstones: dict[int, Tombstone] = {}
        self._pruned: list[Pruned] = []

    def check(self) -> None:
        """Checks everything; the findings say what came of it."""
        name, camera = self._camera.name, self._camera
        sealed = [segment for segment in camera.segments if segment.sealed]
        path = proof_path(name)
        if path not in self._case.entries:
            said = next((m.why for m in self._described.missing if (m.camera, m.segment) == (name, 0)), "")
            if sealed or camera.tombstones:
                text = f"{path} is not there: nothing proves that the records of camera {name} are those of the archive"
                (self._findings.lacks if said else self._findings.wrong)(f"{text} ({said})" if said else text)
            return
        try:
            proof = parse_proof(self._case.read(path, MOST_CASE_BYTES), path)
            heads = self._heads(proof)
            self._read_entries(proof, heads)
        except (EvidenceError, ProofError) as error:
            self._findings.wrong(str(error) if str(error).startswith(path) else f"{path}: {error}")
            return
        wrong = self._findings.count_wrong
        for segment in camera.segments:
            self._check_segment(segment)
        self._check_tombstones()
        self._check_complete()
        if self._findings.count_wrong == wrong and heads:
            newest = max(heads)
            head = heads[newest][1]
            self._findings.ok(
                f"proof of camera {name}: {len(sealed)} segments and {len(camera.tombstones)} deletions are in the"
                f" chain of store {head.store}, whose head {newest} was signed at {time_text(head.signed_us)}:"
                f" {head.hash.hex()}"
            )

    def _heads(self, proof: CameraProof) -> dict[int, tuple[Block, Head]]:
        """The blocks and their heads by number, each sound and following the one before.

        Raises:
            ProofError: they are not.
        """
        found: dict[int, tuple[Block, Head]] = {}
        before: Head | None = None
        keys: list[bytes] = []
        for written in proof.blocks:
            block, head = _sound(written)
            if (block.store, block.camera) != (self._described.store, self._camera.name):
                raise ProofError(f"block {block.number} is of camera {block.camera} in store {block.store}")
            if before is not None and (block.number, block.previous) != (before.block + 1, before.hash):
                raise ProofError(f"block {block.number} does not follow block {before.block}")
            before = head
            keys += [] if head.key in keys else [head.key]
            found[block.number] = block, head
        for key in keys:
            if key != self._signer:
                self._findings.note(
                    f"proof of camera {self._camera.name}: heads are signed by another key than the manifest,"
                    f" {key.hex()}, whose owner you must know"
                )
        return found

    def _read_entries(self, proof: CameraProof, heads: dict[int, tuple[Block, Head]]) -> None:
        for written in proof.entries:
            entry = entry_of(written.line.encode())
            if written.block not in heads:
                raise ProofError(f"there is no block {written.block}, which holds the entry {written.line[:100]!r}")
            block, head = heads[written.block]
            path = [bytes.fromhex(beside) for beside in written.path]
            check_inclusion(entry=entry, index=written.index, path=path, block=block, head=head)
            # Of several leaves of one segment the newest counts.
            if isinstance(entry, Pruned):
                self._pruned.append(entry)
            elif isinstance(entry, Leaf):
                self._leaves[entry.facts.number] = entry
            elif isinstance(entry, Tombstone):
                self._tombstones[entry.facts.number] = entry

    def _check_segment(self, segment: SegmentEntry) -> None:
        leaf = self._leaves.get(segment.number)
        if not segment.sealed:
            self._findings.lacks(f"{segment.path} was still growing when it was exported: it is in no chain yet")
            return
        if leaf is None:
            self._findings.wrong(f"{segment.path} is not in the chain of camera {self._camera.name}")
            return
        facts = leaf.facts
        if facts.sha256.hex() != self._digests.get(segment.path):
            text = f"{segment.path} is not the file that the chain has as segment {segment.number}"
            (self._findings.lacks if segment.problem else self._findings.wrong)(
                f"{text} (the export said so: {segment.problem})" if segment.problem else text
            )
        said = (str(facts.epoch), facts.records, time_text(facts.first_capture_us), time_text(facts.last_capture_us))
        if said != (segment.epoch, segment.records, segment.first, segment.last):
            self._findings.wrong(f"{segment.path}: case.json says something else of it than the chain")

    def _check_tombstones(self) -> None:
        dropped = 0
        for said in self._camera.tombstones:
            found = self._tombstones.get(said.number)
            if found is None and self._is_pruned(said.number):
                dropped += 1
                continue
            if found is None:
                self._findings.wrong(
                    f"case.json says that segment {said.number} of camera {self._camera.name} was deleted"
                    f" ({said.reason}); the chain does not"
                )
                continue
            written = (found.reason, found.rule, found.by, time_text(found.at_us), found.facts.sha256.hex())
            if written != (said.reason, said.rule, said.by, said.at, said.sha256):
                self._findings.wrong(
                    f"case.json says something else of the deletion of segment {said.number} of camera"
                    f" {self._camera.name} than the chain"
                )

        if dropped:
            self._findings.note(
                f"proof of camera {self._camera.name}: of {dropped} deletions the chain says only that they were: by"
                " which rule, and what was deleted, is the cloud's word, as these entries were dropped"
            )

    def _is_pruned(self, number: int) -> bool:
        return self._are_pruned(number, number)

    def _are_pruned(self, first: int, last: int) -> bool:
        return any(low <= first and last <= high for entry in self._pruned for low, high in entry.segments)

    def _check_complete(self) -> None:
        """Checks that every segment of the range is here or accounted for, as far as the numbers tell."""
        name = self._camera.name
        here = {segment.number for segment in self._camera.segments}
        here |= {said.number for said in self._camera.tombstones}
        here |= {missing.segment for missing in self._described.missing if missing.camera == name and missing.segment}
        if not here:
            return
        elsewhere = set[int]()
        for number in (self._leaves.keys() | self._tombstones.keys()) - here:
            entry = self._tombstones.get(number) or self._leaves[number]
            if self._is_within(entry.facts):
                self._findings.wrong(
                    f"segment {number} of camera {name} is left out: the chain has records of the range in it"
                )
            elsewhere.add(number)
        known = sorted(here | {number for number in elsewhere if min(here) < number < max(here)})
        for before, after in pairwise(known):
            if after - before > 1 and not self._are_pruned(before + 1, after - 1):
                what = f"segment {before + 1}" if after - before == 2 else f"segments {before + 1} to {after - 1}"
                self._findings.wrong(f"{what} of camera {name} left out: neither here nor accounted for")

    def _is_within(self, facts: SegmentFacts) -> bool:
        asked = self._described.range
        start_us, end_us = microseconds_of(asked.start), microseconds_of(asked.end)
        return facts.last_capture_us >= start_us and facts.first_capture_us < end_us


def _sound(written: BlockProof) -> tuple[Block, Head]:
    """A block and its head, which stands for it and is signed.

    Raises:
        ProofError: it does not, or is not.
    """
    block, head = Block.of(written.line.encode()), Head.of(written.head.encode())
    if (head.store, head.camera, head.block, head.hash) != (block.store, block.camera, block.number, block.hash()):
        raise ProofError(f"the head of block {block.number} is another block's, or the block's line was changed")
    if not head.holds():
        raise ProofError(f"the signature of block {block.number} does not hold")
    return block, head
