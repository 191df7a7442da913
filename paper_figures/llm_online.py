"""Cumulative edit cost during deployment: the paper's Figure 2."""

import matplotlib.figure
import numpy as np
import polars as pl

from edittheory.language.evaluate import summaries

from . import style
from .figure import Figure
from .table_main import SHORT

SHOWN = ("base", "SFT", "DPO", "Early", "Late", "Late, theory")
LOOKS = {
    "base": style.look("reference"),
    "SFT": style.look("sup"),
    "DPO": style.look("pref"),
    "Early": style.look("early"),
    "Late": style.look("late"),
    "Late, theory": style.Look("Late, theory", style.BLACK, "", "--"),
}


def curves(rows: pl.DataFrame, method: str) -> np.ndarray:
    """Cumulative cost (seeds, rounds) of a method in one setting."""
    mine = rows.filter(pl.col("method") == method).sort("base_seed", "train_seed", "seed", "round")
    rounds = mine["round"].n_unique()
    return np.cumsum(mine["cost"].to_numpy().astype(float).reshape(-1, rounds), axis=1)


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """One panel for each task and training user; means over seeds, bands from the least to the largest seed."""
    data = summaries.full_log(rows["tiny_llm"]).filter(pl.col("test_user") == "strong")
    there = set(data.select("task", "train_user").unique().iter_rows())
    settings = [setting for setting in summaries.SETTINGS if setting in there]
    figure, axes = style.new_figure(1, len(settings), width=style.PAGE, height=2.4)
    for ax, (task, user) in zip(axes[0], settings, strict=True):
        mine = data.filter((pl.col("task") == task) & (pl.col("train_user") == user))
        for name in SHOWN:
            each = curves(mine, name)
            x = np.arange(1, each.shape[1] + 1)
            style.line(
                ax,
                x,
                each.mean(axis=0),
                style.Look(name, LOOKS[name].color, "", LOOKS[name].linestyle),
                each.min(axis=0),
                each.max(axis=0),
            )
        ax.set_title(f"{SHORT[task]}, {user} log")
        ax.set_xlabel("episode")
        ax.set_ylim(0, None)
    axes[0, 0].set_ylabel("cumulative edit cost")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


FIGURE = Figure(
    name="llm_online",
    needs=("tiny_llm",),
    draw=draw,
    summary="Cumulative edit cost of language-model policies with a strong user (the paper's Figure 2).",
)
