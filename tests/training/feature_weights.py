"""Files like those of the networks whose features training compares, with random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from icm_train.models.efficientnet_lite import BLOCKS

SHAPES = {
    "net.slice1.0": (64, 3, 11, 11),
    "net.slice2.5": (192, 64, 5, 5),
    "net.slice3.9": (384, 192, 3, 3),
    "net.slice4.11": (256, 384, 3, 3),
    "net.slice5.13": (256, 256, 3, 3),
}


def write_random_weights(path: Path) -> Path:
    """Writes the file, the same one every time."""
    generator = torch.Generator().manual_seed(7)
    stored: dict[str, torch.Tensor] = {}
    for number, (name, shape) in enumerate(SHAPES.items()):
        stored[f"{name}.weight"] = torch.randn(shape, generator=generator) / (shape[1] * shape[2] ** 2) ** 0.5
        stored[f"{name}.bias"] = torch.zeros(shape[0])
        stored[f"lin{number}.model.1.weight"] = torch.rand(1, shape[0], 1, 1, generator=generator)
    torch.save(stored, path)
    return path


def write_random_classifier(path: Path) -> Path:
    """A checkpoint like that of EfficientNet-Lite0, as far as features are taken, with random weights."""
    generator = torch.Generator().manual_seed(7)
    state: dict[str, Tensor] = {}

    def layer(convolution: str, norm: str, made: int, taken: int, kernel: int) -> None:
        size = (made, taken, kernel, kernel)
        state[f"{convolution}.weight"] = torch.randn(size, generator=generator) * (2 / (taken * kernel**2)) ** 0.5
        for name, least in (("weight", 0.5), ("bias", -0.5), ("running_mean", -0.5), ("running_var", 0.5)):
            state[f"{norm}.{name}"] = least + torch.rand(made, generator=generator)

    layer("_conv_stem", "_bn0", 32, 3, 3)
    for number, (taken, made, kernel, _, expansion) in enumerate(BLOCKS):
        name, wide = f"_blocks.{number}", taken * expansion
        if expansion > 1:
            layer(f"{name}._expand_conv", f"{name}._bn0", wide, taken, 1)
        layer(f"{name}._depthwise_conv", f"{name}._bn1", wide, 1, kernel)
        layer(f"{name}._project_conv", f"{name}._bn2", made, wide, 1)
    torch.save(state, path)
    return path
