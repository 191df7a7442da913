"""Random problems with knobs, logs of edits of several sizes, and the learners of linear classes trained on
them.

One world: strings as responses, a user built backwards from a random optimum (theory.md C), features whose
span holds the log-ratios of pi* and of q o reference unless `misfit` turns them away. A log is kept as counts
of the (x, y, y') cells, so that training costs the same at every n. Everything is compiled once for all
values of the knobs. Style variants of real sentences take the place of the strings where a `bank` holds them.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from edittheory.core.logspace import log_normalise
from edittheory.learn.cost_models import ridge
from edittheory.learn.objectives import EarlyEnsemble, Objective, Preference, Supervised
from edittheory.learn.policies import LogLinear
from edittheory.learn.training import Settings, train
from edittheory.problem import EditDataset, EditProblem, cost_classes, coverage, features, users
from edittheory.problem.kernels import balanced_kernel

from . import spaces

SPACES = ("strings", "text")
HELD_OUT = 0.2
"""Share of the edits on which training stops early; ridge regression uses all."""
REGULARISATION = 0.1
SETTINGS = Settings(steps=300, chunk=5, patience=12)
RATE = 0.05
"""Held-out loss is looked at every 5 small steps: with 20 steps of rate 0.1 between looks a learner passes its best policy
unseen, and in a third of the worlds at n = 100 nothing is ever found better than the reference. At n = 30, with 6 edits held
out, that still happens in a fifth of the worlds of a weak user: early stopping knows no better."""


class Knobs(NamedTuple):
    """What a world varies, as numbers.

    strength: share of edits that go straight to a draw from pi*; habit: share pulled to one text, which
    breaks balance; locality: how short the other edits are, against the largest distance (more local, worse
    coverage of pairs); noise: standard deviation added to logged costs, as a share of c_max; misfit: share of the features that is
    random, 0 realisable, 1 useless; spread: how sharp pi* is.
    """

    strength: float | Array = 0.3
    habit: float | Array = 0.0
    locality: float | Array = 2.0
    noise: float | Array = 0.0
    misfit: float | Array = 0.0
    spread: float | Array = 1.2


class World(eqx.Module):
    """A problem, its features (X, Y, d), and the numbers that describe how hard it is."""

    problem: EditProblem
    features: Float[Array, "*batch X Y d"]
    log_target: Float[Array, "*batch X Y"]
    noise: Float[Array, "*batch"]


class Logs(eqx.Module):
    """What M sample sizes of one log have to say: counts of cells to fit and held out, and the regressed costs."""

    counts: Float[Array, "*batch M C"]
    held_out: Float[Array, "*batch M C"]
    plug_in: Float[Array, "*batch M X Y"]
    pessimistic: Float[Array, "*batch M X Y"]


def bank(space: str, num_letters: int, max_length: int, source: str, size: int) -> np.ndarray:
    """Distance matrices (size, Y, Y) to draw contexts from, of one shape for both spaces.

    "strings": all strings up to a length, for every context. "text": as many style variants of each of `size` real
    sentences as there are such strings, those with the fewest styles switched on.
    """
    (matrix,) = np.asarray(spaces.strings(num_letters, max_length).distances)
    if space == "strings":
        return np.broadcast_to(matrix, (size, *matrix.shape))
    found = spaces.text_variants(source, int(np.ceil(np.log2(len(matrix)))), size)
    assert found.switches is not None
    kept = np.argsort(found.switches.sum(axis=-1), kind="stable")[: len(matrix)]
    distances = np.asarray(found.distances)[:, kept][:, :, kept]
    return distances[np.arange(size) % len(distances)]


def text_provenance(num_letters: int, max_length: int, source: str, size: int):
    """Where the sentences of `bank` come from."""
    count = len(spaces.strings(num_letters, max_length).distances[0])
    return spaces.text_provenance(source, int(np.ceil(np.log2(count))), size)


def choose_distances(key, distances: Float[Array, "B Y Y"], num_contexts: int) -> Float[Array, "X Y Y"]:
    """A matrix of the bank for each context, without repetition."""
    return distances[jax.random.choice(key, len(distances), (num_contexts,), replace=False)]


def draw(key, distance, knobs: Knobs, beta, num_contexts: int, num_features: int) -> World:
    """One random world over distances (Y, Y) or (X, Y, Y); a pure function, to be vmapped over keys."""
    keys = jax.random.split(key, 5)
    size = distance.shape[-1]
    optimum = log_normalise(knobs.spread * jax.random.normal(keys[0], (num_contexts, size)))
    user = balanced_kernel(optimum, distance, knobs.strength, knobs.locality / jnp.max(distance))
    log_reference = log_normalise(optimum + jnp.sum(user * distance, axis=-1) / beta)
    favoured = jax.nn.one_hot(jax.random.randint(keys[1], (num_contexts,), 0, size), size)
    probs = jax.nn.softmax(0.5 * jax.random.normal(keys[2], (num_contexts,)))
    problem = EditProblem(probs, log_reference, users.habit(user, favoured, knobs.habit), distance, beta)
    edited = problem.edited(log_reference)
    ratios = jnp.stack([problem.log_optimal - log_reference, edited - log_reference])
    right = features.spanning(keys[3], ratios, num_features)
    wrong = features.spanning(keys[4], jax.random.normal(keys[4], ratios.shape), num_features)
    share = jnp.asarray(knobs.misfit, dtype=float)
    phi = jnp.sqrt(1.0 - share) * right + jnp.sqrt(share) * wrong
    return World(problem, phi, optimum, jnp.asarray(knobs.noise, dtype=float) * problem.cost_max)


def interactions(world: World, key, most: int) -> EditDataset:
    """`most` interactions, their costs with the world's noise."""
    data_key, noise_key = jax.random.split(key)
    data = world.problem.sample(data_key, most)
    noisy = data.costs + world.noise * jax.random.normal(noise_key, (most,))
    return EditDataset(data.contexts, data.responses, data.edits, noisy)


def met(
    key, bank: Float[Array, "B Y Y"], knobs: Knobs, beta, num_contexts: int, num_features: int
) -> tuple[World, PRNGKeyArray]:
    """A world whose contexts have their distances from the bank, and the key of its log."""
    world_key, log_key, place_key = jax.random.split(key, 3)
    distance = choose_distances(place_key, bank, num_contexts)
    return draw(world_key, distance, knobs, beta, num_contexts, num_features), log_key


def logged(
    key, bank, knobs: Knobs, beta, trials: int, num_contexts: int, num_features: int, most: int
) -> tuple[World, EditDataset]:
    """`trials` worlds over a bank of distances (B, Y, Y) and `most` interactions of each, as in `simulate`."""

    def one(key):
        world, log_key = met(key, bank, knobs, beta, num_contexts, num_features)
        return world, interactions(world, log_key, most)

    return jax.vmap(one)(jax.random.split(key, trials))


def observe(world: World, key, sizes: Float[Array, " M"], most: int, delta: float) -> Logs:
    """The first n of `most` interactions for each n of `sizes`."""
    problem = world.problem
    num_x, num_y = problem.num_contexts, problem.num_responses
    data = interactions(world, key, most)
    cell = (data.contexts * num_y + data.responses) * num_y + data.edits
    index = jnp.arange(most)
    # A cost is not free up to a constant in each context: one more feature for each.
    indicator = jnp.broadcast_to(jnp.eye(num_x)[:, None, :], (num_x, num_y, num_x))
    psi = jnp.concatenate([world.features, indicator], axis=-1)
    truth = jnp.linalg.lstsq(psi.reshape(-1, psi.shape[-1]), problem.expected_cost.reshape(-1))[0]
    # Noise of a cost in [0, c_max] and of its measurement together: sub-Gaussian with this over 2.
    scale = jnp.sqrt(problem.cost_max**2 + 4.0 * world.noise**2)

    def at(n):
        fitted = jnp.floor((1.0 - HELD_OUT) * n)
        counts = jnp.zeros(num_x * num_y * num_y).at[cell].add((index < fitted).astype(float))
        held = jnp.zeros(num_x * num_y * num_y).at[cell].add(((index >= fitted) & (index < n)).astype(float))
        fit = ridge(psi, data, REGULARISATION, (index < n).astype(float))
        centre = fit.predict()
        bonus = fit.radius(scale, jnp.linalg.norm(truth), delta) * fit.width()
        clip = partial(jnp.clip, min=0.0, max=problem.cost_max)
        return counts, held, clip(centre), clip(centre + bonus)

    return Logs(*jax.vmap(at)(sizes))


@partial(jax.jit, static_argnames=("trials", "num_contexts", "num_features", "most"))
def simulate(key, distances, knobs, beta, sizes, delta, *, trials, num_contexts, num_features, most):
    """`trials` worlds, their contexts drawn from a bank of distances (B, Y, Y), and their logs."""

    def one(key):
        world, log_key = met(key, distances, knobs, beta, num_contexts, num_features)
        return world, observe(world, log_key, sizes, most, delta)

    return jax.vmap(one)(jax.random.split(key, trials))


def bank_of(config: Any, space: str | None = None) -> np.ndarray:
    """`bank` of a configuration: its strings, one for each context, or one of its `spaces`, as large as its sentences are many."""
    if space is None:
        return bank("strings", config.num_letters, config.max_length, "", config.num_contexts)
    return bank(space, config.num_letters, config.max_length, config.text_source, config.num_texts)


def simulated(
    config: Any, key, knobs: Knobs, sizes: Sequence[int], delta: float = 0.1, space: str | None = None,
    trials: int | None = None,
) -> tuple[World, Logs]:  # fmt: skip
    """`simulate` with the bank and the sizes of a problem of a configuration; trials: its own unless given."""
    return simulate(
        key,
        jnp.asarray(bank_of(config, space)),
        jax.tree.map(jnp.float64, knobs),
        config.beta,
        jnp.asarray(sizes, dtype=float),
        delta,
        trials=trials or config.trials,
        num_contexts=config.num_contexts,
        num_features=config.num_features,
        most=max(sizes),
    )


def all_cells(num_x: int, num_y: int) -> EditDataset:
    """One example for each (x, y, y'), to be weighted by counts."""
    x, y, edit = (
        part.reshape(-1) for part in jnp.meshgrid(*map(jnp.arange, (num_x, num_y, num_y)), indexing="ij")
    )
    return EditDataset(x, y, edit, jnp.zeros(x.shape))


def fit(
    worlds: World, logs: Logs, objective: Objective, key, model: LogLinear | None = None
) -> Float[Array, "T M X Y"]:
    """Policies (T, M, X, Y) of one trained learner, log-linear in the worlds' features unless `model` is
    given.

    A given model's leaves have a leading axis T; the objective's may have one of T * M.
    """
    trials, sizes, _ = logs.counts.shape
    num_x, num_y = worlds.problem.log_reference.shape[1:]
    base = (
        LogLinear(worlds.features, worlds.problem.log_reference, jnp.full(trials, jnp.inf))
        if model is None
        else model
    )
    runs = jax.tree.map(lambda leaf: jnp.repeat(leaf, sizes, axis=0), base)
    flat = (trials * sizes, -1)
    trained = train(
        runs,
        objective,
        all_cells(num_x, num_y),
        jax.random.split(key, trials * sizes),
        learning_rate=RATE,
        weights=logs.counts.reshape(flat),
        held_out=all_cells(num_x, num_y),
        held_out_weights=logs.held_out.reshape(flat),
        settings=SETTINGS,
        per_run=jax.tree.leaves,
    )
    params = jax.tree.map(lambda leaf: leaf.astype(float), trained.params)
    policies = jax.vmap(lambda model, params: model.log_policy(params))(runs, params)
    return policies.reshape(trials, sizes, num_x, num_y)


def ridge_policies(worlds: World, logs: Logs) -> dict[str, Float[Array, "T M X Y"]]:
    """RL (pessimistic by the confidence ellipsoid) and RL plug-in: the minimisers over all policies."""
    reference, beta = worlds.problem.log_reference[:, None], worlds.problem.beta[:, None, None, None]
    tables = {"RL": logs.pessimistic, "RL plug-in": logs.plug_in}
    return {name: cost_classes.tilted(reference, table / beta, 1.0) for name, table in tables.items()}


def every_learner(
    worlds: World, logs: Logs, key, supervised_weight: float
) -> dict[str, Float[Array, "T M X Y"]]:
    """SUP, PREF, Early, RL, RL plug-in, and the reference itself."""
    objectives = {
        "SUP": Supervised(),
        "PREF": Preference(),
        "Early": EarlyEnsemble(jnp.asarray(supervised_weight)),
    }
    keys = jax.random.split(key, len(objectives))
    found = {name: fit(worlds, logs, each, keys[i]) for i, (name, each) in enumerate(objectives.items())}
    found |= ridge_policies(worlds, logs)
    found["reference"] = jnp.broadcast_to(worlds.problem.log_reference[:, None], found["RL"].shape)
    return found


@jax.jit
def suboptimality(worlds: World, policies: Float[Array, "T M X Y"]) -> Float[Array, "T M"]:
    """SubOpt of each policy in its own world."""
    return jax.vmap(lambda world, policy: world.problem.suboptimality(policy))(worlds, policies)


@jax.jit
def covariates(worlds: World) -> dict[str, Float[Array, " T"]]:
    """How hard each world is: balance violation, C_PREF at pi*, misfit of log(pi* / reference), gamma_min."""

    def one(world):
        problem = world.problem
        ratio = problem.log_optimal - problem.log_reference
        return {
            "violation": coverage.balance_violation(problem),
            "pair_coverage": coverage.preference_coverage(problem, problem.log_optimal[None])[0],
            "misfit": features.misfit(world.features, ratio),
            "gamma_min": jnp.sum(problem.context_probs * coverage.gamma_min(problem)),
        }

    return jax.vmap(one)(worlds)
