"""Makes ``import torchvision`` work beside a torch build that its compiled operators do not match.

Registries serve a CUDA build of torchvision for every platform, while torch may be a CPU build; torchvision's
extension then fails to load, its operators are undeclared, and the import dies. Ultralytics and CompressAI both
import torchvision but use none of these operators on our paths, except non-maximum suppression.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_library: Any = None


def declare() -> None:
    """Declares torchvision's operators where its own extension cannot. Call it before importing torchvision."""
    global _library
    if _library is not None:
        return
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        return
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    try:
        torch.ops.load_library(str(next(_extension_files(spec.origin))))  # type: ignore[no-untyped-call]
        _library = True
        return
    except (StopIteration, OSError):
        pass
    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define(
        "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width,"
        " int sampling_ratio, bool aligned) -> Tensor"
    )
    library.impl("nms", _nms, "CPU")
    _library = library
    import torchvision.extension

    torchvision.extension._has_ops = lambda: True


def _extension_files(origin: str) -> Iterator[Path]:
    return Path(origin).parent.glob("_C*.so")


def _nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy non-maximum suppression: boxes float[N, 4] as x1 y1 x2 y2, scores float[N] -> kept int64[K]."""
    import torch

    order = scores.argsort(descending=True)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while order.numel():
        best, rest = order[0], order[1:]
        kept.append(best)
        low = torch.maximum(boxes[best, :2], boxes[rest, :2])
        high = torch.minimum(boxes[best, 2:], boxes[rest, 2:])
        overlap = (high - low).clamp_min(0).prod(1)
        order = rest[overlap / (area[best] + area[rest] - overlap) <= iou_threshold]
    return torch.stack(kept) if kept else order
