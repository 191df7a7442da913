"""Mean losses of a finite class on many data sets of one size, the class being the same for all: (S, K) at once.

The values are those of `class_losses` up to float64 rounding, for less. SUP is one matrix product of cell counts and log-probabilities.
PREF is one too, over cells (x, y, y'), where these are few; else it multiplies two table rows for each pair that was edited into a
running product, whose exponent is set apart after as many pairs as the class's logits allow. No gradient flows through them.
benchmarks/finite_class.py has what they buy.
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
"""Factors 1 + exp(-s u) before the exponent is set apart: the first number for which the class's logits keep the product a float64."""

LARGEST_LOG = 708.0
"""A product of numbers below e^LARGEST_LOG, and of one below sqrt 2, is a float64 whose exponent has an inverse."""

CPU_TILE = 2**18
"""Bytes of the two tables, for as many members of the class as are taken together on a CPU: they stay in a core's second cache."""

CPU_NUMBERS = 2**13
"""Running products, members times data sets, that are taken together on a CPU."""

TOGETHER = 8
"""Factors that are multiplied in one step of the loop."""

ROOT_HALF = 0x3FE6A09E667F3BCD
"""The bits of the float64 sqrt(1/2)."""


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
    `class_losses.LARGEST_LOGIT`, a member excludes a response, the class is not float64, or X Y reaches 2^16, the data sets go through
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
    if logits.dtype != jnp.float64 or log_reference.size >= 2**16:
        return each()
    high, low = jnp.max(logits, axis=-1, keepdims=True), jnp.min(logits, axis=-1, keepdims=True)
    # Responses in rows, members side by side. Rows 0 of the tables, for the places that a data set leaves empty, make a factor of 1.
    rows = jnp.moveaxis(logits - (high + low) / 2, 0, -1).reshape(log_reference.size, -1)
    edited = data.responses != data.edits

    def products(factors):
        # Tables and packing stand within the branch: outside of it they take longer (46 us a set in place of 33 in the benchmark).
        up, down = (jnp.pad(jnp.exp(sign * rows), ((1, 0), (0, 0))) for sign in (1.0, -1.0))
        before, after = (1 + data.contexts * num_y + each for each in (data.responses, data.edits))
        longest = jnp.max(jnp.sum(edited, axis=1))
        total = _sum_log_factors(up, down, *_pack(edited, before, after), longest, factors)
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


def _pack(edited: Array, first: Int[Array, "S N"], last: Int[Array, "S N"]) -> tuple[Array, Array]:
    """Both rows of the edited pairs of each data set, in order, then zeros; rows are below 2^16."""
    pairs = (first.astype(jnp.uint32) << 16) | last.astype(jnp.uint32)
    sets, size = edited.shape
    here = jnp.arange(sets)

    def put(carry, example):
        place, packed = carry
        kept, pair = example
        # What is not kept is written over by the next pair, or lies behind the last.
        return (place + kept, packed.at[here, place].set(pair, mode="promise_in_bounds")), None

    def scatter(kept, values):
        place = jnp.where(kept, jnp.cumsum(kept, dtype=jnp.int32) - 1, size)
        return jnp.zeros(size, jnp.uint32).at[place].set(values, mode="drop")

    if jax.default_backend() == "cpu":
        first_place = jnp.zeros(sets, jnp.int32), jnp.zeros((sets, size + 1), jnp.uint32)
        (place, packed), _ = jax.lax.scan(put, first_place, (edited.T, pairs.T))
        packed = jnp.where(jnp.arange(size) < place[:, None], packed[:, :size], 0)
    else:
        packed = jax.vmap(scatter)(edited, pairs)
    return (packed >> 16).astype(jnp.int32), (packed & 0xFFFF).astype(jnp.int32)


def _sum_log_factors(
    up: Float[Array, "C K"],
    down: Float[Array, "C K"],
    first: Int[Array, "S N"],
    last: Int[Array, "S N"],
    longest: Array,
    factors: int,
) -> Float[Array, "S K"]:
    """Sum over the first `longest` pairs of log(1 + up[first] * down[last]).

    The product of several 1 + t is kept as 1 + p, which loses no digits where all t are small; every `factors` of them its power of two
    goes into a sum of its own.
    """
    (rows, members), sets = up.shape, first.shape[0]
    tile, width = members, sets
    if jax.default_backend() == "cpu":
        tile = min(members, 16 * max(1, round(CPU_TILE / (256 * rows))))
        width = max(1, CPU_NUMBERS // tile)
    more = -first.shape[1] % factors
    shape = (sets, -1, factors // TOGETHER, TOGETHER)
    first, last = (jnp.pad(rows, ((0, 0), (0, more))).reshape(shape) for rows in (first, last))

    def one(up, down, pair):
        def take(group, carry):
            def multiply(step, p):
                for i in range(TOGETHER):
                    t = up.at[pair[0][group, step, i]].get(mode="promise_in_bounds")
                    t = t * down.at[pair[1][group, step, i]].get(mode="promise_in_bounds")
                    p = p + (t + p * t)
                return p

            p, twos = carry
            p, power = _apart(jax.lax.fori_loop(0, factors // TOGETHER, multiply, p))
            return p, twos + power

        none = jnp.zeros(up.shape[1], up.dtype)
        p, twos = jax.lax.fori_loop(0, -(-longest // factors), take, (none, none))
        return twos * jnp.log(2.0) + jnp.log1p(p)

    def part(tables):
        return jax.lax.map(lambda pair: one(tables[0], tables[1], pair), (first, last), batch_size=width)

    def cut(table):
        return jnp.pad(table, ((0, 0), (0, -members % tile))).reshape(rows, -1, tile).swapaxes(0, 1)

    parts = jax.lax.map(part, (cut(up), cut(down)))
    return parts.swapaxes(0, 1).reshape(sets, -1)[:, :members]


def _apart(p: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """q and k with 1 + p = 2^k (1 + q) and 1 + q between about sqrt(1/2) and sqrt 2; p >= sqrt(1/2) - 1 is kept where k = 0."""
    bits = jax.lax.bitcast_convert_type(1.0 + p, jnp.int64)
    power = (bits - ROOT_HALF) >> 52
    scale = jax.lax.bitcast_convert_type((1023 - power) << 52, jnp.float64)
    return p * scale + (scale - 1.0), power.astype(jnp.float64)


def _check_sets(data: EditDataset) -> None:
    if data.contexts.ndim != 2:
        raise ValueError(
            f"data: fields have shape {data.contexts.shape}, must be (S, N), a row for each data set"
        )
