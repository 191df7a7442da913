"""Finite, log-linear and neural classes, right and wrong, on the same users."""

import matplotlib.figure
import numpy as np
import polars as pl
from matplotlib.ticker import NullFormatter

from edittheory.core.statistics import student_half

from . import style
from .figure import Figure

LEARNERS = ("SUP", "PREF", "Early", "RL plug-in", "RL")
FLOOR = 1e-5
"""Least SubOpt that is drawn; the truth itself, found in every world, has none."""
TITLES = {"strong": "strong user", "weak": "weak user", "habit": "weak, with a habit"}


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Dots of mean SubOpt with 95% t-intervals, a column for each user and a row for each of two sizes."""
    data, manifest = rows["policy_classes"], manifests["policy_classes"]
    users = data["user"].unique(maintain_order=True).to_list()
    classes = data["class"].unique(maintain_order=True).to_list()
    every = sorted(data["n"].unique())
    sizes = (every[1], every[-1])
    figure, axes = style.new_figure(2, len(users), height=4.6, sharex=True, sharey=True)
    table = dict(data.group_by("user", "class", "learner", "n", maintain_order=True))
    for i, n in enumerate(sizes):
        for j, user in enumerate(users):
            ax = axes[i, j]
            for k, learner in enumerate(LEARNERS):
                look = style.look(learner)
                points = []
                for place, name in enumerate(classes):
                    mine = table.get((user, name, learner, n))
                    if mine is not None:
                        losses = mine["suboptimality"].cast(pl.Float64).to_numpy()
                        mean, half = losses.mean(), student_half(losses)
                        points.append((mean, place + 0.15 * (k - 2), mean - half, mean + half))
                height = np.array(points)[:, 1]
                mean, _, low, high = np.maximum(np.array(points).T, FLOOR)
                ax.errorbar(
                    mean,
                    height,
                    xerr=np.stack([mean - low, high - mean]),
                    color=look.color,
                    marker=look.marker,
                    markersize=style.pt(3),
                    markerfacecolor="white" if learner == "RL" else look.color,
                    linestyle="none",
                    elinewidth=style.pt(0.9),
                    label=look.label,
                )
            for place in range(1, len(classes)):
                ax.axhline(place - 0.5, color="#D9D9D9", linewidth=style.pt(0.4))
            ax.set_xscale("log")
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.grid(axis="y", visible=False)
            ax.set_yticks(range(len(classes)), classes)
            if i == 0:
                ax.set_title(TITLES.get(user, user))
            if j == 0:
                ax.set_ylabel(f"n = {n:,}", fontweight="bold")
            ax.set_xlim(left=0.8 * FLOOR)
    axes[0, 0].invert_yaxis()
    for ax in axes[-1]:
        ax.set_xlabel("mean SubOpt")
    style.legend_below(figure, axes[0, 0], 5)
    style.key(
        figure,
        f"Means over {manifest['config']['trials']} worlds, the same for every class, 95% t-intervals; at the left "
        "edge: the truth itself.",
    )
    return figure


FIGURE = Figure(
    name="policy_classes",
    needs=("policy_classes",),
    draw=draw,
    summary="The user decides between learners, the class how much each of them gains",
)
