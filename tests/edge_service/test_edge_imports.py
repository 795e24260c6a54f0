"""The walls of the edge: it runs where there is no torch, and knows nothing of the cloud's side."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import edge_service

FORBIDDEN = (
    "torch",
    "torchvision",
    "ultralytics",
    "sqlalchemy",
    "compressai",
    "cloud_service",
    "icm_train",
    "icm_bench",
)


def test_no_module_of_the_edge_brings_in_what_the_edge_must_not_need() -> None:
    modules = ["edge_service"]
    modules += [module.name for module in pkgutil.walk_packages(edge_service.__path__, "edge_service.")]
    assert "edge_service.sources.capture" in modules
    program = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(*[name for name in {FORBIDDEN!r} if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
