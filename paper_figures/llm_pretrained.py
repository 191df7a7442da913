"""The pretrained arm: cost of each learner on strong and weak logs, replicate by replicate, and what costs the user nothing."""

import dataclasses

import matplotlib.figure
import numpy as np
import polars as pl

from edittheory.core.statistics import bootstrap

from . import style
from .figure import Figure
from .table_main import SHORT

LOOKS = {
    "base": style.Look("reference", style.GREY, "o"),
    "SFT": dataclasses.replace(style.look("sup"), label="SFT"),
    "DPO 0.0003": dataclasses.replace(style.look("pref"), label="DPO, rate 3e-4"),
    "DPO 0.003": dataclasses.replace(style.look("pref"), label="DPO, rate 3e-3", marker="v"),
    "Mix": style.Look("Mix", style.ORANGE, "P"),
    "Early": style.look("early"),
}
PANELS = {
    "cost": "edit cost, strong user",
    "recall": "recall of facts",
    "loops": "share with a loop",
    "no_end": "share without an end",
}


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Means with 95% intervals over contexts; short marks: the replicates' own means."""
    data = rows["tiny_llm_smollm"].filter(kind="policy", test_user="strong")
    data = data.with_columns(
        pl.col("cost", "recall", "loops").cast(pl.Float64),
        family=pl.col("method")
        .str.replace(r"^(\S+) s=\S+, rate (\S+)$", "$1 $2")
        .str.replace(r"^(SFT|Mix|Early)\b.*$", "$1"),
        no_end=(~pl.col("ended")).cast(pl.Float64),
    )
    settings = data.select("task", "train_user").unique(maintain_order=True).rows()
    figure, axes = style.new_figure(2, 2, height=4.6)
    step = 0.8 / len(LOOKS)
    for ax, (column, title) in zip(axes.ravel(), PANELS.items(), strict=True):
        for place, (name, look) in enumerate(LOOKS.items()):
            for block, (task, user) in enumerate(settings):
                mine = data.filter(task=task, train_user=user, family=name)
                if mine.is_empty():
                    continue
                x = block + step * (place - (len(LOOKS) - 1) / 2)
                mean = bootstrap(mine[column].to_numpy(), np.random.default_rng(0))
                style.errorbars(ax, [x], [mean.estimate], [mean.low], [mean.high], look)
                each = mine.group_by("base_seed", "train_seed", maintain_order=True).agg(
                    pl.col(column).mean()
                )
                ax.plot(
                    [x + step / 3] * each.height, each[column], "_", color=look.color, markersize=style.pt(5)
                )
        ax.set_xticks(range(len(settings)), [f"{SHORT[task]}, {user} log" for task, user in settings])
        ax.set_xlim(-0.5, len(settings) - 0.5)
        ax.set_ylim(0, None if column == "cost" else 1.02)
        ax.set_title(title)
    handles = [
        matplotlib.lines.Line2D(
            [], [], color=look.color, marker=look.marker, linestyle="none", label=look.label
        )
        for look in LOOKS.values()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(LOOKS))
    replicates = data.select("base_seed", "train_seed").n_unique()
    style.key(
        figure,
        f"SmolLM2-135M with adapters. Means over contexts of {replicates} replicates (a reference policy and a log each) with 95% "
        "bootstrap intervals over contexts, not over trainings; short marks: each replicate's mean. Rate 3e-3 but where named; untuned. "
        "Mix: DPO + token-mean NLL; Early: DPO + summed NLL.",
    )
    return figure


FIGURE = Figure(
    name="llm_pretrained",
    needs=("tiny_llm_smollm",),
    draw=draw,
    summary="SmolLM2-135M that learns from edits of real texts: cost, recall, loops and missing ends by learner and log.",
)
