"""One trainer for every loss and every class: many runs at once, in chunks that can be saved, watched and
resumed.

A run is one training: its own data, weights, key, learning rate and objective coefficients. All of these
carry a leading run axis R and may be swept; the compiled loop is the same for any values. `jax.lax.scan`
takes `chunk` steps at a time; between chunks the host evaluates, checks, reports and saves. Runs are sharded
over devices, and within a device taken in blocks of `width`, so that memory does not grow with R. How many runs
stand side by side, and on how many devices, may change the last bits of each.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from edittheory.core.errors import RunError
from edittheory.core.validation import check_int
from edittheory.learn.objectives import Objective
from edittheory.learn.training_inputs import check_memory, prepare, run_names
from edittheory.learn.training_loop import BLOW_UP, Static, advance, finish, start
from edittheory.problem import EditDataset
from edittheory.runs import checkpoints


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to train.

    steps: optimiser steps of each run. chunk: steps between evaluations (and saves). batch_size: examples a
    step, drawn with replacement in proportion to their weights; None is the full batch. optimizer: learning
    rate -> optax transformation. patience: stop a run after this many evaluations without a better held-out
    loss (None: never). dtype: of parameters and log-probabilities. width: runs taken together on a device
    (None: all). memory_limit: bytes a device may use (None: 80% of what is free). save_every: chunks between
    checkpoints.
    """

    steps: int = 500
    chunk: int = 100
    batch_size: int | None = None
    optimizer: Callable[[Any], optax.GradientTransformation] = optax.adam
    patience: int | None = None
    dtype: str = "float32"
    width: int | None = None
    memory_limit: int | None = None
    save_every: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "chunk", "save_every"):
            check_int(name, getattr(self, name), 1)
        for name in ("batch_size", "patience", "width", "memory_limit"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), 1)
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype: got {self.dtype!r}, must be 'float32' or 'float64'")


DEFAULT = Settings()


class Trained(NamedTuple):
    """What came of R runs; parameters are those of the best held-out loss where there was one, else the last.

    loss, held_out_loss: weighted means at those parameters (held_out_loss is NaN without held-out data);
    gradient_norm: of `loss`; best_step: the step of the parameters; steps: how many were taken;
    diverged_step: the step of a non-finite or exploding loss, -1 for a sound run. A diverged run's losses and
    parameters are NaN.
    """

    params: Any
    loss: Float[np.ndarray, " R"]
    held_out_loss: Float[np.ndarray, " R"]
    gradient_norm: Float[np.ndarray, " R"]
    best_step: Int[np.ndarray, " R"]
    steps: Int[np.ndarray, " R"]
    diverged_step: Int[np.ndarray, " R"]


class Progress(NamedTuple):
    """How far a training is, given to `report` after each chunk."""

    step: int
    steps: int
    active: int
    runs: int
    mean_loss: float


class TrainingDiverged(RunError):
    """Some runs diverged; `trained` holds all others, complete."""

    def __init__(self, message: str, trained: Trained):
        super().__init__(message)
        self.trained = trained


def train(
    model: Any,
    objective: Objective,
    data: EditDataset,
    keys: Array,
    *,
    learning_rate: float | Array = 1e-2,
    weights: Array | None = None,
    held_out: EditDataset | None = None,
    held_out_weights: Array | None = None,
    settings: Settings = DEFAULT,
    per_run: Callable[[Any], Any] | None = None,
    labels: Sequence[str] | None = None,
    keep_diverged: bool = False,
    checkpoint: Path | None = None,
    report: Callable[[Progress], None] | None = None,
    devices: Sequence[Any] | None = None,
) -> Trained:
    """Train R = len(keys) runs of `model` on `objective`.

    data (and held_out): fields (R, N), or (N,) shared by all runs; weights: (R, N), (N,) or None for ones; a
    sample size is swept by weights of 1 for the first n examples and 0 after. learning_rate and the
    objective's leaves: one for all, or with a leading R. model: shared, but for the leaves that
    `per_run(model)` names (as in `equinox.tree_at`), which have a leading R. labels: a name for each run, for
    messages. checkpoint: a file to save to and to resume from; a resumed training ends with the same bits as
    one that was never stopped. devices: see `default_devices`.

    Raises ValueError for shapes that disagree, examples outside of the model, or weights that leave nothing
    to train or to hold out, naming argument and run; memory.TooLarge before starting; TrainingDiverged,
    naming step and run, after all other runs are finished, unless `keep_diverged`.
    """
    num_runs = int(np.shape(keys)[0]) if np.ndim(keys) else 0
    check_int("keys: number of runs", num_runs, 1)
    names = run_names(labels, num_runs)
    shared, job = prepare(
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
    )
    devices = (list(devices) if devices is not None else default_devices())[:num_runs]
    shared, job, static, padded = _place(model, shared, job, num_runs, settings, devices)

    state = start(shared, job, static)
    chunk, identity = 0, ""
    if checkpoint is not None:
        kept = dataclasses.replace(settings, save_every=1, memory_limit=None)
        identity = checkpoints.fingerprint(f"{kept!r} {padded}", shared, job)
        found = checkpoints.load(Path(checkpoint), state, identity)
        if found is not None:
            state = jax.device_put(found[0], NamedSharding(static.mesh, PartitionSpec("runs")))
            chunk = found[1]
    limits = (jnp.int32(settings.steps), jnp.int32(settings.patience or np.iinfo(np.int32).max))
    total = -(-settings.steps // settings.chunk)
    while chunk < total:
        state, active = advance(shared, job, state, limits, static)
        chunk += 1
        running = np.asarray(active)[:num_runs]
        if checkpoint is not None and (
            chunk % settings.save_every == 0 or chunk == total or not running.any()
        ):
            checkpoints.save(Path(checkpoint), state, identity, chunk if running.any() else total)
        if report is not None:
            report(
                _progress(min(chunk * settings.chunk, settings.steps), settings.steps, running, state.loss)
            )
        if not running.any():
            break
    trained = _collect(shared, job, state, static, num_runs)
    if not keep_diverged:
        _refuse_diverged(trained, np.asarray(job.learning_rate), np.asarray(state.first_loss), names)
    return trained


def default_devices() -> list[Any]:
    """All local accelerators, or one CPU device, so that results do not depend on into how many devices a CPU is told to be divided.

    Several CPU devices share the same cores; give them as `devices` to train runs side by side.
    """
    devices = jax.local_devices()
    return devices[:1] if devices[0].platform == "cpu" else devices


def _place(model, shared, job, num_runs: int, settings: Settings, devices: Sequence[Any]):
    """What all runs share on every device, the runs divided over them (the last one repeated to fill up), and their number."""
    width = min(settings.width or num_runs, -(-num_runs // len(devices)))
    check_memory(model, shared, job, settings, num_runs, width, len(devices), devices[0])
    padded = -(-num_runs // (width * len(devices))) * width * len(devices)
    mesh = Mesh(np.array(devices), ("runs",))
    if padded > num_runs:
        rows = np.minimum(np.arange(padded), num_runs - 1)
        job = jax.tree.map(lambda leaf: leaf[rows], job)
    job = jax.device_put(job, NamedSharding(mesh, PartitionSpec("runs")))
    shared = jax.device_put(shared, NamedSharding(mesh, PartitionSpec()))
    return shared, job, Static(settings.optimizer, settings.chunk, settings.batch_size, width, mesh), padded


def _progress(step: int, steps: int, running: np.ndarray, losses: Array) -> Progress:
    mine = np.asarray(losses)[: len(running)]
    sound = mine[np.isfinite(mine)]
    mean = float(sound.mean()) if len(sound) else float("nan")
    return Progress(step, steps, int(running.sum()), len(running), mean)


def _collect(shared, job, state, static, num_runs: int) -> Trained:
    (params, loss, held, norm), best_step, steps, diverged = jax.tree.map(
        lambda leaf: leaf[:num_runs], finish(shared, job, state, static)
    )
    numbers = (np.asarray(value) for value in (loss, held, norm, best_step, steps, diverged))
    return Trained(params, *numbers)


def _refuse_diverged(trained: Trained, rates, first, names) -> None:
    bad = np.flatnonzero(trained.diverged_step >= 0)
    if not len(bad):
        return
    index = bad[0]
    others = f" and {len(bad) - 1} more of {len(names)} runs" if len(bad) > 1 else ""
    raise TrainingDiverged(
        f"{names[index]} diverged at step {trained.diverged_step[index]}{others}: its loss, {first[index]:.3g} at "
        f"the start, is no longer finite or exceeds {BLOW_UP:g} times that; lower its learning_rate, now "
        f"{rates[index]:.3g}. The other runs are complete",
        trained,
    )
