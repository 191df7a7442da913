"""Checks of what goes into a training, and its form for the compiled loop: one run axis in front of
everything."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from edittheory.core.validation import check_positive
from edittheory.learn.objectives import Objective
from edittheory.learn.training_loop import Job, Static, init_one
from edittheory.problem import EditDataset
from edittheory.runs import device_memory


def run_names(labels: Sequence[str] | None, num_runs: int) -> Sequence[str]:
    """A name for each run, for messages. Raises ValueError for another number of labels."""
    if labels is None:
        return [f"run {index}" for index in range(num_runs)]
    if len(labels) != num_runs:
        raise ValueError(f"labels: got {len(labels)}, must be one for each of the {num_runs} keys")
    return labels


def prepare(
    model,
    objective,
    data,
    keys,
    learning_rate,
    weights,
    held_out,
    held_out_weights,
    per_run,
    num_runs,
    names,
    settings,
) -> tuple[Any, Job]:
    """Check shapes and values, cast to the working type, and give everything but the shared model a run
    axis."""
    dtype = jnp.dtype(settings.dtype)
    rates = (
        np.broadcast_to(np.asarray(learning_rate, dtype=float), (num_runs,))
        if np.ndim(learning_rate) == 0
        else np.asarray(learning_rate)
    )
    if rates.shape != (num_runs,):
        raise ValueError(f"learning_rate: shape {rates.shape}, must be () or ({num_runs},)")
    for index, rate in enumerate(rates):
        check_positive(f"learning_rate[{index}] ({names[index]})", float(rate))
    mask = jax.tree.map(lambda _: False, model)
    if per_run is not None:
        mask = eqx.tree_at(per_run, mask, replace_fn=lambda _: True)
    model = jax.tree.map(lambda leaf: _cast(jnp.asarray(leaf), dtype), model)
    own, shared = eqx.partition(model, mask)
    for leaf in jax.tree.leaves(own):
        if leaf.ndim < 1 or leaf.shape[0] != num_runs:
            raise ValueError(
                f"per_run: a field has shape {leaf.shape}, must have a leading axis of {num_runs} runs"
            )
    objective = _objective_per_run(objective, num_runs, dtype)
    shape = model.table_shape
    data, weights = _examples("data", "weights", data, weights, num_runs, names, shape, dtype)
    if held_out is not None:
        held_out, held_out_weights = _examples(
            "held_out", "held_out_weights", held_out, held_out_weights, num_runs, names, shape, dtype
        )
    elif settings.patience is not None:
        raise ValueError(f"patience: got {settings.patience}, but there is no held_out data to stop early on")
    job = Job(
        own,
        objective,
        data,
        weights,
        held_out,
        held_out_weights,
        jnp.asarray(rates, dtype=dtype),
        jnp.asarray(keys),
    )
    return shared, job


def _cast(leaf: Array, dtype: Any) -> Array:
    return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def _objective_per_run(objective: Objective, num_runs: int, dtype: Any) -> Objective:
    """Every coefficient, a scalar or one for each run, with a leading run axis."""

    def expand(field: dataclasses.Field, leaf: Array) -> Array:
        leaf = _cast(jnp.asarray(leaf), dtype)
        if leaf.ndim == 0:
            return jnp.broadcast_to(leaf, (num_runs,))
        if leaf.shape != (num_runs,):
            raise ValueError(
                f"objective.{field.name}: shape {leaf.shape}, must be a number, or one for each of {num_runs} runs"
            )
        return leaf

    fields = [field for field in dataclasses.fields(objective) if not field.metadata.get("static", False)]
    values = [expand(field, getattr(objective, field.name)) for field in fields]
    if not fields:
        return objective
    return eqx.tree_at(lambda tree: [getattr(tree, field.name) for field in fields], objective, values)


def _examples(name, weights_name, data, weights, num_runs, names, shape, dtype):
    size = data.size
    if size < 1:
        raise ValueError(f"{name}: holds no examples, must hold at least one")
    fields = {}
    for field in ("contexts", "responses", "edits", "costs"):
        values = np.asarray(getattr(data, field))
        if values.shape not in ((size,), (num_runs, size)):
            raise ValueError(
                f"{name}.{field}: shape {values.shape}, must be ({size},) or ({num_runs}, {size})"
            )
        if field != "costs":
            limit = shape[0] if field == "contexts" else shape[1]
            wrong = np.argwhere((values < 0) | (values >= limit))
            if len(wrong):
                place = tuple(int(i) for i in wrong[0])
                raise ValueError(
                    f"{name}.{field}{list(place)}: got {values[place]}, must lie in [0, {limit - 1}] "
                    f"for a model of (X, Y) = {shape}"
                )
        kind = dtype if field == "costs" else np.int32
        fields[field] = jnp.asarray(np.broadcast_to(values.astype(kind), (num_runs, size)))
    weights = np.ones(size) if weights is None else np.asarray(weights, dtype=float)
    if weights.shape not in ((size,), (num_runs, size)):
        raise ValueError(f"{weights_name}: shape {weights.shape}, must be ({size},) or ({num_runs}, {size})")
    weights = np.broadcast_to(weights, (num_runs, size))
    bad = np.flatnonzero(~np.all(np.isfinite(weights) & (weights >= 0), axis=1))
    if len(bad):
        raise ValueError(f"{weights_name}, {names[bad[0]]}: must be finite and at least 0")
    empty = np.flatnonzero(weights.sum(axis=1) <= 0)
    if len(empty):
        raise ValueError(
            f"{weights_name}, {names[empty[0]]}: all weights are 0, so {name} is empty; "
            "must hold at least one example"
        )
    return EditDataset(**fields), jnp.asarray(weights, dtype=dtype)


def check_memory(model, shared, job, settings, num_runs, width, num_devices, device) -> None:
    """An estimate: inputs, optimiser state, and what one block of runs keeps while it differentiates."""

    def total(tree):
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))

    item = jnp.dtype(settings.dtype).itemsize
    one = jax.eval_shape(
        lambda: init_one(
            shared, jax.tree.map(lambda leaf: leaf[0], job), Static(settings.optimizer, 1, None, 1, None)
        )
    )
    state = sum(int(np.prod(leaf.shape)) * item for leaf in jax.tree.leaves(one))
    examples = settings.batch_size or job.weights.shape[1]
    numbers = getattr(model, "working_floats", lambda: 0)() + job.objective.working_floats(model, examples)
    working = item * (numbers + 8 * examples) + 3 * state
    share = -(-num_runs // num_devices)
    per_device = total(shared) + (total(job) / num_runs + 2 * state) * share + working * width
    estimate = per_device * (num_devices if device.platform == "cpu" else 1)
    limit = settings.memory_limit or device_memory.limit_of(device)
    device_memory.require(
        f"training {num_runs} runs, {width} at a time,",
        estimate,
        limit,
        "set a smaller width, train fewer runs at once, or use a smaller class",
    )
