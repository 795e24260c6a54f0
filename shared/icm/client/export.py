"""Clients take evidence files from a cloud."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from icm.atomic_file import atomic_writer
from icm.client.connection import Connection
from icm.errors import ConfigError, ProtocolError
from icm.rpc.status import error_of
from icm.v1 import export_pb2, export_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

Progress = Callable[[int, int], None]
"""Told how many bytes are there, and how many there will be, about."""


def export_request(
    cameras: str | Sequence[str], start: datetime, end: datetime, case: str, by: str
) -> export_pb2.ExportCaseRequest:
    """The request for an evidence file.

    Raises:
        ConfigError: a time has no time zone.
    """
    named = [cameras] if isinstance(cameras, str) else list(cameras)
    request = export_pb2.ExportCaseRequest(cameras=named, about=case, exported_by=by)
    for field, time in (("from", start), ("to", end)):
        if time.tzinfo is None:
            raise ConfigError(f"the time {time} has no time zone: give one, such as datetime.now(datetime.UTC)")
        getattr(request, field).FromDatetime(time.astimezone(UTC))
    return request


class CaseDownload:
    """Writes the parts of an evidence file as they come.

    Attributes:
        written: bytes so far.
    """

    def __init__(self, file: Any, progress: Progress | None) -> None:
        self._file, self._progress, self._expected = file, progress, 0
        self.written = 0

    def take(self, answer: export_pb2.ExportCaseResponse) -> None:
        """Writes a part.

        Raises:
            OSError: the disk refused.
        """
        self._expected = self._expected or answer.expected_bytes
        self._file.write(answer.chunk)
        self.written += len(answer.chunk)
        if self._progress is not None:
            self._progress(self.written, max(self._expected, self.written))


def export_case(
    channel: grpc.Channel, connection: Connection, request: export_pb2.ExportCaseRequest, download: CaseDownload
) -> int:
    """Writes an evidence file; returns its size in bytes.

    Raises:
        IcmError: the cloud refused it, or went away.
        OSError: the disk refused.
    """
    call = export_pb2_grpc.ExportServiceStub(channel).ExportCase(request, metadata=connection.metadata)
    try:
        for answer in call:
            download.take(answer)
    except grpc.RpcError as error:
        raise error_of(error, connection.address) from None
    finally:
        call.cancel()
    return download.written


async def export_case_async(
    channel: grpc.aio.Channel, connection: Connection, request: export_pb2.ExportCaseRequest, download: CaseDownload
) -> int:
    """As ``export_case``, for asyncio."""
    stub: Any = export_pb2_grpc.ExportServiceStub(channel)
    call = stub.ExportCase(request, metadata=connection.metadata)
    try:
        async for answer in call:
            await asyncio.to_thread(download.take, answer)
    except grpc.RpcError as error:
        raise error_of(error, connection.address) from None
    finally:
        call.cancel()
    return download.written


@contextmanager
def download_to(output: Path | str, progress: Progress | None) -> Iterator[CaseDownload]:
    """A file for a download, which is there once the block is done, and is gone if the block fails.

    Raises:
        ConfigError: it cannot be written.
        ProtocolError: nothing came.
    """
    path = Path(output)
    try:
        with atomic_writer(path) as file:
            download = CaseDownload(file, progress)
            yield download
            if not download.written:
                raise ProtocolError("the cloud sent no byte of the evidence file, and no error either")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from None
