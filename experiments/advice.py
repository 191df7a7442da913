"""Is the advice of `edittheory log advise` good? Its regret against always-SFT, always-DPO and always-both, and its stated error.

On simulated logs of known truth, of users whose parameters and keys the rule was not tuned on.
"""

import dataclasses
import itertools
from typing import Any

import numpy as np
import polars as pl

from edittheory.core import statistics
from edittheory.logs.advice import rule
from edittheory.logs.advice.judging import Judgement
from edittheory.logs.advice.proxies import LEARNERS

from . import advice_logs, advice_tuning
from .columns import blank
from .experiment import Experiment, Report

RIVALS = ("SFT", "DPO", "SFT+DPO")
"""What the advice must beat."""
ALSO = ("cost regression", "held-out choice", "reference")
"""What it is compared to besides."""


@dataclasses.dataclass(frozen=True)
class Config(advice_tuning.Config):
    """As for tuning. level: chance, over all comparisons of the report, of a statement that is not so."""

    level: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        statistics.check_level(self.level)


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows as for tuning, with the advice: advised, SubOpt of it (advice) and of the held-out choice, separated, wrong, more.

    separated: how many of the others are told apart from the advised one; wrong: one of these is better by more than the tolerance;
    more: edits that would separate all, by the forecast (null: beyond it).
    """
    logs = advice_logs.simulate(config, cell["family"], cell["user"], "test", key)
    rows = [row_of(log, cell, *advice_tuning.measure(log, cell["family"])) for log in logs]
    return pl.DataFrame(rows, schema_overrides={"more": pl.Int64})


def row_of(log: advice_logs.Log, cell: dict, judged: Judgement, seen: np.ndarray) -> dict[str, Any]:
    """A row of `run_cell`."""
    decision = rule.decide(rule.load(advice_tuning.KIND[cell["family"]]), seen)
    losses = np.array([log.suboptimality[name] for name in LEARNERS])
    allowed = rule.TOLERANCE * log.suboptimality["reference"]
    return {
        **advice_tuning.row_of(log, cell, seen),
        "advised": LEARNERS[decision.advised],
        "advice": float(losses[decision.advised]),
        "held-out choice": float(losses[judged.value.argmin()]),
        "separated": int(decision.separated.sum()),
        "wrong": bool(np.any(decision.separated & (losses < losses[decision.advised] - allowed))),
        "more": decision.more,
        "outside": len(decision.outside),
    }


def by_world(rows: pl.DataFrame) -> pl.DataFrame:
    """Means over the sizes of one world's log: worlds are independent, the logs of one world are not."""
    names = ["advice", *LEARNERS, "held-out choice", "reference"]
    return rows.group_by("family", "user", "setting", "seed", maintain_order=True).agg(pl.col(names).mean())


def comparisons(rows: pl.DataFrame, config: Config) -> list[dict[str, Any]]:
    """For each family, all users together and each type: means, and what each rival's SubOpt exceeds the advice's by, with intervals.

    Bootstrap over worlds; the level is divided over all comparisons with RIVALS.
    """
    worlds = by_world(rows)
    groups = [
        ((family, "all users"), mine) for (family,), mine in worlds.group_by("family", maintain_order=True)
    ]
    groups += [(key, mine) for key, mine in worlds.group_by("family", "user", maintain_order=True)]
    level, found = config.level / (len(groups) * len(RIVALS)), []
    for (family, user), mine in groups:
        rng = np.random.default_rng(config.seed)
        excess = {
            name: tuple(
                statistics.bootstrap(
                    mine[name].to_numpy() - mine["advice"].to_numpy(), rng, level=level, method="percentile"
                )
            )
            for name in (*RIVALS, *ALSO)
        }
        means = {name: float(mine[name].mean()) for name in ("advice", *RIVALS, *ALSO)}  # type: ignore[arg-type]
        best = float(mine.select(pl.min_horizontal(LEARNERS)).to_series().mean())  # type: ignore[arg-type]
        found.append({
            "family": family, "user": user, "worlds": mine.height, "means": means, "best": best, "excess": excess,
            "below": [name for name in RIVALS if excess[name][1] > 0],
            "above": [name for name in RIVALS if excess[name][2] < 0],
        })  # fmt: skip
    return found


def errors(rows: pl.DataFrame, config: Config) -> list[dict[str, Any]]:
    """Share of wrong separations for each family and n, whose logs are independent, with an exact interval and the verdict."""
    groups = list(rows.group_by("family", "n", maintain_order=True))
    found = []
    for (family, n), mine in groups:
        verdict = statistics.violation_check(
            int(mine["wrong"].sum()), mine.height, rule.DELTA, config.level / len(groups)
        )
        low, high = statistics.clopper_pearson(verdict.violations, mine.height, config.level / len(groups))
        whole = float((mine["separated"] == len(LEARNERS) - 1).mean())  # type: ignore[arg-type]
        found.append({
            "family": family, "n": n, "logs": mine.height, "wrong": verdict.rate, "low": float(low), "high": float(high),
            "refuted": verdict.violated, "separated": whole, "some": float((mine["separated"] > 0).mean()),  # type: ignore[arg-type]
        })  # fmt: skip
    return found


def forecasts(rows: pl.DataFrame, config: Config) -> list[dict[str, Any]]:
    """Of logs that were not separated but forecast to be by the next size: how many were then; and of those forecast not to be."""
    sizes = sorted(config.sample_sizes)
    found = []
    for now, later in itertools.pairwise(sizes):
        keys = ["family", "user", "setting", "seed"]
        both = rows.filter(pl.col("n") == now).join(
            rows.filter(pl.col("n") == later), on=keys, suffix=" later"
        )
        both = both.filter(pl.col("separated") < len(LEARNERS) - 1)
        soon = (pl.col("more") <= later - now).fill_null(False)
        for name, mine in (("by then", both.filter(soon)), ("not by then", both.filter(~soon))):
            if mine.height:
                count = int((mine["separated later"] == len(LEARNERS) - 1).sum())
                low, high = statistics.clopper_pearson(count, mine.height, config.level)
                found.append({"n": now, "later": later, "forecast": name, "logs": mine.height, "separated": count / mine.height,
                              "low": float(low), "high": float(high)})  # fmt: skip
    return found


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Regrets and errors; not ok unless the advice is below each rival over all users of a family and no stated error is refuted."""
    compared, wrong, soon = comparisons(rows, config), errors(rows, config), forecasts(rows, config)
    title = f"{rows.height:,} logs: mean SubOpt in thousandths; * the advice is below it, ! above it"
    table = blank(title, ("family", "user"), ("worlds", "best", "advice", *RIVALS, *ALSO))
    for one in compared:
        marks = {
            name: "*" if name in one["below"] else "!" if name in one["above"] else "" for name in RIVALS
        }
        values = [
            f"{1e3 * one['means'][name]:.2f}{marks.get(name, '')}" for name in ("advice", *RIVALS, *ALSO)
        ]
        table.add_row(one["family"], one["user"], str(one["worlds"]), f"{1e3 * one['best']:.2f}", *values)
    columns = ("n", "logs", "wrong", "all separated", "some separated", "")
    second = blank(f"Wrong separations (stated: at most {rule.DELTA:g})", ("family",), columns)
    for each in wrong:
        rate = f"{each['wrong']:.1%} [{each['low']:.1%}, {each['high']:.1%}]"
        verdict = "refuted" if each["refuted"] else "holds"
        shares = (f"{each['separated']:.0%}", f"{each['some']:.0%}")
        second.add_row(each["family"], f"{each['n']:,}", f"{each['logs']:,}", rate, *shares, verdict)
    lines = [
        f"n = {one['n']:,}: of {one['logs']:,} logs forecast to separate {one['forecast']} (n = {one['later']:,}), "
        f"{one['separated']:.0%} [{one['low']:.0%}, {one['high']:.0%}] did."
        for one in soon
    ]
    short = [
        one["family"] for one in compared if one["user"] == "all users" and len(one["below"]) < len(RIVALS)
    ]
    bad = any(one["refuted"] for one in wrong)
    closing = f"Intervals: bootstrap over worlds and exact binomial, level {config.level:g} divided over the comparisons of a table."
    summary = {"comparisons": compared, "errors": wrong, "forecasts": soon}
    return Report((table, second, *lines, closing), not short and not bad, summary)


EXPERIMENT = Experiment(
    name="advice",
    summary="regret and stated error of `edittheory log advise` on simulated logs of known truth",
    config_class=Config,
    presets={
        "quick": Config(settings=2, trials=4),
        "standard": Config(),
        "paper": Config(settings=30, trials=20),
    },
    times={
        "quick": "2 minutes on 1 CPU core",
        "standard": "5 minutes on a busy CPU core",
        "paper": "half an hour on 1 CPU core",
    },
    cells=advice_tuning.cells,
    run_cell=run_cell,
    report=report,
)
