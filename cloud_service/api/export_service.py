"""ExportService: evidence files for other programs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.exc import SQLAlchemyError

from cloud_service.access.access import ANYBODY, Access
from cloud_service.database.damage import trouble
from cloud_service.evidence.exporter import CaseExporter
from cloud_service.evidence.request import ExportRequest, checked_request
from icm.errors import BusyError, ConfigError, IcmError, StorageError
from icm.rpc.status import abort
from icm.v1 import export_pb2 as pb
from icm.v1.export_pb2_grpc import ExportServiceServicer

log = logging.getLogger(__name__)
MOST_AT_ONCE = 2
_CHUNK_BYTES = 1 << 20
_RETRY_SECONDS = 10.0


class ExportService(ExportServiceServicer):
    """See export.proto."""

    def __init__(self, exporter: CaseExporter, access: Access = ANYBODY) -> None:
        """Creates the service.

        Args:
            access: who may read which camera.
        """
        self._exporter, self._access = exporter, access
        self._running = 0

    async def ExportCase(self, request: pb.ExportCaseRequest, context: Any) -> AsyncIterator[pb.ExportCaseResponse]:
        """See export.proto. A caller that goes away ends its export."""
        try:
            asked = self._checked(request, context)
            if self._running >= MOST_AT_ONCE:
                raise BusyError(
                    f"{MOST_AT_ONCE} exports are being made, as many as this cloud makes at once", _RETRY_SECONDS
                )
            self._running += 1
            try:
                async for part in _on_thread(_answers(self._exporter, asked)):
                    yield part
            finally:
                self._running -= 1
        except IcmError as error:
            await abort(context, error)
        except SQLAlchemyError as error:
            log.error("the database does not answer: %s", trouble(error))
            await abort(context, StorageError("the cloud's database does not answer; its log says why"))

    def _checked(self, request: pb.ExportCaseRequest, context: Any) -> ExportRequest:
        caller = self._access.caller(context)
        asked = checked_request(
            cameras=list(request.cameras),
            from_us=_microseconds(request, "from"),
            to_us=_microseconds(request, "to"),
            case=request.about,
            exported_by=request.exported_by,
            caller=caller.holder,
        )
        for camera in asked.cameras:
            caller.check_reads(camera)
        return asked


async def _on_thread(parts: Generator[pb.ExportCaseResponse, None, None]) -> AsyncIterator[pb.ExportCaseResponse]:
    """Takes what comes from a thread of its own: an export is long, and waits for disks and for whoever takes it."""
    loop = asyncio.get_running_loop()
    thread = ThreadPoolExecutor(1, "export")
    try:
        while (part := await loop.run_in_executor(thread, next, parts, None)) is not None:
            yield part
    finally:
        # Behind what the thread is at just now, so that files are closed that it has open.
        thread.submit(parts.close)
        thread.shutdown(wait=False)


def _answers(exporter: CaseExporter, asked: ExportRequest) -> Generator[pb.ExportCaseResponse, None, None]:
    """The messages of one answer."""
    with exporter.leased(asked) as renew:
        contents = exporter.find(asked)
        yield pb.ExportCaseResponse(expected_bytes=exporter.expected_bytes(contents))
        gathered = bytearray()
        for data in exporter.stream(asked, contents):
            renew()
            gathered += data
            while len(gathered) >= _CHUNK_BYTES:
                yield pb.ExportCaseResponse(chunk=bytes(gathered[:_CHUNK_BYTES]))
                del gathered[:_CHUNK_BYTES]
        if gathered:
            yield pb.ExportCaseResponse(chunk=bytes(gathered))


def _microseconds(request: pb.ExportCaseRequest, field: str) -> int | None:
    if not request.HasField(field):  # type: ignore[arg-type]
        return None
    stamp: Timestamp = getattr(request, field)
    try:
        return int(stamp.ToMicroseconds())
    except ValueError as error:
        raise ConfigError(f"ExportCase: {field!r} is no time: {error}") from None
