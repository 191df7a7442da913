"""Mean losses of every member of a finite class on a data set: what the learners of `learners` minimise.

`class_loss` is the definition, for any loss, differentiable. `supervised` and `preference` give its values for the two
losses that are minimised most, equal up to float64 rounding and many times faster; they are for selection: no gradient
flows through them. benchmarks/finite_class.py measures what they buy.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from edittheory.core.inlined import inlined
from edittheory.learn import losses, population
from edittheory.problem import EditDataset

Class = Float[Array, "K X Y"]
Policy = Float[Array, "X Y"]

FACTORS = 8
"""How many factors 1 + exp(-s u) `preference` multiplies before it takes a logarithm."""

LARGEST_LOGIT = 85.0
"""The largest |s u| for which a product of FACTORS such factors is sure to stay below the largest float64, e^709."""


def class_loss(
    loss: Callable[[Array, Array, Array, Array], Array],
    log_class: Class,
    log_reference: Policy,
    data: EditDataset,
) -> Float[Array, " K"]:
    """Mean loss of every member; `loss(logp_edit, logp_response, ref_logp_edit, ref_logp_response)` acts pointwise.

    A data set larger than the number of (x, y, y') cells is first reduced to the counts of the cells.
    """
    num_x, num_y = log_reference.shape
    if data.size <= num_x * num_y * num_y:
        x, y, edit = data.contexts, data.responses, data.edits
        values = loss(log_class[:, x, edit], log_class[:, x, y], log_reference[x, edit], log_reference[x, y])
        return jnp.mean(values, axis=-1)
    cells = (data.contexts * num_y + data.responses) * num_y + data.edits
    counts = jnp.zeros(num_x * num_y * num_y).at[cells].add(1.0).reshape(num_x, num_y, num_y)
    table = loss(
        log_class[:, :, None, :],
        log_class[:, :, :, None],
        log_reference[:, None, :],
        log_reference[:, :, None],
    )
    # A cell that was not seen must not matter, even where its loss is infinite.
    return jnp.sum(jnp.where(counts > 0, counts * table, 0.0), axis=(-3, -2, -1)) / data.size


def pair_loss(
    name: str,
    log_class: Class,
    log_reference: Policy,
    data: EditDataset,
    scale: float | Float[Array, ""] = 1.0,
    option: float | Float[Array, ""] | None = None,
    lengths: Float[Array, " Y"] | None = None,
) -> Float[Array, " K"]:
    """Mean of any loss of `PREFERENCE_LOSSES`, by its name; `population.pair_table` of every member weighed by the counts."""
    num_x, num_y = log_reference.shape
    cells = (data.contexts * num_y + data.responses) * num_y + data.edits
    counts = jnp.zeros(num_x * num_y * num_y).at[cells].add(1.0).reshape(num_x, num_y, num_y)

    def mean(log_policy: Policy) -> Float[Array, ""]:
        table = population.pair_table(name, log_policy, log_reference, scale, option, lengths)
        return jnp.sum(jnp.where(counts > 0, counts * table, 0.0)) / data.size

    return jax.vmap(mean)(log_class)


@inlined
def supervised(log_class: Class, data: EditDataset) -> Float[Array, " K"]:
    """Mean -log pi(y'|x) of every member: counts of the (x, y') cells times log-probabilities, one matrix product."""
    num_k, num_x, num_y = log_class.shape
    counts = jnp.zeros((num_x, num_y), log_class.dtype).at[data.contexts, data.edits].add(1.0).reshape(-1)
    table = jax.lax.stop_gradient(log_class).reshape(num_k, -1)
    impossible = table == -jnp.inf
    total = _dot(jnp.where(impossible, 0.0, table), counts)
    return jnp.where(_dot(impossible.astype(counts.dtype), counts) > 0, jnp.inf, -total / data.size)


@inlined
def preference(
    log_class: Class, log_reference: Policy, data: EditDataset, scale: float | Float[Array, ""] = 1.0
) -> Float[Array, " K"]:
    """Mean -log sigmoid(scale * u) of every member, with a logarithm for every FACTORS examples and no exponential.

    softplus(-s u) = log(1 + t) with t = e^{s h(y)} e^{-s h(y')}, both factors read from tables over (x, y); the product
    of several 1 + t is kept as 1 + p, which loses no digits where all t are small. Where a table could overflow (a
    logit beyond LARGEST_LOGIT, a member that excludes a response) the result is that of `class_loss`.
    """
    log_class, log_reference, scale = jax.lax.stop_gradient((log_class, log_reference, scale))
    num_x, num_y = log_reference.shape
    logits = scale * (log_class - log_reference)

    def plain(members: Class) -> Array:
        return class_loss(
            lambda edit, answer, *reference: losses.preference(
                edit, answer, reference[0], reference[1], scale
            ),
            members,
            log_reference,
            data,
        )

    # Too few examples do not pay for an exponential for each cell; of a great many, `class_loss` counts the cells.
    cells = num_x * num_y
    if 8 * data.size < cells or data.size > 16 * cells * num_y or logits.dtype != jnp.float64:
        return plain(log_class)
    high, low = jnp.max(logits, axis=-1, keepdims=True), jnp.min(logits, axis=-1, keepdims=True)
    # Responses in rows, members side by side: an example reads two contiguous rows.
    up = jnp.exp(jnp.moveaxis(logits - (high + low) / 2, 0, -1)).reshape(cells, -1)
    rows = [
        jnp.clip(data.contexts * num_y + answers, 0, cells - 1) for answers in (data.responses, data.edits)
    ]
    fast = _mean_log_factors(up, 1.0 / up, *rows)
    # A loop of at most one round, because under vmap it runs only if some lane needs it, where a cond would always take
    # both sides. That its class is written in terms of `safe` keeps XLA from computing the round ahead of the loop.
    safe = jnp.all(high - low < LARGEST_LOGIT)
    return jax.lax.while_loop(
        lambda state: ~state[0],
        lambda state: (jnp.ones((), bool), plain(jnp.where(state[0], 0.0, log_class))),
        (safe, fast),
    )[1]


def _mean_log_factors(
    up: Float[Array, "XY K"], down: Float[Array, "XY K"], responses: Int[Array, " N"], edits: Int[Array, " N"]
) -> Float[Array, " K"]:
    """Mean over examples of log(1 + up[response] * down[edit]), in products of FACTORS factors."""
    size = responses.shape[0]
    groups = size // FACTORS
    first, last = (index[: groups * FACTORS].reshape(FACTORS, groups) for index in (responses, edits))

    def ratio(y, edit):
        return up.at[y].get(mode="promise_in_bounds") * down.at[edit].get(mode="promise_in_bounds")

    def multiply(step, p):
        t = ratio(first[step], last[step])
        return p + (t + p * t)

    p = jax.lax.fori_loop(0, FACTORS, multiply, jnp.zeros((groups, up.shape[-1]), up.dtype))
    rest = ratio(responses[groups * FACTORS :], edits[groups * FACTORS :])
    return (jnp.sum(jnp.log1p(p), axis=0) + jnp.sum(jnp.log1p(rest), axis=0)) / size


def _dot(table: Float[Array, "K C"], counts: Float[Array, " C"]) -> Float[Array, " K"]:
    return jnp.matmul(table, counts, precision=jax.lax.Precision.HIGHEST)
