"""The training loop that all learners of a language model share: optimiser, schedule, compiled chunk, saving, watching.

The compiled part runs up to a chunk of steps in a loop that stops at the first non-finite loss or gradient. Between
chunks the host assembles the next batches, records, reports and saves.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from edittheory.core.errors import RunError
from edittheory.core.validation import check_in, check_non_negative, check_positive, check_probability
from edittheory.language.model import lora
from edittheory.learn.training import Progress
from edittheory.learn.training_loop import BLOW_UP
from edittheory.runs import checkpoints

History = dict[str, np.ndarray]

COMPUTE_DTYPES = ("float32", "bfloat16", "float16")


def check_settings(settings: Any) -> None:
    """Raises ValueError if a field that all trainings have is out of range: `Hyper`'s, compute_dtype and remat."""
    for name in ("learning_rate", "clip"):
        check_positive(name, getattr(settings, name))
    check_non_negative("weight_decay", settings.weight_decay)
    for name in ("warmup", "final"):
        check_probability(name, getattr(settings, name))
    check_in("compute_dtype", settings.compute_dtype, COMPUTE_DTYPES)
    check_in("remat", settings.remat, (False, True, "light", "full"))


class Hyper(NamedTuple):
    """Numbers of a training that are traced, so that none of them causes a compilation; see `schedule`."""

    learning_rate: Array
    steps: Array
    warmup: Array
    final: Array
    clip: Array
    weight_decay: Array

    @classmethod
    def of(cls, settings: Any, steps: int) -> "Hyper":
        """From fields of the same names in `settings`."""
        numbers = (getattr(settings, name) for name in cls._fields if name != "steps")
        rate, *rest = (jnp.asarray(number, dtype=jnp.float32) for number in numbers)
        return cls(rate, jnp.asarray(steps, dtype=jnp.int32), *rest)


class State(eqx.Module):
    """Trained parameters (None in place of frozen ones), the optimiser's moments, and the number of steps taken."""

    params: Any
    optimizer: Any
    step: Array


class Trained(NamedTuple):
    """A trained model; history, one row for each chunk as a dict of arrays; the number of steps."""

    model: Any
    history: History
    steps: int


class FineTuningDiverged(RunError):
    """A loss became non-finite or exploded; `trained` holds the model and history of the chunks before, None if there are none."""

    def __init__(self, message: str, trained: Trained | None):
        super().__init__(message)
        self.trained = trained


def schedule(hyper: Hyper, step: Array) -> Array:
    """Learning rate of step 0, 1, ...: linear warm-up over the share `warmup` of the steps, then a cosine to `final` times the peak."""
    steps = hyper.steps.astype(jnp.float32)
    warm = jnp.maximum(1.0, jnp.ceil(hyper.warmup * steps))
    rising = (step + 1) / warm
    along = jnp.clip((step + 1 - warm) / jnp.maximum(1.0, steps - warm), 0.0, 1.0)
    falling = hyper.final + (1.0 - hyper.final) * 0.5 * (1.0 + jnp.cos(jnp.pi * along))
    return (hyper.learning_rate * jnp.where(step + 1 < warm, rising, falling)).astype(jnp.float32)


def _optimizer(hyper: Hyper, rate: Array) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(hyper.clip),
        optax.scale_by_adam(),
        optax.add_decayed_weights(hyper.weight_decay),
        optax.scale(-rate),
    )


def split(model: Any) -> tuple[Any, Any]:
    """(trained, frozen) parts of a model: LoRA leaves alone are trained where there are any, else everything.

    Trained leaves of less than 32 bits become float32 master copies; frozen ones stay as they are.
    """
    params, frozen = eqx.partition(model, lora.trainable(model))

    def master(leaf: Array) -> Array:
        return leaf.astype(jnp.float32) if leaf.dtype.itemsize < 4 else leaf

    return jax.tree.map(master, params), frozen


def start(params: Any, hyper: Hyper) -> State:
    """The state before the first step."""
    moments = _optimizer(hyper, hyper.learning_rate).init(params)
    return State(params, moments, jnp.zeros((), dtype=jnp.int32))


def data_mesh(devices: Sequence[Any] | None, rows: int) -> Mesh:
    """A mesh with one axis `data` over the devices, no more of them than rows.

    None: all local accelerators, or one CPU device. Several CPU devices are the same cores, and would only sum gradients in
    another order.
    """
    if devices is None:
        devices = jax.local_devices()
        devices = devices[:1] if devices[0].platform == "cpu" else devices
    devices = list(devices)
    return Mesh(np.array(devices[: max(1, min(len(devices), rows))]), ("data",))


def place(tree: Any, mesh: Mesh, spec: PartitionSpec | None = None) -> Any:
    """On the mesh's devices, replicated unless `spec` says otherwise; as it is, if that is the default device alone."""
    if mesh.size == 1 and mesh.devices.flat[0] == jax.local_devices()[0]:
        return tree
    return jax.device_put(tree, NamedSharding(mesh, spec or PartitionSpec()))


def run_chunk(
    gradient: Callable[[Any, Any, Array], tuple[dict[str, Array], Any]],
    params: Any,
    rest: tuple[Any, Array],
    inputs: Any,
    count: Array,
    hyper: Hyper,
) -> tuple[Any, tuple[Any, Array], dict[str, Array], Array]:
    """`count` optimiser steps inside jit: new parameters, (optimiser state, step), metrics of each step, and whether all were finite.

    gradient(params, inputs of one step, step number) returns scalar metrics, `loss` among them, and the gradient;
    leaves of `inputs` have a leading axis of steps, of which the first `count` are taken. After a step that is not
    finite the loop stops with `step` at that step, and the parameters are of no use.
    """
    length = jax.tree.leaves(inputs)[0].shape[0]

    def at(index: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[index], inputs)

    def body(carry: Any) -> Any:
        index, params, moments, step, records, _ = carry
        metrics, grads = gradient(params, at(index), step)
        norm = jnp.sqrt(sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(grads)))
        sound = jnp.isfinite(metrics["loss"]) & jnp.isfinite(norm)
        rate = schedule(hyper, step)
        updates, moments = _optimizer(hyper, rate).update(grads, moments, params)
        params = optax.apply_updates(params, updates)
        metrics = metrics | {"gradient_norm": norm, "learning_rate": rate}
        records = {name: records[name].at[index].set(value) for name, value in metrics.items()}
        return index + 1, params, moments, jnp.where(sound, step + 1, step), records, sound

    names = jax.eval_shape(gradient, params, at(0), rest[1])[0]
    records = {
        name: jnp.zeros(length, dtype=jnp.float32) for name in (*names, "gradient_norm", "learning_rate")
    }
    carry = (jnp.zeros((), dtype=jnp.int32), params, *rest, records, jnp.asarray(True))
    _, params, moments, step, records, sound = jax.lax.while_loop(
        lambda carry: (carry[0] < count) & carry[-1], body, carry
    )
    return params, (moments, step), records, sound


def drive(
    advance: Callable[[Any, tuple[Any, Array], Any, Array], tuple[Any, tuple[Any, Array], dict, Array]],
    inputs: Callable[[int, int], Any],
    state: State,
    finish: Callable[[Any], Any],
    *,
    steps: int,
    chunk: int,
    columns: Sequence[str],
    watch: Callable[[Any], dict[str, float]],
    learning_rate: float,
    mesh: Mesh,
    key: Array,
    checkpoint: Path | None,
    identity: str,
    report: Callable[[Progress], None] | None,
) -> Trained:
    """Chunk after chunk until `steps` are taken; resumes from `checkpoint` if that file exists.

    advance(params, rest, inputs, count) is the compiled chunk; inputs(first, count) gives steps first, ...,
    first + count - 1, padded to `chunk`; finish(params) is the model; watch(params) measures `columns` after a chunk,
    beside the means of what the steps record. Raises FineTuningDiverged.
    """
    history: dict[str, list[float]] = {name: [] for name in ("step", *columns)}
    done, first = 0, np.zeros(())
    if checkpoint is not None:
        like = (state, jax.random.key_data(key), first, {name: np.zeros(0) for name in history})
        found = checkpoints.load(checkpoint, like, identity)
        if found is not None:
            (state, _, first, rows), done = found
            history = {name: [float(value) for value in values] for name, values in rows.items()}
    params, rest = place((state.params, (state.optimizer, state.step)), mesh)

    def trained() -> Trained:
        model = jax.device_put(finish(params), mesh.devices.flat[0]) if mesh.size > 1 else finish(params)
        return Trained(model, {name: np.array(values) for name, values in history.items()}, done)

    while done < steps:
        count = min(chunk, steps - done)
        new, rest, records, sound = advance(
            params, rest, inputs(done, count), jnp.asarray(count, dtype=jnp.int32)
        )
        means = {name: float(np.mean(np.asarray(values)[:count])) for name, values in records.items()}
        first = np.asarray(records["loss"][0]) if not done else first
        if not bool(sound) or abs(means["loss"]) > BLOW_UP * (1.0 + abs(float(first))):
            where = f"step {int(rest[1])}" if not bool(sound) else f"steps {done} to {done + count - 1}"
            why = (
                "the loss or its gradient is not finite"
                if not bool(sound)
                else f"the mean loss is {means['loss']:.3g}"
            )
            raise FineTuningDiverged(
                f"training diverged at {where}: {why} (the loss was {float(first):.3g} at the start); "
                f"lower the learning_rate, now {learning_rate:g}. The {done} steps of the chunks before are kept",
                trained() if done else None,
            )
        params, done = new, done + count
        for name, value in (means | watch(params) | {"step": float(done)}).items():
            history[name].append(value)
        if checkpoint is not None:
            rows = {name: np.array(values) for name, values in history.items()}
            whole = (State(params, *rest), jax.random.key_data(key), first, rows)
            checkpoints.save(checkpoint, whole, identity, done)
        if report is not None:
            report(Progress(done, steps, 1, 1, means["loss"]))
    return trained()
