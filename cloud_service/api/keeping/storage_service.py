"""StorageService: what takes the disk, and what other rules would delete."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from cloud_service.access.access import ANYBODY, Access, Caller
from cloud_service.api.answers import errors_answered, timestamp
from cloud_service.database.usage import Tier
from cloud_service.retention.figures.storage import StorageReport, StorageReporter
from cloud_service.retention.figures.what_if import Plan, WhatIf
from icm.errors import StorageError
from icm.v1 import storage_pb2 as pb
from icm.v1.storage_pb2_grpc import StorageServiceServicer


class StorageService(StorageServiceServicer):
    """See storage.proto."""

    def __init__(
        self, reporter: StorageReporter, what_if: WhatIf, most_held: Callable[[], int], access: Access = ANYBODY
    ) -> None:
        """Creates the service.

        Args:
            reporter: looks up what is stored.
            what_if: makes plans.
            most_held: returns how many bytes all holds together may keep; raises OSError.
            access: who may read which camera.
        """
        self._reporter, self._what_if, self._most_held, self._access = reporter, what_if, most_held, access

    async def GetStorage(self, request: pb.GetStorageRequest, context: Any) -> pb.GetStorageResponse:
        """See storage.proto."""
        async with errors_answered(context):
            caller = self._access.caller(context)
            return await asyncio.to_thread(self._storage, caller)

    async def PlanRetention(self, request: pb.PlanRetentionRequest, context: Any) -> pb.PlanRetentionResponse:
        """See storage.proto."""
        async with errors_answered(context):
            self._access.caller(context).check_reads("")
            return _plan_answer(await asyncio.to_thread(self._what_if.plan, request.changes))

    def _storage(self, caller: Caller) -> pb.GetStorageResponse:
        report = self._reporter.report()
        try:
            most_held = self._most_held()
        except OSError as error:
            raise StorageError(f"the store's disk does not say how large it is: {error.strerror}") from None
        answer = pb.GetStorageResponse(
            at=timestamp(report.at_us),
            disk_bytes=report.shares.space.bytes,
            shares=[pb.StorageShare(kind=kind, bytes=size) for kind, size in _shares(report).items()],
            cameras=[_camera(report, camera) for camera in report.cameras if caller.reads(camera)],
            elsewhere_bytes=report.shares.elsewhere,
            bytes_a_day=None if report.growth is None else round(report.growth.bytes_a_day),
            forecasts=[pb.StorageForecast(rule=rule, at=timestamp(at)) for rule, at in report.full_us.items()],
            retention=_state(report),
            hold_limit_bytes=most_held,
            rules=json.dumps(report.settings.model_dump(mode="json")),
        )
        return answer


def _shares(report: StorageReport) -> dict[str, int]:
    """What takes the disk; what is held is apart."""
    shares, tiers = report.shares, report.shares.tiers
    sizes = {
        "records": (tiers.get(Tier.RECORDS, 0) + tiers.get(Tier.KEYFRAMES, 0), report.held.records),
        "video": (tiers.get(Tier.VIDEO, 0), report.held.video),
        "thumbnails": (tiers.get(Tier.THUMBNAILS, 0), report.held.thumbnails),
    }
    # Not more than there is: the two are read one after the other.
    held = {kind: min(size, of_it) for kind, (size, of_it) in sizes.items()}
    found = {kind: size - held[kind] for kind, (size, _) in sizes.items()}
    found |= {"held": sum(held.values()), "index": shares.database, "rendered": shares.cache}
    free = shares.space.free_bytes
    # What grew between two looks is taken from what is free, so that it adds up.
    found["other"] = max(0, shares.foreign)
    found["free"] = free + min(0, shares.foreign)
    return found


def _camera(report: StorageReport, camera: str) -> pb.CameraStorage:
    tiers = []
    for tier, stored in report.cameras[camera].items():
        message = pb.TierStorage(tier=tier.value, bytes=stored.amount.disk_bytes, files=stored.amount.files)
        if stored.oldest_us is not None:
            message.oldest.CopyFrom(timestamp(stored.oldest_us))
        tiers.append(message)
    return pb.CameraStorage(camera=camera, tiers=tiers)


def _state(report: StorageReport) -> pb.RetentionState:
    state = report.state
    message = pb.RetentionState(
        overdue_bytes={str(tier): size for tier, size in state.overdue_bytes.items() if size},
        clock_trusted=state.clock.trusted,
        floor_active=state.floor_active,
        blocked=state.blocked,
        frees_nothing=state.freed_in_vain,
        waiting=state.waiting,
        store_missing=state.store_missing,
    )
    if state.last_success_us:
        message.last_success.CopyFrom(timestamp(state.last_success_us))
    return message


def _plan_answer(plan: Plan) -> pb.PlanRetentionResponse:
    return pb.PlanRetentionResponse(
        deletions=[
            pb.PlannedDeletion(camera=key.camera, tier=key.tier.value, reason=key.reason.value, items=items, bytes=size)
            for key, (items, size) in plan.deletions.items()
        ],
        complete=plan.complete,
        floor_broken=plan.floor_broken,
    )
