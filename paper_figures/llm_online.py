"""Cumulative edit cost during deployment: the paper's Figure 2."""

import matplotlib.figure
import numpy as np
import polars as pl

from edittheory.language.evaluate import summaries

from . import style
from .figure import Figure

SHOWN = ("base", "SFT", "DPO", "Early", "Late", "Late, theory")
LOOKS = {
    "base": style.look("reference"),
    "SFT": style.look("sup"),
    "DPO": style.look("pref"),
    "Early": style.look("early"),
    "Late": style.look("late"),
    "Late, theory": style.Look("Late, theory", style.BLACK, "", "--"),
}
NAMES = {"summarization": "summaries", "email": "e-mails"}


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
    columns = min(2, len(settings))
    count = -(-len(settings) // columns)
    figure, axes = style.new_figure(count, columns, height=0.5 + 1.75 * count, sharex=True)
    ends = []
    for place, (ax, (task, user)) in enumerate(zip(axes.flat, settings, strict=False)):
        mine = data.filter(task=task, train_user=user)
        lines, top = [], 0.0
        for name in SHOWN:
            each = curves(mine, name)
            x = np.arange(1, each.shape[1] + 1)
            look = style.Look(name, LOOKS[name].color, "", LOOKS[name].linestyle)
            lines.append(style.line(ax, x, each.mean(axis=0), look, each.min(axis=0), each.max(axis=0)))
            top = max(top, each.max()) if name != "base" else top
        ends.append((ax, lines))
        ax.set_title(f"{NAMES[task]}, {user} log")
        ax.set_ylim(0, 1.08 * top)
        if place >= len(settings) - columns:
            ax.set_xlabel("episode")
        if place % columns == 0:
            ax.set_ylabel("cumulative cost")
    for ax in axes.flat[len(settings) :]:
        ax.set_visible(False)
    trainings = data.select("base_seed", "train_seed").unique().height
    seeds = data.select("base_seed", "train_seed", "seed").unique().height
    style.key(
        figure,
        f"Strong test user; means over {seeds} seeds ({trainings} of training), bands from the least to the largest. "
        "The reference policy (base) "
        "leaves the panels where it costs more than all others.",
    )
    for ax, lines in ends:
        style.label_ends(ax, lines)
    return figure


FIGURE = Figure(
    name="llm_online",
    needs=("tiny_llm",),
    draw=draw,
    summary="Cumulative edit cost of language-model policies with a strong user (the paper's Figure 2).",
)
