"""Bayes lower bounds: informations by loops and simulation, the limit L5, and no learner below them; what is too large is refuted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.bounds import lower, van_trees
from edittheory.core.logspace import kl, squared_hellinger
from experiments.feedback_learners import LEARNERS, PRIOR_VARIANCE, risks
from tests.finite_toys import X, Y, balanced

D, TRIALS, SIZES = 2, 300, (30, 1000)
Z = 4.5
"""Standard errors that no mean of the checks below is off by: level 1e-4 over all of them."""


def family(half_width=0.8, noise=0.1, strength=0.3):
    problem = balanced(5, beta=0.3, strength=strength, spread=0.7)
    phi = jnp.concatenate(
        [jax.random.normal(jax.random.key(1), (X, Y, D - 1)), problem.expected_cost[..., None]], axis=-1
    )
    return van_trees.Family(problem, van_trees.whitened(problem, phi), half_width, strength, 2.0, noise)


def test_kappa_is_the_best_constant():
    reach = np.concatenate([[0.0, 1e-4, 9.9e-4, 1.01e-3], np.geomspace(1e-2, 30, 20)])
    found = np.asarray(van_trees.kappa(jnp.asarray(reach)))
    assert found[0] == 2 and np.all(np.diff(found) < 0) and 1 < found[-1] < 1.01
    rng = np.random.default_rng(0)
    p, q = (jnp.log(jnp.asarray(rng.dirichlet(np.full(4, 0.5), size=4000))) for _ in range(2))
    bound = van_trees.kappa(jnp.max(q - p, axis=-1)) * squared_hellinger(p, q)
    assert np.all(np.asarray(bound) <= np.asarray(kl(p, q)) * (1 + 1e-9))


def test_a_unit_step_moves_log_policies_by_one_and_reach_holds_in_the_box():
    one = family()
    np.testing.assert_allclose(
        lower.curvature(one.problem, one.features) / one.problem.beta**2, np.eye(D), atol=1e-9
    )
    np.testing.assert_allclose(van_trees.log_policy(one, jnp.zeros(D)), one.problem.log_optimal, atol=1e-12)
    w = 0.8 * jnp.asarray(np.random.default_rng(0).uniform(-1, 1, size=(60, D)))
    w = jnp.concatenate([w, jnp.sign(w)[:8] * 0.8])
    logs = jax.vmap(lambda v: van_trees.log_policy(one, v))(w)
    assert np.all(np.asarray(logs.max(axis=0) - logs.min(axis=0)) <= np.asarray(van_trees.reach(one)) + 1e-9)


def test_informations_are_mean_squared_scores():
    one = family()
    w = jnp.asarray([0.2, -0.3])
    user = lambda v: van_trees.balanced_kernel(van_trees.log_policy(one, v), one.problem.distance, 0.3, 2.0)  # noqa: E731
    law = lambda v: jnp.einsum("xa,xab->xb", jnp.exp(one.problem.log_reference), user(v))  # noqa: E731
    step, found = 1e-5, np.zeros((X, Y, D))
    for k, axis in enumerate(np.eye(D)):
        found[..., k] = (np.log(law(w + step * axis)) - np.log(law(w - step * axis))) / (2 * step)
    direct = np.einsum("x,xy,xyd,xye->de", one.problem.context_probs, law(w), found, found)
    np.testing.assert_allclose(van_trees.labels(one, w), direct, rtol=1e-4)
    pairs, phi = np.asarray(van_trees.pairs(one)), np.asarray(one.features)
    cost = np.asarray(one.problem.expected_cost) + phi @ np.asarray(w)
    total = np.zeros((D, D))
    for x in range(X):
        for a in range(Y):
            for b in range(Y):
                chance = 1 / (1 + np.exp(-(cost[x, a] - cost[x, b]) / 0.3))
                apart = (phi[x, a] - phi[x, b]) / 0.3
                total += pairs[x, a, b] * chance * (1 - chance) * np.outer(apart, apart)
    np.testing.assert_allclose(van_trees.comparisons(one, w), total, rtol=1e-9)
    np.testing.assert_allclose(
        van_trees.everything(one, w), total + np.asarray(van_trees.costs(one, w)), rtol=1e-9
    )


def test_the_limit_is_the_local_minimax_constant():
    for noise in (0.0, 0.5):
        one = family(half_width=0.02, noise=noise)
        n = np.asarray([1e8])
        for feedback, constant in (("comparisons", lower.preference(one.problem, one.features).constant),):
            np.testing.assert_allclose(n * van_trees.bayes(one, feedback, n).value, constant, rtol=0.03)
        if noise == 0.0:
            constant = lower.cost(one.problem, one.features).constant
            np.testing.assert_allclose(n * van_trees.bayes(one, "costs", n).value, constant, rtol=0.03)
    wide, thin = (van_trees.bayes(family(width), "costs", np.asarray([100.0])).value for width in (0.8, 0.1))
    assert thin < wide
    with pytest.raises(
        ValueError, match="feedback: got 'gossip', must be one of labels, comparisons, costs, all"
    ):
        van_trees.bayes(family(), "gossip", np.asarray([1.0]))
    with pytest.raises(ValueError, match="half_width must be"):
        van_trees.bayes(family(half_width=0.0), "costs", np.asarray([1.0]))


@pytest.mark.statistical
def test_no_learner_is_below_the_bound_and_three_times_the_bound_is_refuted():
    rng = np.random.default_rng(0)
    assert abs(np.var(van_trees.draw_prior(rng, 20_000, 1)) - PRIOR_VARIANCE) < 0.004
    near = 0
    for noise, strength in ((0.05, 0.8), (0.6, 0.1)):
        one = family(noise=noise, strength=strength)
        bounds = {
            name: np.asarray(van_trees.bayes(one, name, np.asarray(SIZES, dtype=float)).value)
            for name in van_trees.FEEDBACK
        }
        assert np.all(bounds["all"] <= np.minimum(bounds["comparisons"], bounds["costs"]) * (1 + 1e-9))
        for place, n in enumerate(SIZES):
            for name, lost in risks(one, n, TRIALS, rng).items():
                bound, error = bounds[LEARNERS[name]][place], lost.std(ddof=1) / np.sqrt(TRIALS)
                assert lost.mean() + Z * error >= bound, (name, n)
                near += bool(lost.mean() + Z * error < 3 * bound)
    assert near >= 8
