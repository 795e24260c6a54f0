"""The one place where errors become gRPC statuses, and statuses become errors again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from icm import errors

DOMAIN = "icm-bridge"
"""``google.rpc.ErrorInfo.domain`` of every error of ours."""

STATUS: dict[type[errors.IcmError], grpc.StatusCode] = {
    errors.IcmError: grpc.StatusCode.INTERNAL,
    errors.ConfigError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ListenError: grpc.StatusCode.INTERNAL,
    errors.BundleError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.CodecMismatchError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RecordError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ReferenceMissingError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RecordVersionError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ImageError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.SourceError: grpc.StatusCode.UNAVAILABLE,
    errors.SpoolError: grpc.StatusCode.UNAVAILABLE,
    errors.SpoolFullError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.UplinkError: grpc.StatusCode.UNAVAILABLE,
    errors.UnreachableError: grpc.StatusCode.UNAVAILABLE,
    errors.StorageError: grpc.StatusCode.UNAVAILABLE,
    errors.StorageFullError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.StoredDamageError: grpc.StatusCode.DATA_LOSS,
    errors.ProofError: grpc.StatusCode.DATA_LOSS,
    errors.ProtocolError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.CameraTakenError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.FrameSkippedError: grpc.StatusCode.NOT_FOUND,
    errors.DetectorError: grpc.StatusCode.INTERNAL,
    errors.UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    errors.BusyError: grpc.StatusCode.RESOURCE_EXHAUSTED,
}

_MOST_TEXT_BYTES = 1500
"""Of an error's text: it travels in headers, and a client gives the whole answer up where those are too long."""


def status_of(error: errors.IcmError) -> status_pb2.Status:
    """The error as a rich status: code, text, an ErrorInfo with its reason, and when to retry for a BusyError."""
    details = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)]
    if isinstance(error, errors.BusyError):
        delay = Duration()
        delay.FromMilliseconds(round(error.retry_seconds * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = [any_pb2.Any() for _ in details]
    for message, detail in zip(packed, details, strict=True):
        message.Pack(detail)
    return status_pb2.Status(code=code_of(error).value[0], message=_text(error), details=packed)


def code_of(error: errors.IcmError) -> grpc.StatusCode:
    """The status code that an error is answered with."""
    return STATUS[type(error)]


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: errors.IcmError) -> NoReturn:
    """Ends the call with the error's status."""
    context.set_trailing_metadata((("grpc-status-details-bin", status_of(error).SerializeToString()),))
    await context.abort(code_of(error), _text(error))


def _text(error: errors.IcmError) -> str:
    text = str(error)
    packed = text.encode(errors="replace")
    return text if len(packed) <= _MOST_TEXT_BYTES else f"{packed[:_MOST_TEXT_BYTES].decode(errors='ignore')}..."


_BY_REASON = {cls.reason: cls for cls in STATUS}
_BY_CODE: dict[grpc.StatusCode, type[errors.IcmError]] = {
    grpc.StatusCode.UNAUTHENTICATED: errors.UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDeniedError,
    grpc.StatusCode.NOT_FOUND: errors.NotFoundError,
}
"""What gRPC's own failures are, which carry no reason of ours; all others are breaches of the contract."""


def error_of(error: Any, address: str) -> errors.IcmError:
    """The error that a server of ours failed a call with, or what gRPC itself says, as one of ``icm.errors``.

    Args:
        error: a ``grpc.RpcError`` of a call, of either API of gRPC.
        address: who was called.
    """
    text = error.details() or "no reason was given"
    kind = _BY_REASON.get(reason_of(error) or "")
    if kind is errors.BusyError:
        return errors.BusyError(text, retry_seconds_of(error))
    if kind is not None:
        return kind(text)
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.UnreachableError(
            f"{address} did not answer in time ({text}): is the service running there, and do both sides speak TLS, or"
            " neither?"
        )
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return errors.UnreachableError(f"{address} cannot be reached: {text}")
    return _BY_CODE.get(error.code(), errors.ProtocolError)(f"{address} refused the call: {text}")


def reason_of(error: grpc.aio.AioRpcError) -> str | None:
    """The ErrorInfo reason that one of our servers attached to a failed call, or None."""
    info = error_details_pb2.ErrorInfo()
    for detail in _details(error):
        if detail.Unpack(info) and info.domain == DOMAIN:
            return str(info.reason)
    return None


def retry_seconds_of(error: grpc.aio.AioRpcError) -> float:
    """How long the server of a failed call asked to stay away; 0 if it did not."""
    retry = error_details_pb2.RetryInfo()
    for detail in _details(error):
        if detail.Unpack(retry):
            return float(max(0.0, retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9))
    return 0.0


def _details(error: grpc.aio.AioRpcError) -> Iterator[any_pb2.Any]:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            yield from status_pb2.Status.FromString(value).details
