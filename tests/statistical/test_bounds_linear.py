"""Monte Carlo of every bound for linear classes: violations counted, level declared beforehand.

Each statement holds with chance at least 1 - delta (or 1 - 2 delta) in each trial; trials are independent given their
problems. A statement is refuted when its number of violations has chance below LEVEL under that claim.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from edittheory.bounds import AssumptionError, ball, linear
from edittheory.learn.cost_models import ridge
from edittheory.learn.objectives import Preference, Supervised
from edittheory.learn.policies import LogLinear
from edittheory.problem import cost_classes, features
from experiments.linear_bounds import draw, learn
from tests.parts import part

LEVEL = 1e-5 / 64  # of the whole file, over its comparisons (at most 64)
DELTA = 0.1
TRIALS, MOST = 256, 1000
X, Y, D = 2, 6, 4


@pytest.fixture(scope="module")
def instances():
    return jax.jit(jax.vmap(lambda key: draw(key, X, Y, D)))(jax.random.split(jax.random.key(20), TRIALS))


@pytest.fixture(scope="module")
def logged(instances):
    """MOST interactions with each problem; a sample of size n is the first n of them."""
    keys = jax.random.split(jax.random.key(21), TRIALS)
    return jax.jit(jax.vmap(lambda problem, key: problem.sample(key, MOST)))(instances[0], keys)


def first(n):
    return (jnp.arange(MOST) < n).astype(float)


def refuted(holds, chance):
    """Whether this many violations contradict `violated with chance at most chance` at LEVEL."""
    violations = int(np.sum(~np.asarray(holds)))
    return stats.binom.sf(violations - 1, len(holds), chance) < LEVEL


def show(name, n, realised, values):
    """Median ratio of bound to realised value, and violations among the trials, for each column."""
    ratios = " ".join(f"{ratio:.3g}" for ratio in np.median(values / realised[:, None], axis=0))
    violations = int(np.sum(values < realised[:, None]))
    print(f"\n{name}, n = {n}: median ratios {ratios}; {violations} violations in {values.size} trials")


def suboptimality(instances, policies):
    return jax.jit(jax.vmap(lambda problem, policy: problem.suboptimality(policy)))(instances[0], policies)


@jax.jit
def supervised_values(problem, model, policy, slack, n):
    def one(problem, model, policy, slack):
        truth = problem.edited(problem.log_reference)
        shared = dict(slack=slack, check=False)
        forms = [
            linear.supervised(problem, model, n, DELTA, form, log_policy=at, **shared).value
            for form in ("paper", "exact_bias", "hellinger")
            for at in (None, policy)
        ]
        ball = (D, model.radius, features.diameter(model.features), n, DELTA, slack)
        mle = [linear.maximum_likelihood(*ball, method).value for method in ("mixture", "cover")]
        return problem.squared_hellinger(policy, truth), jnp.stack(mle), jnp.stack(forms)

    return jax.vmap(one)(problem, model, policy, slack)


@pytest.mark.parametrize("n", [40, 1000])
def test_supervised(instances, logged, n):
    policies, slack = learn(instances[1], logged, Supervised(), 300, first(n))
    realised = suboptimality(instances, policies)
    distance, mle, forms = supervised_values(*instances[:2], policies, slack, float(n))
    show("SUP, Hellinger", n, distance, mle)
    show("SUP", n, realised, forms)
    assert np.median(slack) < 0.5
    assert np.all(mle[:, 0] <= mle[:, 1])
    for column in mle.T:
        assert not refuted(distance <= column, DELTA)
    for column in forms.T:
        assert not refuted(realised <= column, DELTA)
    # The trials can tell: a hundredth of the lemma's bound is not a bound.
    assert refuted(distance <= mle[:, 0] / 100, DELTA)


@jax.jit
def preference_values(problem, model, policy, slack, n):
    def one(problem, model, policy, slack):
        law = problem.context_probs[:, None, None] * problem.pair_law()

        def beats(log_policy):
            ratio = log_policy - problem.log_reference
            return jax.nn.sigmoid(ratio[..., None, :] - ratio[..., :, None])

        learned, truth = beats(policy), beats(problem.log_optimal)
        root = jnp.sqrt
        gap = (root(learned) - root(truth)) ** 2 + (root(1 - learned) - root(1 - truth)) ** 2
        forms = [
            linear.preference(problem, model, n, DELTA, form, at, slack, check=False).value
            for form in ("paper", "hellinger", "fast")
            for at in (None, policy)
        ]
        ball = (D, model.radius, features.diameter(model.features), n, DELTA, slack)
        mle = linear.maximum_likelihood(*ball).value
        return jnp.sum(law * gap), mle[None], jnp.stack(forms)

    return jax.vmap(one)(problem, model, policy, slack)


@pytest.mark.parametrize("n", [40, 1000])
def test_preference(instances, logged, n):
    data = part(logged, (slice(None), slice(n)))
    policies, slack = learn(instances[1], data, Preference(), 300, jnp.ones(n))
    realised = suboptimality(instances, policies)
    distance, mle, forms = preference_values(*instances[:2], policies, slack, float(n))
    show("PREF, Hellinger", n, distance, mle)
    show("PREF", n, realised, forms)
    assert not refuted(distance <= mle[:, 0], DELTA)
    assert refuted(distance <= mle[:, 0] / 300, DELTA)
    for column in forms.T:
        assert not refuted(realised <= column, DELTA)
    # Ceilings over the ball are at least what they cover.
    assert np.all(forms[:, ::2] >= forms[:, 1::2] * (1 - 1e-9))


@jax.jit
def cost_values(problem, psi, norm, data, weights):
    def one(problem, psi, norm, data):
        n = jnp.sum(weights)
        fit = ridge(psi, data, 1.0, weights)
        pessimistic = fit.pessimistic(problem.cost_max, norm, DELTA)
        policy = cost_classes.tilted(problem.log_reference, pessimistic, problem.beta)
        known = [
            linear.cost(problem, psi, n, DELTA, norm, form=form, fit=fit, log_policy=at, check=False).value
            for form, at in (("slow", None), ("fast", None), ("fast", policy))
        ]
        prior = [
            linear.cost(problem, psi, n, DELTA, norm, form=form, check=False).value
            for form in ("slow", "fast")
        ]
        inside = jnp.all(pessimistic >= problem.expected_cost - 1e-12)
        return inside, problem.suboptimality(policy), jnp.stack(known), jnp.stack(prior)

    return jax.vmap(one)(problem, psi, norm, data)


@pytest.mark.parametrize("n", [100, 1000])
def test_cost(instances, logged, n):
    problem, _, psi, norm = instances
    inside, realised, known, prior = cost_values(problem, psi, norm, logged, first(n))
    show("RL, design of the data", n, realised, known)
    show("RL, before the data", n, realised, prior)
    assert not refuted(inside, DELTA)
    for column in known.T:
        assert not refuted(realised <= column, DELTA)
    for column in prior.T:
        assert not refuted(realised <= column, 2 * DELTA)


def test_ceilings_hold_over_the_ball(instances):
    _, models, _, _ = instances
    model = part(models, 0)
    directions = jax.random.normal(jax.random.key(1), (4000, D))
    theta = directions / jnp.linalg.norm(directions, axis=-1, keepdims=True) * model.radius
    policies = jax.vmap(model.log_policy)(theta)
    top, bottom = ball.ceiling(model), ball.floor(model)
    assert jnp.all(policies <= top + 1e-12) and jnp.all(policies >= bottom - 1e-12)
    # With one other response there is nothing to lose: the ceiling is attained.
    pair = LogLinear(model.features[:, :2], jnp.log(jnp.full((X, 2), 0.5)), 1.0)
    along = pair.features[0, 0] - pair.features[0, 1]
    best = pair.log_policy(along / jnp.linalg.norm(along))
    np.testing.assert_allclose(best[0, 0], ball.ceiling(pair)[0, 0], rtol=1e-12)


def test_assumptions_are_checked(instances):
    problem, model, psi, norm = (part(each, 0) for each in instances)
    assert linear.supervised(problem, model, 100, DELTA).value > 0
    assert linear.preference(problem, model, 100, DELTA).value > 0
    assert linear.cost(problem, psi, 1000, DELTA, norm).value > 0
    with pytest.raises(AssumptionError, match="off the features' span"):
        linear.supervised(problem, model.keep([0, 1]), 100, DELTA)
    with pytest.raises(AssumptionError, match=r"pi\* needs \|\|theta\|\|"):
        linear.preference(problem, LogLinear(model.features, model.log_reference, 1e-3), 100, DELTA)
    with pytest.raises(AssumptionError, match="no radius"):
        linear.preference(problem, LogLinear(model.features, model.log_reference), 100, DELTA)
    with pytest.raises(AssumptionError, match="reference differs"):
        linear.preference(problem, LogLinear(model.features, model.log_reference[::-1], 9.0), 100, DELTA)
    unbalanced = problem.with_user(0.7 * problem.user + 0.3 * jax.nn.one_hot(jnp.zeros(Y, int), Y))
    with pytest.raises(AssumptionError, match="balance"):
        linear.preference(unbalanced, model, 100, DELTA)
    with pytest.raises(AssumptionError, match="the cost needs"):
        linear.cost(problem, psi, 1000, DELTA, 0.1 * norm)
    with pytest.raises(AssumptionError, match="off the features' span"):
        linear.cost(problem, psi[..., 1:], 1000, DELTA, norm)
    with pytest.raises(AssumptionError, match="n is too small"):
        linear.cost(problem, psi, 3, DELTA, norm)
    with pytest.raises((ValueError, TypeError), match="'guess'"):
        linear.complexity(3, 1.0, 1.0, 10, DELTA, method="guess")
    with pytest.raises(ValueError, match="delta: got 2"):
        linear.complexity(3, 1.0, 1.0, 10, 2.0)


def test_shrink_solves_its_equation():
    for leverage, n in ((5.0, 1000), (20.0, 200)):
        eps = 1 - float(linear.design_shrink(4, leverage, n, 0.05))
        assert eps + (1 - eps) * np.log(1 - eps) == pytest.approx(leverage * np.log(4 / 0.05) / n, rel=1e-9)
    assert linear.design_shrink(4, 5.0, 10, 0.05) == 0.0
