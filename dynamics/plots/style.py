"""How figures look, and how they are written to disk."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

MM = 1 / 25.4
COLUMN, PAGE = 85 * MM, 180 * MM

STYLE = {
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6,
    "legend.title_fontsize": 6.5,
    "lines.linewidth": 1.1,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "savefig.dpi": 300,
}
AXIS_NAMES = {"ridge": "Encoding score (Pearson r)", "rsa": "RSA (Spearman ρ)"}


def save(figure: Figure, path: Path) -> list[Path]:
    """Write a figure as PNG and PDF, beside first and then renamed.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure; it is closed.
    path : Path
        Without suffix.

    Returns
    -------
    list of Path
        The files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in ("png", "pdf"):
        final = path.parent / f"{path.name}.{kind}"
        beside = path.parent / f".{path.name}.{kind}.part"
        # No date inside: the same results give the same file.
        metadata = {"CreationDate": None} if kind == "pdf" else None
        figure.savefig(beside, format=kind, metadata=metadata)
        os.replace(beside, final)
        written.append(final)
    plt.close(figure)
    return written
