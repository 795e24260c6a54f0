"""Storage as clients get it, and plans of other rules."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from icm.client.messages import time_of
from icm.errors import ProtocolError
from icm.v1 import storage_pb2, storage_pb2_grpc


@dataclass(frozen=True)
class StoredTier:
    """One tier of a camera.

    Attributes:
        tier: "records", "video", "thumbnails" or "index".
        bytes: on the disk; 0 for the index, which is in the database.
        files: how many.
        oldest: what the age of the oldest counts from, UTC; None if there is none.
    """

    tier: str
    bytes: int
    files: int
    oldest: datetime | None


@dataclass(frozen=True)
class Storage:
    """What a cloud stores, and how retention fares.

    Attributes:
        at: when this was looked up, UTC.
        disk_bytes: the size of the file system that the records are on.
        shares: bytes by what takes it ("records", "held", "video", "thumbnails", "index", "rendered", "other", "free"),
            which add up to it.
        cameras: tiers that have something, by camera.
        elsewhere_bytes: video and thumbnails that lie on another file system, or on an object store.
        bytes_a_day: what arrives; None before the first day is over.
        full: when limits are reached, UTC, by their names ("disk", "total").
        last_success: when a pass of retention ended well, UTC; None if none has.
        overdue_bytes: what a limit of age says should be gone and is not, by tier.
        clock_trusted: whether ages go by the machine's clock.
        floor_active: whether things go as the disk is too full.
        blocked: whether no record is taken any more.
        frees_nothing: whether deletions free nothing.
        waiting: whether changed rules wait to be applied.
        store_missing: whether the store or its archive is not where it should be.
        hold_limit_bytes: what all holds together may keep.
        rules: the section ``retention`` of the settings that hold.
    """

    at: datetime
    disk_bytes: int
    shares: Mapping[str, int]
    cameras: Mapping[str, tuple[StoredTier, ...]]
    elsewhere_bytes: int
    bytes_a_day: int | None
    full: Mapping[str, datetime]
    last_success: datetime | None
    overdue_bytes: Mapping[str, int]
    clock_trusted: bool
    floor_active: bool
    blocked: bool
    frees_nothing: bool
    waiting: bool
    store_missing: bool
    hold_limit_bytes: int
    rules: Mapping[str, Any]

    @staticmethod
    def of(message: storage_pb2.GetStorageResponse) -> Storage:
        """Raises ProtocolError: the message cannot be."""
        try:
            rules = json.loads(message.rules)
        except ValueError:
            raise ProtocolError("the cloud tells its rules in a way that cannot be read") from None
        state = message.retention
        return Storage(
            at=time_of(message.at),
            disk_bytes=message.disk_bytes,
            shares={share.kind: share.bytes for share in message.shares},
            cameras={camera.camera: tuple(map(_tier, camera.tiers)) for camera in message.cameras},
            elsewhere_bytes=message.elsewhere_bytes,
            bytes_a_day=message.bytes_a_day if message.HasField("bytes_a_day") else None,
            full={each.rule: time_of(each.at) for each in message.forecasts},
            last_success=time_of(state.last_success) if state.HasField("last_success") else None,
            overdue_bytes=dict(state.overdue_bytes),
            clock_trusted=state.clock_trusted,
            floor_active=state.floor_active,
            blocked=state.blocked,
            frees_nothing=state.frees_nothing,
            waiting=state.waiting,
            store_missing=state.store_missing,
            hold_limit_bytes=message.hold_limit_bytes,
            rules=rules,
        )


@dataclass(frozen=True)
class PlannedDeletion:
    """What would go of a camera's tier for a reason.

    Attributes:
        camera: whose.
        tier: "records", "stills", "video", "thumbnails" or "index".
        reason: the rule's kind, as "max_age".
        items: how many segments.
        bytes: what the disk would get back; of the index what the database would.
    """

    camera: str
    tier: str
    reason: str
    items: int
    bytes: int


@dataclass(frozen=True)
class RetentionPlan:
    """What would go if rules were others.

    Attributes:
        deletions: by camera, tier and reason.
        complete: whether this is all; else it is at least this much.
        floor_broken: whether less would be free than should be all the same.
    """

    deletions: tuple[PlannedDeletion, ...]
    complete: bool
    floor_broken: bool

    @staticmethod
    def of(message: storage_pb2.PlanRetentionResponse) -> RetentionPlan:
        return RetentionPlan(
            tuple(
                PlannedDeletion(each.camera, each.tier, each.reason, each.items, each.bytes)
                for each in message.deletions
            ),
            message.complete,
            message.floor_broken,
        )


class StorageCalls(ABC):
    """What ``CloudClient`` does about storage."""

    _channel: Any

    @abstractmethod
    def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what may reach the cloud twice."""

    def storage(self) -> Storage:
        """What takes the disk, how old it is, and how retention fares; ten seconds old at most.

        Raises:
            UnreachableError: as of ``CloudClient.cameras``.
            UnauthenticatedError: as of ``CloudClient.cameras``.
        """
        stub = storage_pb2_grpc.StorageServiceStub(self._channel)
        return Storage.of(self._ask(stub.GetStorage, storage_pb2.GetStorageRequest()))

    def plan_retention(self, changes: Sequence[str] = ()) -> RetentionPlan:
        """What would go now if rules were others; nothing is deleted, and no rule changes.

        Args:
            changes: each as KEY=VALUE below the section ``retention`` of the cloud's settings, such as
                "video.max_age_seconds=2592000".

        Raises:
            ConfigError: there can be no such rule.
            UnreachableError: as of ``CloudClient.cameras``.
            UnauthenticatedError: as of ``CloudClient.cameras``.
            PermissionDeniedError: the client's certificate is not a reader's.
        """
        stub = storage_pb2_grpc.StorageServiceStub(self._channel)
        request = storage_pb2.PlanRetentionRequest(changes=changes)
        return RetentionPlan.of(self._ask(stub.PlanRetention, request))


class AsyncStorageCalls(ABC):
    """What ``AsyncCloudClient`` does about storage."""

    _channel: Any

    @abstractmethod
    async def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what may reach the cloud twice."""

    async def storage(self) -> Storage:
        """As ``CloudClient.storage``."""
        stub: Any = storage_pb2_grpc.StorageServiceStub(self._channel)
        return Storage.of(await self._ask(stub.GetStorage, storage_pb2.GetStorageRequest()))

    async def plan_retention(self, changes: Sequence[str] = ()) -> RetentionPlan:
        """As ``CloudClient.plan_retention``."""
        stub: Any = storage_pb2_grpc.StorageServiceStub(self._channel)
        request = storage_pb2.PlanRetentionRequest(changes=changes)
        return RetentionPlan.of(await self._ask(stub.PlanRetention, request))


def _tier(message: storage_pb2.TierStorage) -> StoredTier:
    oldest = time_of(message.oldest) if message.HasField("oldest") else None
    return StoredTier(message.tier, message.bytes, message.files, oldest)
