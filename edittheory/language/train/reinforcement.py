"""RL on a pessimistic cost: E[f_bar + beta KL(pi || pi_ref)], minimised on the policy's own samples.

The KL is exact at every sampled position: over the whole vocabulary, given the tokens before it. Its sum along a
response has the sequence KL as its mean (chain rule), and the gradient counts both what a token does to the KL at its
own place and what it leads to later, so RLOO's estimate of the gradient has no bias.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from edittheory.core.validation import (
    check_in,
    check_int,
    check_non_negative,
    check_positive,
    check_probability,
)
from edittheory.language.model import generation, transformer
from edittheory.language.model.blocks import logits_of
from edittheory.language.train import train_state
from edittheory.language.train.batches import Order
from edittheory.language.train.cost_net import CostEnsemble, pool
from edittheory.language.train.reference_cache import COMPUTE_DTYPES
from edittheory.language.train.train_state import Hyper, Trained
from edittheory.learn import losses
from edittheory.learn.training import Progress
from edittheory.runs.checkpoints import fingerprint

Number = float | int
ADVANTAGES = ("rloo", "grpo")
MEASURED = ("loss", "cost", "kl", "ended", "length")


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
        for name in ("learning_rate", "clip"):
            check_positive(name, getattr(self, name))
        for name in ("beta", "weight_decay"):
            check_non_negative(name, getattr(self, name))
        for name in ("warmup", "final"):
            check_probability(name, getattr(self, name))
        if self.unended_cost is not None:
            check_non_negative("unended_cost", self.unended_cost)
        check_in("advantage", self.advantage, ADVANTAGES)
        check_in("compute_dtype", self.compute_dtype, COMPUTE_DTYPES)
        check_in("remat", self.remat, (False, True, "light", "full"))


def token_kl(log_policy: Float[Array, "... V"], log_reference: Float[Array, "... V"]) -> Float[Array, "..."]:
    """KL(pi || pi_ref) over the whole vocabulary, in nats; log_reference finite wherever pi is positive."""
    return jnp.sum(jnp.exp(log_policy) * (log_policy - log_reference), axis=-1)


def group_loss(
    log_policy: Float[Array, "N R V"],
    log_reference: Float[Array, "N R V"],
    tokens: Int[Array, "N R"],
    lengths: Int[Array, " N"],
    costs: Float[Array, " N"],
    beta: Number | Float[Array, ""],
    samples: int,
    advantage: str = "rloo",
) -> tuple[Float[Array, ""], Float[Array, " N"]]:
    """A surrogate whose gradient estimates that of E[f_bar + beta KL], and the KL along each response.

    Rows come in groups of `samples` responses to one prompt, drawn from log_policy; costs are theirs. The surrogate's
    value means nothing. Token j is blamed for the cost and the KL at later places, less the mean of that over the
    group's other responses, which are independent of it; the KL at its own place is differentiated directly.
    """
    real = jnp.arange(tokens.shape[1]) < lengths[:, None]
    chosen = jnp.take_along_axis(log_policy, tokens[..., None], axis=-1)[..., 0]
    kl = jnp.where(real, token_kl(log_policy, log_reference), 0)
    fixed = jax.lax.stop_gradient(kl)
    groups = (tokens.shape[0] // samples, samples)
    if advantage == "rloo":
        later = jnp.cumsum(fixed[:, ::-1], axis=1)[:, ::-1] - fixed
        blame = losses.cost(costs[:, None], later, beta)
        grouped = blame.reshape(*groups, -1)
        others = (jnp.sum(grouped, axis=1, keepdims=True) - grouped) / (samples - 1)
        blame = blame - others.reshape(blame.shape)
    else:
        grouped = costs.reshape(groups)
        deviation = jnp.std(grouped, axis=1, keepdims=True) + 1e-4
        blame = ((grouped - jnp.mean(grouped, axis=1, keepdims=True)) / deviation).reshape(-1, 1)
    score = jnp.sum(jnp.where(real, chosen * jax.lax.stop_gradient(blame), 0), axis=1)
    return jnp.mean(losses.cost(score, jnp.sum(kl, axis=1), beta)), jnp.sum(fixed, axis=1)


class Static(NamedTuple):
    """What the step is compiled for, beside shapes."""

    max_new: int
    eos_id: int
    samples: int
    advantage: str
    compute_dtype: str
    remat: bool | str


class Judge(NamedTuple):
    """What samples are judged by: the reference model, the cost ensemble on it, beta, and the cost of no end."""

    reference: Any
    ensemble: CostEnsemble
    beta: Array
    unended_cost: Array


class Judged(NamedTuple):
    """log pi_ref of every token at every place (N, R, V), and the pessimistic cost of each response (N,)."""

    log_reference: Array
    costs: Array


def judge(
    judge: Judge,
    prompts: Int[Array, "N P"],
    prompt_len: Int[Array, " N"],
    tokens: Int[Array, "N R"],
    lengths: Int[Array, " N"],
    ended: Bool[Array, " N"],
    compute_dtype: str,
) -> Judged:
    """One pass of the reference over prompt and response serves the KL and the cost networks."""
    states = transformer.hidden_states(
        judge.reference,
        prompts[:, :-1],
        prompt_len - 1,
        jnp.concatenate([prompts[:, -1:], tokens], axis=1),
        lengths + 1,
        compute_dtype=jnp.dtype(compute_dtype),
    )
    logits = logits_of(states[:, :-1].astype(compute_dtype), judge.reference.output.astype(compute_dtype))
    cost = judge.ensemble.pessimistic(pool(states[:, 1:], lengths))
    return Judged(jax.nn.log_softmax(logits), jnp.where(ended, cost, judge.unended_cost))


def step_gradient(
    params: Any, frozen: Any, judged_by: Judge, prompts: Array, prompt_len: Array, key: Array, static: Static
) -> tuple[dict[str, Array], Any]:
    """Sample, judge, and differentiate: the means in MEASURED over the samples, and the gradient."""
    prompts = jnp.repeat(prompts, static.samples, axis=0)
    prompt_len = jnp.repeat(prompt_len, static.samples, axis=0)
    compute = jnp.dtype(static.compute_dtype)
    generated = generation.generate(
        eqx.combine(params, frozen), prompts, prompt_len, static.max_new, static.eos_id,
        temperature=1.0, key=key, compute_dtype=compute,
    )  # fmt: skip
    tokens, lengths, ended = (jnp.asarray(part) for part in generated)
    found = judge(judged_by, prompts, prompt_len, tokens, lengths, ended, static.compute_dtype)

    def loss(params: Any) -> tuple[Array, Array]:
        logits = transformer.response_logits(
            eqx.combine(params, frozen),
            prompts,
            prompt_len,
            tokens,
            compute_dtype=compute,
            remat=static.remat,
        )
        return group_loss(
            jax.nn.log_softmax(logits), found.log_reference, tokens, lengths, found.costs,
            judged_by.beta, static.samples, static.advantage,
        )  # fmt: skip

    (surrogate, kl), grads = jax.value_and_grad(loss, has_aux=True)(params)
    objective = jnp.where(
        jnp.isfinite(surrogate), jnp.mean(losses.cost(found.costs, kl, judged_by.beta)), jnp.nan
    )
    means = (
        objective,
        *(jnp.mean(values.astype(jnp.float32)) for values in (found.costs, kl, ended, lengths)),
    )
    return dict(zip(MEASURED, means, strict=True)), grads


@partial(jax.jit, static_argnames=("static",), donate_argnames=("rest",))
def advance(
    params: Any,
    rest: Any,
    frozen: Any,
    judged_by: Judge,
    batches: tuple[Array, Array],
    count: Array,
    hyper: Hyper,
    key: Array,
    static: Static,
) -> Any:
    """`train_state.run_chunk` on fresh samples; a step's key depends on its number alone."""

    def gradient(params: Any, batch: tuple[Array, Array], step: Array) -> Any:
        return step_gradient(params, frozen, judged_by, *batch, jax.random.fold_in(key, step), static)

    return train_state.run_chunk(gradient, params, rest, batches, count, hyper)


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
    size, width = prompts.shape
    wrong = np.flatnonzero((prompt_len < 2) | (prompt_len > width))
    if len(wrong):
        raise ValueError(f"prompt_len[{wrong[0]}] must be in [2, {width}], but it is {prompt_len[wrong[0]]}")
    if settings.batch > size:
        raise ValueError(f"batch must be at most the {size} prompts, but it is {settings.batch}")
    check_int("eos_id", eos_id, 0, model.architecture.vocab_size - 1)
    reference = model if reference is None else reference
    if reference.architecture.vocab_size != model.architecture.vocab_size:
        raise ValueError(
            f"reference must have the model's {model.architecture.vocab_size} tokens, "
            f"but it has {reference.architecture.vocab_size}"
        )
    if cost_ensemble.centre.shape != (2 * reference.architecture.dim,):
        raise ValueError(
            f"cost_ensemble must read {2 * reference.architecture.dim} features of the reference, "
            f"but it reads {cost_ensemble.centre.shape[0]}"
        )
    prompts = prompts[:, width - max(2, int(prompt_len.max())) :]
    order_key, sample_key = jax.random.split(key)
    order = Order(order_key, size, settings.batch)

    def inputs(first: int, count: int) -> tuple[Array, Array]:
        picked = []
        for step in np.minimum(np.arange(first, first + settings.chunk), first + count - 1):
            rows = order.rows(int(step))
            if len(rows) < settings.batch:
                start = order.rows(int(step) // order.steps_per_epoch * order.steps_per_epoch)
                rows = np.concatenate([rows, start])[: settings.batch]
            picked.append(rows)
        return jnp.asarray(prompts[np.array(picked)]), jnp.asarray(prompt_len[np.array(picked)])

    params, frozen = train_state.split(model)
    hyper = Hyper.of(settings, settings.steps)
    cap = cost_ensemble.cost_max if settings.unended_cost is None else settings.unended_cost
    judged_by = Judge(
        reference,
        cost_ensemble,
        jnp.asarray(settings.beta, dtype=jnp.float32),
        jnp.asarray(cap, dtype=jnp.float32),
    )
    static = Static(
        settings.max_new, eos_id, settings.samples, settings.advantage, settings.compute_dtype, settings.remat
    )
    identity = (
        ""
        if checkpoint is None
        else fingerprint(
            f"{settings!r} {eos_id}",
            *(eqx.filter(tree, eqx.is_array) for tree in (model, judged_by)),
            prompts,
            prompt_len,
            key,
        )
    )
    return train_state.drive(
        lambda params, rest, batches, count: advance(
            params, rest, frozen, judged_by, batches, count, hyper, sample_key, static
        ),
        inputs,
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
