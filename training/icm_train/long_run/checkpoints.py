"""Checkpoints of a long run: folders of files small enough to travel, whole or not there, the last three kept."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from icm.atomic_file import write_atomically
from icm.folders import sync_folder

log = logging.getLogger(__name__)

KEPT = 3
"""Checkpoints kept, the newest."""
PART_BYTES = 15_500_000
"""Of tensors in one file, which stays below 16 MB."""
_FACTS = "state.json"


class Checkpoints:
    """The checkpoints below a folder, one folder each, named by their step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, state: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Writes a checkpoint and removes the oldest beyond three.

        Args:
            state: by name; optimisers' moments must have gone through ``stored_precision`` before.
            facts: what else a later run must know, as JSON.

        Raises:
            ValueError: a tensor holds a value that is not finite; nothing is written.
        """
        for name, tensor in state.items():
            if not name.startswith("recent/") and not bool(tensor.isfinite().all()):
                raise ValueError(f"{name} is not finite at step {step}")
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f".{step:08}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        digests = {}
        for number, part in enumerate(_parts(state)):
            buffer = io.BytesIO()
            torch.save({name: _small(name, tensor.detach().cpu()) for name, tensor in part.items()}, buffer)
            data = buffer.getvalue()
            write_atomically(partial / f"part-{number}.pt", data)
            digests[f"part-{number}.pt"] = hashlib.sha256(data).hexdigest()
        content = {"step": step, "parts": digests, "facts": facts}
        write_atomically(partial / _FACTS, json.dumps(content, indent=1))
        target = self.folder / f"{step:08}"
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        sync_folder(self.folder)
        # Newer ones are damaged, or the run would have gone on from them.
        for old in [one for one in self._all() if int(one.name) <= step][:-KEPT]:
            shutil.rmtree(old)

    def newest(self) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
        """Step, state and facts of the newest whole checkpoint, or None; damaged ones are logged and passed by."""
        for folder in reversed(self._all()):
            try:
                return _read(folder)
            except Exception as error:  # whatever a damaged file makes torch raise
                log.warning("checkpoint %s cannot be read, going back to the one before it: %s", folder, error)
        return None

    def _all(self) -> list[Path]:
        """Oldest first."""
        return sorted(path for path in self.folder.glob("[0-9]*") if path.is_dir()) if self.folder.exists() else []


def stored_precision(state: dict[str, Tensor]) -> None:
    """Rounds optimisers' moments, in place, to what a checkpoint holds of them.

    So that a run that goes on after a save and one that starts from it are the same. bfloat16 keeps a checkpoint of
    five million weights below 64 MB; a moment that is off by 0.4 % moves a step's length by as much.
    """
    for name, tensor in state.items():
        if _is_moment(name):
            tensor.copy_(tensor.bfloat16().float())


def _is_moment(name: str) -> bool:
    return name.rpartition(".")[2] in ("exp_avg", "exp_avg_sq", "momentum_buffer")


def _small(name: str, tensor: Tensor) -> Tensor:
    # A view of a part of a larger storage would be saved with all of it.
    return (tensor.bfloat16() if _is_moment(name) else tensor).clone()


def _parts(state: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    part: dict[str, Tensor] = {}
    size = 0
    for name, tensor in state.items():
        bytes_ = tensor.numel() * (2 if _is_moment(name) else tensor.element_size())
        if part and size + bytes_ > PART_BYTES:
            yield part
            part, size = {}, 0
        part[name] = tensor
        size += bytes_
    yield part


def _read(folder: Path) -> tuple[int, dict[str, Tensor], dict[str, Any]]:
    content = json.loads((folder / _FACTS).read_text())
    state: dict[str, Tensor] = {}
    for name, digest in content["parts"].items():
        data = (folder / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise ValueError(f"{name} is damaged: its sha256 is not the one written")
        part: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        state |= {name: value.float() if _is_moment(name) else value for name, value in part.items()}
    return content["step"], state, content["facts"]
