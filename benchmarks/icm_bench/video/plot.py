"""The curves of ``icm-bench video`` as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from icm.codec.bundle.shipped import DEFAULT_BUNDLE

_COLUMNS = 3


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Writes a PNG of the rows of ``video.json``, a panel a scene: AP50, or where there is no truth agreement."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    scenes = list(dict.fromkeys(row["scene"] for row in rows))
    names = list(dict.fromkeys(row["codec"] for row in rows if row["kbit_per_second"] is not None))
    lines = -(-len(scenes) // _COLUMNS)
    figure, panels = pyplot.subplots(lines, _COLUMNS, figsize=(15, 4.2 * lines), squeeze=False)
    for axes in panels.ravel()[len(scenes) :]:
        axes.set_visible(False)
    for axes, scene in zip(panels.ravel(), scenes, strict=False):
        here = [row for row in rows if row["scene"] == scene]
        measure = "agreement" if any(row["ap50"] is None for row in here) else "ap50"
        for row in here:
            if row["kbit_per_second"] is None and measure == "ap50":
                axes.axhline(row[measure], color="grey", linewidth=1, linestyle=":")
        for number, name in enumerate(names):
            points = sorted((row["kbit_per_second"], row[measure]) for row in here if row["codec"] == name)
            if points:
                ours = name.startswith("icm")
                colour = _ours(name) if ours else f"C{number}"
                axes.plot(*zip(*points, strict=True), label=name, color=colour, marker="o",
                          markersize=3, linewidth=2.5 if ours else 1)  # fmt: skip
        axes.set_xscale("log")
        ticks = [10, 20, 50, 100, 200, 500, 1000, 2000]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        title = "AP50 against the ground truth" if measure == "ap50" else "AP50 against detections on the source"
        axes.set(title=f"{scene}: {title}", xlabel="kbit/s")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0, 0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def _ours(name: str) -> str:
    """Black, of bundles before the one that ships by default a grey."""
    return "black" if name == DEFAULT_BUNDLE.name else "darkgrey"
