"""Codes a photo and looks at what came of it: python examples/codec.py photo.jpg"""

import sys

import numpy as np
from PIL import Image

import icm

photo = np.asarray(Image.open(sys.argv[1]).convert("RGB"))
data = icm.encode(photo, quality=3)
Image.fromarray(icm.decode(data)).save("decoded.png")
print(f"{len(data)} bytes, {8 * len(data) / (photo.shape[0] * photo.shape[1]):.3f} bits per pixel")
