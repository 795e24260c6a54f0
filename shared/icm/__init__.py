"""ICM Bridge from Python: the codec on pictures, and clients of an edge and a cloud.

    data = icm.encode(image, quality=3)                      # uint8[H, W, 3] RGB -> the bytes of an .icm file
    image = icm.decode(data)

    with icm.EdgeClient("127.0.0.1:7444") as edge:           # hand a picture over, learn what was found in it
        print(edge.submit("door", image, wait=True).detections)
    with icm.CloudClient("127.0.0.1:7443") as cloud:         # read the archive
        print(cloud.cameras())

Everything raises errors of ``icm.errors``, whose base is ``IcmError``. Names are loaded when they are first used: a
client of the services never loads the codec. docs/api.md has more.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icm import errors
    from icm.client.clips import Clip, ClipGap
    from icm.client.cloud import AsyncCloudClient, CloudClient
    from icm.client.connection import Tls
    from icm.client.edge import AsyncEdgeClient, EdgeClient
    from icm.client.frames import StoredFrame
    from icm.client.holds import Hold
    from icm.client.inspection import FrameInspection
    from icm.client.keeping.redetections import Redetection
    from icm.client.keeping.storage import PlannedDeletion, RetentionPlan, Storage, StoredTier
    from icm.client.keeping.verifications import CameraReport, Verification
    from icm.client.live import LiveFrame, LiveNews
    from icm.client.messages import Box, Camera, Detections, Frame, Segment, Submitted
    from icm.client.proof import ChainHead
    from icm.client.search import Activity, ClassActivity, Region, Sighting
    from icm.codec.bitstream.record import Kind, Record, StreamHeader, parse_stream
    from icm.codec.bundle.loading import Bundle
    from icm.codec.bundle.lookup import bundle_of
    from icm.codec.bundle.shipped import DEFAULT_BUNDLE
    from icm.codec.decoder import Decoder
    from icm.codec.encoder import CodedFrame, Encoder
    from icm.codec.stills import decode, encode
    from icm.errors import IcmError
    from icm.frame_id import FrameId
    from icm.version import VERSION as __version__

_HOMES = {
    "Activity": "icm.client.search",
    "AsyncCloudClient": "icm.client.cloud",
    "AsyncEdgeClient": "icm.client.edge",
    "Box": "icm.client.messages",
    "Bundle": "icm.codec.bundle.loading",
    "Camera": "icm.client.messages",
    "CameraReport": "icm.client.keeping.verifications",
    "ChainHead": "icm.client.proof",
    "ClassActivity": "icm.client.search",
    "Clip": "icm.client.clips",
    "ClipGap": "icm.client.clips",
    "CloudClient": "icm.client.cloud",
    "CodedFrame": "icm.codec.encoder",
    "DEFAULT_BUNDLE": "icm.codec.bundle.shipped",
    "Decoder": "icm.codec.decoder",
    "Detections": "icm.client.messages",
    "EdgeClient": "icm.client.edge",
    "Encoder": "icm.codec.encoder",
    "Frame": "icm.client.messages",
    "FrameId": "icm.frame_id",
    "FrameInspection": "icm.client.inspection",
    "Hold": "icm.client.holds",
    "IcmError": "icm.errors",
    "Kind": "icm.codec.bitstream.record",
    "LiveFrame": "icm.client.live",
    "LiveNews": "icm.client.live",
    "PlannedDeletion": "icm.client.keeping.storage",
    "Record": "icm.codec.bitstream.record",
    "Redetection": "icm.client.keeping.redetections",
    "Region": "icm.client.search",
    "RetentionPlan": "icm.client.keeping.storage",
    "Segment": "icm.client.messages",
    "Sighting": "icm.client.search",
    "Storage": "icm.client.keeping.storage",
    "StoredFrame": "icm.client.frames",
    "StoredTier": "icm.client.keeping.storage",
    "StreamHeader": "icm.codec.bitstream.record",
    "Submitted": "icm.client.messages",
    "Tls": "icm.client.connection",
    "Verification": "icm.client.keeping.verifications",
    "bundle_of": "icm.codec.bundle.lookup",
    "decode": "icm.codec.stills",
    "encode": "icm.codec.stills",
    "parse_stream": "icm.codec.bitstream.record",
}
"""The public names, and the modules that have them."""

__all__ = [
    "DEFAULT_BUNDLE",
    "Activity",
    "AsyncCloudClient",
    "AsyncEdgeClient",
    "Box",
    "Bundle",
    "Camera",
    "CameraReport",
    "ChainHead",
    "ClassActivity",
    "Clip",
    "ClipGap",
    "CloudClient",
    "CodedFrame",
    "Decoder",
    "Detections",
    "EdgeClient",
    "Encoder",
    "Frame",
    "FrameId",
    "FrameInspection",
    "Hold",
    "IcmError",
    "Kind",
    "LiveFrame",
    "LiveNews",
    "PlannedDeletion",
    "Record",
    "Redetection",
    "Region",
    "RetentionPlan",
    "Segment",
    "Sighting",
    "Storage",
    "StoredFrame",
    "StoredTier",
    "StreamHeader",
    "Submitted",
    "Tls",
    "Verification",
    "__version__",
    "bundle_of",
    "decode",
    "encode",
    "errors",
    "parse_stream",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name == "errors":
        value = importlib.import_module("icm.errors")
    elif name == "__version__":
        value = importlib.import_module("icm.version").VERSION
    else:
        raise AttributeError(f"module 'icm' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
