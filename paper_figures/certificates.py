"""The tightness ladder: theory's bounds, certificates and what is realised against n; and which promises faults break."""

import matplotlib.figure
import numpy as np
import polars as pl
from matplotlib.ticker import NullFormatter

from edittheory.core.statistics import clopper_pearson

from . import style
from .figure import Figure

LADDER = (
    ("B2 paper", "PREF", "B2(a), shape of the paper", style.GREY, "-", "o"),
    ("B2 sharp", "PREF", "B2(b), sharp", style.GREY, "--", "s"),
    ("B3 slow", "RL", "B3(a)", style.GREY, ":", "^"),
    ("likelihood ratio", "PREF", "certificate of PREF", style.VERMILLION, "--", "s"),
    ("mixture", "PREF", "same, anytime", style.VERMILLION, "-", "s"),
    ("betting", "RL plug-in", "of RL plug-in, betting", style.GREEN, "-", "^"),
    ("average", "posterior", "of the posterior, both", style.BLUE, "-", "D"),
    ("average", "centre", "of the centre, both", style.SKY, "-", "v"),
)
REALISED = (("average", "posterior", "SubOpt of the posterior", "o"),)
SHOWN = ("line", "sinkhorn")
TITLES = {
    "line": "a dense class along a line",
    "sinkhorn": "exchangeable candidates, given reference",
    "backwards": "candidates far apart",
}
SETS = ("likelihood ratio", "mixture", "least squares", "betting", "average", "joint", "edits")
LEVEL = 0.05


def _ladder(ax, data: pl.DataFrame, family: str) -> list:
    issued = data.filter(
        (pl.col("family") == family) & (pl.col("fault") == "none") & pl.col("value").is_finite()
    )
    lines = []
    for form, player, label, color, dashes, marker in LADDER:
        part = (
            issued.filter((pl.col("form") == form) & (pl.col("player") == player))
            .group_by("n", maintain_order=True)
            .agg(pl.col("value").mean())
            .sort("n")
        )
        value = part["value"].to_numpy()
        value = np.where(value < 1e3, value, np.nan)
        look = style.Look(label, color, marker, dashes)
        lines.append(style.line(ax, part["n"].to_numpy(), value, look, markersize=3))
    for form, player, label, marker in REALISED:
        part = (
            issued.filter((pl.col("form") == form) & (pl.col("player") == player))
            .group_by("n", maintain_order=True)
            .agg(pl.col("realised").mean())
            .sort("n")
        )
        value = part["realised"].to_numpy()
        look = style.Look(label, style.BLACK, marker, "-")
        lines.append(
            style.line(ax, part["n"].to_numpy(), np.where(value > 1e-7, value, np.nan), look, markersize=3)
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(2e-5, 3e2)
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("edits n")
    ax.set_title(TITLES[family])
    return lines


def _misses(ax, data: pl.DataFrame, delta: float) -> None:
    """Share of logs by whose end the set lost the truth, for each fault; hollow where nothing was promised."""
    last = data.filter(
        (pl.col("player") == "posterior")
        & (pl.col("family") == "backwards")
        & (pl.col("n") == pl.col("n").max())
    )
    faults = [
        f for f in ("none", "habit .3", "preferences flipped .1", "cost noise .5") if f in last["fault"]
    ]
    looks = dict(
        zip(
            faults,
            (style.Look(f, c, m) for f, c, m in zip(faults, style.PALETTE, style.MARKERS, strict=False)),
            strict=True,
        )
    )
    for shift, (fault, look) in zip(np.linspace(-0.27, 0.27, len(faults)), looks.items(), strict=True):
        for row, form in enumerate(SETS):
            part = last.filter((pl.col("fault") == fault) & (pl.col("form") == form))
            missed = int((~part["covers"]).sum())
            low, high = clopper_pearson(missed, len(part), LEVEL)
            y = row + shift
            ax.plot([float(low), float(high)], [y, y], color=look.color, linewidth=0.9)
            ax.plot(
                missed / len(part),
                y,
                marker=look.marker,
                color=look.color,
                markersize=3.5,
                label=fault if row == 0 else None,
                linestyle="none",
            )
    ax.axvline(delta, color="black", linewidth=0.7, linestyle=(0, (1, 2)))
    ax.set_yticks(range(len(SETS)), SETS)
    ax.invert_yaxis()
    ax.set_xlim(-0.02, 1.02)
    ax.set_xlabel(f"truth outside the set (dotted: {delta:g})")
    ax.set_title("what faults break")
    ax.legend(fontsize=6, loc="upper right")


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Two ladders, and the coverage of each set with and without faults."""
    data, manifest = rows["certificates"], manifests["certificates"]
    config = manifest["config"]
    figure, axes = style.new_figure(1, 3, width=style.PAGE * 1.3, height=3.6)
    for ax, family in zip(axes[0], SHOWN, strict=False):
        lines = _ladder(ax, data, family)
    axes[0, 0].set_ylabel("bound on SubOpt, mean over logs", fontsize=7)
    _misses(axes[0, 2], data, config["delta"])
    figure.legend(handles=lines, loc="outside lower center", ncols=5)
    figure.suptitle(
        f"Bounds from the data alone against theory's: {config['trials']:,} random problems, {config['num_candidates']} candidates, "
        f"delta = {config['delta']:g} (values above 1,000 left out). Preset {manifest['label']}",
        fontsize=8,
        x=0.01,
        ha="left",
    )
    return figure


FIGURE = Figure(
    name="certificates",
    needs=("certificates",),
    draw=draw,
    summary="Tightness ladder of bounds and certificates against n, and coverage of every confidence set under faults.",
)
