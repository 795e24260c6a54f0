"""Exports of a real cloud: what is in them, what they say is missing, and what is refused."""

from __future__ import annotations

import json
import threading
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy.exc import OperationalError

from cloud_service.api.export_service import MOST_AT_ONCE
from cloud_service.evidence import camera_export
from icm.client.cloud import AsyncCloudClient, CloudClient
from icm.client.connection import Tls
from icm.codec.bundle.loading import Bundle
from icm.errors import BusyError, ConfigError, NotFoundError, PermissionDeniedError, UnreachableError
from icm.evidence.case import parse_case
from icm.evidence.checks.findings import Kind
from icm.evidence.checks.verification import verify_case
from icm.evidence.layout import CASE, MANIFEST
from icm.rpc.status import error_of
from icm.v1.export_pb2 import ExportCaseRequest
from icm.v1.export_pb2_grpc import ExportServiceStub
from tests.cases import at, coded_stream, contents, moving_square
from tests.certificates import Certificates
from tests.cloud_service.evidence.conftest import Served
from tests.cloud_service.running import running_cloud


def test_an_export_holds_whole_segments_clips_detections_and_proof_and_any_zip_reader_reads_it(
    served: Served, tmp_path: Path, loaded: Bundle
) -> None:
    case = served.export(tmp_path / "case.zip", start=at(1.2), end=at(2.1), case="Two lines\n<b>of text</b>")
    (camera,) = case.cameras
    assert (case.case, case.exported_by, case.caller, case.missing) == ("Two lines\n<b>of text</b>", "Ann", "", [])
    assert case.retention is not None
    assert case.retention["floor"]["last_resort"] == "block", "the rules in force"
    assert [segment.number for segment in camera.segments] == [2, 3]
    assert camera.segments[0].keyframe
    assert not camera.segments[1].keyframe, "it follows the one before, which is here"
    with zipfile.ZipFile(tmp_path / "case.zip") as opened:
        assert opened.testzip() is None
        names = set(opened.namelist())
        assert opened.read(camera.segments[1].path) == served.segment_file("gate", 3).read_bytes()
        found = json.loads(opened.read("detections/gate.json"))
        coco = json.loads(opened.read("detections/gate.coco.json"))
        subtitles = opened.read(camera.clips[0].subtitles).decode()
    assert {"proof/gate.json", "proof/signer.pem", "README.txt", "verify.html", MANIFEST, "manifest.sig"} <= names
    assert len(found["frames"]) == len(coco["images"]) == len(coco["annotations"]) == 20
    assert found["frames"][0]["detections"][0]["class"] == coco["categories"][0]["name"] == "dark"
    assert subtitles.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:00.100\ndark 0.")
    assert verify_case(tmp_path / "case.zip", key=None, bundles=lambda: [loaded]).count_wrong == 0


async def test_a_segment_that_grows_still_is_exported_as_it_is_and_more_than_the_bound_is_refused(
    tmp_path: Path, loaded: Bundle
) -> None:
    flags = {"archive.segment_seconds": 600.0, "export.max_bytes": 1024}
    async with running_cloud(tmp_path / "cloud", loaded, None, **flags) as cloud:
        header, records = coded_stream(loaded, "gate", moving_square(12))
        await cloud.deliver(header, records[:5])
        async with AsyncCloudClient(f"127.0.0.1:{cloud.app.port}") as client:
            await client.export(tmp_path / "case.zip", "gate", at(0), at(9), case="A test", by="Ann")
            await cloud.deliver(header, records[5:])
            with pytest.raises(
                ConfigError, match=r"holds \d+ bytes, and an export 1024 at most \(.*export.max_bytes\)"
            ):
                await client.export(tmp_path / "no.zip", "gate", at(0), at(1e9), case="A test", by="Ann")
    assert [segment.sealed for segment in parse_case(contents(tmp_path / "case.zip")[CASE]).cameras[0].segments] == [
        False
    ]
    findings = verify_case(tmp_path / "case.zip", key=None, bundles=lambda: [loaded])
    assert findings.count_wrong == 0
    assert any("it is in no chain yet" in finding.text for finding in findings.found)


def test_a_damaged_segment_is_exported_with_the_rest_and_named(served: Served, tmp_path: Path, loaded: Bundle) -> None:
    path = served.segment_file("damaged", 2)
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    case = served.export(tmp_path / "case.zip", cameras="damaged")
    assert [segment.number for segment in case.cameras[0].segments] == [1, 2, 3]
    assert "its SHA-256 is another" in case.cameras[0].segments[1].problem
    assert [missing.segment for missing in case.missing] == [2]
    findings = verify_case(tmp_path / "case.zip", key=None, bundles=lambda: [loaded])
    assert findings.count_wrong == 0
    lacking = "\n".join(finding.text for finding in findings.found if finding.kind is Kind.LACKS)
    assert "record 20 is damaged" in lacking
    # It was rendered before the damage.
    assert "has 1 frames whose records cannot be decoded" in lacking
    assert case.cameras[0].segments[2].keyframe, "its first record leans on the one that is lost"


def test_a_segment_that_is_gone_from_the_disk_is_named_and_the_rest_is_exported(
    served: Served, tmp_path: Path, loaded: Bundle
) -> None:
    served.segment_file("gone", 2).unlink()
    case = served.export(tmp_path / "case.zip", cameras="gone")
    assert [segment.number for segment in case.cameras[0].segments] == [1, 3]
    assert (case.missing[0].segment, case.missing[0].what) == (2, "its records")
    assert verify_case(tmp_path / "case.zip", key=None, bundles=lambda: [loaded]).count_wrong == 0


def test_a_segment_that_is_deleted_while_it_is_exported_is_read_to_its_end_and_later_ones_are_named(
    served: Served, tmp_path: Path, loaded: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = camera_export.SegmentFile

    def deleting(root: Path, segment: Any) -> Any:
        file = opened(root, segment)
        for number in (1, 3):
            served.segment_file("deleted", number).unlink()
        monkeypatch.setattr(camera_export, "SegmentFile", opened)
        return file

    monkeypatch.setattr(camera_export, "SegmentFile", deleting)
    case = served.export(tmp_path / "case.zip", cameras="deleted")
    assert [segment.number for segment in case.cameras[0].segments] == [1, 2]
    assert [missing.segment for missing in case.missing] == [3]
    assert verify_case(tmp_path / "case.zip", key=None, bundles=lambda: [loaded]).count_wrong == 0


def test_an_export_of_nothing_says_what_there_is(served: Served, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nothing is stored between .* gate has records from 2026-09-21T14:13:20"):
        served.export(tmp_path / "case.zip", start=at(100), end=at(200))
    with pytest.raises(NotFoundError, match="there is no camera 'yard'"):
        served.export(tmp_path / "case.zip", cameras="yard")
    assert not (tmp_path / "case.zip").exists()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"cameras": "../../etc"}, "camera name '../../etc' is not allowed"),
        ({"cameras": []}, "of 1 to 256 cameras"),
        ({"cameras": ["gate"] * 300}, "of 1 to 256 cameras"),
        ({"start": at(60), "end": at(0)}, "its start comes before its end"),
        ({"case": " "}, "is empty"),
        ({"case": "x" * 10_000_000}, "has 10000000 characters; there may be 4000"),
        ({"case": "red\x1b[2J"}, r"U\+001B at place 4"),
        ({"case": "me\u202etxe"}, r"U\+202E at place 3"),
        ({"by": "Ann\nBob"}, r"U\+000A at place 4"),
        ({"by": "A" * 201}, "has 201 characters; there may be 200"),
    ],
)
def test_a_request_that_cannot_be_is_refused_by_name(
    served: Served, tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        served.export(tmp_path / "case.zip", **changes)


def test_a_range_without_an_end_is_refused(served: Served) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{served.port}") as channel:
        request = ExportCaseRequest(cameras=["gate"], about="x", exported_by="y")
        with pytest.raises(grpc.RpcError) as refused:
            next(ExportServiceStub(channel).ExportCase(request))
    assert "give its start (from) and its end (to)" in str(error_of(refused.value, "the cloud"))


def test_names_in_any_script_are_taken_as_they_are(served: Served, tmp_path: Path) -> None:
    text = "Übergriff / «вход» 入口 👩‍🚒 می‌خواهم\tline\nline"
    case = served.export(tmp_path / "case.zip", case=text, by="Zoë O'Brien / 王")
    assert (case.case, case.exported_by) == (text, "Zoë O'Brien / 王")


def test_who_goes_away_makes_room_for_the_next(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, go_on = camera_export.SegmentFile, threading.Event()

    def waiting(root: Path, segment: Any) -> Any:
        go_on.wait(60)
        return opened(root, segment)

    monkeypatch.setattr(camera_export, "SegmentFile", waiting)
    request = ExportCaseRequest(cameras=["gate"], about="A test", exported_by="Ann")
    getattr(request, "from").FromDatetime(at(0))
    request.to.FromDatetime(at(60))
    with grpc.insecure_channel(f"127.0.0.1:{served.port}") as channel:
        exports = [ExportServiceStub(channel).ExportCase(request) for _ in range(MOST_AT_ONCE)]
        for export in exports:
            assert next(export).expected_bytes > 0
        with pytest.raises(BusyError, match="2 exports are being made"):
            served.export(tmp_path / "case.zip")
        for export in exports:
            export.cancel()
        go_on.set()
        while not (tmp_path / "case.zip").exists():
            with suppress(BusyError):
                served.export(tmp_path / "case.zip")


async def test_a_caller_exports_the_cameras_that_its_certificate_names(tmp_path: Path, loaded: Bundle) -> None:
    certificates = Certificates(tmp_path / "certs")
    edge, server = certificates.edge("north", "gate"), certificates.server()
    flags = {f"ingest.tls.{name}": str(getattr(server, name)) for name in ("certificate", "key", "authority")}
    async with running_cloud(tmp_path / "cloud", loaded, None, edge, **flags) as cloud:
        await cloud.deliver(*coded_stream(loaded, "gate", moving_square(12)))
        tls = Tls(edge.authority, edge.certificate, edge.key)
        async with AsyncCloudClient(f"127.0.0.1:{cloud.app.port}", tls=tls) as client:
            await client.export(tmp_path / "case.zip", "gate", at(0), at(9), case="A test", by="Ann")
            with pytest.raises(PermissionDeniedError, match="may not read camera 'yard'"):
                await client.export(tmp_path / "no.zip", ["gate", "yard"], at(0), at(9), case="A test", by="Ann")
    assert parse_case(contents(tmp_path / "case.zip")[CASE]).caller == "north"


def test_a_cloud_that_is_away_leaves_no_half_of_a_file(tmp_path: Path) -> None:
    with CloudClient("127.0.0.1:1") as client, pytest.raises(UnreachableError):
        client.export(tmp_path / "case.zip", "gate", at(0), at(9), case="A test", by="Ann")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_named(served: Served, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write"):
        served.export(tmp_path / "file/case.zip")


def test_a_database_that_does_not_answer_costs_the_detections_and_is_named(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise OperationalError("select", {}, Exception("disk I/O error"))

    monkeypatch.setattr(camera_export, "events_of", refuse)
    case = served.export(tmp_path / "case.zip")
    assert {missing.what for missing in case.missing} == {"what was found in it"}
    assert case.cameras[0].detections is None
