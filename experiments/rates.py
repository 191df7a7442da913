"""SubOpt against n for every learner, with the bounds beside it: is the rate n^-1/2 or n^-1, and where does SUP stop?"""

import dataclasses
from typing import Any

import jax
import numpy as np
import polars as pl

from edittheory import bounds
from edittheory.core import statistics
from edittheory.core.slopes import slope_fit
from edittheory.core.trials import map_trials
from edittheory.core.validation import check_in, check_int, check_positive, check_probability
from edittheory.learn import learners
from edittheory.learn.preference_losses import PREFERENCE_LOSSES
from edittheory.problem import random_problems
from edittheory.runs.identity import execution_field, later_field

from . import spaces
from .columns import blank
from .experiment import Experiment, Report
from .frames import frame, seeds

USERS = {"strong": 0.9, "weak": 0.1}
LEARNERS = ("SUP", "PREF", "Early", "RL", "RL plug-in")
SUPERVISED_FORMS: tuple[tuple[str, bounds.SupervisedForm], ...] = (
    ("B1.a", "paper"),
    ("B1.b", "exact_bias"),
    ("B1.c", "hellinger"),
)
PREFERENCE_FORMS: tuple[tuple[str, bounds.PreferenceForm], ...] = (("B2.a", "paper"), ("B2.b", "hellinger"))
BOUNDS = ("B1.a", "B1.b", "B1.c", "B2.a", "B2.b", "B2.c*", "B3.a", "B3.b*")


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell for each (user, n). The class is dense: candidates evenly spaced on a random line, so that errors do not
    end at zero once the spacing is resolved. Each problem (seed) appears at every n, with fresh data. losses: names of
    `PREFERENCE_LOSSES` that join the learners, at scale 1."""

    sample_sizes: tuple[int, ...] = (30, 100, 300, 1000, 3000, 10000, 30000)
    trials: int = 100
    beta: float = 0.2
    delta: float = 0.1
    level: float = 0.01
    supervised_weight: float = 0.1
    num_contexts: int = 3
    num_candidates: int = 301
    num_letters: int = 2
    max_length: int = 3
    fit_from: int = 300
    seed: int = 0
    losses: tuple[str, ...] = later_field(())
    width: int = execution_field(10)

    def __post_init__(self):
        for n in self.sample_sizes:
            check_int("sample_sizes", n, 1, 10**7)
        check_int("trials", self.trials, 2, 10**7)
        check_positive("beta", self.beta)
        check_probability("delta", self.delta)
        check_int("num_candidates", self.num_candidates, 3, 10**5)
        for index, name in enumerate(self.losses):
            check_in(f"losses[{index}]", name, tuple(PREFERENCE_LOSSES))
        check_int("width", self.width, 1, 10**6)
        if sum(n >= self.fit_from for n in self.sample_sizes) < 2:
            raise ValueError(
                f"fit_from: got {self.fit_from}, must leave at least two of sample_sizes {self.sample_sizes}"
            )


def cells(config: Config) -> list[dict]:
    """One cell for each (user, n)."""
    return [{"user": user, "n": n} for user in USERS for n in config.sample_sizes]


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: user, n, seed, series (a learner, a bound, or "bias": SubOpt of q o reference), value."""
    strings = spaces.strings(config.num_letters, config.max_length)
    # The problem's key knows the user and the seed but not n: the same problems at every n.
    problem_root = jax.random.fold_in(jax.random.key(config.seed), tuple(USERS).index(cell["user"]))
    n, delta = cell["n"], config.delta

    def trial(keys):
        problem_key, data_key = keys
        instance = random_problems.balanced_backwards(
            problem_key,
            strings,
            config.num_contexts,
            config.num_candidates,
            beta=config.beta,
            strength=USERS[cell["user"]],
            tastes=random_problems.on_a_line,
        )
        problem, log_class = instance.problem, instance.log_class
        data = problem.sample(data_key, n)
        found = learners.every_learner(instance, data, delta, config.supervised_weight)
        found |= learners.every_pair_loss(instance, data, config.losses)
        values = {name: problem.suboptimality(found[name]) for name in (*LEARNERS, *config.losses)}
        for name, form in SUPERVISED_FORMS:
            values[name] = bounds.supervised(problem, log_class, n, delta, form, check=False).value
        for name, pair_form in PREFERENCE_FORMS:
            values[name] = bounds.preference(problem, log_class, n, delta, pair_form, check=False).value
        values["B2.c*"] = bounds.preference(
            problem, log_class, n, delta, "fast", found["PREF"], check=False
        ).value
        values["B3.a"] = bounds.cost(problem, instance.cost_class, n, delta, "slow", check=False).value
        values["B3.b*"] = bounds.cost(
            problem, instance.cost_class, n, delta, "fast", found["RL"], check=False
        ).value
        values["bias"] = problem.suboptimality(problem.edited(problem.log_reference))
        values["reference"] = problem.suboptimality(problem.log_reference)
        return values

    values = map_trials(trial, (problem_root, key), config.trials, config.width)
    return pl.concat(
        frame(**cell, seed=seeds(config.trials), series=name, value=column.astype(np.float64))
        for name, column in values.items()
    )


def slopes(rows: pl.DataFrame, config: Config) -> list[dict]:
    """Fitted exponent of mean SubOpt in n from `fit_from` on, for each (user, learner), with a bootstrap interval over problems."""
    records = []
    names = (*LEARNERS, *config.losses)
    family = len(USERS) * len(names)
    for user in USERS:
        for learner in names:
            mine = rows.filter(
                (pl.col("user") == user) & (pl.col("series") == learner) & (pl.col("n") >= config.fit_from)
            )
            wide = mine.pivot(on="n", index="seed", values="value").sort("seed").drop("seed")
            sizes = np.array([int(name) for name in wide.columns], dtype=float)
            losses = wide.to_numpy()
            record: dict[str, Any] = {
                "user": user,
                "learner": learner,
                "slope": None,
                "low": None,
                "high": None,
            }
            if (losses.mean(axis=0) > 0).all():
                fit = slope_fit(
                    sizes, losses, np.random.default_rng(config.seed), level=config.level / family
                )
                record |= {"slope": fit.slope, "low": fit.low, "high": fit.high}
            records.append(record)
    return records


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Mean SubOpt and median bounds by n, fitted slopes; not ok if some bound fails more often than delta (2 delta for B3) allows."""
    table = blank(
        f"Mean SubOpt, median bounds over {config.trials} problems, dense class of {config.num_candidates}, beta = {config.beta:g}",
        ("user", "series"),
        (*(f"n = {n:,}" for n in config.sample_sizes), "slope [interval]"),
    )
    fits = {(record["user"], record["learner"]): record for record in slopes(rows, config)}
    # A bound's mean is that of its few worst problems; the figure shows its median, too.
    is_bound = pl.col("series").is_in(list(BOUNDS))
    shown = rows.group_by("user", "series", "n").agg(
        value=pl.when(is_bound.first()).then(pl.col("value").median()).otherwise(pl.col("value").mean())
    )
    for user in USERS:
        for series in (*LEARNERS, *config.losses, "bias", "reference", "B1.c", "B2.c*", "B3.b*"):
            mine = dict(shown.filter(user=user, series=series).select("n", "value").iter_rows())
            fit = fits.get((user, series))
            slope = (
                f"{fit['slope']:.2f} [{fit['low']:.2f}, {fit['high']:.2f}]"
                if fit and fit["slope"] is not None
                else ""
            )
            name = f"{series}, median" if series in BOUNDS else series
            table.add_row(user, name, *(f"{mine[n]:.2e}" for n in config.sample_sizes), slope)
    broken = violations(rows, config)
    closing = (
        f"Slopes fitted from n = {config.fit_from:,} on; intervals by bootstrap over problems, level {config.level:g} divided over "
        f"all fits. Bounds violated beyond their chance: {', '.join(broken) or 'none'}."
    )
    return Report((table, closing), not broken, {"slopes": list(fits.values()), "violated": broken})


def violations(rows: pl.DataFrame, config: Config) -> list[str]:
    """Bounds that fail too often in some (user, n), each check at level / number of checks."""
    checks = len(BOUNDS) * len(USERS) * len(config.sample_sizes)
    wide = rows.pivot(on="series", index=["user", "n", "seed"], values="value")
    broken = set()
    for bound in BOUNDS:
        learner, allowed = {"B1": ("SUP", 1), "B2": ("PREF", 1), "B3": ("RL", 2)}[bound[:2]]
        counts = wide.group_by("user", "n").agg(bad=(pl.col(learner) > pl.col(bound)).sum(), trials=pl.len())
        for bad, trials in counts.select("bad", "trials").iter_rows():
            if statistics.violation_check(
                bad, trials, allowed * config.delta, config.level / checks
            ).violated:
                broken.add(bound)
    return sorted(broken)


EXPERIMENT = Experiment(
    name="rates",
    summary="SubOpt against n for SUP, PREF, RL and Early with the bounds: n^-1/2 or n^-1, and where does SUP stop?",
    config_class=Config,
    presets={
        "quick": Config(),
        "standard": Config(trials=1000),
        "paper": Config(trials=10000, num_candidates=1001, width=100),
    },
    times={
        "quick": "175 s of processor time (measured), 2 to 3 minutes on 2 CPU cores",
        "standard": "about 20 minutes on 2 CPU cores, not measured",
        "paper": "for a GPU",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)
