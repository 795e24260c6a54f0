"""``import icm``: the names that other programs may use, and what importing them loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

import icm


def test_these_names_are_public_and_no_others() -> None:
    assert set(icm.__all__) == {
        "Activity",
        "AsyncCloudClient",
        "AsyncEdgeClient",
        "Box",
        "Bundle",
        "Camera",
        "CameraReport",
        "ChainHead",
        "ClassActivity",
        "Clip",
        "ClipGap",
        "CloudClient",
        "CodedFrame",
        "DEFAULT_BUNDLE",
        "Decoder",
        "Detections",
        "EdgeClient",
        "Encoder",
        "Frame",
        "FrameId",
        "FrameInspection",
        "Hold",
        "IcmError",
        "Kind",
        "LiveFrame",
        "LiveNews",
        "PlannedDeletion",
        "Record",
        "Redetection",
        "Region",
        "RetentionPlan",
        "Segment",
        "Sighting",
        "Storage",
        "StoredFrame",
        "StoredTier",
        "StreamHeader",
        "Submitted",
        "Tls",
        "Verification",
        "__version__",
        "bundle_of",
        "decode",
        "encode",
        "errors",
        "parse_stream",
    }


@pytest.mark.parametrize("name", icm.__all__)
def test_every_public_name_is_there_and_listed(name: str) -> None:
    assert getattr(icm, name) is not None
    assert name in dir(icm)


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'compress'"):
        icm.compress  # noqa: B018


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("import icm", {"numpy", "grpc", "onnxruntime", "PIL", "pydantic", "google"}),
        ("import icm; icm.EdgeClient; icm.CloudClient", {"numpy", "onnxruntime", "PIL", "av", "torch", "constriction"}),
        ("import icm; icm.encode; icm.Decoder", {"grpc", "torch", "av", "PIL", "onnxruntime.training"}),
    ],
)
def test_importing_loads_only_what_is_used(program: str, absent: set[str]) -> None:
    command = f"{program}\nimport sys\nprint(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert not set(result.stdout.split()) & absent
