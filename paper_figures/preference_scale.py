"""Where PREF converges with s = 1 and with the printed s = beta."""

from typing import Any

import matplotlib.figure
import numpy as np
import polars as pl

from . import style
from .figure import Figure

LOOKS = {
    "1": style.Look("s = 1", style.BLUE, "o"),
    "beta": style.Look("s = β (printed)", style.VERMILLION, "s"),
}


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Left: effective temperature over beta. Right: SubOpt at the largest n, with the reference's."""
    data = rows["preference_scale"]
    largest = data["n"].max()
    figure, axes = style.new_figure(1, 2, height=2.6)
    left, right = axes[0]
    betas = np.array(sorted(data["beta"].unique().to_list()))
    fine = np.geomspace(betas.min(), betas.max(), 100)
    left.plot(fine, np.ones_like(fine), color=LOOKS["1"].color, linewidth=style.pt(0.8), linestyle=":")
    left.plot(fine, fine, color=LOOKS["beta"].color, linewidth=style.pt(0.8), linestyle=":")
    lines_left: list[Any] = []
    lines_right: list[Any] = []
    for scale, look in LOOKS.items():
        mine = data.filter(scale=scale, n=largest).with_columns(ratio=pl.col("temperature") / pl.col("beta"))
        for ax, lines, column in ((left, lines_left, "ratio"), (right, lines_right, "suboptimality")):
            low, middle, high = style.quantiles(mine, column, "beta", betas)
            lines.append(style.line(ax, betas, middle, look, low, high))
    _, middle, _ = style.quantiles(data.filter(scale="1", n=largest), "reference", "beta", betas)
    lines_right.append(style.line(right, betas, middle, style.look("reference")))
    for ax in (left, right):
        ax.set(xscale="log", yscale="log")
        ax.set_xticks(betas, [f"{b:g}" for b in betas])
        ax.minorticks_off()
        ax.set_xlabel("β")
    ticks = (0.1, 0.2, 0.5, 1.0, 1.5)
    left.set_yticks(ticks, [f"{t:g}" for t in ticks])
    right.set_ylim(1e-7, 1)
    left.set_ylabel("picked temperature / β")
    left.set_title(f"PREF's target at n = {largest:,}")
    right.set_ylabel("SubOpt")
    right.set_title("what it costs")
    style.key(
        figure,
        f"Medians over {manifests['preference_scale']['config']['trials']} random problems, bands 10% to 90%; dotted: "
        "predicted, and doing nothing.",
    )
    style.label_ends(left, lines_left)
    style.label_ends(right, lines_right)
    return figure


FIGURE = Figure(
    name="preference_scale",
    needs=("preference_scale",),
    draw=draw,
    summary="With s = beta PREF converges to reference * exp(-c / beta^2): below beta = 0.5 that is worse than not learning at all.",
)
