"""Exact conditional certificates: p-values are exact for the truth, levels hold, a broken assumption shows, counts are counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from edittheory.certify import certificates, certificates_exact, evidence
from edittheory.certify.certificates_exact import exact, pairs_of
from edittheory.core import statistics
from edittheory.problem import EditDataset, cost_classes, random_problems
from tests.finite_toys import STRINGS

K, X, N, LOGS, DELTA = 6, 2, 40, 300, 0.2
LEVEL = 1e-4


@pytest.fixture(scope="module")
def case():
    """A dense class along a line, and its tables as NumPy arrays."""

    @jax.jit
    def draw(key):
        return random_problems.balanced_backwards(
            key, STRINGS, X, K, beta=0.3, tastes=random_problems.on_a_line
        )

    instance = draw(jax.random.key(3))
    problem = instance.problem
    tables = [
        np.asarray(part) for part in (instance.cost_class, problem.log_reference, problem.context_probs)
    ]
    return instance, problem, tables


def run(problem, tables, number, sample=None, draws=99):
    data = (sample or problem.sample)(jax.random.key(number), N)
    rng = np.random.default_rng(number)
    costs, reference, law = tables
    return data, exact(costs, reference, data, law, float(problem.beta), DELTA, rng, draws=draws)


@pytest.mark.statistical
def test_levels_hold_and_p_values_of_the_truth_are_uniform(case):
    instance, problem, tables = case
    found = [run(problem, tables, number)[1] for number in range(LOGS)]
    truth = int(instance.truth)
    p = np.array([one.p_values[truth] for one in found])
    # Exactly uniform on {1/100, ..., 1} up to ties: each quantile is checked by a binomial test, at LEVEL over all.
    for share in (0.05, 0.1, 0.2, 0.5):
        low = statistics.violation_check(int(np.sum(p <= share)), LOGS, share, LEVEL / 8)
        assert not low.violated, share
        assert (
            scipy.stats.binomtest(int(np.sum(p <= share)), LOGS, share).pvalue > LEVEL / 8
            or np.mean(p <= share) < share
        )
    realised = np.array([float(problem.suboptimality(jnp.asarray(one.log_policy))) for one in found])
    for name in ("certificate", "pivot"):
        values = np.array([getattr(one, name) for one in found])
        bad = int(np.sum(realised > values * (1 + 1e-9) + 1e-15))
        assert not statistics.violation_check(bad, LOGS, DELTA, LEVEL / 8).violated, name
    # The set is what it is for: near the quantile of what it bounds, in this class, by no more than this.
    values = np.array([one.certificate for one in found])
    assert np.median(values) < 3 * np.quantile(realised, 1 - DELTA)


@pytest.mark.statistical
def test_a_user_who_edits_the_wrong_way_round_breaks_the_level(case):
    """The check can fail: with answers and edits exchanged the directions are the opposite coins."""
    instance, problem, tables = case

    def turned(key, n):
        data = problem.sample(key, n)
        return EditDataset(data.contexts, data.edits, data.responses, data.costs)

    found = [run(problem, tables, number, turned)[1] for number in range(60)]
    covered = [bool(one.members[int(instance.truth)]) for one in found]
    assert statistics.violation_check(len(covered) - sum(covered), len(covered), DELTA, LEVEL).violated


def test_certificate_is_that_of_its_members(case):
    _, problem, tables = case
    _, found = run(problem, tables, 5)
    log_class = cost_classes.tilted(problem.log_reference, jnp.asarray(tables[0]), problem.beta)
    direct = certificates.certify(
        jnp.asarray(found.log_policy)[None],
        log_class,
        jnp.asarray(found.members),
        problem.context_probs,
        problem.beta,
    )
    np.testing.assert_allclose(found.certificate, direct[0], rtol=1e-9, atol=1e-15)
    assert found.members.tolist() == (found.p_values > DELTA).tolist()
    np.testing.assert_allclose(np.exp(found.log_policy).sum(axis=-1), 1.0)


def test_log_likelihood_is_that_of_the_log_as_it_is(case):
    """Sigmoids of every direction, and the errors of every cost, example by example."""
    _, problem, tables = case
    data = problem.sample(jax.random.key(9), N)
    costs, reference, _ = tables
    pairs = pairs_of(data, *reference.shape)
    model = certificates_exact._Model(costs, reference, pairs, float(problem.beta))
    found = model.log_likelihood(pairs.forward[None].astype(float))[0]
    log_class = cost_classes.tilted(problem.log_reference, jnp.asarray(costs), problem.beta)
    coins = np.asarray(evidence.preference_log_likelihood(log_class, problem.log_reference, data))
    moved = np.asarray(data.responses != data.edits)
    errors = np.sum(
        (np.asarray(cost_classes.predictions(jnp.asarray(costs), data)) - np.asarray(data.costs)) ** 2, axis=1
    )
    direct = coins[moved].sum(axis=0) - 0.5 * N * np.log(errors + model.floor)
    np.testing.assert_allclose(found, direct, rtol=1e-9)
    assert pairs.total.sum() + pairs.stays.sum() == N and np.all(pairs.low < pairs.high)


def test_directions_alone_change_when_a_log_is_turned_round(case):
    _, problem, tables = case
    data = problem.sample(jax.random.key(2), N)
    turned = EditDataset(data.contexts, data.edits, data.responses, data.costs)
    one, other = (pairs_of(log, X, tables[1].shape[1]) for log in (data, turned))
    np.testing.assert_array_equal(one.total - one.forward, other.forward)
    for name in ("context", "low", "high", "total", "cost", "stays"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("change, message", [
    ({"draws": 10}, "draws must be an integer >= 19"),
    ({"delta": 0.0}, r"delta must be in \(0, 1\)"),
    ({"pivot_share": 1.0}, r"pivot_share must be in \(0, 1\)"),
    ({"beta": -1.0}, "beta must be a finite number > 0"),
    ({"context_probs": np.ones(5) / 5}, "context_probs has shape"),
])  # fmt: skip
def test_bad_arguments_are_named(case, change, message):
    _, problem, (costs, reference, law) = case
    given = {
        "cost_class": costs,
        "log_reference": reference,
        "context_probs": law,
        "beta": 0.3,
        "delta": DELTA,
        **change,
    }
    with pytest.raises(ValueError, match=message):
        exact(data=problem.sample(jax.random.key(0), N), rng=np.random.default_rng(0), **given)
