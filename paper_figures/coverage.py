"""SubOpt against coverage: every world a dot, medians of ten bins, and what the reference's SubOpt explains."""

import matplotlib.figure
import numpy as np
import scipy.stats
from matplotlib.ticker import NullFormatter, NullLocator

from . import style
from .figure import Figure

SERIES = (
    ("PREF", "pair_coverage", "$C_{PREF}$, learned policy"),
    ("RL plug-in", "cost_coverage", "$C_F$ of $\\pi^*$"),
)
SWEEPS = {"locality": "users more local", "spread": "tastes sharper"}
LEVEL = 0.05


def _bins(x: np.ndarray, y: np.ndarray, count: int = 10) -> list[tuple[float, float, float, float]]:
    """For each of `count` bins of equally many x: median x, median y, and the exact interval of the latter."""
    found = []
    for part in np.array_split(np.argsort(x, kind="stable"), count):
        values = np.sort(y[part])
        rank = int(scipy.stats.binom.ppf(LEVEL / count / 2, len(values), 0.5))
        low, high = values[max(rank - 1, 0)], values[min(len(values) - rank, len(values) - 1)]
        found.append((float(np.median(x[part])), float(np.median(values)), float(low), float(high)))
    return found


def _interval(r: float, count: int) -> tuple[float, float]:
    half = scipy.stats.norm.isf(LEVEL / 2 / 12) * np.sqrt((1 + r * r / 2) / (count - 3))
    low, high = np.tanh(np.arctanh(r) + np.array([-half, half]))
    return float(low), float(high)


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Above SubOpt itself, below SubOpt as a share of the reference's; columns are (learner, sweep)."""
    data, manifest = rows["coverage"], manifests["coverage"]
    figure, axes = style.new_figure(2, 4, height=4.3)
    columns = [(series, sweep) for series in SERIES for sweep in SWEEPS]
    for j, ((learner, measure, label), sweep) in enumerate(columns):
        mine = data.filter(learner=learner, sweep=sweep)
        look = style.look(learner)
        x, loss = mine[measure].to_numpy(), mine["suboptimality"].to_numpy()
        for i, y in enumerate((loss, loss / mine["reference"].to_numpy())):
            ax = axes[i, j]
            ax.scatter(x, y, s=1.2, color=look.color, alpha=0.15, linewidths=0, rasterized=True)
            middle, median, low, high = np.array(_bins(x, y)).T
            ax.errorbar(
                middle,
                median,
                yerr=np.stack([median - low, high - median]),
                color="black",
                marker="o",
                markersize=style.pt(2.5),
                linewidth=style.pt(0.9),
                elinewidth=style.pt(0.9),
            )
            ax.set(xscale="log", yscale="log")
            ax.set_xlim(*np.quantile(x, [0.002, 0.998]))
            ax.set_ylim(*np.quantile(y, [0.005, 0.998]))
            # Three ticks that spell their numbers: the ranges are often less than a decade.
            low, high = np.quantile(x, [0.02, 0.98])
            ticks = sorted({float(f"{tick:.2g}") for tick in np.geomspace(low, high, 3)})
            ax.xaxis.set_minor_locator(NullLocator())
            ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            ax.yaxis.set_minor_formatter(NullFormatter())
            r = float(scipy.stats.spearmanr(x, y).statistic)
            ends = _interval(r, len(x))
            text = f"{r:.2f}\n[{ends[0]:.2f}, {ends[1]:.2f}]"
            behind = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.0}
            style.note(ax, 0.97, 0.04, text, transform=ax.transAxes, ha="right", bbox=behind)
            if i == 1:
                ax.axhline(1.0, color=style.GREY, linestyle=":", linewidth=style.pt(0.9))
                ax.set_xlabel(label, fontsize=style.pt(7))
            else:
                ax.set_title(f"{learner},\n{SWEEPS[sweep]}", fontsize=style.pt(7.5))
    axes[0, 0].set_ylabel("SubOpt")
    axes[1, 0].set_ylabel("SubOpt / reference's")
    config = manifest["config"]
    style.key(
        figure,
        f"n = {config['n']:,}; each dot a world; black: medians of ten bins, joint 95% intervals; numbers: rank "
        "correlation and its interval, "
        "joint over the panels; dotted: doing nothing.",
    )
    return figure


FIGURE = Figure(
    name="coverage",
    needs=("coverage",),
    draw=draw,
    summary="Coverage of responses predicts the SubOpt of plug-in RL from world to world, coverage of pairs hardly that of PREF",
)
