"""Bundles: whole ones load, damaged ones are refused by name."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from icm.codec.bitstream.record import Record, StreamHeader, parse_stream
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


def test_detectors_see_as_much_of_the_grain_that_people_see_as_the_bundle_says(bundle: Path, copy: Path) -> None:
    header, records = parse_stream((bundle / GOLDEN).read_bytes())
    first = next(records)
    rewrite_manifest(copy, grain=[9.0] * 8, detector_grain=1)
    people, machine = both_pictures(copy, first, header)
    assert np.array_equal(people, machine)
    for share in (0.5, 0):
        rewrite_manifest(copy, detector_grain=share)
        people, machine = both_pictures(copy, first, header)
        assert (people.astype(int) - machine).std() == pytest.approx(9.0 * (1 - share), rel=0.15)
    rewrite_manifest(copy, grain=[])
    assert np.array_equal(both_pictures(copy, first, header)[0], machine)


def both_pictures(bundle: Path, record: Record, header: StreamHeader) -> list[NDArray[np.uint8]]:
    """A record's picture for people, and that for detectors."""
    decoder = Decoder(Bundle.load(bundle, threads=1))
    latents = decoder.latents(record, header.width, header.height)
    return [decoder.picture(latents, for_detector=machine) for machine in (False, True)]


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
