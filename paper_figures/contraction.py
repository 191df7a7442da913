"""Lemma 1 and its sharper forms against what one edit really does."""

import matplotlib.figure
import numpy as np
import polars as pl

from . import style
from .figure import Figure

SERIES = (
    ("gamma", style.Look(r"$1-\gamma_{\min}$", style.BLACK, "o")),
    ("doeblin", style.Look("Doeblin", style.BLUE, "s")),
    ("dobrushin", style.Look("Dobrushin", style.GREEN, "^")),
    ("realised", style.Look("realised", style.VERMILLION, "D")),
)


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Left: coefficients by strength. Right: distance to the optimum after k edits, for three strengths."""
    data = rows["contraction"]
    figure, axes = style.new_figure(1, 2, height=2.6)
    left, right = axes[0]
    strengths = np.array(sorted(data["strength"].unique().to_list()))
    lines = []
    for name, look in SERIES:
        low, middle, high = style.quantiles(data, name, "strength", strengths)
        lines.append(style.line(left, strengths, middle, look, low, high))
    left.set_xlabel("strength g of the user")
    left.set_ylabel(r"TV($q\circ\pi,\pi^*$) / TV($\pi,\pi^*$)")
    left.set_title("one edit of the worst policy")
    left.set_ylim(0, 1.02)
    left_lines = lines

    rounds = sorted(int(name[3:]) for name in data.columns if name.startswith("tv_"))
    shown = [min(strengths, key=lambda g: abs(g - wanted)) for wanted in (0.05, 0.35, 0.8)]
    lines, colors = [], style.ramp(len(shown))
    for index, strength in enumerate(shown):
        mine = data.filter(pl.col("strength") == strength)
        start = mine["tv_0"].to_numpy()
        path = np.stack([mine[f"tv_{k}"].to_numpy() / start for k in rounds])
        promise = np.stack([mine["dobrushin"].to_numpy() ** k for k in rounds])
        look = style.Look(f"g = {strength:g}", colors[index], style.MARKERS[index])
        low, middle, high = np.quantile(path, [0.1, 0.5, 0.9], axis=1)
        lines.append(style.line(right, rounds, middle, look, low, high))
        right.plot(
            rounds, np.median(promise, axis=1), color=look.color, linestyle=":", linewidth=style.pt(1.0)
        )
    right.set_yscale("log")
    right.set_ylim(1e-4, 1.3)
    right.set_xlabel("number of edits k")
    right.set_ylabel(r"D($q^k\circ\pi_{\rm ref},\pi^*$) / D($\pi_{\rm ref},\pi^*$)")
    right.set_title("k edits of the reference")
    style.key(
        figure,
        f"Medians over {manifests['contraction']['config']['trials']} random balanced users, bands 10% to 90%; dotted: what Dobrushin's "
        "coefficient promises after k edits.",
    )
    style.label_ends(left, left_lines)
    style.label_ends(right, lines)
    return figure


FIGURE = Figure(
    name="contraction",
    needs=("contraction",),
    draw=draw,
    summary="Dobrushin's coefficient is nearly attained; 1 - gamma_min promises almost nothing when the optimal policy is spread out.",
)
