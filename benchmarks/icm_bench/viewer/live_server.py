"""The cloud's live view and nothing else: pictures of a clip are shown to it as its pipeline would show them.

``python -m icm_bench.viewer.live_server CLIP FOLDER CAMERAS FPS WIDTH``: prints its port.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import cycle, islice
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from cloud_service.api.live_service import LiveService
from cloud_service.bundles import Bundles
from cloud_service.database.opening import open_database
from cloud_service.detection import Detection
from cloud_service.events.store import EventStore
from cloud_service.feedback.arrivals import Arrivals
from cloud_service.feedback.leases import Leases
from cloud_service.feedback.segment_leases import SegmentLeases
from cloud_service.inspection.stored_frames import StoredFrames
from cloud_service.live.hub import LiveHub
from cloud_service.live.stills import Stills
from cloud_service.store import RecordStore
from cloud_service.store.index import SegmentIndex
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.frame_id import FrameId
from icm.rpc.servers import Server
from icm.service.clock import SystemClock
from icm.v1.live_pb2_grpc import add_LiveServiceServicer_to_server

PICTURES = 64
"""Of the clip, shown over and over."""
_BOXES = tuple(Detection("person", 0.8, 40.0 * n, 30.0 * n, 40.0 * n + 30, 30.0 * n + 80) for n in range(8))
"""As many as there are people in a busy scene."""


async def serve(clip: Path, folder: Path, cameras: int, fps: float, width: int) -> None:
    """Shows pictures for ever."""
    clock = SystemClock()
    database = open_database(f"sqlite:///{folder / 'cloud.db'}")
    store = RecordStore(folder / "records", SegmentIndex(database), 10.0, clock)
    frames = StoredFrames(store, Bundles.load([DEFAULT_BUNDLE], 1, "cpu"), SegmentLeases(Leases(clock), store))
    stills = Stills(frames.picture, EventStore(database))
    arrivals = Arrivals(clock)
    hub = LiveHub(store=store, stills=stills, arrivals=arrivals, clock=clock, model="none")
    server = Server("127.0.0.1:0", False)
    add_LiveServiceServicer_to_server(LiveService(hub), server.grpc)
    await server.start()
    pictures = pictures_of(clip, width)
    print(server.port, flush=True)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for sequence, picture in enumerate(cycle(pictures), 1):
        for camera in range(cameras):
            # Spread over the interval, as cameras do.
            due = begun + (sequence - 1 + camera / cameras) / fps
            await asyncio.sleep(max(0.0, due - loop.time()))
            name = f"camera-{camera:02}"
            arrivals.note(name, 1, sequence)
            # A copy is another picture to the live view, as two cameras' are.
            shown = picture.copy() if hub.wants(name) else None
            hub.show(FrameId(name, 1, sequence), clock.now_us(), shown, _BOXES, None)


def pictures_of(clip: Path, width: int) -> list[NDArray[np.uint8]]:
    """The clip's first pictures in this width, uint8[H, W, 3] RGB."""
    with av.open(str(clip)) as container:
        return [
            np.asarray(
                frame.reformat(width, round(frame.height * width / frame.width / 2) * 2, "rgb24").to_ndarray(), np.uint8
            )
            for frame in islice(container.decode(video=0), PICTURES)
        ]


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])))
