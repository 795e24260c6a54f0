"""What the integer networks see of the latents around a position."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

INPUT_MAX = 63
"""What a network sees is clipped to this."""
BIT_LENGTH_MAX = 7
"""Of each of nine neighbours, so that their sum stays within what a network sees."""
_BIT_LENGTHS = np.array([value.bit_length() for value in range(1 << BIT_LENGTH_MAX)], np.uint8)


class Neighbourhood:
    """Whole numbers at the positions of a picture, 0 where nothing is known yet and outside the picture.

    Positions count row by row. What is asked for is written to a part of what a network sees, float32 with a column
    for each position: to gather it there at once takes a fraction of the time of putting parts together.
    """

    def __init__(self, channels: int, rows: int, columns: int) -> None:
        width = columns + 2
        self._values = np.zeros((channels, (rows + 2) * width), np.float32)
        # A row for each position: nine rows are added up far faster than nine columns.
        self._lengths = np.zeros(self._values.shape[::-1], np.uint8)
        self._inner = (np.arange(1, rows + 1)[:, None] * width + np.arange(1, columns + 1)).ravel()
        offsets = np.arange(-1, 2)
        self._offsets = (offsets[:, None] * width + offsets).reshape(9, 1)

    def learn(
        self, channels: slice, positions: NDArray[np.int64], values: NDArray[np.int16] | NDArray[np.int32]
    ) -> None:
        """The values of some channels at A positions, [C, A], are known."""
        self.keep(channels, positions, values)
        self.measure(channels, positions, values)

    def keep(
        self, channels: slice, positions: NDArray[np.int64], values: NDArray[np.int16] | NDArray[np.int32]
    ) -> None:
        """As ``learn``, where nobody will ask how loud they are."""
        self._values[channels][:, self._inner[positions]] = np.clip(values, -INPUT_MAX, INPUT_MAX)

    def measure(
        self, channels: slice, positions: NDArray[np.int64], values: NDArray[np.int16] | NDArray[np.int32]
    ) -> None:
        """As ``learn``, where nobody will ask for more than how loud they are."""
        lengths = _BIT_LENGTHS[np.minimum(np.abs(values), len(_BIT_LENGTHS) - 1)]
        self._lengths[self._inner[positions], channels] = lengths.T

    def around(self, channels: slice, positions: NDArray[np.int64], out: NDArray[np.float32]) -> None:
        """The 3x3 neighbourhoods, clipped, channel by channel: to float32[9 C, A]."""
        places = (self._offsets + self._inner[positions]).ravel()
        values = self._values[channels]
        # No place lies outside; to say so spares NumPy a copy.
        values.take(places, axis=1, out=out.reshape(len(values), len(places)), mode="clip")

    def there(self, channels: slice, positions: NDArray[np.int64], out: NDArray[np.float32]) -> None:
        """The values at the positions themselves, clipped: to float32[C, A]."""
        self._values[channels].take(self._inner[positions], axis=1, out=out, mode="clip")

    def magnitude_sum(self, channels: slice, positions: NDArray[np.int64], out: NDArray[np.float32]) -> None:
        """The bit lengths of the magnitudes, each at most 7, summed over the 3x3 neighbourhoods: to float32[C, A]."""
        places = self._offsets + self._inner[positions]
        out[:] = self._lengths[places, channels].sum(0, dtype=np.uint8).T
