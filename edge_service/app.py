"""Wires an edge's stages together, starts and stops them; does nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import grpc

from edge_service.camera.camera import THREADS, Camera
from edge_service.camera.encoding import Codec
from edge_service.frame_api.service import FrameApi, SubmittedCamera
from edge_service.frame_api.token_access import TokenAccess
from edge_service.frame_api.tokens import Tokens
from edge_service.metrics import EdgeMetrics
from edge_service.proof.sealing import seal_key
from edge_service.proof.witness import Witness
from edge_service.rate.control import RateControl, RateTarget
from edge_service.settings import CameraSettings, EdgeSettings
from edge_service.sources import Source, make_source
from edge_service.spool.camera_spool import CameraSpool
from edge_service.spool.folder import check_folder
from edge_service.spool.store import Spool
from edge_service.uplink.uplink import Uplink
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import Encoder, recode_intra
from icm.errors import ConfigError
from icm.proof.keys import SigningKey
from icm.rpc.certificate_expiry import watch_certificates
from icm.rpc.channels import open_channel
from icm.rpc.limits import REFUSALS, ClientLimits
from icm.rpc.proxies import proxy_of
from icm.rpc.servers import Server, check_plaintext, is_loopback
from icm.rpc.tls import check_tls
from icm.service.clock import Clock, SystemClock
from icm.service.health import Problems
from icm.service.telemetry import TelemetryServer
from icm.v1 import camera_pb2_grpc

_log = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""How long submissions under way may take once the edge is asked to stop."""


def check(settings: EdgeSettings) -> tuple[Bundle, dict[str, Source]]:
    """Finds everything that is wrong before anything starts; returns the codec and each camera's source.

    Raises:
        IcmError: something is wrong.
    """
    _check_borders(settings)
    check_folder(settings.spool.folder)
    clock = SystemClock()
    sources = {camera.name: make_source(camera.source, clock) for camera in settings.cameras}
    for source in sources.values():
        source.check()
    bundle = Bundle.load(settings.bundle, settings.threads, settings.device)
    for camera in settings.cameras:
        if camera.quality > bundle.levels - 1:
            raise ConfigError(
                f"camera {camera.name}: quality {camera.quality:g} is out of range:"
                f" bundle {bundle.name} has levels 0 to {bundle.levels - 1}"
            )
    # Networks load when first asked for; the cameras' threads would all ask at once, and perhaps of a folder that holds
    # another bundle by then.
    _ = bundle.analysis, bundle.sparse_analysis, bundle.hyper_analysis
    return bundle, sources


def _check_borders(settings: EdgeSettings) -> None:
    """Checks that the channel and the frame API can be opened, and are not open to strangers.

    Raises:
        ConfigError: the channel or the frame API could not be opened, or would be open to strangers.
    """
    cloud, api = settings.cloud, settings.frame_api
    proxy_of(cloud.address)
    for side in (cloud, api):
        if side.tls:
            check_tls(side.tls)
        else:
            check_plaintext(side.address, side.allow_plaintext)
    if api.tokens:
        Tokens(api.tokens)
    elif not (api.allow_plaintext or is_loopback(api.address)):
        raise ConfigError(
            f"refusing to take pictures from anybody at {api.address}: set frame_api.tokens (`icm-edge token` makes the"
            " file), use a loopback address, or set frame_api.allow_plaintext to true on a network you trust"
        )


class Edge:
    """One edge process."""

    def __init__(self, settings: EdgeSettings, bundle: Bundle, sources: dict[str, Source]) -> None:
        self._settings, self._bundle, self._sources = settings, bundle, sources
        self._clock: Clock = SystemClock()
        self._stop = asyncio.Event()
        self._problems = Problems()
        self._metrics = EdgeMetrics(bundle.name)
        self._witness = Witness(settings.spool.folder, self._problems)

    def stop(self) -> None:
        """Ends ``run`` soon; what is in the queues is spooled first."""
        self._stop.set()

    async def run(self) -> bool:
        """Runs until stopped, or until every source has ended and the cloud has persisted every record.

        Returns:
            Whether every source gave all it had.

        Raises:
            IcmError: the edge cannot start.
        """
        settings, problems = self._settings, self._problems
        async with AsyncExitStack() as stack:
            kept = settings.spool
            spool = Spool(
                kept.folder,
                kept.max_bytes,
                kept.max_age_seconds,
                self._clock,
                kept.policy,
                self._metrics.losses.records,
                kept.recent_seconds,
            )
            stack.callback(spool.close)
            self._metrics.watch_spool(lambda: spool.bytes, spool.oldest_seconds)
            tokens = Tokens(path) if (path := settings.frame_api.tokens) else None
            server = self._server(tokens)
            if proxy := proxy_of(settings.cloud.address):
                _log.info("the cloud is reached through %s", proxy)
            channel = open_channel(settings.cloud.address, settings.cloud.allow_plaintext, settings.cloud.tls)
            stack.push_async_callback(channel.close)
            sides = {"uplink": settings.cloud.tls, "frame_api": settings.frame_api.tls}
            watch_certificates(self._metrics.registry, sides)
            telemetry = TelemetryServer(settings.metrics.address, self._metrics.registry, problems.lines)

            # A camera that left the settings may have left records behind; they are delivered too.
            names = {*self._sources, *spool.waiting_cameras()}
            for name in names:
                self._metrics.add_camera(name, spool.camera(name).last_detection_us)
            rates = {camera.name: self._rate_control(camera, spool.camera(camera.name)) for camera in settings.cameras}
            key = seal_key(kept.folder)
            uplinks = {name: self._uplink(spool.camera(name), channel, rates.get(name), key) for name in names}
            sending = await stack.enter_async_context(_running(list(uplinks.values())))
            cameras = [
                self._camera(camera, spool, rates[camera.name], uplinks[camera.name]) for camera in settings.cameras
            ]
            threads = stack.enter_context(ThreadPoolExecutor(THREADS * len(cameras), "camera"))
            work = [asyncio.create_task(camera.run(threads)) for camera in cameras]
            stack.push_async_callback(_stop_cameras, cameras, work)

            self._serve_frames(server, uplinks, rates, channel, tokens)
            await server.start()
            stack.push_async_callback(server.stop, GRACE_SECONDS)
            telemetry.start()
            stack.callback(telemetry.stop)
            _log.info("listening grpc=%d metrics=%d", server.port, telemetry.port)
            return await self._finished(work, sending, list(uplinks.values()))

    def _rate_control(self, settings: CameraSettings, spool: CameraSpool) -> RateControl:
        target = settings.rate.target_kbit_per_second
        rate = RateControl(
            settings.name,
            RateTarget(settings.quality, target and 1000 * target, settings.rate.min_fps),
            self._bundle.levels - 1,
            lambda: spool.waiting_bytes,
            self._settings.cloud.batch_seconds,
            self._clock,
            partial(self._metrics.count_decision, settings.name),
        )
        self._metrics.watch_rate(settings.name, lambda: rate.state)
        return rate

    def _uplink(
        self, spool: CameraSpool, channel: grpc.aio.Channel, rate: RateControl | None, key: SigningKey
    ) -> Uplink:
        """Returns the uplink of a camera.

        Args:
            rate: None for a camera that only has records left.
            key: that records are sealed with.
        """
        return Uplink(
            spool,
            self._bundle.codec_id,
            channel,
            self._metrics,
            self._problems,
            batch_seconds=self._settings.cloud.batch_seconds,
            acknowledged=rate.acknowledged if rate is not None else lambda size, sent: None,
            clock=self._clock,
            proxy=proxy_of(self._settings.cloud.address),
            witness=self._witness.take,
            key=key,
        )

    def _camera(self, settings: CameraSettings, spool: Spool, rate: RateControl, uplink: Uplink) -> Camera:
        return Camera(
            settings,
            self._sources[settings.name],
            Codec(Encoder(self._bundle), partial(recode_intra, self._bundle), self._bundle.codec_id),
            spool.camera(settings.name),
            rate,
            self._metrics,
            self._problems,
            uplink.announce,
        )

    def _server(self, tokens: Tokens | None) -> Server:
        api = self._settings.frame_api
        limits = ClientLimits(api.limits.streams, api.limits.bytes_per_second, self._clock)
        return Server(
            api.address,
            api.allow_plaintext,
            api.tls,
            (TokenAccess(tokens, self._clock), limits) if tokens else (limits,),
            api.limits.message_bytes,
            api.limits.streams + REFUSALS,
        )

    def _serve_frames(
        self,
        server: Server,
        uplinks: dict[str, Uplink],
        rates: dict[str, RateControl],
        channel: grpc.aio.Channel,
        tokens: Tokens | None,
    ) -> None:
        submitted = {
            camera.name: SubmittedCamera(source, uplinks[camera.name], camera.max_pixels)
            for camera in self._settings.cameras
            if (source := self._sources[camera.name].submissions) is not None
        }
        highest = self._bundle.levels - 1
        api = FrameApi(submitted, rates, highest, channel, self._metrics, self._clock, tokens)
        camera_pb2_grpc.add_CameraServiceServicer_to_server(api, server.grpc)

    async def _finished(
        self, work: list[asyncio.Task[bool]], sending: list[asyncio.Task[None]], uplinks: list[Uplink]
    ) -> bool:
        """Waits for the end of all work or for ``stop``, whichever comes first."""

        async def all_delivered() -> bool:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_EXCEPTION)
            succeeded = [task.result() for task in done]
            _log.info("every camera has ended; waiting for the cloud to persist what is in the spool")
            await asyncio.gather(*(uplink.drained() for uplink in uplinks))
            return all(succeeded)

        delivered = asyncio.create_task(all_delivered())
        stopped = asyncio.create_task(self._stop.wait())
        try:
            done, _ = await asyncio.wait((delivered, stopped, *sending), return_when=asyncio.FIRST_COMPLETED)
            for task in done.intersection(sending):
                task.result()
            return delivered.result() if delivered.done() else True
        finally:
            stopped.cancel()
            delivered.cancel()


@asynccontextmanager
async def _running(uplinks: list[Uplink]) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(uplink.run()) for uplink in uplinks]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _stop_cameras(cameras: list[Camera], work: list[asyncio.Task[bool]]) -> None:
    for camera in cameras:
        camera.stop()
    await asyncio.gather(*work)
