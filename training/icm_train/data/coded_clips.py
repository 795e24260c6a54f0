"""Frames of clips as a decoder gets them: after others, with what moved predicted and what costs too much left out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from icm.codec.entropy.residuals import ChannelGroups
from icm.codec.latents.latents import STRIDE
from icm.codec.motion.linear_path import LinearPath, LinearSynthesis
from icm.errors import ConfigError
from icm_train.data.motion_samples import ClipCoder, FieldCounts, linear_path
from icm_train.models.codec import TrainableCodec

_SETTLED = 6
"""Frames of a clip that are coded before one is taken, so that most of what a decoder sees came by P records."""
_KEPT = 4
"""Frames taken of a coded clip."""
_LATELY = 4
"""Frames for which a position counts as moving after it was coded last."""


class CodedFrame(NamedTuple):
    """One frame: image uint8[3, size, size], latents float32[M, h, w] in steps, moving bool[size, size]."""

    image: Tensor
    latents: Tensor
    moving: Tensor


class CodedClips:
    """Frames of clips, coded at every quality level; objects are what moves."""

    def __init__(self, codec: TrainableCodec, clips: Path, temporal: Path, count: int, size: int, seed: int) -> None:
        """Codes so many cut-outs of the clips, the levels in turn.

        Args:
            codec: finished, on the CPU.
            clips: what the stage of P records was trained on.
            temporal: that stage's checkpoint, for the maps that motion is predicted through.
            count: cut-outs to code.
            size: side of a cut-out, pixels.
            seed: what is cut out, and which frames are taken, follows from it.

        Raises:
            ConfigError: there is no such stage here, or its clips are smaller than that.
        """
        for file in (clips, temporal):
            if not file.exists():
                raise ConfigError(f"there is no {file}, which finetune.clips needs: icm-train temporal makes it")
        self._codec, self._size = codec, size
        self._random = np.random.default_rng(seed)
        self._coder = ClipCoder(*_maps(codec, temporal), FieldCounts().tables())
        source: NDArray[np.uint8] = np.load(clips, mmap_mode="r")
        if min(source.shape[2:4]) < size:
            raise ConfigError(f"the clips in {clips} are smaller than finetune.crop, {size} pixels")
        levels = len(codec.config.lambdas)
        self._frames: list[list[CodedFrame]] = [[] for _ in range(levels)]
        for number in tqdm(range(max(count, levels)), desc="coding clips", unit="clip"):
            clip = self._cut_out(source[self._random.integers(len(source))])
            self._frames[number % levels] += self._coded(clip, number % levels)

    def draw(self, level: int) -> CodedFrame:
        """One of the frames at this level."""
        frames = self._frames[level]
        return frames[int(self._random.integers(len(frames)))]

    def _cut_out(self, clip: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The busiest of four places of a clip, mirrored half of the time."""
        places = [
            tuple(int(self._random.integers(side - self._size + 1)) for side in clip.shape[1:3]) for _ in range(4)
        ]
        cuts = [clip[:, top : top + self._size, left : left + self._size] for top, left in places]
        busiest = max(cuts, key=lambda cut: float(np.abs(np.diff(cut[::4].astype(np.int16), axis=0)).mean()))
        return np.array(busiest[:, :, ::-1] if self._random.random() < 0.5 else busiest)

    @torch.no_grad()
    def _coded(self, clip: NDArray[np.uint8], level: int) -> list[CodedFrame]:
        frames = torch.from_numpy(clip).permute(0, 3, 1, 2).float() / 255
        weights = self._codec.weights_of(torch.full((len(frames),), level))
        latents: NDArray[np.float32] = self._codec.analysis(frames, weights).numpy()
        gains = self._codec.gains.log_gain.exp().numpy()[level]
        taken = self._random.choice(np.arange(_SETTLED, len(clip)), min(_KEPT, len(clip) - _SETTLED), replace=False)
        found, ages = [], np.full(latents.shape[2:], _LATELY)
        for number, (choice, _) in enumerate(self._coder.coded(clip, latents, gains, level), 1):
            ages = np.where(choice.field.updated, 0, ages + 1)
            if number in taken:
                moving = np.kron(ages < _LATELY, np.ones((STRIDE, STRIDE), bool))
                values = torch.from_numpy(choice.values.astype(np.float32))
                image = torch.from_numpy(clip[number].copy()).permute(2, 0, 1)
                found.append(CodedFrame(image, values, torch.from_numpy(moving)))
        return found


def _maps(codec: TrainableCodec, temporal: Path) -> tuple[LinearPath, LinearSynthesis, ChannelGroups]:
    state = torch.load(temporal, map_location="cpu", weights_only=True)
    path = linear_path(codec)
    if "maps" in state:
        analysis, synthesis = (weights.cpu().numpy() for weights in state["maps"])
        path = LinearPath(analysis, synthesis, path.octaves)
    searched = state.get("search")
    search = path if searched is None else LinearSynthesis(searched.cpu().numpy(), path.octaves)
    return path, search, ChannelGroups([list(group) for group in state["groups"]])
