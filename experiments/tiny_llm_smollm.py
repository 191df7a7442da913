"""The pretrained arm on a CPU: SmolLM2-135M-Instruct with adapters on short real texts, SFT, DPO, their mix and Early.

The stages are those of `tiny_llm`, so is the order of cells: replicate by replicate (a reference policy and a log each), the
strong user's log before the weak user's, so that what is there when a run is stopped are whole comparisons.
"""

import dataclasses
from typing import Any

import numpy as np
import polars as pl

from edittheory.core.statistics import bootstrap

from . import tiny_llm
from .columns import blank
from .experiment import Report
from .tiny_llm_config import Config
from .tiny_llm_presets import PRESETS

SHOWN = ("base", "SFT", "DPO", "Mix", "Early")
"""Families, the reference policy first; one candidate of each is trained, two of DPO."""


def family(method: str) -> str:
    """What a candidate is called here: "DPO" of "DPO s=1", "DPO 0.003" of "DPO s=1, rate 0.003"."""
    name, _, rate = method.partition(", rate ")
    return " ".join([name.partition(" ")[0], rate]).strip()


def policies(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of the policies with the strong test user, with a column `family`."""
    mine = rows.filter(kind="policy", test_user="strong")
    return mine.with_columns(pl.col("method").map_elements(family, return_dtype=pl.String).alias("family"))


def summary(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """For each task, log and family: n (answers), replicates, mean cost with its bootstrap interval over contexts (of these
    trainings: with few replicates nothing is said of others), the mean of each replicate, and recall, loops, no_end, length."""
    found = []
    data = policies(rows).sort("base_seed", "train_seed", "seed", "round", maintain_order=True)
    for (task, user, name), part in data.group_by("task", "train_user", "family", maintain_order=True):
        costs = part["cost"].to_numpy().astype(float)
        mean = bootstrap(costs, np.random.default_rng(0))
        each = part.group_by("base_seed", "train_seed", maintain_order=True).agg(
            pl.col("cost").cast(pl.Float64).mean()
        )
        values = part.select(
            pl.col("recall", "loops", "length").cast(pl.Float64).mean(),
            (~pl.col("ended")).mean().alias("no_end"),
        ).row(0, named=True)
        found.append(
            {
                "task": task, "train_user": user, "family": name, "n": len(costs), "replicates": each.height,
                "cost": mean.estimate, "low": mean.low, "high": mean.high, "each": each["cost"].to_list(), **values,
            }
        )  # fmt: skip
    order = {name: place for place, name in enumerate(SHOWN)}
    return sorted(
        found, key=lambda one: (one["task"], one["train_user"], order[one["family"].partition(" ")[0]])
    )


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Costs of the families by log, each replicate's own, and what is wrong with answers that costs nothing."""
    found = summary(rows)
    title = "Mean edit cost, strong test user; 95% intervals over contexts, not over trainings"
    numbers = ("cost", "each replicate", "recall", "loops", "no end", "words")
    table = blank(title, ("task", "log", "learner"), numbers)
    for one in found:
        table.add_row(
            one["task"],
            one["train_user"],
            one["family"],
            f"{one['cost']:.3f} [{one['low']:.3f}, {one['high']:.3f}]",
            " ".join(f"{cost:.3f}" for cost in one["each"]),
            *(f"{one[name]:.2f}" for name in ("recall", "loops", "no_end")),
            f"{one['length']:.0f}",
        )
    return Report((table,), True, {"families": found})


CPU = PRESETS["smollm_cpu"]
EXPERIMENT = dataclasses.replace(
    tiny_llm.EXPERIMENT,
    name="tiny_llm_smollm",
    summary="SmolLM2-135M with adapters on short real texts, on a CPU: SFT, DPO, their mix and Early on strong and weak edits",
    presets={
        "smoke": dataclasses.replace(
            CPU, base_seeds=1, rounds=4, logs=6, held_out=2, batch=2, epochs=1, warm_examples=4, lora_rank=2,
            prompt_length=64, response_length=16, batch_answers=6,
        ),
        "quick": CPU,
        "standard": dataclasses.replace(CPU, base_seeds=5, logs=200, held_out=64, rounds=100),
        "paper": PRESETS["smollm"],
    },
    times={
        "smoke": "3 minutes on 2 CPU cores; all presets need the packages of the extras model and data",
        "quick": "about an hour and a half on 2 CPU cores",
        "standard": "hours on 2 CPU cores, not measured",
        "paper": "for a GPU, not measured: the preset smollm of tiny_llm",
    },
    report=report,
)  # fmt: skip
