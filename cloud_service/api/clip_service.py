"""ClipService: stretches of a camera's past as video files."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack, aclosing
from functools import partial
from pathlib import Path
from typing import Any

from cloud_service.access.access import ANYBODY, Access
from cloud_service.api.answers import decoder_of, duration, errors_answered, microseconds, timestamp
from cloud_service.clips.cache import RenderCache
from cloud_service.clips.making import Clip, ClipMaker
from cloud_service.clips.request import ClipRequest, Gap
from cloud_service.clips.sources import SourceFinder, Sources
from cloud_service.clips.turns import AT_ONCE, Turns
from cloud_service.feedback.segment_leases import Renew, SegmentLeases
from icm.errors import ConfigError, NotFoundError, StorageError, storage_error
from icm.rpc.limits import client_of
from icm.v1 import clip_pb2 as pb
from icm.v1.clip_pb2_grpc import ClipServiceServicer

GAPS_KEY = "icm-clip-gaps-bin"
MOST_GAPS = 20
"""In an answer: trailing metadata have a few kilobytes."""
_MOST_REASON = 160
"""Characters of each."""
_DATA_BYTES = 256 << 10
"""Of the file, in one message."""


class ClipService(ClipServiceServicer):
    """See clip.proto."""

    def __init__(
        self,
        maker: ClipMaker,
        sources: SourceFinder,
        leases: SegmentLeases,
        cache: RenderCache,
        access: Access = ANYBODY,
    ) -> None:
        """Creates the service.

        Args:
            maker: makes the clips.
            sources: finds what they are made of.
            leases: of the store's segments.
            cache: where a clip lies while it is made and sent.
            access: who may read which camera.
        """
        self._maker, self._sources, self._leases = maker, sources, leases
        self._cache, self._access = cache, access
        self._turns = Turns()
        # Threads of their own: what is cut out of videos is soon done, and waits for nobody who renders.
        self._cutting = ThreadPoolExecutor(AT_ONCE, "cut-clip")
        self._rendering = ThreadPoolExecutor(AT_ONCE, "render-clip")

    async def ReadClip(self, request: pb.ReadClipRequest, context: Any) -> AsyncIterator[pb.ReadClipResponse]:
        """See clip.proto."""
        async with errors_answered(context):
            self._access.caller(context).check_reads(request.camera)
            wanted = _clip_request(request)
            stretch = self._leases.stretch(wanted.camera, wanted.from_us, wanted.to_us)
            with self._cache.clip() as path:
                with ExitStack() as leased:
                    renew = await asyncio.to_thread(leased.enter_context, stretch)
                    making = _Making(self._maker, wanted, path, renew)
                    async with aclosing(self._made(making, client_of(context))) as told:
                        async for progress in told:
                            yield progress
                await asyncio.to_thread(self._cache.make_room)
                clip = making.clip
                context.set_trailing_metadata(_trailing(clip.gaps))
                size = await asyncio.to_thread(_size, path)
                info = pb.ClipInfo(
                    start=timestamp(clip.cut.start_us),
                    duration=duration(clip.cut.duration_us),
                    frames=clip.cut.frames,
                    bytes=size,
                )
                yield pb.ReadClipResponse(info=info)
                for offset in range(0, size, _DATA_BYTES):
                    yield pb.ReadClipResponse(data=await asyncio.to_thread(_part, path, offset))

    async def _made(self, making: _Making, caller: str) -> AsyncGenerator[pb.ReadClipResponse, None]:
        """How far it is, until it is whole."""
        sources = await asyncio.to_thread(self._sources.find, making.request)
        if not sources.renders:
            try:
                async with aclosing(making.run(self._cutting, sources)) as told:
                    async for progress in told:
                        yield progress
                return
            except StorageError as error:
                sources = await self._without_videos(making.request, error)
        async with self._turns.turn(caller), aclosing(making.run(self._rendering, sources)) as told:
            async for progress in told:
                yield progress

    async def _without_videos(self, request: ClipRequest, error: StorageError) -> Sources:
        """The records: the archive's videos are a copy of them, and may be deleted, or out of reach, at any time."""
        try:
            return await asyncio.to_thread(self._sources.find, request, videos=False)
        except NotFoundError:
            raise error from None


class _Making:
    """One clip in the making.

    Attributes:
        request: what it is to show.
        clip: what was made, once that is done.
    """

    clip: Clip

    def __init__(self, maker: ClipMaker, request: ClipRequest, path: Path, renew: Renew) -> None:
        self._maker, self.request, self._path, self._renew = maker, request, path, renew

    async def run(self, pool: ThreadPoolExecutor, sources: Sources) -> AsyncGenerator[pb.ReadClipResponse, None]:
        """Makes the clip, and tells how far it is. Nothing goes on in a thread when this has ended."""
        loop = asyncio.get_running_loop()
        told: asyncio.Queue[int | None] = asyncio.Queue()
        unwanted = threading.Event()

        def progress(done: int) -> None:
            loop.call_soon_threadsafe(told.put_nowait, done)

        def check_wanted() -> None:
            if unwanted.is_set():
                raise CancelledError
            self._renew()

        make = partial(self._maker.make, progress=progress, check_wanted=check_wanted)
        work = loop.run_in_executor(pool, make, self.request, sources, self._path)
        work.add_done_callback(lambda _: told.put_nowait(None))
        total = duration(self.request.to_us - self.request.from_us)
        try:
            while (done := await told.get()) is not None:
                yield pb.ReadClipResponse(progress=pb.ClipProgress(done=duration(done), total=total))
            self.clip = await work
        finally:
            unwanted.set()
            # It stops at its next frame, and only then is it the next caller's turn.
            await asyncio.wait([work])


def _clip_request(request: pb.ReadClipRequest) -> ClipRequest:
    """The request as a value.

    Raises:
        ConfigError: there cannot be such a clip.
    """
    times = [microseconds(request, field) for field in ("from", "to")]
    if times[0] is None or times[1] is None:
        raise ConfigError("ReadClip: a clip has a start and an end: give both, `from` and `to`")
    wanted = ClipRequest(request.camera, times[0], times[1], decoder_of(request), request.boxes)
    wanted.check()
    return wanted


def _trailing(gaps: Sequence[Gap]) -> tuple[tuple[str, bytes], ...]:
    if not gaps:
        return ()
    told = pb.ClipGaps(
        gaps=[
            pb.ClipGap(
                first=timestamp(gap.first_us),
                last=timestamp(gap.last_us),
                frames=gap.frames,
                reason=gap.reason[:_MOST_REASON],
            )
            for gap in gaps[:MOST_GAPS]
        ],
        more=max(0, len(gaps) - MOST_GAPS),
    )
    return ((GAPS_KEY, told.SerializeToString()),)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise storage_error(error, path) from None


def _part(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(_DATA_BYTES)
    except OSError as error:
        raise storage_error(error, path) from None
