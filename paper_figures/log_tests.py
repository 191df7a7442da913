"""What a log of edits can refute, from texts alone, from the writer's log-probabilities, and from those of candidates."""

import matplotlib.figure
import polars as pl

from edittheory.core.statistics import clopper_pearson

from . import style
from .figure import Figure

NEEDS = {
    "nothing to learn": "nothing to learn\n(texts)",
    "no taste": "no taste\n(+ writer)",
    "a temperature": "a temperature\n(+ writer)",
    "a candidate": "candidate preferred\n(+ candidates)",
}

PLAIN = {"facecolor": "white", "edgecolor": "none", "pad": 0.3}
"""Behind words that a line would cross."""


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Share of users of each kind for whom each hypothesis is refuted, with 95% intervals; filled where it is false."""
    data, config = (
        rows["log_tests"].with_columns(pl.col(pl.Categorical).cast(pl.String)),
        manifests["log_tests"]["config"],
    )
    kinds = data["kind"].unique(maintain_order=True).to_list()
    figure, axes = style.new_figure(1, len(NEEDS), height=2.5, sharex=True, sharey=True)
    for ax, (hypothesis, title) in zip(axes[0], NEEDS.items(), strict=True):
        for place, kind in enumerate(kinds):
            mine = data.filter(kind=kind, hypothesis=hypothesis)
            if not mine.height:
                style.note(ax, 0.5, place, "not tested", color=style.GREY, ha="center", va="center")
                continue
            count, true = int(mine["rejected"].sum()), bool(mine["true"][0])
            low, high = clopper_pearson(count, mine.height)
            color = style.BLUE if true else style.VERMILLION
            rate = count / mine.height
            style.interval(ax, float(low), float(high), place, color, 1.2)
            ax.plot(rate, place, marker="o" if true else "s", color=color, markersize=style.pt(4))
            needed = mine["needed"].fill_null(config["edits"] + 1).median()
            if not true and needed is not None and needed <= config["edits"]:
                at, side = (float(low) - 0.04, "right") if rate > 0.4 else (float(high) + 0.04, "left")
                style.note(ax, at, place, f"after {needed:,.0f}", ha=side, va="center", bbox=PLAIN)
        ax.axvline(config["delta"], color="black", linewidth=style.pt(0.7), linestyle=(0, (1, 2)))
        ax.set_title(title, fontsize=style.pt(7))
        ax.set_xlim(-0.04, 1.06)
        ax.set_xlabel("share refuted")
        ax.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(range(len(kinds)), kinds)
    axes[0, 0].invert_yaxis()
    style.key(
        figure,
        f"{config['trials']:,} users of each kind, up to {config['edits']:,} interactions; 95% intervals. Blue circles: the "
        f"hypothesis is true; dotted: level {config['delta']:g} (shared by the first three). Red squares: it is false; beside "
        "them the median number of interactions that showed it. In brackets what a log must hold: "
        "texts, also log-probabilities of the writer, also those of candidates.",
    )
    return figure


FIGURE = Figure(
    name="log_tests",
    needs=("log_tests",),
    draw=draw,
    summary="Level and power of the tests of `edittheory log advise` by what the log holds: texts or log-probabilities.",
)
