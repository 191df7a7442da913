"""The table of the hunt: the worst instance of every statement, and whether its verdict is as it should be."""

from typing import Any

import polars as pl
import rich.box
import rich.markup
from rich.table import Table

from edittheory.claims.exact import attackable
from edittheory.claims.hunt import attackable_random, falsify_bandits

from .experiment import Report

SEARCH = {"deterministic": "gradient", "statistical": "evolution", "bandit": "evolution"}


def worst(rows: pl.DataFrame) -> pl.DataFrame:
    """One row for each statement: a refutation where there is one, else the largest ratio; in the order of the registry."""
    order = {name: place for place, name in enumerate(names())}
    return (
        rows.with_columns(place=pl.col("statement").replace_strict(order, default=len(order)))
        .sort("place", "refuted", "ratio", descending=[False, True, True], nulls_last=True)
        .with_columns(attempts=pl.col("attempts").sum().over("statement"))
        .unique("statement", keep="first", maintain_order=True)
        .drop("place")
    )


def names() -> list[str]:
    """All statements in the order of the table: true ones by source, then the mutants."""
    true: list[Any] = [*attackable.TRUE, *attackable_random.TRUE, *falsify_bandits.TRUE]
    false: list[Any] = [*attackable.MUTANTS, *attackable_random.MUTANTS, *falsify_bandits.MUTANTS]
    return [attack.name for attack in (*true, *false)]


def report(rows: pl.DataFrame, config: Any) -> Report:
    """The table; not ok if a true statement is refuted or a mutant survives."""
    best = worst(rows)
    table = Table(
        title="The worst instance found for every statement, and for statements that are false on purpose",
        title_justify="left",
        box=rich.box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for name in ("statement", "claim", "search"):
        table.add_column(name, no_wrap=True, max_width=48 if name == "claim" else None)
    for name in ("attempts", "left / right", "bad / allowed"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    records = []
    for row in best.iter_rows(named=True):
        counts = ""
        if row["violations"] is not None:
            counts = f"{row['violations'] / row['trials']:.1%} / {row['allowed']:.1%}"
        verdict = "refuted" if row["refuted"] else "stands"
        wrong = row["refuted"] != row["mutant"]
        cells_ = [
            row["statement"],
            row["claim"],
            SEARCH[row["kind"]],
            f"{row['attempts']:,}",
            _number(row),
            counts,
        ]
        table.add_row(*map(rich.markup.escape, cells_), verdict + (" WRONGLY" if wrong else ""))
        records.append(
            {name: row[name] for name in ("statement", "claim", "kind", "mutant", "n", "attempts", "ratio")}
            | {"verdict": verdict, "wrong": wrong}
        )
    refuted = [r["statement"] for r in records if r["wrong"] and not r["mutant"]]
    survive = [r["statement"] for r in records if r["wrong"] and r["mutant"]]
    mutants = sum(record["mutant"] for record in records)
    closing = (
        f"{len(records) - mutants} true statements, "
        f"{'REFUTED: ' + ', '.join(refuted) if refuted else 'none refuted'}; {mutants} false ones, "
        f"{'SURVIVED: ' + ', '.join(survive) if survive else 'all refuted'}.\n"
        "left / right: at the worst instance; 1 is a sharp bound, of identities it is the error over what float64 rounding may do; of "
        "statistical statements the quantile at the claimed\nlevel over fresh data sets; of B4 the mean over runs. attempts: points "
        "visited (gradient ascent) or problems tried."
    )
    summary = {"statements": records, "refuted": refuted, "survived": survive}
    return Report((table, closing), not refuted and not survive, summary)


def _number(row: dict[str, Any]) -> str:
    ratio = row["ratio"]
    if ratio >= 1e4:
        return f"{ratio:.0e}".replace("e+0", "e")
    return f"{ratio:.1e}".replace("e-0", "e-") if ratio < 1e-3 else f"{ratio:.3f}"
