"""Stage 6: the entropy model of P records, trained on clips of a camera that stands still.

The codec is finished and frozen; clips are coded with it as the encoder will, level by level, with motion. First the
linear maps that motion is predicted through are fitted (``motion_maps.py``); then modes and vectors are counted, so
that they are chosen by what they cost; then the networks learn to predict what is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from icm.atomic_file import atomic_writer
from icm.codec.entropy.residuals import ChannelGroups
from icm.codec.motion.linear_path import LinearPath, LinearSynthesis
from icm_train.data.clips import Clips, cut_out
from icm_train.data.motion_samples import ClipCoder, FieldCounts, Sample, linear_path
from icm_train.models.codec import TrainableCodec
from icm_train.models.temporal_model import GROUP_SHARES, DifferenceBits, TemporalNetwork, channel_groups
from icm_train.schedule import load_optimiser, set_rates
from icm_train.stages.loop import Loop, Metrics, Pace, Stage, training_device
from icm_train.stages.motion_maps import fitted_maps
from icm_train.weights.checkpoint import digest, load_codec

NAME = "temporal"
CLIPS = "clips.npy"
_LOG_EVERY = 50
"""Steps."""
_POSITIONS = 600
"""Positions of a coded clip that are kept at most."""


@dataclass(frozen=True)
class TemporalConfig:
    """Settings of the stage.

    Attributes:
        clips: made clips to train on; they are kept in the run's folder.
        real: clips cut out of real videos, where there are any.
        size: side of a clip, pixels.
        frames: of a clip.
        steps: optimiser steps.
        batch: coded clips that a step sees.
        pool: coded clips that there are at a time, at most.
        fresh: steps after which a clip is coded, at a random level, and takes the place of the oldest in the pool.
        rate: peak learning rate, of the last biases three times as much; it falls along a cosine.
        counted: clips that the tables are counted on at the end, each at every level; half of them before as well.
        map_crops: crops that the linear maps of motion are fitted on; with 0 they are the codec's own.
        map_steps: steps of fitting them.
        save_every: steps between checkpoints.
        seed: every random number of the stage follows from it.
    """

    clips: int = 120
    real: int = 120
    size: int = 240
    frames: int = 24
    steps: int = 3000
    batch: int = 6
    pool: int = 200
    fresh: int = 4
    rate: float = 1e-3
    counted: int = 24
    map_crops: int = 1200
    map_steps: int = 600
    save_every: int = 500
    seed: int = 11


@dataclass(frozen=True)
class CodedClip:
    """What was left to code of a clip, all its frames together; see ``Sample``."""

    seen: list[NDArray[np.int8]]
    wanted: NDArray[np.float32]
    rounded_off: NDArray[np.float32]
    level: int

    @staticmethod
    def of(samples: list[Sample], most: int, random: np.random.Generator) -> CodedClip:
        """The samples together, at most so many positions of them."""
        seen = [np.concatenate(parts) for parts in zip(*(sample.seen for sample in samples), strict=True)]
        wanted = np.concatenate([sample.wanted for sample in samples])
        rounded_off = np.concatenate([sample.rounded_off for sample in samples])
        some = random.permutation(len(wanted))[:most]
        return CodedClip([part[some] for part in seen], wanted[some], rounded_off[some], samples[0].level)


def train(
    config: TemporalConfig, checkpoint: Path, shard: Path, folder: Path, videos: Sequence[Path] = ()
) -> TemporalTrainer:
    """Trains the temporal model of a finished codec; goes on from this stage's own checkpoint for the same codec.

    Args:
        config: settings of the stage.
        checkpoint: of the base or the object stage, or a bundle.
        shard: photos with masks, to make clips of.
        folder: the run's.
        videos: to cut clips out of as well.

    Returns:
        The stage after its last step.

    Raises:
        ConfigError: the shard has no masks.
    """
    codec, _ = load_codec(checkpoint)
    trainer = TemporalTrainer(codec, config, made_clips(config, shard, folder / CLIPS, videos))
    loop = Loop(NAME, trainer, Pace(config.steps, config.save_every, _LOG_EVERY), folder, source=digest(checkpoint))
    if not loop.resume():
        trainer.fit_maps()
    trainer.count_fields()
    loop.run()
    return trainer


def made_clips(config: TemporalConfig, shard: Path, file: Path, videos: Sequence[Path] = ()) -> NDArray[np.uint8]:
    """uint8[clips, frames, size, size, 3], made once and kept; real ones after the made ones.

    Raises:
        ConfigError: the shard has no masks, or a video cannot be read.
    """
    real = config.real if videos else 0
    shape = (config.clips + real, config.frames, config.size, config.size, 3)
    if not file.exists() or np.load(file, mmap_mode="r").shape != shape:
        supply = Clips(shard, config.size, config.frames, config.seed)
        with atomic_writer(file) as out:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            write_array_header_1_0(out, header)  # type: ignore[no-untyped-call]
            for _ in tqdm(range(config.clips), desc="making clips", unit="clip"):
                out.write(supply.clip().tobytes())
            if real:
                cut = cut_out(videos, real, config.size, config.frames, config.seed)
                for clip in tqdm(cut, desc="cutting clips", total=real, unit="clip"):
                    out.write(clip.tobytes())
    clips: NDArray[np.uint8] = np.load(file, mmap_mode="r")
    return clips


class TemporalTrainer(Stage):
    """Trains the networks of one codec."""

    def __init__(self, codec: TrainableCodec, config: TemporalConfig, clips: NDArray[np.uint8]) -> None:
        """Makes the networks, which start with the deviations of differences in some clips.

        Args:
            codec: finished.
            config: settings of the stage.
            clips: uint8[clips, T, H, W, 3].
        """
        self.codec, self.config, self.clips = codec, config, clips
        self.device = training_device()
        self.codec.to(self.device)
        torch.manual_seed(config.seed)
        self.gains = codec.gains.log_gain.detach().exp().cpu().numpy()
        energy = torch.from_numpy(np.concatenate([self.latents(clip, codec.middle) for clip in clips[:4]]))
        energy = energy.pow(2).mean((0, 2, 3))
        self.groups = channel_groups(energy, GROUP_SHARES)
        self.channels = ChannelGroups(self.groups)
        self.network = TemporalNetwork(self.groups, len(self.gains)).to(self.device)
        self.path = linear_path(codec)
        self.search: LinearSynthesis = self.path
        self.tables = FieldCounts().tables()
        self._start_from(clips[:4])
        self.difference_bits = DifferenceBits()
        self.random = np.random.default_rng(config.seed)
        self._pool: deque[CodedClip] = deque(maxlen=config.pool)
        quick = [network.get_parameter("last_bias") for network in self.network.networks]
        rest = [p for p in self.network.parameters() if not any(p is q for q in quick)]
        groups = [{"params": rest, "peak": config.rate}, {"params": quick, "peak": 3 * config.rate}]
        self.optimiser = torch.optim.Adam(groups)

    def step(self, taken: int, share: float) -> Metrics:
        """See ``Stage.step``; without a coded clip that has a difference, nothing moves."""
        set_rates(self.optimiser, share)
        if taken % self.config.fresh == 0 and (coded := self._coded()) is not None:
            self._pool.append(coded)
        chosen = self.random.permutation(len(self._pool))[: self.config.batch]
        batch = [self._pool[number] for number in chosen]
        if not batch:
            return {"bits": torch.zeros((), dtype=torch.float64), "positions": torch.zeros((), dtype=torch.float64)}
        bits, levels = self.bits(batch)
        # By the logarithm a per cent counts the same at every level, however many bits it takes.
        parts = [bits[levels == clip.level].sum(1).mean().log() for clip in batch]
        loss = torch.stack(parts).sum()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        return {"bits": bits.detach().sum().double().cpu(), "positions": torch.tensor(len(bits), dtype=torch.float64)}

    def row(self, means: Metrics) -> dict[str, float]:
        """Bits of a position with a difference; 0 if there was none."""
        positions = float(means["positions"])
        return {"bits_per_position": float(means["bits"]) / positions if positions else 0.0}

    def state(self) -> dict[str, Any]:
        """See ``Stage.state``."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "groups": self.groups,
            "maps": [torch.from_numpy(weights) for weights in (self.path.analysis, self.path.synthesis)],
            "search": None if self.search is self.path else torch.from_numpy(self.search.synthesis),
        }

    def load(self, state: dict[str, Any]) -> None:
        """See ``Stage.load``."""
        self.groups = [list(group) for group in state["groups"]]
        self.channels = ChannelGroups(self.groups)
        self.network.load_state_dict(state["network"])
        load_optimiser(self.optimiser, state["optimiser"])
        # Checkpoints of before know none but the codec's own.
        if "maps" in state:
            analysis, synthesis = (weights.cpu().numpy() for weights in state["maps"])
            self.path = LinearPath(analysis, synthesis, self.path.octaves)
        searched = state.get("search")
        self.search = self.path if searched is None else LinearSynthesis(searched.cpu().numpy(), self.path.octaves)

    def fits(self, state: dict[str, Any]) -> bool:
        """Whether it is of as many groups of channels."""
        return len(state["groups"]) == len(self.groups)

    @torch.no_grad()
    def latents(self, clip: NDArray[np.uint8], level: int) -> NDArray[np.float32]:
        """uint8[T, H, W, 3] -> float32[T, M, h, w] of a quality level, gains not applied."""
        frames = torch.from_numpy(clip.copy()).to(self.device).permute(0, 3, 1, 2).float() / 255
        weights = self.codec.weights_of(torch.full((len(frames),), level, device=self.device))
        result: NDArray[np.float32] = self.codec.analysis(frames, weights).cpu().numpy()
        return result

    def fit_maps(self) -> None:
        """From here on motion is predicted through maps that fit it, unless none are to be fitted."""
        config = self.config
        if config.map_crops:
            maps = fitted_maps(self.codec, self.clips, config.map_crops, config.map_steps, config.seed)
            self.path = LinearPath(maps.analysis, maps.synthesis, self.path.octaves)
            self.search = LinearSynthesis(maps.search, self.path.octaves)
            self._start_from(self.clips[:4])

    def _start_from(self, clips: NDArray[np.uint8]) -> None:
        deviations = []
        for level in range(len(self.gains)):
            wanted = [s.wanted for clip in clips for s in self.samples(clip, level)]
            # One more of 1 everywhere, as there may be none at all.
            wanted.append(np.ones((1, len(self.channels.order)), np.float32))
            deviations.append(torch.from_numpy(np.concatenate(wanted)).pow(2).mean(0).sqrt())
        start = 0
        for group, network in zip(self.groups, self.network.networks, strict=True):
            network.start_from(torch.stack([d[start : start + len(group)] for d in deviations]))  # type: ignore[operator]
            start += len(group)

    def _next_clip(self) -> NDArray[np.uint8]:
        clip: NDArray[np.uint8] = self.clips[self.random.integers(len(self.clips))]
        # What moves may as well move backwards, or mirrored.
        clip = clip[::-1] if self.random.random() < 0.5 else clip
        return clip[:, :, ::-1] if self.random.random() < 0.5 else clip

    def _next_level(self) -> int:
        """Low levels more often: they are what a thin uplink carries."""
        share = np.linspace(1.75, 0.25, len(self.gains)) / len(self.gains)
        return int(self.random.choice(len(self.gains), p=share))

    def _coded(self) -> CodedClip | None:
        """A clip at a level; None where nothing of it had a difference."""
        samples = list(self.samples(self._next_clip(), self._next_level()))
        coded = CodedClip.of(samples, _POSITIONS, self.random)
        return coded if len(coded.wanted) else None

    def counted(self) -> Iterator[Sample]:
        """Samples to count tables on."""
        for clip in tqdm(self._spread(self.config.counted), desc="counting", unit="clip"):
            for level in range(len(self.gains)):
                yield from self.samples(clip, level)

    def _spread(self, count: int) -> list[NDArray[np.uint8]]:
        """So many of the clips, of every kind."""
        return [self.clips[number] for number in np.linspace(0, len(self.clips) - 1, count).astype(int)]

    def count_fields(self) -> None:
        """From here on modes and vectors are chosen by how often they come."""
        counts = FieldCounts()
        for clip in self._spread(max(1, self.config.counted // 2)):
            for level in range(len(self.gains)):
                for sample in self.samples(clip, level):
                    counts.add(sample)
        self.tables = counts.tables()

    def samples(self, clip: NDArray[np.uint8], level: int) -> Iterator[Sample]:
        """A clip uint8[T, H, W, 3] coded at a quality level."""
        coder = ClipCoder(self.path, self.search, self.channels, self.tables)
        return coder.samples(clip, self.latents(clip, level), self.gains[level], level)

    def bits(self, batch: Sequence[CodedClip | Sample]) -> tuple[Tensor, Tensor]:
        """Bits of each wanted difference, float32[A, M], and the levels they were coded at, int64[A]."""
        counts = [len(sample.wanted) for sample in batch]
        levels = torch.tensor([sample.level for sample in batch]).repeat_interleave(torch.tensor(counts))
        seen = [
            torch.from_numpy(np.concatenate([sample.seen[number] for sample in batch])).to(self.device).float()
            for number in range(len(self.groups))
        ]
        wanted = torch.from_numpy(np.concatenate([sample.wanted for sample in batch])).to(self.device)
        levels = levels.to(self.device)
        rounded_off = torch.from_numpy(np.concatenate([sample.rounded_off for sample in batch])).to(self.device)
        means, indexes = self.network(seen, levels)
        return self.difference_bits(wanted, means.float() + rounded_off, indexes.float()), levels
