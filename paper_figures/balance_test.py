"""Tests of balance by kind of user: how many logs each refutes, and how many edits that takes."""

import matplotlib.figure
import numpy as np
import polars as pl
from matplotlib.ticker import NullFormatter

from edittheory.core.statistics import clopper_pearson

from . import style
from .figure import Figure

TESTS = {
    "union": style.Look("two e-processes (B7)", style.GREY, "o"),
    "joint": style.Look("joint e-process", style.SKY, "s"),
    "rich": style.Look("joint, free alternative", style.VERMILLION, "D"),
    "goodness of fit": style.Look("fixed n, bootstrap", style.BLUE, "^"),
}
SEQUENTIAL = ("union", "joint", "rich")
LEVEL = 0.05


def times(data: pl.DataFrame, last: int) -> tuple[float, float, float]:
    """25%, median and 75% of the edits until a test refutes; beyond `last` where it has not."""
    found = data.filter(pl.col("n") == last)["time"].fill_null(10 * last).to_numpy()
    low, middle, high = np.quantile(found, [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Left: share of logs refuted by the last n, balanced users above. Right: edits until refutation, by sequential tests."""
    data, config = rows["balance_test"], manifests["balance_test"]["config"]
    last = max(config["sizes"])
    order = (
        data.group_by("kind", maintain_order=True)
        .agg(pl.col("balanced").first(), pl.col("violation").mean())
        .sort(["balanced", "violation", "kind"], descending=[True, True, False])
    )
    names = [
        "balanced, medium" if kind == "balanced" else kind if balanced else f"{kind} ({violation:.3f})"
        for kind, balanced, violation in order.iter_rows()
    ]
    figure, axes = style.new_figure(1, 2, height=4.3, sharey=True)
    left, right = axes[0]
    for index, (test, look) in enumerate(TESTS.items()):
        shift = 0.19 * (index - (len(TESTS) - 1) / 2)
        for place, (kind, balanced, _) in enumerate(order.iter_rows()):
            mine = data.filter(kind=kind, test=test)
            rejected = mine.filter(pl.col("n") == last)["rejected"].to_numpy()
            low, high = clopper_pearson(int(rejected.sum()), len(rejected), LEVEL)
            style.interval(left, float(low), float(high), place + shift, look.color)
            left.plot(rejected.mean(), place + shift, look.marker, color=look.color, markersize=style.pt(2.8), clip_on=False,
                      label=look.label if place == 0 else None)  # fmt: skip
            if balanced or test not in SEQUENTIAL:
                continue
            early, middle, late = times(mine, last)
            style.interval(right, min(early, last), min(late, last), place + shift, look.color)
            marker = look.marker if middle <= last else ">"
            right.plot(min(middle, last), place + shift, marker, color=look.color, markersize=style.pt(2.8), clip_on=False)  # fmt: skip
    left.axvline(config["delta"], color=style.BLACK, linewidth=style.pt(0.7), linestyle=":")
    left.set_xlim(0, 1)
    left.set_xlabel(f"share refuted by n = {last:,}")
    right.set_xscale("log")
    right.set_xlim(20, last)
    right.xaxis.set_minor_formatter(NullFormatter())
    right.set_xlabel(f"edits to refutation (arrow: > {last:,})")
    for ax in axes[0]:
        style.name_rows(ax, names, "#E5E5E5")
        ax.tick_params(axis="y", length=0)
        ax.axhline(int(order["balanced"].sum()) - 0.5, color=style.BLACK, linewidth=style.pt(0.7))
    style.legend_below(figure, left, 4)
    style.key(
        figure,
        f"{config['trials']:,} random users a kind (in brackets: how far balance is off). Left: {1 - LEVEL:.0%} intervals of the share; "
        f"dotted: the level {config['delta']:g}, promised above the line. Right: medians, bars 25% to 75% of users.",
    )
    return figure


FIGURE = Figure(
    name="balance_test",
    needs=("balance_test",),
    draw=draw,
    summary="Sequential tests keep their level under balanced users; habits are refuted after some hundred edits, style editors and "
    "lazy users only by the test with a free alternative",
)
