"""manifest.json: every file's size and SHA-256, and how many there are, as canonical JSON (RFC 8785) that is signed.

The signature, manifest.sig, is Ed25519's 64 bytes over the manifest's very bytes, so OpenSSL can check it as well.
"""

from __future__ import annotations

from typing import Annotated, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from icm.errors import EvidenceError
from icm.evidence.case import Count, Time
from icm.evidence.layout import FORMAT, MANIFEST, Role

Key = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Part):
    """A file beside the manifest and its signature.

    Attributes:
        path: in the zip.
        role: what it is there for.
        sha256: of its bytes, in hexadecimal.
        size: in bytes.
    """

    path: str
    role: Role
    sha256: Key
    size: Count


class Counts(_Part):
    """How much there is of everything, so that it shows where something was left out.

    Attributes:
        files: all but the manifest and its signature.
        bytes: of these.
        segments: files of records.
        records: in these, by the cloud's index.
        clips: videos.
        tombstones: segments of the range that the cloud deleted.
        missing: what could not be exported.
    """

    files: Count
    bytes: Count
    segments: Count
    records: Count
    clips: Count
    tombstones: Count
    missing: Count


class Manifest(_Part):
    """All of manifest.json.

    Attributes:
        format: of the evidence file.
        exported_at: when, as case.json has it.
        signer: the public key that signs it, in hexadecimal.
        counts: of everything.
        files: by path.
    """

    format: Literal["icm-evidence/1"] = FORMAT
    exported_at: Time
    signer: Key
    counts: Counts
    files: list[FileEntry]

    def to_bytes(self) -> bytes:
        """As the file has it, which is what is signed."""
        return rfc8785.dumps(self.model_dump(mode="json"))


def parse_manifest(data: bytes) -> Manifest:
    """Reads manifest.json.

    Raises:
        EvidenceError: it is none of this format, or not in the one form that such a manifest has.
    """
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise EvidenceError(f"{MANIFEST} is none of format {FORMAT}: {where or 'it'}: {first['msg']}") from None
    # Two readers must not see two things in the same bytes, as they may where a name stands twice.
    if manifest.to_bytes() != data:
        raise EvidenceError(f"{MANIFEST} is not canonical JSON (RFC 8785), as a manifest that was signed is")
    paths = [file.path for file in manifest.files]
    if paths != sorted(set(paths)):
        raise EvidenceError(f"{MANIFEST} does not list its files by path, each once")
    return manifest
