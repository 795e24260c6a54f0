"""FFmpeg's decoder of VVC without the part of it that is wrong.

Where pictures have 8 bits, its filter of luma (ALF) for AVX2 gives other ones than VVenC reconstructs, and than FFmpeg
itself gives without AVX2 (seen with libavcodec 62.28). On two photos that cost VVC 0.01 to 0.06 dB.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av

_AVX2_AND_512 = 0x8000 | 0x100000 | 0x200000
"""Flags of AVX2, AVX-512 and AVX-512 of Ice Lake, in libavutil/cpu.h."""


@contextmanager
def exact() -> Iterator[None]:
    """Decoders of VVC that are made inside decode right."""
    library = _avutil()
    flags = library.av_get_cpu_flags()
    library.av_force_cpu_flags(flags & ~_AVX2_AND_512)
    try:
        yield
    finally:
        library.av_force_cpu_flags(flags)


def _avutil() -> ctypes.CDLL:
    """The libavutil that PyAV has loaded; other packages bring their own, whose flags are not PyAV's."""
    folder = Path(av.__file__).parent.with_name("av.libs")
    bundled = list(folder.glob("libavutil*"))
    return ctypes.CDLL(str(bundled[0]) if bundled else "libavutil.so")
