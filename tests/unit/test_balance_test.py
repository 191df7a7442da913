"""The tests of balance and the certificates of strong users against loops written out in NumPy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.certify import balance_test, evidence
from edittheory.certify import certificates_supervised as supervised
from edittheory.problem import cost_classes
from tests.certificate_toys import K, N, X, backwards, loop_mixture, loop_preferences
from tests.finite_toys import balanced, policies

Y = 6


@pytest.fixture(scope="module")
def case():
    return backwards(jax.random.key(11))


def loop_rich(log_class, log_reference, data) -> np.ndarray:
    """The chance of each direction, example by example, from all examples before it."""
    log_class, log_reference = np.asarray(log_class), np.asarray(log_reference)
    ratio = log_class - log_reference
    experts = [(k, scale) for scale in balance_test.SCALES for k in range(len(log_class))]
    weights = np.ones(len(experts)) / len(experts)
    groups = np.ones(len(balance_test.STRENGTHS)) / len(balance_test.STRENGTHS)
    halves = np.array([0.5, 0.5])
    counts: dict = {}
    chances = []
    for x, y, edit in zip(*map(np.asarray, (data.contexts, data.responses, data.edits)), strict=True):
        x, y, edit = int(x), int(y), int(edit)
        each = np.array([1 / (1 + np.exp(-s * (ratio[k, x, edit] - ratio[k, x, y]))) for k, s in experts])
        members = float(weights @ each)
        won, lost = counts.get((x, y, edit), 0), counts.get((x, edit, y), 0)
        own = np.array([(a * members + won) / (a + won + lost) for a in balance_test.STRENGTHS])
        own = np.full(len(own), 0.5) if y == edit else own
        both = np.array([members, float(groups @ own)])
        chances.append(float(halves @ both))
        halves = halves * both / (halves @ both)
        groups = groups * own / (groups @ own)
        weights = weights * each / (weights @ each)
        counts[x, y, edit] = won + 1
    return np.log(chances)


def test_rich_predictor_is_a_bayesian_mixture_of_predictions_from_the_past(case):
    instance, data = case
    problem = instance.problem
    log_class, ones = instance.log_class[:K], np.ones(N)
    predict = jax.jit(balance_test.rich_predictor)
    found = predict(log_class, problem.log_reference, data, ones)
    np.testing.assert_allclose(
        found, loop_rich(log_class, problem.log_reference, data), rtol=1e-8, atol=1e-10
    )
    masked = predict(log_class, problem.log_reference, data, np.where(np.arange(N) < 30, ones, 0.0))
    np.testing.assert_allclose(masked[:30], found[:30], rtol=1e-9)
    np.testing.assert_allclose(masked[30:], 0.0, atol=1e-12)


def test_every_evidence_is_what_it_says(case):
    instance, data = case
    problem = instance.problem
    log_class = cost_classes.tilted(problem.log_reference, instance.cost_class, problem.beta)
    found = eqx.filter_jit(balance_test.every_evidence)(
        instance.cost_class, problem.log_reference, data, problem.beta, problem.cost_max
    )
    likelihood = loop_preferences(log_class, problem.log_reference, data)
    mixture = loop_mixture(likelihood)
    betting = np.asarray(evidence.betting_evidence(instance.cost_class, data, problem.cost_max))
    free = np.cumsum(loop_rich(log_class, problem.log_reference, data))[:, None] - np.cumsum(
        likelihood, axis=0
    )
    # The joint factors, from their definition.
    factors = np.exp(np.diff(betting, axis=0, prepend=0.0)) - 1
    both = np.zeros_like(mixture)
    weights = np.ones(K) / K
    for i in range(N):
        own = np.exp(likelihood[i])
        q = weights @ own
        share = np.minimum(
            1.0, evidence.LEAST_FACTOR / np.maximum(1 - np.minimum(q / own, (1 - q) / (1 - own)), 1e-300)
        )
        both[i] = (both[i - 1] if i else 0) + np.log(1 + share * (q / own - 1) + factors[i])
        weights = weights * own / q

    def mean(*parts):
        return np.log(np.mean(np.exp(np.stack(parts)), axis=0))

    np.testing.assert_allclose(found["union"], np.maximum(mixture, betting) - np.log(2), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found["average"], mean(mixture, betting), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found["joint"], mean(mixture, betting, both), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found["rich"], mean(mixture, betting, both, free), rtol=1e-7, atol=1e-9)


def test_fixed_sample_statistic_and_fit(case):
    instance, data = case
    problem, fs = instance.problem, np.asarray(instance.cost_class)
    test = eqx.filter_jit(balance_test.fixed_sample)
    found = test(jax.random.key(0), instance.cost_class, data, problem.beta, 39)
    x, y, edit = (np.asarray(a) for a in (data.contexts, data.responses, data.edits))
    fitted = int(np.argmin([((np.asarray(data.costs) - f[x, y]) ** 2).sum() for f in fs]))
    assert int(found.fitted) == fitted
    total = 0.0
    for c in range(X):
        for a in range(Y):
            for b in range(a + 1, Y):
                up = int(((x == c) & (y == a) & (edit == b)).sum())
                size = up + int(((x == c) & (y == b) & (edit == a)).sum())
                p = 1 / (1 + np.exp(-(fs[fitted, c, a] - fs[fitted, c, b]) / float(problem.beta)))
                total += (up - size * p) ** 2 / (size * p * (1 - p)) if size else 0.0
    np.testing.assert_allclose(found.statistic, total, rtol=1e-8)
    assert 1 / 40 <= float(found.p_value) <= 1
    # Edits turned around are refuted.
    turned = type(data)(data.contexts, data.edits, data.responses, data.costs)
    assert float(test(jax.random.key(0), instance.cost_class, turned, problem.beta, 39).p_value) < 0.1


def test_certificates_of_strong_users(getkey):
    """The set of laws, what they allow, and the bound without a class, each from its definition."""
    problem = balanced(5, strength=0.7)
    log_class = jnp.concatenate([problem.log_optimal[None], policies(3, 3, 1.0)])
    laws = jnp.concatenate([problem.edited(problem.log_reference)[None], problem.edited(log_class[1:])])
    data = problem.sample(getkey(), 400)
    gamma, delta = 0.7 * float(jnp.exp(problem.log_optimal).max(-1).min()), 0.1
    found = eqx.filter_jit(supervised.supervised)(
        log_class, laws, problem.log_reference, data, problem.context_probs, problem.beta, delta, gamma
    )
    x, edit = np.asarray(data.contexts), np.asarray(data.edits)
    log_e = loop_mixture_stable(np.asarray(laws)[:, x, edit].T)
    inside = log_e.max(axis=0) < np.log(1 / delta)

    def tv(p, q):
        return 0.5 * np.abs(np.exp(np.asarray(p)) - np.exp(np.asarray(q))).sum(-1)

    allowed = [
        any(
            ok and np.all(tv(m, v) <= (1 - gamma) * tv(problem.log_reference, v) + 1e-9)
            for m, ok in zip(laws, inside, strict=True)
        )
        for v in log_class
    ]
    np.testing.assert_array_equal(found.members, allowed)
    counts = np.zeros((3, Y))
    np.add.at(counts, (x, edit), 1)
    seen = counts.sum(1)
    radius = np.minimum(np.sqrt((Y * np.log(2) + np.log(3 / delta)) / (2 * np.maximum(seen, 1))), 1)
    np.testing.assert_allclose(
        supervised.empirical_radius(jnp.asarray(seen), Y, delta), np.where(seen > 0, radius, 1)
    )
    frequency = np.log(np.maximum(counts, 1e-300) / seen[:, None])
    bias = (1 - gamma) / gamma * np.minimum(tv(problem.log_reference, frequency) + radius, 1)
    wanted = [
        (float(problem.cost_max) + float(problem.beta) * np.abs(pi - problem.log_reference).max())
        * (np.minimum(tv(pi, frequency) + radius + bias, 1) @ np.asarray(problem.context_probs))
        for pi in log_class
    ]
    bound = eqx.filter_jit(supervised.supervised_empirical)(
        log_class,
        problem.log_reference,
        data,
        problem.context_probs,
        problem.beta,
        delta,
        problem.cost_max,
        gamma,
    )
    np.testing.assert_allclose(bound, wanted, rtol=1e-9)
    assert np.all(np.asarray(problem.suboptimality(log_class)) <= np.asarray(bound))


def loop_mixture_stable(log_likelihood: np.ndarray) -> np.ndarray:
    """As `loop_mixture`, for products below the smallest float."""
    total = np.cumsum(log_likelihood, axis=0)
    top = total.max(axis=1, keepdims=True)
    return top + np.log(np.exp(total - top).mean(axis=1, keepdims=True)) - total
