"""The curves of ``icm-bench rate-accuracy`` as a picture: a column per detector, mAP50-95 above mAP50."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_SHOWN = (0.06, 2.0)
"""Bits per pixel."""


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Writes a PNG of the rows of ``rate_accuracy.json``; bands are 95 % bootstrap intervals of ours."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    detectors = list(dict.fromkeys(row["detector"] for row in rows))
    codecs = [name for name in dict.fromkeys(row["codec"] for row in rows) if name != "source"]
    palette = matplotlib.colormaps["tab20"]
    # Its strong colours first, then the faint ones.
    colours = {name: palette(2 * number % 20 + number // 10) for number, name in enumerate(codecs)}
    size = (2.2 + 4 * len(detectors), 7)
    figure, grid = pyplot.subplots(
        2, len(detectors), figsize=size, sharex=True, sharey="row", squeeze=False, layout="constrained"
    )
    for column, detector in enumerate(detectors):
        for axes, measure in zip(grid[:, column], ("map", "map50"), strict=True):
            for name in ("source", *codecs):
                points = [row for row in rows if (row["detector"], row["codec"]) == (detector, name)]
                if name == "source":
                    for point in points:
                        axes.axhline(point[measure], color="grey", linewidth=1, linestyle=":", label="uncompressed")
                elif points:
                    bpp = [point["bpp"] for point in points]
                    # Anchors are thin: the eye is to find ours.
                    anchor = name.isupper()
                    axes.plot(
                        bpp, [point[measure] for point in points], color=colours[name], label=name,
                        marker="o", markersize=3, linewidth=1 if anchor else 2,
                        # Of two that are the same, both are to be seen.
                        linestyle="--" if name.endswith("before finetuning") else "-",
                    )  # fmt: skip
                    if measure == "map" and not anchor:
                        low, high = ([point[f"map_{end}"] for point in points] for end in ("low", "high"))
                        axes.fill_between(bpp, low, high, color=colours[name], alpha=0.12, linewidth=0)
            axes.set_xscale("log")
            axes.set_xlim(_SHOWN)
            axes.set_xticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
            axes.minorticks_off()
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        grid[0, column].set_title(detector)
        grid[1, column].set_xlabel("bits per pixel")
    for first in grid[:, 0]:
        first.set_ylim(bottom=0)
    grid[0, 0].set_ylabel("mAP50-95")
    grid[1, 0].set_ylabel("mAP50")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
