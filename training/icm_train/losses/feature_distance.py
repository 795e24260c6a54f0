"""How far apart pictures are in the features of frozen networks that judge nothing: not detectors, nor kin of any.

An error that these features do not show is one that networks hardly read; several unlike networks, so that none of
them alone is pleased. Differences count by the features' own variance, as in the layers' outputs scales differ by
orders of magnitude.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icm_train.models.efficientnet_lite import EfficientNetFeatures
from icm_train.models.features import FrozenFeatures

_LEAST_VARIANCE = 1e-4


class FeatureDistance(nn.Module):
    """The second and third features of an AlexNet, and those of an EfficientNet-Lite0 at strides 4, 8 and 16."""

    def __init__(self, alexnet: Path, efficientnet: Path) -> None:
        """Loads both networks.

        Args:
            alexnet: weights, see ``FrozenFeatures``.
            efficientnet: weights, see ``EfficientNetFeatures``.

        Raises:
            ConfigError: a file is missing or holds something else.
        """
        super().__init__()
        self.alexnet, self.efficientnet = FrozenFeatures(alexnet), EfficientNetFeatures(efficientnet)

    def forward(self, restored: Tensor, image: Tensor, weight: Tensor) -> Tensor:
        """The weighted mean of squared differences over each channel's variance, summed over five features.

        Args:
            restored: float32[B, 3, H, W], about 0..1.
            image: float32[B, 3, H, W], 0..1.
            weight: float32[B, H, W], what a place counts.

        Returns:
            float32[B].
        """
        with torch.autocast(image.device.type, torch.bfloat16):
            with torch.no_grad():
                wanted = self._features(image)
            made = self._features(restored)
        total = torch.zeros(len(image), device=image.device)
        for ours, theirs in zip(made, wanted, strict=True):
            spread = theirs.float().var((0, 2, 3), keepdim=True).clamp_min(_LEAST_VARIANCE)
            error = ((ours.float() - theirs.float()).square() / spread).mean(1)
            rows, columns = error.shape[-2:]
            here = F.adaptive_avg_pool2d(weight[:, None], (rows, columns))[:, 0]
            total = total + (here * error).sum((1, 2)) / here.sum((1, 2))
        return total

    def _features(self, image: Tensor) -> list[Tensor]:
        # AlexNet's first layers at half the resolution: at the whole one they cost more than the codec.
        return self.alexnet.raw(F.avg_pool2d(image, 2), 3)[1:] + self.efficientnet.features(image)[1:]
