"""Regret of late ensembles against the number of rounds, and B4."""

import matplotlib.figure
import polars as pl

from . import style
from .figure import Figure

SHOWN = (
    "Late",
    "Late, alpha/4",
    "Thompson, noise/2",
    "KL-UCB",
    "Tsallis-INF",
    "epsilon-greedy",
    "follow the leader",
)


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Mean regret by setting, as a share of T x largest gap (always playing the worst policy), with 99% intervals of the mean.

    In these units B4 is far above 1: its value is written into each panel.
    """
    data = rows["late_ensemble"]
    settings = data["setting"].unique(maintain_order=True).to_list()
    figure, axes = style.new_figure(2, 3, width=style.PAGE, height=4.0, sharex=True)
    for ax, setting in zip(axes.flat, settings, strict=False):
        mine = data.filter(pl.col("setting") == setting)
        gap = mine["largest_gap"][0]
        for index, bandit in enumerate(SHOWN):
            table = (
                mine.filter(pl.col("bandit") == bandit)
                .group_by("t", maintain_order=True)
                .agg(pl.col("regret").mean(), (pl.col("regret").std() / pl.len().sqrt()).alias("error"))
                .sort("t")
            )
            worst = table["t"].to_numpy() * gap
            mean, half = table["regret"].to_numpy() / worst, 2.58 * table["error"].to_numpy() / worst
            style.line(
                ax, table["t"], mean, style.indexed(index, bandit), mean - half, mean + half, marker=None
            )
        late = mine.filter((pl.col("bandit") == "Late") & (pl.col("seed") == 0)).sort("t")
        share = {row["t"]: row["bound"] / (row["t"] * gap) for row in late.iter_rows(named=True)}
        last = max(share)
        ax.set_title(f"{setting}\nB4: {share[200]:.0f} at T = 200, {share[last]:.1f} at {last:,}")
        ax.axvline(200, color=style.GREY, linewidth=0.6)
        ax.set_xscale("log")
        ax.set_ylim(0, None)
    for ax in axes[-1]:
        ax.set_xlabel("rounds T")
    for ax in axes[:, 0]:
        ax.set_ylabel("regret / (T x largest gap)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    axes[0, 2].tick_params(labelbottom=True)
    axes[1, 2].axis("off")
    axes[1, 2].legend(handles, labels, loc="center left")
    return figure


FIGURE = Figure(
    name="late_ensemble",
    needs=("late_ensemble",),
    draw=draw,
    summary="Regret of late ensembles. B4 exceeds what any choice can lose (1) at T = 200 and long after.",
)
