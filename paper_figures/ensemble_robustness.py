"""Is a late ensemble the safe choice? Excess cost by setting, and the worst of them."""

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
    "Late, alpha/4",
    "Thompson",
    "Late, contextual",
    "Thompson, warm",
    "Late, warm",
    "Late, shifted prior",
    "Late, shared",
)
SINGLE = ("base", "SUP", "PREF", "RL", "Early")


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Left: mean cost above the best arm of each problem in per cent, by setting. Right: Max SubOpt with paired 95% intervals."""
    data = rows["ensemble_robustness"]
    settings = data["setting"].unique(maintain_order=True).to_list()
    methods = [name for name in ORDER if name in set(data["method"].unique())]
    table = data.group_by("setting", "method", maintain_order=True).agg(pl.col("cost").mean())
    means = {(setting, method): cost for setting, method, cost in table.iter_rows()}
    figure, axes = style.new_figure(1, 2, height=3.7, width_ratios=(1.6, 1.0), sharey=True)
    left, right = axes[0]
    for index, setting in enumerate(settings):
        best = means[setting, "best arm"]
        excess = [100 * (means[setting, name] / best - 1) for name in methods]
        look = style.indexed(index, setting)
        left.plot(excess, range(len(methods)), look.marker, color=look.color, label=setting, alpha=0.9)
    left.axvline(5, color=style.GREY, linewidth=style.pt(0.8), linestyle="--")
    left.set_xscale("symlog", linthresh=5)
    left.set_xticks([0, 1, 2, 3, 4, 5, 10, 20, 50], ["0", "", "2", "", "", "5", "10", "20", "50"])
    left.set_xlabel("% above the best arm")
    style.legend_below(figure, left, 3)
    left.set_yticks(range(len(methods)), methods)
    gaps = max_subopt(data, settings, methods)
    for place, (name, (estimate, low, high)) in enumerate(gaps.items()):
        color = style.BLUE if name in SINGLE else style.ORANGE
        right.barh(place, estimate, color=color, alpha=0.85, height=0.68)
        style.interval(right, low, high, place, "black")
        style.note(right, high, place, f" {estimate:.4f}", va="center")
    right.set_xlim(0, 1.45 * max(high for *_, high in gaps.values()))
    right.set_xlabel("Max SubOpt")
    right.grid(axis="y", visible=False)
    left.invert_yaxis()
    right.locator_params(axis="x", nbins=3)
    config = manifests["ensemble_robustness"]["config"]
    style.key(
        figure,
        f"{config['trials']:,} random problems a setting (log user, deployed user), T = {config['rounds']}. Left: mean "
        "costs; dashed: the goal, 5%. Right: "
        "the largest gap of mean costs over settings, 95% intervals of that gap, paired. Blue: one policy.",
    )
    return figure


def max_subopt(
    data: pl.DataFrame, settings: list[str], methods: list[str]
) -> dict[str, tuple[float, float, float]]:
    """Largest gap over settings of mean cost to the best of `methods`, with the paired 95% interval of that one gap."""
    found = {name: (0.0, 0.0, 0.0) for name in methods}
    for setting in settings:
        wide = data.filter(pl.col("setting") == setting).pivot(on="method", index="seed", values="cost")
        costs = {name: wide[name].to_numpy() for name in methods}
        best = min(methods, key=lambda name: costs[name].mean())
        for name in methods:
            gaps = costs[name] - costs[best]
            half = 1.96 * gaps.std(ddof=1) / np.sqrt(len(gaps))
            found[name] = max(
                found[name], (float(gaps.mean()), float(gaps.mean() - half), float(gaps.mean() + half))
            )
    return found


FIGURE = Figure(
    name="ensemble_robustness",
    needs=("ensemble_robustness",),
    draw=draw,
    summary="UCB's worst case is above Early's; with a shifted prior or shared feedback it is below every single learner's.",
)
