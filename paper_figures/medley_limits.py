"""How far below the best plain learner one can be with few edits: the medley beside rules that know more."""

import matplotlib.figure
import numpy as np
import polars as pl

from . import style
from .figure import Figure
from .medley import NEGLIGIBLE, PLAIN

RULES = {
    "every user known": "told how every candidate edits",
    "medley, laws": "medley, given laws of edits",
    "medley": "medley",
    "told balance": "told whether balance holds",
    "medley, wrong laws": "medley, given wrong laws",
}
KINDS = {
    "balanced users": style.Look("balanced users", style.BLUE, "o"),
    "users with a habit": style.Look("users with a habit", style.VERMILLION, "^"),
}
CELL = ("strength", "habit", "noise", "n")
RESAMPLES = 400


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """One row for each rule: the ratio of each cell, and their mean with an interval over problems."""
    data, config = rows["medley_limits"], manifests["medley_limits"]["config"]
    figure, axes = style.new_figure(1, 2, height=2.6, sharey=True, sharex=True)
    names = list(RULES)
    for ax, (kind, look) in zip(axes[0], KINDS.items(), strict=True):
        balanced = kind.startswith("balanced")
        cells = _cells(data.filter(pl.col("habit") == 0 if balanced else pl.col("habit") > 0))
        for y, rule in enumerate(names):
            ratios = np.array(
                [values[rule].mean() / max(values[_best(values)].mean(), NEGLIGIBLE) for values in cells]
            )
            low, high = _interval(cells, rule, config)
            jitter = np.linspace(-0.22, 0.22, len(ratios))
            ax.plot(ratios, y + jitter, ".", color=style.GREY, markersize=style.pt(2.2), alpha=0.5)
            style.interval(ax, low, high, y, look.color, width=2.6)
            ax.plot(
                ratios.mean(),
                y,
                look.marker,
                color=look.color,
                markersize=style.pt(4),
            )
            style.note(ax, 1.97, y, f"{ratios.mean():.2f}", va="center", ha="right", color=look.color)
        ax.axvline(1.0, color=style.BLACK, linewidth=style.pt(0.7))
        if balanced:
            ax.axvline(0.5, color=style.GREY, linewidth=style.pt(0.7), linestyle=":")
            style.note(ax, 0.52, -0.48, "goal", color=style.GREY, va="top")
        ax.set_title(f"{kind}, {len(cells)} cells")
        ax.set_xlim(0, 2)
        ax.set_xlabel("SubOpt / best plain learner's")
    style.name_rows(axes[0, 0], list(RULES.values()))
    style.key(
        figure,
        f"Small: a cell (strength, habit, noise of costs, n <= {max(config['sample_sizes'])}), mean SubOpt over "
        f"{config['trials']} problems. Large, and number: mean of the cells with its {1 - config['level']:.0%} interval over problems.",
    )
    return figure


def _cells(data: pl.DataFrame) -> list[dict[str, np.ndarray]]:
    wide = data.sort("seed").pivot(on="learner", index=[*CELL, "seed"], values="suboptimality")
    return [
        {name: part[name].cast(pl.Float64).to_numpy() for name in (*PLAIN, *RULES)}
        for _, part in wide.group_by(CELL, maintain_order=True)
    ]


def _best(values: dict[str, np.ndarray]) -> str:
    return min(PLAIN, key=lambda name: float(values[name].mean()))


def _interval(cells: list[dict[str, np.ndarray]], rule: str, config: dict) -> tuple[float, float]:
    """By bootstrap over problems, the same resamples for all cells."""
    trials = config["trials"]
    draws = np.random.default_rng(config["seed"]).multinomial(trials, np.full(trials, 1 / trials), RESAMPLES)
    below = [np.maximum(draws @ one[_best(one)], NEGLIGIBLE * trials) for one in cells]
    again = np.mean([draws @ one[rule] / least for one, least in zip(cells, below, strict=True)], axis=0)
    low, high = np.quantile(again, [config["level"] / 2, 1 - config["level"] / 2])
    return float(low), float(high)


FIGURE = Figure(
    name="medley_limits",
    needs=("medley_limits",),
    draw=draw,
    summary="With few edits the medley halves the best plain learner's SubOpt; what it lacks is how users edit, of which the laws of edits "
    "tell a part",
)
