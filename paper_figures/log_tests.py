"""What a log of edits can refute, from texts alone, from the writer's log-probabilities, and from those of candidates."""

import matplotlib.figure
import polars as pl

from edittheory.core.statistics import clopper_pearson

from . import style
from .figure import Figure

PATCH = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
NEEDS = {
    "nothing to learn": "nothing to learn\n(texts)",
    "no taste": "no taste\n(and the writer's log w)",
    "a temperature": "a temperature\n(and the writer's log w)",
    "a candidate": "a candidate\n(and theirs)",
}


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
            mine = data.filter((pl.col("kind") == kind) & (pl.col("hypothesis") == hypothesis))
            if not mine.height:
                ax.text(0.5, place, "not tested", fontsize=7, color=style.GREY, ha="center", va="center")
                continue
            count, true = int(mine["rejected"].sum()), bool(mine["true"][0])
            low, high = clopper_pearson(count, mine.height)
            color = style.BLUE if true else style.VERMILLION
            ax.plot([float(low), float(high)], [place, place], color=color, linewidth=1.2)
            ax.plot(count / mine.height, place, marker="o" if true else "s", color=color, markersize=4)
            needed = mine["needed"].fill_null(config["edits"] + 1).median()
            if not true and needed is not None and needed <= config["edits"]:
                rate = count / mine.height
                at, side = (float(low) - 0.04, "right") if rate > 0.4 else (float(high) + 0.04, "left")
                ax.text(at, place, f"after {needed:,.0f}", fontsize=7, ha=side, va="center", bbox=PATCH)
        ax.axvline(config["delta"], color="black", linewidth=0.7, linestyle=(0, (1, 2)))
        ax.set_title(title, fontsize=7)
        ax.set_xlim(-0.04, 1.06)
        ax.set_xlabel("share refuted")
        ax.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(range(len(kinds)), kinds)
    axes[0, 0].invert_yaxis()
    figure.suptitle(
        f"{config['trials']:,} users of each kind, up to {config['edits']:,} interactions. Blue circles: the hypothesis is true,\n"
        f"level {config['delta']:g} dotted (shared by the first three). Red squares: it is false; beside them the median\n"
        "number of interactions that showed it.",
        fontsize=7.5, x=0.01, ha="left",
    )  # fmt: skip
    return figure


FIGURE = Figure(
    name="log_tests",
    needs=("log_tests",),
    draw=draw,
    summary="Level and power of the tests of `edittheory log advise` by what the log holds: texts or log-probabilities.",
)
