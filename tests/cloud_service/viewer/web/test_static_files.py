"""Styles and scripts: kept by browsers for good, under a name that changes with them; and those of others."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from cloud_service.viewer.web.static_files import FOLDER, StaticFiles
from tests.cloud_service.viewer.house import House

VENDOR = FOLDER / "vendor"


def test_the_scripts_of_others_are_the_very_files_of_the_list_and_each_has_its_licence() -> None:
    packages = json.loads((VENDOR / "vendor.json").read_text())
    listed = {name: digest for package in packages for name, digest in package["sha256"].items()}
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir()}
    del there["vendor.json"]
    assert listed == there
    for package in packages:
        assert set(package["files"]) == set(package["sha256"])
        assert f"{package['name']}.LICENSE.txt" in package["files"]
        assert package["integrity"].startswith("sha512-")
        assert package["version"]
        assert package["licence"]


def test_our_own_style_stays_small() -> None:
    assert (FOLDER / "css/base.css").stat().st_size < 12_000


def test_any_change_of_a_file_changes_all_addresses(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("a")
    (tmp_path / "b.js").write_text("b")
    before = StaticFiles(tmp_path)
    assert before.url("a.css").split("/")[2] == before.url("b.js").split("/")[2]
    (tmp_path / "b.js").write_text("c")
    assert StaticFiles(tmp_path).url("a.css") != before.url("a.css")


def test_files_come_packed_to_who_takes_that(house: House) -> None:
    url = StaticFiles().url("vendor/hls.light.min.js")
    content = (VENDOR / "hls.light.min.js").read_bytes()
    with house.client(accept_encoding="x") as client, client.stream("GET", url) as answer:
        packed = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed) == content
        assert len(packed) < len(content) / 2
    with house.client() as client:
        answer = client.get(url, headers={"accept-encoding": "identity"})
        assert answer.content == content
        assert "content-encoding" not in answer.headers
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize(
    "path",
    ["{}/nosuch.js", "000000000000/css/base.css", "{}/../templates/base.html", "{}/%2e%2e/app.py", "{}//css/base.css",
     "{}/css%2fbase.css%00", "{}/css/", "{}/.", "{}/C:%5cx"],
)  # fmt: skip
def test_an_address_that_is_no_file_leads_nowhere(house: House, path: str) -> None:
    digest = StaticFiles().url("css/base.css").split("/")[2]
    with house.client() as client:
        assert client.get(f"/static/{path.format(digest)}").status_code == 404
