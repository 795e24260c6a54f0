"""The settings of a cloud. One model; ``icm-cloud config --explain`` prints it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from cloud_service.retention_settings import RetentionSettings
from cloud_service.viewer.settings import ViewerSettings
from icm.codec.bundle.shipped import DEFAULT_BUNDLE, with_shipped
from icm.codec.threads import MOST_THREADS
from icm.config.settings import Address, Section, ServiceSettings
from icm.rpc.tls import MutualTlsSettings


class IngestTlsSettings(MutualTlsSettings):
    """Mutual TLS: callers need a certificate of the authority, which names what they may do."""

    revoked: Path | None = Field(
        default=None,
        description="PEM file of the authority's lists of revoked certificates. Unset: none was revoked.",
    )


class LimitSettings(Section):
    """What one client may ask for: the holder of a certificate, or in plaintext an address."""

    streams: int = Field(default=512, ge=1, le=65_536, description="Calls that may run at once; every camera is one.")
    bytes_per_second: int = Field(
        default=32 << 20,
        ge=1 << 10,
        le=1 << 40,
        description="Bytes taken in a second; what comes faster waits with its sender.",
    )
    message_bytes: int = Field(
        default=20 << 20,
        ge=1 << 20,
        le=1 << 30,
        description="Bytes of the largest message that is taken; edges learn it at the start of a stream.",
    )


class IngestSettings(Section):
    """Where edges send records, and clients read the archive."""

    address: Address = Field(
        default="127.0.0.1:7443",
        description="host:port that edges and readers connect to; port 0 picks one.",
    )
    allow_plaintext: bool = Field(
        default=False, description="Listen in plaintext beyond this machine; for networks you trust only."
    )
    tls: IngestTlsSettings | None = Field(default=None, description="Mutual TLS. Unset: plaintext.")
    limits: LimitSettings = Field(default=LimitSettings(), description="What one client may ask for.")
    credit: int = Field(default=64, ge=1, le=4096, description="Records per camera that may be unacknowledged at once.")
    credit_bytes: int = Field(
        default=8 << 20,
        ge=1 << 16,
        le=1 << 30,
        description="Bytes of records per camera that may be unacknowledged at once; a larger one may come alone.",
    )
    pending_bytes: int = Field(
        default=256 << 20,
        ge=1 << 20,
        le=1 << 40,
        description="Bytes of records of all cameras that may wait to be persisted; edges that bring more are asked to"
        " come back later.",
    )
    group_delay_seconds: float = Field(
        default=0.05, ge=0, le=1, description="Seconds a record waits for others to share its fsync."
    )


class MetricsSettings(Section):
    """Where metrics and health are read."""

    address: Address = Field(
        default="127.0.0.1:9465", description="host:port of /metrics and /healthz; 0 picks a port."
    )


class StoreSettings(Section):
    """The canonical archive: the records."""

    folder: Path = Field(
        default=Path("data/cloud"), description="Where records, and by default all else, are kept; this cloud's alone."
    )


class ReuseSettings(Section):
    """Which frames take over the detections of the frame that the detector looked at last: those with equal latents,
    and those that differ from it by little and were captured soon after it. And in which boxes are interpolated.
    """

    change: float = Field(
        default=4.0,
        ge=0,
        le=255,
        description="Grey levels that a frame may differ by from the one that was looked at, as root mean square over"
        " the picture.",
    )
    seconds: float = Field(
        default=1.0,
        ge=0,
        le=3600,
        description="Seconds after that one within which such a frame was captured. Frames with equal latents have no"
        " limit.",
    )
    gap_seconds: float = Field(
        default=0.5,
        ge=0,
        le=60,
        description="Where several frames of a camera wait, seconds between two that the detector looks at, at most;"
        " boxes in the frames between them are interpolated. 0: none are.",
    )
    gap_change: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="Share of the picture that may change from a frame to the next, at most, in such a gap.",
    )


class YoloSettings(Section):
    """Ultralytics YOLO."""

    kind: Literal["yolo"]
    weights: Path = Field(default=Path(".cache/weights/yolo26n.pt"), description="A YOLO .pt file.")
    confidence: float = Field(default=0.25, ge=0, le=1, description="Least score of a detection, 0 to 1.")
    batch: int = Field(default=4, ge=1, le=64, description="Frames looked at together, at most.")
    image_size: int = Field(
        default=640, ge=32, le=4096, multiple_of=32, description="Longer side, in pixels, that frames are scaled to."
    )
    reuse: ReuseSettings | None = Field(
        default=ReuseSettings(), description="Frames that need no look of their own. Null: every frame is looked at."
    )


class OnnxSettings(Section):
    """A YOLOX model on ONNX Runtime."""

    kind: Literal["onnx"]
    weights: Path = Field(description="A YOLOX .onnx file.")
    confidence: float = Field(default=0.25, ge=0, le=1, description="Least score of a detection, 0 to 1.")
    reuse: ReuseSettings | None = Field(
        default=ReuseSettings(), description="Frames that need no look of their own. Null: every frame is looked at."
    )


class NoDetectorSettings(Section):
    """No detector: records are kept and rendered only."""

    kind: Literal["none"]


DetectorSettings = Annotated[YoloSettings | OnnxSettings | NoDetectorSettings, Field(discriminator="kind")]


class ArchiveSettings(Section):
    """The archive for people."""

    url: str | None = Field(
        default=None,
        description="A folder, or the fsspec URL of what can be written, for MP4 files and thumbnails, this cloud's"
        " alone. Unset: <store.folder>/archive.",
    )
    segment_seconds: float = Field(
        default=10.0,
        gt=0,
        le=600,
        description="Length of a segment, of records and of video alike, in seconds. One is closed when so long"
        " has passed, also where no further record came.",
    )
    render_cache_bytes: int = Field(
        default=2 << 30,
        ge=0,
        le=1 << 50,
        description="Bytes of the disk that video rendered on demand may take in <store.folder>/rendered; what was not"
        " used for the longest goes first. 0 keeps none.",
    )
    thumbnail_width: int = Field(default=320, ge=16, le=4096, description="Longer side of a thumbnail, in pixels.")


class ExportSettings(Section):
    """Evidence files (`icm-cloud export`)."""

    max_bytes: int = Field(
        default=16 << 30, ge=1 << 10, le=1 << 50, description="Bytes of the largest one; a longer range is refused."
    )


class CloudSettings(ServiceSettings):
    """All settings of ``icm-cloud``."""

    model_config = SettingsConfigDict(env_prefix="ICM_CLOUD_")

    bundle: Path = Field(default=DEFAULT_BUNDLE, description="Folder of the codec bundle that edges have.")
    bundles: list[Path] = Field(
        default=[],
        description="Folders of further bundles that are read: what edges had before, or are to have next. Those that"
        " ship are read in any case.",
    )
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="What the codec and the detector run on.")
    threads: int = Field(
        default=0, ge=0, le=MOST_THREADS, description="CPU threads a network may use; 0 for one per core."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least that is logged.")
    drain_seconds: float = Field(
        default=8.0,
        ge=0,
        le=600,
        description="Seconds after a SIGTERM to detect and render what is stored already.",
    )
    ingest: IngestSettings = Field(default=IngestSettings(), description="Where edges send records, and clients read.")
    metrics: MetricsSettings = Field(default=MetricsSettings(), description="Where metrics and health are read.")
    store: StoreSettings = Field(default=StoreSettings(), description="The canonical archive: the records.")
    database: str | None = Field(
        default=None,
        description="SQLAlchemy URL of the database, of SQLite or of PostgreSQL, whose driver the extra `postgres`"
        " brings. A server that does not answer yet is waited for at the start, for a minute. Unset: SQLite in"
        " <store.folder>/cloud.db.",
    )
    detector: DetectorSettings = Field(default=YoloSettings(kind="yolo"), description="What looks at the frames.")
    archive: ArchiveSettings = Field(default=ArchiveSettings(), description="The archive for people.")
    retention: RetentionSettings = Field(default=RetentionSettings(), description="What is deleted when.")
    export: ExportSettings = Field(default=ExportSettings(), description="Evidence files (`icm-cloud export`).")
    viewer: ViewerSettings = Field(
        default=ViewerSettings(), description="`icm-cloud viewer`: the archive for people, in a process of its own."
    )

    @property
    def bundle_folders(self) -> list[Path]:
        """Of all bundles that are read, the setting ``bundle`` first."""
        return with_shipped(self.bundle, *self.bundles)

    @property
    def records_folder(self) -> Path:
        return self.store.folder / "records"

    @property
    def render_cache_folder(self) -> Path:
        return self.store.folder / "rendered"

    @property
    def viewer_folder(self) -> Path:
        return self.viewer.folder or self.store.folder / "viewer"

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.store.folder.absolute() / 'cloud.db'}"

    @property
    def archive_url(self) -> str:
        return self.archive.url or str((self.store.folder / "archive").absolute())
