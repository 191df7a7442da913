"""The report of `tiny_llm`: the paper's table beside ours, what agrees, and what else is worth a look."""

from typing import Any

import polars as pl
from rich.table import Table

from edittheory.language.evaluate import summaries

from .experiment import Report
from .tiny_llm_config import Config


def main_table(rows: pl.DataFrame, test_user: str) -> tuple[Table, dict[str, Any]]:
    """Mean cost by method and setting with the worst gap, and the same as data."""
    found = summaries.scores(rows, test_user)
    means, spreads, gaps = found.means(), found.spreads(), found.gaps()
    table = Table(
        title=f"Mean edit cost an episode, test user {test_user}; +- is the standard deviation over {len(found.seeds)} seeds",
        title_justify="left",
    )
    table.add_column("method")
    for task, user in found.settings:
        table.add_column(f"{task}/{user}", justify="right")
    table.add_column("mean", justify="right")
    table.add_column("Max SubOpt", justify="right")
    for name in found.methods:
        each = means[name]
        table.add_row(
            name,
            *(f"{each[s]:.3f} +-{spreads[name][s]:.3f}" for s in found.settings),
            f"{sum(each.values()) / len(each):.3f}",
            f"{gaps[name][0]:.3f} +-{gaps[name][1]:.3f}",
        )
    data = {
        name: {
            "cost": {"/".join(s): value for s, value in means[name].items()},
            "max_subopt": gaps[name][0],
        }
        for name in found.methods
    }
    return table, data


def quality_table(rows: pl.DataFrame) -> Table:
    """Fact recall, loops, texts without an end and length of every policy, by training user."""
    mine = summaries.full_log(rows).filter(
        (pl.col("kind") == "policy") & (pl.col("test_user") == pl.col("test_user").first())
    )
    table = Table(
        title="Responses: fact recall, share with a loop, share without an end, words", title_justify="left"
    )
    for column in (
        "task",
        "user",
        "method",
        "recall",
        "loops",
        "no end",
        "words",
        "held-out cost",
        "held-out loss",
    ):
        table.add_column(column, justify="left" if column in ("task", "user", "method") else "right")
    grouped = mine.group_by("task", "train_user", "method", maintain_order=True).agg(
        pl.col("recall", "loops", "length", "held_cost", "held_loss").mean(),
        (~pl.col("ended")).mean().alias("open"),
    )
    for row in grouped.iter_rows(named=True):
        table.add_row(
            row["task"],
            row["train_user"],
            row["method"],
            f"{row['recall']:.2f}",
            f"{row['loops']:.2f}",
            f"{row['open']:.2f}",
            f"{row['length']:.0f}",
            f"{row['held_cost']:.3f}",
            f"{row['held_loss']:.3f}",
        )
    return table


def report(rows: pl.DataFrame, config: Config) -> Report:
    """The tables for the strong test user and the transfer user, quality of the responses, and the claims tried."""
    parts: list[Any] = []
    summary: dict[str, Any] = {}
    for user in ("strong", "transfer"):
        if user not in config.test_users:
            continue
        table, data = main_table(rows, user)
        parts.append(table)
        summary[user] = {"table": data}
        found = summaries.scores(rows, user)
        if set(found.settings) == set(summaries.SETTINGS):
            lines = summaries.comparison(found.means(), user)
            summary[user]["claims"] = lines
            parts.append("\n".join(lines))
    parts.append(quality_table(rows))
    return Report(tuple(parts), True, summary)
