"""The linear maps that P records predict motion through, fitted to what they are for.

They ship beside the codec's networks and are a part of none: latents become blocks by one, those are moved, and the
other makes latents of them (``icm.codec.motion.linear_path``), which have to be like the latents there. What lies
between need not look like anything, so an encoder finds vectors in a picture of its own, by a third map that makes it
as like the camera's as a linear one can. The codec's own linear paths do neither well where much is left to the learned
branches, as in icm-2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from icm.codec.latents.latents import STRIDE
from icm.codec.motion.linear_path import PIXELS, linear_weights
from icm_train.models.codec import TrainableCodec
from icm_train.schedule import cosine, warm_up

_ROOM = 48
"""Pixels of a clip's side that a crop leaves free, to be moved in."""
_REACH = 16
"""Pixels that a crop is moved at most, along each side."""
_BATCH = 12
_RATE = 1e-3
_WARMUP = 30
_NEAR = 0.05
"""Squared quantisation steps below which an error hardly counts: it is rounded off."""
_LOW_LEVELS = 3.0
"""Errors of level l count 1 + this / (l + 1): those of low levels are small and matter as much."""
_MIDDLE = 127.5
_RIDGE = 1e-4
"""Of the mean square, so that what hardly occurs gets no large weights."""


@dataclass(frozen=True)
class _Moved:
    """A crop as a decoder has it, and where the same crop lies in another one.

    Attributes:
        level: the quality level of both.
        known: rounded latents without gain, float32[h * w, M].
        pixels: its blocks in grey levels from the middle grey, float32[h * w, 768].
        shift: rows and columns by which the other crop lies further down and right.
        wanted: its latents without gain, of the positions that the first one covers, float32[A, M].
    """

    level: int
    known: Tensor
    pixels: Tensor
    shift: tuple[int, int]
    wanted: Tensor


@dataclass(frozen=True)
class MotionMaps:
    """Maps in whole numbers, as ``LinearPath`` and ``LinearSynthesis`` take them.

    Attributes:
        analysis: int32[M, 768], moved blocks to latents.
        synthesis: int32[768, M], latents to blocks that are moved.
        search: int32[768, M], latents to blocks of the picture that vectors are found in.
    """

    analysis: NDArray[np.int32]
    synthesis: NDArray[np.int32]
    search: NDArray[np.int32]


def fitted_maps(codec: TrainableCodec, clips: NDArray[np.uint8], crops: int, steps: int, seed: int) -> MotionMaps:
    """The maps by which latents of moved crops are predicted best, and the one that shows them best.

    Args:
        codec: finished.
        clips: uint8[clips, T, H, W, 3], squares of at least 96 pixels.
        crops: moved ones to fit on.
        steps: of Adam for the two that predict, after each map was solved for by least squares.
        seed: of what is drawn.
    """
    gains = codec.gains.log_gain.detach().exp().cpu()
    random = np.random.default_rng(seed)
    moved = [_moved(codec, gains, clips, random) for _ in tqdm(range(crops), desc="moving crops", unit="crop")]
    search = _solved((one.known, one.pixels, gains.new_ones(())) for one in moved)
    back = search.clone().requires_grad_()
    there = _solved((_blocks(one, one.known @ back.T), one.wanted, gains[one.level].median()) for one in moved)
    there.requires_grad_()
    optimiser = torch.optim.Adam([back, there], lr=_RATE)
    for step in tqdm(range(steps), desc="fitting maps", unit="step"):
        optimiser.param_groups[0]["lr"] = _RATE * warm_up(step, _WARMUP) * cosine(step, steps)
        total = torch.zeros(())
        for number in random.integers(len(moved), size=_BATCH):
            one = moved[number]
            error = (one.wanted - _blocks(one, one.known @ back.T) @ there.T) * gains[one.level]
            total = total + (error.square() + _NEAR).sqrt().mean() * (1 + _LOW_LEVELS / (one.level + 1))
        optimiser.zero_grad()
        (total / _BATCH).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return MotionMaps(*(linear_weights(one.detach().numpy()) for one in (there, back, search)))


@torch.no_grad()
def _moved(codec: TrainableCodec, gains: Tensor, clips: NDArray[np.uint8], random: np.random.Generator) -> _Moved:
    level = int(random.integers(len(gains)))
    frame = clips[random.integers(len(clips)), random.integers(clips.shape[1])]
    size = (frame.shape[0] - _ROOM) // STRIDE * STRIDE
    start = random.integers(_ROOM, size=2)
    shift = np.clip(random.integers(-_REACH, _REACH + 1, 2), -start, _ROOM - start)
    here, further = (frame[row : row + size, column : column + size] for row, column in (start, start + shift))
    scale = gains[level][:, None, None]
    known = (_latents(codec, here, level) * scale).round() / scale
    wanted = _latents(codec, further, level)[:, 1:-1, 1:-1]
    rows = here.reshape(size // STRIDE, STRIDE, size // STRIDE, STRIDE, 3).swapaxes(1, 2).reshape(-1, PIXELS)
    pixels = torch.from_numpy(rows.astype(np.float32)) - _MIDDLE
    return _Moved(level, known.flatten(1).T.contiguous(), pixels, (int(shift[0]), int(shift[1])), wanted.flatten(1).T)


def _latents(codec: TrainableCodec, picture: NDArray[np.uint8], level: int) -> Tensor:
    """uint8[H, W, 3] -> float32[M, h, w], without gain."""
    device = codec.gains.log_gain.device
    image = torch.from_numpy(picture.copy()).to(device).permute(2, 0, 1)[None].float() / 255
    latents: Tensor = codec.analysis(image, codec.weights_of(torch.tensor([level], device=device)))
    return latents[0].cpu()


def _blocks(one: _Moved, whole: Tensor) -> Tensor:
    """Of the linear picture's blocks float32[h * w, 768], those where the wanted positions lie, float32[A, 768]."""
    side = round(len(whole) ** 0.5)
    planes = whole.view(side, side, STRIDE, STRIDE, 3).permute(4, 2, 3, 0, 1)
    picture = F.pixel_shuffle(planes.reshape(1, PIXELS, side, side), STRIDE)
    rows, columns = (slice(STRIDE + by, STRIDE * (side - 1) + by) for by in one.shift)
    cut: Tensor = F.pixel_unshuffle(picture[:, :, rows, columns], STRIDE)
    return cut.view(3, STRIDE, STRIDE, -1).permute(3, 1, 2, 0).reshape(-1, PIXELS)


@torch.no_grad()
def _solved(pairs: Iterable[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """The linear map of least squared error: of pairs float32[A, K], float32[A, N] and their weights, float32[N, K]."""
    squares = products = torch.zeros((), dtype=torch.float64)
    for given, wanted, weight in pairs:
        weighted = (weight * given).double()
        squares = squares + weighted.T @ given.double()
        products = products + weighted.T @ wanted.double()
    squares = squares + torch.eye(len(squares)) * _RIDGE * squares.diagonal().mean()
    solved: Tensor = torch.linalg.solve(squares, products)
    return solved.T.float().contiguous()
