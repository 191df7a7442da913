"""How far each bound is above what was realised, over all random problems of `bound_verification`."""

import matplotlib.figure
import numpy as np
import polars as pl

from edittheory.core.statistics import NOTHING

from . import style
from .figure import Figure

GROUPS = {
    "Lemma 1": ("L1.gamma", "L1.doeblin", "L1.dobrushin"),
    "B0": ("B0.range", "B0.chord"),
    "SUP": ("B1.a", "B1.b", "B1.c"),
    "PREF": ("B2.a", "B2.b", "B2.c", "B2.c*"),
    "RL": ("B3.pess", "B3.a", "B3.b", "B3.b*"),
}
COLORS = {
    "Lemma 1": style.BLACK,
    "B0": style.GREY,
    "SUP": style.BLUE,
    "PREF": style.VERMILLION,
    "RL": style.GREEN,
}
WHAT = {
    "L1.gamma": r"Lemma 1: $1-\gamma_{\min}$",
    "L1.doeblin": "Lemma 1: Doeblin",
    "L1.dobrushin": "Lemma 1: Dobrushin",
    "B0.range": r"B0: $(c_{\max}+B)\,D$",
    "B0.chord": "B0: chord",
    "B1.a": "B1(a): contraction bias",
    "B1.b": "B1(b): exact bias",
    "B1.c": "B1(c): Hellinger",
    "B2.a": r"B2(a): $\kappa\sqrt{CL/n}$",
    "B2.b": r"B2(b): $\sqrt{\kappa CL/n}$",
    "B2.c": r"B2(c): fast, worst $\tilde C$",
    "B2.c*": r"B2(c): fast, learned $\tilde C$",
    "B3.pess": r"B3: $E_{\pi^*}[\bar f-c]$",
    "B3.a": r"B3(a): $\sqrt{C_FL_F/n}$",
    "B3.b": r"B3(b): fast, worst $\tilde C_F$",
    "B3.b*": r"B3(b): fast, learned $\tilde C_F$",
}
CAP = 1e7
"""Ratios beyond this are drawn as arrows at the edge."""


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Median, 10%-90% range and smallest bound / realised of every bound, for each n."""
    data = rows["bound_verification"].filter(pl.col("realised") > NOTHING)
    data = data.with_columns(
        pl.col("statement").cast(pl.String),
        ratio=pl.col("bound").cast(pl.Float64) / pl.col("realised").cast(pl.Float64),
    )
    sizes = sorted(data["n"].unique().to_list())
    names = [name for group in GROUPS.values() for name in group]
    figure, axes = style.new_figure(1, 1, height=4.6)
    ax = axes[0, 0]
    markers = dict(zip(sizes, ("o", "s", "D", "^", "v", "P", "X"), strict=False))
    for place, name in enumerate(names):
        color = next(COLORS[group] for group, members in GROUPS.items() if name in members)
        mine = data.filter(pl.col("statement") == name)
        deterministic = name.startswith(("L1", "B0"))
        shown = [None] if deterministic else sizes
        for offset, n in zip(
            np.linspace(-0.27, 0.27, len(shown)) if len(shown) > 1 else [0.0], shown, strict=True
        ):
            ratio = (
                mine["ratio"].to_numpy() if n is None else mine.filter(pl.col("n") == n)["ratio"].to_numpy()
            )
            if not len(ratio):
                continue
            low, middle, high = np.quantile(ratio, [0.1, 0.5, 0.9])
            least = ratio.min()
            y = place + offset
            style.interval(ax, low, min(high, CAP), y, color, 1.2, solid_capstyle="butt")
            if high > CAP:
                ax.plot(CAP, y, marker=">", color=color, markersize=style.pt(3.5), clip_on=False)
            ax.plot(
                middle,
                y,
                marker=markers[n] if n else "o",
                color=color,
                markersize=style.pt(4),
                markerfacecolor="white" if n == sizes[0] else color,
            )
            ax.plot(least, y, marker="|", color=color, markersize=style.pt(5))
    ax.set_yticks(range(len(names)), [WHAT[name] for name in names])
    ax.invert_yaxis()
    ax.set_xscale("log")
    ax.set_xlim(0.9, CAP)
    ax.axvline(1.0, color=style.BLACK, linewidth=style.pt(0.8))
    ax.set_xlabel("bound / realised")
    ax.grid(axis="y", visible=False)
    for n in sizes:
        ax.plot([], [], linestyle="none", marker=markers[n], color=style.GREY, markersize=style.pt(4),
                markerfacecolor="white" if n == sizes[0] else style.GREY, label=f"n = {n:,}")  # fmt: skip
    ax.legend(loc="upper right", title="median at", title_fontsize=style.pt(7))
    config = manifests["bound_verification"]["config"]
    style.key(
        figure,
        f"Medians over {config['trials']} random problems for each of {len(config['families'])} families and each n; "
        "bars 10% to 90% of them, ticks the "
        "smallest ratio: right of 1 the statement held. Logs whose SubOpt is 0 have no ratio.",
    )
    return figure


FIGURE = Figure(
    name="bound_tightness",
    needs=("bound_verification",),
    draw=draw,
    summary="Ratio of each bound to the realised value over random problems: no statement fails; SUP's Hellinger form is within "
    "a factor of about ten, PREF's bounds are thousands of times too large.",
)
