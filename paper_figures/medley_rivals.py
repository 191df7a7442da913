"""The medley and its rivals, rule by rule: mean SubOpt over that of the best plain learner of each cell, by kind of cell."""

import matplotlib.figure
import numpy as np
import polars as pl
from matplotlib.ticker import FuncFormatter, NullFormatter

from . import style
from .figure import Figure
from .medley import NEGLIGIBLE, means

RULES = {
    "medley": "medley",
    "medley by risk": "medley by risk",
    "CV": "cross-validation",
    "CV, doubly robust": "cross-validation,\ndoubly robust",
    "CV, all losses": "cross-validation,\nall losses",
    "M4, a quarter held out": "mixture,\na quarter held out",
    "M4, half held out": "mixture, half",
    "M4, no split": "mixture, no split",
    "ipo": "IPO",
    "kto": "KTO",
    "apo_zero": "APO-zero",
    "chi_po": "chi-PO",
}
LOOKS = (style.BLACK, style.BLUE, style.GREEN, style.VERMILLION)
"""Of the medley, cross-validation, mixtures, single losses."""
PARTS = (
    ("finite,\nexact costs", ("finite", "strings", 0.0)),
    ("finite,\nnoisy costs", ("finite", "strings", 1.0)),
    ("log-linear,\nstrings", ("linear", "strings", None)),
    ("log-linear,\nsentences", ("linear", "text", None)),
    ("networks,\nstrings", ("network", "strings", None)),
)
LEAST = 0.03


def _color(rule: str) -> str:
    kinds = (("medley",), ("CV",), ("M4",))
    return next((LOOKS[i] for i, (start,) in enumerate(kinds) if rule.startswith(start)), LOOKS[3])


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """A panel for each kind of cell; above 1 the best plain learner is better."""
    table = means(rows["medley_rivals"]).filter(~pl.col("idle"))
    shown = [(title, *where) for title, where in PARTS if len(_of(table, *where))]
    figure, axes = style.new_figure(1, len(shown), height=4.4, sharey=True)
    for ax, (title, *where) in zip(axes[0], shown, strict=True):
        mine = _of(table, *where)
        for place, rule in enumerate(RULES):
            ratio = mine.filter(pl.col("learner") == rule)["ratio"].to_numpy()
            if not len(ratio):
                continue
            logs = np.log(np.maximum(ratio, LEAST))
            low, middle, high = np.exp([np.quantile(logs, 0.1), logs.mean(), np.quantile(logs, 0.9)])
            color = _color(rule)
            style.interval(ax, low, high, place, color, 1.6, alpha=0.5)
            ax.plot([middle], [place], "o", color=color, markersize=style.pt(4))
            ax.plot([ratio.max()], [place], "|", color=color, markersize=style.pt(6))
        ax.axvline(1.1, color=style.GREY, linewidth=style.pt(0.7))
        ax.set(xscale="log")
        ax.set_title(title)
        ax.set_xticks([0.1, 1, 10])
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        style.name_rows(ax, list(RULES.values()))
    figure.supxlabel("mean SubOpt / that of the cell's best plain learner", fontsize=style.pt(8))
    config = manifests["medley_rivals"]["config"]
    style.key(
        figure,
        f"Points: geometric means over cells and n; lines: 10% to 90% of them; strokes: the worst; grey line: 1.1. "
        f"{config['trials']} problems a cell, log-linear {config['linear_trials']}, networks {config['network_trials']}; "
        f"cells where both are below {NEGLIGIBLE:g} left out.",
    )
    return figure


def _of(table: pl.DataFrame, track: str, space: str, noise: float | None) -> pl.DataFrame:
    found = table.filter(track=track, space=space)
    return found if noise is None else found.filter(noise=noise)


FIGURE = Figure(
    name="medley_rivals",
    needs=("medley_rivals",),
    draw=draw,
    summary="The medley is within 1.1 of the best plain learner in finite classes, no rule is elsewhere; it is better than "
    "cross-validated choice, tuned preference losses and mixtures, but for networks, where it can only choose as they do.",
)
