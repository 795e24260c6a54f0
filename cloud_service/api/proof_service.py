"""ProofService: what the chains say, for who wants to hold the cloud to it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from cloud_service.access.access import ANYBODY, Access
from cloud_service.database.damage import trouble
from cloud_service.proof.chain_file import ChainFile
from cloud_service.proof.chain_index import ChainIndex
from icm.camera_name import check_camera_name
from icm.errors import IcmError, ProofError, StorageError, StoredDamageError, storage_error
from icm.proof.statements import MOST
from icm.rpc.status import abort
from icm.v1 import proof_pb2 as pb
from icm.v1.proof_pb2_grpc import ProofServiceServicer

MOST_BLOCKS = 256
"""In one answer of GetHeads: about 180 kB."""


class ProofService(ProofServiceServicer):
    """See proof.proto."""

    def __init__(self, folder: Path, index: ChainIndex, access: Access = ANYBODY) -> None:
        """Creates the service.

        Args:
            folder: of the chains.
            access: who may read which camera.
        """
        self._folder, self._index, self._access = folder, index, access

    async def GetHeads(self, request: pb.GetHeadsRequest, context: Any) -> pb.GetHeadsResponse:
        """See proof.proto."""
        try:
            check_camera_name(request.camera)
            self._access.caller(context).check_reads(request.camera)
            return await asyncio.to_thread(self._heads, request.camera, request.first_block)
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
