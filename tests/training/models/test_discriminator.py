"""The discriminator's patches and losses."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from icm.errors import ConfigError
from icm_train.models.discriminator import (
    DiscriminatorLoss,
    PatchDiscriminator,
    cut_patches,
    deception_loss,
    discrimination_loss,
)

LOSSES = get_args(DiscriminatorLoss)


def positions(height: int, width: int) -> torch.Tensor:
    """A picture whose pixels say where they lie: float32[1, 3, H, W]."""
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack((row, column, row * column))[None].float()


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_patches_lie_on_the_codecs_grid_at_the_same_places_of_both_pictures_and_no_two_alike(
    size: int, count: int
) -> None:
    pictures = positions(128, 192).repeat(2, 1, 1, 1)
    photo, coded = cut_patches((pictures, pictures + 0.5), size, count, torch.Generator().manual_seed(3))
    assert photo.shape == coded.shape == (2 * count, 3, size, size)
    assert torch.equal(photo + 0.5, coded)
    corners = [(int(patch[0, 0, 0]), int(patch[1, 0, 0])) for patch in photo]
    assert all(row % 16 == 0 and column % 16 == 0 for row, column in corners)
    assert len(set(corners[:count])) == len(set(corners[count:])) == count


def test_every_place_of_a_picture_gives_patches() -> None:
    generator = torch.Generator().manual_seed(1)
    (cut,) = cut_patches((positions(64, 96),), 32, 15, generator)
    assert {(int(p[0, 0, 0]), int(p[1, 0, 0])) for p in cut} == {(r, c) for r in (0, 16, 32) for c in range(0, 80, 16)}


def test_a_picture_too_small_for_its_patches_is_refused() -> None:
    with pytest.raises(ConfigError, match="choose a larger crop"):
        cut_patches((positions(64, 64),), 64, 3, torch.Generator())


def test_a_patch_is_scored_every_8_pixels() -> None:
    assert PatchDiscriminator(8)(torch.rand(2, 3, 64, 32)).shape == (2, 1, 8, 4)


@pytest.mark.parametrize("kind", LOSSES)
def test_the_discriminator_gains_by_telling_apart_and_the_decoder_by_passing_for_a_photo(
    kind: DiscriminatorLoss,
) -> None:
    high, low = torch.full((4, 1, 2, 2), 0.6), torch.full((4, 1, 2, 2), -0.6)
    assert discrimination_loss(kind, high, low) < discrimination_loss(kind, low, high)
    assert deception_loss(kind, high) < deception_loss(kind, low)


@pytest.mark.parametrize("kind", LOSSES)
def test_a_discriminator_learns_to_tell_a_planted_grid(kind: DiscriminatorLoss) -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    discriminator = PatchDiscriminator(16)
    optimiser = torch.optim.Adam(discriminator.parameters(), 2e-3, betas=(0.5, 0.99))
    grid = torch.zeros(64, 64)
    grid[::16] = grid[:, ::16] = 0.3

    def scores() -> tuple[torch.Tensor, torch.Tensor]:
        photo = torch.rand(8, 3, 64, 64, generator=generator) * 0.2 + 0.4
        photo_scores, coded_scores = discriminator(torch.cat((photo, photo + grid))).chunk(2)
        return photo_scores, coded_scores

    for _ in range(40):
        optimiser.zero_grad()
        discrimination_loss(kind, *scores()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    photo, coded = scores()
    assert (photo.mean((1, 2, 3)) > coded.mean((1, 2, 3))).all()
