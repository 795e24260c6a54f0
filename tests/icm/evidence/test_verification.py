"""An evidence file of a real cloud is whole; whatever is changed in it is found and named."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icm.codec.bitstream.record import parse_stream
from icm.codec.bundle.loading import Bundle
from icm.errors import EvidenceError
from icm.evidence.checks.findings import Findings, Kind
from icm.evidence.checks.verification import verify_case
from icm.evidence.layout import CASE, MANIFEST, SIGNATURE
from icm.evidence.manifest import parse_manifest
from icm.proof.keys import SigningKey
from tests.cases import EDGE_KEY, contents, sign_again, write_case

PROOF = "proof/gate.json"
SEALS = "proof/gate.seals"
THIEF = SigningKey.new()
Verify = Callable[..., Findings]


@pytest.fixture
def verify(codec: Bundle, tmp_path: Path) -> Verify:
    """Checks an evidence file, or one of these files."""

    def check(case: Path | dict[str, bytes], key: bytes | None = None, decoding: bool = True) -> Findings:
        path = tmp_path / "case.zip"
        if isinstance(case, dict):
            write_case(path, case)
        return verify_case(
            case if isinstance(case, Path) else path, key=key, bundles=lambda: [codec] if decoding else []
        )

    return check


def wrong(findings: Findings) -> list[str]:
    return [finding.text for finding in findings.found if finding.kind is Kind.WRONG]


def notes(findings: Findings) -> str:
    return "\n".join(finding.text for finding in findings.found if finding.kind is Kind.NOTE)


def named(files: dict[str, bytes], start: str, number: int = 0) -> str:
    return [name for name in files if name.startswith(start)][number]


def edit(files: dict[str, bytes], name: str, change: Callable[[dict], None]) -> None:
    """Changes a JSON file in place."""
    value = json.loads(files[name])
    change(value)
    files[name] = json.dumps(value).encode()


def test_a_case_is_whole_and_says_what_it_rests_on(cases: dict[str, Path], verify: Verify) -> None:
    findings = verify(cases["gate"])
    assert wrong(findings) == []
    said = "\n".join(finding.text for finding in findings.found if finding.kind is Kind.OK)
    assert "records of camera gate: 25 decode" in said
    assert "clips of camera gate: 25 frames show what the records do" in said
    assert "proof of camera gate: 3 segments and 1 deletions are in the chain" in said
    assert f"seals of camera gate: 25 of 25 records are sealed by the edge with key {EDGE_KEY.public.hex()}" in said
    assert "whose owner you must know" in notes(findings)
    assert "segment 4: deleted at 2026-09-22T14:13:20.000000Z by retention by the rule max_age" in notes(findings)
    assert "begins at 2 places with a keyframe" in notes(findings)


def test_the_key_that_signed_it_is_asked_for_and_another_is_refused(cases: dict[str, Path], verify: Verify) -> None:
    signer = bytes.fromhex(parse_manifest(contents(cases["gate"])[MANIFEST]).signer)
    findings = verify(cases["gate"], signer)
    assert wrong(findings) == []
    assert "whose owner you must know" not in notes(findings)
    assert "not by the key that you gave" in verify(cases["gate"], THIEF.public).first_wrong


def test_a_flipped_byte_in_any_file_is_found_and_the_file_is_named(files: dict[str, bytes], verify: Verify) -> None:
    for name, data in list(files.items()):
        changed = bytearray(data)
        changed[len(data) // 2] ^= 1
        assert name in verify(files | {name: bytes(changed)}, decoding=False).first_wrong


def test_a_flipped_byte_anywhere_in_the_zip_is_found(cases: dict[str, Path], verify: Verify, tmp_path: Path) -> None:
    data = cases["gate"].read_bytes()
    changed_path = tmp_path / "changed.zip"
    for place in range(0, len(data), len(data) // 40):
        changed = bytearray(data)
        changed[place] ^= 0x10
        changed_path.write_bytes(changed)
        try:
            assert wrong(verify(changed_path, decoding=False)), place
        except EvidenceError:
            continue


def test_a_file_that_was_removed_is_named(files: dict[str, bytes], verify: Verify) -> None:
    for name in files:
        assert name in verify({other: files[other] for other in files if other != name}, decoding=False).first_wrong


def test_a_file_that_was_added_is_named(files: dict[str, bytes], verify: Verify) -> None:
    assert verify(files | {"clips/more.mp4": b"more"}).first_wrong.startswith("clips/more.mp4 was added")


def test_a_case_that_another_key_signed_again_says_so(files: dict[str, bytes], verify: Verify) -> None:
    key = bytes.fromhex(parse_manifest(files[MANIFEST]).signer)
    sign_again(files, THIEF)
    assert "not by the key that you gave" in verify(files, key).first_wrong
    findings = verify(files)
    assert f"signed by {THIEF.public.hex()}" in notes(findings)
    assert "heads are signed by another key than the manifest" in notes(findings)


def test_a_clip_of_another_time_beside_honest_records_is_found(files: dict[str, bytes], verify: Verify) -> None:
    first, second = named(files, "clips/gate", 0), named(files, "clips/gate", 2)
    assert first.endswith(".mp4")
    assert second.endswith(".mp4")
    files[first] = files[second]
    sign_again(files, THIEF)
    assert verify(files).first_wrong.startswith(f"{first} shows another picture")


def test_another_cameras_clip_is_found(files: dict[str, bytes], cases: dict[str, Path], verify: Verify) -> None:
    others = contents(cases["yard"])
    first = named(files, "clips/gate")
    files[first] = others[first.replace("gate", "yard")]
    sign_again(files, THIEF)
    assert verify(files).first_wrong.startswith(f"{first} shows another picture")


def recoded(mp4: bytes, order: list[int]) -> bytes:
    """A video of some of another's frames, in another order, at ten frames a second."""
    with av.open(io.BytesIO(mp4)) as container:
        frames = [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 10)
        for place, number in enumerate(order):
            frame = av.VideoFrame.from_ndarray(frames[number], format="yuv420p")
            frame.pts, frame.time_base = place, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], ""),
        ([0, 1, 3, 2, 4, 5, 6, 7, 8, 9], "shows another picture"),
        ([9, 8, 7, 6, 5, 4, 3, 2, 1, 0], "shows another picture"),
        ([0, 1, 2, 3, 4, 5, 6], "it was cut"),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9], "more frames than its 10 records"),
    ],
    ids=["as it was", "two frames swapped", "backwards", "cut", "a frame more"],
)
def test_a_clip_whose_frames_were_put_in_another_order_cut_or_added_to_is_found(
    files: dict[str, bytes], verify: Verify, order: list[int], found: str
) -> None:
    name = named(files, "clips/gate")
    files[name] = recoded(files[name], order)
    sign_again(files, THIEF)
    assert found in verify(files).first_wrong
    assert bool(found) == bool(wrong(verify(files)))


def frames_in(mp4: bytes) -> int:
    with av.open(io.BytesIO(mp4)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_picture_that_a_clip_shows_for_longer_stands_for_all_records_that_have_it(
    cases: dict[str, Path], verify: Verify
) -> None:
    files = contents(cases["lobby"])
    clips = [data for name, data in files.items() if name.startswith("clips/lobby") and name.endswith(".mp4")]
    assert sum(map(frames_in, clips)) < 25, "what did not change was not coded again"
    findings = verify(cases["lobby"])
    assert wrong(findings) == []
    assert any("records of camera lobby: 35 decode" in finding.text for finding in findings.found)


def test_what_is_no_video_is_found(files: dict[str, bytes], verify: Verify) -> None:
    name = named(files, "clips/gate")
    files[name] = b"no video"
    sign_again(files, THIEF)
    assert verify(files).first_wrong.startswith(f"{name} cannot be played")


def test_records_of_another_camera_are_found(files: dict[str, bytes], cases: dict[str, Path], verify: Verify) -> None:
    name = named(files, "records/gate")
    files[name] = contents(cases["yard"])[name.replace("gate", "yard")]
    sign_again(files, THIEF)
    found = wrong(verify(files))
    assert found[0].startswith(f"{name} is not the file that the chain has as segment 2")
    assert any("holds records of camera yard" in text for text in found)


def with_another_digest(data: bytes) -> bytes:
    """Records of which the fourth promises other latents, with a fitting checksum, as a forger makes them."""
    header, records = parse_stream(data)
    changed = list(records)
    changed[3] = replace(changed[3], digest=changed[3].digest ^ 1)
    return header.pack() + b"".join(record.pack(header) for record in changed)


def test_a_record_that_does_not_decode_to_what_it_promises_is_found(files: dict[str, bytes], verify: Verify) -> None:
    name = named(files, "records/gate")
    files[name] = with_another_digest(files[name])
    sign_again(files, THIEF)
    found = wrong(verify(files))
    assert found[0].startswith(f"{name} is not the file that the chain has")
    assert any("record 14 decodes to latents with digest" in text for text in found)


def test_another_frame_in_a_keyframes_place_is_found(files: dict[str, bytes], verify: Verify) -> None:
    keys = [name for name in files if name.endswith(".keyframe")]
    files[keys[0]], files[keys[1]] = files[keys[1]], files[keys[0]]
    sign_again(files, THIEF)
    assert any(f"{keys[0]} is not the first frame" in text for text in wrong(verify(files)))


def test_a_proof_that_was_stripped_is_missed(files: dict[str, bytes], verify: Verify) -> None:
    del files[PROOF]
    sign_again(files, THIEF)
    assert verify(files).first_wrong.startswith(f"{PROOF} is not there: nothing proves")


def strip_entry(proof: dict) -> None:
    del proof["entries"][1]


def swap_paths(proof: dict) -> None:
    first, second = proof["entries"][0], proof["entries"][1]
    first["index"], second["index"] = second["index"], first["index"]


def change_size(proof: dict) -> None:
    words = proof["entries"][0]["line"].split(" ")
    proof["entries"][0]["line"] = " ".join([*words[:4], str(int(words[4]) + 1), *words[5:]])


def change_signature(proof: dict) -> None:
    head = proof["blocks"][0]["head"]
    proof["blocks"][0]["head"] = head[:-1] + ("0" if head[-1] != "0" else "1")


def drop_block(proof: dict) -> None:
    del proof["blocks"][0]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (strip_entry, "is not in the chain of camera gate"),
        (swap_paths, "the path does not lead"),
        (change_size, "the path does not lead"),
        (change_signature, "the signature of block 2 does not hold"),
        (drop_block, "there is no block 2"),
    ],
)
def test_a_proof_that_was_changed_is_found(
    files: dict[str, bytes], verify: Verify, change: Callable[[dict], None], found: str
) -> None:
    edit(files, PROOF, change)
    sign_again(files, THIEF)
    assert any(found in text for text in wrong(verify(files)))


def test_records_that_the_edge_did_not_seal_are_found_though_the_archives_owner_made_them(
    files: dict[str, bytes], cases: dict[str, Path], verify: Verify
) -> None:
    """Whoever has the archive's key can make a chain of other records, and no seals over them."""
    name, forged = named(files, "records/gate"), dict(files)
    forged[name] = with_another_digest(files[name])
    sign_again(forged, THIEF)
    assert any("is over other bytes than segment 2 holds" in text for text in wrong(verify(forged)))

    lines = files[SEALS].splitlines()
    files[SEALS] = b"".join(line.replace(b"4400000 ", b"4400001 ") + b"\n" for line in lines)
    sign_again(files, THIEF)
    assert any("the signature of the seal over records 11-20" in text for text in wrong(verify(files)))

    files[SEALS] = b"\n".join([*lines, lines[0].replace(b" 2 10 10 ", b" 9 10 10 ")]) + b"\n"
    sign_again(files, THIEF)
    assert any("has a seal over segment 9, which is not here" in text for text in wrong(verify(files)))

    del files[SEALS]
    sign_again(files, THIEF)
    assert "records of camera gate are not sealed by the edge that sent them" in notes(verify(files))
    assert "records of camera yard are not sealed" in notes(verify(cases["yard"]))


def test_a_segment_that_is_left_out_is_missed(files: dict[str, bytes], verify: Verify) -> None:
    def leave_out(case: dict) -> None:
        camera = case["cameras"][0]
        gone = camera["segments"].pop(1)
        camera["clips"] = [clip for clip in camera["clips"] if clip["segment"] != gone["number"]]
        for name in [name for name in files if f"-{gone['number']:06d}." in name]:
            del files[name]

    edit(files, CASE, leave_out)
    sign_again(files, THIEF)
    assert any("segment 3 of camera gate is left out" in text for text in wrong(verify(files)))

    # Nor does it help to take its entry out of the proof.
    edit(files, PROOF, lambda proof: proof.update(entries=[e for e in proof["entries"] if " gate 3 " not in e["line"]]))
    sign_again(files, THIEF)
    assert any("segment 3 of camera gate left out" in text for text in wrong(verify(files)))


def test_a_deletion_that_never_was_is_found_and_one_that_is_hidden_too(files: dict[str, bytes], verify: Verify) -> None:
    hidden = dict(files)
    edit(hidden, CASE, lambda case: case["cameras"][0].update(tombstones=[]))
    sign_again(hidden, THIEF)
    assert any("segment 4 of camera gate is left out" in text for text in wrong(verify(hidden)))

    invented = dict(files)
    edit(invented, CASE, lambda case: case["cameras"][0]["tombstones"].append(
        case["cameras"][0]["tombstones"][0] | {"number": 3}
    ))  # fmt: skip
    sign_again(invented, THIEF)
    assert any("that segment 3 of camera gate was deleted" in text for text in wrong(verify(invented)))

    excused = dict(files)
    edit(excused, CASE, lambda case: case["cameras"][0]["tombstones"][0].update(reason="operator"))
    sign_again(excused, THIEF)
    assert any("something else of the deletion of segment 4" in text for text in wrong(verify(excused)))


def test_counts_that_do_not_fit_are_found(files: dict[str, bytes], verify: Verify) -> None:
    sign_again(
        files,
        THIEF,
        lambda manifest: manifest.model_copy(update={"counts": manifest.counts.model_copy(update={"records": 26})}),
    )
    assert "counts 26 records, and there are 25" in verify(files).first_wrong


def test_a_manifest_that_could_be_read_in_two_ways_is_refused(files: dict[str, bytes], verify: Verify) -> None:
    files[MANIFEST] = files[MANIFEST].replace(b'{"counts"', b'{"format":"icm-evidence/1","counts"', 1)
    files[SIGNATURE] = THIEF.sign(files[MANIFEST])
    assert "is not canonical JSON" in verify(files).first_wrong


def test_records_of_a_codec_that_is_not_here_are_said_to_be_unchecked(cases: dict[str, Path], tmp_path: Path) -> None:
    findings = verify_case(cases["gate"], key=None, bundles=lambda: [])
    assert wrong(findings) == []
    lacking = "\n".join(finding.text for finding in findings.found if finding.kind is Kind.LACKS)
    assert "records of camera gate were NOT decoded" in lacking
    assert "was NOT compared" in lacking


VALUES = st.one_of(
    st.none(),
    st.integers(-(1 << 60), 1 << 60),
    st.text(max_size=20),
    st.just([]),
    st.just("9999-12-31T23:59:59.999999Z"),
    st.just("00" * 32),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from([CASE, PROOF]), place=st.integers(0, 1 << 30), value=VALUES)
def test_whatever_a_case_says_the_check_ends_with_findings(
    cases: dict[str, Path], tmp_path: Path, name: str, place: int, value: object
) -> None:
    files = contents(cases["gate"])
    found = json.loads(files[name])
    places: list[tuple[Any, Any]] = []

    def walk(inner: Any) -> None:
        for key in list(inner) if isinstance(inner, dict) else range(len(inner)):
            places.append((inner, key))
            if isinstance(inner[key], (dict, list)):
                walk(inner[key])

    walk(found)
    inner, key = places[place % len(places)]
    inner[key] = value
    files[name] = json.dumps(found).encode()
    sign_again(files, THIEF)
    write_case(tmp_path / "case.zip", files)
    assert verify_case(tmp_path / "case.zip", key=None, bundles=lambda: []).found
