"""From photos to a bundle on a small scale, and what each step does when it is taken up again."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from icm.codec.bitstream.record import Kind
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.manifest import DECODING, ENCODING
from icm.codec.decoder import Decoder
from icm.codec.encoder import Encoder
from icm_train.cli import main
from icm_train.data.masks import mask_file, write_masks
from icm_train.data.photo_shard import pack
from icm_train.weights.checkpoint import load_codec
from tests.training.conftest import SMOKE, borrow, smoke_config

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def whole(photos: Path, coco_instances: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder after the whole way, with the bundle in it."""
    folder = tmp_path_factory.mktemp("whole")
    assert main(the_whole_way(folder, photos, coco_instances)) == 0
    return folder


def the_whole_way(folder: Path, photos: Path, coco_instances: Path) -> list[str]:
    sources = ["--photos", str(photos), "--coco-labels", str(coco_instances)]
    return ["all", *sources, "--folder", str(folder), "--bundle", str(folder / "bundle"), "--config", str(SMOKE)]


def test_the_whole_way_ends_in_a_bundle_that_loads_and_codes(whole: Path) -> None:
    bundle = Bundle.load(whole / "bundle")
    image = np.full((70, 90, 3), 120, np.uint8)
    coded = Encoder(bundle).encode(image, 7)
    decoded = Decoder(bundle).decode(coded.record(1, 0), 90, 70)
    assert np.abs(decoded.astype(int) - 120).mean() < 10


def test_the_manifest_says_how_the_bundle_came_about(whole: Path) -> None:
    told = json.loads((whole / "bundle/manifest.json").read_text())["training"]
    assert told["step"] == 10
    assert [earlier["stage"] for earlier in told["history"]] == ["base"]
    assert told["config"]["stage"] == "object"
    assert told["finetune"]["step"] == 10
    assert told["integer_rate_loss"] < 0.02


def test_the_whole_way_again_makes_nothing_anew(
    whole: Path, photos: Path, coco_instances: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()}
    caplog.set_level("INFO")
    assert main(the_whole_way(whole, photos, coco_instances)) == 0
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()} == made
    assert caplog.text.count("is there already") == 9


def test_finetuning_changes_the_decoder_and_no_bit_of_any_record(whole: Path, tmp_path: Path) -> None:
    untouched = tmp_path / "run"
    untouched.mkdir()
    borrow(whole, untouched, *(path.name for path in whole.iterdir() if path.name not in ("finetune.pt", "bundle")))
    arguments = ["--folder", str(untouched), "--bundle", str(tmp_path / "base"), "--config", str(SMOKE)]
    assert main(["export", *arguments]) == 0
    before, after = Bundle.load(tmp_path / "base"), Bundle.load(whole / "bundle")
    for name in (*ENCODING, *DECODING):
        assert (before.folder / name).read_bytes() == (after.folder / name).read_bytes(), name
    assert before.codec_id == after.codec_id
    photo = np.random.default_rng(1).integers(0, 256, (96, 128, 3), np.uint8)
    for quality in (0, 2.5, 7):
        codings = [Encoder(bundle).encode(photo, quality) for bundle in (before, after)]
        assert codings[0].record(1, 0) == codings[1].record(1, 0)
    decoders = [(bundle.folder / "decoder.onnx").read_bytes() for bundle in (before, after)]
    assert decoders[0] != decoders[1]
    assert "decoder_base.onnx" not in before.manifest.files


def test_the_decoder_before_finetuning_ships_beside_the_finetuned_one(whole: Path) -> None:
    bundle = Bundle.load(whole / "bundle")
    assert "decoder_base.onnx" in bundle.manifest.files
    assert "decoder_base.onnx" not in (*ENCODING, *DECODING)


@pytest.mark.parametrize("stage", ["base", "object"])
def test_training_goes_on_from_a_bundle(whole: Path, tmp_path: Path, stage: str) -> None:
    borrow(whole, tmp_path, "photos.u8", "photos.json", "photos.masks")
    arguments = ["--folder", str(tmp_path), "--config", str(SMOKE), "--start", str(whole / "bundle")]
    assert main([stage, *arguments]) == 0
    _, provenance = load_codec(tmp_path / f"{stage}.pt")
    assert [earlier["stage"] for earlier in provenance["history"]] == ["base", "object"]
    assert provenance["history"][-1]["bundle"] == "bundle"


def test_export_before_quantising_says_what_to_run(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    borrow(trained, tmp_path, "photos.u8", "photos.json", "base.pt")
    arguments = ["--folder", str(tmp_path), "--bundle", str(tmp_path / "bundle"), "--config", str(SMOKE)]
    assert main(["export", "--stage", "base", *arguments]) == 2
    assert "run icm-train quantise first" in capsys.readouterr().err


def test_quantising_prints_its_rate_loss(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    borrow(whole, tmp_path, "photos.u8", "photos.json", "object.pt", "context.pt")
    assert main(["quantise", "--folder", str(tmp_path), "--config", str(SMOKE)]) == 0
    assert "rate loss" in capsys.readouterr().out


def test_an_integer_model_that_costs_too_much_is_refused_and_not_exported(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    borrow(whole, tmp_path, "photos.u8", "photos.json", "object.pt", "context.pt")
    config = smoke_config(tmp_path / "strict.yaml", quantise={"largest_rate_loss": -1.0})
    assert main(["quantise", "--folder", str(tmp_path), "--config", str(config)]) == 2
    assert "more bytes than the float one" in capsys.readouterr().err
    assert main(["export", "--folder", str(tmp_path), "--bundle", str(tmp_path / "bundle")]) == 2


def test_the_whole_way_without_photos_or_masks_says_so_before_it_starts(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["all", "--folder", str(tmp_path), "--bundle", str(tmp_path / "bundle"), "--config", str(SMOKE)]
    assert main(arguments) == 2
    assert "--photos FOLDER" in capsys.readouterr().err
    assert main([*arguments, "--photos", str(photos)]) == 2
    assert "--coco-labels" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_a_run_that_was_stopped_goes_on_from_its_checkpoint(trained: Path) -> None:
    assert torch.load(trained / "base.pt", weights_only=True)["step"] == 10


def test_a_run_with_a_frozen_encoder_leaves_analysis_and_gains_as_they_were(trained: Path, tmp_path: Path) -> None:
    rounded = {"steps": 5, "save_every": 5, "rate_on": "rounded", "freeze_encoder": True, "rate": 1e-2}
    config = smoke_config(tmp_path / "rounded.yaml", base=rounded)
    borrow(trained, tmp_path, "photos.u8", "photos.json")
    start = trained / "base.pt"
    assert main(["base", "--config", str(config), "--folder", str(tmp_path), "--start", str(start)]) == 0
    before, after = (load_codec(path)[0].state_dict() for path in (start, tmp_path / "base.pt"))
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert not [name for name in changed if name.startswith("analysis.") or name == "gains.log_gain"]
    assert "synthesis.entry.weight" in changed
    assert "hyper_synthesis.first.weight" in changed


def test_object_region_learning_without_masks_says_how_to_make_them(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["pack", "--photos", str(photos), "--folder", str(tmp_path)])
    (tmp_path / "base.pt").touch()
    assert main(["object", "--config", str(SMOKE), "--folder", str(tmp_path)]) == 2
    assert "icm-train masks" in capsys.readouterr().err


def test_training_without_a_shard_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["base", "--config", str(SMOKE), "--folder", str(tmp_path)]) == 2
    assert "icm-train pack" in capsys.readouterr().err


def test_packing_without_photos_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", "--photos", str(tmp_path), "--folder", str(tmp_path / "out")]) == 2
    assert "no photo" in capsys.readouterr().err


def test_packing_leaves_out_what_is_no_photo_and_forgets_the_masks_of_other_photos(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "damaged.jpg").write_bytes(b"not a photo")
    huge = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunks = struct.pack(">I", 13) + huge + struct.pack(">I", zlib.crc32(huge)) + bytes(4) + b"IDAT" + bytes(4)
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    shard = tmp_path / "photos.u8"
    pack([photos], shard)
    write_masks(shard, lambda image: np.zeros(image.shape[:2], bool), {})
    assert mask_file(shard).exists()
    pack([photos, tmp_path], shard)
    assert len(json.loads(shard.with_suffix(".json").read_text())) == 4
    assert "damaged.jpg" in caplog.text
    assert "huge.png" in caplog.text
    assert not mask_file(shard).exists()


def test_the_bundle_of_gated_blocks_codes_what_moves_and_changes_of_quality(whole: Path) -> None:
    bundle = Bundle.load(whole / "bundle")
    assert bundle.analysis.knows_level
    encoder, decoder = Encoder(bundle), Decoder(bundle)
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (9, 10, 3)).repeat(16, 0).repeat(16, 1).astype(np.uint8)
    kinds = []
    for number, quality in enumerate((6, 6, 6, 4.5, 4.5, 6), start=1):
        image = image.copy()
        image[16 * number : 16 * number + 16, 32:48] = 255 - image[16 * number : 16 * number + 16, 32:48]
        coded = encoder.encode(image, quality)
        kinds.append(coded.kind)
        picture = decoder.decode(coded.record(number, 0), 160, 144)
        whole_network = bundle.synthesis.pictures(
            coded.latents.values[None],
            bundle.inverse_gains(coded.quality)[None],
            bundle.level_shares(coded.quality)[None],
        )[0]
        shown = bundle.grain.over(whole_network[:144], coded.quality)
        assert int(np.abs(picture.astype(int) - shown).max()) <= 1
    assert kinds[0] is Kind.I
    assert Kind.P in kinds[1:]
