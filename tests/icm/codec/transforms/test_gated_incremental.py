"""Gated transforms where something changed: they compute what the whole networks compute, at every level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from icm.codec.transforms.incremental import IncrementalAnalysis, IncrementalSynthesis
from icm.codec.transforms.networks import Analysis, Synthesis
from icm.codec.transforms.sparse.gated_analysis import SparseGatedAnalysis
from icm.codec.transforms.sparse.gated_synthesis import SparseGatedSynthesis
from icm.codec.transforms.sparse.layers import read_weights
from icm.errors import BundleError
from icm_train.export.bundle import export_encoder, export_synthesis
from icm_train.models.codec import TrainableCodec
from icm_train.models.networks import NetworkConfig
from tests.bundles import ICM_1

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
"""Of the exporter."""

CONFIG = NetworkConfig(
    blocks="gated", luma=24, chroma=4, encoder_wide=16, encoder_deep=24, decoder_deep=32, decoder_wide=16,
    decoder_fine=16, encoder_wide_blocks=2, encoder_deep_blocks=2, decoder_deep_blocks=2, decoder_wide_blocks=4,
    decoder_fine_blocks=1, hyper=8, hyper_hidden=16,
)  # fmt: skip
ROWS, COLUMNS = 11, 15
LEVELS = np.eye(8, dtype=np.float32)
BETWEEN = (LEVELS[2] + LEVELS[3]) / 2


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with encoder.onnx and decoder.onnx of which every weight takes part."""
    torch.manual_seed(4)
    codec = TrainableCodec(CONFIG)
    with torch.no_grad():
        for name, parameter in codec.named_parameters():
            parameter.add_((0.3 if ".level_" in name else 0.03) * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("gated")
    export_encoder(codec.eval(), folder)
    export_synthesis(codec, folder / "decoder.onnx")
    return folder


@pytest.fixture(scope="module")
def analysis(networks: Path) -> Analysis:
    return Analysis(networks / "encoder.onnx", 1, "cpu")


@pytest.fixture(scope="module")
def synthesis(networks: Path) -> Synthesis:
    return Synthesis(networks / "decoder.onnx", 1, "cpu")


@pytest.fixture(scope="module")
def sparse_analysis(networks: Path) -> SparseGatedAnalysis:
    return SparseGatedAnalysis(networks / "encoder.onnx", 1, "cpu")


@pytest.fixture(scope="module")
def sparse_synthesis(networks: Path) -> SparseGatedSynthesis:
    return SparseGatedSynthesis(networks / "decoder.onnx", 1, "cpu")


def picture(seed: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (ROWS, COLUMNS, 3)).repeat(16, 0).repeat(16, 1)
    texture = random.integers(-20, 20, (16 * ROWS, 16 * COLUMNS, 1))
    return (coarse + texture).clip(0, 255).astype(np.uint8)


def test_the_exported_networks_are_told_the_level(analysis: Analysis, synthesis: Synthesis) -> None:
    assert analysis.knows_level
    assert synthesis.knows_level
    image = picture(0)
    low, high, between = (analysis.unscaled(image, levels) for levels in (LEVELS[2], LEVELS[3], BETWEEN))
    assert np.abs(low - high).max() > 1
    assert np.abs(low - between).max() > 0.1
    assert np.abs(high - between).max() > 0.1


@pytest.mark.parametrize("levels", [LEVELS[0], LEVELS[7], BETWEEN])
def test_latents_are_those_of_the_whole_network_wherever_something_moves(
    analysis: Analysis, sparse_analysis: SparseGatedAnalysis, levels: NDArray[np.float32]
) -> None:
    tiled = IncrementalAnalysis(analysis, sparse_analysis, threshold=0)
    image = picture(1)
    tiled.latents(image, levels)
    for number, (row, column) in enumerate(((3, 3), (70, 90), (0, 0), (160, 220))):
        image = image.copy()
        image[row : row + 14, column : column + 9] ^= 255
        latents, updated = tiled.latents(image, levels)
        np.testing.assert_allclose(latents, analysis.unscaled(image, levels), atol=1e-2)
        # With the first change all features are computed, with the next ones only some.
        assert (updated.mean() < 0.8) == (number > 0)


def test_another_level_is_computed_anew_and_noise_still_does_not_count(
    analysis: Analysis, sparse_analysis: SparseGatedAnalysis
) -> None:
    tiled = IncrementalAnalysis(analysis, sparse_analysis)
    image = picture(2)
    tiled.latents(image, LEVELS[2])
    noisy = np.clip(image.astype(int) + np.random.default_rng(0).integers(-1, 2, image.shape), 0, 255).astype(np.uint8)
    latents, updated = tiled.latents(noisy, LEVELS[5])
    assert updated.all()
    np.testing.assert_allclose(latents, analysis.unscaled(image, LEVELS[5]), atol=1e-2)
    assert not tiled.latents(noisy, LEVELS[5])[1].any()


@pytest.mark.parametrize("levels", [LEVELS[0], LEVELS[7], BETWEEN])
def test_pictures_of_latents_that_move_are_within_one_of_the_whole_network(
    synthesis: Synthesis, sparse_synthesis: SparseGatedSynthesis, levels: NDArray[np.float32]
) -> None:
    random = np.random.default_rng(3)
    tiled = IncrementalSynthesis(synthesis, sparse_synthesis)
    inverse_gains = np.full(CONFIG.latents, 20, np.float32)
    values = np.rint(random.laplace(0, 1, (CONFIG.latents, ROWS, COLUMNS))).astype(np.int16)
    for _ in range(6):
        whole = synthesis.pictures(values[None], inverse_gains[None], levels[None])[0]
        assert int(np.abs(tiled.picture(values, inverse_gains, levels).astype(int) - whole).max()) <= 1
        values = values.copy()
        values[:, random.integers(ROWS), random.integers(COLUMNS)] += random.integers(-3, 4, CONFIG.latents).astype(
            np.int16
        )


def test_small_changes_are_not_followed_to_the_end(sparse_synthesis: SparseGatedSynthesis) -> None:
    latents = 20 * np.random.default_rng(5).laplace(0, 1, (CONFIG.latents, ROWS, COLUMNS)).astype(np.float32)
    state = sparse_synthesis.begin(latents, LEVELS[3], 0.25)
    before = state.picture.copy()
    mask = np.zeros((ROWS, COLUMNS), bool)
    mask[5, 5] = True
    state.update(latents[:, mask].T + np.float32(1e-4), mask)
    assert np.array_equal(state.picture, before)
    assert not any(plane.changed.any() for plane in state._planes["fine"])


def test_a_network_of_another_architecture_is_refused() -> None:
    with pytest.raises(BundleError, match=r"encoder\.onnx has no weights named 'blocks_wide\.0\.gate\.weight'"):
        SparseGatedAnalysis(ICM_1 / "encoder.onnx", 1, "cpu")
    with pytest.raises(BundleError, match=r"decoder\.onnx has no weights named"):
        SparseGatedSynthesis(ICM_1 / "decoder.onnx", 1, "cpu")


def test_every_weight_of_the_networks_is_found_by_its_name(networks: Path) -> None:
    stored = read_weights(networks / "decoder.onnx")
    assert {"entry.weight", "level_fine.shift", "blocks_wide.3.scale", "blocks_wide.0.mix.weight"} <= set(stored)
