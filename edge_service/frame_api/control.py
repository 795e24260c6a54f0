"""What clients of the frame API may read and set of a camera's rate control."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from edge_service.rate.control import RateControl, RateTarget
from icm.errors import ConfigError, NotFoundError
from icm.v1 import camera_pb2

LEAST_KBIT_PER_SECOND, MOST_KBIT_PER_SECOND = 1.0, 1e6
MOST_FPS = 240.0


class CameraControl:
    """All cameras of an edge."""

    def __init__(self, rates: Mapping[str, RateControl], highest_quality: float) -> None:
        """Creates the control of all cameras.

        Args:
            rates: rate control by camera.
        """
        self._rates, self._highest_quality = rates, highest_quality

    def get(self, camera: str) -> camera_pb2.GetCameraResponse:
        """Where a camera stands. Blocks on the disk.

        Raises:
            NotFoundError: there is no such camera.
            SpoolError: the spool cannot be asked.
        """
        rate = self._rate(camera)
        state = rate.state
        return camera_pb2.GetCameraResponse(
            rate_control=_message(state.aim),
            target_bits_per_second=state.target,
            quality=state.quality,
            frame_rate=state.frame_rate,
            scale=state.scale,
            waiting_bytes=rate.waiting_bytes(),
        )

    def set(self, camera: str, wanted: camera_pb2.RateControl) -> camera_pb2.SetRateControlResponse:
        """Sets what a camera is to reach; what is unset stays, but for the target, without which there is none.

        Raises:
            NotFoundError: there is no such camera.
            ConfigError: a value is out of range.
        """
        rate = self._rate(camera)
        before = rate.state.aim
        aim = RateTarget(
            self._checked("quality", wanted.quality, 0.0, self._highest_quality)
            if wanted.HasField("quality")
            else before.quality,
            1000
            * self._checked(
                "target_kbit_per_second", wanted.target_kbit_per_second, LEAST_KBIT_PER_SECOND, MOST_KBIT_PER_SECOND
            )
            if wanted.HasField("target_kbit_per_second")
            else None,
            self._checked("min_fps", wanted.min_fps, 0.01, MOST_FPS) if wanted.HasField("min_fps") else before.min_fps,
        )
        rate.aim(aim)
        return camera_pb2.SetRateControlResponse(rate_control=_message(aim))

    def _rate(self, camera: str) -> RateControl:
        rate = self._rates.get(camera)
        if rate is None:
            raise NotFoundError(f"there is no camera {camera[:80]!r} here; there are {', '.join(sorted(self._rates))}")
        return rate

    @staticmethod
    def _checked(name: str, value: float, low: float, high: float) -> float:
        if not (isfinite(value) and low <= value <= high):
            raise ConfigError(f"{name} {value:g} is out of range: it goes from {low:g} to {high:g}")
        return value


def _message(aim: RateTarget) -> camera_pb2.RateControl:
    target = aim.bits_per_second
    return camera_pb2.RateControl(
        quality=aim.quality, target_kbit_per_second=target / 1000 if target is not None else None, min_fps=aim.min_fps
    )
