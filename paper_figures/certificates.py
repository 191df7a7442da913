"""Certificates of one policy, the posterior's, against n: how large they are, and how often faults of the user make them wrong."""

import matplotlib.figure
import numpy as np
import polars as pl
from matplotlib.ticker import NullFormatter

from edittheory.core.statistics import clopper_pearson

from . import style
from .figure import Figure

PLAYER = "posterior"
DENSE, FAR = "line", "backwards"
"""Classes: along a line, the hardest to tell apart; and of candidates far apart, on which the faults were tried."""
FORMS = {
    "mixture": style.Look("preferences", style.VERMILLION, "s"),
    "betting": style.Look("costs", style.GREEN, "^"),
    "average": style.Look("both", style.BLUE, "D"),
}
BOUND = ("B2 sharp", "PREF", style.Look("bound B2(b)", style.GREY, "", "--"))
FAULTS = {
    "none": "balanced users",
    "habit .3": "30% habit",
    "preferences flipped .1": "10% flipped pairs",
    "cost noise .5": "noisy costs",
}
LEVEL = 0.05


def _quantiles(data: pl.DataFrame, column: str, sizes: list[int]) -> np.ndarray:
    """(3, sizes): 10%, median and 90% over logs; an empty set's certificate is infinite and counts as large."""
    return style.quantiles(data, column, "n", sizes, method="lower")


def _ladder(ax, data: pl.DataFrame, sizes: list[int]) -> list:
    """Certificates of the posterior's policy by what they use, the bound of the theory and what is realised."""
    form, player, look = BOUND
    _, bound, _ = _quantiles(data.filter(form=form, player=player), "value", sizes)
    lines = [style.line(ax, sizes, bound, look)]
    mine = data.filter(pl.col("player") == PLAYER)
    for form, look in FORMS.items():
        low, middle, high = _quantiles(mine.filter(form=form), "value", sizes)
        lines.append(style.line(ax, sizes, middle, look, low, high))
    _, middle, _ = _quantiles(mine.filter(form="average"), "realised", sizes)
    lines.append(style.line(ax, sizes, np.maximum(middle, 1e-6), style.Look("realised", style.BLACK, "o")))
    ax.set(xscale="log", yscale="log")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("edits $n$")
    ax.set_ylabel("SubOpt of the posterior's policy")
    ax.set_title("how large: certificates from ...")
    return lines


def _wrong(ax, data: pl.DataFrame, sizes: list[int], delta: float) -> None:
    """Share of logs whose certificate at n is below the SubOpt."""
    for form, look in FORMS.items():
        mine = data.filter(form=form, player=PLAYER)
        parts = [mine.filter(pl.col("n") == n)["holds"].to_numpy() for n in sizes]
        bad = np.array([int((~part).sum()) for part in parts])
        counts = np.array([len(part) for part in parts])
        low, high = clopper_pearson(bad, counts, LEVEL)
        style.line(ax, sizes, bad / counts, look, low, high, markersize=style.pt(2.5))
    ax.axhline(delta, color=style.BLACK, linewidth=style.pt(0.7), linestyle=":")
    ax.set_xscale("log")
    ax.xaxis.set_minor_formatter(NullFormatter())


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Left: the ladder without faults. Right: share of wrong certificates at each n, a panel for each fault."""
    data, config = rows["certificates"], manifests["certificates"]["config"]
    dense, far = data.filter(pl.col("family") == DENSE), data.filter(pl.col("family") == FAR)
    sizes = sorted(dense["n"].unique().to_list())
    faults = [fault for fault in FAULTS if fault in set(far["fault"])]
    figure = style.blank(3.1)
    grid = figure.add_gridspec(2, 3, width_ratios=(2.1, 1.0, 1.0))
    left = figure.add_subplot(grid[:, 0])
    lines = _ladder(left, dense.filter(pl.col("fault") == "none"), sizes)
    first = None
    for place, fault in enumerate(faults):
        ax = figure.add_subplot(grid[place // 2, 1 + place % 2], sharex=first, sharey=first)
        first = first or ax
        _wrong(ax, far.filter(pl.col("fault") == fault), sizes, config["delta"])
        ax.set_title(FAULTS[fault])
        if place % 2:
            ax.tick_params(labelleft=False)
        else:
            ax.set_ylabel("share wrong")
        if place < 2:
            ax.tick_params(labelbottom=False)
        else:
            ax.set_xlabel("edits $n$")
    if first is not None:
        first.set_ylim(-0.02, None)
    style.key(
        figure,
        f"{config['trials']:,} random problems, {config['num_candidates']} candidates. Left: a dense class; medians "
        "over logs, bands 10% to "
        f"90%. Right: candidates far apart; share of logs, bands {1 - LEVEL:.0%} intervals; dotted: delta = "
        f"{config['delta']:g}, the promise.",
    )
    style.label_ends(left, lines)
    return figure


FIGURE = Figure(
    name="certificates",
    needs=("certificates",),
    draw=draw,
    summary="Bounds computed from the log are a hundred to a thousand times below the theory's; a habit or flipped "
    "pairs break those that use preferences, not those from costs alone",
)
