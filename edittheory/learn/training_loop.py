"""The compiled loop of `training`: one run as pure functions, then all runs over devices and blocks.

A run that is finished (all steps taken, stopped early, or diverged) stays as it is, so that all runs share
one loop.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array

from edittheory.learn.objectives import Objective, mean_loss
from edittheory.problem import EditDataset

BLOW_UP = 10.0
"""A run has diverged when its loss exceeds this many times (1 + its absolute loss at the start)."""


class Static(NamedTuple):
    """What the compiled loop is specialised to."""

    optimizer: Callable[[Any], optax.GradientTransformation]
    chunk: int
    batch_size: int | None
    width: int
    mesh: Mesh | None


class Job(eqx.Module):
    """What differs from run to run; every leaf has a leading run axis."""

    model: Any
    objective: Objective
    data: EditDataset
    weights: Array
    held_out: EditDataset | None
    held_out_weights: Any
    learning_rate: Array
    key: Array


class State(eqx.Module):
    """One run in training: parameters, optimiser, step, losses, the best so far on held-out data, and whether it diverged."""

    params: Any
    optimizer: Any
    step: Array
    loss: Array
    first_loss: Array
    best_params: Any
    best_loss: Array
    best_step: Array
    stale: Array
    diverged: Array


# -- one run -------------------------------------------------------------------------------------------------


def init_one(shared: Any, job: Job, static: Static) -> State:
    """The state of one run before its first step."""
    model = eqx.combine(shared, job.model)
    params = jax.tree.map(lambda leaf: leaf.astype(job.weights.dtype), model.init(job.key))
    loss = mean_loss(job.objective, model, params, job.data, job.weights)
    best = (
        loss
        if job.held_out is None
        else mean_loss(job.objective, model, params, job.held_out, job.held_out_weights)
    )
    zero = jnp.zeros((), jnp.int32)
    keep = None if job.held_out is None else params
    diverged = jnp.where(jnp.isfinite(loss), -1, 0).astype(jnp.int32)
    return State(
        params,
        static.optimizer(job.learning_rate).init(params),
        zero,
        loss,
        loss,
        keep,
        best,
        zero,
        zero,
        diverged,
    )


def _advance_one(shared: Any, job: Job, state: State, limits: tuple, static: Static) -> tuple[State, Array]:
    """`chunk` steps of one run, then its evaluation; a run that is finished stays as it is."""
    make_optimizer, chunk, batch_size = static.optimizer, static.chunk, static.batch_size
    steps, patience = limits
    model = eqx.combine(shared, job.model)
    optimizer = make_optimizer(job.learning_rate)
    total: Any = jnp.cumsum(job.weights) if batch_size else None

    def loss_at(params, step):
        if batch_size is None:
            return mean_loss(job.objective, model, params, job.data, job.weights)
        uniform = jax.random.uniform(jax.random.fold_in(job.key, step), (batch_size,), dtype=total.dtype)
        picked = jnp.minimum(jnp.searchsorted(total, uniform * total[-1], side="right"), total.shape[0] - 1)
        batch = jax.tree.map(lambda leaf: leaf[picked], job.data)
        return jnp.mean(job.objective(model, params, batch))

    running = (state.diverged < 0) & (state.stale < patience)

    def step(carry, _):
        params, opt_state, count, diverged = carry
        active = running & (diverged < 0) & (count < steps)
        loss, gradient = jax.value_and_grad(loss_at)(params, count)
        updates, new_opt = optimizer.update(gradient, opt_state, params)
        new_params = optax.apply_updates(params, updates)
        new_params = model.project(new_params) if hasattr(model, "project") else new_params
        sound = jnp.isfinite(loss) & _all_finite(new_params)
        moved = active & sound
        params, opt_state = _where(moved, (new_params, new_opt), (params, opt_state))
        diverged = jnp.where(active & ~sound, count, diverged)
        return (params, opt_state, count + moved.astype(count.dtype), diverged), None

    start = (state.params, state.optimizer, state.step, state.diverged)
    (params, opt_state, count, diverged), _ = jax.lax.scan(step, start, None, length=chunk)
    loss = mean_loss(job.objective, model, params, job.data, job.weights)
    exploded = ~jnp.isfinite(loss) | (jnp.abs(loss) > BLOW_UP * (1.0 + jnp.abs(state.first_loss)))
    diverged = jnp.where(running & (diverged < 0) & exploded, count, diverged)
    best_params, best, best_step, stale = state.best_params, state.best_loss, state.best_step, state.stale
    if job.held_out is not None:
        held = mean_loss(job.objective, model, params, job.held_out, job.held_out_weights)
        better = running & (held < best)
        best_params = _where(better, params, best_params)
        best, best_step = jnp.where(better, held, best), jnp.where(better, count, best_step)
        stale = jnp.where(running, jnp.where(better, 0, stale + 1), stale).astype(jnp.int32)
    else:
        best, best_step = loss, count
    new = State(
        params, opt_state, count, loss, state.first_loss, best_params, best, best_step, stale, diverged
    )
    return new, (diverged < 0) & (stale < patience) & (count < steps)


def _finish_one(shared: Any, job: Job, state: State, static: Static) -> tuple:
    model = eqx.combine(shared, job.model)
    params = state.params if job.held_out is None else state.best_params
    loss, gradient = jax.value_and_grad(lambda p: mean_loss(job.objective, model, p, job.data, job.weights))(
        params
    )
    norm = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient)))
    held = jnp.full_like(loss, jnp.nan) if job.held_out is None else state.best_loss
    spoil = state.diverged >= 0
    blank = partial(jnp.where, spoil, jnp.nan)
    return jax.tree.map(blank, (params, loss, held, norm)), state.best_step, state.step, state.diverged


def _all_finite(tree: Any) -> Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def _where(chosen: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(chosen, a, b), new, old)


# -- all runs: sharded over devices, in blocks within each ---------------------------------------------------


def _over_runs(function: Callable, shared: Any, varying: tuple, width: int, mesh: Mesh) -> Any:
    """function(shared, *one run's part of varying) for all runs."""

    def on_device(shared, varying):
        each = jax.vmap(lambda parts: function(shared, *parts))
        count = jax.tree.leaves(varying)[0].shape[0] // width
        if count == 1:
            return each(varying)
        blocks = jax.tree.map(lambda leaf: leaf.reshape(count, width, *leaf.shape[1:]), varying)
        results = jax.lax.map(each, blocks)
        return jax.tree.map(lambda leaf: leaf.reshape(count * width, *leaf.shape[2:]), results)

    runs = PartitionSpec("runs")
    return jax.shard_map(
        on_device, mesh=mesh, in_specs=(PartitionSpec(), runs), out_specs=runs, check_vma=False
    )(shared, varying)


@partial(jax.jit, static_argnames=("static",))
def start(shared, job, static):
    """The states of all runs before their first step."""
    return _over_runs(
        lambda shared, job: init_one(shared, job, static), shared, (job,), static.width, static.mesh
    )


@partial(jax.jit, static_argnames=("static",), donate_argnames=("state",))
def advance(shared, job, state, limits, static):
    """The states of all runs after the steps between `limits`; `state` is donated."""

    def one(shared, job, state):
        return _advance_one(shared[0], job, state, shared[1], static)

    return _over_runs(one, (shared, limits), (job, state), static.width, static.mesh)


@partial(jax.jit, static_argnames=("static",))
def finish(shared, job, state, static):
    """What training returns of all runs."""

    def one(shared, job, state):
        return _finish_one(shared, job, state, static)

    return _over_runs(one, shared, (job, state), static.width, static.mesh)
