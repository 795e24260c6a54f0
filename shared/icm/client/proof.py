"""Keys of edges that clients vouch for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import Any

from icm.client.messages import time_of
from icm.v1 import proof_pb2, proof_pb2_grpc


class ProofCalls(ABC):
    """What ``CloudClient`` does about chains."""

    _proof: proof_pb2_grpc.ProofServiceStub

    @abstractmethod
    def _once(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what must not reach the cloud twice."""

    def accept_edge_key(self, camera: str, key: str, *, by: str, reason: str) -> datetime:
        """Notes in a camera's chain that its edge seals with another key from now on.

        Args:
            camera: its name.
            key: the public key, 64 hexadecimal digits, as ``icm-edge public-key`` prints it.
            by: who vouches for it.
            reason: why it takes the place of the one before.

        Returns:
            When it was noted, UTC.

        Raises:
            ConfigError: one of them cannot be, or it is the key already.
            NotFoundError: there is no such camera.
            UnreachableError: as of ``CloudClient.cameras``.
            UnauthenticatedError: as of ``CloudClient.cameras``.
            PermissionDeniedError: the client's certificate is not a reader's.
        """
        answer = self._once(self._proof.AcceptEdgeKey, _accept_request(camera, key, by, reason))
        return time_of(answer.accepted_at)


class AsyncProofCalls(ABC):
    """What ``AsyncCloudClient`` does about chains."""

    _proof: Any

    @abstractmethod
    async def _once(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what must not reach the cloud twice."""

    async def accept_edge_key(self, camera: str, key: str, *, by: str, reason: str) -> datetime:
        """As ``CloudClient.accept_edge_key``."""
        answer = await self._once(self._proof.AcceptEdgeKey, _accept_request(camera, key, by, reason))
        return time_of(answer.accepted_at)


def _accept_request(camera: str, key: str, by: str, reason: str) -> proof_pb2.AcceptEdgeKeyRequest:
    from icm.proof.keys import public_key_of

    return proof_pb2.AcceptEdgeKeyRequest(camera=camera, key=public_key_of(key), by=by, reason=reason)
