"""How much is left to win for the medley of finite classes with few edits? Bayes decisions that know more and more; docs/medley.md.

The cells of `medley` at n <= 300. "medley, laws" is told the law of the edits of each candidate user, which SUP's class holds
anyway; "medley, wrong laws" those of users of another strength without a habit. "told balance" knows whether the user is
balanced. "every user known" has the posterior of the candidates' whole kernels: of all rules that know these and take every
candidate for equally likely to be the truth it has the least mean SubOpt.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory import medley
from edittheory.core.logspace import safe_log
from edittheory.core.trials import map_trials
from edittheory.core.validation import check_each, check_int, check_non_negative, check_probability
from edittheory.learn import learners
from edittheory.medley import likelihoods
from edittheory.problem import EditDataset, cost_classes, random_problems
from edittheory.runs.identity import execution_field

from . import frames, spaces
from .columns import blank
from .experiment import Experiment, Report
from .medley_report import NEGLIGIBLE, PLAIN
from .world_configs import WorldConfig

RULES = ("medley", "medley, laws", "medley, wrong laws", "told balance", "every user known")
WRONG_STRENGTH = 0.5
"""Strength of the users whose laws are the wrong ones; no user of the cells has it."""
CELL = ("strength", "habit", "noise", "n")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(WorldConfig):
    """strengths, habits, noises, num_candidates: as in `medley`. delta, supervised_weight: of RL and of Early."""

    trials: int = 400
    sample_sizes: tuple[int, ...] = (30, 100, 300)
    strengths: tuple[float, ...] = (0.05, 0.3, 0.9)
    habits: tuple[float, ...] = (0.0, 0.15, 0.3, 0.6)
    noises: tuple[float, ...] = (0.0, 1.0)
    num_candidates: int = 256
    delta: float = 0.1
    supervised_weight: float = 0.1
    resamples: int = 2000
    width: int = execution_field(10)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_each("sample_sizes", self.sample_sizes, check_int, 10, 10**6)
        if list(self.sample_sizes) != sorted(set(self.sample_sizes)):
            raise ValueError(f"sample_sizes must be ascending, but it is {self.sample_sizes!r}")
        check_each("strengths", self.strengths, check_probability)
        check_each("habits", self.habits, check_probability)
        check_each("noises", self.noises, check_non_negative)
        check_int("num_candidates", self.num_candidates, 2, 4096)
        check_probability("delta", self.delta, open_left=True, open_right=True)
        check_non_negative("supervised_weight", self.supervised_weight)
        check_int("resamples", self.resamples, 100, 10**6)
        check_int("width", self.width, 1, 10**6)


def cells(config: Config) -> list[dict]:
    """One cell for each strength, habit and noise."""
    return [
        {"strength": g, "habit": h, "noise": s}
        for g in config.strengths
        for h in config.habits
        for s in config.noises
    ]


def _trial(key, strength, habit, noise, config: Config) -> Mapping[str, jax.Array]:
    """SubOpt (M,) of the plain learners and of RULES on one instance."""
    problem_key, data_key, noise_key = jax.random.split(key, 3)
    space = spaces.strings(config.num_letters, config.max_length)
    sizes = (space, config.num_contexts, config.num_candidates)
    instance = random_problems.balanced_backwards(
        problem_key, *sizes, beta=config.beta, strength=strength, habit=habit
    )
    users = random_problems.candidate_users(
        problem_key, *sizes, beta=config.beta, strength=strength, habit=habit
    )
    others = random_problems.candidate_users(problem_key, *sizes, beta=config.beta, strength=WRONG_STRENGTH)
    problem, cost_class = instance.problem, instance.cost_class
    reference, beta, cost_max = problem.log_reference, problem.beta, problem.cost_max
    clean = problem.sample(data_key, config.sample_sizes[-1])
    reach = jnp.sqrt(3.0) * noise * cost_max
    noisy = clean.costs + reach * jax.random.uniform(noise_key, clean.costs.shape, minval=-1.0, maxval=1.0)
    data = EditDataset(clean.contexts, clean.responses, clean.edits, noisy)
    found: dict[str, list] = {name: [] for name in PLAIN}
    for n in config.sample_sizes:
        part = jax.tree.map(lambda leaf, n=n: leaf[:n], data)
        learned = learners.every_learner(instance, part, config.delta, config.supervised_weight)
        for name in PLAIN:
            found[name].append(learned[name])
    counts = likelihoods.count(data, jnp.asarray(config.sample_sizes), *reference.shape)

    def weights(priors: medley.Medley = medley.DEFAULT, laws=None):
        return medley.posterior(cost_class, reference, counts, beta, cost_max, priors, laws).weights

    def laws_of(kernels):
        return safe_log(jnp.einsum("xa,kxab->kxb", jnp.exp(reference), kernels))

    pairs = counts.pairs.reshape(len(config.sample_sizes), -1)
    kernels = users.reshape(config.num_candidates, -1)
    # What was never seen must not matter, even where a candidate's chance of it is 0.
    log_kernels = jnp.where(jnp.any(pairs > 0, axis=0), jnp.maximum(safe_log(kernels), -1e4), 0.0)
    known = jax.nn.softmax(jnp.matmul(pairs, log_kernels.T, precision=likelihoods.PRECISE), axis=-1)
    told = weights(medley.Medley(balance=1.0))
    of_costs = jax.nn.softmax(likelihoods.cost_likelihood(cost_class, counts, cost_max), axis=-1)
    rules = {
        "medley": weights(),
        "medley, laws": weights(laws=laws_of(users)),
        "medley, wrong laws": weights(laws=laws_of(others)),
        "told balance": jnp.where(habit > 0, of_costs, told),
        "every user known": known,
    }
    policies = {name: jnp.stack(values) for name, values in found.items()}
    for name, each in rules.items():
        policies[name] = cost_classes.tilted(reference, jnp.einsum("mf,fxy->mxy", each, cost_class), beta)
    return {name: problem.suboptimality(policy) for name, policy in policies.items()}


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: strength, habit, noise, n, seed, learner, suboptimality."""
    knobs = (jnp.float64(cell[name]) for name in ("strength", "habit", "noise"))
    losses = map_trials(_trial, key, config.trials, config.width, *knobs, config)
    sizes = np.asarray(config.sample_sizes, dtype=np.int32)
    return pl.concat(
        frames.frame(
            **cell,
            n=sizes,
            seed=frames.seeds(config.trials)[:, None],
            learner=name,
            suboptimality=losses[name].astype(np.float32),
        )
        for name in (*PLAIN, *RULES)
    )


def tables(rows: pl.DataFrame) -> dict[tuple, dict[str, np.ndarray]]:
    """SubOpt of every learner by seed, for each (strength, habit, noise, n)."""
    wide = rows.sort("seed").pivot(on="learner", index=[*CELL, "seed"], values="suboptimality")
    return {
        key: {name: part[name].cast(pl.Float64).to_numpy() for name in (*PLAIN, *RULES)}
        for key, part in wide.group_by(CELL, maintain_order=True)
    }


def ratio(values: Mapping[str, np.ndarray], rule: str) -> float:
    """Mean SubOpt of a rule over that of the cell's best plain learner (at least NEGLIGIBLE)."""
    return float(values[rule].mean()) / max(float(values[_best(values)].mean()), NEGLIGIBLE)


def _best(values: Mapping[str, np.ndarray]) -> str:
    return min(PLAIN, key=lambda name: float(values[name].mean()))


def summary(rows: pl.DataFrame, config: Config) -> dict[str, Any]:
    """For each rule: mean ratio over balanced cells and over cells with a habit, the worst cell, and the mean's interval at config.level.

    By bootstrap over problems, the same resamples for all cells and rules; the cell's best plain learner is taken as given.
    """
    by_cell = tables(rows)
    rng = np.random.default_rng(config.seed)
    draws = rng.multinomial(config.trials, np.full(config.trials, 1 / config.trials), config.resamples)
    found: dict[str, Any] = {}
    for rule in RULES:
        found[rule] = {}
        for kind, mine in (
            ("balanced", [values for key, values in by_cell.items() if key[1] == 0]),
            ("habit", [values for key, values in by_cell.items() if key[1] > 0]),
        ):
            if not mine:
                continue
            best = [_best(values) for values in mine]
            above = np.stack([draws @ values[rule] for values in mine])
            below = np.stack([draws @ values[name] for values, name in zip(mine, best, strict=True)])
            again = np.mean(above / np.maximum(below, NEGLIGIBLE * config.trials), axis=0)
            low, high = np.quantile(again, [config.level / 2, 1 - config.level / 2])
            here = [ratio(values, rule) for values in mine]
            record = {"cells": len(mine), "mean": float(np.mean(here)), "worst": max(here)}
            found[rule][kind] = record | {"low": float(low), "high": float(high)}
    return found


def report(rows: pl.DataFrame, config: Config) -> Report:
    """The table of `summary`; not ok if a rule is below who knows every user, in the mean over balanced cells."""
    found = summary(rows, config)
    kinds = [kind for kind in ("balanced", "habit") if kind in found["medley"]]
    table = blank(
        "Mean SubOpt over that of the best plain learner of the cell", ("rule",),
        [heading for kind in kinds for heading in (kind, "worst cell")],
    )  # fmt: skip
    for rule, record in found.items():
        cells_of = []
        for kind in kinds:
            one = record[kind]
            cells_of += [f"{one['mean']:.3f} [{one['low']:.3f}, {one['high']:.3f}]", f"{one['worst']:.2f}"]
        table.add_row(rule, *cells_of)
    floor = found["every user known"][kinds[0]]
    ok = all(record[kinds[0]]["high"] >= floor["low"] for record in found.values())
    return Report((table,), ok, {"rules": found})


EXPERIMENT = Experiment(
    name="medley_limits",
    summary="how far below the best plain learner can one be with few edits? the medley beside Bayes decisions that know more",
    config_class=Config,
    presets={
        "quick": Config(trials=20, habits=(0.0, 0.3)),
        "standard": Config(),
        "paper": Config(trials=10_000),
    },
    times={
        "quick": "20 s of processor time",
        "standard": "2 minutes of processor time",
        "paper": "not measured",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)
