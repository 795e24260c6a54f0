"""Re-detections as clients get them, and ask for them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from icm.client.keeping.verifications import put_times
from icm.client.messages import time_of
from icm.errors import ConfigError
from icm.v1 import redetection_pb2, redetection_pb2_grpc

_CHANGES: Mapping[str, redetection_pb2.RedetectionChange.ValueType] = {
    "pause": redetection_pb2.REDETECTION_CHANGE_PAUSE,
    "resume": redetection_pb2.REDETECTION_CHANGE_RESUME,
    "cancel": redetection_pb2.REDETECTION_CHANGE_CANCEL,
}


@dataclass(frozen=True)
class Redetection:
    """A job that looks at the past again.

    Attributes:
        id: its number.
        state: "waiting", "running", "paused", "done", "cancelled" or "failed".
        problem: why it failed; empty if it did not.
        model: the name that events are filed under.
        cameras: whose frames.
        start: earliest capture time, UTC; None for the oldest.
        end: capture time up to which, UTC, not included; None for the newest.
        every: only frames whose sequence this divides.
        changed: whether frames in which little changed take over what was found in the one before.
        created: when it was made, UTC.
        segments: how many there are.
        done: how many of them were passed.
        lost: how many of those were gone or could not be read whole.
        frames: that have detections by it.
        looked_at: of these, those that the detector looked at.
        skipped: frames that could not be decoded, or that the detector failed on.
        objects: that it found.
    """

    id: int
    state: str
    problem: str
    model: str
    cameras: tuple[str, ...]
    start: datetime | None
    end: datetime | None
    every: int
    changed: bool
    created: datetime
    segments: int
    done: int
    lost: int
    frames: int
    looked_at: int
    skipped: int
    objects: int

    @property
    def is_open(self) -> bool:
        """Whether something happens to it by itself."""
        return self.state in ("waiting", "running")

    @staticmethod
    def of(message: redetection_pb2.RedetectionJob) -> Redetection:
        return Redetection(
            id=message.id,
            state=message.state,
            problem=message.problem,
            model=message.model,
            cameras=tuple(message.cameras),
            start=time_of(getattr(message, "from")) if message.HasField("from") else None,
            end=time_of(message.to) if message.HasField("to") else None,
            every=message.every,
            changed=message.changed,
            created=time_of(message.created),
            segments=message.segments,
            done=message.done,
            lost=message.lost,
            frames=message.frames,
            looked_at=message.looked_at,
            skipped=message.skipped,
            objects=message.objects,
        )


class RedetectionCalls(ABC):
    """What ``CloudClient`` does about re-detections."""

    _channel: Any

    @abstractmethod
    def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what may reach the cloud twice."""

    @abstractmethod
    def _once(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what must not reach the cloud twice."""

    def weights(self) -> list[str]:
        """The weights that a re-detection may use, by the names that events are filed under.

        Raises:
            UnreachableError: as of ``CloudClient.cameras``.
            UnauthenticatedError: as of ``CloudClient.cameras``.
        """
        stub = redetection_pb2_grpc.RedetectionServiceStub(self._channel)
        return list(self._ask(stub.ListWeights, redetection_pb2.ListWeightsRequest()).models)

    def redetect(
        self,
        cameras: Sequence[str],
        model: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        every: int = 1,
        changed: bool = False,
    ) -> Redetection:
        """Has stored frames looked at again, with other weights; results are kept beside those of others.

        Args:
            cameras: whose frames.
            model: one of ``weights``.
            start: earliest capture time, with its time zone; None for the oldest.
            end: capture time up to which, not included; None for the newest.
            every: only frames whose sequence this divides.
            changed: whether frames in which little changed take over what was found in the one before.

        Raises:
            ConfigError: one of them cannot be, or there is nothing to look at.
            NotFoundError: there are no such weights.
            UnreachableError: as of ``CloudClient.cameras``.
            UnauthenticatedError: as of ``CloudClient.cameras``.
            PermissionDeniedError: as of ``CloudClient.cameras``.
        """
        stub = redetection_pb2_grpc.RedetectionServiceStub(self._channel)
        request = _add_request(cameras, model, start, end, every, changed)
        return Redetection.of(self._once(stub.AddRedetection, request).job)

    def redetections(self) -> list[Redetection]:
        """All jobs, the newest first.

        Raises:
            UnreachableError: as of ``CloudClient.cameras``.
            UnauthenticatedError: as of ``CloudClient.cameras``.
        """
        stub = redetection_pb2_grpc.RedetectionServiceStub(self._channel)
        answer = self._ask(stub.ListRedetections, redetection_pb2.ListRedetectionsRequest())
        return [Redetection.of(each) for each in answer.jobs]

    def change_redetection(self, number: int, change: str) -> Redetection:
        """Pauses, resumes or cancels a job; what it has found stays.

        Args:
            number: the job's.
            change: "pause", "resume" or "cancel".

        Raises:
            ConfigError: there is no such change, or the job is in a state that does not allow it.
            NotFoundError: there is no such job.
            UnreachableError: as of ``CloudClient.cameras``.
            UnauthenticatedError: as of ``CloudClient.cameras``.
        """
        stub = redetection_pb2_grpc.RedetectionServiceStub(self._channel)
        return Redetection.of(self._once(stub.ChangeRedetection, _change_request(number, change)).job)


class AsyncRedetectionCalls(ABC):
    """What ``AsyncCloudClient`` does about re-detections."""

    _channel: Any

    @abstractmethod
    async def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what may reach the cloud twice."""

    @abstractmethod
    async def _once(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what must not reach the cloud twice."""

    async def weights(self) -> list[str]:
        """As ``CloudClient.weights``."""
        stub: Any = redetection_pb2_grpc.RedetectionServiceStub(self._channel)
        return list((await self._ask(stub.ListWeights, redetection_pb2.ListWeightsRequest())).models)

    async def redetect(
        self,
        cameras: Sequence[str],
        model: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        every: int = 1,
        changed: bool = False,
    ) -> Redetection:
        """As ``CloudClient.redetect``."""
        stub: Any = redetection_pb2_grpc.RedetectionServiceStub(self._channel)
        request = _add_request(cameras, model, start, end, every, changed)
        return Redetection.of((await self._once(stub.AddRedetection, request)).job)

    async def redetections(self) -> list[Redetection]:
        """As ``CloudClient.redetections``."""
        stub: Any = redetection_pb2_grpc.RedetectionServiceStub(self._channel)
        answer = await self._ask(stub.ListRedetections, redetection_pb2.ListRedetectionsRequest())
        return [Redetection.of(each) for each in answer.jobs]

    async def change_redetection(self, number: int, change: str) -> Redetection:
        """As ``CloudClient.change_redetection``."""
        stub: Any = redetection_pb2_grpc.RedetectionServiceStub(self._channel)
        return Redetection.of((await self._once(stub.ChangeRedetection, _change_request(number, change))).job)


def _add_request(
    cameras: Sequence[str], model: str, start: datetime | None, end: datetime | None, every: int, changed: bool
) -> redetection_pb2.AddRedetectionRequest:
    """Raises ConfigError where a time has no time zone, or ``every`` cannot be."""
    if not 1 <= every < 1 << 32:
        raise ConfigError(f"every {every} frames cannot be: give 1 for all of them")
    request = redetection_pb2.AddRedetectionRequest(cameras=cameras, model=model, every=every, changed=changed)
    put_times(request, start, end)
    return request


def _change_request(number: int, change: str) -> redetection_pb2.ChangeRedetectionRequest:
    if change not in _CHANGES:
        raise ConfigError(f"there is no change {change!r} of a re-detection: say {', '.join(_CHANGES)}")
    if not 0 <= number < 1 << 64:
        raise ConfigError(f"there can be no re-detection {number}")
    return redetection_pb2.ChangeRedetectionRequest(id=number, change=_CHANGES[change])
