"""Mean losses of a finite class on many data sets of one size, the class being the same for all: (S, K) at once.

The values are those of `class_losses` up to float64 rounding, for less. SUP is one matrix product of cell counts and log-probabilities.
PREF is one too, over cells (x, y, y'), where these are few; else it reads two table rows for each pair that was edited and takes a
logarithm for as many pairs as the class's logits allow. No gradient flows through them. benchmarks/finite_class.py has what they buy.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from edittheory.core.inlined import inlined
from edittheory.core.shapes import shaped
from edittheory.learn import class_losses, losses
from edittheory.learn.class_losses import Class, Policy
from edittheory.problem import EditDataset

CELLS = 8
"""Cells (x, y, y') that a matrix product takes in the time in which one example's rows are read."""

ENTRY = 300
"""Cells that a matrix product takes in the time in which the loss of one is computed, which all data sets share."""

FACTORS = (32, 8)
"""Factors 1 + exp(-s u) before a logarithm: the first number for which the class's logits leave a product below the largest float64."""

LARGEST_LOG = 709.0
"""A product of numbers below e^LARGEST_LOG is a float64."""

CPU_WIDTH = 128
"""Data sets side by side on a CPU, whose running products, CPU_WIDTH K numbers, stay in the cache."""

TOGETHER = 8
"""Factors that are multiplied in one step of the loop."""


@shaped
@inlined
def supervised(log_class: Class, data: EditDataset) -> Float[Array, "S K"]:
    """Mean -log pi(y'|x) of every member on every data set; fields of `data` are (S, N)."""
    _check_sets(data)
    num_k, _, num_y = log_class.shape
    table = -jax.lax.stop_gradient(log_class).reshape(num_k, -1).T
    return _weighted(data.contexts * num_y + data.edits, table) / data.size


@shaped
@inlined
def preference(
    log_class: Class, log_reference: Policy, data: EditDataset, scale: float | Float[Array, ""] = 1.0
) -> Float[Array, "S K"]:
    """Mean -log sigmoid(scale * u) of every member on every data set; fields of `data` are (S, N).

    Memory: 8 X Y Y (S + K) bytes where cells are counted (`counts_cells`). Otherwise, where a logit exceeds
    `class_losses.LARGEST_LOGIT`, a member excludes a response, or the class is not float64, the data sets go through
    `class_losses.preference` one by one.
    """
    _check_sets(data)
    log_class, log_reference, scale = jax.lax.stop_gradient((log_class, log_reference, scale))
    num_x, num_y = log_reference.shape
    if counts_cells(num_x * num_y * num_y, *data.contexts.shape):
        table = losses.preference(
            log_class[:, :, None, :],
            log_class[:, :, :, None],
            log_reference[:, None, :],
            log_reference[:, :, None],
            scale,
        )
        cells = (data.contexts * num_y + data.responses) * num_y + data.edits
        return _weighted(cells, table.reshape(table.shape[0], -1).T) / data.size

    def each():
        return jax.lax.map(
            lambda one: class_losses.preference(log_class, log_reference, one, scale), data, batch_size=8
        )

    logits = scale * (log_class - log_reference)
    if logits.dtype != jnp.float64:
        return each()
    high, low = jnp.max(logits, axis=-1, keepdims=True), jnp.min(logits, axis=-1, keepdims=True)
    # Responses in rows, members side by side. Rows 0, for the places that a data set leaves empty, make a factor of 1.
    rows = jnp.moveaxis(logits - (high + low) / 2, 0, -1).reshape(log_reference.size, -1)
    up, down = (jnp.pad(jnp.exp(sign * rows), ((1, 0), (0, 0))) for sign in (1.0, -1.0))
    edited = data.responses != data.edits
    first, last = (
        _pack(edited, 1 + data.contexts * num_y + answers) for answers in (data.responses, data.edits)
    )
    longest = jnp.max(jnp.sum(edited, axis=1))

    def products(factors):
        total = _sum_log_factors(up, down, first, last, longest, factors)
        # An unedited pair costs every member log 2.
        return (total + jnp.log(2.0) * jnp.sum(~edited, axis=1)[:, None]) / data.size

    spread = jnp.max(high - low)
    limits = [min(LARGEST_LOG / factors - 1.0, class_losses.LARGEST_LOGIT) for factors in FACTORS]
    # NaN, where a member excludes a response, is below no limit.
    branch = sum(jnp.where(spread < limit, 0, 1) for limit in limits)
    return jax.lax.switch(branch, [*(lambda f=factors: products(f) for factors in FACTORS), each])


def counts_cells(cells: int, sets: int, size: int) -> bool:
    """Whether counting `cells` is cheaper than reading rows, for so many data sets of `size` examples."""
    return cells * (1 + ENTRY / sets) <= CELLS * size


def _weighted(cells: Int[Array, "S N"], table: Float[Array, "C K"]) -> Float[Array, "S K"]:
    """Sum of the table's rows at `cells` by counting them; an infinite entry matters only where its cell was seen."""

    def count(row):
        return jnp.zeros(table.shape[0], table.dtype).at[row].add(1.0)

    def dot(table):
        return jnp.matmul(counts, table, precision=jax.lax.Precision.HIGHEST)

    counts, infinite = jax.vmap(count)(cells), table == jnp.inf
    total = dot(jnp.where(infinite, 0.0, table))
    seen = jax.lax.cond(
        jnp.any(infinite), lambda: dot(infinite.astype(table.dtype)), lambda: jnp.zeros_like(total)
    )
    return jnp.where(seen > 0, jnp.inf, total)


def _pack(edited: Array, rows: Int[Array, "S N"]) -> Int[Array, "S N"]:
    """The rows of the edited pairs of each data set, in order, then zeros."""

    def pack(kept, values):
        place = jnp.where(kept, jnp.cumsum(kept, dtype=jnp.int32) - 1, values.shape[0])
        return jnp.zeros(values.shape, jnp.int32).at[place].set(values.astype(jnp.int32), mode="drop")

    return jax.vmap(pack)(edited, rows)


def _sum_log_factors(
    up: Float[Array, "C K"],
    down: Float[Array, "C K"],
    first: Int[Array, "S N"],
    last: Int[Array, "S N"],
    longest: Array,
    factors: int,
) -> Float[Array, "S K"]:
    """Sum over the first `longest` pairs of log(1 + up[first] * down[last]).

    The product of several 1 + t is kept as 1 + p, which loses no digits where all t are small.
    """
    more = -first.shape[1] % factors
    shape = (first.shape[0], -1, factors // TOGETHER, TOGETHER)
    first, last = (jnp.pad(rows, ((0, 0), (0, more))).reshape(shape) for rows in (first, last))

    def one(pair):
        def take(group, total):
            def multiply(step, p):
                for i in range(TOGETHER):
                    t = up.at[pair[0][group, step, i]].get(mode="promise_in_bounds")
                    t = t * down.at[pair[1][group, step, i]].get(mode="promise_in_bounds")
                    p = p + (t + p * t)
                return p

            p = jax.lax.fori_loop(0, factors // TOGETHER, multiply, jnp.zeros_like(total))
            return total + jnp.log1p(p)

        return jax.lax.fori_loop(0, -(-longest // factors), take, jnp.zeros(up.shape[1], up.dtype))

    width = CPU_WIDTH if jax.default_backend() == "cpu" else first.shape[0]
    return jax.lax.map(one, (first, last), batch_size=width)


def _check_sets(data: EditDataset) -> None:
    if data.contexts.ndim != 2:
        raise ValueError(
            f"data: fields have shape {data.contexts.shape}, must be (S, N), a row for each data set"
        )
