"""What more logged edits buy the tiny language models: every learner on logs of increasing size, strong and weak."""

import dataclasses
from typing import Any

import polars as pl

from . import tiny_llm
from .columns import blank
from .experiment import Report
from .tiny_llm_config import Config
from .tiny_llm_presets import PRESETS

_NANO = dataclasses.replace(
    PRESETS["nano"],
    tasks=("summarization",),
    test_users=("strong",),
    logs=2400,
    curve=(100, 300, 900),
    least_steps=112,
    rl_steps=0,
    dpo_scales=(1.0,),
    rivals=False,
    samples=0,
)


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Mean cost with a strong test user by size of the log, for each task and training user."""
    mine = rows.filter(kind="policy", test_user="strong")
    means = mine.group_by("task", "train_user", "method", "n", maintain_order=True).agg(pl.col("cost").mean())
    sizes = sorted(means["n"].unique().to_list())
    title = "Mean edit cost by number of logged edits, strong test user"
    table = blank(title, ("task", "log", "method"), [f"n = {n:,}" for n in sizes])
    for (task, user, method), part in means.group_by("task", "train_user", "method", maintain_order=True):
        cost = dict(part.select("n", "cost").iter_rows())
        table.add_row(task, user, method, *(f"{cost[n]:.3f}" if n in cost else "" for n in sizes))
    summary: dict[str, Any] = {"means": means.to_dicts()}
    return Report((table,), True, summary)


EXPERIMENT = dataclasses.replace(
    tiny_llm.EXPERIMENT,
    name="tiny_llm_curve",
    summary="cost of SFT, DPO and Early language models against the number of logged edits, strong and weak users",
    presets={
        "quick": _NANO,
        "standard": dataclasses.replace(
            _NANO,
            tasks=("summarization", "email"),
            logs=9600,
            curve=(75, 150, 300, 600, 1200, 2400, 4800),
            train_seeds=3,
        ),
        "paper": PRESETS["h100"],
        "smoke": dataclasses.replace(
            PRESETS["smoke"], test_users=("strong",), curve=(16,), rl_steps=0, least_steps=2
        ),
    },
    times={
        "quick": "10 minutes on 2 CPU cores",
        "standard": "hours on 2 CPU cores, not measured",
        "paper": "for a GPU, not measured",
        "smoke": "30 s on 2 CPU cores",
    },
    report=report,
)
