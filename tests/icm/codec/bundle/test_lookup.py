"""What any bundle that ships has made is read without naming that bundle: files and streams say which codec it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import icm
from icm.codec.bundle.lookup import folder_of
from icm.codec.bundle.shipped import DEFAULT_BUNDLE, SHIPPED_BUNDLES, with_shipped
from icm.command.cli import main
from tests.bundles import with_other_id
from tests.golden.streams import GOLDEN

every_bundle = pytest.mark.parametrize("folder", SHIPPED_BUNDLES, ids=lambda folder: folder.name)


def test_what_is_coded_without_naming_a_bundle_is_the_newest_ones(scene: NDArray[np.uint8]) -> None:
    header, _ = icm.parse_stream(icm.encode(scene))
    assert icm.bundle_of(header).folder == DEFAULT_BUNDLE == SHIPPED_BUNDLES[0]


@every_bundle
def test_a_file_of_any_bundle_that_ships_is_decoded_without_naming_it(
    folder: Path, scene: NDArray[np.uint8], tmp_path: Path
) -> None:
    bundle = icm.Bundle.load(folder)
    data = icm.encode(scene, 4, bundle=bundle)
    expected = icm.decode(data, bundle=bundle)
    assert icm.bundle_of(icm.parse_stream(data)[0]).name == folder.name
    assert np.array_equal(icm.decode(data), expected)
    (tmp_path / "in.icm").write_bytes(data)
    assert main(["decode", str(tmp_path / "in.icm"), str(tmp_path / "out.png")]) == 0
    with Image.open(tmp_path / "out.png") as shown:
        assert np.array_equal(np.asarray(shown), expected)


def test_a_folder_of_files_of_several_bundles_is_decoded_each_by_its_own(
    scene: NDArray[np.uint8], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for folder in SHIPPED_BUNDLES:
        (tmp_path / "in" / f"{folder.name}.icm").write_bytes(icm.encode(scene, bundle=icm.Bundle.load(folder)))
    assert main(["decode", str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{folder.name}.png" for folder in SHIPPED_BUNDLES}


def test_records_from_before_a_bundle_learned_motion_find_it() -> None:
    header, _ = icm.parse_stream((GOLDEN / "icm-1" / "small.icm").read_bytes())
    found = icm.bundle_of(header)
    assert found.name == "icm-1"
    assert found.codec_id != header.codec_id


def test_a_bundle_that_is_named_comes_before_those_that_ship_and_none_comes_twice(tmp_path: Path) -> None:
    older = SHIPPED_BUNDLES[-1]
    assert with_shipped() == list(SHIPPED_BUNDLES)
    assert with_shipped(tmp_path) == [tmp_path, *SHIPPED_BUNDLES]
    assert with_shipped(older) == [older, *SHIPPED_BUNDLES[:-1]]
    (tmp_path / "link").symlink_to(older)
    assert with_shipped(tmp_path / "link") == [tmp_path / "link", *SHIPPED_BUNDLES[:-1]]


def test_a_file_of_a_bundle_that_does_not_ship_is_decoded_where_that_is_named(
    scene: NDArray[np.uint8], tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = with_other_id(bundle, tmp_path / "icm-other")
    (tmp_path / "in.icm").write_bytes(icm.encode(scene, bundle=icm.Bundle.load(other)))
    command = ["decode", str(tmp_path / "in.icm"), str(tmp_path / "out.png")]
    assert main(command) == 2
    error = capsys.readouterr().err
    for text in (*(folder.name for folder in SHIPPED_BUNDLES), "name the right one with --bundle"):
        assert text in error
    assert main([*command, "--bundle", str(other)]) == 0


def test_a_codec_that_no_bundle_decodes_is_told_with_all_that_there_are() -> None:
    with pytest.raises(icm.errors.CodecMismatchError, match=r"the film was made with codec 0{16},.*: go home") as told:
        folder_of(bytes(32), SHIPPED_BUNDLES, "the film", "go home")
    assert all(f"(bundle {folder.name})" in str(told.value) for folder in SHIPPED_BUNDLES)
