"""Train on one user, deploy to another: mean edit cost of every pair, and the worst gap to the best learner."""

import matplotlib.figure
import numpy as np
import polars as pl

from edittheory.core.statistics import student_half

from . import style, tables
from .figure import Figure

LEARNERS = ("SUP", "PREF", "Early", "RL", "RL plug-in")
USERS = ("strong", "weak", "habit")
SPACES = {"strings": "short strings", "text": "real sentences"}
CLIP = 25.0


def _costs(data: pl.DataFrame, space: str, n: int, learner: str) -> np.ndarray:
    """Edit costs (pairs, worlds) of a learner, pairs (train, test) in the order of USERS."""
    mine = data.filter(space=space, n=n, learner=learner).sort("seed")
    pairs = [(train, test) for train in USERS for test in USERS]
    costs = [mine.filter(train_user=train, test_user=test)["cost"].to_numpy() for train, test in pairs]
    return np.stack(costs).astype(float)


def _matrix(ax, costs: dict[str, np.ndarray]) -> None:
    """Mean costs, a row for each learner and a column for each (train, test); colour is the excess over the best."""
    means = np.stack([costs[name].mean(axis=1) for name in (*LEARNERS, "reference")])
    lead = [
        set(tables.leaders(np.stack([costs[name][pair] for name in LEARNERS], axis=1)))
        for pair in range(means.shape[1])
    ]
    excess = 100 * (means / means[: len(LEARNERS)].min(axis=0) - 1)
    ax.imshow(excess, cmap="YlOrBr", vmin=0, vmax=CLIP, aspect="auto")
    for y, x in np.ndindex(means.shape):
        text = f"{means[y, x]:.3f}"[1:] if means[y, x] < 1 else f"{means[y, x]:.2f}"
        bold = "bold" if y in lead[x] else "normal"
        color = "white" if excess[y, x] > 0.7 * CLIP else "black"
        style.note(ax, x, y, text, ha="center", va="center", fontweight=bold, color=color)
    for edge in (2.5, 5.5):
        ax.axvline(edge, color="white", linewidth=style.pt(2))
    ax.axhline(len(LEARNERS) - 0.5, color="white", linewidth=style.pt(2))
    ax.set_yticks(range(len(means)), [*LEARNERS, "reference"])
    ax.set_xticks(range(9), USERS * 3, fontsize=style.pt(7))
    for place, train in enumerate(USERS):
        style.note(ax, 3 * place + 1, -0.62, f"trained on {train}", ha="center", va="bottom")
    ax.grid(visible=False)
    ax.tick_params(length=0)


def _gaps(ax, costs: dict[str, np.ndarray], level: float) -> None:
    """Worst gap of mean costs with its interval: the largest ends of all differences' t-intervals, level divided."""
    table = np.stack([costs[name] for name in LEARNERS])
    pairs = table.shape[1]
    for place, name in enumerate(LEARNERS):
        differences = table[place] - table
        mean = differences.mean(axis=-1)
        half = student_half(differences, level / (pairs * (len(LEARNERS) - 1)), axis=-1)
        look = style.look(name)
        gap, low, high = mean.max(), (mean - half).max(), (mean + half).max()
        ax.barh(place, gap, color=look.color, alpha=0.85 if name != "RL plug-in" else 0.5, height=0.66)
        style.interval(ax, low, high, place, "black")
        style.note(ax, high, place, f" {gap:.4f}", va="center")
    ax.set_ylim(len(LEARNERS) + 0.5, -0.5)
    ax.set_yticks(range(len(LEARNERS)), [""] * len(LEARNERS))
    ax.set_xlim(0, 1.35 * ax.get_xlim()[1])
    ax.locator_params(axis="x", nbins=3)
    ax.grid(axis="y", visible=False)


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """For each (space, n) the matrix of mean costs and, beside it, the worst gaps."""
    data, manifest = rows["user_shift"], manifests["user_shift"]
    config = manifest["config"]
    settings = [(s, n) for s in data["space"].unique(maintain_order=True) for n in sorted(data["n"].unique())]
    figure, axes = style.new_figure(
        len(settings),
        2,
        height=0.7 + 1.45 * len(settings),
        gridspec_kw={"width_ratios": [3.2, 1]},
    )
    for (left, right), (space, n) in zip(axes, settings, strict=True):
        costs = {name: _costs(data, space, n, name) for name in (*LEARNERS, "reference")}
        _matrix(left, costs)
        _gaps(right, costs, config["level"])
        left.set_title(f"{SPACES[space]}, n = {n:,}", pad=style.pt(13), fontweight="bold")
    axes[0, 1].set_title("Max SubOpt")
    axes[-1, 0].set_xlabel("deployed to")
    axes[-1, 1].set_xlabel("mean edit cost")
    style.key(
        figure,
        f"Mean edit cost over {config['trials']} worlds; colour: excess over the best, white 0 to brown {CLIP:.0f}% and "
        "more; bold: not clearly worse "
        f"than the best (paired t-intervals). Right: black lines are intervals at level {config['level']:g}, joint over "
        "all pairs and rivals.",
    )
    return figure


FIGURE = Figure(
    name="user_shift",
    needs=("user_shift",),
    draw=draw,
    summary="What carries over to another user depends on the space: preferences on short strings at n = 1,000, costs on "
    "real sentences",
)
