"""What the machine allows, measured by JAX in this process by processor time: a copy, products, elementary passes; on one device."""

import time

import jax
import jax.numpy as jnp

from edittheory.learn import class_losses_sets


def _best(function, argument, again: bool) -> float:
    """Processor seconds of the best call of several; `again` hands each result to the next."""
    times: list[float] = []
    while len(times) < 6 or (sum(times) < 0.1 and len(times) < 1000):
        start = time.process_time()
        result = jax.block_until_ready(function(argument))
        times.append(time.process_time() - start)
        argument = result if again else argument
    return min(times[1:])


def copy_rate(numbers: int = 2**25) -> float:
    """GB a processor second, read and written by a pass over `numbers` float64 in place, so that no fresh page is mapped."""
    copy = jax.jit(lambda a: a + 1.0, donate_argnums=0)
    return 2 * 8 * numbers / _best(copy, jnp.zeros(numbers), True) / 1e9


def product_rate(m: int, k: int, n: int, dtype="float64") -> float:
    """GFLOP a processor second of a product (m, k) by (k, n)."""
    right = jnp.ones((k, n), dtype)
    product = jax.jit(lambda a: jnp.matmul(a, right, precision="highest"))
    return 2 * m * k * n / _best(product, jnp.ones((m, k), dtype), False) / 1e9


WIDE = {"xla_cpu_prefer_vector_width": 512}
"""XLA leaves half of an AVX-512 vector unused unless told; on other machines the option does nothing."""


def row_rate(kilobytes: int) -> float:
    """GB a processor second of a loop that reads pairs of float64 and does one multiply-add with each, out of so many kilobytes."""
    length, loops = kilobytes * 1024 // 16 // 8, max(4, 2**19 // kilobytes)

    def again(_, values, tables):
        for i in range(8):
            values = values * tables[0, i] + tables[1, i]
        return values

    def run(tables):
        return jax.lax.fori_loop(0, loops, lambda t, v: again(t, v, tables), jnp.zeros(length))

    tables = jnp.full((2, 8, length), 0.25)
    return loops * tables.nbytes / _best(jax.jit(run, compiler_options=WIDE), tables, False) / 1e9


def factor_rate() -> float:
    """Factors p + (t + p t) a processor nanosecond, with nothing read: one multiply-add and one addition each."""
    length, loops, factors = 512, 20_000, 32

    def again(_, p, t):
        for _ in range(factors):
            p = p + (t + p * t)
        return p * 1e-3

    def run(t):
        return jax.lax.fori_loop(0, loops, lambda i, p: again(i, p, t), t)

    seconds = _best(jax.jit(run, compiler_options=WIDE), jnp.full(length, 1e-3), False)
    return loops * factors * length / seconds / 1e9


def class_floor(size: dict[str, int], edited: jax.Array) -> dict[str, float]:
    """Least microseconds of a trial of benchmarks/finite_class.py, from rates measured now, by processor time on one device.

    product: SUP's product of counts and log-policies. cache: the two rows of K numbers of each edited pair at the rate of tables of
    256 KB, which is what 32 members of the class have. factors: the arithmetic of each edited pair and member, nothing read.
    counting: the cells of SUP's pairs. packing: the edited pairs of each data set, `edited` (S, N), put in order.
    """
    cells, pairs = size["X"] * size["Y"], float(jnp.mean(edited)) * size["n"] * size["K"]
    rates = {
        "product": product_rate(size["S"], cells, size["K"]),
        "cache": row_rate(256),
        "factors": factor_rate(),
    }
    rows = jax.random.randint(jax.random.key(0), edited.shape, 0, cells, dtype=jnp.int32)
    count = jax.jit(jax.vmap(lambda row: jnp.zeros(cells).at[row].add(1.0)))
    pack = jax.jit(lambda kept: class_losses_sets._pack(kept, rows, rows))
    floor = {
        "product": 2 * cells * size["K"] / rates["product"] / 1e3,
        "cache": 16 * pairs / rates["cache"] / 1e3,
        "factors": pairs / rates["factors"] / 1e3,
        "counting": 1e6 * _best(count, rows, False) / size["S"],
        "packing": 1e6 * _best(pack, edited, False) / size["S"],
    }
    return {name: round(value, 2) for name, value in floor.items()} | {
        f"{name}_per_ns": round(rate, 1) for name, rate in rates.items()
    }


def log_linear_floor(
    runs: int, contexts: int, responses: int, features: int, examples: int
) -> dict[str, float]:
    """Least microseconds of a full-batch step of one run, from rates measured now, for `runs` runs side by side on one device.

    products: 4 X Y d FLOP, scores and the gradient of the parameters from theirs, of cells or, where X Y = N, of pairs. traffic:
    bytes of the indices of pairs (8 N), of the two tables, each written and read (16 X Y). gather: two scores of each of N pairs.
    logistic: one sigmoid and one softplus a pair, with one exponential for both. scatter: 2 N additions into the table's gradient.
    Elementary passes alone, nothing between them.
    """
    cells = contexts * responses
    keys = jax.random.split(jax.random.key(0), 2)
    rows = jax.random.randint(keys[0], (runs, 2 * examples), 0, cells)
    tables = jax.random.normal(keys[1], (runs, cells), jnp.float32)
    values = jnp.take_along_axis(tables, rows, axis=1)
    at = jax.vmap(lambda table, row: table.at[row].get(mode="promise_in_bounds"))
    add = jax.vmap(
        lambda row, value: jnp.zeros(cells, value.dtype).at[row].add(value, mode="promise_in_bounds")
    )

    def logistic(logits):
        power = jnp.exp(-jnp.abs(logits))
        softplus = jnp.maximum(logits, 0.0) + jnp.log1p(power)
        return jnp.sum(softplus, axis=1), jnp.where(logits > 0, 1.0, power) / (1.0 + power)

    def microseconds(function, *arguments):
        compiled = jax.jit(function).lower(*arguments).compile()
        times = []
        for _ in range(20):
            start = time.process_time()
            jax.block_until_ready([compiled(*arguments) for _ in range(20)])
            times.append((time.process_time() - start) / 20)
        return 1e6 * min(times) / runs

    flop, moved = 4 * cells * features, 8 * examples + 16 * cells
    parts = {
        "products": flop / product_rate(cells, features, runs, "float32") / 1e3,
        "traffic": moved / copy_rate() / 1e3,
        "gather": microseconds(at, tables, rows),
        "logistic": microseconds(logistic, values[:, :examples]),
        "scatter": microseconds(add, rows, values),
    }
    return {name: round(value, 3) for name, value in parts.items()} | {"flop": flop, "bytes": moved}
