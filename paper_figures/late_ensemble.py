"""Regret of late ensembles at the paper's 200 rounds, and B4 against the number of rounds."""

import matplotlib.figure
import numpy as np
import polars as pl
from matplotlib.ticker import FuncFormatter

from . import style
from .figure import Figure

SHOWN = (
    "Late",
    "Tsallis-INF",
    "KL-UCB",
    "follow the leader",
    "Late, alpha/4",
    "epsilon-greedy",
    "Thompson, noise/2",
)
ROUNDS = 200


def shares(data: pl.DataFrame, bandit: str) -> pl.DataFrame:
    """Mean regret by T with its 99% half-width, and B4, as shares of T x largest gap: what the worst policy loses."""
    worst = pl.col("t").first() * pl.col("largest_gap").first()
    return (
        data.filter(pl.col("bandit") == bandit)
        .group_by("t", maintain_order=True)
        .agg(
            mean=pl.col("regret").mean() / worst,
            half=2.58 * pl.col("regret").std() / pl.len().sqrt() / worst,
            bound=pl.col("bound").first() / worst,
        )
        .sort("t")
    )


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Left: regret at T = 200 by bandit and setting. Right: Late's regret and B4 against T, one line for each setting."""
    data, config = rows["late_ensemble"], manifests["late_ensemble"]["config"]
    settings = data["setting"].unique(maintain_order=True).to_list()
    figure, axes = style.new_figure(1, 2, height=3.1, width_ratios=(1.15, 1.0))
    left, right = axes[0]
    for index, setting in enumerate(settings):
        mine = data.filter(pl.col("setting") == setting)
        look = style.indexed(index, setting)
        at = [shares(mine, bandit).filter(pl.col("t") == ROUNDS).row(0, named=True) for bandit in SHOWN]
        mean, half = np.array([each["mean"] for each in at]), np.array([each["half"] for each in at])
        places = np.arange(len(SHOWN)) + 0.13 * (index - (len(settings) - 1) / 2)
        left.errorbar(mean, places, xerr=half, color=look.color, marker=look.marker, linestyle="none", elinewidth=style.pt(0.9),
                      label=setting)  # fmt: skip
        late = shares(mine, "Late")
        low, high = late["mean"] - late["half"], late["mean"] + late["half"]
        style.line(right, late["t"], late["mean"], look, low, high, marker=None)
        right.plot(late["t"], late["bound"], color=look.color, linestyle="--", linewidth=style.pt(0.9))
    left.set_yticks(range(len(SHOWN)), SHOWN)
    left.invert_yaxis()
    left.set_xlim(0, None)
    left.set_xlabel("regret / that of the worst policy")
    left.set_title(f"after T = {ROUNDS} rounds")
    left.grid(axis="y", visible=False)
    for place in range(1, len(SHOWN)):
        left.axhline(place - 0.5, color="#E5E5E5", linewidth=style.pt(0.4))
    right.set(xscale="log", yscale="log", xlabel="rounds T")
    right.axhline(1.0, color=style.BLACK, linewidth=style.pt(0.8))
    right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    right.set_title("Late (solid) and B4 (dashed)")
    style.note(right, late["t"][0], 1.2, "always the worst policy", va="bottom")
    style.legend_below(figure, left, 3)
    style.key(
        figure,
        f"Means over {config['seeds']:,} seeds of one problem a setting (log user, deployed user), 99% intervals of the mean, mostly "
        "smaller than the marks; 1 is always playing the worst policy.",
    )
    return figure


FIGURE = Figure(
    name="late_ensemble",
    needs=("late_ensemble",),
    draw=draw,
    summary="At 200 rounds the theory's UCB has learned little, a quarter of its exploration more; B4 exceeds what any choice can "
    "lose (1) at T = 200 and long after",
)
