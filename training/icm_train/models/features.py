"""Features of a frozen network, and how far apart two pictures are in them.

The network is the shift-tolerant AlexNet of Ghildyal and Liu (ECCV 2022), the distance that of LPIPS (Zhang et al.
2018): at five depths, differences of features of unit length, weighted by channel. Its weights lie in the wheel
``stlpips-pytorch``; ``python -m icm.testing.assets --features`` fetches them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icm.errors import ConfigError

_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
"""Mean and deviation of photos in -1..1, per channel, as LPIPS has them."""
_DEPTHS = (64, 192, 384, 256, 256)
SMALLEST_SIDE = 32
"""Pixels; of smaller pictures nothing is left at the deepest features."""


@contextmanager
def fetched_weights(path: Path) -> Iterator[dict[str, Tensor]]:
    """What a file of weights holds, by name, while a network takes it over.

    Raises:
        ConfigError: the file is missing, or does not hold what the network asks for; it says how to get the right one.
    """
    try:
        yield torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a file that is no such checkpoint makes torch raise
        raise ConfigError(
            f"cannot read the feature network {path}: {error}; get it with python -m icm.testing.assets --features"
        ) from None


class _Halved(nn.Module):
    """A binomial blur and every second sample."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("filter", torch.outer(row, row).expand(channels, 1, 3, 3).clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel: Tensor = self.get_buffer("filter")
        return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel.to(x.dtype), stride=2, groups=x.shape[1])


class FrozenFeatures(nn.Module):
    """The network and the weights of its channels, none of which ever learns."""

    def __init__(self, weights: Path) -> None:
        """Loads the network's weights.

        Args:
            weights: ``alex_shift_tolerant.pth`` of the wheel.

        Raises:
            ConfigError: the file is missing or holds something else.
        """
        super().__init__()
        one, two, three, four, five = _DEPTHS
        self.stages = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(3, one, 11, padding=2), _Halved(one), nn.ReLU()),
                nn.Sequential(nn.MaxPool2d(3, 1), _Halved(one), nn.Conv2d(one, two, 5, padding=2), nn.ReLU()),
                nn.Sequential(nn.MaxPool2d(3, 1), _Halved(two), nn.Conv2d(two, three, 3, padding=1), nn.ReLU()),
                nn.Sequential(nn.Conv2d(three, four, 3, padding=1), nn.ReLU()),
                nn.Sequential(nn.Conv2d(four, five, 3, padding=1), nn.ReLU()),
            ]
        )
        self.heads = nn.ParameterList([nn.Parameter(torch.zeros(1, channels, 1, 1)) for channels in _DEPTHS])
        self.register_buffer("shift", torch.tensor(_SHIFT)[None, :, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE)[None, :, None, None], persistent=False)
        self._read(weights)
        self.requires_grad_(False).eval()

    def _read(self, weights: Path) -> None:
        with fetched_weights(weights) as stored:
            convolutions = [m for m in self.modules() if isinstance(m, nn.Conv2d)]
            names = [name.removesuffix(".weight") for name in stored if name.startswith("net.") and "weight" in name]
            for convolution, name in zip(convolutions, names, strict=True):
                convolution.load_state_dict({kind: stored[f"{name}.{kind}"] for kind in ("weight", "bias")})
            for number, head in enumerate(self.heads):
                head.data.copy_(stored[f"lin{number}.model.1.weight"])

    def features(self, image: Tensor) -> list[Tensor]:
        """float32[B, 3, H, W] in 0..1, sides of at least 32 -> at each depth float[B, C, h, w] of unit length."""
        return [x / (x.float().square().sum(1, keepdim=True).sqrt() + 1e-10) for x in self.raw(image, len(self.stages))]

    def raw(self, image: Tensor, depths: int) -> list[Tensor]:
        """The features of the first ``depths`` depths as the network computes them, of whatever length."""
        x = (2 * image - 1 - self.get_buffer("shift")) / self.get_buffer("scale")
        found = []
        for stage in self.stages[:depths]:
            x = stage(x)
            found.append(x)
        return found

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """The distance of two batches of pictures: float32[B, 3, H, W] twice -> float32[B], 0 for equal ones."""
        total = torch.zeros(first.shape[0], device=first.device)
        pairs = zip(self.heads, self.features(first), self.features(second), strict=True)
        for head, a, b in pairs:
            total = total + (head * (a.float() - b.float()).square()).sum(1).mean((1, 2))
        return total
