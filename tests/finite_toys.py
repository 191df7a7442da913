"""Small finite problems for the tests of the setting: one shape each, drawn inside jit, so that an example costs microseconds."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from edittheory.core.logspace import log_normalise
from edittheory.problem import EditProblem, balanced_problem, random_problems
from edittheory.problem.responses import all_strings

X, Y, K = 3, 6, 4
DISTANCE = np.asarray(all_strings(2, 2, min_length=1).distance)
"""Six strings over two letters, of length 1 and 2."""
STRINGS = random_problems.Spaces(DISTANCE[None])


def number(value) -> jax.Array:
    """A traced argument: jitted functions do not recompile for another value."""
    return jnp.asarray(value)


@eqx.filter_jit
def _balanced(seed, beta, strength, locality, spread) -> EditProblem:
    law_key, optimum_key = jax.random.split(jax.random.key(seed))
    return balanced_problem(
        jax.nn.softmax(jax.random.normal(law_key, (X,))),
        log_normalise(spread * jax.random.normal(optimum_key, (X, Y))),
        jnp.asarray(DISTANCE),
        beta,
        strength,
        locality,
    )


def balanced(seed=0, beta=0.3, strength=0.4, locality=2.0, spread=1.0) -> EditProblem:
    """A balanced problem, built backwards."""
    return _balanced(*map(number, (seed, beta, strength, locality, spread)))


@eqx.filter_jit
def _arbitrary(seed, beta, sparsity) -> EditProblem:
    law_key, reference_key, user_key, zero_key = jax.random.split(jax.random.key(seed), 4)
    user = jax.random.exponential(user_key, (X, Y, Y))
    # Some edits never happen; the diagonal keeps every row alive.
    dead = jax.random.bernoulli(zero_key, sparsity, (X, Y, Y)) & ~jnp.eye(Y, dtype=bool)
    user = jnp.where(dead, 0.0, user)
    return EditProblem(
        jax.nn.softmax(jax.random.normal(law_key, (X,))),
        log_normalise(1.5 * jax.random.normal(reference_key, (X, Y))),
        user / jnp.sum(user, axis=-1, keepdims=True),
        DISTANCE,
        beta,
    )


def arbitrary(seed=0, beta=0.3, sparsity=0.3) -> EditProblem:
    """A problem whose user is random rows, some edits impossible: nothing is balanced."""
    return _arbitrary(*map(number, (seed, beta, sparsity)))


@eqx.filter_jit
def _policies(seed, count: int, spread):
    return log_normalise(spread * jax.random.normal(jax.random.key(seed), (count, X, Y)))


def policies(seed=0, count=16, spread=2.0):
    """Random policies with full support, (count, X, Y)."""
    return _policies(number(seed), count, number(spread))


def corners():
    """The Y policies that always answer with one response: log-probabilities 0 and -inf."""
    return jnp.broadcast_to(jnp.log(jnp.eye(Y))[:, None, :], (Y, X, Y))


@eqx.filter_jit
def instance(seed=0, candidates: int = K, **fixed) -> random_problems.Instance:
    """A balanced problem with classes around it, from the package's own family."""
    return random_problems.balanced_backwards(jax.random.key(seed), STRINGS, X, candidates, **fixed)


@eqx.filter_jit
def unbalanced_instance(seed=0, candidates: int = K) -> random_problems.Instance:
    """A problem without balance, with classes that contain the truth."""
    return random_problems.unbalanced(jax.random.key(seed), STRINGS, X, candidates)
