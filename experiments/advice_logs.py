"""Simulated logs whose truth is known, and what each learner makes of them: for the experiment on advice.

Users come in types; within a type the parameters on which the rule was tuned and those on which it is tested are disjoint, and so
are the keys. Log-linear: strings, policies trained by gradient on features that hold the truth (but for one type). Finite: a class
of candidate policies, of which each learner picks one.
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

SPLITS = ("tune", "test")
LEARNERS = ("SFT", "DPO", "SFT+DPO", "cost regression", "reference")
OBJECTIVES = {"SFT": Supervised(), "DPO": Preference(), "SFT+DPO": EarlyEnsemble(jnp.asarray(0.1))}

Parameters = Mapping[str, float]


class Log(NamedTuple):
    """One log: the sample that advice sees, its true SubOpt by learner, and which it is."""

    sample: Sample
    beta: float
    suboptimality: Mapping[str, float]
    parameters: int
    seed: int
    n: int


def _knobs(**values: tuple[float, float, float, float]) -> dict[str, list[Parameters]]:
    """Four values of each knob: two to tune on, then two to test on."""
    each = [{name: numbers[i] for name, numbers in values.items()} for i in range(4)]
    return {"tune": each[:2], "test": each[2:]}


USERS: Mapping[str, Mapping[str, list[Parameters]]] = {
    "strong": _knobs(strength=(0.8, 0.9, 0.75, 0.95)),
    "medium": _knobs(strength=(0.3, 0.5, 0.4, 0.6)),
    "weak": _knobs(strength=(0.02, 0.1, 0.05, 0.15)),
    "local edits": _knobs(strength=(0.02, 0.04, 0.03, 0.05), locality=(4.0, 12.0, 6.0, 9.0)),
    "habit": _knobs(strength=(0.05, 0.15, 0.1, 0.2), habit=(0.15, 0.4, 0.25, 0.5)),
    "strong, habit": _knobs(strength=(0.8, 0.9, 0.75, 0.95), habit=(0.35, 0.15, 0.3, 0.2)),
    "noisy costs": _knobs(strength=(0.1, 0.6, 0.05, 0.4), noise=(0.5, 2.0, 1.0, 1.5)),
    "noisy costs, habit": _knobs(strength=(0.1, 0.6, 0.05, 0.4), noise=(0.5, 2.0, 1.0, 1.5), habit=(0.3, 0.15, 0.2, 0.4)),
    "wrong features": _knobs(strength=(0.1, 0.4, 0.2, 0.05), misfit=(0.2, 0.5, 0.35, 0.6)),
}  # fmt: skip
"""Types of users; strength, habit, locality, noise of costs and misfit of features as in `worlds.Knobs`."""
BETAS = {"tune": (0.1, 0.2), "test": (0.15, 0.08)}
"""beta of the two parameter settings of each type."""
FAMILIES = {
    "log-linear": tuple(USERS),
    "finite": tuple(name for name, each in USERS.items() if not {"misfit", "locality"} & set(each["tune"][0])),
}
"""Families and the types of users that each has."""


@partial(jax.jit, static_argnames=("trials", "num_contexts", "num_features", "most"))
def _records(key, distances, knobs, beta, *, trials, num_contexts, num_features, most):
    """The interactions behind `worlds.simulate` of the same arguments."""

    def one(key):
        world_key, log_key, place_key = jax.random.split(key, 3)
        distance = worlds.choose_distances(place_key, distances, num_contexts)
        world = worlds.draw(world_key, distance, knobs, beta, num_contexts, num_features)
        return worlds.interactions(world, log_key, most)

    return jax.vmap(one)(jax.random.split(key, trials))


def log_linear(config: Any, knobs: Parameters, beta: float, number: int, key) -> Iterator[Log]:
    """`config.trials` worlds and the first n of their interactions for every sample size."""
    sizes = config.sample_sizes
    distances = jnp.asarray(
        worlds.bank("strings", config.num_letters, config.max_length, "", config.num_contexts)
    )
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
    keys = jax.random.split(train_key, len(OBJECTIVES))
    found = {
        name: worlds.fit(drawn, logs, objective, keys[i])
        for i, (name, objective) in enumerate(OBJECTIVES.items())
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
            problem_key, strings, contexts, candidates, beta=beta, strength=strength, habit=habit, tastes=tastes
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
    """All logs of one type of user; `config` has trials, sample_sizes and the sizes of a problem."""
    make = {"log-linear": log_linear, "finite": finite}[family]
    for number, knobs in enumerate(USERS[user][split]):
        yield from make(config, knobs, BETAS[split][number], number, jax.random.fold_in(key, number))
