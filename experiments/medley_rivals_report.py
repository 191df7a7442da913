"""What the rows of medley_rivals say: each rule against the best plain learner of each cell, and the medley against cross-validation."""

from typing import Any

import numpy as np
import polars as pl

from .columns import blank
from .experiment import Report
from .medley_report import CELL, NEGLIGIBLE, PLAIN, live, ratios

RULES = (
    "medley",
    "medley by risk",
    "CV",
    "CV, doubly robust",
    "CV, all losses",
    "M4, a quarter held out",
    "M4, half held out",
    "M4, no split",
)
GROUPS = {
    "finite, exact costs": ("finite", "strings", 0.0),
    "finite, noisy costs": ("finite", "strings", 1.0),
    "log-linear, strings": ("linear", "strings", None),
    "log-linear, sentences": ("linear", "text", None),
    "networks": ("network", "strings", None),
}
"""Names of groups of cells: track, space, and noise where a group has one only."""


def part(rows: pl.DataFrame, group: str) -> pl.DataFrame:
    """The rows of a group."""
    track, space, noise = GROUPS[group]
    found = rows.filter(track=track, space=space)
    return found if noise is None else found.filter(pl.col("noise") == noise)


def figures(table: pl.DataFrame) -> dict[str, Any]:
    """Of the ratios of one rule: cells that are live, share within 1.1, share clearly above, worst, geometric mean."""
    shown = live(table)
    worst = shown.sort("ratio").tail(1).row(0, named=True)
    return {
        "cells": len(shown),
        "within": float((shown["ratio"] <= 1.1).to_numpy().mean()),
        "above": float((shown["low"] > 1.1).to_numpy().mean()),
        "worst": float(worst["ratio"]),
        "where": {name: worst[name] for name in ("panel", "strength", "habit", "noise", "n", "best")},
        "middle": float(np.exp(np.log(np.maximum(shown["ratio"].to_numpy(), 1e-3)).mean())),
    }


def duel(rows: pl.DataFrame, one: str, other: str) -> dict[str, Any]:
    """Cells in which the paired 95% interval (over problems) of the difference of SubOpt is below 0, above 0, and all that are live."""
    wide = rows.filter(pl.col("learner").is_in([one, other])).pivot(
        on="learner", index=[*CELL, "seed"], values="suboptimality"
    )
    better = worse = total = 0
    logs = []
    for _, mine in wide.group_by(CELL, maintain_order=True):
        ours, theirs = (mine[name].cast(pl.Float64).to_numpy() for name in (one, other))
        if max(ours.mean(), theirs.mean()) <= NEGLIGIBLE:
            continue
        gap = ours - theirs
        error = 1.96 * gap.std(ddof=1) / np.sqrt(len(gap))
        total += 1
        better += bool(gap.mean() + error < 0)
        worse += bool(gap.mean() - error > 0)
        logs.append(np.log(max(ours.mean(), NEGLIGIBLE) / max(theirs.mean(), NEGLIGIBLE)))
    return {"better": better, "worse": worse, "cells": total, "ratio": float(np.exp(np.mean(logs)))}


def report(rows: pl.DataFrame, config) -> Report:
    """A table for each group of cells; the medley against each rule. Always ok: nothing is claimed."""
    summary: dict[str, Any] = {}
    renderables: list[Any] = []
    for group in GROUPS:
        mine = part(rows, group)
        if not len(mine):
            continue
        names = [name for name in mine["learner"].unique(maintain_order=True) if name not in PLAIN]
        ordered = [*(name for name in RULES if name in names), *(name for name in names if name not in RULES)]
        found = {name: figures(ratios(mine, name)) for name in ordered}
        against = {name: duel(mine, "medley", name) for name in ordered if name != "medley"}
        summary[group] = {"rules": found, "medley against": against}
        columns = (
            "within 1.1",
            "clearly above",
            "worst",
            "geometric mean",
            "medley clearly better",
            "worse",
            "medley / rule",
        )
        table = blank(
            f"{group}: mean SubOpt over that of the best plain learner of each cell", ("rule",), columns
        )
        for name, each in found.items():
            versus = against.get(name)
            last = ("", "", "") if versus is None else (
                f"{versus['better']} of {versus['cells']}", str(versus["worse"]), f"{versus['ratio']:.2f}"
            )  # fmt: skip
            own = f"{each['within']:.0%} of {each['cells']}", f"{each['above']:.0%}", f"{each['worst']:.2f}"
            table.add_row(name, *own, f"{each['middle']:.2f}", *last)
        renderables.append(table)
    return Report(tuple(renderables), True, summary)
