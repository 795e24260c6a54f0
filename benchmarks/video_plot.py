"""The curves of ``icm-bench video`` as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Writes a PNG of the rows of ``video.json``: AP50 and agreement against kbit/s."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(row["codec"] for row in rows if row["kbit_per_second"] is not None))
    figure, panels = pyplot.subplots(1, 2, figsize=(11, 4.5), sharex=True)
    titles = {"ap50": "person AP50 against the ground truth", "agreement": "AP50 against detections on the source"}
    for axes, (measure, title) in zip(panels, titles.items(), strict=True):
        for row in rows:
            if row["kbit_per_second"] is None and measure == "ap50":
                axes.axhline(row[measure], color="grey", linewidth=1, linestyle=":", label="uncompressed")
        for number, name in enumerate(names):
            points = sorted((row["kbit_per_second"], row[measure]) for row in rows if row["codec"] == name)
            ours = name.endswith("records")
            axes.plot(*zip(*points, strict=True), label=name, color=f"C{number}", marker="o", markersize=3,
                      linewidth=2.5 if ours else 1)  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks([10, 20, 50, 100, 200, 500, 1000], ["10", "20", "50", "100", "200", "500", "1000"])
        axes.minorticks_off()
        axes.set(title=title, xlabel="kbit/s")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
