"""Simulated logs whose truth is known, and what each learner makes of them: for the experiment on advice.

Users come in types; within a type the parameters on which the rule was tuned and those on which it is tested are different points of
the same ranges, and the keys are others. Log-linear: strings, policies trained by gradient on features that hold the
truth (but for one type). Finite: a class of candidate policies, of which each learner picks one.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edittheory.learn.objectives import EarlyEnsemble, Preference, Supervised
from edittheory.logs.advice import proxies
from edittheory.logs.advice.samples import Sample, standardised
from edittheory.problem import random_problems

from . import spaces, worlds

SPLITS = ("tune", "test", "fresh")
LEARNERS = ("SFT", "DPO", "SFT+DPO", "cost regression", "reference")

Parameters = Mapping[str, float]


class Log(NamedTuple):
    """One log: the sample that advice sees, its true SubOpt by learner, and which it is."""

    sample: Sample
    beta: float
    suboptimality: Mapping[str, float]
    parameters: int
    seed: int
    n: int


USERS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "strong": {"strength": (0.7, 0.95)},
    "medium": {"strength": (0.3, 0.6)},
    "weak": {"strength": (0.02, 0.2)},
    "local edits": {"strength": (0.02, 0.1), "locality": (4.0, 12.0)},
    "habit": {"strength": (0.03, 0.25), "habit": (0.1, 0.5)},
    "strong, habit": {"strength": (0.7, 0.95), "habit": (0.1, 0.4)},
    "noisy costs": {"strength": (0.05, 0.8), "noise": (0.3, 2.0)},
    "noisy costs, habit": {"strength": (0.05, 0.8), "noise": (0.3, 2.0), "habit": (0.1, 0.4)},
    "wrong features": {"strength": (0.05, 0.6), "misfit": (0.15, 0.6)},
}
"""Types of users and the ranges of strength, habit, locality, noise of costs and misfit of features, as in `worlds.Knobs`."""
BETA = (0.06, 0.24)
"""Range of beta, in logarithms."""
FAMILIES = {
    "log-linear": tuple(USERS),
    "finite": tuple(name for name, ranges in USERS.items() if not {"misfit", "locality"} & set(ranges)),
}
"""Families and the types of users that each has."""


def setting(user: str, split: str, number: int) -> tuple[float, Parameters]:
    """beta and the parameters of a type's setting: points of a Kronecker sequence, those to test on from further along.

    (Those from 1,000 on were looked at before the margin got its last form, so they are used up.)
    """
    step = 1.1673039782614187 ** -np.arange(1.0, 5.0)
    first, *rest = (0.5 + step * (number + 2000 * SPLITS.index(split))) % 1.0
    ranges = USERS[user]
    found = {
        name: float(low + (high - low) * u)
        for (name, (low, high)), u in zip(ranges.items(), rest, strict=False)
    }
    return float(BETA[0] * (BETA[1] / BETA[0]) ** first), found


@partial(jax.jit, static_argnames=("trials", "num_contexts", "num_features", "most"))
def _records(key, distances, knobs, beta, *, trials, num_contexts, num_features, most):
    """The interactions behind `worlds.simulate` of the same arguments."""
    return worlds.logged(key, distances, knobs, beta, trials, num_contexts, num_features, most)[1]


def log_linear(config: Any, knobs: Parameters, beta: float, number: int, key) -> Iterator[Log]:
    """`config.trials` worlds and the first n of their interactions for every sample size."""
    sizes = config.sample_sizes
    distances = jnp.asarray(worlds.bank_of(config))
    traced = jax.tree.map(jnp.float64, worlds.Knobs(**knobs))
    world_key, train_key = jax.random.split(key)
    shape = {
        "trials": config.trials, "num_contexts": config.num_contexts, "num_features": config.num_features,
        "most": max(sizes),
    }  # fmt: skip
    drawn, logs = worlds.simulate(
        world_key, distances, traced, beta, jnp.asarray(sizes, dtype=float), 0.1, **shape
    )
    data = jax.tree.map(np.asarray, _records(world_key, distances, traced, beta, **shape))
    objectives = {"SFT": Supervised(), "DPO": Preference(), "SFT+DPO": EarlyEnsemble(jnp.asarray(0.1))}
    keys = jax.random.split(train_key, len(objectives))
    found = {
        name: worlds.fit(drawn, logs, objective, keys[i])
        for i, (name, objective) in enumerate(objectives.items())
    }
    found["cost regression"] = worlds.ridge_policies(drawn, logs)["RL plug-in"]
    found["reference"] = jnp.broadcast_to(
        drawn.problem.log_reference[:, None], found["cost regression"].shape
    )
    scores = {name: np.asarray(worlds.suboptimality(drawn, policy)) for name, policy in found.items()}
    features = np.asarray(drawn.features)
    for seed in range(config.trials):
        for place, n in enumerate(sizes):
            x, y, edit = (part[seed, :n] for part in (data.contexts, data.responses, data.edits))
            sample = Sample(x, features[seed, x, y], features[seed, x, edit], data.costs[seed, :n])
            truth = {name: float(score[seed, place]) for name, score in scores.items()}
            yield Log(standardised(_dense(sample)), beta, truth, number, seed, n)


def _dense(sample: Sample) -> Sample:
    """Groups renumbered: a context may not have occurred yet."""
    return sample._replace(group=np.unique(sample.group, return_inverse=True)[1])


@partial(jax.jit, static_argnames=("tastes", "candidates", "contexts", "letters", "length", "most"))
def _finite(keys, beta, strength, habit, noise, *, tastes, candidates, contexts, letters, length, most):
    strings = spaces.strings(letters, length)

    def one(key):
        problem_key, data_key, noise_key = jax.random.split(key, 3)
        instance = random_problems.balanced_backwards(
            problem_key,
            strings,
            contexts,
            candidates,
            beta=beta,
            strength=strength,
            habit=habit,
            tastes=tastes,
        )
        problem = instance.problem
        data = problem.sample(data_key, most)
        costs = data.costs + noise * problem.cost_max * jax.random.normal(noise_key, (most,))
        ratios = instance.log_class - problem.log_reference
        policies = jnp.concatenate([instance.log_class, problem.log_reference[None]])
        return data.contexts, data.responses, data.edits, costs, ratios, problem.suboptimality(policies)

    return jax.vmap(one)(keys)


def finite(config: Any, knobs: Parameters, beta: float, number: int, key) -> Iterator[Log]:
    """The same of candidate policies: the optima of `config.num_candidates` users and the laws of their edits, of which each learner
    picks one. Half of the classes are scattered, half dense along a line."""
    for part, tastes in enumerate((random_problems.scattered, random_problems.on_a_line)):
        trials = max(config.trials // 2, 1)
        found = _finite(
            jax.random.split(jax.random.fold_in(key, part), trials),
            beta, knobs["strength"], knobs.get("habit", 0.0), knobs.get("noise", 0.0),
            tastes=tastes, candidates=config.num_candidates, contexts=config.num_contexts,
            letters=config.num_letters, length=config.max_length, most=max(config.sample_sizes),
        )  # fmt: skip
        x, y, edit, costs, ratios, scores = jax.tree.map(np.asarray, found)
        for seed in range(trials):
            response, edited = (ratios[seed][:, x[seed], column[seed]].T for column in (y, edit))
            for n in config.sample_sizes:
                sample = _dense(Sample(x[seed, :n], response[:n], edited[:n], costs[seed, :n]))
                picks = proxies.policy_losses(sample, beta).picks()
                truth = {name: float(scores[seed, pick]) for name, pick in picks.items()}
                truth["reference"] = float(scores[seed, -1])
                yield Log(sample, beta, truth, number, 2 * seed + part, n)


def simulate(config: Any, family: str, user: str, split: str, key) -> Iterator[Log]:
    """All logs of one type of user; `config` has settings, trials, sample_sizes and the sizes of a problem."""
    make = {"log-linear": log_linear, "finite": finite}[family]
    for number in range(config.settings):
        beta, knobs = setting(user, split, number)
        yield from make(config, knobs, beta, number, jax.random.fold_in(key, number))
