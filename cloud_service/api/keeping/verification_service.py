"""VerificationService: verifications of the archive by the cloud itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from cloud_service.access.access import ANYBODY, Access, Caller
from cloud_service.api.answers import errors_answered, microseconds, timestamp
from cloud_service.verification.jobs import Verifications
from cloud_service.verification.record import CameraReport, State, Verification
from icm.camera_name import check_camera_name
from icm.errors import ConfigError, NotFoundError, ProofError
from icm.proof.chain import Head
from icm.v1 import verification_pb2 as pb
from icm.v1.verification_pb2_grpc import VerificationServiceServicer

MOST_CAMERAS = 1000
MOST_WITNESSES = 10_000
_MOST_BY = 200
_STATES = {
    State.WAITING: pb.VERIFICATION_STATE_WAITING,
    State.RUNNING: pb.VERIFICATION_STATE_RUNNING,
    State.DONE: pb.VERIFICATION_STATE_DONE,
    State.CANCELLED: pb.VERIFICATION_STATE_CANCELLED,
    State.FAILED: pb.VERIFICATION_STATE_FAILED,
}


class VerificationService(VerificationServiceServicer):
    """See verification.proto."""

    def __init__(
        self, verifications: Verifications, cameras: Callable[[], frozenset[str]], access: Access = ANYBODY
    ) -> None:
        """Creates the service.

        Args:
            verifications: all of them.
            cameras: returns those that have a chain or files.
            access: who may read which camera.
        """
        self._verifications, self._cameras, self._access = verifications, cameras, access

    async def StartVerification(
        self, request: pb.StartVerificationRequest, context: Any
    ) -> pb.StartVerificationResponse:
        """See verification.proto."""
        async with errors_answered(context):
            caller = self._access.caller(context)
            added = await asyncio.to_thread(self._start, request, caller)
            return pb.StartVerificationResponse(verification=_message(added, caller))

    async def ListVerifications(
        self, request: pb.ListVerificationsRequest, context: Any
    ) -> pb.ListVerificationsResponse:
        """See verification.proto."""
        async with errors_answered(context):
            caller = self._access.caller(context)
            found = [each for each in self._verifications.all() if any(map(caller.reads, each.cameras))]
            return pb.ListVerificationsResponse(verifications=[_message(each, caller) for each in found])

    async def CancelVerification(
        self, request: pb.CancelVerificationRequest, context: Any
    ) -> pb.CancelVerificationResponse:
        """See verification.proto."""
        async with errors_answered(context):
            caller = self._access.caller(context)
            found = next((each for each in self._verifications.all() if each.id == request.id), None)
            if found is None or not all(map(caller.reads, found.cameras)):
                raise NotFoundError(f"there is no verification {request.id[:80]!r}")
            cancelled = await asyncio.to_thread(self._verifications.cancel, request.id)
            return pb.CancelVerificationResponse(verification=_message(cancelled, caller))

    def _start(self, request: pb.StartVerificationRequest, caller: Caller) -> Verification:
        cameras = tuple(dict.fromkeys(request.cameras))
        if not 1 <= len(cameras) <= MOST_CAMERAS:
            raise ConfigError(f"StartVerification: name 1 to {MOST_CAMERAS} cameras, not {len(cameras)}")
        for camera in cameras:
            check_camera_name(camera)
            caller.check_reads(camera)
        from_us, to_us = microseconds(request, "from"), microseconds(request, "to")
        if from_us is not None and to_us is not None and from_us > to_us:
            raise ConfigError("StartVerification: 'from' is behind 'to'")
        by = request.by.strip()
        if not by or len(by) > _MOST_BY:
            raise ConfigError(f"StartVerification: 'by' is a text of 1 to {_MOST_BY} characters")
        known = self._cameras()
        if missing := [camera for camera in cameras if camera not in known]:
            raise NotFoundError(f"there is no camera {missing[0]!r} in this store")
        return self._verifications.add(
            cameras=cameras,
            deep=request.deep,
            from_us=from_us,
            to_us=to_us,
            witnesses=_witnesses(request),
            by=f"{by} (certificate of {caller.holder})" if caller.holder else by,
        )


def _witnesses(request: pb.StartVerificationRequest) -> list[str]:
    """The heads that edges have kept, checked.

    Raises:
        ConfigError: a line is none.
    """
    if len(request.witnesses) > MOST_WITNESSES:
        raise ConfigError(f"{len(request.witnesses)} witnessed heads are too many: give {MOST_WITNESSES} at most")
    for number, line in enumerate(request.witnesses, 1):
        try:
            Head.of(line.encode())
        except ProofError as error:
            raise ConfigError(f"line {number} of the witnessed heads is none: {error}") from None
    return list(request.witnesses)


def _message(of: Verification, caller: Caller) -> pb.Verification:
    message = pb.Verification(
        id=of.id,
        cameras=[camera for camera in of.cameras if caller.reads(camera)],
        deep=of.deep,
        witnesses=len(of.witnesses),
        by=of.by,
        created=timestamp(of.created_us),
        state=_STATES[of.state],
        problem=of.problem,
        segments=of.segments,
        expected=of.expected,
        reports=[_report(each) for each in of.reports if caller.reads(each.camera)],
    )
    for name, time_us in (("from", of.from_us), ("to", of.to_us), ("ended", of.ended_us or None)):
        if time_us is not None:
            getattr(message, name).CopyFrom(timestamp(time_us))
    return message


def _report(of: CameraReport) -> pb.CameraReport:
    return pb.CameraReport(
        camera=of.camera,
        holds=of.holds,
        segments=of.segments,
        deleted=of.deleted,
        broken=of.broken,
        more_broken=of.more_broken,
        blocks=of.blocks,
        head=of.head,
        hashed_bytes=of.hashed_bytes,
        records=of.records,
        sealed=of.sealed,
        witnesses=of.witnesses,
    )
