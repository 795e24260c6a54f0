"""The settings of an edge. One model; ``icm-edge config --explain`` prints it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import SettingsConfigDict

from edge_service.rtsp_address import parse_rtsp
from icm.camera_name import CameraName
from icm.codec.bitstream.record import MAX_PIXELS
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.codec.threads import MOST_THREADS
from icm.config.settings import Address, PeerAddress, Section, ServiceSettings
from icm.errors import ConfigError
from icm.rpc.tls import MutualTlsSettings, TlsSettings


class FileSourceSettings(Section):
    """A video file."""

    kind: Literal["file"]
    path: Path = Field(description="The video file, in any format that FFmpeg reads.")
    pace: Literal["real_time", "fast"] = Field(
        default="real_time",
        description="real_time: frames come at the clip's own speed, and what lies more than 60 s ahead at once unless"
        " the clip is that slow; fast: as fast as they can be coded, each captured the moment it is read.",
    )
    loop: bool = Field(default=False, description="Start over at the clip's end, for ever.")


class FolderSourceSettings(Section):
    """A folder of pictures."""

    kind: Literal["folder"]
    path: Path = Field(description="A folder of .jpg, .jpeg and .png files, taken in order of their names.")
    fps: float = Field(default=1.0, gt=0, le=240, description="Pictures per second.")


def _check_rtsp(url: str) -> str:
    try:
        parse_rtsp(url)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return url


class RtspSourceSettings(Section):
    """A network camera."""

    kind: Literal["rtsp"]
    url: Annotated[str, AfterValidator(_check_rtsp)] = Field(
        description="The camera's rtsp:// address, with user and password if any. In these write %2F for /, %3F for ?,"
        " %23 for # and %25 for %."
    )
    timeout_seconds: float = Field(
        default=8.0,
        gt=0,
        le=60,
        description="Seconds without a sign of the camera after which the connection is given up and made anew. One"
        " that has agreed to send and still acknowledges may be slower: it is waited for, three times its longest"
        " interval of late, and two hours at most.",
    )


class UsbSourceSettings(Section):
    """A camera on this machine."""

    kind: Literal["usb"]
    device: str = Field(default="/dev/video0", description="The Video4Linux device.")
    timeout_seconds: float = Field(
        default=8.0,
        gt=0,
        le=7200,
        description="Seconds without a picture after which the device is given up and opened anew: more than the camera"
        " takes for its first one, and from any to the next.",
    )


class SubmittedSourceSettings(Section):
    """Pictures that clients submit through the frame API."""

    kind: Literal["submitted"]


SourceSettings = Annotated[
    FileSourceSettings | FolderSourceSettings | RtspSourceSettings | UsbSourceSettings | SubmittedSourceSettings,
    Field(discriminator="kind"),
]


class RateSettings(Section):
    """What a camera's records may take of the uplink."""

    target_kbit_per_second: float | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Bitrate to reach, in kbit/s. Frames are left out for it, then quality is lowered, then resolution;"
        " where it allows more than all frames at `quality`, quality rises. Unset: every frame at `quality`.",
    )
    min_fps: float = Field(
        default=2.0,
        gt=0,
        le=240,
        description="With a target: frames per second below which quality and resolution give way before more frames"
        " do.",
    )


class CameraSettings(Section):
    """One camera."""

    name: CameraName = Field(
        description="1 to 64 characters of a-z, 0-9, '-' and '_', starting with a letter or digit; unique."
    )
    quality: float = Field(
        default=3.0,
        ge=0,
        le=15,
        description="Quality level, 0 (fewest bits) to the bundle's highest; fractions lie in between. With a target"
        " bitrate: the level that is wanted.",
    )
    max_fps: float | None = Field(
        default=None,
        gt=0,
        le=240,
        description="Frames per second at most; frames in between are left out. Unset: all frames.",
    )
    max_pixels: int = Field(
        default=MAX_PIXELS,
        ge=1,
        le=MAX_PIXELS,
        description="Pixels of a picture at most; a larger one is refused, before it is decoded where a client submits"
        " it. Coding takes up to 200 bytes of memory for each, so this bounds what a camera can cost the edge.",
    )
    rate: RateSettings = Field(default=RateSettings(), description="How many bits it may take.")
    source: SourceSettings = Field(description="Where its pictures come from.")

    @model_validator(mode="after")
    def _check_max_fps(self) -> Self:
        if self.max_fps is not None and self.source.kind == "submitted":
            raise ValueError("max_fps cannot be set for submitted pictures: each of them is owed an answer")
        return self


class ConnectionSettings(Section):
    """Where the cloud is."""

    address: PeerAddress = Field(default="127.0.0.1:7443", description="host:port of the cloud's ingest.")
    allow_plaintext: bool = Field(
        default=False, description="Speak plaintext to an address beyond this machine; for networks you trust only."
    )
    tls: MutualTlsSettings | None = Field(default=None, description="Mutual TLS. Unset: plaintext.")
    batch_seconds: float = Field(
        default=0.5,
        ge=0,
        le=60,
        description="Seconds that a record waits for others to share its message, which saves up to 100 bytes each. A"
        " camera whose records come less often than that is not held back, nor while a client waits for detections. 0:"
        " each is sent at once.",
    )


class LimitSettings(Section):
    """What one client of the frame API, that is one address, may ask for."""

    streams: int = Field(default=32, ge=1, le=65_536, description="Calls that may run at once.")
    bytes_per_second: int = Field(
        default=128 << 20,
        ge=1 << 10,
        le=1 << 40,
        description="Bytes taken in a second; what comes faster waits with its sender.",
    )
    message_bytes: int = Field(
        default=64 << 20,
        ge=1 << 20,
        le=1 << 30,
        description="Bytes of the largest message that is taken; the largest raw picture has 24 MiB.",
    )


class FrameApiSettings(Section):
    """Where clients submit pictures."""

    address: Address = Field(
        default="127.0.0.1:7444", description="host:port the frame API listens at; port 0 picks one."
    )
    allow_plaintext: bool = Field(
        default=False,
        description="Listen beyond this machine in plaintext, or without tokens; for networks you trust only.",
    )
    tls: TlsSettings | None = Field(default=None, description="TLS. Unset: plaintext.")
    tokens: Path | None = Field(
        default=None,
        description="File of tokens, one of which clients must show (`icm-edge token`). Unset: none is asked for.",
    )
    limits: LimitSettings = Field(default=LimitSettings(), description="What one client may ask for.")


class MetricsSettings(Section):
    """Where metrics and health are read."""

    address: Address = Field(
        default="127.0.0.1:9464", description="host:port of /metrics and /healthz; port 0 picks one."
    )


class SpoolSettings(Section):
    """Records that the cloud has not persisted yet."""

    folder: Path = Field(default=Path("data/edge"), description="Where the spool lies; must survive restarts.")
    max_bytes: int = Field(default=10 << 30, gt=0, le=1 << 50, description="Records kept at most, in bytes.")
    max_age_seconds: float = Field(
        default=7 * 86_400.0,
        gt=0,
        le=3650 * 86_400.0,
        description="Age in seconds of the oldest record from which on the spool counts as full.",
    )
    policy: Literal["block", "drop_oldest", "keep_detections"] = Field(
        default="block",
        description="When full: block lets cameras wait, drop_oldest lets the oldest records go, keep_detections the"
        " oldest of those without recent detections and the others last; each that goes is counted. A full disk always"
        " makes them wait.",
    )
    recent_seconds: float = Field(
        default=60.0,
        gt=0,
        le=365 * 86_400.0,
        description="With policy keep_detections: seconds after the last frame in which the cloud is known to have"
        " found something during which its camera's frames count as those with recent detections.",
    )


def _check_unique(cameras: Sequence[CameraSettings]) -> Sequence[CameraSettings]:
    names = [camera.name for camera in cameras]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"camera names must be unique; more than one is called {', '.join(twice)}")
    return cameras


class EdgeSettings(ServiceSettings):
    """All settings of ``icm-edge``."""

    model_config = SettingsConfigDict(env_prefix="ICM_EDGE_")

    bundle: Path = Field(
        default=DEFAULT_BUNDLE,
        description="Folder of the codec bundle; the cloud needs one with the same codec id.",
    )
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="What the codec's networks run on.")
    threads: int = Field(
        default=0, ge=0, le=MOST_THREADS, description="CPU threads a network may use; 0 for one per core."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least that is logged."
    )
    cloud: ConnectionSettings = Field(default=ConnectionSettings(), description="Where the cloud is.")
    frame_api: FrameApiSettings = Field(default=FrameApiSettings(), description="Where clients submit pictures.")
    metrics: MetricsSettings = Field(default=MetricsSettings(), description="Where metrics and health are read.")
    spool: SpoolSettings = Field(default=SpoolSettings(), description="Records that the cloud has not persisted yet.")
    cameras: Annotated[list[CameraSettings], Field(min_length=1), AfterValidator(_check_unique)] = Field(
        description="The cameras, one item each."
    )
