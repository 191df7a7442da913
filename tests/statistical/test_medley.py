"""Certificates of the medley keep their level whatever the user does, and the class's truth is no better known than the rest."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory import medley
from edittheory.core import statistics
from edittheory.problem import random_problems
from tests.finite_toys import STRINGS

LEVEL = 1e-3
"""Chance, over all tests of this file, that a true claim is called broken; keys are fixed."""
DELTA = 0.2
TRIALS, WIDTH = 600, 200
SIZES = (10, 30, 80)
K = 16


@eqx.filter_jit
def _wrong(keys, habit):
    """Whether a certificate is below SubOpt at some n, of V_C and of the set that assumes balance; and two mutants."""

    def one(key):
        problem_key, data_key = jax.random.split(key)
        instance = random_problems.balanced_backwards(problem_key, STRINGS, 2, K, beta=0.1, habit=habit)
        problem = instance.problem
        data = problem.sample(data_key, SIZES[-1])
        priors = medley.Medley(delta=DELTA)
        arguments = (instance.cost_class, problem.log_reference, data, problem.context_probs, problem.beta)
        result = medley.fit_path(*arguments, problem.cost_max, SIZES, priors)
        loss = problem.suboptimality(result.log_policy)
        narrow = result.members & (result.weights > 0.2)
        gaps = jax.vmap(lambda inside: jnp.any(inside & (jnp.arange(K) == instance.truth)))(narrow)
        bounds = (result.certificate, result.certificate_if_balanced)
        wrong = [jnp.any(loss > bound + 1e-9) for bound in bounds]
        # Mutant: a credible set in place of a confidence set.
        return jnp.stack([*wrong, ~jnp.all(gaps)])

    return jax.lax.map(one, keys, batch_size=50)


def counts_of_violations(habit: float) -> np.ndarray:
    keys = jax.random.split(jax.random.key(20), TRIALS)
    return np.asarray(_wrong(keys, jnp.asarray(habit))).sum(axis=0)


def test_certificates_keep_their_level():
    each = statistics.bonferroni(LEVEL, 3)
    balanced, broken = counts_of_violations(0.0), counts_of_violations(0.5)
    for violations in (balanced[0], balanced[1], broken[0]):
        assert not statistics.violation_check(int(violations), TRIALS, DELTA, each).violated
    # The check can fail: members of large posterior weight are no confidence set.
    assert statistics.violation_check(int(balanced[2]), TRIALS, DELTA, each).violated


def _mean_of_class(truth_in_the_middle: bool) -> np.ndarray:
    """SubOpt of the class's average cost and of the medley at n = 5, in exchangeable classes and in truth + noise."""

    def one(key):
        problem_key, data_key, noise_key = jax.random.split(key, 3)
        instance = random_problems.balanced_sinkhorn(problem_key, STRINGS, 2, K)
        problem, cost_class = instance.problem, instance.cost_class
        if truth_in_the_middle:
            noise = jax.random.normal(noise_key, cost_class.shape) * jnp.std(cost_class, axis=0)
            cost_class = problem.expected_cost + (noise - jnp.mean(noise, axis=0)).at[instance.truth].set(0.0)
        data = problem.sample(data_key, 5)
        result = medley.fit(
            cost_class, problem.log_reference, data, problem.context_probs, problem.beta, problem.cost_max
        )
        return jnp.stack(
            [problem.suboptimality(result.log_policy), problem.suboptimality(problem.log_reference)]
        )

    keys = jax.random.split(jax.random.key(21), 60)
    return np.asarray(eqx.filter_jit(lambda keys: jax.lax.map(one, keys, batch_size=30))(keys)).mean(axis=0)


@pytest.mark.slow
def test_the_trap_of_theory_b7():
    """Truth + symmetric noise makes five edits look like plenty; in the families' classes they are not."""
    fair, trapped = _mean_of_class(False), _mean_of_class(True)
    assert trapped[0] / trapped[1] < 0.5 * fair[0] / fair[1]


def test_the_truth_is_exchangeable():
    """Before any data the posterior's argmax, and the member nearest to the average, are the truth no oftener than by chance."""

    def one(key):
        instance = random_problems.balanced_backwards(key, STRINGS, 2, K, beta=0.1, habit=0.0)
        mean = jnp.mean(instance.cost_class, axis=0)
        nearest = jnp.argmin(jnp.sum((instance.cost_class - mean) ** 2, axis=(-2, -1)))
        return nearest == instance.truth

    keys = jax.random.split(jax.random.key(22), 4000)
    hits = int(np.asarray(eqx.filter_jit(lambda keys: jax.lax.map(one, keys, batch_size=200))(keys)).sum())
    low, high = statistics.clopper_pearson(hits, 4000, LEVEL)
    assert low <= 1 / K <= high
