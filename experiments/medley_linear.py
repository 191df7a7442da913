"""The linear track of the medley's study: the worlds of phase_diagram, their logs again as counts, and the medley beside every learner."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from edittheory.medley import likelihoods, linear
from edittheory.problem import EditDataset

from . import worlds


@partial(jax.jit, static_argnames=("most",))
def _linear_counts(drawn: worlds.World, keys, sizes, most: int) -> likelihoods.Counts:
    """Counts of the logs that `worlds.observe` makes with the same keys."""

    def one(world, key):
        data_key, noise_key = jax.random.split(key)
        problem = world.problem
        data = problem.sample(data_key, most)
        noisy = data.costs + world.noise * jax.random.normal(noise_key, (most,))
        data = EditDataset(data.contexts, data.responses, data.edits, noisy)
        return likelihoods.count(data, sizes, problem.num_contexts, problem.num_responses)

    return jax.vmap(one)(drawn, keys)


@partial(jax.jit, static_argnames=("config",))
def _linear_medley(drawn: worlds.World, counts: likelihoods.Counts, config: linear.LinearMedley):
    def one(world, at_sizes):
        problem = world.problem
        fit = partial(linear.fit, beta=problem.beta, cost_max=problem.cost_max, config=config)
        return jax.vmap(lambda each: fit(world.features, problem.log_reference, each).log_policy)(at_sizes)

    return jax.vmap(one)(drawn, counts)


def linear_cell(config: Any, cell: dict, key):
    """SubOpt of every learner and the medley on the worlds of one cell: {learner: (trials, sizes)}, None, sizes."""
    knobs = worlds.Knobs(**{name: cell[name] for name in worlds.Knobs._fields if name in cell})
    world_key, train_key = jax.random.split(key)
    sizes, most = config.linear_sizes, max(config.linear_sizes)
    drawn, logs = worlds.simulated(
        config, world_key, knobs, sizes, config.delta, cell["space"], config.linear_trials
    )
    # `worlds.simulate` splits each world's key in three, the second for its log.
    log_keys = jax.vmap(lambda each: jax.random.split(each, 3)[1])(
        jax.random.split(world_key, config.linear_trials)
    )
    counts = _linear_counts(drawn, log_keys, jnp.asarray(sizes), most)
    logged = jnp.sum(counts.pairs, axis=(-3, -2, -1))
    if not bool(jnp.all(counts.pairs.reshape(logs.counts.shape) == logs.counts + logs.held_out)):
        raise RuntimeError(f"the logs of {cell} could not be made again ({logged[0].tolist()} edits)")
    found = worlds.every_learner(drawn, logs, train_key, config.supervised_weight)
    found["medley"] = _linear_medley(drawn, counts, linear.DEFAULT)
    if config.by_risk:
        found["medley by risk"] = _linear_medley(drawn, counts, linear.BY_RISK)
    losses = {name: np.asarray(worlds.suboptimality(drawn, policies)) for name, policies in found.items()}
    return losses, None, sizes
