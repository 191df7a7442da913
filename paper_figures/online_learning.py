"""Learning without a log: regret against T, and the two forms of B5."""

import matplotlib.figure
import numpy as np
import polars as pl

from . import style
from .figure import Figure

LOOKS = {
    "edit-MLE": style.Look("edit-MLE, B5's epochs", style.BLUE, "", "-"),
    "edit-MLE, short epochs": style.Look("edit-MLE, short epochs", style.BLUE, "", "--"),
    "DPO, calibrated": style.Look("DPO, anchored at the behaviour", style.VERMILLION, "", "-"),
    "DPO, reference": style.Look("DPO, anchored at the reference", style.VERMILLION, "", "--"),
    "cost, greedy": style.Look("costs, greedy", style.GREEN, "", "-"),
    "cost, optimistic": style.Look("costs, optimistic", style.GREEN, "", "--"),
}
BOUNDS = {
    "bound": style.Look("B5", style.GREY, "", "-"),
    "bound_fast": style.Look("B5, fast form", style.GREY, "", "--"),
}


def curves(data: pl.DataFrame, column: str, grid: np.ndarray) -> np.ndarray:
    """Values (runs, rounds of `grid`); within an epoch regret is a straight line."""
    found = []
    for _, part in data.group_by("problem", "seed", maintain_order=True):
        part = part.sort("t")
        found.append(np.interp(grid, np.concatenate([[0], part["t"]]), np.concatenate([[0.0], part[column]])))
    return np.array(found)


def interval(data: pl.DataFrame, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over runs, and the least and largest mean of a problem: problems differ far more than seeds of one do."""
    problems = np.array([key[0] for key, _ in data.group_by("problem", "seed", maintain_order=True)])
    each = np.array([values[problems == problem].mean(axis=0) for problem in np.unique(problems)])
    return values.mean(axis=0), each.min(axis=0), each.max(axis=0)


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Mean regret of every learner by setting; a colour for each kind of feedback; grey: B5 for edit-MLE with short epochs."""
    data, config = rows["online_learning"], manifests["online_learning"]["config"]
    settings = data["setting"].unique(maintain_order=True).to_list()
    figure, axes = style.new_figure(1, len(settings), height=3.2, sharey=True)
    grid = np.geomspace(100, data["t"].max(), 40)
    for ax, setting in zip(axes[0], settings, strict=True):
        mine = data.filter(pl.col("setting") == setting)
        for learner, look in LOOKS.items():
            part = mine.filter(pl.col("learner") == learner)
            mean, low, high = interval(part, curves(part, "regret", grid))
            style.line(ax, grid, mean, look, np.maximum(low, 0.3), high)
        short = mine.filter(learner="edit-MLE, short epochs", seed=0)
        for column, look in BOUNDS.items():
            values = curves(short, column, grid).mean(axis=0)
            if np.all(np.isfinite(values)):
                style.line(ax, grid, values, look, linewidth=style.pt(0.9))
        ax.set(xscale="log", yscale="log", xlabel="rounds T")
        ax.set_title(setting)
    axes[0, 0].set_ylabel("regret")
    axes[0, 0].set_ylim(0.5, None)
    style.legend_below(figure, axes[0, 0], 2)
    style.key(
        figure,
        f"Means over {config['problems']} random problems of {config['seeds']} seeds each; bands: the least and largest "
        "mean of a problem.",
    )
    return figure


FIGURE = Figure(
    name="online_learning",
    needs=("online_learning",),
    draw=draw,
    summary="Iterated edit-MLE's regret grows like a small power of T where the class is closed under the user; online DPO needs the "
    "behaviour, not the reference, as its anchor",
)
