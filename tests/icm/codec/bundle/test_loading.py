"""Bundles: whole ones load, damaged ones are refused by name."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icm.codec.bitstream.record import Kind, parse_stream
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.manifest import (
    DECODING,
    GOLDEN,
    MOTION,
    MOTION_TABLES,
    TEMPORAL,
    UNFINETUNED,
    BundleFile,
    codec_id_of,
)
from icm.codec.decoder import Decoder
from icm.errors import BundleError


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def rewrite_manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_shipped_bundle_loads_and_knows_itself(bundle: Path) -> None:
    loaded = Bundle.load(bundle)
    assert loaded.levels >= 6
    assert len(loaded.codec_id) == 32
    assert loaded.name == bundle.name


def test_the_codec_id_ignores_the_decoder_so_that_it_can_be_finetuned(bundle: Path) -> None:
    files = {name: file for name, file in Bundle.load(bundle).manifest.files.items()}
    changed = files | {"decoder.onnx": BundleFile(sha256="0" * 64, bytes=1)}
    assert codec_id_of(changed) == codec_id_of(files)
    assert codec_id_of(files | {"entropy.npz": BundleFile(sha256="0" * 64, bytes=1)}) != codec_id_of(files)


@pytest.mark.parametrize(
    "name", ["encoder.onnx", "hyper_encoder.onnx", "hyper_decoder.onnx", "decoder.onnx", "entropy.npz", "golden.icm"]
)
def test_a_flipped_bit_names_the_file_and_both_digests(copy: Path, name: str) -> None:
    path = copy / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    expected = json.loads((copy / "manifest.json").read_text())["files"][name]["sha256"]
    with pytest.raises(BundleError, match=f"{name} is damaged: its sha256 is [0-9a-f]{{64}}, it should be {expected}"):
        Bundle.load(copy)


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "entropy.npz").unlink()
    with pytest.raises(BundleError, match=r"entropy\.npz cannot be read"):
        Bundle.load(copy)


def test_a_folder_that_is_no_bundle_says_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no codec bundle at"):
        Bundle.load(tmp_path)


def test_a_manifest_that_is_no_manifest_says_so(copy: Path) -> None:
    (copy / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match="is no manifest"):
        Bundle.load(copy)


def test_a_codec_id_that_is_not_the_files_digest_is_refused(copy: Path) -> None:
    rewrite_manifest(copy, codec_id="0" * 64)
    with pytest.raises(BundleError, match="does not match its own codec id"):
        Bundle.load(copy)


def test_the_codec_id_hangs_on_what_decodes_a_record_and_on_nothing_else(copy: Path) -> None:
    files = Bundle.load(copy).manifest.files
    for name in files:
        changed = files | {name: BundleFile(sha256="0" * 64, bytes=1)}
        decodes = name in (*DECODING, *TEMPORAL, *MOTION, MOTION_TABLES)
        assert (codec_id_of(changed) == codec_id_of(files)) is not decodes, name


def test_golden_records_that_do_not_reproduce_refuse_the_bundle(copy: Path) -> None:
    """Another table with a consistent manifest: only the golden records can tell."""
    with np.load(copy / "entropy.npz") as stored:
        arrays = dict(stored)
    arrays["hyper_frequencies"] = arrays["hyper_frequencies"][::-1].copy()
    np.savez_compressed(copy / "entropy.npz", **arrays)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"]["entropy.npz"]["sha256"] = hashlib.sha256((copy / "entropy.npz").read_bytes()).hexdigest()
    files = {name: BundleFile(**file) for name, file in manifest["files"].items()}
    rewrite_manifest(copy, files=manifest["files"], codec_id=codec_id_of(files))
    with pytest.raises(BundleError, match="fails its self-test"):
        Bundle.load(copy)


def test_the_decoder_from_before_the_finetuning_is_had_beside_the_other_and_gives_other_pictures(bundle: Path) -> None:
    loaded = Bundle.load(bundle, threads=1)
    header, records = parse_stream((bundle / GOLDEN).read_bytes())
    before = loaded.unfinetuned()
    first = next(records)
    pictures = [Decoder(of).decode(first, header.width, header.height) for of in (loaded, before, loaded)]
    assert np.array_equal(pictures[0], pictures[2])
    assert not np.array_equal(pictures[0], pictures[1])
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() < 12
    assert before.synthesis_digest != loaded.synthesis_digest
    assert before.grain.deviation(0) == 0


@pytest.mark.parametrize(
    ("said", "alone", "after"),
    [
        pytest.param({}, 9, 9, id="as people do, where nothing is said of them"),
        pytest.param({"detector_grain": [4.5] * 8}, 4.5, 4.5, id="less"),
        pytest.param({"detector_grain": []}, 0, 0, id="none"),
        pytest.param({"detector_grain": [4.5] * 8, "detector_grain_after": []}, 4.5, 0, id="none over P records"),
        pytest.param({"detector_grain_after": [3.0] * 8}, 9, 3, id="less over P records"),
    ],
)
def test_detectors_see_as_much_grain_as_the_bundle_says(
    bundle: Path, copy: Path, said: dict[str, Any], alone: float, after: float
) -> None:
    header, records = parse_stream((bundle / GOLDEN).read_bytes())
    rewrite_manifest(copy, **{"grain": [9.0] * 8, "detector_grain": None, "detector_grain_after": None} | said)
    decoder, seen = Decoder(Bundle.load(copy, threads=1)), set()
    for record in records:
        latents = decoder.latents(record, header.width, header.height)
        bare = decoder.synthesised(latents).astype(int)
        for wanted, machine in ((9, False), (alone if record.kind is Kind.I else after, True)):
            grain = decoder.picture(latents, for_detector=machine) - bare
            assert grain.std() == pytest.approx(wanted, rel=0.15)
        seen.add(record.kind)
    assert seen == set(Kind)


@pytest.mark.parametrize("field", ["grain", "detector_grain", "detector_grain_after"])
def test_grain_that_is_not_told_of_each_level_is_refused(copy: Path, field: str) -> None:
    rewrite_manifest(copy, **{field: [1.0] * 7})
    with pytest.raises(BundleError, match=f"{field} has 7 values, and there are 8 levels"):
        Bundle.load(copy, threads=1)
    rewrite_manifest(copy, **{field: [-1.0] * 8})
    with pytest.raises(BundleError, match="greater than or equal to 0"):
        Bundle.load(copy, threads=1)


def test_a_bundle_without_a_decoder_from_before_says_so_and_one_that_was_damaged_since_too(copy: Path) -> None:
    loaded = Bundle.load(copy, threads=1)
    (copy / UNFINETUNED).write_bytes(b"damaged")
    with pytest.raises(BundleError, match=rf"{UNFINETUNED} is damaged"):
        loaded.unfinetuned()
    files = json.loads((copy / "manifest.json").read_text())["files"]
    del files[UNFINETUNED]
    rewrite_manifest(copy, files=files)
    with pytest.raises(BundleError, match="no decoder from before its finetuning"):
        Bundle.load(copy, threads=1).unfinetuned()
