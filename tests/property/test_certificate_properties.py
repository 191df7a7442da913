"""What certificates promise whatever the data: sets that nest, bounds that hold where the truth is in, Lemma 1 turned around."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edittheory.certify import balance_test, certificates, certificates_supervised, evidence
from edittheory.core.logspace import total_variation
from edittheory.problem import coverage
from tests.certificate_toys import K, backwards, on_a_line
from tests.finite_toys import balanced as balanced_problem
from tests.finite_toys import number, policies

seeds = st.integers(0, 2**31 - 1)
deltas = st.floats(0.001, 0.9)


@eqx.filter_jit
def _sets(likelihood, delta):
    log_e = evidence.mixture_evidence(likelihood)
    return evidence.anytime_members(log_e, delta), evidence.likelihood_ratio_members(likelihood, delta)


@settings(max_examples=60)
@given(seeds, deltas, st.floats(0.01, 30.0))
def test_the_anytime_set_is_inside_the_likelihood_ratio_set(seed, delta, spread):
    """For any likelihoods at all, also of data that no member describes; theory.md B6."""
    table = -np.random.default_rng(seed).exponential(spread, size=(25, 5))
    inside, outside = _sets(jnp.asarray(table), number(delta))
    assert not np.any(np.asarray(inside) & ~np.asarray(outside))
    assert np.any(outside)


@eqx.filter_jit
def _combinations(first, second, delta):
    average = evidence.average_evidence(first, second)
    union = balance_test.union_evidence(first, second)
    each = [evidence.anytime_members(e, delta / 2) for e in (first, second)]
    return (
        evidence.anytime_members(average, delta),
        evidence.anytime_members(union, delta),
        each[0] & each[1],
        balance_test.sequential(average, delta),
        balance_test.sequential(union, delta),
    )


@settings(max_examples=60)
@given(seeds, deltas)
def test_averages_are_inside_intersections_and_reject_no_later(seed, delta):
    walks = np.cumsum(np.random.default_rng(seed).normal(0.05, 0.5, size=(2, 30, 4)), axis=1)
    average, union, intersection, early, late = _combinations(
        jnp.asarray(walks[0]), jnp.asarray(walks[1]), number(delta)
    )
    np.testing.assert_array_equal(union, intersection)
    assert not np.any(np.asarray(average) & ~np.asarray(intersection))
    assert early.time <= late.time
    # The test by hand: the first row by which every member has been dropped, and p-values that agree with it.
    worst = np.maximum.accumulate(np.logaddexp(*walks) - np.log(2), axis=0)
    gone = np.all(worst >= -np.log(delta), axis=1)
    wanted = int(np.argmax(gone)) + 1 if gone.any() else 31
    assert int(early.time) == wanted and bool(early.rejected) == gone.any()
    np.testing.assert_allclose(early.p_value, np.minimum(np.exp(-worst.min(axis=1)), 1.0), rtol=1e-9)


@eqx.filter_jit
def _truth_and_certificates(key, delta, draw):
    instance, data = draw(key)
    problem, log_class = instance.problem, instance.log_class[:K]
    args = (log_class, problem.log_reference, data, problem.context_probs, problem.beta, delta)
    found = [certificates.preference(*args), certificates.preference_anytime(*args)[:2]]
    return [(f[0], f[1]) for f in found], problem.suboptimality(log_class), instance.truth


@settings(max_examples=40)
@given(seeds, deltas, st.sampled_from([on_a_line, backwards]))
def test_a_certificate_bounds_suboptimality_wherever_its_set_holds_the_truth(seed, delta, draw):
    found, realised, truth = _truth_and_certificates(jax.random.key(seed), number(delta), draw)
    for certificate, members in found:
        if members[truth]:
            assert np.all(np.asarray(realised) <= np.asarray(certificate) * (1 + 1e-9) + 1e-12)
        assert np.all(np.isinf(certificate)) == (not np.any(members))


@eqx.filter_jit
def _bias(problem, log_class):
    gamma = coverage.gamma_min(problem)
    edited = problem.edited(problem.log_reference)
    exact = total_variation(edited, problem.log_optimal)
    bound = certificates_supervised.edit_bias(problem.log_reference, edited, gamma)
    by_distance = certificates_supervised.supervised_by_distance(
        log_class,
        edited[None],
        jnp.ones(1, bool),
        problem.log_reference,
        problem.context_probs,
        problem.beta,
        problem.cost_max,
        gamma,
    )
    candidates = jnp.concatenate([problem.log_optimal[None], log_class])
    possible = certificates_supervised.possible_optima(
        candidates, problem.log_reference, edited[None], jnp.ones(1, bool), gamma
    )
    return exact, bound, problem.suboptimality(log_class), by_distance, possible


@settings(max_examples=60)
@given(seeds, st.floats(0.05, 2.0), st.floats(0.02, 1.0), st.floats(0.0, 6.0), st.floats(0.0, 2.5))
def test_what_the_user_changed_bounds_what_is_left_to_change(seed, beta, strength, locality, spread):
    """TV(mu, pi*) <= ((1 - gamma)/gamma) TV(reference, mu), and the certificates that follow from a known mu."""
    problem = balanced_problem(seed, beta, strength, locality, spread)
    exact, bound, realised, certificate, possible = _bias(problem, policies(seed, 4, 1.0))
    assert np.all(np.asarray(exact) <= np.asarray(bound) + 1e-9)
    assert np.all(np.asarray(realised) <= np.asarray(certificate) + 1e-9)
    assert possible[0]
