"""docs/ablation.md: the rows of an ablation as tables for people."""

from __future__ import annotations

from typing import Any

_TITLES = {
    "finetune": "Adversarial finetuning of the decoder",
    "object": "Object-region learning",
}
_NOTES = {
    "finetune": (
        "All runs start from the same checkpoint; the bits are the same in every row, but for those of the "
        "hyper-latents, which are estimated with noise (0.0001 bpp). *Adversarial* is the middle: {middle}. "
        "Every other run changes what its name says. A run with grain is measured with what people are shown of it, "
        "and its mAP with the detector's share."
    ),
    "object": (
        "All runs start from the same base checkpoint and change encoder and rate, so compare mAP together with bpp: "
        "{middle}. The start has hyper-latents of rounded latents, as a bundle has, the runs those that their rate was "
        "taken of."
    ),
}
_COLUMNS = {
    "variant": "run",
    "bpp": "bpp",
    "psnr": "PSNR",
    "object_psnr": "object PSNR",
    "background_psnr": "background PSNR",
    "ms_ssim": "MS-SSIM",
    "feature_distance": "feature distance",
    "checkerboard_2": "C_2",
    "checkerboard_4": "C_4",
    "checkerboard_8": "C_8",
    "checkerboard_16": "C_16",
    "map": "mAP50-95",
    "map50": "mAP50",
}
_DIGITS = {"psnr": 2, "object_psnr": 2, "background_psnr": 2} | {f"checkerboard_{s}": 2 for s in (2, 4, 8, 16)}
_SETTINGS = {
    "finetune": ("steps", "crop", "rate", "layers", "patch_size", "patches", "lambda_adv", "discriminator_loss"),
    "object": ("steps", "crop", "rate", "background", "area", "margin"),
}


def page(results: dict[str, Any]) -> str:
    """The page.

    Args:
        results: ``rows`` (see ``icm_train.ablation.runs``), and ``config``, the ablation's settings.
    """
    config = results["config"]
    lines = [
        "# Ablation",
        "",
        "Written by `icm-train ablate` from `benchmarks/results/ablation.json`. The runs are short, so what counts is"
        " how they differ and not how good they are. PSNR, MS-SSIM, feature distance and the checkerboard's excess C_s"
        f" over the originals (dB) are of {config['crops']} crops of {config['crop']} px of the training photos;"
        f" {_detector(results)}",
        "",
    ]
    for stage, title in _TITLES.items():
        rows = [row for row in results["rows"] if row["stage"] == stage]
        if not rows:
            continue
        settings = ", ".join(f"{name} {config[stage][name]}" for name in _SETTINGS[stage])
        lines += [f"## {title}", "", _NOTES[stage].format(middle=settings), ""]
        for level in sorted({row["level"] for row in rows}):
            lines += [f"Quality level {level}:", "", *_table([row for row in rows if row["level"] == level]), ""]
    return "\n".join(lines)


def _detector(results: dict[str, Any]) -> str:
    if not results["detector"]:
        return "no detector was shown the pictures."
    return f"mAP is that of a frozen {results['detector']} on {results['detector_photos']} labelled photos."


def _table(rows: list[dict[str, Any]]) -> list[str]:
    columns = [name for name in _COLUMNS if name in rows[0]]
    lines = ["| " + " | ".join(_COLUMNS[name] for name in columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(name, row[name]) for name in columns) + " |" for row in rows]
    return lines


def _cell(name: str, value: Any) -> str:
    return f"{value:.{_DIGITS.get(name, 4)}f}" if isinstance(value, float) else str(value)
