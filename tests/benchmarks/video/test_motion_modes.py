"""``icm-bench motion-modes``: modes that are taken away are not used, and all bits are accounted for."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from icm.codec.bitstream.record import RECORD_OVERHEAD
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.codec.encoder import Encoder
from icm_bench.video.motion_modes import WITHOUT, _coded, _parts, _SomeModesEncoder
from tests.icm.codec.motion.test_choice import walking

Pictures = list[NDArray[np.uint8]]


@pytest.fixture(scope="module")
def codec() -> Bundle:
    return Bundle.load(DEFAULT_BUNDLE, threads=1)


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return walking(7, speed=5)


@pytest.mark.parametrize("missing", WITHOUT)
def test_a_mode_that_is_taken_away_is_chosen_nowhere(codec: Bundle, pictures: Pictures, missing: str) -> None:
    frames = _coded(_SomeModesEncoder(codec, WITHOUT[missing]), pictures, 2)
    for frame in frames:
        assert not np.isin(frame.latents.field.modes, WITHOUT[missing]).any()


def test_the_parts_of_a_p_record_add_up_to_it(codec: Bundle, pictures: Pictures) -> None:
    frames = _coded(Encoder(codec), pictures, 2)
    parts = _parts(codec, frames)
    following = [frame for frame in frames if frame.motion]
    whole = np.mean([8 * (RECORD_OVERHEAD + len(frame.payload)) for frame in following])
    sums = sum(parts[name] for name in ("record", "map", "modes", "vectors", "differences"))
    # The drift, what the stack rounds up to whole words, and parts as whole bits.
    assert whole - 64 < sums < whole + 8
