"""Logs on which the rule of `edittheory log advise` is tuned: their statistics, and what each learner makes of them.

`python -m experiments.advice_tuning FOLDER` fits the rule to the rows in FOLDER and writes edittheory/logs/advice/rule.json.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.optimize
import scipy.special
from rich.table import Table

from edittheory.core.validation import check_each, check_in, check_int
from edittheory.logs.advice import judging, rule, statistics
from edittheory.logs.advice.proxies import LEARNERS
from edittheory.logs.advice.rule import Rule

from . import advice_logs
from .experiment import Experiment, Report

KIND = {"log-linear": "features", "finite": "policies"}
"""The rule that each family of logs is for."""
PENALTY = 1e-3
"""On the squares of the rule's weights."""
ALLOWED = 0.08
"""Largest share of tuning logs, in any type of user, with a wrong separation: less than is stated."""


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell for each family and type of user: for each of `settings` parameters `trials` worlds, from each a log of every size."""

    families: tuple[str, ...] = tuple(advice_logs.FAMILIES)
    sample_sizes: tuple[int, ...] = (50, 200, 800)
    settings: int = 8
    trials: int = 6
    num_contexts: int = 3
    num_features: int = 8
    num_candidates: int = 32
    num_letters: int = 2
    max_length: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        check_each("families", self.families, check_in, tuple(advice_logs.FAMILIES))
        check_each("sample_sizes", self.sample_sizes, check_int, 20, 10**6)
        for name, least in (
            ("settings", 1),
            ("trials", 2),
            ("num_contexts", 1),
            ("num_features", 2),
            ("num_candidates", 2),
        ):
            check_int(name, getattr(self, name), least, 10**5)
        check_int("num_letters", self.num_letters, 1, 26)
        check_int("max_length", self.max_length, 1, 8)


def cells(config: Any) -> list[dict]:
    """One cell for each family and type of user."""
    return [
        {"family": family, "user": user}
        for family in config.families
        for user in advice_logs.FAMILIES[family]
    ]


def measure(log: advice_logs.Log, family: str) -> tuple[judging.Judgement, np.ndarray]:
    """What advice would see of a log: its cross-validation and its statistics."""
    policies = KIND[family] == "policies"
    judged = judging.judge(log.sample, log.beta, policies=policies)
    features = statistics.as_features(log.sample) if policies else log.sample
    return judged, statistics.measure(features, judged, log.beta)


def row_of(log: advice_logs.Log, cell: dict, seen: np.ndarray) -> dict[str, Any]:
    """A row: family, user, setting, seed, n, beta, SubOpt of each learner, statistics."""
    which = {"setting": log.parameters, "seed": log.seed, "n": log.n, "beta": log.beta}
    return {**cell, **which, **log.suboptimality, **dict(zip(statistics.NAMES, seen.tolist(), strict=True))}


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """One row a log of the users to tune on."""
    logs = advice_logs.simulate(config, cell["family"], cell["user"], "tune", key)
    return pl.DataFrame([row_of(log, cell, measure(log, cell["family"])[1]) for log in logs])


def losses_of(rows: pl.DataFrame) -> np.ndarray:
    """SubOpt of `LEARNERS`, (logs, L)."""
    return rows.select(LEARNERS).to_numpy()


def fit(rows: pl.DataFrame) -> dict[str, Rule]:
    """For each kind the weights whose softmax choice has least mean regret in nats, and the smallest margin that is right often enough."""
    found = {}
    for family, kind in KIND.items():
        mine = rows.filter(pl.col("family") == family)
        seen = mine.select(statistics.NAMES).to_numpy()
        losses = losses_of(mine) / mine["beta"].to_numpy()[:, None]
        regret = losses - losses.min(axis=1, keepdims=True)
        centre, scale = seen.mean(axis=0), np.maximum(seen.std(axis=0), 1e-9)
        bare = Rule(centre, scale, np.zeros((len(centre) + 1, len(LEARNERS))), 0.0)
        weights = _least_regret(rule.place(bare, seen), regret)
        tuned = Rule(centre, scale, np.round(weights, 4), 0.0)
        found[kind] = tuned._replace(margin=_margin(tuned, mine))
    return found


def _least_regret(design: np.ndarray, regret: np.ndarray) -> np.ndarray:
    shape = (design.shape[1], regret.shape[1])

    def objective(flat: np.ndarray):
        weights = flat.reshape(shape)
        chance = scipy.special.softmax(design @ weights, axis=1)
        mean = np.sum(chance * regret, axis=1, keepdims=True)
        gradient = design.T @ (chance * (regret - mean)) / len(design)
        return float(mean.mean() + PENALTY * flat @ flat), gradient.reshape(-1) + 2 * PENALTY * flat

    start = np.zeros(shape[0] * shape[1])
    return scipy.optimize.minimize(objective, start, jac=True, method="L-BFGS-B").x.reshape(shape)


def wrong_margins(tuned: Rule, rows: pl.DataFrame) -> np.ndarray:
    """For each log the largest margin at which some separation is wrong: a learner that is better by more than the tolerance."""
    scores, losses = rule.score(tuned, rows.select(statistics.NAMES).to_numpy()), losses_of(rows)
    place = np.arange(len(scores))
    advised = scores.argmax(axis=1)
    better = losses < losses[place, advised][:, None] - rule.TOLERANCE * rows["reference"].to_numpy()[:, None]
    return np.where(better, scores.max(axis=1, keepdims=True) - scores, -1.0).max(axis=1)


def _margin(tuned: Rule, rows: pl.DataFrame) -> float:
    """The least margin at which no type of user has more than ALLOWED wrong separations."""
    worst = rows.select("user").with_columns(margin=pl.Series(wrong_margins(tuned, rows)))
    each = worst.group_by("user").agg(pl.col("margin").quantile(1 - ALLOWED, interpolation="higher"))
    return float(np.ceil(1e3 * max(0.0, each["margin"].max())) / 1e3)  # type: ignore[type-var, arg-type]


def write(rows: pl.DataFrame, path: Path) -> dict[str, Rule]:
    """Fit, and write the rules as JSON."""
    found = fit(rows)
    shown = {
        kind: {
            "statistics": list(statistics.NAMES), "learners": list(LEARNERS), "margin": one.margin,
            "centre": np.round(one.centre, 4).tolist(), "scale": np.round(one.scale, 4).tolist(), "weights": one.weights.tolist(),
        }
        for kind, one in found.items()
    }  # fmt: skip
    path.write_text(json.dumps(shown, indent=1) + "\n", encoding="utf-8")
    return found


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Mean SubOpt by type of user and learner."""
    table = Table(title=f"{rows.height:,} logs to tune on: mean SubOpt in thousandths", title_justify="left")
    for column in ("family", "user", "logs", *LEARNERS, "reference"):
        table.add_column(column, justify="left" if column in ("family", "user") else "right")
    names = [*LEARNERS, "reference"]
    means = rows.group_by("family", "user", maintain_order=True).agg(pl.len(), pl.col(names).mean() * 1e3)
    for family, user, count, *values in means.iter_rows():
        table.add_row(family, user, f"{count:,}", *(f"{value:.2f}" for value in values))
    return Report((table,), True, {"means": means.to_dicts()})


EXPERIMENT = Experiment(
    name="advice_tuning",
    summary="simulated logs on which the rule of `edittheory log advise` is tuned",
    config_class=Config,
    presets={
        "quick": Config(settings=1, trials=4),
        "standard": Config(),
        "paper": Config(settings=30, trials=20),
    },
    times={
        "quick": "1 minute on 1 CPU core",
        "standard": "4 minutes on 1 CPU core",
        "paper": "half an hour on 1 CPU core",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)


def main(arguments: Sequence[str]) -> int:
    """Write rule.json from the rows of a folder."""
    if len(arguments) != 1 or not (Path(arguments[0]) / "rows.parquet").is_file():
        print("error: give one folder that holds rows.parquet of advice_tuning", file=sys.stderr)
        return 2
    rows = pl.read_parquet(Path(arguments[0]) / "rows.parquet").with_columns(
        pl.col(pl.Categorical).cast(pl.String)
    )
    place = Path(rule.__file__).with_name("rule.json")
    for kind, one in write(rows, place).items():
        print(f"{kind}: margin {one.margin:g}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
