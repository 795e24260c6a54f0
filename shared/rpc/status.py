"""The one place where errors become gRPC statuses, and statuses become errors again."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from shared import errors

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
    errors.ImageError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.SourceError: grpc.StatusCode.UNAVAILABLE,
    errors.SpoolError: grpc.StatusCode.UNAVAILABLE,
    errors.SpoolFullError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.UplinkError: grpc.StatusCode.UNAVAILABLE,
    errors.StorageError: grpc.StatusCode.UNAVAILABLE,
    errors.StorageFullError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.ProtocolError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.DetectorError: grpc.StatusCode.INTERNAL,
    errors.BusyError: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


def status_of(error: errors.IcmError) -> status_pb2.Status:
    """The error as a rich status: code, text, and an ErrorInfo with its reason."""
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN))
    return status_pb2.Status(code=code_of(error).value[0], message=str(error), details=[detail])


def code_of(error: errors.IcmError) -> grpc.StatusCode:
    """The status code that an error is answered with."""
    return STATUS[type(error)]


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: errors.IcmError) -> NoReturn:
    """Ends the call with the error's status."""
    context.set_trailing_metadata((("grpc-status-details-bin", status_of(error).SerializeToString()),))
    await context.abort(code_of(error), str(error))


def reason_of(error: grpc.aio.AioRpcError) -> str | None:
    """The ErrorInfo reason that one of our servers attached to a failed call, or None."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            for detail in status.details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info) and info.domain == DOMAIN:
                    return str(info.reason)
    return None
