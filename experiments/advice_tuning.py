"""Logs on which the rule of `edittheory log advise` is tuned: their statistics, and what each learner makes of them.

`python -m experiments.advice_tuning FOLDER FOLDER` fits the rules to the rows of this experiment and of `advice_texts --preset tuning`,
and writes edittheory/logs/advice/rule.json.
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

from edittheory.core.validation import check_each, check_in, check_int
from edittheory.logs.advice import judging, rule, statistics
from edittheory.logs.advice.proxies import LEARNERS
from edittheory.logs.advice.rule import Rule

from . import advice_logs
from .columns import blank
from .experiment import Experiment, Report

KIND = {"log-linear": "features", "finite": "policies", "texts": "texts"}
"""The rule that each family of logs is for."""
PENALTY = 1e-3
"""On the squares of the rule's weights."""
ALLOWED, OF_A_TYPE = 0.05, 0.1
"""Largest share of tuning logs of one size with a wrong separation: of all (half of what is stated), and of any type of user."""
FOLDS = 4


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
    """For each kind the weights whose softmax choice has least mean regret in nats, and margins by size.

    Margins are calibrated on logs that the weights have not seen: in FOLDS, by settings of the users' parameters.
    """
    found = {}
    for family, kind in KIND.items():
        mine = rows.filter(pl.col("family") == family)
        parts = []
        for fold in range(FOLDS):
            inside = mine["setting"] % FOLDS == fold
            held = mine.filter(inside)
            wrong = wrong_margins(_weigh(mine.filter(~inside)), held)
            parts.append(held.select("user", "n").with_columns(margin=pl.Series(wrong)))
        found[kind] = _with_margins(_weigh(mine), pl.concat(parts))
    return found


def _weigh(rows: pl.DataFrame) -> Rule:
    """The weights of least regret, no margin yet."""
    seen = rows.select(statistics.NAMES).to_numpy()
    losses = losses_of(rows) / rows["beta"].to_numpy()[:, None]
    regret = losses - losses.min(axis=1, keepdims=True)
    centre, scale = seen.mean(axis=0), np.maximum(seen.std(axis=0), 1e-9)
    nothing = np.zeros(1)
    bare = Rule(centre, scale, np.zeros((len(centre) + 1, len(LEARNERS))), nothing + 1, nothing)
    return bare._replace(weights=np.round(_least_regret(rule.place(bare, seen), regret), 4))


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


def _with_margins(tuned: Rule, wrong: pl.DataFrame) -> Rule:
    """At each n the least margin at which at most ALLOWED of all logs and OF_A_TYPE of those of any type have a wrong separation."""

    def quantile(share: float) -> pl.Expr:
        return pl.col("margin").quantile(1 - share, interpolation="higher")

    types = wrong.group_by("n", "user").agg(quantile(OF_A_TYPE)).group_by("n").agg(pl.col("margin").max())
    every = (
        pl.concat([types, wrong.group_by("n").agg(quantile(ALLOWED))])
        .group_by("n")
        .agg(pl.col("margin").max())
        .sort("n")
    )
    margins = np.ceil(1e3 * np.maximum(every["margin"].to_numpy(), 0.0)) / 1e3
    return tuned._replace(sizes=every["n"].to_numpy().astype(float), margins=margins)


def read(*folders: Path) -> pl.DataFrame:
    """The rows to tune on in some folders, their common columns."""
    names = ["family", "user", "setting", "seed", "n", "beta", *LEARNERS, "reference", *statistics.NAMES]
    frames = [pl.read_parquet(folder / "rows.parquet").select(names) for folder in folders]
    text = pl.col("family", "user").cast(pl.String)
    return pl.concat([frame.with_columns(text) for frame in frames], how="vertical_relaxed")


def write(rows: pl.DataFrame, path: Path) -> dict[str, Rule]:
    """Fit, and write the rules as JSON."""
    found = fit(rows)
    shown = {
        kind: {
            "statistics": list(statistics.NAMES), "learners": list(LEARNERS), "sizes": one.sizes.tolist(), "margins": one.margins.tolist(),
            "centre": np.round(one.centre, 4).tolist(), "scale": np.round(one.scale, 4).tolist(), "weights": one.weights.tolist(),
        }
        for kind, one in found.items()
    }  # fmt: skip
    path.write_text(json.dumps(shown, indent=1) + "\n", encoding="utf-8")
    return found


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Mean SubOpt by type of user and learner."""
    names = [*LEARNERS, "reference"]
    title = f"{rows.height:,} logs to tune on: mean SubOpt in thousandths"
    table = blank(title, ("family", "user"), ("logs", *names))
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
        "standard": "5 minutes on a busy CPU core",
        "paper": "half an hour on 1 CPU core",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)


def main(arguments: Sequence[str]) -> int:
    """Write rule.json from the rows of a folder."""
    if len(arguments) != 2 or not all((Path(one) / "rows.parquet").is_file() for one in arguments):
        print(
            "error: give two folders that hold rows.parquet, of advice_tuning and of advice_texts --preset tuning",
            file=sys.stderr,
        )
        return 2
    rows = read(*(Path(one) for one in arguments))
    place = Path(rule.__file__).with_name("rule.json")
    for kind, one in write(rows, place).items():
        print(f"{kind}: margins {one.margins.tolist()} at n = {one.sizes.tolist()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
