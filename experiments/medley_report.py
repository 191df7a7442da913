"""What the rows of the medley experiment say: ratios to the best plain learner of each cell, and violations of certificates."""

from typing import Any

import numpy as np
import polars as pl
from rich.table import Table

from edittheory.core import statistics

from .columns import blank
from .experiment import Report

PLAIN = ("SUP", "PREF", "Early", "RL", "RL plug-in")
CELL = ["track", "space", "panel", "strength", "habit", "noise", "n"]
NEGLIGIBLE = 1e-4
"""A mean SubOpt, in units of cost, below which nothing is left to lose: it takes the place of smaller denominators."""
ROUNDING = 1e-6
SMALL = 300


def ratios(rows: pl.DataFrame, learner: str = "medley") -> pl.DataFrame:
    """For each cell and n: the best plain learner by mean SubOpt, its mean, the learner's mean, and ratio = mean / max(best, NEGLIGIBLE).

    low, high: the ratio's 95% interval over worlds by the delta method, paired; the plain learner is taken as
    given, which favours it: it is the luckiest of five.
    """
    names = [*PLAIN, learner]
    wide = rows.filter(pl.col("learner").is_in(names)).pivot(
        on="learner", index=[*CELL, "seed"], values="suboptimality"
    )
    records = []
    for key, mine in wide.group_by(CELL, maintain_order=True):
        values = {name: mine[name].cast(pl.Float64).to_numpy() for name in names}
        best = min(PLAIN, key=lambda name: values[name].mean())
        ours, theirs = values[learner], values[best]
        least = max(float(theirs.mean()), NEGLIGIBLE)
        ratio = float(ours.mean()) / least
        # Below NEGLIGIBLE the denominator is a constant.
        varying = theirs if least > NEGLIGIBLE else np.zeros_like(theirs)
        error = (ours - ratio * varying).std(ddof=1) / np.sqrt(len(ours)) / least
        records.append(
            dict(zip(CELL, key, strict=True))
            | {"best": best, "best_mean": float(theirs.mean()), "mean": float(ours.mean()), "ratio": ratio}
            | {"low": ratio - 1.96 * float(error), "high": ratio + 1.96 * float(error)}
        )
    return pl.DataFrame(records)


def live(table: pl.DataFrame) -> pl.DataFrame:
    """The cells in which something is left to lose."""
    return table.filter((pl.col("best_mean") > NEGLIGIBLE) | (pl.col("mean") > NEGLIGIBLE))


def goal(table: pl.DataFrame) -> dict[str, Any]:
    """The goal's figures over the live cells: share within 10%, share significantly above, worst cell, mean ratio under balance."""
    shown = live(table)
    worst = shown.sort("ratio").tail(1).row(0, named=True)
    balanced = shown.filter((pl.col("habit") == 0) & (pl.col("n") <= SMALL))
    return {
        "cells": len(shown),
        "within": float((shown["ratio"] <= 1.1).to_numpy().mean()),
        "clearly_above": float((shown["low"] > 1.1).to_numpy().mean()),
        "worst": worst,
        "geometric_mean": float(np.exp(np.log(np.maximum(shown["ratio"].to_numpy(), 1e-3)).mean())),
        "balanced_cells": len(balanced),
        "balanced": float(balanced["ratio"].to_numpy().mean()) if len(balanced) else float("nan"),
    }


def violations(rows: pl.DataFrame, level: float, delta: float) -> list[dict[str, Any]]:
    """Each kind of certificate against its claim, over worlds: wrong at any n of the log (anytime), all cells of a kind pooled.

    "always": V_C, in every cell. "if balanced": the set of both, in cells without a habit, where it claims to
    hold, and with one, where it does not.
    """
    medley = rows.filter(learner="medley", track="finite")
    found = []
    for name, column, part, claimed in (
        ("always", "certificate", medley, True),
        ("if balanced", "certificate_if_balanced", medley.filter(pl.col("habit") == 0), True),
        ("if balanced, habit", "certificate_if_balanced", medley.filter(pl.col("habit") > 0), False),
    ):
        if not len(part):
            continue
        wrong = (pl.col("suboptimality") > pl.col(column) + ROUNDING).fill_null(False)
        worlds = part.with_columns(wrong=wrong).group_by("panel", "strength", "habit", "noise", "seed")
        flags = worlds.agg(pl.col("wrong").any())["wrong"].to_numpy()
        verdict = statistics.violation_check(int(flags.sum()), len(flags), delta, level)
        tight = part.filter(pl.col(column).is_not_null() & (pl.col("suboptimality") > NEGLIGIBLE))
        factor: Any = (tight[column] / tight["suboptimality"]).median()
        found.append(
            {
                "certificate": name,
                "claimed": claimed,
                "worlds": len(flags),
                "rate": verdict.rate,
                "upper": verdict.upper,
                "refuted": verdict.violated,
                "issued": float(part[column].is_not_null().to_numpy().mean()),
                "median_factor": None if factor is None else float(factor),
            }
        )
    return found


def _ratio_table(title: str, table: pl.DataFrame, index: list[str]) -> Table:
    sizes = sorted(table["n"].unique().to_list())
    shown = blank(title, index, [f"n = {n:,}" for n in sizes])
    for key, mine in table.group_by(index, maintain_order=True):
        by_size = {row["n"]: row for row in mine.iter_rows(named=True)}
        cells = []
        for n in sizes:
            row = by_size[n]
            idle = max(row["best_mean"], row["mean"]) <= NEGLIGIBLE
            cells.append(
                "-" if idle else f"{row['ratio']:.2f} ±{row['high'] - row['ratio']:.2f} {row['best']}"
            )
        shown.add_row(*(f"{each:g}" if isinstance(each, float) else str(each) for each in key), *cells)
    return shown


def _prototype_table(rows: pl.DataFrame) -> Table:
    names = ("PREF", "RL plug-in", "RL", "posterior PREF", "posterior cost", "prototype", "medley")
    headings = "habit", "n", *names, "its certificate (median)"
    shown = blank("The prototype's table (theory.md B7): mean SubOpt", (), headings)
    for (habit, n), mine in rows.filter(pl.col("panel") == "prototype").group_by(
        "habit", "n", maintain_order=True
    ):
        means = dict(
            mine.group_by("learner").agg(pl.col("suboptimality").cast(pl.Float64).mean()).iter_rows()
        )
        bound: Any = mine.filter(pl.col("learner") == "medley")["certificate"].median()
        shown.add_row(
            f"{habit:g}",
            f"{n:,}",
            *(f"{means[name]:.4f}" for name in names),
            "-" if bound is None else f"{bound:.4f}",
        )
    return shown


def report(rows: pl.DataFrame, config) -> Report:
    """Ratios to the best plain learner, the goal's figures, the prototype's table, certificates; ok if no certificate is refuted."""
    table = ratios(rows)
    finite = table.filter(track="finite", panel="grid")
    linear = table.filter(pl.col("track") == "linear")
    renderables: list[Any] = []
    summary: dict[str, Any] = {}
    lines = []
    if len(finite):
        renderables.append(
            _ratio_table(
                "Finite classes: mean SubOpt of the medley over that of the best plain learner of the cell (named)",
                finite,
                ["strength", "habit", "noise"],
            )
        )
        for learner in ("medley", "prototype", "posterior cost", "oracle"):
            other = ratios(rows, learner).filter(track="finite", panel="grid")
            summary[f"finite {learner}"] = goal(other)
        renderables.append(_prototype_table(rows))
    for space in linear["space"].unique(maintain_order=True):
        mine = linear.filter(pl.col("space") == space)
        renderables.append(
            _ratio_table(
                f"Log-linear classes, {space}: the same", mine, ["panel", "strength", "habit", "noise"]
            )
        )
        summary[f"linear {space} medley"] = goal(mine)
        if "medley by risk" in rows["learner"]:
            other = ratios(rows, "medley by risk").filter(track="linear", space=space)
            summary[f"linear {space} medley by risk"] = goal(other)
    for name, found in summary.items():
        worst = found["worst"]
        where = f"strength {worst['strength']:g}, habit {worst['habit']:g}, noise {worst['noise']:g}, n {worst['n']:,}"
        lines.append(
            f"{name}: within 10% of the best plain learner in {found['within']:.1%} of {found['cells']} cells (clearly above in "
            f"{found['clearly_above']:.1%}), worst {worst['ratio']:.2f} ({where}), geometric mean {found['geometric_mean']:.2f}; "
            f"balanced, n <= {SMALL}: {found['balanced']:.2f} on average"
        )
    checks = violations(rows, config.level, config.delta)
    for check in checks:
        verdict = "refuted" if check["refuted"] else "holds"
        claim = f"claims {config.delta:.0%}: {verdict}" if check["claimed"] else "claims nothing"
        factor = (
            "" if check["median_factor"] is None else f", median {check['median_factor']:.1f} times SubOpt"
        )
        lines.append(
            f"certificate {check['certificate']}: wrong at some n in {check['rate']:.2%} of {check['worlds']} logs ({claim}); issued in "
            f"{check['issued']:.1%}{factor}"
        )
    ok = not any(check["refuted"] for check in checks if check["claimed"])
    return Report((*renderables, "\n".join(lines)), ok, {"goal": summary, "certificates": checks})
