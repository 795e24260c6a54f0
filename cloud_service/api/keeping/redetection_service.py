"""RedetectionService: jobs that look at the past again."""

from __future__ import annotations

import asyncio
from typing import Any

from cloud_service.access.access import ANYBODY, Access, Caller
from cloud_service.api.answers import errors_answered, microseconds, timestamp
from cloud_service.redetection.jobs import Counts, Job, Order, RedetectionJobs
from cloud_service.redetection.shelf import WeightsShelf
from icm.camera_name import check_camera_name
from icm.errors import ConfigError, NotFoundError
from icm.service.clock import Clock
from icm.v1 import redetection_pb2 as pb
from icm.v1.redetection_pb2_grpc import RedetectionServiceServicer

_MOST_CAMERAS = 1000
_MOST_EVERY = 1_000_000
_FIRST_US, _LAST_US = 0, (1 << 63) - 1


class RedetectionService(RedetectionServiceServicer):
    """See redetection.proto."""

    def __init__(self, jobs: RedetectionJobs, shelf: WeightsShelf, clock: Clock, access: Access = ANYBODY) -> None:
        """Creates the service.

        Args:
            jobs: all of them.
            shelf: the weights that may be asked for.
            clock: for when jobs were made.
            access: who may read which camera.
        """
        self._jobs, self._shelf, self._clock, self._access = jobs, shelf, clock, access

    async def ListWeights(self, request: pb.ListWeightsRequest, context: Any) -> pb.ListWeightsResponse:
        """See redetection.proto."""
        async with errors_answered(context):
            self._access.caller(context)
            return pb.ListWeightsResponse(models=await asyncio.to_thread(lambda: list(self._shelf.all(self._known()))))

    async def AddRedetection(self, request: pb.AddRedetectionRequest, context: Any) -> pb.AddRedetectionResponse:
        """See redetection.proto."""
        async with errors_answered(context):
            caller = self._access.caller(context)
            return pb.AddRedetectionResponse(job=await asyncio.to_thread(self._add, request, caller))

    async def ListRedetections(self, request: pb.ListRedetectionsRequest, context: Any) -> pb.ListRedetectionsResponse:
        """See redetection.proto."""
        async with errors_answered(context):
            caller = self._access.caller(context)
            found = await asyncio.to_thread(self._jobs.overview)
            return pb.ListRedetectionsResponse(
                jobs=[_message(job, counts) for job, counts in found if all(map(caller.reads, job.cameras))]
            )

    async def ChangeRedetection(
        self, request: pb.ChangeRedetectionRequest, context: Any
    ) -> pb.ChangeRedetectionResponse:
        """See redetection.proto."""
        async with errors_answered(context):
            caller = self._access.caller(context)
            return pb.ChangeRedetectionResponse(job=await asyncio.to_thread(self._change, request, caller))

    def _add(self, request: pb.AddRedetectionRequest, caller: Caller) -> pb.RedetectionJob:
        cameras = tuple(dict.fromkeys(request.cameras))
        if not 1 <= len(cameras) <= _MOST_CAMERAS:
            raise ConfigError(f"AddRedetection: name 1 to {_MOST_CAMERAS} cameras, not {len(cameras)}")
        for camera in cameras:
            check_camera_name(camera)
            caller.check_reads(camera)
        from_us, to_us = microseconds(request, "from"), microseconds(request, "to")
        from_us, to_us = _FIRST_US if from_us is None else from_us, _LAST_US if to_us is None else to_us
        if from_us >= to_us:
            raise ConfigError("AddRedetection: 'from' is not before 'to'")
        every = request.every or 1
        if every > _MOST_EVERY:
            raise ConfigError(f"AddRedetection: 'every' is {every}, and {_MOST_EVERY} at most")
        weights = self._shelf.get(request.model, self._known())
        order = Order(cameras, from_us, to_us, weights, every, request.changed)
        number, _ = self._jobs.add(order, self._clock.now_us())
        return self._of(number)

    def _change(self, request: pb.ChangeRedetectionRequest, caller: Caller) -> pb.RedetectionJob:
        known = next((job for job in self._known() if job.id == request.id), None)
        if known is None or not all(map(caller.reads, known.cameras)):
            raise NotFoundError(f"there is no re-detection {request.id}")
        changes = {
            pb.REDETECTION_CHANGE_PAUSE: self._jobs.pause,
            pb.REDETECTION_CHANGE_RESUME: self._jobs.resume,
            pb.REDETECTION_CHANGE_CANCEL: self._jobs.cancel,
        }
        if request.change not in changes:
            raise ConfigError(f"ChangeRedetection: there is no change {request.change}")
        changes[request.change](known.id)
        return self._of(known.id)

    def _known(self) -> list[Job]:
        return [job for job, _ in self._jobs.overview()]

    def _of(self, number: int) -> pb.RedetectionJob:
        return next(_message(job, counts) for job, counts in self._jobs.overview() if job.id == number)


def _message(job: Job, counts: Counts) -> pb.RedetectionJob:
    message = pb.RedetectionJob(
        id=job.id,
        state=job.state.value,
        problem=job.problem,
        model=job.model,
        cameras=job.cameras,
        every=job.every,
        changed=job.changed,
        created=timestamp(job.created_us),
        segments=counts.segments,
        done=counts.done,
        lost=counts.lost,
        frames=counts.frames,
        looked_at=counts.looked_at,
        skipped=counts.skipped,
        objects=counts.objects,
    )
    if job.from_us > _FIRST_US:
        getattr(message, "from").CopyFrom(timestamp(job.from_us))
    if job.to_us < _LAST_US:
        message.to.CopyFrom(timestamp(job.to_us))
    return message
