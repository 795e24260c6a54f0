"""Every error the project raises on purpose.

    IcmError
    ├── ConfigError              a setting, a file of settings or a command's argument is wrong
    ├── ListenError              an address cannot be listened on
    ├── BundleError              a codec bundle is missing, damaged or not the one meant
    │   └── CodecMismatchError   two parties hold different codecs
    ├── RecordError              bytes are no record, or not one that this decoder can read
    │   ├── ReferenceMissingError    a P record refers to a frame that is not there
    │   └── RecordVersionError       they are of a version of the format that this program does not know
    ├── ImageError               a picture cannot be read, or is too large
    ├── SourceError              a camera or file gives no frames
    ├── SpoolError               the edge's spool cannot keep a record
    │   └── SpoolFullError       it is full, and its policy is to refuse
    ├── UplinkError              the cloud cannot be reached, or refuses
    ├── UnreachableError         a service cannot be reached, or does not answer in time
    ├── StorageError             the cloud's disk cannot take or give data
    │   ├── StorageFullError     it is full
    │   └── StoredDamageError    what it gives is not what was stored
    ├── ProofError               a chain, a head or a seal is malformed, or does not hold
    ├── ProtocolError            a peer breaks the rules of a call
    ├── CameraTakenError         two edges send the same camera
    ├── NotFoundError            a camera, frame or segment that is not there
    │   └── FrameSkippedError    a frame that no detector will ever look at
    ├── DetectorError            a detector cannot be loaded or fails
    ├── UnauthenticatedError     a caller does not show who it is, or with what no longer counts
    ├── PermissionDeniedError    a caller is known, and may not do this
    └── BusyError                try again later

Each names what was wrong, where, and what to do about it. ``icm.rpc.status`` maps every one of them to a gRPC
status; ``reason`` is its stable, machine-readable name there.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import ClassVar

from icm.redaction import redacted


class IcmError(Exception):
    """Base of all errors raised on purpose; ``str()`` of one is fit to be shown to a person."""

    reason: ClassVar[str] = "INTERNAL"

    def __str__(self) -> str:
        # Texts quote settings and addresses, and go to logs, to health and to the other side.
        return redacted(super().__str__())


class ConfigError(IcmError):
    reason = "CONFIG_INVALID"


class ListenError(IcmError):
    reason = "LISTEN_FAILED"


class BundleError(IcmError):
    reason = "BUNDLE_INVALID"


class CodecMismatchError(BundleError):
    reason = "CODEC_MISMATCH"


class RecordError(IcmError):
    reason = "RECORD_INVALID"


class ReferenceMissingError(RecordError):
    reason = "REFERENCE_MISSING"


class RecordVersionError(RecordError):
    reason = "RECORD_VERSION"


class ImageError(IcmError):
    reason = "IMAGE_INVALID"


class SourceError(IcmError):
    reason = "SOURCE_FAILED"


class SpoolError(IcmError):
    reason = "SPOOL_FAILED"


class SpoolFullError(SpoolError):
    reason = "SPOOL_FULL"


class UplinkError(IcmError):
    reason = "UPLINK_FAILED"


class UnreachableError(IcmError):
    reason = "UNREACHABLE"


class StorageError(IcmError):
    reason = "STORAGE_FAILED"


class StorageFullError(StorageError):
    reason = "STORAGE_FULL"


class StoredDamageError(StorageError):
    reason = "STORED_DAMAGE"


class ProofError(IcmError):
    reason = "PROOF_INVALID"


class ProtocolError(IcmError):
    reason = "PROTOCOL_VIOLATION"


class CameraTakenError(IcmError):
    reason = "CAMERA_TAKEN"


class NotFoundError(IcmError):
    reason = "NOT_FOUND"


class FrameSkippedError(NotFoundError):
    reason = "FRAME_SKIPPED"


class DetectorError(IcmError):
    reason = "DETECTOR_FAILED"


class UnauthenticatedError(IcmError):
    reason = "UNAUTHENTICATED"


class PermissionDeniedError(IcmError):
    reason = "PERMISSION_DENIED"


class BusyError(IcmError):
    """The call cannot be served now, and may be made again later.

    Attributes:
        retry_seconds: how long to stay away.
    """

    reason = "BUSY"

    def __init__(self, text: str, retry_seconds: float = 1.0) -> None:
        super().__init__(text)
        self.retry_seconds = retry_seconds


def storage_error(error: OSError, path: Path | str) -> StorageError:
    """The project's error for what the operating system said about a path."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFullError(f"no space left to write {path}: free some, or move the folder to a larger disk")
    return StorageError(f"cannot use {path}: {error.strerror or error}; check the folder's permissions and the disk")
