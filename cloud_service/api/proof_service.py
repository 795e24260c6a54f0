"""ProofService: what the chains say, for who wants to hold the cloud to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from cloud_service.access.access import ANYBODY, Access
from cloud_service.database.damage import trouble
from cloud_service.proof.chain_file import ChainFile
from cloud_service.proof.chain_index import ChainIndex
from icm.camera_name import check_camera_name
from icm.errors import ConfigError, IcmError, ProofError, StorageError, StoredDamageError, storage_error
from icm.proof.keys import PUBLIC_KEY_BYTES
from icm.proof.statements import MOST, EdgeKey
from icm.rpc.status import abort
from icm.v1 import proof_pb2 as pb
from icm.v1.proof_pb2_grpc import ProofServiceServicer

MOST_BLOCKS = 256
"""In one answer of GetHeads: about 180 kB."""


AcceptKey = Callable[[str, bytes, str, str], EdgeKey]
_MOST_BY, _MOST_REASON = 200, 500
"""Characters."""


class ProofService(ProofServiceServicer):
    """See proof.proto."""

    def __init__(self, folder: Path, index: ChainIndex, accept: AcceptKey, access: Access = ANYBODY) -> None:
        """Creates the service.

        Args:
            folder: of the chains.
            accept: notes a camera's new key, by whom, and why.
            access: who may read which camera.
        """
        self._folder, self._index, self._accept, self._access = folder, index, accept, access

    async def GetHeads(self, request: pb.GetHeadsRequest, context: Any) -> pb.GetHeadsResponse:
        """See proof.proto."""
        try:
            check_camera_name(request.camera)
            self._access.caller(context).check_reads(request.camera)
            return await asyncio.to_thread(self._heads, request.camera, request.first_block)
        except IcmError as error:
            await abort(context, error)

    async def AcceptEdgeKey(self, request: pb.AcceptEdgeKeyRequest, context: Any) -> pb.AcceptEdgeKeyResponse:
        """See proof.proto."""
        try:
            check_camera_name(request.camera)
            caller = self._access.caller(context)
            caller.check_reads("")
            if len(request.key) != PUBLIC_KEY_BYTES:
                raise ConfigError(f"an edge's key has {PUBLIC_KEY_BYTES} bytes, and this one {len(request.key)}")
            by, reason = (_text(request, name, most) for name, most in (("by", _MOST_BY), ("reason", _MOST_REASON)))
            by = f"{by} (certificate of {caller.holder})" if caller.holder else by
            entry = await asyncio.to_thread(self._accept, request.camera, request.key, by, reason)
            answer = pb.AcceptEdgeKeyResponse()
            answer.accepted_at.FromMicroseconds(entry.at_us)
            return answer
        except IcmError as error:
            await abort(context, error)

    def _heads(self, camera: str, first: int) -> pb.GetHeadsResponse:
        if first > MOST:
            return pb.GetHeadsResponse()
        file = ChainFile(self._folder, camera)
        try:
            places = self._index.blocks_from(camera, first, MOST_BLOCKS)
            frames = file.frames(places)
            return pb.GetHeadsResponse(
                blocks=[pb.ChainBlock(block=block.line().decode(), head=head.line().decode()) for block, head in frames]
            )
        except SQLAlchemyError as error:
            raise StorageError(f"cannot find the chain of camera {camera!r}: {trouble(error)}") from None
        except OSError as error:
            raise storage_error(error, file.path) from None
        except ProofError:
            raise StoredDamageError(f"the chain of camera {camera!r} is damaged: run icm-cloud verify") from None


def _text(request: pb.AcceptEdgeKeyRequest, name: str, most: int) -> str:
    """A text of a request, as it is kept.

    Raises:
        ConfigError: it is empty or too long.
    """
    text: str = getattr(request, name).strip()
    if not text or len(text) > most:
        raise ConfigError(f"AcceptEdgeKey: {name!r} is a text of 1 to {most} characters, and has {len(text)}")
    return text
