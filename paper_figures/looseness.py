"""Why the bounds are loose: bound / SubOpt of each as a product of what the links of its proof cost."""

import matplotlib.figure
import matplotlib.patches
import numpy as np
import polars as pl

from edittheory.core.statistics import student_half

from . import style
from .figure import Figure

LOOKS = {
    "coverage": ("change of measure (coverage)", style.VERMILLION),
    "class": ("worst member of the class", style.ORANGE),
    "curvature": (r"curvature $\kappa$ of the sigmoid", style.BLUE),
    "triangle": ("triangle inequality", style.SKY),
    "sampling": ("deviation bound", style.GREY),
}
ROUNDING = 1e-12
LABELS = {
    "B1.c": "SUP, B1(c)",
    "B2.b": "PREF, B2(b)",
    "B2.c": "PREF, fast, B2(c)",
    "B3.a": "RL, B3(a)",
    "B3.b": "RL, fast, B3(b)",
}


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """One panel for each n; bars stack the mean log10 factor of each link, the tick is the 95% interval of the total."""
    data = rows["looseness"]
    sizes = sorted(data["n"].unique().to_list())
    figure, axes = style.new_figure(len(sizes), 1, height=4.8, sharey=True, sharex=True)
    for ax, n in zip(axes[:, 0], sizes, strict=True):
        for place, statement in enumerate(LABELS):
            _bar(ax, place, data.filter(n=n, statement=statement))
        ax.set_yticks(range(len(LABELS)), list(LABELS.values()))
        ax.set_title(f"n = {n:,}")
        ax.set_xlim(0, 6.3)
        ax.set_xticks(range(0, 7, 2), [rf"$10^{k}$" for k in range(0, 7, 2)])
        ax.grid(axis="y", visible=False)
    axes[0, 0].invert_yaxis()
    axes[-1, 0].set_xlabel("bound / SubOpt")
    handles = [matplotlib.patches.Patch(color=color, label=label) for label, color in LOOKS.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handlelength=1.0)
    trials = manifests["looseness"]["config"]["trials"]
    style.key(
        figure,
        f"Geometric means over {2 * trials:,} logs of random problems a bar; black: 95% t-interval of the total; exact: "
        "the share of logs with SubOpt "
        "0, left out.",
    )
    return figure


def _bar(ax, place: int, mine: pl.DataFrame) -> None:
    shown = mine.filter(pl.col("suboptimality") > ROUNDING)
    left = 0.0
    for link, (_, color) in LOOKS.items():
        if shown[link].null_count() == shown.height:
            continue
        width = float(np.log10(shown[link].to_numpy()).mean())
        ax.barh(place, width, left=left, color=color, height=0.62, linewidth=0)
        if width > 0.3:
            text = f"{10**width:.0f}" if width > 1 else f"{10**width:.1f}"
            style.note(ax, left + width / 2, place, text, ha="center", va="center", color="white")
        left += width
    total = np.log10((shown["bound"] / shown["suboptimality"]).to_numpy())
    half = student_half(total)
    high = total.mean() + half
    style.interval(ax, total.mean() - half, high, place, style.BLACK, 1.4, solid_capstyle="butt")
    exact = f"  ({1 - shown.height / mine.height:.0%} exact)" if shown.height < mine.height else ""
    style.note(ax, high, place, f" {10 ** total.mean():,.0f}{exact}", va="center")


FIGURE = Figure(
    name="looseness",
    needs=("looseness",),
    draw=draw,
    summary="What makes each bound loose: the change of measure to the rarest pair or response and the deviation bound cost most, "
    "the sigmoid's curvature little.",
)
