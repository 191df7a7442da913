"""Cost against the number of logged edits, for strong and weak logs."""

import matplotlib.figure
import polars as pl

from paper_figures import style
from paper_figures.figure import Figure
from paper_figures.table_main import SHORT

SHOWN = {"SFT": "sup", "DPO": "pref", "Early": "early"}


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Mean cost by n with a strong test user; bands from the least to the largest seed; grey is the reference policy."""
    data = rows["tiny_llm_curve"].filter((pl.col("test_user") == "strong") & (pl.col("kind") == "policy"))
    settings = data.select("task", "train_user").unique(maintain_order=True).rows()
    figure, axes = style.new_figure(1, len(settings), width=style.PAGE, height=2.3, sharey="row")
    for ax, (task, user) in zip(axes[0], settings, strict=True):
        mine = data.filter((pl.col("task") == task) & (pl.col("train_user") == user))
        seeds = mine.group_by("method", "n", "base_seed", "train_seed", "seed").agg(pl.col("cost").mean())
        for name, look in SHOWN.items():
            table = (
                seeds.filter(pl.col("method") == name)
                .group_by("n")
                .agg(
                    pl.col("cost").mean(),
                    pl.col("cost").min().alias("low"),
                    pl.col("cost").max().alias("high"),
                )
                .sort("n")
            )
            shown = style.look(look)
            style.line(
                ax,
                table["n"],
                table["cost"],
                style.Look(name, shown.color, shown.marker, shown.linestyle),
                table["low"],
                table["high"],
            )
        base = seeds.filter(pl.col("method") == "base")["cost"].mean()
        ax.axhline(base, color=style.GREY, linestyle=":", linewidth=1)
        ax.set_xscale("log")
        ax.set_title(f"{SHORT[task]}, {user} log")
        ax.set_xlabel("logged edits n")
        ax.set_ylim(0, None)
    axes[0, 0].set_ylabel("mean edit cost")
    axes[0, 0].legend(loc="lower left")
    return figure


FIGURE = Figure(
    name="llm_tradeoffs",
    needs=("tiny_llm_curve",),
    draw=draw,
    summary="Cost of language-model policies against the number of logged edits, strong and weak logs.",
)
