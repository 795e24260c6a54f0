"""What the viewer shows live, as one."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine

from cloud_service.viewer.live.feeds import LiveFeeds
from cloud_service.viewer.live.limits import ConnectionLimits
from cloud_service.viewer.live.relay import Relay
from cloud_service.viewer.live.wall import WallPage
from cloud_service.viewer.live.wall_socket import WallSocket
from cloud_service.viewer.settings import CameraGroup
from cloud_service.viewer.web.routes import Entry
from cloud_service.viewer.web.templates import Templates
from icm.client.cloud import AsyncCloudClient
from icm.service.clock import Clock


class LiveRoom:
    """Wall, WebSocket and feeds, over one relay."""

    def __init__(
        self,
        cloud: AsyncCloudClient,
        *,
        database: Engine,
        templates: Templates,
        groups: Sequence[CameraGroup],
        clock: Clock,
    ) -> None:
        """Creates the room.

        Args:
            cloud: for its frames alone; closed with the room.
            database: knows the cameras and what they saw.
            templates: for the pages.
            groups: of cameras, for the wall.
            clock: for limits.
        """
        self._cloud, self._relay = cloud, Relay(cloud)
        limits = ConnectionLimits()
        self._wall = WallPage(database, templates, groups)
        self._socket = WallSocket(self._relay, limits, clock)
        self._feeds = LiveFeeds(self._relay, limits)

    def entries(self) -> list[Entry]:
        """For the routes."""
        return [*self._wall.pages(), *self._socket.sockets(), *self._feeds.pages()]

    async def close(self) -> None:
        """Ends what is watched."""
        await self._relay.close()
        await self._cloud.close()
