"""What lies where in an evidence file, and how large it may be."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

FORMAT: Final = "icm-evidence/1"
CASE, MANIFEST, SIGNATURE, PAGE = "case.json", "manifest.json", "manifest.sig", "verify.html"
README = "README.txt"
"""For whoever receives the file: what it proves, and what not."""
SIGNER = "proof/signer.pem"
"""The public key that belongs to the signature, for whoever checks with OpenSSL alone."""

MOST_FILES = 500_000
MOST_NAME_BYTES = 300
MOST_CASE_BYTES = 256 << 20
"""Of case.json, and of manifest.json."""
MOST_TEXT = 4000
"""Characters of what a case is about."""
MOST_NAME = 200
"""Characters of who exports it."""


class Role(StrEnum):
    """What a file is there for."""

    CASE = "case"
    RECORDS = "records"
    KEYFRAME = "keyframe"
    """The first frame of records that lean on others, as a record that stands alone."""
    BUNDLE = "bundle"
    """The manifest of the codec bundle that made the records."""
    DETECTIONS = "detections"
    CLIP = "clip"
    PROOF = "proof"
    PAGE = "page"


def records_path(stem: str) -> str:
    """Where a segment's records lie.

    Args:
        stem: of the segment, ``<camera>/<date>/<hour>/<start>-<number>``.
    """
    return f"records/{stem}.icm"


def keyframe_path(stem: str) -> str:
    """Where a segment's key lies, if it has one here; ``stem`` as of ``records_path``."""
    return f"records/{stem}.keyframe"


def clip_path(stem: str) -> str:
    """Where a clip lies; ``stem`` as of ``records_path``."""
    return f"clips/{stem}.mp4"


def subtitles_path(stem: str) -> str:
    """Where a clip's subtitles lie, which players find by their name; ``stem`` as of ``records_path``."""
    return f"clips/{stem}.vtt"


def detections_path(camera: str, ending: str) -> str:
    """Where a camera's detections lie.

    Args:
        ending: "json" or "coco.json".
    """
    return f"detections/{camera}.{ending}"


def proof_path(camera: str) -> str:
    """Where what proves a camera's records lies."""
    return f"proof/{camera}.json"


def seals_path(camera: str) -> str:
    """Where the seals of a camera's edge lie, lines as ``icm.proof.seals`` has them."""
    return f"proof/{camera}.seals"


def bundle_path(codec_id: str) -> str:
    """Where the manifest of a codec's bundle lies, by its id in hexadecimal."""
    return f"bundles/{codec_id}.json"
