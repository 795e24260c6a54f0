"""What latents would cost under counted tables, and the learned shape that training takes for them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from icm.codec.entropy.integer_network import MEAN_STEPS, SCALE_COUNT
from icm.codec.latents.latents import HYPER_MAX
from icm_train.integer.grid import SCALE_LOG_STEP, SCALE_MIN
from icm_train.integer.tables import TABLE_REACH, Histograms
from icm_train.learning.tables import CountedTables
from icm_train.models.codec import TrainableCodec
from icm_train.models.entropy_model import LatentBits, MixtureBits
from tests.training.small_run import SMALL

SIZE = (1, 4, 32, 32)


def index_of(sigma: float) -> float:
    return (math.log(sigma) - math.log(SCALE_MIN)) / SCALE_LOG_STEP


def nothing() -> Histograms:
    """Of two levels and three hyper-channels."""
    latents = np.zeros((SCALE_COUNT * MEAN_STEPS, 2 * TABLE_REACH + 1), np.int64)
    return Histograms(latents, np.zeros((2, 3, 2 * HYPER_MAX + 1), np.int64))


def uncounted() -> CountedTables:
    return CountedTables(nothing())


def test_tables_that_counted_nothing_are_gaussians() -> None:
    torch.manual_seed(0)
    latents = (2 * torch.randn(SIZE)).round()
    means, indexes = torch.zeros(SIZE), torch.full(SIZE, round(index_of(2.0)))
    gaussian = float(LatentBits()(latents, means, indexes.float()).sum())
    assert uncounted().bits(latents, means, indexes) == pytest.approx(gaussian, rel=0.02)


def test_a_mean_between_whole_numbers_has_a_table_of_its_own() -> None:
    latents, indexes = torch.ones(SIZE), torch.full(SIZE, round(index_of(0.3)))
    at_half, at_three_quarters = (uncounted().bits(latents, torch.full(SIZE, mean), indexes) for mean in (0.5, 0.75))
    assert at_three_quarters < 0.5 * at_half


def test_what_lies_beyond_a_table_costs_more_the_farther_it_is() -> None:
    means, indexes = torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    costs = [uncounted().bits(torch.full((1, 1, 1, 1), float(value)), means, indexes) for value in (1, 50, 3000)]
    assert costs == sorted(costs)
    assert costs[2] < 60


def test_what_was_counted_often_costs_little() -> None:
    index = round(index_of(3.0))
    counted = nothing()
    counted.latents[index * MEAN_STEPS, [TABLE_REACH - 1, TABLE_REACH + 1]] = 100_000
    latents = torch.where(torch.rand(SIZE) < 0.5, -1.0, 1.0)
    bits = CountedTables(counted).bits(latents, torch.zeros(SIZE), torch.full(SIZE, index))
    assert bits / latents.numel() == pytest.approx(1, abs=0.02)


def test_hyper_latents_cost_what_their_level_and_channel_count_says() -> None:
    counted = nothing()
    counted.hyper[0, :, HYPER_MAX] = 1_000_000  # silent at the first level
    counted.hyper[1, 0, HYPER_MAX : HYPER_MAX + 4] = 1_000_000  # one of four numbers in the first channel
    counted.hyper[1, 1:, HYPER_MAX] = 1_000_000
    tables = CountedTables(counted)
    hyper = torch.zeros(1, 3, 8, 8)
    hyper[:, 0] = torch.arange(64).reshape(8, 8) % 4
    assert tables.hyper_bits(torch.zeros(1, 3, 8, 8), 0) / 192 < 0.2
    # Two bits of the first channel, and of the other two what smoothing of the counts leaves.
    assert 2 < tables.hyper_bits(hyper, 1) / 64 < 2.6
    assert tables.hyper_bits(hyper, 0) > 3 * tables.hyper_bits(hyper, 1)


def test_the_symbols_of_every_level_are_counted() -> None:
    torch.manual_seed(1)
    codec = TrainableCodec(SMALL).eval()
    pictures = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8).repeat_interleave(16, 2).repeat_interleave(16, 3)
    counted = CountedTables.of(codec, pictures)
    with torch.no_grad():
        for level in (0, 7):
            y, z = codec.integers(pictures.float() / 255, level)
            means, indexes = codec.hyper_synthesis(z, torch.full((4,), level))
            assert counted.bits(y, means, indexes) < uncounted().bits(y, means, indexes)
            # One of 127 numbers of which nothing is known takes seven bits.
            assert counted.hyper_bits(z, level) < 0.5 * 7 * z.numel()


@pytest.mark.parametrize("sigma", [0.1, 1.0, 9.0])
@pytest.mark.parametrize("mean", [0.0, 0.37])
def test_a_mixtures_likelihoods_sum_to_one(sigma: float, mean: float) -> None:
    values = torch.arange(-400.0, 401.0)
    bits = MixtureBits()
    with torch.no_grad():
        bits.shares.add_(torch.randn(2, 4, generator=torch.Generator().manual_seed(2)))
        told = bits(values, torch.full_like(values, mean), torch.full_like(values, index_of(sigma)))
    assert float((2**-told).sum()) == pytest.approx(1, abs=0.01)


def test_without_shares_a_mixture_is_a_gaussian() -> None:
    bits = MixtureBits()
    with torch.no_grad():
        bits.shares[:, 0] = -50
    values = torch.arange(-4.0, 5.0)
    means, indexes = torch.full_like(values, 0.3), torch.full_like(values, index_of(1.5))
    assert torch.allclose(bits(values, means, indexes), LatentBits()(values, means, indexes), atol=2e-3)


def test_a_mixture_learns_heavy_tails() -> None:
    generator = torch.Generator().manual_seed(3)
    scale = torch.where(torch.rand(4000, generator=generator) < 0.2, 5.0, 0.5)
    values = (scale * torch.randn(4000, generator=generator)).round()
    means, bits = torch.zeros_like(values), MixtureBits()
    indexes = torch.full_like(values, index_of(float(values.std().item()))).requires_grad_()
    optimiser = torch.optim.Adam([bits.shares, indexes], 0.05)
    for _ in range(150):
        loss = bits(values, means, indexes).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    plain = min(
        float(LatentBits()(values, means, torch.full_like(values, index_of(sigma))).mean())
        for sigma in np.geomspace(0.3, 5, 30)
    )
    assert float(loss.detach()) < 0.92 * plain
