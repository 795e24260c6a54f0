"""Where a frame's bits go."""

from __future__ import annotations

from copy import copy

import numpy as np
import pytest
from numpy.typing import NDArray

from icm.codec.bit_allocation import bits_by_position, intra_bits
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import Encoder
from tests.bundles import ICM_1


def half_busy() -> NDArray[np.uint8]:
    """A flat left half beside a noisy right one, 96 x 192."""
    picture = np.full((96, 192, 3), 120, np.uint8)
    picture[:, 96:] = np.random.default_rng(1).integers(0, 256, (96, 96, 3))
    return picture


def test_bits_are_charged_to_the_positions_they_are_spent_on(codec: Bundle) -> None:
    coded = Encoder(codec).encode(half_busy(), 4, intra=True)
    bits = bits_by_position(codec, coded.record(1, 0), coded.latents)
    assert bits.shape == (6, 12)
    assert bits[:, 7:].sum() > 10 * bits[:, :5].sum()
    assert bits.sum() == pytest.approx(8 * len(coded.payload))
    assert 0.9 * bits.sum() < intra_bits(codec.entropy, coded.latents).sum() < bits.sum()


@pytest.mark.parametrize("with_motion", [True, False])
@pytest.mark.parametrize("next_quality", [4, 3])
def test_a_frame_after_another_spends_its_bits_where_something_changed(
    codec: Bundle, with_motion: bool, next_quality: int
) -> None:
    bundle = copy(codec) if with_motion else Bundle.load(ICM_1, threads=1)
    if not with_motion:
        bundle.motion = None
    encoder, scene = Encoder(bundle), half_busy()
    first = encoder.encode(scene, 4)
    changed = scene.copy()
    changed[32:64, 16:64] = np.random.default_rng(2).integers(60, 180, (32, 48, 3))
    second = encoder.encode(changed, next_quality)
    record = second.record(2, 0)
    assert (record.reference, record.motion) == (1, with_motion)
    bits = bits_by_position(bundle, record, second.latents, first.latents)
    assert bits.sum() == pytest.approx(8 * len(second.payload))
    if next_quality == 4:  # at another quality the noise is refined too
        assert bits[2:4, 1:4].sum() > 0.7 * bits.sum()
    assert (bits >= 0).all()
    assert (bits[~second.latents.updated] == 0).all()


def test_a_frame_in_which_nothing_changed_has_its_few_bits_spread_over_the_picture(codec: Bundle) -> None:
    encoder, scene = Encoder(codec), half_busy()
    first = encoder.encode(scene, 4)
    second = encoder.encode(scene, 4)
    bits = bits_by_position(codec, second.record(2, 0), second.latents, first.latents)
    assert bits.sum() == pytest.approx(8 * len(second.payload))
    assert bits.min() == bits.max()
