"""case.json: what an evidence file holds, from when, for whom, and what is not there and why."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from icm.camera_name import CameraName
from icm.errors import EvidenceError
from icm.evidence.layout import CASE, FORMAT
from icm.evidence.times import microseconds_of


def _time(text: str) -> str:
    try:
        microseconds_of(text)
    except EvidenceError as error:
        raise ValueError(str(error)) from None
    return text


Time = Annotated[str, AfterValidator(_time)]
Digest = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
Count = Annotated[int, Field(ge=0, lt=1 << 53)]
Epoch = Annotated[str, Field(pattern=r"^\d{1,20}$")]
"""A number of 64 bits, as text: JSON's readers lose digits of one."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SegmentEntry(_Part):
    """A file of records.

    Attributes:
        path: of the file.
        number: of the segment in the camera's log.
        epoch: of its records.
        first: capture time of the earliest record.
        last: capture time of the latest record.
        records: how many there are, by the cloud's index.
        size: of the file, in bytes.
        sha256: as the index had it when the segment was sealed; empty for one that was still open, or older than
            digests.
        sealed: whether it will never grow again. One that will is in no chain yet.
        keyframe: path of the file to begin decoding with, where the first record leans on one that is not here; else
            empty.
        problem: what was wrong with the file when it was exported; empty for nothing.
    """

    path: str
    number: Count
    epoch: Epoch
    first: Time
    last: Time
    records: Count
    size: Count
    sha256: Digest
    sealed: bool
    keyframe: str
    problem: str


class ClipEntry(_Part):
    """A video for people.

    Attributes:
        path: of the MP4.
        subtitles: path of what was found meanwhile, as WebVTT; empty for none.
        segment: number of the one whose records it shows.
        start: capture time of its first frame.
        duration_us: from its first frame to the end of its last, in microseconds.
        frames: how many it has.
    """

    path: str
    subtitles: str
    segment: Count
    start: Time
    duration_us: Count
    frames: Count


class DetectionsEntry(_Part):
    """What detectors found, in two formats.

    Attributes:
        json_path: of the file with everything.
        coco_path: of the file in COCO's format.
        frames: frames that a detector looked at.
        boxes: what was found in them.
        models: the detectors' names.
    """

    json_path: str
    coco_path: str
    frames: Count
    boxes: Count
    models: list[str]


class TombstoneEntry(_Part):
    """A segment that the cloud deleted, and why.

    Attributes:
        number: of the segment.
        first: capture time of its earliest record.
        last: capture time of its latest record.
        records: how many there were.
        sha256: of the file that is gone; empty if it never had one.
        reason: the rule's kind.
        rule: the rule itself.
        by: who deleted it.
        at: when.
    """

    number: Count
    first: Time
    last: Time
    records: Count
    sha256: Digest
    reason: str
    rule: str
    by: str
    at: Time


class Gap(_Part):
    """A time without records.

    Attributes:
        after: capture time of the record before it, or the range's start.
        before: capture time of the record behind it, or the range's end.
    """

    after: Time
    before: Time


class CameraCase(_Part):
    """One camera's part.

    Attributes:
        name: of the camera.
        codec_ids: of the records, in hexadecimal.
        segments: in the order of their numbers.
        clips: in the order of their starts.
        detections: None where no detector looked at any frame.
        gaps: times of ten seconds and more without records.
        tombstones: what the cloud deleted of the range.
    """

    name: CameraName
    codec_ids: list[Digest]
    segments: list[SegmentEntry]
    clips: list[ClipEntry]
    detections: DetectionsEntry | None
    gaps: list[Gap]
    tombstones: list[TombstoneEntry]


class Missing(_Part):
    """Something that should be here and is not.

    Attributes:
        camera: whose it is; empty where it is of all.
        segment: number of the one that it is of; 0 where it is of all.
        what: is missing, for a person.
        why: for a person.
    """

    camera: str
    segment: Count
    what: str
    why: str


class Range(_Part):
    """From ``start`` on, up to and without ``end``. Segments are whole, so their records may lie around it."""

    start: Time
    end: Time


class Case(_Part):
    """All of case.json.

    Attributes:
        format: of the evidence file.
        case: what it is about, in the words of who exported it.
        exported_by: who did, by their own account.
        caller: who did, by the certificate that was shown; empty where none was.
        exported_at: when, by the cloud's clock.
        range: what was asked for.
        time_zone: of all times here.
        store: name of the record store.
        software: what wrote the file.
        retention: the rules that were in force, as the cloud's settings have them; None where it has none.
        cameras: by name.
        missing: what could not be exported.
    """

    format: Literal["icm-evidence/1"] = FORMAT
    case: str
    exported_by: str
    caller: str
    exported_at: Time
    range: Range
    time_zone: Literal["UTC"] = "UTC"
    store: str
    software: str
    retention: dict[str, Any] | None
    cameras: list[CameraCase]
    missing: list[Missing]

    def to_bytes(self) -> bytes:
        """As the file has it."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def parse_case(data: bytes) -> Case:
    """Reads case.json.

    Raises:
        EvidenceError: it is none of this format.
    """
    try:
        return Case.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise EvidenceError(f"{CASE} is none of format {FORMAT}: {where or 'it'}: {first['msg']}") from None
