"""EarlyEnsemble over lambda, and which lambda the held-out losses pick."""

import matplotlib.figure
import numpy as np
import polars as pl

from edittheory.core.statistics import student_half

from . import style
from .figure import Figure

TITLES = {"strong": "strong user", "weak": "weak user", "habit": "user with a habit"}
LABELS = {"supervised": "loss of SUP", "preference": "loss of PREF", "sum": "sum of both losses"}
RULES = {"supervised": style.BLUE, "preference": style.VERMILLION, "sum": style.PURPLE}


def _mean(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over worlds (the first axis) and half-widths of their 95% t-intervals."""
    return values.mean(axis=0), student_half(values)


def _by_weight(mine: pl.DataFrame, column: str) -> np.ndarray:
    wide = mine.pivot(on="weight", index="seed", values=column, sort_columns=False).sort("seed")
    return wide.drop("seed").to_numpy().astype(float)


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Above SubOpt against lambda; below the regret of each held-out rule against the best fixed lambda."""
    data, manifest = rows["early_weight"], manifests["early_weight"]
    users = data["user"].unique(maintain_order=True).to_list()
    weights = data["weight"].unique(maintain_order=True).to_numpy()
    sizes = sorted(data["n"].unique())
    places = np.arange(len(weights))
    figure, axes = style.new_figure(2, len(users), height=4.2, sharey="row")
    ends, colors = [], style.ramp(len(sizes))
    for j, user in enumerate(users):
        top, bottom = axes[:, j]
        regrets: dict[str, list] = {rule: [] for rule in RULES}
        lines = []
        for k, n in enumerate(sizes):
            mine = data.filter(user=user, n=n)
            values = _by_weight(mine, "suboptimality")
            mean, half = _mean(values)
            look = style.Look(f"n = {n:,}", colors[k], style.MARKERS[k])
            lines.append(
                style.line(top, places, mean, look, mean - half, mean + half, markersize=style.pt(2.5))
            )
            best = int(np.argmin(mean))
            top.plot(
                best, mean[best], marker="o", color=look.color, markersize=style.pt(8), markerfacecolor="none"
            )
            for rule in RULES:
                picked = np.argmin(_by_weight(mine, f"held_out_{rule}"), axis=1)
                chosen = values[np.arange(len(values)), picked]
                middle, spread = _mean(chosen - values[:, best])
                regrets[rule].append(np.array([middle, middle - spread, middle + spread]) / mean[best])
        ends.append((top, lines))
        for k, (rule, color) in enumerate(RULES.items()):
            middle, low, high = 100 * np.array(regrets[rule]).T
            x = np.arange(len(sizes)) + 0.27 * (k - 1)
            bottom.bar(x, middle, width=0.25, color=color, label=LABELS[rule])
            bottom.vlines(x, low, high, color="black", linewidth=style.pt(0.8))
        top.set_yscale("log")
        top.set_title(TITLES.get(user, user))
        top.set_xticks(places[::2], [f"{weight:g}" for weight in weights[::2]])
        top.set_xlabel(r"$\lambda$ (0: PREF)")
        bottom.axhline(0, color="black", linewidth=style.pt(0.6))
        bottom.set_xticks(range(len(sizes)), [f"{n}" if n < 1000 else f"{n // 1000}k" for n in sizes])
        bottom.set_xlabel("edits $n$")
        bottom.grid(axis="x", visible=False)
    axes[0, 0].set_ylabel("mean SubOpt of Early")
    axes[1, 0].set_ylabel("regret of the chosen $\\lambda$, %")
    axes[1, 0].set_yscale("symlog", linthresh=10)
    style.legend_below(figure, axes[1, 0], 3)
    config = manifest["config"]
    style.key(
        figure,
        f"Means over {config['trials']} worlds, bands and black bars 95% t-intervals; rings: the best $\\lambda$. "
        "Below: SubOpt above that ring's, in "
        "per cent, when a loss on a held-out fifth of the edits chooses.",
    )
    style.label_ends(*ends[-1])
    return figure


FIGURE = Figure(
    name="early_weight",
    needs=("early_weight",),
    draw=draw,
    summary="No fixed lambda suits every user and number of edits, and none of three held-out losses finds the best one "
    "reliably",
)
