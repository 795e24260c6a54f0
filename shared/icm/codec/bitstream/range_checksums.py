"""CRC32C of any part of some bytes, without going over a long part again for each.

The checksum of two strings together follows from those of each: the first's, multiplied by x to the power of the
second's length in bits, in the field that CRC32C reckons in. So that of a part follows from those of all before its end
and of all before its beginning.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

import google_crc32c

_POLYNOMIAL = 0x82F6_3B78
"""Of CRC32C, lowest power in the highest bit, as are all numbers here."""
_ONE, _X_TO_8 = 1 << 31, 1 << 23
_APART = 1 << 14
"""Bytes from one place up to which the checksum is kept to the next."""
_SHORT = 1 << 18
"""Parts of so many bytes are gone over, which takes no longer."""


class RangeChecksums:
    """Of the parts of ``data``."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def of(self, begin: int, end: int) -> int:
        """The checksum of ``data[begin:end]``, in a time that hardly depends on its length."""
        size, rest = end - begin, (end - begin) % _APART
        if size <= _SHORT:
            return int(google_crc32c.value(bytes(self._data[begin:end])))
        before = _product(self._up_to(begin), _power_of_bytes(size - rest))
        return self._up_to(end) ^ _product(before, _power_of_bytes(rest))

    @cached_property
    def _kept(self) -> list[int]:
        kept = [0]
        for start in range(0, len(self._data) - _APART + 1, _APART):
            kept.append(google_crc32c.extend(kept[-1], bytes(self._data[start : start + _APART])))
        return kept

    def _up_to(self, end: int) -> int:
        place = end // _APART
        return int(google_crc32c.extend(self._kept[place], bytes(self._data[place * _APART : end])))


def _product(left: int, right: int) -> int:
    product, bit = 0, _ONE
    while left:
        if left & bit:
            product ^= right
            left ^= bit
        bit >>= 1
        right = right >> 1 ^ (_POLYNOMIAL if right & 1 else 0)
    return product


@lru_cache(2 * _APART)
def _power_of_bytes(count: int) -> int:
    """x to the power of eight times the count."""
    power, square = _ONE, _X_TO_8
    while count:
        if count & 1:
            power = _product(power, square)
        square = _product(square, square)
        count >>= 1
    return power
