"""A bundle as the start of training: its networks come back as they were trained."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import SHIPPED_BUNDLES
from icm.codec.entropy.integer_network import MEAN_STEPS, SCALE_COUNT
from icm.codec.latents.latents import HYPER_MAX
from icm.codec.transforms.networks import Synthesis
from icm.errors import ConfigError
from icm_train.models.codec import TrainableCodec
from icm_train.weights.checkpoint import load_codec

SIZE = 128
LEVEL = 3


@pytest.fixture(scope="module", params=SHIPPED_BUNDLES, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    """Of each bundle that ships."""
    path: Path = request.param
    return path


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return Bundle.load(folder, threads=1)


@pytest.fixture(scope="module")
def taken_back(folder: Path) -> tuple[TrainableCodec, dict[str, Any]]:
    return load_codec(folder)


@pytest.fixture
def codec(taken_back: tuple[TrainableCodec, dict[str, Any]]) -> TrainableCodec:
    return taken_back[0]


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    row, column = np.mgrid[0:SIZE, 0:SIZE]
    planes = [row, column, (row // 9 + column // 7) % 2 * 200]
    return np.stack(planes, -1).astype(np.uint8)


@torch.no_grad()
def test_analysis_and_gains_are_the_bundles(bundle: Bundle, codec: TrainableCodec, picture: NDArray[np.uint8]) -> None:
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    latents = codec.analyse(image, torch.tensor([LEVEL]))[0]
    wanted = bundle.analysis.scaled(picture, bundle.gains(16 * LEVEL), bundle.level_shares(16 * LEVEL))
    assert np.allclose(latents.numpy(), wanted, atol=1e-2)


@torch.no_grad()
def test_the_synthesis_is_the_one_before_finetuning(
    bundle: Bundle, codec: TrainableCodec, picture: NDArray[np.uint8]
) -> None:
    values = np.rint(bundle.analysis.scaled(picture, bundle.gains(16 * LEVEL), bundle.level_shares(16 * LEVEL))).astype(
        np.int16
    )
    made = codec.synthesise(torch.from_numpy(values)[None].float(), torch.tensor([LEVEL]))
    restored = made[0].clamp(0, 1).mul(255).permute(1, 2, 0).numpy()
    plain = Synthesis(bundle.folder / "decoder_base.onnx", 1, "cpu")
    wanted = plain.pictures(
        values[None], bundle.inverse_gains(16 * LEVEL)[None], bundle.level_shares(16 * LEVEL)[None]
    )[0]
    assert np.abs(restored - wanted).max() < 1


@torch.no_grad()
def test_hyper_latents_say_what_the_integer_network_says(
    bundle: Bundle, codec: TrainableCodec, picture: NDArray[np.uint8]
) -> None:
    values = np.rint(bundle.analysis.scaled(picture, bundle.gains(16 * LEVEL), bundle.level_shares(16 * LEVEL))).astype(
        np.int16
    )
    hyper = bundle.hyper_analysis.hyper(values)
    assert np.abs(hyper).max() > 0
    assert np.array_equal(torch.round(codec.hyper_analysis(torch.from_numpy(values)[None].float()))[0].numpy(), hyper)
    said = codec.hyper_synthesis(torch.from_numpy(hyper)[None].float(), torch.tensor([LEVEL]))
    means, indexes = bundle.entropy.network(hyper[None], LEVEL)
    assert np.abs(said[0].numpy() * MEAN_STEPS - means).max() < 1
    assert np.abs(said[1].numpy().clip(0, SCALE_COUNT - 1) - indexes).max() < 1


@torch.no_grad()
def test_hyper_latents_take_hardly_more_bits_than_under_the_bundles_tables(codec: TrainableCodec, folder: Path) -> None:
    with np.load(folder / "entropy.npz") as stored:
        frequencies = stored["hyper_frequencies"].reshape(len(codec.config.lambdas), codec.config.hyper, -1)
    met = torch.from_numpy(frequencies[:, :, :-1].astype(np.float64).mean(0))
    shares = met / met.sum(1, keepdim=True)
    values = torch.arange(-HYPER_MAX, HYPER_MAX + 1).float().expand(1, codec.config.hyper, 1, -1)
    _, likelihood = codec.hyper_prior.density(values, training=False)
    bits = -(shares * likelihood[0, :, 0].double().log2()).sum(1)
    assert (bits + (shares * shares.log2()).sum(1)).max() < 0.3


def test_a_bundle_is_the_same_codec_each_time_and_leaves_the_drawing_as_it_was(
    codec: TrainableCodec, folder: Path
) -> None:
    torch.manual_seed(20)
    wanted = torch.rand(1)
    torch.manual_seed(20)
    again = load_codec(folder)[0].state_dict()
    assert torch.equal(torch.rand(1), wanted)
    assert all(torch.equal(value, again[name]) for name, value in codec.state_dict().items())


def test_how_the_bundle_came_about_comes_with_it(
    taken_back: tuple[TrainableCodec, dict[str, Any]], folder: Path
) -> None:
    history = taken_back[1]
    assert history["config"]["bundle"] == folder.name
    assert {"steps", "long_run"} & set(history["history"][0]), "a stage, or the long run that it began with"


def test_a_folder_that_is_no_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=str(tmp_path)):
        load_codec(tmp_path)


def test_a_bundle_whose_networks_are_of_another_kind_is_named(tmp_path: Path, folder: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    shutil.copyfile(other / "hyper_encoder.onnx", other / "encoder.onnx")
    with pytest.raises(ConfigError, match=r"other.*lack analysis\."):
        load_codec(other)
