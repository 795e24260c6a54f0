"""The page that comes with an evidence file, in a real browser, from the disk: it finds what was changed, shows texts
of strangers as texts, and asks nobody for anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from icm.codec.bitstream.record import parse_stream
from icm.evidence.layout import CASE, MANIFEST, PAGE, SIGNER
from icm.evidence.manifest import parse_manifest
from icm.evidence.page import page as page_bytes
from icm.proof.keys import SigningKey, public_pem
from tests.browser import calm_page, chromium
from tests.cases import EDGE_KEY, contents, sign_again, write_case

THIEF = SigningKey.new()
SEALS = "proof/gate.seals"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The page as it lies in a folder. A request to anybody, and an error in the console, fail the test."""
    place = tmp_path / PAGE
    place.write_bytes(page_bytes())
    context = browser.new_context()
    with calm_page(context, "file:", "blob:") as page:
        page.goto(place.as_uri())
        yield page
    context.close()


def check(page: Page, case: Path, key: str = "") -> list[tuple[str, str]]:
    """What the page finds, as (kind, text)."""
    page.reload()
    page.fill("#key", key)
    page.set_input_files("#file", case)
    page.wait_for_selector("#verdict:not([hidden])")
    found = page.evaluate(
        "[...document.querySelectorAll('#findings li')].map(i => [i.className, i.children[1].innerText])"
    )
    return [(kind, text) for kind, text in found]


def wrong(found: list[tuple[str, str]]) -> list[str]:
    return [text for kind, text in found if kind == "wrong"]


def test_a_good_case_passes_and_its_clips_play_with_times_and_boxes(page: Page, cases: dict[str, Path]) -> None:
    found = check(page, cases["gate"])
    assert wrong(found) == []
    said = "\n".join(text for _, text in found)
    assert "each of the" in said
    assert "3 segments and 1 deletions of camera gate are in the chain" in said
    assert "whose owner you must know" in said
    assert f"seals of camera gate: 25 of 25 records are sealed by the edge with key {EDGE_KEY.public.hex()}" in said
    assert page.inner_text("#verdict-text") == "Nothing is wrong with this file"
    assert page.locator("#clip option").count() == 3
    page.select_option("#clip", "1")
    expect(page.locator("#time")).to_contain_text("2026-09-21T14:13:22.0")
    page.evaluate("document.getElementById('video').currentTime = 0.35")
    expect(page.locator("#time")).to_contain_text("2026-09-21T14:13:22.300000Z")
    assert page.inner_text("#found").startswith("dark 0.")
    drawn = "document.getElementById('overlay').getContext('2d').getImageData(0, 0, 2, 2).data.some((v) => v > 0)"
    assert page.evaluate(drawn)
    page.uncheck("#boxes")
    assert not page.evaluate(drawn)


def test_the_key_that_signed_it_is_told_from_another(page: Page, cases: dict[str, Path]) -> None:
    signer = parse_manifest(contents(cases["gate"])[MANIFEST]).signer
    assert ("ok", "manifest.json is signed by the key that you gave") in check(page, cases["gate"], signer)
    assert "not by the key that you gave" in wrong(check(page, cases["gate"], THIEF.public.hex()))[0]


def test_a_flipped_byte_in_any_file_is_named(page: Page, files: dict[str, bytes], tmp_path: Path) -> None:
    for name, data in files.items():
        changed = bytearray(data)
        changed[len(data) // 2] ^= 1
        write_case(tmp_path / "case.zip", files | {name: bytes(changed)})
        found = wrong(check(page, tmp_path / "case.zip"))
        assert any(name in text for text in found), (name, found)


def test_files_that_were_removed_or_added_are_named(page: Page, files: dict[str, bytes], tmp_path: Path) -> None:
    gone = next(name for name in files if name.startswith("clips/"))
    write_case(tmp_path / "case.zip", {name: files[name] for name in files if name != gone} | {"more.txt": b"more"})
    assert {f"{gone} was removed", "more.txt was added"} <= {
        text.partition(":")[0] for text in wrong(check(page, tmp_path / "case.zip"))
    }


def change(proof: dict[str, Any], what: str) -> None:
    """Changes a proof."""
    if what == "path":
        proof["entries"][0]["path"][0] = "00" * 32
    elif what == "head":
        head = proof["blocks"][0]["head"]
        proof["blocks"][0]["head"] = head[:-1] + ("0" if head[-1] != "0" else "1")
    elif what == "block":
        proof["blocks"][0]["line"] = proof["blocks"][0]["line"].replace(" gate 2 ", " gate 3 ")
    else:
        del proof["entries"][1]


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("path", "leads to no root"),
        ("head", "the signature of block 2 does not hold"),
        ("block", "the head of block 3 is another's"),
        ("entry", "is not in the chain of camera gate"),
    ],
)
def test_a_proof_that_was_changed_is_found_though_another_key_signed_it_all(
    page: Page, files: dict[str, bytes], tmp_path: Path, what: str, found: str
) -> None:
    proof = json.loads(files["proof/gate.json"])
    change(proof, what)
    files["proof/gate.json"] = json.dumps(proof).encode()
    sign_again(files, THIEF)
    write_case(tmp_path / "case.zip", files)
    assert any(found in text for text in wrong(check(page, tmp_path / "case.zip")))


def change_case(files: dict[str, bytes], what: str) -> None:
    """Changes what case.json says of segments and deletions."""
    case = json.loads(files[CASE])
    (camera,) = case["cameras"]
    if what == "deletion":
        camera["tombstones"][0]["reason"] = "operator"
    elif what == "hidden":
        camera["tombstones"].clear()
    elif what == "invented":
        camera["tombstones"].append(camera["tombstones"][0] | {"number": 9})
    else:
        camera["segments"][0]["records"] += 1
    files[CASE] = json.dumps(case).encode()


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("deletion", "case.json says something else of the deletion of segment 4 of camera gate than the chain"),
        ("hidden", "segment 4 of camera gate is left out"),
        ("invented", "the chain does not say that segment 9 was deleted"),
        ("invented", "segments 6 to 8 of camera gate left out: neither here nor accounted for"),
        ("records", "case.json says something else of it than the chain"),
    ],
)
def test_a_case_that_tells_another_story_than_the_chain_is_found_though_another_key_signed_it_all(
    page: Page, files: dict[str, bytes], tmp_path: Path, what: str, found: str
) -> None:
    change_case(files, what)
    sign_again(files, THIEF)
    write_case(tmp_path / "case.zip", files)
    said = wrong(check(page, tmp_path / "case.zip"))
    assert any(found in text for text in said), said
    assert page.inner_text("#verdict-more") == said[0], "the first broken link is the verdict"


def test_a_key_file_of_somebody_else_is_found(page: Page, files: dict[str, bytes], tmp_path: Path) -> None:
    sign_again(files, THIEF)
    files[SIGNER] = public_pem(EDGE_KEY.public)
    write_case(tmp_path / "case.zip", files)
    assert any("is another key than the one" in text for text in wrong(check(page, tmp_path / "case.zip")))


def test_a_browser_without_ed25519_says_what_it_did_not_check_and_what_does(page: Page, cases: dict[str, Path]) -> None:
    page.add_init_script(
        "crypto.subtle.importKey = async () => { throw new DOMException('no such algorithm', 'NotSupportedError'); }"
    )
    found = check(page, cases["gate"])
    assert wrong(found) == []
    lacking = [text for kind, text in found if kind == "lacks"]
    assert any("signatures were NOT checked" in text and "icm verify" in text for text in lacking)
    assert any("whose signatures this browser cannot check" in text for text in lacking)
    assert "were not checked" in page.inner_text("#verdict-more")


def change_seals(files: dict[str, bytes], what: str) -> None:
    """Changes seals, or what they are over."""
    lines = files[SEALS].splitlines(keepends=True)
    words = lines[0].split(b" ")
    if what == "signature":
        words[7] = words[7][:-1] + (b"0" if words[7][-1:] != b"0" else b"1")
    elif what == "key":
        words[6] = THIEF.public.hex().encode()
    elif what == "root":
        words[5] = b"00" * 32
    elif what == "hashes":
        words[11] = b"00" * 32 + b"\n"
    elif what == "segment":
        words[8] = b"9"
    else:
        words[0] = b"icm-sealed-0"
    files[SEALS] = b" ".join(words) + b"".join(lines[1:])


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("signature", "the signature of the seal over records 11 to 20 of camera gate does not hold"),
        ("key", "the signature of the seal over records 11 to 20 of camera gate does not hold"),
        ("root", "the seal over records 11 to 20 of camera gate is over other bytes than segment"),
        ("hashes", "the seal over records 11 to 20 of camera gate is over other bytes than segment"),
        ("segment", "has a seal over segment 9, which is not here"),
        ("line", "this line is no sealed part: icm-sealed-0 gate"),
    ],
)
def test_seals_that_were_changed_are_found_though_another_key_signed_it_all(
    page: Page, files: dict[str, bytes], tmp_path: Path, what: str, found: str
) -> None:
    change_seals(files, what)
    sign_again(files, THIEF)
    write_case(tmp_path / "case.zip", files)
    assert any(found in text for text in wrong(check(page, tmp_path / "case.zip")))


def test_records_that_the_edge_did_not_seal_are_found(page: Page, files: dict[str, bytes], tmp_path: Path) -> None:
    """A record with another payload and all checksums right, in a case that its maker signed."""
    name = sorted(name for name in files if name.startswith("records/"))[0]
    header, records = parse_stream(files[name])
    first, *others = records
    forged = replace(first, payload=first.payload[:-1] + bytes([first.payload[-1] ^ 1]))
    files[name] = header.pack() + b"".join(record.pack(header) for record in [forged, *others])
    sign_again(files, THIEF)
    write_case(tmp_path / "case.zip", files)
    assert any("over other bytes than segment" in text for text in wrong(check(page, tmp_path / "case.zip")))


def test_records_without_seals_rest_on_the_archives_word(page: Page, cases: dict[str, Path]) -> None:
    said = [text for kind, text in check(page, cases["yard"]) if kind == "note"]
    assert any("records of camera yard are not sealed by the edge that sent them" in text for text in said)


def test_texts_of_strangers_are_shown_and_never_run(page: Page, files: dict[str, bytes], tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)><script>document.title='hacked'</script>"
    case = json.loads(files[CASE])
    case["case"] = hostile
    case["missing"] = [{"camera": hostile, "segment": 0, "what": hostile, "why": hostile}]
    files[CASE] = json.dumps(case).encode()
    found = json.loads(files["detections/gate.json"])
    found["frames"][0]["detections"][0]["class"] = hostile
    files["detections/gate.json"] = json.dumps(found).encode()
    sign_again(files, THIEF)
    write_case(tmp_path / "case.zip", files)
    check(page, tmp_path / "case.zip")
    assert hostile in page.inner_text("#facts")
    assert page.locator("main img").count() == 0
    assert page.title() == "Check an evidence file"


@pytest.mark.parametrize(
    "data", [b"", b"no zip", b"PK\5\6" + bytes(18), bytes(100_000)], ids=["empty", "text", "bare", "zeros"]
)
def test_what_is_no_evidence_file_is_said_to_be_none(page: Page, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "case.zip").write_bytes(data)
    assert len(wrong(check(page, tmp_path / "case.zip"))) == 1


def test_everything_can_be_reached_by_keyboard(page: Page, cases: dict[str, Path]) -> None:
    check(page, cases["gate"])
    assert page.evaluate("document.activeElement.id") == "verdict-text"
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    assert [name for name in reached if name in ("clip", "boxes", "video")][:3] == ["clip", "boxes", "video"]
