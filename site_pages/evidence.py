"""What committed rows say of a statement: the count over random problems, the hunt, the worst instance."""

import functools
import json
from typing import Any

import numpy as np
import polars as pl

from edittheory.core.statistics import NOTHING, clopper_pearson
from site_pages.gallery import ROWS


@functools.cache
def _rows(experiment: str) -> pl.DataFrame:
    frame = pl.read_parquet(ROWS / experiment / "rows.parquet")
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String))


def counted(name: str) -> tuple[int, int, str] | None:
    """Checks and violations of a statement, and the table by n; None if it is not counted in the committed rows."""
    mine = _rows("bound_verification").filter(pl.col("statement") == name)
    if not mine.height:
        return None
    lines = ["| n | problems | violated [95% interval, worst family] | median bound / realised | realised is 0 |",
             "|---:|---:|---:|---:|---:|"]  # fmt: skip
    for (n,), part in mine.sort("n").group_by("n", maintain_order=True):
        cells = part.group_by("family", maintain_order=True).agg(bad=(~pl.col("holds")).sum(), of=pl.len())
        bad, of = max(cells.select("bad", "of").iter_rows(), key=lambda cell: cell[0] / cell[1])
        low, high = clopper_pearson(bad, of, 0.05)
        useful = part.filter(pl.col("realised") > NOTHING)
        ratio = (useful["bound"].cast(pl.Float64) / useful["realised"].cast(pl.Float64)).median()
        shown = "" if ratio is None else number(float(ratio))  # type: ignore[arg-type]
        lines.append(
            f"| {n:,} | {part.height:,} | {int((~part['holds']).sum())} [{float(low):.2%}, {float(high):.2%}] | {shown} | "
            f"{1 - useful.height / part.height:.0%} |"
        )
    return mine.height, int((~mine["holds"]).sum()), "\n".join(lines)


@functools.cache
def hunted() -> dict[str, dict[str, Any]]:
    """The row of each attacked statement: a refutation where there is one, else the largest ratio; by id."""
    rows = _rows("falsification").sort("refuted", "ratio", descending=True, nulls_last=True)
    return {
        row["statement"]: row
        for row in rows.unique("statement", keep="first", maintain_order=True).iter_rows(named=True)
    }


def number(value: float) -> str:
    """Four digits at most, thousands with commas."""
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    return f"{value:,.0f}" if 100 <= abs(value) < 1e7 else f"{value:.3g}"


def instance(row: dict[str, Any]) -> str:
    """The worst problem that the hunt found, as tables."""
    problem = {
        name: np.asarray(value, float) for name, value in json.loads(row["instance"])["problem"].items()
    }
    if "means" in problem:
        means = ", ".join(number(float(mean)) for mean in problem["means"])
        return f"Mean costs of the policies: {means}; T = {row['n']:,}."
    contexts, responses = problem["log_reference"].shape
    lines = [f"beta = {number(float(problem['beta']))}" + (f", n = {row['n']}" if row["n"] else "")
             + f", {contexts} context{'s' if contexts > 1 else ''}, {responses} responses.", ""]  # fmt: skip
    head = " | ".join(f"y{place + 1}" for place in range(responses))
    for x in range(contexts):
        lines += [f"Context {x + 1}, probability {number(float(problem['context_probs'][x]))}:", "",
                  f"| | {head} |", "|---|" + "---:|" * responses]  # fmt: skip
        optimal = np.exp(problem["log_class"][-1][x])
        laws = [("reference policy", np.exp(problem["log_reference"][x])), ("best policy", optimal),
                ("policy tried", np.exp(problem["probe"][x])), ("expected cost", problem["cost_class"][-1][x])]  # fmt: skip
        laws += [(f"edits of y{y + 1}", problem["user"][x, y]) for y in range(responses)]
        lines += [
            f"| {label} | " + " | ".join(number(float(v)) for v in values) + " |" for label, values in laws
        ] + [""]
    return "\n".join(lines)


def judged(row: dict[str, Any]) -> str:
    """What the search says of the worst problem, by the kind of the statement."""
    if row["kind"] == "deterministic":
        sides = f"left = {number(row['left'])}, right = {number(row['right'])}"
        found = f"There {sides}; 1 is sharp, more than 1 beyond rounding refutes."
    elif row["kind"] == "statistical":
        found = (f"On fresh data it failed in {row['violations']:,} of {row['trials']:,} logs, allowed: {row['allowed']:.0%} "
                 "(the ratio is the quantile that a just-true claim keeps below 1).")  # fmt: skip
    else:
        found = f"Mean over {row['trials']:,} fresh runs." if row["trials"] else ""
    return found + (" **Refuted.**" if row["refuted"] else "")
