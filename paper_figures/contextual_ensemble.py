"""Four domains with different best learners: single arms, ensembles that see the domain, and the oracle."""

import matplotlib.figure
import numpy as np
import polars as pl

from . import style
from .figure import Figure

ORDER = (
    "base",
    "SUP",
    "PREF",
    "RL",
    "Early",
    "Late",
    "Late, alpha/8",
    "Late per domain",
    "Thompson per domain",
    "LinUCB",
    "Late per domain, shared",
    "Late per domain, warm",
    "Late per domain, shifted prior",
    "best arm by domain",
)
SINGLE = ("base", "SUP", "PREF", "RL", "Early")


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Mean cost less that of the best single arm, paired 99% intervals, for each horizon."""
    data = rows["contextual_ensemble"]
    horizons = sorted(data["horizon"].unique().to_list())
    figure, axes = style.new_figure(1, len(horizons), height=2.9, sharey=True)
    for ax, horizon in zip(axes[0], horizons, strict=True):
        wide = data.filter(pl.col("horizon") == horizon).pivot(on="method", index="seed", values="cost")
        costs = {name: wide[name].to_numpy() for name in ORDER}
        best = min(SINGLE, key=lambda name: costs[name].mean())
        for place, name in enumerate(ORDER):
            gaps = costs[name] - costs[best]
            half = 2.58 * gaps.std(ddof=1) / np.sqrt(len(gaps))
            color = style.BLUE if name in SINGLE else style.BLACK if name.startswith("best") else style.ORANGE
            ax.errorbar(gaps.mean(), place, xerr=half, color=color, marker="o", elinewidth=style.pt(0.9))
        ax.axvline(0, color=style.GREY, linewidth=style.pt(0.8), linestyle="--")
        ax.set_title(f"T = {horizon:,}; best single: {best}")
        ax.set_xlabel("mean cost less best single's")
        ax.set_yticks(range(len(ORDER)), ORDER)
    axes[0, 0].invert_yaxis()
    style.key(
        figure,
        f"Means over {manifests['contextual_ensemble']['config']['trials']:,} random problems of four domains, paired "
        "99% intervals (mostly "
        "smaller than the marks). Blue: one policy for all; orange: ensembles; black: the best policy of each domain.",
    )
    return figure


FIGURE = Figure(
    name="contextual_ensemble",
    needs=("contextual_ensemble",),
    draw=draw,
    summary="At T = 200 an ensemble with one bandit per domain is below every single arm only from a log or with shared feedback.",
)
