"""The heads of its cameras' chains that an edge was shown, in a file beside the spool.

A head stands for all that the cloud had sealed and deleted by then. A cloud that changes its past later contradicts
what its own edges have kept: ``icm-edge heads --check`` finds it, and so does ``icm-cloud verify --witness``.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from icm.atomic_file import write_atomically
from icm.errors import ProofError, SpoolError
from icm.proof.chain import Head
from icm.service.health import Problems

_log = logging.getLogger(__name__)

HEADS_NAME = "heads.txt"
MOST_HEADS = 1024
"""That are kept of a camera, about 400 bytes each. Beyond that every second of the older half goes: any head stands for
the whole chain before it."""


class Witness:
    """Keeps heads. Thread-safe."""

    def __init__(self, folder: Path, problems: Problems) -> None:
        """Args: folder, of the spool."""
        self._path, self._problems = folder / HEADS_NAME, problems
        self._lock = threading.Lock()

    def take(self, camera: str, line: str) -> None:
        """Keeps a head that the cloud has shown. Whatever is wrong with it, or with the disk, holds up no record: it is
        logged, and a contradiction is a health problem.
        """
        try:
            head = Head.of(line.encode())
            if head.camera != camera or not head.holds():
                raise ProofError(f"it is of camera {head.camera}, or its signature does not hold")
        except ProofError as error:
            _log.error("camera %s: the cloud shows a head of its chain that is none: %s", camera, error)
            return
        with self._lock:
            try:
                known = read_heads(self._path)
                if any(seen == head for seen in known):
                    return
                self._compare(head, [seen for seen in known if (seen.camera, seen.store) == (camera, head.store)])
                self._keep(known, head)
            except (OSError, SpoolError) as error:
                _log.error("camera %s: cannot keep a head of the cloud's chain: %s", camera, error)

    def _compare(self, head: Head, seen: Sequence[Head]) -> None:
        """Says what contradicts what was seen before; where there is nothing to say of it, is silent."""
        if not seen:
            _log.info("camera %s: the chain of store %s is signed with %s", head.camera, head.store, head.key.hex())
            return
        newest = max(seen, key=lambda each: each.block)
        wrong = ""
        if head.key != newest.key:
            wrong = f"is signed with another key, {head.key.hex()}, than before"
        elif head.block < newest.block:
            wrong = f"comes after block {newest.block}: the chain went back"
        elif head.block == newest.block and head.hash != newest.hash:
            wrong = "is another one than was shown before"
        if wrong:
            text = f"block {head.block} of the cloud's chain {wrong}; run icm-edge heads --check"
            if self._problems.part("witness", head.camera).report(text):
                _log.error("camera %s: %s", head.camera, text)

    def _keep(self, known: Sequence[Head], head: Head) -> None:
        thinned = _thinned([*known, head])
        whole = sum(len(each.line()) + 1 for each in known)
        torn = self._path.exists() and self._path.stat().st_size != whole
        if torn or len(thinned) <= len(known):
            write_atomically(self._path, b"".join(each.line() + b"\n" for each in thinned))
            return
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, head.line() + b"\n")
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def read_heads(path: Path) -> list[Head]:
    """The heads in a file, in the order in which they came; a last one that was torn is left out.

    Raises:
        SpoolError: the file cannot be read, or holds something else.
    """
    try:
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    except OSError as error:
        raise SpoolError(f"cannot read {path}: {error.strerror}") from None
    try:
        return [Head.of(line[:-1]) for line in lines if line.endswith(b"\n")]
    except ProofError as error:
        raise SpoolError(f"{path} is damaged: {error}; move it away to begin a new one") from None


def _thinned(heads: Sequence[Head]) -> list[Head]:
    """Heads without every second of the older half, and the first, where a camera has too many; in their order."""
    of_camera: dict[str, list[Head]] = defaultdict(list)
    for head in heads:
        of_camera[head.camera].append(head)
    gone = {id(head) for mine in of_camera.values() if len(mine) > MOST_HEADS for head in mine[1 : len(mine) // 2 : 2]}
    return [head for head in heads if id(head) not in gone]
