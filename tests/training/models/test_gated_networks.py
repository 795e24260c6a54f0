"""The transforms of gated blocks: what they cost, how far a change reaches, and that they know the quality level."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from icm_train.models.gated_networks import GatedAnalysis, GatedSynthesis, LevelScale
from icm_train.models.networks import NetworkConfig

WIDTHS = {"encoder_wide": 160, "encoder_deep": 256, "decoder_deep": 320, "decoder_wide": 176, "decoder_fine": 64}
CONFIG = NetworkConfig(blocks="gated", luma=176, chroma=40, **WIDTHS)
LEVELS = torch.eye(8)


def randomised(network: nn.Module) -> nn.Module:
    """The same with no weight at its start, so that every part of it takes part."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


@pytest.fixture(scope="module")
def analysis() -> nn.Module:
    torch.manual_seed(0)
    return randomised(GatedAnalysis(CONFIG))


@pytest.fixture(scope="module")
def synthesis() -> nn.Module:
    torch.manual_seed(0)
    return randomised(GatedSynthesis(CONFIG))


def multiplications(network: nn.Module, pixels: int, *inputs: Tensor) -> float:
    """kMAC a pixel of all convolutions."""
    total = 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        total_of_layer = output.numel() * layer.weight[0].numel()
        nonlocal total
        total += total_of_layer

    hooks = [layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        network(*inputs)
    for hook in hooks:
        hook.remove()
    return total / pixels / 1000


def test_the_encoder_takes_at_most_12_and_the_decoder_at_most_28_kmac_a_pixel(
    analysis: nn.Module, synthesis: nn.Module
) -> None:
    assert 5 < multiplications(analysis, 64 * 64, torch.rand(1, 3, 64, 64), LEVELS[:1]) <= 12
    assert 10 < multiplications(synthesis, 64 * 64, torch.rand(1, 256, 4, 4), LEVELS[:1]) <= 28


@torch.no_grad()
def test_a_changed_pixel_reaches_latents_up_to_64_pixels_beyond_its_block(analysis: nn.Module) -> None:
    image = torch.rand(1, 3, 256, 256)
    changed = image.clone()
    changed[:, :, 128:144, 128:144] = 1 - changed[:, :, 128:144, 128:144]
    updated = (analysis(image, LEVELS[:1]) - analysis(changed, LEVELS[:1])).abs().amax((0, 1)) > 1e-4
    rows, columns = updated.nonzero(as_tuple=True)
    assert updated[8, 8]
    assert int((rows - 8).abs().max()) <= 4
    assert int((columns - 8).abs().max()) <= 4


@torch.no_grad()
def test_a_changed_latent_reaches_pixels_up_to_88_pixels_beyond_its_block(synthesis: nn.Module) -> None:
    latents = 40 * torch.randn(1, 256, 16, 16)
    changed = latents.clone()
    changed[:, :, 8, 8] += 100
    updated = (synthesis(latents, LEVELS[:1]) - synthesis(changed, LEVELS[:1])).abs().amax((0, 1)) > 1e-6
    rows, columns = updated.nonzero(as_tuple=True)
    assert updated[128:144, 128:144].all()
    for places in (rows, columns):
        assert int(places.min()) >= 128 - 88
        assert int(places.max()) < 144 + 88


@torch.no_grad()
def test_untrained_they_are_a_block_transform_and_its_inverse() -> None:
    flat = torch.rand(2, 3, 4, 4).repeat_interleave(16, 2).repeat_interleave(16, 3)
    latents = GatedAnalysis(CONFIG)(flat, LEVELS[:2])
    assert torch.allclose(GatedSynthesis(CONFIG)(latents, LEVELS[:2]), flat, atol=1e-4)


@torch.no_grad()
def test_every_picture_of_a_batch_is_treated_at_its_own_level(analysis: nn.Module) -> None:
    images = torch.rand(2, 3, 64, 64)
    both = analysis(images, LEVELS[[1, 6]])
    assert torch.allclose(both[0], analysis(images[:1], LEVELS[[1]])[0], atol=1e-3)
    assert torch.allclose(both[1], analysis(images[1:], LEVELS[[6]])[0], atol=1e-3)
    assert not torch.allclose(both[1], analysis(images[1:], LEVELS[[1]])[0], atol=1e-3)


@torch.no_grad()
def test_between_two_levels_scales_are_their_geometric_and_shifts_their_arithmetic_mean() -> None:
    scale = LevelScale(8, 4)
    scale.log_scale[2], scale.log_scale[3] = torch.tensor(1.0).log(), torch.tensor(4.0).log()
    scale.shift[2], scale.shift[3] = 1.0, 2.0
    halfway = scale(torch.ones(1, 4, 1, 1), (LEVELS[2:3] + LEVELS[3:4]) / 2)
    assert torch.allclose(halfway, torch.full((1, 4, 1, 1), 3.5))


def test_without_level_scales_they_are_the_same_at_every_level() -> None:
    torch.manual_seed(0)
    network = GatedAnalysis(NetworkConfig(blocks="gated", level_scales=False, encoder_wide=32, encoder_deep=32))
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(image, LEVELS[:1]), network(image, LEVELS[7:]))


@torch.no_grad()
def test_what_they_make_of_huge_inputs_grows_no_faster_than_these(analysis: nn.Module, synthesis: nn.Module) -> None:
    # With unbounded gates each block squares what is large: eight of them made 10^13 of a photo, and then NaN.
    for network, inputs in (
        (analysis, torch.randn(1, 3, 64, 64)),
        (synthesis, 100 * torch.randn(1, 256, 4, 4)),
    ):
        large, larger = (float(network(inputs * factor, LEVELS[:1]).abs().max()) for factor in (1e3, 1e4))
        assert larger < 12 * large
