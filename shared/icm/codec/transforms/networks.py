"""The float networks on ONNX Runtime: analysis, hyper-analysis and synthesis.

Their results decide what is coded, never how it is decoded, so they may differ in the last bit between machines.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from icm.codec.latents.latents import HYPER_MAX, STRIDE
from icm.errors import BundleError, ConfigError

# Before the import: ONNX Runtime may otherwise send usage data.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime


class Transform:
    """One ONNX network; safe to call from several threads."""

    _OPTIMISATION = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    """How far ONNX Runtime rewrites the graph."""
    _ARENA = False
    """Whether the memory of a call is kept for the next. Each network would keep that of the largest picture for ever,
    gigabytes in all, and most are no faster for it."""

    def __init__(self, model: Path | bytes, threads: int, device: str) -> None:
        """Loads the network from a file or its bytes.

        Args:
            threads: CPU threads of one call; 0 for one per core.
            device: "cpu" or "cuda".

        Raises:
            ConfigError: ONNX Runtime here cannot use the device.
            BundleError: the file holds no network that ONNX Runtime can run.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.graph_optimization_level = self._OPTIMISATION
        options.enable_cpu_mem_arena = self._ARENA
        # Idle threads that spin would take the cores from the other stages.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = _providers(device)
        try:
            source = model if isinstance(model, bytes) else str(model)
            self._session = onnxruntime.InferenceSession(source, options, providers)
        except Exception as error:
            name = "the network" if isinstance(model, bytes) else model
            raise BundleError(f"{name} cannot be loaded by ONNX Runtime: {error}") from None
        self._inputs = [node.name for node in self._session.get_inputs()]

    @property
    def takes(self) -> int:
        """How many inputs the network has."""
        return len(self._inputs)

    def __call__(self, *inputs: NDArray[np.generic]) -> NDArray[np.float32]:
        (output,) = self._session.run(None, dict(zip(self._inputs, inputs, strict=True)))
        result: NDArray[np.float32] = output
        return result


class PointwiseTransform(Transform):
    """A network whose convolutions are all 1x1: to put channels into blocks, as pays for others, would only cost."""

    _OPTIMISATION = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED


class LevelledTransform(Transform):
    """A network that may be told the quality level: as its last input, the share of each whole level."""

    _UNTOLD = 2

    @property
    def knows_level(self) -> bool:
        """Whether the network is told the level; icm-1's are the same at all of them."""
        return self.takes > self._UNTOLD

    def _told(self, levels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """levels float32[B, levels] as inputs of the network: one or none."""
        return [levels] if self.knows_level else []


class Analysis(LevelledTransform):
    """g_a with gains: a picture to latents in quantisation steps."""

    def scaled(
        self, image: NDArray[np.uint8], gains: NDArray[np.float32], levels: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Latents of a picture, not rounded: float32[M, ceil(H/16), ceil(W/16)].

        Args:
            image: uint8[H, W, 3] RGB.
            gains: float32[M].
            levels: float32[levels], the share of each whole level, which sum to 1.
        """
        height, width = image.shape[:2]
        if height % STRIDE or width % STRIDE:
            image = np.pad(image, ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), mode="edge")
        scaled: NDArray[np.float32] = self(image[None], gains[None, :, None, None], *self._told(levels[None]))[0]
        return scaled

    def unscaled(self, image: NDArray[np.uint8], levels: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same before any gain."""
        channels = self._session.get_inputs()[1].shape[1]
        return self.scaled(image, np.ones(channels, np.float32), levels)


class HyperAnalysis(Transform):
    """h_a: latents to hyper-latents, rounded."""

    def hyper(self, latents: NDArray[np.int16]) -> NDArray[np.int8]:
        """int16[M, h, w] -> int8[N, ceil(h/4), ceil(w/4)]."""
        z = self(latents[None].astype(np.float32))[0]
        rounded: NDArray[np.int8] = np.clip(np.rint(z), -HYPER_MAX, HYPER_MAX).astype(np.int8)
        return rounded


class Synthesis(LevelledTransform):
    """g_s with inverse gains: latents to pictures."""

    # Its features are so large that the system takes the memory back at once; to get it anew costs a fifth of a call.
    _ARENA = True

    def pictures(
        self, latents: NDArray[np.int16], inverse_gains: NDArray[np.float32], levels: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        """int16[B, M, h, w], float32[B, M], float32[B, levels] (see ``Analysis``) -> uint8[B, 16h, 16w, 3] RGB."""
        image: NDArray[np.uint8] = self(  # type: ignore[assignment]
            latents.astype(np.float32), inverse_gains[:, :, None, None], *self._told(levels)
        )
        return image


def _providers(device: str) -> list[str]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise ConfigError(
            "device is cuda, but this ONNX Runtime has no CUDA: install the gpu extra, or set device: cpu"
        )
    # The CUDA libraries may come as wheels, which the system's loader does not look into.
    onnxruntime.preload_dlls()
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]
