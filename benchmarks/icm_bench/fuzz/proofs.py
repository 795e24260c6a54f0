"""What proves an archive, changed at random: chains, seals, notes of deletions, and evidence files.

Somebody who forges one of these signs what they write, so evidence files get a signature that holds, and notes a
checksum that fits: what lies behind is reached.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import google_crc32c

from cloud_service.cli import main
from cloud_service.proof.chain_file import ChainFile
from cloud_service.proof.pruning import PruningPlan
from cloud_service.seals.files import parts_in
from cloud_service.store.index.deleted import FOLDER, DeletedSegments
from icm.errors import EvidenceError, ProofError, StorageError
from icm.evidence.case import Case, parse_case
from icm.evidence.checks.verification import verify_case
from icm.evidence.layout import CASE, MANIFEST, SIGNATURE, SIGNER, Role, proof_path
from icm.evidence.manifest import Counts, Manifest, parse_manifest
from icm.evidence.proof_file import parse_proof
from icm.evidence.times import time_text
from icm.evidence.zip_writing import CaseZip
from icm.proof.keys import SigningKey, public_pem

CAMERA = "gate"
"""Of all that is in the corpus."""
STATUSES = (0, 1, 2)
"""That ``icm-cloud verify`` ends with."""
SEPARATOR = b"\x00"
"""Between case.json and the proof of its camera in an input."""


class Chain:
    """A chain, and the store without any segments that it is of: verdicts, and a plan of what can be dropped."""

    def __init__(self, folder: Path) -> None:
        self._store = folder / "store"
        (self._store / "proof").mkdir(parents=True)

    def __call__(self, data: bytes) -> None:
        file = ChainFile(self._store / "proof", CAMERA)
        file.path.write_bytes(data)
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            status = main(["verify", "--deep", "--store", str(self._store)])
        if status not in STATUSES:
            raise ValueError(f"icm-cloud verify ends with {status}")
        with suppress(ProofError):
            PruningPlan(file.links(), None, 1 << 62).statement(CAMERA, 0)


class Seals:
    """A day's seals, each compared with records that are others: ProofError or none."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "day.seals"

    def __call__(self, data: bytes) -> None:
        self._path.write_bytes(data)
        for parts in parts_in(self._path).values():
            for part in parts:
                with suppress(ProofError):
                    part.check(dict.fromkeys(part.sequences, bytes(32)))


class Deleted:
    """A file that says what was deleted: StorageError or what was."""

    def __init__(self, folder: Path) -> None:
        self._root = folder / "records"
        self._path = self._root / CAMERA / FOLDER / "2026-09.json"
        self._path.parent.mkdir(parents=True)

    def __call__(self, data: bytes) -> None:
        self._path.write_bytes(data)
        with suppress(StorageError):
            list(DeletedSegments(self._root).entries(CAMERA))


def manifest(data: bytes) -> None:
    """A manifest, a case.json or a proof: EvidenceError or what it says."""
    parsers: tuple[Callable[[bytes], object], ...] = (parse_manifest, parse_case, lambda of: parse_proof(of, "proof"))
    for parse in parsers:
        with suppress(EvidenceError):
            parse(data)


class SignedCase:
    """An evidence file of this case.json and this proof, whose manifest lists and signs them: findings."""

    def __init__(self, folder: Path) -> None:
        self._path, self._key = folder / "case.zip", SigningKey.new()

    def __call__(self, data: bytes) -> None:
        described, _, proof = data.partition(SEPARATOR)
        case = CaseZip()
        with self._path.open("wb") as out:
            out.writelines(case.add(CASE, Role.CASE, [described]))
            out.writelines(case.add(proof_path(CAMERA), Role.PROOF, [proof]))
            out.writelines(case.add(SIGNER, Role.PROOF, [public_pem(self._key.public)]))
            signed = self._manifest(case, described).to_bytes()
            out.writelines(case.add(MANIFEST, None, [signed]))
            out.writelines(case.add(SIGNATURE, None, [self._key.sign(signed)]))
            out.writelines(case.finish())
        verify_case(self._path, key=None, bundles=lambda: ())

    def _manifest(self, case: CaseZip, described: bytes) -> Manifest:
        found: Case | None = None
        with suppress(EvidenceError):
            found = parse_case(described)
        cameras = found.cameras if found is not None else []
        return Manifest(
            exported_at=found.exported_at if found is not None else time_text(0),
            signer=self._key.public.hex(),
            counts=Counts(
                files=len(case.files),
                bytes=sum(file.size for file in case.files),
                segments=sum(len(camera.segments) for camera in cameras),
                records=0,
                clips=sum(len(camera.clips) for camera in cameras),
                tombstones=sum(len(camera.tombstones) for camera in cameras),
                missing=len(found.missing) if found is not None else 0,
            ),
            files=sorted(case.files, key=lambda file: file.path),
        )


def with_own_checksum(data: bytes) -> bytes:
    """A file of what was deleted with its checksum put right, where it is JSON still."""
    with suppress(ValueError, LookupError, TypeError, RecursionError):
        said = json.loads(data)
        packed = json.dumps(said["deleted"], sort_keys=True).encode()
        said["crc32c"] = int(google_crc32c.value(packed))
        return json.dumps(said).encode()
    return data


def with_own_hashes(data: bytes) -> bytes:
    """A chain whose heads have the hashes of their blocks as these are now, so that more than the first is read."""
    lines, block = [], b""
    for line in data.splitlines(keepends=True):
        words = line.split(b" ")
        if words[0] == b"icm-block-1":
            block = line.removesuffix(b"\n")
        elif words[0] == b"icm-head-1" and len(words) == 8:
            words[5] = hashlib.sha256(block).hexdigest().encode()
            line = b" ".join(words)
        lines.append(line)
    return b"".join(lines)


def change_number(data: bytes, dice: random.Random) -> bytes:
    """A text in which one run of digits is another number: the forms are kept, and what they say is not."""
    digits = [at for at, byte in enumerate(data) if 48 <= byte <= 57]
    if not digits:
        return data
    start = end = dice.choice(digits)
    while start and 48 <= data[start - 1] <= 57:
        start -= 1
    while end < len(data) and 48 <= data[end] <= 57:
        end += 1
    number = dice.choice((0, 1, 2, 255, 1 << 31, (1 << 63) - 1, 1 << 63, 1 << 64, 10**25, dice.randrange(1 << 40)))
    return data[:start] + str(number).encode() + data[end:]


class ProofTargets:
    """All of these, in a folder of their own. Use it in a ``with`` block."""

    def __enter__(self) -> dict[str, Callable[[bytes], None]]:
        self._folder = TemporaryDirectory()
        place = Path(self._folder.name)
        return {
            "chain": Chain(place),
            "seals": Seals(place),
            "deleted": Deleted(place),
            "manifest": manifest,
            "case": SignedCase(place),
        }

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


REPAIRS: dict[str, Callable[[bytes], bytes]] = {"chain": with_own_hashes, "deleted": with_own_checksum}
"""What puts right of a changed input what its first check would end with."""
