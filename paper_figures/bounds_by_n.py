"""How far each bound is above what was realised at every n, from the counts of bound_verification's largest run."""

import matplotlib.figure
import polars as pl

from . import style
from .bound_tightness import WHAT
from .figure import Figure

NEEDS = "bound_verification_counts"
PANELS = {
    "SUP": ("B1.a", "B1.b", "B1.c"),
    "PREF": ("B2.a", "B2.b", "B2.c", "B2.c*"),
    "RL": ("B3.pess", "B3.a", "B3.b", "B3.b*"),
}
COLORS = (style.BLUE, style.VERMILLION, style.GREEN, style.PURPLE)


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Median of bound / realised over random problems of all families, at each n; dotted: the smallest of all of them."""
    counts = rows[NEEDS].filter((pl.col("family") == "all") & pl.col("ratio_50").is_not_null())
    config = manifests[NEEDS]["config"]
    figure, axes = style.new_figure(1, len(PANELS), height=3.4, sharey=True)
    panels = []
    for ax, (learner, names) in zip(axes[0], PANELS.items(), strict=True):
        lines = []
        for place, name in enumerate(names):
            mine = counts.filter(pl.col("statement") == name).sort("n")
            look = style.Look(WHAT[name].split(": ")[-1], COLORS[place], style.MARKERS[place])
            lines.append(style.line(ax, mine["n"], mine["ratio_50"], look))
            ax.plot(
                mine["n"], mine["ratio_least"], linestyle=":", color=COLORS[place], linewidth=style.pt(1.0)
            )
        ax.axhline(1.0, color=style.BLACK, linewidth=style.pt(0.8))
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_title(learner)
        ax.set_xlabel("edits n")
        panels.append((ax, lines))
    axes[0, 0].set_ylim(bottom=0.7)
    axes[0, 0].set_ylabel("bound / realised")
    style.key(
        figure,
        f"{config['trials']:,} random problems for each of {len(config['families'])} families and n. Lines: median; dotted: the smallest "
        "ratio of all; above 1 the statement held. Problems whose realised value is 0 have no ratio.",
    )
    for ax, lines in panels:
        style.label_ends(ax, lines)
    return figure


FIGURE = Figure(
    name="bounds_by_n",
    needs=(NEEDS,),
    draw=draw,
    summary="Bound over realised value at every n: none below 1. SUP's Hellinger form comes within 3 times of what happens; PREF's bounds "
    "fall behind from n = 1,000 on, since what PREF realises falls faster than any of them",
)
