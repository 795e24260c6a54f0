"""The compiled kernels, the ``*.c`` beside this file, as functions.

They do what NumPy's calls made slow: many small steps for each moved position. Arrays are checked for their types and
for being contiguous, not for their sizes; each function's one caller sees to those.
"""

from __future__ import annotations

import ctypes
import platform
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.ctypeslib import ndpointer

from icm.errors import ConfigError

_PATH = Path(__file__).with_name("kernels.dylib" if platform.system() == "Darwin" else "kernels.so")


class MotionContext(ctypes.Structure):
    """See ``kernels.h``; holds addresses only, so whoever makes one keeps the arrays."""

    _fields_ = (
        ("rows", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("last_modes", ctypes.c_void_p),
        ("covered", ctypes.c_void_p),
        ("modes", ctypes.c_void_p),
        ("vectors", ctypes.c_void_p),
        ("known", ctypes.c_void_p),
        ("before", ctypes.c_void_p),
        ("moved_before", ctypes.c_void_p),
        ("drift", ctypes.c_int32 * 2),
    )


class Pictures(ctypes.Structure):
    """See ``kernels.h``."""

    _fields_ = (
        ("height", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("source", ctypes.c_void_p),
        ("reference", ctypes.c_void_p),
    )


class Costs(ctypes.Structure):
    """See ``kernels.h``."""

    _fields_ = (
        ("choices", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        ("reach", ctypes.c_int64),
        ("worth", ctypes.c_float),
    )


class Weights(ctypes.Structure):
    """See ``kernels.h``."""

    _fields_ = (
        ("per_error", ctypes.c_float),
        ("symbol", ctypes.c_float),
        ("doubling", ctypes.c_float),
        ("position", ctypes.c_float),
        ("doublings", ctypes.c_void_p),
        ("doubling_count", ctypes.c_int64),
    )


def _load() -> ctypes.CDLL:
    remedy = "install the package anew, from a wheel for this machine or with 'pip install .'"
    try:
        library = ctypes.CDLL(str(_PATH))
        library.icm_sources.restype = ctypes.c_uint32
        made_from = library.icm_sources()
    except (OSError, AttributeError) as error:
        raise ConfigError(f"the compiled part of the codec cannot be loaded ({error}): {remedy}") from None
    sources = sorted(_PATH.parent.glob("*.[ch]"))
    if made_from != zlib.crc32(b"".join(path.read_bytes() for path in sources)):
        # What it takes may have changed, and it would work on the wrong memory.
        raise ConfigError(f"the compiled part of the codec, {_PATH}, is of another version: {remedy}")
    return library


_LIBRARY = _load()


def _function(name: str, *arguments: Any, result: Any = None) -> Any:
    function = getattr(_LIBRARY, name)
    function.argtypes, function.restype = arguments, result
    return function


def _array(dtype: type[np.generic]) -> Any:
    return ndpointer(dtype, flags="C_CONTIGUOUS")


_number, _int = ctypes.c_int64, ctypes.c_int
_known, _pictures, _costs, _weights = (ctypes.POINTER(kind) for kind in (MotionContext, Pictures, Costs, Weights))
_u8, _i8, _i16, _i32, _i64 = (_array(kind) for kind in (np.uint8, np.int8, np.int16, np.int32, np.int64))
_f32, _f64, _bool = _array(np.float32), _array(np.float64), _array(np.bool_)

mode_contexts = _function("icm_mode_contexts", _known, _i64, _number, _i64)
guess = _function("icm_guess", _known, _i64, _number, _int, _i64, _i64)
learn = _function("icm_learn", _known, _i64, _number, _int, _i64)
forget = _function("icm_forget", _known, _i64, _number, _int)
choices = _function("icm_choices", _known, _i64, _number, _int, _i64, _i64)
choose_vectors = _function(
    "icm_choose_vectors", _known, _pictures, _costs, _i64, _number, _i64, _number, _i64, _f32, _i64, _f32
)
brightness_of_picture = _function("icm_brightness_of_picture", _u8, _number, _i16)
brightness_of_linear = _function("icm_brightness_of_linear", _i16, _number, _i16)
search = _function("icm_search", _pictures, _i16, _i16, _i64, _number, _i64)
moved_blocks = _function("icm_moved_blocks", _i16, _number, _number, _i64, _number, _i8, _f64)
unscaled = _function("icm_unscaled", _i16, _number, _number, _i64, _number, _f64)
scaled = _function("icm_scaled", _f64, _number, _number, _int, _i64, _number, _i32)
pixels = _function("icm_pixels", _f64, _number, _int, _number, _i16)
choose_modes = _function("icm_choose_modes", _weights, _number, _number, _f32, _i16, _i16, _f32, _f32, _i64, _i16)
quantise = _function("icm_quantise", _number, _f32, _i32, _i32, _f32, _i64, _number, ctypes.c_float, _i32)
predictions = _function("icm_predictions", _f32, _number, _number, ctypes.c_float, ctypes.c_float, _i32, _u8)
expected = _function("icm_expected", _i32, _i32, _number, _bool, _i32, _number, _i64, _bool, _i32, result=_number)
coding_order = _function("icm_coding_order", _i32, _bool, _number, _number, _i64, _i64, _i32)
