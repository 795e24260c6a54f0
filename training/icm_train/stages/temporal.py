"""Stage 6: the entropy model of P records, trained on clips of a camera that stands still.

The codec is finished and frozen; clips are coded with it as the encoder will, level by level, with motion. First modes
and vectors are counted, so that they are chosen by what they cost; then the networks learn to predict what is left.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from icm.atomic_file import atomic_writer
from icm.codec.entropy.residuals import ChannelGroups
from icm_train.data.clips import Clips, cut_out
from icm_train.data.motion_samples import ClipCoder, FieldCounts, Sample, linear_path
from icm_train.log import TrainingLog
from icm_train.models.codec import TrainableCodec
from icm_train.models.temporal_model import GROUP_SHARES, DifferenceBits, TemporalNetwork, channel_groups
from icm_train.weights.checkpoint import digest, load_codec, save_checkpoint

log = logging.getLogger(__name__)

NAME = "temporal"
CLIPS = "clips.npy"
_POSITIONS = 600
"""Positions of a coded clip that are kept at most."""


@dataclass(frozen=True)
class TemporalConfig:
    """Settings of the stage.

    Attributes:
        clips: made clips to train on; real: as many cut out of real ones, where there are any. They are kept in the
            run's folder. size, frames: of each.
        steps: optimiser steps; each sees ``batch`` coded clips, of which there are at most ``pool`` at a time: every
            ``fresh`` steps one is coded, at a random level, and takes the place of the oldest.
        rate: peak learning rate; it falls along a cosine.
        counted: clips that the tables are counted on at the end, each at every level; a few of them before as well.
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
    """Trains the temporal model of a finished codec; goes on from this stage's own checkpoint.

    Args:
        checkpoint: of the base or the object stage, or a bundle; shard: photos with masks, to make clips of.
        folder: the run's; videos: to cut clips out of as well.

    Raises:
        ConfigError: the shard has no masks.
    """
    codec, _ = load_codec(checkpoint)
    trainer = TemporalTrainer(codec, config, made_clips(config, shard, folder / CLIPS, videos))
    trainer.run(folder / f"{NAME}.pt", digest(checkpoint))
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


class TemporalTrainer:
    """Trains the networks of one codec."""

    def __init__(self, codec: TrainableCodec, config: TemporalConfig, clips: NDArray[np.uint8]) -> None:
        """Args: clips, uint8[clips, T, H, W, 3]."""
        self.codec, self.config, self.clips = codec, config, clips
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.codec.to(self.device)
        torch.manual_seed(config.seed)
        self.gains = codec.gains.log_gain.detach().exp().cpu().numpy()
        energy = torch.from_numpy(np.concatenate([self.latents(clip, codec.middle) for clip in clips[:4]]))
        energy = energy.pow(2).mean((0, 2, 3))
        self.groups = channel_groups(energy, GROUP_SHARES)
        self.channels = ChannelGroups(self.groups)
        self.network = TemporalNetwork(self.groups, len(self.gains)).to(self.device)
        self.path = linear_path(codec)
        self.tables = FieldCounts().tables()
        self._start_from(clips[:4])
        self.difference_bits = DifferenceBits()
        self.random = np.random.default_rng(config.seed)
        self.step = 0

    @torch.no_grad()
    def latents(self, clip: NDArray[np.uint8], level: int) -> NDArray[np.float32]:
        """uint8[T, H, W, 3] -> float32[T, M, h, w] of a quality level, gains not applied."""
        frames = torch.from_numpy(clip.copy()).to(self.device).permute(0, 3, 1, 2).float() / 255
        weights = self.codec.weights_of(torch.full((len(frames),), level, device=self.device))
        result: NDArray[np.float32] = self.codec.analysis(frames, weights).cpu().numpy()
        return result

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
        coder = ClipCoder(self.path, self.channels, self.tables)
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

    def run(self, checkpoint: Path, source: str) -> None:
        """Trains to the end, saving to the checkpoint; goes on from it if it was made for the same codec and groups."""
        parameters = list(self.network.parameters())
        quick = [network.get_parameter("last_bias") for network in self.network.networks]
        rest = [p for p in parameters if not any(p is q for q in quick)]
        optimiser = torch.optim.Adam([{"params": rest}, {"params": quick}])
        if checkpoint.exists():
            state = torch.load(checkpoint, map_location=self.device, weights_only=True)
            if state["source"] == source and len(state["groups"]) == len(self.groups):
                self.groups = [list(group) for group in state["groups"]]
                self.channels = ChannelGroups(self.groups)
                self.network.load_state_dict(state["network"])
                optimiser.load_state_dict(state["optimiser"])
                self.step = state["step"]
        self.count_fields()
        progress = tqdm(total=self.config.steps, initial=self.step, desc=NAME, unit="step", mininterval=10)
        started, total, count = time.monotonic(), 0.0, 0
        pool: deque[CodedClip] = deque(maxlen=self.config.pool)
        with TrainingLog(checkpoint.parent, NAME, self.step) as written:
            while self.step < self.config.steps:
                rate = self.config.rate * (0.02 + 0.49 * (1 + math.cos(math.pi * self.step / self.config.steps)))
                optimiser.param_groups[0]["lr"], optimiser.param_groups[1]["lr"] = rate, 3 * rate
                if self.step % self.config.fresh == 0 and (coded := self._coded()) is not None:
                    pool.append(coded)
                chosen = self.random.permutation(len(pool))[: self.config.batch]
                batch = [pool[number] for number in chosen]
                self.step += 1
                progress.update()
                if batch:
                    bits, levels = self.bits(batch)
                    # By the logarithm a per cent counts the same at every level, however many bits it takes.
                    parts = [bits[levels == clip.level].sum(1).mean().log() for clip in batch]
                    loss = torch.stack(parts).sum()
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                    optimiser.step()
                    total, count = total + float(bits.detach().sum()), count + len(bits)
                if self.step % 50 == 0:
                    written.row(self.step, time.monotonic() - started, {"bits_per_position": total / max(1, count)})
                    total, count = 0.0, 0
                if self.step % self.config.save_every == 0 or self.step == self.config.steps:
                    state = {
                        "network": self.network.state_dict(),
                        "optimiser": optimiser.state_dict(),
                        "step": self.step,
                        "groups": self.groups,
                        "source": source,
                    }
                    save_checkpoint(checkpoint, state)
