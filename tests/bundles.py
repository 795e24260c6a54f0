"""Codec bundles beside the one that is used where none is named."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from icm.codec.bundle.manifest import MANIFEST, BundleFile, codec_id_of
from icm.codec.bundle.shipped import SHIPPED, SHIPPED_BUNDLES

ICM_1, ICM_2 = (SHIPPED_BUNDLES[SHIPPED.index(name)] for name in ("icm-1", "icm-2"))
"""The first has dense transforms, and decodes records from before motion; the second has gated ones."""

_DOC_STRING = b"\x32\x05other"
"""A field that a serialised ONNX model may end with: a text that no runtime reads."""


def with_other_id(bundle: Path, target: Path) -> Path:
    """A copy of a bundle that codes and decodes as it does, under another codec id, as the next bundle would."""
    shutil.copytree(bundle, target)
    network = target / "hyper_decoder.onnx"
    network.write_bytes(network.read_bytes() + _DOC_STRING)
    manifest = json.loads((target / MANIFEST).read_text())
    content = network.read_bytes()
    manifest["files"][network.name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    files = {name: BundleFile(**file) for name, file in manifest["files"].items()}
    manifest |= {"name": target.name, "codec_id": codec_id_of(files)}
    (target / MANIFEST).write_text(json.dumps(manifest))
    return target
