"""Where a figure is printed: true text widths, letters and sizes of a web page, two conferences and slides; and LaTeX."""

import dataclasses
import shutil
from typing import Any

from edittheory.core.errors import RunError
from edittheory.core.validation import check_in

LEAST = 7.0
"""Points of the smallest label on a page; slides have `scale` times as much."""
TEX = ("latex", "dvipng")
"""Programs without which matplotlib cannot set text by LaTeX."""


@dataclasses.dataclass(frozen=True)
class Target:
    """width: of the text, in inches; scale: of letters and lines against those of a page; serif: Times-like letters (STIX)."""

    width: float
    scale: float = 1.0
    serif: bool = False


TARGETS = {
    "web": Target(5.5),
    "neurips": Target(5.5, serif=True),
    "icml": Target(6.75, serif=True),
    "slides": Target(10.0, scale=1.8),
}
"""neurips: the width of its one column; icml: of both columns (`figure*`); slides: of a 4:3 page, labels from 12.6 pt."""
FIXED: dict[str, Any] = {
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.hashsalt": "edittheory",
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.columnspacing": 1.2,
    "legend.borderaxespad": 0.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "errorbar.capsize": 0,
    "figure.dpi": 150,
    "savefig.dpi": 300,
    "savefig.bbox": None,
    "axes.grid": True,
    "grid.color": "#D9D9D9",
    "axes.axisbelow": True,
    "xtick.minor.visible": False,
}
BODY = 7.5
"""Points of `font.size` at scale 1: of axes' and panels' titles; ticks, legends and notes have LEAST."""
SCALED: dict[str, float] = {
    "font.size": BODY,
    "axes.titlesize": BODY,
    "axes.labelsize": BODY,
    "figure.titlesize": LEAST,
    "xtick.labelsize": LEAST,
    "ytick.labelsize": LEAST,
    "legend.fontsize": LEAST,
    "legend.title_fontsize": LEAST,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "grid.linewidth": 0.3,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.pad": 2.0,
    "ytick.major.pad": 2.0,
    "axes.titlepad": 4.0,
    "axes.labelpad": 2.5,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
}


def target(name: str) -> Target:
    """The target of that name. Raises ValueError naming those there are."""
    return TARGETS[check_in("style", name, tuple(TARGETS))]


def settings(chosen: Target, tex: bool = False) -> dict[str, Any]:
    """matplotlib's settings for a target; `tex` sets all text by LaTeX. Raises RunError where that is not installed."""
    if tex and (missing := [program for program in TEX if shutil.which(program) is None]):
        raise RunError(
            f"--tex needs {' and '.join(missing)}, which this machine lacks (Debian: texlive-latex-extra, cm-super, dvipng); "
            "without --tex the styles neurips and icml are set in STIX, which resembles Times"
        )
    family: dict[str, Any] = (
        {"font.family": "STIXGeneral", "mathtext.fontset": "stix"}
        if chosen.serif
        else {"font.family": "DejaVu Sans"}
    )
    if tex:
        family = {
            "text.usetex": True,
            "font.family": "serif" if chosen.serif else "sans-serif",
            "text.latex.preamble": r"\usepackage{mathptmx}" if chosen.serif else r"\usepackage{helvet}",
        }
    scaled = {name: size * chosen.scale for name, size in SCALED.items()}
    return {**FIXED, **scaled, **family, "figure.figsize": (chosen.width, 0.5 * chosen.width)}
