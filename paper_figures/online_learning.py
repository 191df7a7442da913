"""Learning without a log: regret against T, and the two forms of B5."""

import matplotlib.figure
import numpy as np
import polars as pl

from . import style
from .figure import Figure

ORDER = (
    "edit-MLE",
    "edit-MLE, short epochs",
    "DPO, calibrated",
    "DPO, reference",
    "cost, greedy",
    "cost, optimistic",
)


def curve(data: pl.DataFrame, column: str, grid: np.ndarray) -> np.ndarray:
    """Mean over runs at the rounds of `grid`; within an epoch regret is a straight line."""
    curves = []
    for _, part in data.group_by("problem", "seed", maintain_order=True):
        part = part.sort("t")
        curves.append(
            np.interp(grid, np.concatenate([[0], part["t"]]), np.concatenate([[0.0], part[column]]))
        )
    return np.mean(curves, axis=0)


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Mean regret of every learner by setting; black: B5 (solid) and its fast form (dashed) for edit-MLE with short epochs."""
    data = rows["online_learning"]
    settings = data["setting"].unique(maintain_order=True).to_list()
    figure, axes = style.new_figure(1, len(settings), width=style.PAGE, height=3.0, sharey=True)
    grid = np.geomspace(100, data["t"].max(), 40)
    for ax, setting in zip(axes[0], settings, strict=True):
        mine = data.filter(pl.col("setting") == setting)
        for index, learner in enumerate(ORDER):
            values = curve(mine.filter(pl.col("learner") == learner), "regret", grid)
            style.line(ax, grid, values, style.indexed(index, learner), marker=None)
        short = mine.filter((pl.col("learner") == ORDER[1]) & (pl.col("seed") == 0))
        for column, linestyle, label in (("bound", "-", "B5"), ("bound_fast", "--", "B5, fast form")):
            values = curve(short, column, grid)
            if np.all(np.isfinite(values)):
                ax.plot(grid, values, color="black", linestyle=linestyle, linewidth=0.9, label=label)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_title(setting)
        ax.set_xlabel("rounds T")
    axes[0, 0].set_ylabel("regret")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=6)
    return figure


FIGURE = Figure(
    name="online_learning",
    needs=("online_learning",),
    draw=draw,
    summary="Iterated edit-MLE's regret grows like a small power of T; online DPO needs the behaviour, not the reference, as its anchor.",
)
