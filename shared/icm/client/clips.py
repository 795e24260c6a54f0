"""Clips as clients get them: what comes of a call to ReadClip."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, BinaryIO

import grpc

from icm.client.connection import Connection
from icm.client.messages import time_of, utc
from icm.errors import ConfigError, ProtocolError
from icm.rpc.status import error_of
from icm.v1 import clip_pb2, clip_pb2_grpc

_DECODERS = {"finetuned": clip_pb2.CLIP_DECODER_FINETUNED, "base": clip_pb2.CLIP_DECODER_BASE}
_GAPS_KEY = "icm-clip-gaps-bin"


@dataclass(frozen=True)
class ClipGap:
    """Neighbouring frames that are not in a clip, though they were stored.

    Attributes:
        first: capture time of the first, UTC, as far as that is known.
        last: of the last.
        frames: how many there are; of a segment that cannot be read, all of its frames.
        reason: why, for a person.
    """

    first: datetime
    last: datetime
    frames: int
    reason: str


@dataclass(frozen=True)
class Clip:
    """A clip that was written.

    Attributes:
        start: capture time of its first frame, UTC.
        duration: from its first frame to the end of its last.
        frames: how many it has.
        bytes: size of the MP4 file.
        gaps: what is not in it, in order, 20 at most.
        more_gaps: how many there are beyond these.
    """

    start: datetime
    duration: timedelta
    frames: int
    bytes: int
    gaps: tuple[ClipGap, ...]
    more_gaps: int


def clip_request(camera: str, start: datetime, end: datetime, decoder: str, boxes: bool) -> clip_pb2.ReadClipRequest:
    """The request for a clip, whose times are of UTC.

    Raises:
        ConfigError: there is no such decoder.
    """
    if decoder not in _DECODERS:
        raise ConfigError(f"there is no decoder {decoder!r}: give one of {', '.join(sorted(_DECODERS))}")
    request = clip_pb2.ReadClipRequest(camera=camera, decoder=_DECODERS[decoder], boxes=boxes)
    getattr(request, "from").FromDatetime(start)
    request.to.FromDatetime(end)
    return request


class ClipAnswer:
    """Takes one call's messages in.

    Attributes:
        begun: whether bytes of the file came.
    """

    def __init__(self, progress: Callable[[float], None] | None) -> None:
        """Takes in nothing yet.

        Args:
            progress: told how far the clip is, 0 to 1; None if nobody wants to know.
        """
        self._progress = progress
        self._info: clip_pb2.ClipInfo | None = None
        self._bytes = 0
        self.begun = False

    def take(self, message: clip_pb2.ReadClipResponse) -> bytes:
        """Takes a message; returns the bytes of the file that it has."""
        kind = message.WhichOneof("piece")
        if kind == "info":
            self._info = message.info
        if kind == "progress" and self._progress is not None:
            total = message.progress.total.ToMicroseconds()
            self._progress(message.progress.done.ToMicroseconds() / total if total else 0.0)
        if kind != "data":
            return b""
        self.begun = True
        self._bytes += len(message.data)
        return message.data

    def clip(self, metadata: Iterable[tuple[str, Any]] | None) -> Clip:
        """The clip, of which all messages came.

        Args:
            metadata: trailing metadata of the call.

        Raises:
            ProtocolError: the file is not all there.
        """
        if self._info is None or self._info.bytes != self._bytes:
            raise ProtocolError(f"the cloud ended a clip after {self._bytes} bytes, which are not all of it")
        told = clip_pb2.ClipGaps()
        for key, value in metadata or ():
            if key == _GAPS_KEY:
                told.MergeFromString(value)
        return Clip(
            start=time_of(self._info.start),
            duration=timedelta(microseconds=self._info.duration.ToMicroseconds()),
            frames=self._info.frames,
            bytes=self._info.bytes,
            gaps=tuple(ClipGap(time_of(of.first), time_of(of.last), of.frames, of.reason) for of in told.gaps),
            more_gaps=told.more,
        )


class ClipCalls:
    """What ``CloudClient`` does about clips."""

    _connection: Connection
    _clips: clip_pb2_grpc.ClipServiceStub

    def clip(
        self,
        camera: str,
        start: datetime,
        end: datetime,
        file: BinaryIO,
        *,
        decoder: str = "finetuned",
        boxes: bool = False,
        progress: Callable[[float], None] | None = None,
    ) -> Clip:
        """Writes one camera's frames of a stretch of time as an MP4 file.

        It takes as long as the cloud takes to render what is in no video of its archive; ``timeout`` bounds the time
        until it first answers.

        Args:
            camera: its name.
            start: frames captured at or after this, with its time zone.
            end: frames captured before this.
            file: where the bytes of the file go; after an error it may have some of them.
            decoder: what turns records into pictures: "finetuned", or "base" for that from before its finetuning.
            boxes: whether to draw what was detected into the pictures.
            progress: told how far the clip is, 0 to 1.

        Raises:
            ConfigError: a time has no time zone, or there can be no such clip.
            NotFoundError: there is no such camera, or nothing is stored of that time.
            StoredDamageError: all that is stored of that time is damaged.
            UnreachableError: as of ``CloudClient.cameras``, or the connection broke.
            UnauthenticatedError: as of ``CloudClient.cameras``.
            PermissionDeniedError: as of ``CloudClient.cameras``.
        """
        request = clip_request(camera, utc(start), utc(end), decoder, boxes)
        attempts = self._connection.attempts(sent_twice=True)
        while True:
            answer = ClipAnswer(progress)
            call = self._clips.ReadClip(request, metadata=self._connection.metadata)
            try:
                for message in call:
                    attempts.renew()
                    file.write(answer.take(message))
                return answer.clip(call.trailing_metadata())
            except grpc.RpcError as error:
                if answer.begun:
                    raise error_of(error, self._connection.address) from None
                time.sleep(attempts.wait_after(error))
            finally:
                call.cancel()


class AsyncClipCalls:
    """What ``AsyncCloudClient`` does about clips."""

    _connection: Connection
    _clips: Any

    async def clip(
        self,
        camera: str,
        start: datetime,
        end: datetime,
        file: BinaryIO,
        *,
        decoder: str = "finetuned",
        boxes: bool = False,
        progress: Callable[[float], None] | None = None,
    ) -> Clip:
        """As ``CloudClient.clip``."""
        request = clip_request(camera, utc(start), utc(end), decoder, boxes)
        attempts = self._connection.attempts(sent_twice=True)
        while True:
            answer = ClipAnswer(progress)
            call = self._clips.ReadClip(request, metadata=self._connection.metadata)
            try:
                async for message in call:
                    attempts.renew()
                    if data := answer.take(message):
                        await asyncio.to_thread(file.write, data)
                return answer.clip(await call.trailing_metadata())
            except grpc.RpcError as error:
                if answer.begun:
                    raise error_of(error, self._connection.address) from None
                await asyncio.sleep(attempts.wait_after(error))
            finally:
                call.cancel()
