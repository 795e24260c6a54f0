"""What the services of this room answer with."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.exc import SQLAlchemyError

from cloud_service.clips.request import ClipDecoder
from icm.errors import ConfigError, IcmError, StorageError
from icm.rpc.status import abort
from icm.v1.clip_pb2 import CLIP_DECODER_BASE, CLIP_DECODER_FINETUNED, CLIP_DECODER_UNSPECIFIED

log = logging.getLogger(__name__)
_DECODERS: dict[int, ClipDecoder] = {
    CLIP_DECODER_UNSPECIFIED: ClipDecoder.FINETUNED,
    CLIP_DECODER_FINETUNED: ClipDecoder.FINETUNED,
    CLIP_DECODER_BASE: ClipDecoder.BASE,
}


@asynccontextmanager
async def errors_answered(context: Any) -> AsyncIterator[None]:
    """Ends the call with the status of what the block raises."""
    try:
        yield
    except IcmError as error:
        await abort(context, error)
    except SQLAlchemyError as error:
        log.error("the database does not answer: %s", error)
        await abort(context, StorageError("the cloud's database does not answer; its log says why"))


def timestamp(microseconds: int) -> Timestamp:
    """A time since 1970 as the contracts put it."""
    stamp = Timestamp()
    stamp.FromMicroseconds(microseconds)
    return stamp


def duration(microseconds: int) -> Duration:
    """A length of time as the contracts put it."""
    length = Duration()
    length.FromMicroseconds(microseconds)
    return length


def microseconds(request: Message, field: str) -> int | None:
    """A time of a request; None if it was not set.

    Raises:
        ConfigError: it is no time.
    """
    if not request.HasField(field):
        return None
    try:
        return int(getattr(request, field).ToMicroseconds())
    except ValueError as error:
        name = request.DESCRIPTOR.name.removesuffix("Request")
        raise ConfigError(f"{name}: {field!r} is no time: {error}") from None


def decoder_of(request: Any) -> ClipDecoder:
    """The field ``decoder`` of a request.

    Raises:
        ConfigError: there is no such decoder.
    """
    if request.decoder not in _DECODERS:
        name = request.DESCRIPTOR.name.removesuffix("Request")
        raise ConfigError(f"{name}: there is no decoder {request.decoder}")
    return _DECODERS[request.decoder]
