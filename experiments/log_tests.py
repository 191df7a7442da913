"""What can a log of edits refute, from texts, from log-probabilities, from candidates? Level, power, and edits needed, by kind of user."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.core import statistics
from edittheory.core.logspace import log_normalise
from edittheory.core.validation import check_each, check_in, check_int, check_positive, check_range
from edittheory.logs.advice import candidates, direction_models
from edittheory.logs.advice.samples import Sample
from edittheory.problem import EditProblem, random_problems, responses
from edittheory.problem.kernels import balanced_kernel

from . import spaces
from .columns import blank
from .experiment import Experiment, Report

KINDS: dict[str, tuple[str, ...]] = {
    "nothing to learn": ("nothing to learn", "a temperature"),
    "no taste": ("no taste", "a temperature"),
    "a temperature": ("a temperature",),
    "a taste": ("a candidate",),
    "a taste, habit .1": (),
    "a taste, habit .3": (),
}
"""Kinds of users, and which of the hypotheses are true of each."""
POWERS = {"nothing to learn": 1.0, "no taste": 0.0, "a temperature": 1.7}
"""The preferred law of these kinds is this power of the policy; the others' is reference * exp(-cost / beta), one of the candidates."""
HABITS = {"a taste": 0.0, "a taste, habit .1": 0.1, "a taste, habit .3": 0.3}


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell for each kind: `trials` random users and a log of `edits` interactions each.

    delta: level of a log's tests (the three of the writing policy share it, that of the candidates has its own); level: chance,
    over the whole report, of calling a test's level broken though it is not.
    """

    kinds: tuple[str, ...] = tuple(KINDS)
    trials: int = 100
    edits: int = 1000
    delta: float = 0.1
    level: float = 0.01
    beta: float = 0.15
    strength: float = 0.3
    num_contexts: int = 3
    num_candidates: int = 16
    num_letters: int = 2
    max_length: int = 3
    seed: int = 0

    def __post_init__(self):
        check_each("kinds", self.kinds, check_in, tuple(KINDS))
        check_int("trials", self.trials, 1, 10**6)
        check_int("edits", self.edits, 10, 10**6)
        statistics.check_level(self.delta, "delta")
        statistics.check_level(self.level)
        check_positive("beta", self.beta)
        check_range("strength", self.strength, 0.0, 1.0)
        check_int("num_candidates", self.num_candidates, 2, 4096)


def cells(config: Config) -> list[dict]:
    """One cell for each kind."""
    return [{"kind": kind} for kind in config.kinds]


@partial(jax.jit, static_argnames=("kind", "config"))
def _draw(keys, *, kind: str, config: Config):
    """Contexts, responses, edits, costs, reference (X, Y) and candidates' log-ratios (K, X, Y) of each key."""
    strings = spaces.strings(config.num_letters, config.max_length)

    def one(key):
        problem_key, data_key = jax.random.split(key)
        if kind in POWERS:
            dice = random_problems.Dice(problem_key, strings, config.num_contexts, config.num_candidates)
            reference = log_normalise(dice.centre)
            wanted = log_normalise(POWERS[kind] * reference)
            user = balanced_kernel(wanted, dice.distance, config.strength, 3.0)
            problem = EditProblem(
                dice.context_probs, reference, user, dice.distance, jnp.asarray(config.beta)
            )
            ratios = jnp.zeros((1, *reference.shape))
        else:
            instance = random_problems.balanced_backwards(
                problem_key, strings, config.num_contexts, config.num_candidates,
                beta=config.beta, strength=config.strength, habit=HABITS[kind],
            )  # fmt: skip
            problem = instance.problem
            ratios = instance.log_class[: config.num_candidates] - problem.log_reference
        data = problem.sample(data_key, config.edits)
        return (
            data.contexts,
            data.responses,
            data.edits,
            data.costs,
            problem.log_reference,
            ratios,
            problem.cost_max,
        )

    return jax.vmap(one)(keys)


def _features(config: Config) -> np.ndarray:
    """What is measured of a string: its length, how often each letter occurs, its first letter."""
    space = responses.all_strings(config.num_letters, config.max_length, min_length=1)
    tokens, lengths = np.asarray(space.tokens), np.asarray(space.lengths)
    present = np.arange(tokens.shape[1])[None, :] < lengths[:, None]
    counts = [((tokens == letter) & present).sum(1) for letter in range(config.num_letters)]
    return np.column_stack([lengths, *counts, tokens[:, 0]]).astype(float)


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: kind, seed, hypothesis, true (whether it is), edits, rejected, needed (null if never), log_e."""
    kind, rows = cell["kind"], []
    drawn = jax.tree.map(np.asarray, _draw(jax.random.split(key, config.trials), kind=kind, config=config))
    features = _features(config)
    for seed in range(config.trials):
        x, y, edit, cost, reference, ratios, cost_max = (part[seed] for part in drawn)
        moved = features[edit] - features[y]
        tests = direction_models.reference_tests(
            moved, reference[x, edit] - reference[x, y], y != edit, config.delta
        )
        if kind in HABITS:
            sample = Sample(x, ratios[:, x, y].T, ratios[:, x, edit].T, cost)
            names = tuple(str(k) for k in range(len(ratios)))
            texts = np.stack([y, edit], axis=1) + len(features) * x[:, None]
            examined = candidates.examine(
                names, sample, x, moved, config.beta, float(cost_max), config.delta, texts
            )
            tests.append(examined.tested)
        for one in tests:
            rows.append({
                "kind": kind, "seed": seed, "hypothesis": one.hypothesis, "true": one.hypothesis in KINDS[kind],
                "edits": config.edits, "rejected": one.rejected, "needed": one.needed, "log_e": one.log_e,
            })  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"needed": pl.Int64, "seed": pl.Int32, "edits": pl.Int32})


def rates(rows: pl.DataFrame, config: Config) -> list[dict[str, Any]]:
    """Share rejected with a 95% interval, median of the edits needed, and whether a true hypothesis' level is refuted."""
    grouped = rows.group_by("kind", "hypothesis", "true", maintain_order=True)
    share = {name: 3 for name in direction_models.HYPOTHESES} | {"a candidate": 1}
    cells_of = rows.filter("true").unique(["kind", "hypothesis"]).height
    found = []
    for (kind, hypothesis, true), mine in grouped:
        count = int(mine["rejected"].sum())
        low, high = statistics.clopper_pearson(count, mine.height)
        level = config.delta / share[str(hypothesis)]
        verdict = statistics.violation_check(count, mine.height, level, config.level / max(cells_of, 1))
        needed = mine["needed"].fill_null(config.edits + 1).median()
        found.append({
            "kind": kind, "hypothesis": hypothesis, "true": true, "rate": count / mine.height, "low": float(low), "high": float(high),
            "needed": None if needed is None or needed > config.edits else float(needed),  # type: ignore[operator, arg-type]
            "broken": bool(true) and verdict.violated,
        })  # fmt: skip
    return found


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Every test's rejections by kind of user; not ok if the level of a true hypothesis is refuted."""
    found = rates(rows, config)
    title = (
        f"{config.trials:,} users of each kind, {config.edits:,} interactions, level {config.delta:g} a log"
    )
    table = blank(title, ("user", "hypothesis", ""), ("rejected", "median edits needed"))
    for one in found:
        state = "true" if one["true"] else "false"
        rate = f"{one['rate']:.1%} [{one['low']:.1%}, {one['high']:.1%}]"
        table.add_row(
            one["kind"], one["hypothesis"], state, rate, f"{one['needed']:,.0f}" if one["needed"] else ""
        )
    broken = [one for one in found if one["broken"]]
    closing = (
        f"Level refuted: {', '.join(one['kind'] + ' / ' + one['hypothesis'] for one in broken)}."
        if broken
        else f"No level of a true hypothesis is refuted (exact binomial, {config.level:g} divided over them)."
    )
    return Report((table, closing), not broken, {"rates": found})


EXPERIMENT = Experiment(
    name="log_tests",
    summary="what a log of edits can refute from texts, log-probabilities and candidates: level, power, edits needed",
    config_class=Config,
    presets={
        "quick": Config(trials=30),
        "standard": Config(trials=150),
        "paper": Config(trials=4000, edits=3000),
    },
    times={
        "quick": "under a minute on 1 CPU core",
        "standard": "about 3 minutes on 1 CPU core",
        "paper": "for a cluster",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)
