"""More latent channels for a codec that is trained already: the new ones start as the DCT's next frequencies."""

from __future__ import annotations

import torch
from torch import Tensor

from icm.errors import ConfigError
from icm_train.models.codec import TrainableCodec
from icm_train.models.networks import NetworkConfig

_START_SILENT = ("synthesis.entry.weight", "hyper_analysis.first.weight")
"""Weights that read latents of the trained part: new channels must not disturb it."""


_STRIDES = ("encoder_wide", "encoder_deep", "decoder_deep", "decoder_wide", "decoder_fine")
_SAME = ("blocks", "level_scales", *(f"{stride}_blocks" for stride in _STRIDES))
"""What shapes alone do not tell."""


@torch.no_grad()
def copy_weights(codec: TrainableCodec, trained: dict[str, Tensor], narrow: NetworkConfig, images: Tensor) -> None:
    """Fills an untrained codec with the weights of one that differs, if at all, in having fewer latents.

    Args:
        trained: state of the trained codec.
        narrow: its widths.
        images: float32[B, 3, H, W] photos, to set the new channels' scales from.

    Raises:
        ConfigError: the two differ in more than their latents.
    """
    if differ := [name for name in _SAME if getattr(narrow, name) != getattr(codec.config, name)]:
        raise ConfigError(f"the start checkpoint differs in more than its latents: see {', '.join(differ)}")
    old_index = _positions(narrow, codec.config)
    codec.start_from(images)
    state = codec.state_dict()
    for name, fresh in state.items():
        if name not in trained and name.startswith("latent_bits."):
            continue  # a likelihood's learned shape begins anew
        source = trained[name]
        if fresh.shape == source.shape:
            state[name] = source
            continue
        if fresh.dim() != source.dim():
            raise ConfigError(f"the start checkpoint does not fit: {name} is {list(source.shape)} there")
        index = [
            _index(old_index, new, old, codec.config, narrow, name)
            for new, old in zip(fresh.shape, source.shape, strict=True)
        ]
        target = torch.zeros_like(fresh) if name in _START_SILENT else fresh.clone()
        if name.startswith("gains."):
            # A step like those that the trained channels have come to.
            target[:] = source.mean(1, keepdim=True)
        target[torch.meshgrid(*index, indexing="ij")] = source
        state[name] = target
    codec.load_state_dict(state)


def _positions(narrow: NetworkConfig, wide: NetworkConfig) -> Tensor:
    """Where the narrow codec's latents lie among the wide one's: each plane's lowest frequencies come first."""
    if narrow.luma > wide.luma or narrow.chroma > wide.chroma:
        raise ConfigError("the start checkpoint has more latents than this config")
    planes = (0, wide.luma, wide.luma + wide.chroma)
    counts = (narrow.luma, narrow.chroma, narrow.chroma)
    return torch.cat([torch.arange(start, start + count) for start, count in zip(planes, counts, strict=True)])


def _index(positions: Tensor, new: int, old: int, wide: NetworkConfig, narrow: NetworkConfig, name: str) -> Tensor:
    if new == old:
        return torch.arange(old)
    if (new, old) == (wide.latents, narrow.latents):
        return positions
    if (new, old) == (2 * wide.latents, 2 * narrow.latents):
        return torch.cat((positions, positions + wide.latents))
    raise ConfigError(f"the start checkpoint differs in more than its latents: see {name}")
