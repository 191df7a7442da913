"""Level and power of the tests of balance: share of users rejected against n, by kind of user, and times to refutation."""

import matplotlib.figure
import numpy as np
import polars as pl
from matplotlib.ticker import NullFormatter

from edittheory.core.statistics import clopper_pearson

from . import style
from .figure import Figure

TESTS = {
    "union": ("B7: intersection", style.GREY, "o", ":"),
    "joint": ("joint e-process", style.SKY, "s", "-."),
    "rich": ("joint, free alternative", style.VERMILLION, "D", "-"),
    "goodness of fit": ("fixed n, bootstrap", style.BLUE, "^", "--"),
}
LEVEL = 0.05


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """One panel for each kind of user: balanced ones first, then the others by how far balance is off."""
    data, manifest = rows["balance_test"], manifests["balance_test"]
    config = manifest["config"]
    order = (
        data.group_by("kind", maintain_order=True)
        .agg(pl.col("balanced").first(), pl.col("violation").mean())
        .sort(["balanced", "violation", "kind"], descending=[True, False, False])
    )
    columns = 5
    count = -(-len(order) // columns)
    figure, axes = style.new_figure(
        count, columns, width=style.PAGE, height=1.35 * count + 0.9, sharex=True, sharey=True
    )
    for ax in axes.flat[len(order) :]:
        ax.set_visible(False)
    handles: list = []
    for ax, (kind, balanced, violation) in zip(axes.flat, order.iter_rows(), strict=False):
        mine = data.filter(pl.col("kind") == kind)
        handles = []
        for test, (label, color, marker, dashes) in TESTS.items():
            part = (
                mine.filter(pl.col("test") == test)
                .group_by("n", maintain_order=True)
                .agg(pl.col("rejected").sum().alias("count"), pl.len().alias("trials"))
                .sort("n")
            )
            low, high = clopper_pearson(part["count"].to_numpy(), part["trials"].to_numpy(), LEVEL)
            look = style.Look(label, color, marker, dashes)
            rate = (part["count"] / part["trials"]).to_numpy()
            handles.append(style.line(ax, part["n"].to_numpy(), rate, look, low, high, markersize=2.5))
        ax.axhline(config["delta"], color="black", linewidth=0.7, linestyle=(0, (1, 2)))
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_ylim(-0.03, 1.03)
        ax.set_yticks([0, 0.5, 1])
        times = mine.filter((pl.col("test") == "rich") & (pl.col("n") == max(config["sizes"])))
        filled = times["time"].fill_null(max(config["sizes"]) + 1).to_numpy()
        median = float(np.median(filled))
        state = "balanced" if balanced else f"violation {violation:.3f}"
        if not balanced and median <= max(config["sizes"]):
            ax.axvline(median, color=style.VERMILLION, linewidth=0.7, alpha=0.6)
            state += f", time {median:,.0f}"
        name = "medium strength" if kind == "balanced" else kind.removeprefix("balanced, ")
        ax.set_title(f"{name}\n{state}", fontsize=6.5)
    for ax in axes[-1]:
        ax.set_xlabel("edits n")
    for ax in axes[:, 0]:
        ax.set_ylabel("share rejected", fontsize=7)
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    figure.suptitle(
        f"Tests of balance at level {config['delta']:g} (dotted): share of {config['trials']:,} random users rejected, "
        f"with {100 * (1 - LEVEL):.0f}% intervals.\nVertical line and time: median time to refutation of the joint test with a "
        f"free alternative. Preset {manifest['label']}",
        fontsize=7.5,
        x=0.01,
        ha="left",
    )
    return figure


FIGURE = Figure(
    name="balance_test",
    needs=("balance_test",),
    draw=draw,
    summary="Level under balanced users and power against unbalanced ones of sequential and fixed-sample tests of balance.",
)
