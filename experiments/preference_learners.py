"""The worlds of `preference_losses`, its losses on whole tables, and what a finite or a trained class makes of a log."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from edittheory.core.logspace import log_normalise
from edittheory.learn import losses, population
from edittheory.learn.objectives import Objective
from edittheory.learn.policies import LogLinear
from edittheory.learn.preference_losses import PREFERENCE_LOSSES
from edittheory.learn.training import Settings, train
from edittheory.problem import responses

from . import worlds

USERS = {
    "strong": (0.9, 0.0, 0.0),
    "weak": (0.05, 0.0, 0.0),
    "habit": (0.05, 0.3, 0.0),
    "flips": (0.05, 0.0, 0.1),
}
"""Strength, habit, and the share of pairs that are logged the wrong way round."""


class Recipe(NamedTuple):
    """A loss as it is trained: its name, what is tuned ("scale", or "weight" at scale 1), whether the NLL is per token."""

    loss: str
    tunes: str = "scale"
    nll_per_token: bool = False


RECIPES = {name: Recipe(name) for name in PREFERENCE_LOSSES} | {
    "sigmoid + NLL": Recipe("sigmoid", "weight"),
    "sigmoid + NLL per token": Recipe("sigmoid", "weight", True),
}
TEMPERATURES = (0.25, 0.5, 1.0, 2.0, 4.0)


class OnAllPairs(Objective):
    """A recipe's loss of every (x, y, y') of `worlds.all_cells`, from whole tables. lengths (Y,): of the responses, in tokens."""

    recipe: Recipe = eqx.field(static=True)
    lengths: tuple[float, ...] = eqx.field(static=True)
    scale: Any
    option: Any
    supervised_weight: Any

    def __call__(self, model, params, data):
        """One value for each cell, in their order; `data` is not looked at."""
        log_policy = model.log_policy(params)
        kind = log_policy.dtype
        lengths = jnp.asarray(self.lengths, kind)
        table = population.pair_table(
            self.recipe.loss,
            log_policy,
            model.log_reference,
            jnp.asarray(self.scale, kind),
            jnp.asarray(self.option, kind),
            lengths if self.recipe.loss == "simpo" else None,
        )
        nll = losses.supervised(log_policy)
        nll = nll / lengths if self.recipe.nll_per_token else nll
        return (table + losses.weighted(nll, jnp.asarray(self.supervised_weight, kind))[:, None, :]).reshape(
            -1
        )


def objective(config: Any, name: str, value: float, scale: float = 1.0) -> OnAllPairs:
    """What a recipe minimises at one value of its tuned number; "SFT" and a weight of 0 too."""
    recipe = RECIPES[name]
    space = responses.all_strings(config.num_letters, config.max_length, min_length=1)
    lengths = tuple(float(length) for length in np.asarray(space.lengths))
    known = recipe.loss in ("conservative", "robust")
    option = config.flips_known if known else PREFERENCE_LOSSES[recipe.loss].default
    scale, weight = (value, 0.0) if recipe.tunes == "scale" else (scale, value)
    return OnAllPairs(recipe, lengths, *map(jnp.float64, (scale, option, weight)))


def simulate(config: Any, user: str, sizes, trials: int):
    """The worlds of a user and their logs, the same for every loss and class; pairs flipped where the user asks for it."""
    strength, habit, flips = USERS[user]
    key = jax.random.fold_in(jax.random.key(config.seed), tuple(USERS).index(user))
    knobs = worlds.Knobs(strength=strength, habit=habit)
    drawn, logs = worlds.simulated(config, key, knobs, sizes, trials=trials)
    keys = jax.random.split(jax.random.fold_in(key, 1), 2)
    tables = (drawn.problem.num_contexts, *[drawn.problem.num_responses] * 2)

    def flipped(key, counts):
        cells = counts.reshape(*counts.shape[:-1], *tables)
        wrong = jax.random.binomial(key, cells, flips)
        return (cells - wrong + jnp.swapaxes(wrong, -1, -2)).reshape(counts.shape)

    if flips:
        logs = eqx.tree_at(
            lambda logs: (logs.counts, logs.held_out),
            logs,
            (flipped(keys[0], logs.counts), flipped(keys[1], logs.held_out)),
        )
    return drawn, logs


@eqx.filter_jit
def finite_class(drawn: worlds.World, key, like):
    """Members (T, K, X, Y): h* and others of its size, `like` (K - 1,) of them, at TEMPERATURES, then the law of the edits."""

    def one(key, world):
        reference = world.problem.log_reference
        ratio = world.problem.log_optimal - reference
        noise = jax.random.normal(key, (*like.shape, *ratio.shape))
        ratios = jnp.concatenate([ratio[None], jnp.std(ratio) * noise])
        heated = jnp.asarray(TEMPERATURES)[:, None, None, None] * ratios
        members = log_normalise(reference + heated.reshape(-1, *ratio.shape))
        return jnp.concatenate([members, world.problem.edited(reference)[None]])

    return jax.vmap(one)(jax.random.split(key, drawn.features.shape[0]), drawn)


@eqx.filter_jit
def chosen_members(members, drawn: worlds.World, counts, wanted: OnAllPairs):
    """The member of least mean loss on each log, (T, M, X, Y)."""

    class Member(NamedTuple):
        log_reference: Any
        table: Any

        def log_policy(self, params):
            return self.table

    def one(members, reference, counts):
        tables = jax.vmap(lambda table: wanted(Member(reference, table), None, None))(members)
        total = jnp.einsum("mc,kc->mk", counts, jnp.where(jnp.any(counts > 0, axis=0), tables, 0.0))
        return members[jnp.argmin(total, axis=-1)]

    return jax.vmap(one)(members, drawn.problem.log_reference, counts)


def trained(config: Any, drawn, logs, wanted, key, *, rate=None, steps=None):
    """Log-linear policies (T, M, X, Y): stopped early on the held-out pairs, or after exactly `steps` of `rate` on all pairs."""
    trials, sizes, _ = logs.counts.shape
    reference = drawn.problem.log_reference
    model = LogLinear(drawn.features, reference, jnp.full(trials, jnp.inf))
    runs = jax.tree.map(lambda leaf: jnp.repeat(leaf, sizes, axis=0), model)
    flat = (trials * sizes, -1)
    cells = worlds.all_cells(*reference.shape[1:])
    early = steps is None
    held = {"held_out": cells, "held_out_weights": logs.held_out.reshape(flat)} if early else {}
    counts = logs.counts if early else logs.counts + logs.held_out
    settings = Settings(config.steps, 5, patience=12) if early else Settings(steps, steps)
    found = train(
        runs, wanted, cells, jax.random.split(key, trials * sizes), learning_rate=config.rate if rate is None else rate,
        weights=counts.reshape(flat), settings=settings, per_run=jax.tree.leaves, keep_diverged=True, **held,
    )  # fmt: skip
    params = jax.tree.map(lambda leaf: leaf.astype(float), found.params)
    policies = jax.vmap(lambda model, params: model.log_policy(params))(runs, params)
    return policies.reshape(trials, sizes, *reference.shape[1:])


@jax.jit
def shifts(drawn: worlds.World, counts, policies):
    """Mean log(pi / reference) of the edits and of the responses of edited pairs, each (T, M)."""

    def one(world, counts, policies):
        ratio = policies - world.problem.log_reference
        size = ratio.shape[-1]
        pairs = counts.reshape(len(counts), -1, size, size) * (1.0 - jnp.eye(size))
        total = jnp.sum(pairs, axis=(1, 2, 3))
        return (
            jnp.sum(jnp.sum(pairs, axis=2) * ratio, axis=(1, 2)) / total,
            jnp.sum(jnp.sum(pairs, axis=3) * ratio, axis=(1, 2)) / total,
        )

    return jax.vmap(one)(drawn, counts, policies)
