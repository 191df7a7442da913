"""Cumulative edit cost of agents that learn in words, beside trained policies and late ensembles over both."""

from typing import Any

import matplotlib.figure
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from edittheory.language.evaluate import over_seeds

from . import style
from .figure import Figure
from .table_main import SHORT

LOOKS = {
    "no learning": style.Look("no learning", style.GREY, "", ":"),
    "continual LPI": style.Look("continual LPI", style.GREY, "", "-"),
    "ICL-edit": style.Look("ICL-edit", style.GREEN, "v"),
    "CIPHER-1": style.Look("CIPHER-1", style.SKY, "o"),
    "CIPHER-5": style.Look("CIPHER-5", style.BLUE, "s"),
    "PROSE": style.Look("PROSE", style.PURPLE, "D"),
    "SFT": style.Look("SFT (400 edits before)", style.VERMILLION, "^"),
    "Late, both": style.Look("Late over words and weights", style.ORANGE, "P"),
    "oracle": style.Look("oracle preference", style.BLACK, "", "--"),
}


def curves(ax: Axes, rows: pl.DataFrame) -> None:
    """Mean cumulative cost of each method over replicates; at the last round its 95% interval."""
    last = int(rows["round"].max())  # type: ignore[arg-type]
    for place, (name, look) in enumerate(LOOKS.items()):
        mine = rows.filter(method=name).sort("replicate", "round")
        if not mine.height:
            continue
        parts = mine.group_by("replicate", maintain_order=True)
        each = np.stack([part["cost"].to_numpy().cumsum() for _, part in parts])
        rounds = mine["round"].unique().sort().to_numpy()
        (drawn,) = ax.plot(
            [0, *rounds], [0.0, *each.mean(axis=0)], color=look.color, linestyle=look.linestyle
        )
        drawn.set_linewidth(style.pt(1.1))
        end = over_seeds.mean(each[:, -1])
        at, ends = [last * (1.03 + 0.028 * place)], ([end.mean], [end.low], [end.high])
        style.errorbars(ax, at, *ends, look, markersize=style.pt(3.2), elinewidth=style.pt(0.8))
    ax.set_xlim(0, 1.3 * last)
    ax.set_ylim(0, None)
    ax.set_xticks([0, last // 2, last])


def draw(rows: Any, manifests: Any) -> matplotlib.figure.Figure:
    """Rows: tasks. Columns: users, from strong to weak."""
    config = manifests["words"]["config"]
    data = rows["words"].filter(stage="deployment", world="nano", mistakes=config["mistakes"][0])
    tasks, keeps = config["tasks"], config["keep_probs"]
    figure, axes = style.new_figure(len(tasks), len(keeps), height=4.4, sharex=True)
    for row, task in enumerate(tasks):
        for column, keep in enumerate(keeps):
            ax = axes[row, column]
            curves(ax, data.filter(task=task, keep_prob=keep))
            if row == 0:
                ax.set_title("strong user" if keep == 1 else f"weak, keep_prob {keep:g}")
        axes[row, 0].set_ylabel(f"{SHORT[task]}: cumulative edit cost")
    for ax in axes[-1]:
        ax.set_xlabel("round")
    drawn: list[dict[str, Any]] = [
        {"color": look.color, "linestyle": look.linestyle, "marker": look.marker or None, "label": look.label}
        for look in LOOKS.values()
    ]
    handles = [Line2D([], [], **each) for each in drawn]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handlelength=2.2)
    style.key(
        figure,
        f"Means over {data['replicate'].n_unique()} seeds; right of the last round, totals with 95% t-intervals. The user "
        "who edits is the user who is charged, so weak users cost less whatever is answered. Learners in words begin with "
        "nothing; SFT has read 400 edits of that user.",
    )
    return figure


FIGURE = Figure(
    name="words",
    needs=("words",),
    draw=draw,
    summary="Cumulative edit cost of agents that learn in words, of PRELUDE's baselines, of SFT, and of a late ensemble over both kinds.",
)
