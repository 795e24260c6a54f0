"""The whole way from photos to a bundle; what an earlier run left is not made again."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from icm.codec.bundle.manifest import MANIFEST
from icm.errors import ConfigError
from icm_train.config import TrainingConfig
from icm_train.data.masks import MaskSources, mask_file
from icm_train.data.photo_shard import pack
from icm_train.export.bundle import export_bundle
from icm_train.stages import base, context, finetune, object_region, quantise, temporal_quantise
from icm_train.weights.checkpoint import finished

log = logging.getLogger(__name__)

SHARD = "photos.u8"
"""The photos' file in a run's folder."""


@dataclass(frozen=True)
class Step:
    """One step of the way.

    Attributes:
        name: of the subcommand that does it alone.
        done: whether its whole result is there.
        make: does it, or goes on where it was stopped.
    """

    name: str
    done: Callable[[], bool]
    make: Callable[[], object]


@dataclass(frozen=True)
class Run:
    """What the whole way needs beside its settings.

    Attributes:
        photos: folders of photos; may be empty once they are packed.
        masks: where object masks come from.
        folder: shard, checkpoints and logs.
        bundle: the folder to write.
        figures: measured values to keep in the manifest.
        videos: of cameras, to train the model of P records on beside made clips.
    """

    photos: list[Path]
    masks: MaskSources
    folder: Path
    bundle: Path
    figures: dict[str, Any] = field(default_factory=dict)
    videos: Sequence[Path] = ()

    def steps(self, config: TrainingConfig) -> list[Step]:
        """In order; each needs the results of those before it."""
        folder, shard = self.folder, self.folder / SHARD
        plain, trained, finetuned = (folder / f"{stage.NAME}.pt" for stage in (base, object_region, finetune))
        return [
            Step("pack", shard.exists, lambda: pack(self.photos, shard)),
            Step("masks", mask_file(shard).exists, lambda: self.masks.write(shard)),
            Step(
                "base",
                lambda: finished(plain, config.base.steps),
                lambda: base.train(config.network, config.base, shard, folder, None),
            ),
            Step(
                "object",
                lambda: finished(trained, config.object.steps),
                lambda: object_region.train(config.network, config.object, shard, folder, plain),
            ),
            Step(
                "finetune",
                lambda: finished(finetuned, config.finetune.steps),
                lambda: finetune.train(config.finetune, shard, folder, trained),
            ),
            Step(
                "context",
                lambda: context.is_trained(config.context, trained, folder),
                lambda: context.train(config.context, trained, shard, folder),
            ),
            Step(
                "quantise",
                lambda: quantise.is_quantised(folder, trained),
                lambda: quantise.quantise(trained, config.quantise, shard, folder),
            ),
            Step(
                "temporal",
                lambda: temporal_quantise.is_quantised(folder, trained),
                lambda: temporal_quantise.train(config.temporal, trained, shard, folder, self.videos),
            ),
            Step(
                "export",
                lambda: self._exported(trained, finetuned),
                lambda: export_bundle(trained, folder, self.bundle, self.figures, config.finetune),
            ),
        ]

    def _exported(self, *sources: Path) -> bool:
        """Whether the bundle is younger than what it is made from, and its manifest holds the figures."""
        manifest = self.bundle / MANIFEST
        if not manifest.exists() or any(path.stat().st_mtime > manifest.stat().st_mtime for path in sources):
            return False
        figures: object = json.loads(manifest.read_text())["figures"]
        return figures == self.figures

    def __call__(self, config: TrainingConfig) -> None:
        """Does what is not done yet.

        Raises:
            ConfigError: something that a later step needs is missing; said before the first step.
        """
        shard = self.folder / SHARD
        if not self.photos and not shard.exists():
            raise ConfigError(f"there is no shard {shard} yet: say where photos are with --photos FOLDER")
        if not mask_file(shard).exists():
            self.masks.check()
        for step in self.steps(config):
            if step.done():
                log.info("%s is there already", step.name)
            else:
                log.info("%s", step.name)
                step.make()
