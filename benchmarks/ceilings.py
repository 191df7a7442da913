"""What the machine allows, measured by JAX in this process: a large copy, and matrix products; on one device."""

import time

import jax
import jax.numpy as jnp


def _best(function, argument, again: bool) -> float:
    """Seconds of the best of five calls; `again` hands each result to the next."""
    times = []
    for _ in range(6):
        start = time.perf_counter()
        result = jax.block_until_ready(function(argument))
        times.append(time.perf_counter() - start)
        argument = result if again else argument
    return min(times[1:])


def copy_rate(numbers: int = 2**25) -> float:
    """GB/s read and written by a pass over `numbers` float64 in place, so that no fresh pages are mapped within the timing."""
    copy = jax.jit(lambda a: a + 1.0, donate_argnums=0)
    return 2 * 8 * numbers / _best(copy, jnp.zeros(numbers), True) / 1e9


def product_rate(m: int, k: int, n: int, dtype="float64") -> float:
    """GFLOP/s of a product (m, k) by (k, n)."""
    right = jnp.ones((k, n), dtype)
    product = jax.jit(lambda a: jnp.matmul(a, right, precision="highest"))
    return 2 * m * k * n / _best(product, jnp.ones((m, k), dtype), False) / 1e9
