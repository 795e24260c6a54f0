"""Heads of the cloud's chains as clients get them, and keys of edges that they vouch for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from icm.client.messages import time_of
from icm.errors import ConfigError, ProofError
from icm.v1 import proof_pb2, proof_pb2_grpc


@dataclass(frozen=True)
class ChainHead:
    """Stands for all that a cloud had sealed and deleted of a camera by then; docs/evidence.md says what it proves.

    Attributes:
        camera: whose chain it is.
        store: name of the record store.
        block: number of the chain's block that it is of, from 1 on.
        signed: when, by the cloud's clock, UTC.
        hash: of the block, 64 hexadecimal digits.
        key: the public key that it is signed with, 64 hexadecimal digits.
        line: the head as a file of heads has it, such as ``icm-cloud verify --witness`` reads.
    """

    camera: str
    store: str
    block: int
    signed: datetime
    hash: str
    key: str
    line: str


class ProofCalls(ABC):
    """What ``CloudClient`` does about chains."""

    _proof: proof_pb2_grpc.ProofServiceStub

    @abstractmethod
    def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what may reach the cloud twice."""

    @abstractmethod
    def _once(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what must not reach the cloud twice."""

    def heads(self, camera: str, first_block: int = 1) -> Iterator[ChainHead]:
        """The heads of a camera's chain, oldest first, asked for in pages while they are taken.

        Each was checked: it is signed, and follows the one before. Whoever keeps one can hold the cloud to it later.

        Args:
            camera: its name.
            first_block: number of the block to begin with.

        Raises:
            ConfigError: there can be no such camera or block.
            ProofError: a head is not signed by the key that it names, or does not follow the one before.
            UnreachableError: as of ``CloudClient.cameras``.
            UnauthenticatedError: as of ``CloudClient.cameras``.
            PermissionDeniedError: as of ``CloudClient.cameras``.
        """
        pages = _Pages(camera, first_block)
        while heads := pages.take(self._ask(self._proof.GetHeads, pages.request())):
            yield from heads

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
    async def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what may reach the cloud twice."""

    @abstractmethod
    async def _once(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what must not reach the cloud twice."""

    async def heads(self, camera: str, first_block: int = 1) -> AsyncIterator[ChainHead]:
        """As ``CloudClient.heads``."""
        pages = _Pages(camera, first_block)
        while heads := pages.take(await self._ask(self._proof.GetHeads, pages.request())):
            for head in heads:
                yield head

    async def accept_edge_key(self, camera: str, key: str, *, by: str, reason: str) -> datetime:
        """As ``CloudClient.accept_edge_key``."""
        answer = await self._once(self._proof.AcceptEdgeKey, _accept_request(camera, key, by, reason))
        return time_of(answer.accepted_at)


class _Pages:
    """Asks for the blocks of a chain, and checks that they follow each other."""

    def __init__(self, camera: str, first_block: int) -> None:
        if not 1 <= first_block < 1 << 63:
            raise ConfigError(f"blocks of a chain are numbered from 1 on: there is none of number {first_block}")
        self._camera, self._next = camera, first_block
        self._before: Any = None

    def request(self) -> proof_pb2.GetHeadsRequest:
        return proof_pb2.GetHeadsRequest(camera=self._camera, first_block=self._next)

    def take(self, answer: proof_pb2.GetHeadsResponse) -> list[ChainHead]:
        """The heads of a page; none: there are no more.

        Raises:
            ProofError: one does not hold.
        """
        from icm.proof.chain import Block, Head, Link  # a client that asks for no heads needs no cryptography

        found = []
        for each in answer.blocks:
            block, head = Block.of(each.block.encode()), Head.of(each.head.encode())
            if block.number != self._next or block.camera != self._camera:
                raise ProofError(
                    f"the cloud shows {block.name} where block {self._next} of camera {self._camera} was asked for"
                )
            Link(block, (), head).check_frame(self._before)
            self._before, self._next = head, block.number + 1
            signed = datetime.fromtimestamp(head.signed_us / 1e6, UTC)
            found.append(
                ChainHead(head.camera, head.store, head.block, signed, head.hash.hex(), head.key.hex(), each.head)
            )
        return found


def _accept_request(camera: str, key: str, by: str, reason: str) -> proof_pb2.AcceptEdgeKeyRequest:
    from icm.proof.keys import public_key_of

    return proof_pb2.AcceptEdgeKeyRequest(camera=camera, key=public_key_of(key), by=by, reason=reason)
