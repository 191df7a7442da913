"""The gradient of E[f_bar + beta KL(pi || pi_ref)] from a policy's own samples, and the compiled chunk of RL.

The KL is exact at every sampled position: over the whole vocabulary, given the tokens before it. Its sum along a
response has the sequence KL as its mean (chain rule), and the gradient counts both what a token does to the KL at its
own place and what it leads to later, so RLOO's estimate of the gradient has no bias.
"""

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from edittheory.language.model import generation, transformer
from edittheory.language.model.blocks import logits_of
from edittheory.language.train import train_state
from edittheory.language.train.cost_net import CostEnsemble, pool
from edittheory.language.train.train_state import Hyper
from edittheory.learn import losses

Number = float | int
MEASURED = ("loss", "cost", "kl", "ended", "length")


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
