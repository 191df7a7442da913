"""From rows of `keep_prob_study`: the cost of each learner by strength of its training user, and orderings paired by seed."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from edittheory.language.evaluate import over_seeds
from edittheory.language.evaluate.over_seeds import Mean

METHODS = ("base", "SFT", "DPO", "Mix", "Early", "Late", "Late, theory", "best arm")

WEAK = 0.4
"""The weak user of the tables: chance to fix an item."""

ORDERINGS: Mapping[str, tuple[str, str]] = {
    "DPO costs less than SFT": ("DPO", "SFT"),
    "Early costs less than SFT": ("Early", "SFT"),
    "Early costs less than DPO": ("Early", "DPO"),
    "Mix costs less than SFT": ("Mix", "SFT"),
    "Mix costs less than Early": ("Mix", "Early"),
    "Late costs less than Early": ("Late", "Early"),
    "doing nothing costs less than DPO": ("base", "DPO"),
}
"""Orderings of two methods, the cheaper first. In the paper the first holds on weak edits and, in summarization, not on strong ones."""


class Verdict(NamedTuple):
    """An ordering for one task and training user: the gap (dearer less cheaper), and in how many of the seeds it is positive."""

    ordering: str
    task: str
    keep_prob: float
    gap: Mean
    seeds: int


def costs(
    rows: pl.DataFrame,
    keep_prob: float,
    task: str,
    method: str,
    test_user: str = "strong",
    rule: str = "cost",
) -> pl.Series:
    """Mean cost of a method in each replicate, in their order. Raises ValueError if there are no such rows."""
    mine = rows.filter(
        (pl.col("kind") != "candidate")
        & (pl.col("keep_prob") == keep_prob)
        & (pl.col("task") == task)
        & (pl.col("method") == method)
        & (pl.col("test_user") == test_user)
        & (pl.col("rule") == rule)
    )
    if mine.is_empty():
        raise ValueError(
            f"rows hold no {method!r} chosen by {rule!r} for {task!r} at keep_prob {keep_prob:g}"
        )
    return mine.sort("replicate")["cost"]


def users(rows: pl.DataFrame) -> list[tuple[str, float]]:
    """(task, keep_prob) of the rows chosen by cost: task by task, the strongest user first."""
    mine = rows.filter(pl.col("rule") == "cost").select("task", "keep_prob").unique()
    tasks = rows["task"].unique(maintain_order=True).to_list()
    return sorted(mine.rows(), key=lambda user: (tasks.index(user[0]), -user[1]))


def verdict(
    rows: pl.DataFrame,
    task: str,
    keep_prob: float,
    ordering: str,
    test_user: str = "strong",
    rule: str = "cost",
) -> Verdict:
    """One of ORDERINGS for one training user, both candidates chosen by the same rule."""
    cheaper, dearer = (costs(rows, keep_prob, task, name, test_user, rule) for name in ORDERINGS[ordering])
    gap = over_seeds.difference(dearer, cheaper)
    return Verdict(ordering, task, keep_prob, gap, int((dearer > cheaper).sum()))


def verdicts(rows: pl.DataFrame, test_user: str = "strong") -> list[Verdict]:
    """All of ORDERINGS for all training users."""
    return [verdict(rows, *user, name, test_user) for name in ORDERINGS for user in users(rows)]


def facts(rows: pl.DataFrame, keep_prob: float, task: str) -> dict[str, float]:
    """Means over replicates of what is known of a user's log: gamma_min, reach (mean and at the worst source), share edited."""
    names = ("log_gamma", "log_reach", "log_reach_worst", "log_edited")
    mine = rows.filter(rule="cost", test_user="strong", keep_prob=keep_prob, task=task, method="base")
    return {name: mine[name].mean() for name in names}  # type: ignore[misc]


def two_users(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows chosen by cost of the strong user and of the weak one of WEAK, in the form of `tiny_llm`'s for `summaries`."""
    mine = rows.filter(
        (pl.col("rule") == "cost") & (pl.col("kind") != "candidate") & pl.col("keep_prob").is_in([1.0, WEAK])
    )
    nought = [pl.lit(0).alias(name) for name in ("train_seed", "seed", "n")]
    return mine.rename({"replicate": "base_seed"}).with_columns(*nought)


class RuleGap(NamedTuple):
    """What choosing a family's candidate by held-out log-loss costs, and how much more that is than by replayed cost."""

    task: str
    keep_prob: float
    method: str
    by_loss: float
    gap: Mean


def rule_gaps(rows: pl.DataFrame) -> list[RuleGap]:
    """One for each tuned user, task and family, over the (first) replicates that have both."""
    known = rows.filter(
        (pl.col("rule") == "loss") & (pl.col("kind") == "policy") & (pl.col("method") != "base")
    )
    found = []
    for keep, task, method in known.select("keep_prob", "task", "method").unique(maintain_order=True).rows():
        first = costs(rows, keep, task, method, rule="loss")
        gap = over_seeds.difference(first, costs(rows, keep, task, method)[: len(first)])
        found.append(RuleGap(task, keep, method, float(first.to_numpy().mean()), gap))
    return found


def chosen(rows: pl.DataFrame) -> dict[tuple[str, float, str], str]:
    """(rule, keep_prob, family) -> the candidate that stands for the family."""
    mine = rows.filter((pl.col("kind") == "policy") & (pl.col("method") != "base"))
    found = mine.select("rule", "keep_prob", "method", "candidate").unique(maintain_order=True)
    return {row[:3]: row[3] for row in found.iter_rows()}


def as_data(verdicts: list[Verdict]) -> list[dict[str, Any]]:
    """Verdicts as plain data."""
    return [one._asdict() | {"gap": one.gap._asdict()} for one in verdicts]
