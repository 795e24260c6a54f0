"""Single frames by their time: the very pixels that the detector saw, decoded from their records by the cloud."""

from __future__ import annotations

from typing import Any

from cloud_service.viewer.playback.stored.windows import HOUR_US, SECOND_US, Window, datetime_of
from cloud_service.viewer.web.templates import stamp_text
from icm.client.cloud import AsyncCloudClient
from icm.client.frames import StoredFrame
from icm.errors import NotFoundError

MOST_FRAMES = 1000
LONGEST_WINDOW_US = HOUR_US
_RECENT_US = 60 * SECOND_US


async def frame_shown_at(cloud: AsyncCloudClient, camera: str, at_us: int) -> StoredFrame:
    """The frame that is shown at a time: the last one that was captured by then.

    Raises:
        NotFoundError: none was captured in the hour before.
        IcmError: the cloud refused; it says why.
    """
    # Most cameras send several frames a second, and a short stretch is soon read.
    for length_us in (_RECENT_US, HOUR_US - 1):
        end = datetime_of(at_us + 1)
        found = await cloud.frames(camera, datetime_of(max(0, at_us - length_us)), end, most=1, newest=True)
        if found:
            return found[0]
    raise NotFoundError(
        f"no frame of camera {camera!r} is stored of the hour before {stamp_text(at_us)}: choose another time"
    )


async def frames_in(cloud: AsyncCloudClient, camera: str, window: Window) -> dict[str, Any]:
    """The frames of a window, an hour at most.

    Returns:
        ``frames``: [capture time in milliseconds, epoch, sequence, bytes, whether it stands alone] each, the first
            ``MOST_FRAMES``.

    Raises:
        IcmError: the cloud refused; it says why.
    """
    found = await cloud.frames(camera, datetime_of(window.from_us), datetime_of(window.to_us), most=MOST_FRAMES)
    return {
        "frames": [
            [of.captured.timestamp() * 1000, of.frame.epoch, of.frame.sequence, of.bytes, of.intra] for of in found
        ]
    }
