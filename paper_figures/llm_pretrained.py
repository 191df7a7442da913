"""The pretrained arm: cost of each learner on strong and weak logs, replicate by replicate."""

import matplotlib.figure
import numpy as np
import polars as pl

from edittheory.core.statistics import bootstrap

from . import style
from .figure import Figure
from .table_main import SHORT

LOOKS = {
    "base": style.Look("reference", style.GREY, "o"),
    "SFT": style.look("sup"),
    "DPO": style.look("pref"),
    "Mix": style.Look("Mix", style.ORANGE, "P"),
    "Early": style.look("early"),
}
BESIDE = {"recall": "recall of facts", "no_end": "share without an end", "loops": "share with a loop"}


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Left: mean cost with a 95% interval over contexts, small marks the replicates' own. Right: what a user never sees."""
    data = rows["tiny_llm_smollm"].filter((pl.col("kind") == "policy") & (pl.col("test_user") == "strong"))
    data = data.with_columns(
        family=pl.col("method").str.split(" ").list.first(), no_end=(~pl.col("ended")).cast(pl.Float64)
    )
    settings = data.select("task", "train_user").unique(maintain_order=True).rows()
    figure, axes = style.new_figure(1, 1 + len(BESIDE), height=2.4)
    panels = axes[0]
    width = 0.8 / len(LOOKS)
    for place, (name, look) in enumerate(LOOKS.items()):
        for block, (task, user) in enumerate(settings):
            mine = data.filter(
                (pl.col("task") == task) & (pl.col("train_user") == user) & (pl.col("family") == name)
            )
            if mine.is_empty():
                continue
            x = block + width * (place - (len(LOOKS) - 1) / 2)
            costs = mine["cost"].to_numpy().astype(float)
            mean = bootstrap(costs, np.random.default_rng(0))
            style.errorbars(panels[0], [x], [mean.estimate], [mean.low], [mean.high], look)
            each = mine.group_by("base_seed", "train_seed", maintain_order=True).agg(pl.col("cost").mean())
            panels[0].plot(
                [x + width / 3] * each.height, each["cost"], "_", color=look.color, markersize=style.pt(4)
            )
            for ax, column in zip(panels[1:], BESIDE, strict=True):
                value = mine[column].cast(pl.Float64).mean()
                ax.bar(x, value, width * 0.9, color=look.color)
    names = [f"{SHORT[task]},\n{user} log" for task, user in settings]
    for ax, title in zip(panels, ("edit cost, strong user", *BESIDE.values()), strict=True):
        ax.set_xticks(range(len(settings)), names)
        ax.set_title(title)
        ax.set_ylim(0, None)
    for ax in panels[1:]:
        ax.set_ylim(0, 1)
    handles = [
        matplotlib.lines.Line2D(
            [], [], color=look.color, marker=look.marker, linestyle="none", label=look.label
        )
        for look in LOOKS.values()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(LOOKS))
    replicates = data.select("base_seed", "train_seed").unique().height
    style.key(
        figure,
        f"Cost: mean over contexts with a 95% bootstrap interval; dashes: the means of {replicates} replicates. Others: means.",
    )
    return figure


FIGURE = Figure(
    name="llm_pretrained",
    needs=("tiny_llm_smollm",),
    draw=draw,
    summary="SmolLM2-135M that learns from edits of real texts: cost, recall, loops and missing ends by learner and log.",
)
