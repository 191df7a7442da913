"""What the rows of `words` say: totals by method with intervals over replicates, and paired differences."""

from typing import Any

import numpy as np
import polars as pl

from edittheory.language.evaluate import over_seeds

from .columns import Column, numbers, table, text
from .experiment import Report
from .words_config import Config

PLACE = ("world", "mistakes", "keep_prob")
PAIRS = (
    ("CIPHER-5", "CIPHER-1"),
    ("CIPHER-5", "PROSE"),
    ("CIPHER-5", "ICL-edit"),
    ("CIPHER-5, log read", "SFT"),
    ("Late, both", "Late, weights"),
    ("Late, both", "Late, words"),
    ("Late, both, log read", "Late, words, log read"),
)
"""Differences (first less second) that were chosen before the run; the level is divided over them, users and tasks."""


def totals(rows: pl.DataFrame) -> pl.DataFrame:
    """One row for each deployment of a method: sums of cost, strong_cost and tokens, means of the rest."""
    means = ("accepted", "overlap", "recognised", "recall", "by_words")
    return (
        rows.filter(pl.col("stage") == "deployment")
        .group_by(*PLACE, "task", "replicate", "method", "kind", "start", "candidate", maintain_order=True)
        .agg(pl.col("cost", "strong_cost", "tokens").sum(), pl.col(means).mean())
    )


def averages(rows: pl.DataFrame, level: float = 0.05) -> list[dict[str, Any]]:
    """For each method, task and user: mean over replicates of a deployment's total cost, with Student's interval, and of the others."""
    found = []
    keys = (*PLACE, "task", "method", "kind", "start")
    for key, part in totals(rows).group_by(keys, maintain_order=True):
        cost = over_seeds.mean(part["cost"].to_numpy(), level)
        one = dict(zip(keys, key, strict=True)) | {"cost": cost.mean, "low": cost.low, "high": cost.high}
        one |= {"replicates": part.height, "candidate": part["candidate"][0]}
        for name in ("strong_cost", "overlap", "recognised", "tokens", "recall", "by_words"):
            values = part[name].drop_nulls().to_numpy()
            one[name] = float(values.mean()) if len(values) else None
        found.append(one)
    return found


def differences(rows: pl.DataFrame, config: Config) -> list[dict[str, Any]]:
    """PAIRS in the template world with the first mistakes, for each user and task: mean difference of total cost, its interval at
    the divided level, and the replicates that both have."""
    data = totals(rows).filter(world="nano", mistakes=config.mistakes[0])
    level = config.level / (len(PAIRS) * len(config.keep_probs) * len(config.tasks))
    found = []
    for (keep, task), part in data.group_by("keep_prob", "task", maintain_order=True):
        for first, second in PAIRS:
            one, two = (
                part.filter(pl.col("method") == name).select("replicate", "cost") for name in (first, second)
            )
            both = one.join(two, on="replicate", suffix="_two").sort("replicate")
            if not both.height:
                continue
            gap = over_seeds.difference(both["cost"].to_numpy(), both["cost_two"].to_numpy(), level)
            found.append(
                {"keep_prob": keep, "task": task, "first": first, "second": second, "gap": gap.mean, "low": gap.low,
                 "high": gap.high, "sign": gap.sign, "replicates": both.height}
            )  # fmt: skip
    return found


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Costs by user and method, and the differences of PAIRS."""
    found = averages(rows, config.level)
    shown = []
    for keep in config.keep_probs:
        mine = [one for one in found if one["keep_prob"] == keep and one["mistakes"] == config.mistakes[0]]
        columns = [
            *text("world", "task", "method", "start", "candidate"),
            Column("total cost", "cost", ".1f"),
            *numbers(".1f", "low", "high"),
            Column("strong user's", "strong_cost", ".1f"),
            *numbers(".2f", "overlap", "recognised"),
            Column("tokens", "tokens", ",.0f"),
            *numbers(".2f", "recall", "by_words"),
        ]
        shown.append(
            table(
                f"keep_prob {keep:g}: {config.rounds} rounds, means over replicates, 95% intervals",
                columns,
                mine,
            )
        )
    gaps = differences(rows, config)
    columns = [
        *text("task", "first", "second"),
        *numbers(".2g", "keep_prob"),
        Column("difference", "gap", "+.1f"),
        *numbers("+.1f", "low", "high"),
        Column("replicates", "replicates", "d"),
    ]
    family = len(PAIRS) * len(config.keep_probs) * len(config.tasks)
    shown.append(
        table(f"Differences of total cost; level {config.level:g} divided over {family}", columns, gaps)
    )
    clear = sum(bool(one["sign"]) for one in gaps)
    lines = f"{clear} of {len(gaps)} differences leave out 0."
    return Report((*shown, lines), True, {"averages": _finite(found), "differences": _finite(gaps)})


def _finite(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records with null in place of what is not a number (an interval over one replicate)."""
    return [
        {
            name: None if isinstance(value, float) and not np.isfinite(value) else value
            for name, value in one.items()
        }
        for one in records
    ]
