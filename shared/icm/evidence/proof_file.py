"""A camera's part of the proof: the chain's entries about its segments, their Merkle paths, blocks and signed heads.

Blocks stand here from the first that is needed up to the newest, so that each can be seen to follow the one before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from icm.camera_name import CameraName
from icm.errors import EvidenceError
from icm.evidence.case import Count
from icm.evidence.manifest import Key
from icm.proof import merkle
from icm.proof.chain import Link
from icm.proof.entries import Entry
from icm.proof.statements import EdgeKey, Pruned

Line = Annotated[str, Field(max_length=1 << 20)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EntryProof(_Part):
    """An entry of the chain, and how it leads to its block's root.

    Attributes:
        line: the entry's own line.
        block: number of its block.
        index: of the entry in the block, from 0 on.
        path: hashes beside the way to the root, the lowest first, in hexadecimal.
    """

    line: Line
    block: Count
    index: Count
    path: list[Key]


class BlockProof(_Part):
    """A block of the chain.

    Attributes:
        line: the block's own line.
        head: its head's line, with the signature.
    """

    line: Line
    head: Line


class CameraProof(_Part):
    """All of a camera's file in ``proof/``.

    Attributes:
        camera: whose it is.
        entries: in the chain's order.
        blocks: by number, none left out between the first and the last.
    """

    camera: CameraName
    entries: list[EntryProof]
    blocks: list[BlockProof]


def proof_chunks(camera: str, links: Iterable[Link], first: int, last: int) -> Iterator[bytes]:
    """A camera's file in ``proof/``, in parts.

    Args:
        links: neighbouring blocks of its chain, up to the newest.
        first: number of the first segment whose entries are wanted.
        last: number of the last one.
    """
    blocks: list[dict[str, str]] = []
    yield f'{{"camera": {json.dumps(camera)}, "entries": ['.encode()
    separator = "\n"
    for link in links:
        blocks.append({"line": link.block.line().decode(), "head": link.head.line().decode()})
        wanted = [place for place, entry in enumerate(link.entries) if _is_about(entry, first, last)]
        hashes = [entry.hash() for entry in link.entries] if wanted else []
        for place in wanted:
            entry = {
                "line": link.entries[place].line().decode(),
                "block": link.block.number,
                "index": place,
                "path": [beside.hex() for beside in merkle.path_to(hashes, place)],
            }
            yield f"{separator}{json.dumps(entry)}".encode()
            separator = ",\n"
    yield b'],\n"blocks": ['
    for number, block in enumerate(blocks):
        yield f"{',' if number else ''}\n{json.dumps(block)}".encode()
    yield b"]}\n"


def _is_about(entry: Entry, first: int, last: int) -> bool:
    """Whether an entry says what became of a segment with a number from ``first`` to ``last``."""
    if isinstance(entry, EdgeKey):
        return False
    if isinstance(entry, Pruned):
        return any(low <= last and high >= first for low, high in entry.segments)
    return first <= entry.facts.number <= last


def parse_proof(data: bytes, path: str) -> CameraProof:
    """Reads a camera's file in ``proof/``.

    Args:
        path: of the file, for the error.

    Raises:
        EvidenceError: it is none.
    """
    try:
        return CameraProof.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise EvidenceError(f"{path} is no proof: {where or 'it'}: {first['msg']}") from None
