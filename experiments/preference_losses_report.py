"""What the rows of `preference_losses` say: tuned means with intervals, scales, weights, pairs needed, and displacement."""

from typing import Any

import numpy as np
import polars as pl

from edittheory.core.statistics import student_half

from .columns import blank
from .experiment import Report

PLAIN = ("SFT", "RL plug-in", "reference")
"""Policies without a number to tune."""


def tuned(rows: pl.DataFrame) -> dict[tuple[str, str, int], dict[str, np.ndarray]]:
    """SubOpt of each world, by (user, class, n) and loss, its number chosen on the other half of the worlds.

    Half of the worlds choose the number of least mean SubOpt for the other half and the other way round, so that no world is
    tested on a number that it helped to choose, and every loss has the same budget.
    """
    found: dict[tuple[str, str, int], dict[str, np.ndarray]] = {}
    study = rows.filter(pl.col("part") == "study")
    for (user, kind, n, loss), mine in study.group_by(["user", "class", "n", "loss"], maintain_order=True):
        table = np.stack(
            [
                part.sort("seed")["suboptimality"].to_numpy().astype(float)
                for _, part in mine.group_by("value", maintain_order=True)
            ]
        )
        table = np.where(np.isfinite(table), table, np.inf)
        half = np.arange(table.shape[1]) % 2
        picks = [int(np.argmin(table[:, half == 1 - side].mean(axis=1))) for side in (0, 1)]
        found.setdefault((str(user), str(kind), int(n)), {})[str(loss)] = table[
            np.asarray(picks)[half], np.arange(table.shape[1])
        ]
    return found


def contest(rows: pl.DataFrame, level: float) -> list[dict[str, Any]]:
    """For each (user, class, n) and loss: mean tuned SubOpt, and its difference from tuned DPO with a paired Student interval.

    The level is divided over all differences.
    """
    found, records = tuned(rows), []
    comparisons = sum(len(each) - 1 for each in found.values())
    for (user, kind, n), each in found.items():
        for loss, values in each.items():
            record = {"user": user, "class": kind, "n": n, "loss": loss, "mean": float(values.mean())}
            if loss != "sigmoid":
                gap = values - each["sigmoid"]
                half = student_half(gap, level / comparisons)
                record |= {"gap": gap.mean(), "low": gap.mean() - half, "high": gap.mean() + half}
            records.append(record)
    return records


def by_value(rows: pl.DataFrame) -> pl.DataFrame:
    """Mean SubOpt of each value of a loss's number, by (user, class, loss, n)."""
    study = rows.filter((pl.col("part") == "study") & pl.col("value").is_not_nan())
    return study.group_by("user", "class", "loss", "n", "value", maintain_order=True).agg(
        pl.col("suboptimality").mean()
    )


def best_values(rows: pl.DataFrame) -> pl.DataFrame:
    """The value of least mean SubOpt of each loss, by (user, class, n)."""
    return (
        by_value(rows)
        .sort("suboptimality")
        .group_by("user", "class", "loss", "n", maintain_order=True)
        .first()
    )


def pairs_needed(rows: pl.DataFrame, share: float) -> list[dict[str, Any]]:
    """Smallest n at which a tuned loss has at most `share` of the reference's mean SubOpt, from there on; None if at no n."""
    means = {key: {name: v.mean() for name, v in each.items()} for key, each in tuned(rows).items()}
    records = []
    for user, kind in dict.fromkeys((user, kind) for user, kind, _ in means):
        sizes = sorted(n for one, other, n in means if (one, other) == (user, kind))
        for loss in means[user, kind, sizes[0]]:
            good = [means[user, kind, n][loss] <= share * means[user, kind, n]["reference"] for n in sizes]
            enough = [n for index, n in enumerate(sizes) if all(good[index:])]
            records.append({"user": user, "class": kind, "loss": loss, "n": min(enough, default=None)})
    return records


def displacement(rows: pl.DataFrame) -> pl.DataFrame:
    """Mean chosen and rejected shift, share of worlds in which the chosen one fell, and SubOpt, by setting."""
    part = rows.filter(pl.col("part") == "displacement")
    return part.group_by("user", "class", "loss", "value", "rate", maintain_order=True).agg(
        pl.col("chosen").mean(),
        pl.col("rejected").mean(),
        pl.col("suboptimality").mean(),
        fell=(pl.col("chosen") < 0).mean(),
        error=pl.col("chosen").std() / pl.len().sqrt(),
    )


def report(rows: pl.DataFrame, config: Any) -> Report:
    """Tuned means by user and class at the largest n, with the best value; displacement at the largest rate."""
    records, most = contest(rows, config.level), max(config.sample_sizes)
    best = {
        tuple(r[:4]): r[4] for r in best_values(rows).select("user", "class", "loss", "n", "value").rows()
    }
    renderables: list[Any] = []
    for kind in ("finite", "log-linear"):
        trials = config.trials if kind == "finite" else config.trained_trials
        title = (
            f"{kind} class, n = {most:,}: mean SubOpt over {trials} worlds, its number tuned on other worlds "
            "(< or > : less or more than DPO's by a paired interval)"
        )
        table = blank(title, ("loss",), config.users)
        mine = [r for r in records if r["class"] == kind and r["n"] == most]
        for loss in dict.fromkeys(r["loss"] for r in mine):
            line = []
            for user in config.users:
                record = next(r for r in mine if (r["user"], r["loss"]) == (user, loss))
                sign = (
                    ""
                    if loss == "sigmoid"
                    else "<"
                    if record["high"] < 0
                    else ">"
                    if record["low"] > 0
                    else "="
                )
                value = best.get((user, kind, loss, most))
                line.append(f"{record['mean']:.4f} {sign} {'' if value is None else f'({value:g})'}")
            table.add_row(loss, *line)
        renderables.append(table)
    moved = displacement(rows)
    title = "Where training takes the edits and the responses (mean nats), weak user, log-linear"
    columns = ("number", "rate", "edit", "response", "worlds in which the edit fell", "SubOpt")
    table = blank(title, ("loss",), columns)
    for row in moved.filter((pl.col("user") == "weak") & (pl.col("class") == "log-linear")).iter_rows(
        named=True
    ):
        numbers = (
            f"{row['chosen']:.2f}",
            f"{row['rejected']:.2f}",
            f"{row['fell']:.0%}",
            f"{row['suboptimality']:.4f}",
        )
        table.add_row(row["loss"], f"{row['value']:g}", f"{row['rate']:g}", *numbers)
    better = [r for r in records if r.get("high", 0.0) < 0 and r["loss"] not in PLAIN]
    closing = (
        f"Tuned alike, another loss has less SubOpt than DPO in {len(better)} of "
        f"{sum('gap' in r and r['loss'] not in PLAIN for r in records)} (user, class, n, loss); paired Student intervals, "
        f"level {config.level:g} divided over all."
    )
    summary = {"contest": records, "best": best_values(rows).to_dicts(), "pairs": pairs_needed(rows, 0.1)}
    return Report((*renderables, table, closing), True, summary)
