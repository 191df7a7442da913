"""The report of `tiny_llm`: the paper's table beside ours, what agrees, and what else is worth a look."""

from typing import Any

import polars as pl
from rich.table import Table

from edittheory.language.evaluate import summaries

from .columns import Column, blank, numbers, table
from .experiment import Report
from .tiny_llm_config import Config


def main_table(rows: pl.DataFrame, test_user: str) -> tuple[Table, dict[str, Any]]:
    """Mean cost by method and setting with the worst gap, and the same as data."""
    found = summaries.scores(rows, test_user)
    means, spreads, gaps = found.means(), found.spreads(), found.gaps()
    table = blank(
        f"Mean edit cost an episode, test user {test_user}; +- is the standard deviation over {len(found.seeds)} seeds",
        ("method",),
        (*(f"{task}/{user}" for task, user in found.settings), "mean", "Max SubOpt"),
    )
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
    grouped = mine.group_by("task", "train_user", "method", maintain_order=True).agg(
        pl.col("recall", "loops", "length", "held_cost", "held_loss").mean(),
        (~pl.col("ended")).mean().alias("open"),
    )
    columns = [
        Column("task"), Column("user", "train_user"), Column("method"), *numbers(".2f", "recall", "loops"),
        Column("no end", "open", ".2f"), Column("words", "length", ".0f"), Column("held-out cost", "held_cost", ".3f"),
        Column("held-out loss", "held_loss", ".3f"),
    ]  # fmt: skip
    title = "Responses: fact recall, share with a loop, share without an end, words"
    return table(title, columns, grouped.iter_rows(named=True))


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
