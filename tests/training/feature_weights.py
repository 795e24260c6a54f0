"""A file like that of the perceptual distance's network, with random weights in place of the fetched ones."""

from __future__ import annotations

from pathlib import Path

import torch

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
