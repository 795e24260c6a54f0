"""Checks a whole evidence file, without the cloud that made it: what is in it, who signed it, and what it shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from icm.codec.bundle.loading import Bundle
from icm.errors import EvidenceError
from icm.evidence.case import CameraCase, Case, parse_case
from icm.evidence.checks.clips import ClipCheck
from icm.evidence.checks.findings import Finding, Findings
from icm.evidence.checks.proofs import ProofCheck
from icm.evidence.checks.records import RecordCheck
from icm.evidence.checks.seals import check_seals
from icm.evidence.layout import CASE, MANIFEST, MOST_CASE_BYTES, SIGNATURE, SIGNER, Role, bundle_path
from icm.evidence.manifest import Counts, Manifest, parse_manifest
from icm.evidence.times import time_text
from icm.evidence.zip_reading import CaseFile
from icm.proof.keys import SIGNATURE_BYTES, public_pem, signed_by

_SYNTHESIS = "decoder.onnx"


def verify_case(
    path: Path,
    *,
    key: bytes | None,
    bundles: Callable[[], Sequence[Bundle]],
    told: Callable[[Finding], None] = lambda _: None,
) -> Findings:
    """Checks an evidence file.

    Args:
        key: the public key that it should be signed with, 32 bytes; None for whichever it names.
        bundles: loads the codecs that records are decoded with; asked once, if there is anything to decode.
        told: each finding, as it is made.

    Returns:
        All findings.

    Raises:
        BundleError: a bundle cannot be loaded.
        EvidenceError: the file cannot be read at all.
    """
    findings = Findings(told)
    with CaseFile(path) as case:
        if case.problem:
            findings.wrong(case.problem)
        else:
            findings.ok(f"zip: {len(case.entries)} files in {case.size} bytes, and nothing between them")
        try:
            manifest = parse_manifest(case.read(MANIFEST, MOST_CASE_BYTES))
        except EvidenceError as error:
            findings.wrong(str(error))
            return findings
        _check_signature(case, manifest, key, findings)
        digests = _check_files(case, manifest, findings)
        try:
            described = parse_case(case.read(CASE, MOST_CASE_BYTES))
        except EvidenceError as error:
            findings.wrong(str(error))
            return findings
        _check_counts(manifest, described, findings)
        _tell_case(described, findings)
        signer = bytes.fromhex(manifest.signer)
        loaded = bundles() if any(camera.segments for camera in described.cameras) else ()
        for camera in described.cameras:
            ProofCheck(
                case=case, described=described, camera=camera, digests=digests, signer=signer, findings=findings
            ).check()
            check_seals(case, camera, findings)
            _check_pictures(case, described, camera, loaded, findings)
    return findings


def _check_signature(case: CaseFile, manifest: Manifest, key: bytes | None, findings: Findings) -> None:
    signer = bytes.fromhex(manifest.signer)
    try:
        signature = case.read(SIGNATURE, SIGNATURE_BYTES)
        pem = case.read(SIGNER, 4096)
    except EvidenceError as error:
        findings.wrong(str(error))
        return
    if not signed_by(signer, case.read(MANIFEST, MOST_CASE_BYTES), signature):
        findings.wrong(f"{SIGNATURE}: the signature of {MANIFEST} does not hold")
    elif key is not None and signer != key:
        findings.wrong(f"{MANIFEST} is signed by {manifest.signer}, and not by the key that you gave, {key.hex()}")
    elif key is None:
        findings.note(f"{MANIFEST} is signed by {manifest.signer}, whose owner you must know; give that key with --key")
    else:
        findings.ok(f"{MANIFEST} is signed by the key that you gave")
    if pem != public_pem(signer):
        findings.wrong(f"{SIGNER} is another key than the one that {MANIFEST} names")


def _check_files(case: CaseFile, manifest: Manifest, findings: Findings) -> dict[str, str]:
    """Checks every file against the manifest; returns what each one's digest is."""
    listed = {file.path: file for file in manifest.files}
    digests: dict[str, str] = {}
    wrong = findings.count_wrong
    for path in case.entries:
        if path not in listed and path not in (MANIFEST, SIGNATURE):
            findings.wrong(f"{path} was added: {MANIFEST} does not list it")
    for path, file in listed.items():
        if path not in case.entries:
            findings.wrong(f"{path} was removed: {MANIFEST} lists it")
            continue
        digest, size = hashlib.sha256(), 0
        try:
            for chunk in case.chunks(path):
                digest.update(chunk)
                size += len(chunk)
        except EvidenceError:
            # The digest tells it as well.
            pass
        digests[path] = digest.hexdigest()
        if (digests[path], size) != (file.sha256, file.size):
            findings.wrong(f"{path} was changed: its SHA-256 is not the one in {MANIFEST}")
    if findings.count_wrong == wrong:
        findings.ok(f"files: each of the {len(listed)} has the size and SHA-256 that {MANIFEST} lists")
    return digests


def _check_counts(manifest: Manifest, described: Case, findings: Findings) -> None:
    segments = [segment for camera in described.cameras for segment in camera.segments]
    counted = Counts(
        files=len(manifest.files),
        bytes=sum(file.size for file in manifest.files),
        segments=len(segments),
        records=sum(segment.records for segment in segments),
        clips=sum(len(camera.clips) for camera in described.cameras),
        tombstones=sum(len(camera.tombstones) for camera in described.cameras),
        missing=len(described.missing),
    )
    for name, said in manifest.counts:
        if (found := getattr(counted, name)) != said:
            findings.wrong(f"{MANIFEST} counts {said} {name}, and there are {found}")
    if manifest.exported_at != described.exported_at:
        findings.wrong(f"{CASE} and {MANIFEST} are of two exports")
    for camera in described.cameras:
        shown = [clip.segment for clip in camera.clips]
        numbers = [segment.number for segment in camera.segments]
        once = len(set(numbers)) == len(numbers) and len(set(shown)) == len(shown)
        if not once or not set(shown) <= set(numbers):
            findings.wrong(f"{CASE} names a segment of camera {camera.name} twice, or a clip of none that is here")
    named = {segment.path for segment in segments} | {segment.keyframe for segment in segments if segment.keyframe}
    named |= {clip.path for camera in described.cameras for clip in camera.clips}
    roles = {Role.RECORDS, Role.KEYFRAME, Role.CLIP}
    for file in manifest.files:
        if file.role in roles and file.path not in named:
            findings.wrong(f"{file.path} is in {MANIFEST}, and {CASE} does not speak of it")


def _tell_case(described: Case, findings: Findings) -> None:
    by = f"{described.exported_by} (certificate of {described.caller})" if described.caller else described.exported_by
    findings.note(f"case {described.case!r}, exported by {by} at {described.exported_at}, of store {described.store}")
    for missing in described.missing:
        whose = f"camera {missing.camera}, " if missing.camera else ""
        whose += f"segment {missing.segment}, " if missing.segment else ""
        findings.lacks(f"{whose}{missing.what}: {missing.why} (the export said so)")
    for camera in described.cameras:
        for gap in camera.gaps:
            findings.note(f"camera {camera.name} has no records from {gap.after} to {gap.before}")
        for tombstone in camera.tombstones:
            findings.note(
                f"camera {camera.name}, segment {tombstone.number}: deleted at {tombstone.at} by {tombstone.by} by the"
                f" rule {tombstone.reason} ({tombstone.rule}): {tombstone.records} records from {tombstone.first} to"
                f" {tombstone.last}"
            )


def _check_pictures(
    case: CaseFile, described: Case, camera: CameraCase, bundles: Sequence[Bundle], findings: Findings
) -> None:
    """Decodes a camera's records, and compares its clips with them."""
    if not camera.segments:
        return
    wrong = findings.count_wrong
    records, clips = RecordCheck(case, camera, bundles, findings), ClipCheck(case, camera, findings)
    for frame in records.frames():
        clips.take(frame)
    clips.finish()
    keyframes = sum(1 for segment in camera.segments if segment.keyframe)
    if records.records and findings.count_wrong == wrong:
        findings.ok(
            f"records of camera {camera.name}: {records.records} decode to the latents that their digests name, from"
            f" {time_text(records.first_us)} to {time_text(records.last_us)}"
        )
    if keyframes:
        findings.note(
            f"records of camera {camera.name}: decoding begins at {keyframes} places with a keyframe that the cloud"
            " made of the records before; what they show rests on the cloud's signature"
        )
    for clip in clips.unused():
        findings.lacks(f"{clip.path} was NOT compared: none of its records could be decoded")
    if clips.frames and findings.count_wrong == wrong:
        findings.ok(
            f"clips of camera {camera.name}: {clips.frames} frames show what the records do (PSNR"
            f" {clips.lowest_psnr:.1f} dB at least; the worst block at {100 * clips.highest_share:.0f} % of what it may"
            " differ)"
        )
    for codec_id in camera.codec_ids:
        _compare_decoders(case, codec_id, bundles, findings)


def _compare_decoders(case: CaseFile, codec_id: str, bundles: Sequence[Bundle], findings: Findings) -> None:
    """Tells where pictures are made with another synthesis than the cloud's: latents are the same, pictures are not."""
    bundle = next((bundle for bundle in bundles if bytes.fromhex(codec_id) in bundle.decodes), None)
    if bundle is None or bundle_path(codec_id) not in case.entries:
        return
    try:
        files = json.loads(case.read(bundle_path(codec_id), 1 << 20))["files"]
        theirs = files[_SYNTHESIS]["sha256"]
    except (EvidenceError, ValueError, KeyError, TypeError):
        findings.wrong(f"{bundle_path(codec_id)} is no manifest of a bundle")
        return
    if theirs != bundle.manifest.files[_SYNTHESIS].sha256:
        findings.note(f"the cloud makes pictures with another synthesis than bundle {bundle.name}: they may differ")
