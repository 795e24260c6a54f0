"""What the very same frames cost in the codecs everybody has."""

from __future__ import annotations

import io
from dataclasses import dataclass

import av
from av.video.frame import PictureType
from PIL import Image
from tqdm import tqdm

from deploy.demo.clip import Clip

JPEG_QUALITY = 35
H264_CRF = 35


@dataclass(frozen=True)
class Sizes:
    """Bytes of all frames of a clip."""

    jpeg: int
    """A JPEG for each, quality 35."""
    h264: int
    """One stream of x264, preset medium, CRF 35; packets only, no container."""


def encode(clip: Clip) -> Sizes:
    """Encodes every frame both ways, in memory."""
    jpeg = h264 = 0
    with av.open(io.BytesIO(), "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=clip.fps, options={"preset": "medium", "crf": str(H264_CRF)})
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, "yuv420p"
        bar = tqdm(clip.pictures(), "comparing", clip.frames, unit="frame", leave=False, disable=None)
        for index, picture in enumerate(bar):
            file = io.BytesIO()
            Image.fromarray(picture.to_ndarray(format="rgb24")).save(file, "JPEG", quality=JPEG_QUALITY)
            jpeg += file.tell()
            picture.pts, picture.time_base = index, 1 / clip.fps
            picture.pict_type = PictureType.NONE  # the source's own I and P frames are no wish to the encoder
            h264 += sum(packet.size for packet in stream.encode(picture))
        h264 += sum(packet.size for packet in stream.encode(None))
    return Sizes(jpeg, h264)
