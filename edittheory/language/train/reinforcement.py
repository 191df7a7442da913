"""RL on a pessimistic cost: E[f_bar + beta KL(pi || pi_ref)], minimised on the policy's own samples (`policy_gradient`)."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from edittheory.core.validation import check_in, check_int, check_non_negative
from edittheory.language.train import train_state
from edittheory.language.train.batches import Order
from edittheory.language.train.cost_net import CostEnsemble
from edittheory.language.train.policy_gradient import MEASURED, Judge, Static, advance
from edittheory.language.train.train_state import Hyper, Trained
from edittheory.learn.training import Progress
from edittheory.runs.checkpoints import fingerprint

Number = float | int
ADVANTAGES = ("rloo", "grpo")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to train with RL.

    steps of `batch` prompts with `samples` responses each, at temperature 1, of at most `max_new` tokens. beta: cost per
    nat of KL. unended_cost: of a response without an end (None: the ensemble's cost_max). advantage: "rloo" compares a
    response with the mean of the others to its prompt, unbiased; "grpo" takes its standardised cost in the group and
    only the KL's own gradient at each place, which is neither. Learning rate, warm-up, clipping, compute_dtype, remat
    and chunk as in `fine_tuning.Settings`.
    """

    max_new: int
    learning_rate: Number = 5e-4
    steps: int = 50
    batch: int = 16
    samples: int = 4
    beta: Number = 0.05
    unended_cost: Number | None = None
    advantage: str = "rloo"
    clip: Number = 1.0
    warmup: Number = 0.08
    final: Number = 0.1
    weight_decay: Number = 0.0
    compute_dtype: str = "float32"
    remat: bool | str = False
    chunk: int = 10

    def __post_init__(self) -> None:
        for name in ("max_new", "steps", "batch", "chunk"):
            check_int(name, getattr(self, name), 1)
        check_int("samples", self.samples, 2)
        check_non_negative("beta", self.beta)
        train_state.check_settings(self)
        if self.unended_cost is not None:
            check_non_negative("unended_cost", self.unended_cost)
        check_in("advantage", self.advantage, ADVANTAGES)


def train(
    model: Any,
    prompts: Int[Array | np.ndarray, "N P"],
    prompt_len: Int[Array | np.ndarray, " N"],
    cost_ensemble: CostEnsemble,
    settings: Settings,
    key: Array,
    *,
    eos_id: int,
    reference: Any = None,
    checkpoint: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """RL from `model` against `reference` (None: the model as it comes), whose hidden states the ensemble reads.

    Prompts are taken in an order shuffled in every epoch; a last batch that is smaller is filled from its epoch's start.
    One device. The history has, for each chunk, step and the means over its steps of the objective (loss), pessimistic
    cost, kl (nats a response), share ended, length, gradient_norm, learning_rate. checkpoint and progress as in
    `fine_tuning.train`. Raises ValueError for prompts of fewer than two tokens or fewer than a batch, FineTuningDiverged
    for a loss that explodes.
    """
    prompts, prompt_len = np.asarray(prompts, dtype=np.int32), np.asarray(prompt_len, dtype=np.int32)
    reference = model if reference is None else reference
    _check(model, reference, prompts, prompt_len, cost_ensemble, settings)
    check_int("eos_id", eos_id, 0, model.architecture.vocab_size - 1)
    order_key, sample_key = jax.random.split(key)
    params, frozen = train_state.split(model)
    hyper = Hyper.of(settings, settings.steps)
    cap = cost_ensemble.cost_max if settings.unended_cost is None else settings.unended_cost
    judged_by = Judge(
        reference, cost_ensemble, *(jnp.asarray(x, dtype=jnp.float32) for x in (settings.beta, cap))
    )
    names = ("samples", "advantage", "compute_dtype", "remat")
    static = Static(settings.max_new, eos_id, *(getattr(settings, name) for name in names))
    identity = ""
    if checkpoint is not None:
        arrays = (eqx.filter(tree, eqx.is_array) for tree in (model, judged_by))
        width = max(2, int(prompt_len.max()))
        identity = fingerprint(f"{settings!r} {eos_id}", *arrays, prompts[:, -width:], prompt_len, key)
    return train_state.drive(
        lambda params, rest, batches, count: advance(
            params, rest, frozen, judged_by, batches, count, hyper, sample_key, static
        ),
        _batches(prompts, prompt_len, settings, order_key),
        train_state.start(params, hyper),
        lambda params: eqx.combine(params, frozen),
        steps=settings.steps,
        chunk=settings.chunk,
        columns=(*MEASURED, "gradient_norm", "learning_rate"),
        watch=lambda params: {},
        learning_rate=float(settings.learning_rate),
        mesh=train_state.data_mesh(None, 1),
        key=key,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        identity=identity,
        report=progress,
    )


def _check(
    model: Any,
    reference: Any,
    prompts: np.ndarray,
    prompt_len: np.ndarray,
    cost_ensemble: CostEnsemble,
    settings: Settings,
) -> None:
    """Raises ValueError for prompts, a reference or an ensemble that do not fit."""
    size, width = prompts.shape
    wrong = np.flatnonzero((prompt_len < 2) | (prompt_len > width))
    if len(wrong):
        raise ValueError(f"prompt_len[{wrong[0]}] must be in [2, {width}], but it is {prompt_len[wrong[0]]}")
    if settings.batch > size:
        raise ValueError(f"batch must be at most the {size} prompts, but it is {settings.batch}")
    mine, its = model.architecture, reference.architecture
    if its.vocab_size != mine.vocab_size:
        raise ValueError(
            f"reference must have the model's {mine.vocab_size} tokens, but it has {its.vocab_size}"
        )
    if cost_ensemble.centre.shape != (2 * its.dim,):
        raise ValueError(
            f"cost_ensemble must read {2 * its.dim} features of the reference, "
            f"but it reads {cost_ensemble.centre.shape[0]}"
        )


def _batches(
    prompts: np.ndarray, prompt_len: np.ndarray, settings: Settings, key: Array
) -> Callable[[int, int], tuple[Array, Array]]:
    """Prompts (chunk, batch, P) and lengths of the steps first, ..., first + count - 1."""
    order = Order(key, len(prompts), settings.batch)
    prompts = prompts[:, prompts.shape[1] - max(2, int(prompt_len.max())) :]

    def inputs(first: int, count: int) -> tuple[Array, Array]:
        picked = []
        for step in np.minimum(np.arange(first, first + settings.chunk), first + count - 1):
            rows = order.rows(int(step))
            if len(rows) < settings.batch:
                start = order.rows(int(step) // order.steps_per_epoch * order.steps_per_epoch)
                rows = np.concatenate([rows, start])[: settings.batch]
            picked.append(rows)
        return jnp.asarray(prompts[np.array(picked)]), jnp.asarray(prompt_len[np.array(picked)])

    return inputs
