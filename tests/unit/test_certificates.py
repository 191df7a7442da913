"""Certificates and players of finite classes against loops over examples and members, written out in NumPy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from edittheory.certify import certificates, certified_policies, evidence
from edittheory.problem import cost_classes
from tests.certificate_toys import (
    K,
    N,
    backwards,
    loop_betting,
    loop_divergence,
    loop_mixture,
    loop_preferences,
)

DELTA = 0.2
preference = eqx.filter_jit(certificates.preference)
preference_anytime = eqx.filter_jit(certificates.preference_anytime)
cost = eqx.filter_jit(certificates.cost)
cost_betting = eqx.filter_jit(certificates.cost_betting)


@pytest.fixture(scope="module")
def case():
    """An instance whose sets are neither everything nor a single member."""
    return backwards(jax.random.key(5))


def policies(instance):
    return instance.log_class[:K]


def oracle(log_class, members, problem) -> np.ndarray:
    """The largest beta E_x KL over the members, pair by pair."""
    return np.array(
        [
            max(
                float(problem.beta) * loop_divergence(pi, v, problem.context_probs)
                for v, inside in zip(log_class, members, strict=True)
                if inside
            )
            for pi in log_class
        ]
    )


@eqx.filter_jit
def _all_evidence(log_class, cost_class, problem, data, weights):
    likelihood = evidence.preference_log_likelihood(log_class, problem.log_reference, data)
    betting = evidence.betting_evidence(cost_class, data, problem.cost_max, weights)
    return (
        evidence.mixture_evidence(likelihood, weights),
        betting,
        evidence.joint_evidence(likelihood, betting, weights),
        evidence.squares_evidence(cost_class, data, problem.cost_max, weights),
        certified_policies.cost_log_likelihood(cost_class, data, problem.cost_max, weights),
    )


def test_preference_set_and_certificates(case):
    instance, data = case
    problem, log_class = instance.problem, policies(instance)
    found = preference(log_class, problem.log_reference, data, problem.context_probs, problem.beta, DELTA)
    certificate, members = found  # the pair that other code relies on
    total = loop_preferences(log_class, problem.log_reference, data).sum(axis=0)
    wanted = total.max() - total <= np.log(K / DELTA)
    assert 1 < wanted.sum() < K
    np.testing.assert_array_equal(members, wanted)
    np.testing.assert_allclose(certificate, oracle(log_class, wanted, problem), rtol=1e-10, atol=1e-14)
    assert not found.empty


def test_anytime_preference_set_certificates_and_evidence(case):
    instance, data = case
    problem, log_class = instance.problem, policies(instance)
    found = preference_anytime(
        log_class, problem.log_reference, data, problem.context_probs, problem.beta, DELTA
    )
    log_e = loop_mixture(loop_preferences(log_class, problem.log_reference, data))
    np.testing.assert_allclose(found.log_evidence, log_e, rtol=1e-9, atol=1e-11)
    wanted = log_e.max(axis=0) < np.log(1 / DELTA)
    assert 0 < wanted.sum() < K
    np.testing.assert_array_equal(found.members, wanted)
    np.testing.assert_allclose(found.certificate, oracle(log_class, wanted, problem), rtol=1e-10, atol=1e-14)
    for n, row in zip((3, 20, N), evidence.anytime_members(found.log_evidence, 0.5, (3, 20, N)), strict=True):
        np.testing.assert_array_equal(row, log_e[:n].max(axis=0) < np.log(2))


def test_cost_set_and_certificates(case):
    instance, data = case
    problem, fs = instance.problem, np.asarray(instance.cost_class)
    # A cost range far below the true one makes the set neither all nor one; the arithmetic is what is tested.
    cost_max = 0.2
    found = cost(
        instance.cost_class, problem.log_reference, data, problem.context_probs, problem.beta, DELTA, cost_max
    )
    values = fs[:, np.asarray(data.contexts), np.asarray(data.responses)]
    best = np.argmin(((values - np.asarray(data.costs)) ** 2).sum(axis=1))
    wanted = ((values - values[best]) ** 2).sum(axis=1) <= 2 * cost_max**2 * np.log(K / DELTA)
    assert 1 < wanted.sum() < K
    np.testing.assert_array_equal(found.members, wanted)
    tilted = np.asarray(problem.log_reference) - fs / float(problem.beta)
    tilted = tilted - np.log(np.exp(tilted).sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(found.certificate, oracle(tilted, wanted, problem), rtol=1e-10, atol=1e-14)


def test_betting_is_the_loop_and_looks_at_no_cost_before_it_bets(case):
    instance, data = case
    cost_max = instance.problem.cost_max
    found = np.asarray(evidence.betting_evidence(instance.cost_class, data, cost_max))
    np.testing.assert_allclose(
        found, loop_betting(instance.cost_class, data, float(cost_max)), rtol=1e-9, atol=1e-11
    )
    # Changing cost i moves the factor of example i along a line with that example's bet as slope, whatever the cost.
    i = 17
    factors = []
    for value in (0.0, 0.5, 1.0):
        changed = eqx.tree_at(lambda d: d.costs, data, data.costs.at[i].set(value * cost_max))
        log_e = np.asarray(evidence.betting_evidence(instance.cost_class, changed, cost_max))
        np.testing.assert_array_equal(log_e[:i], found[:i])
        factors.append(np.exp(log_e[i] - log_e[i - 1]))
    np.testing.assert_allclose(factors[1], (factors[0] + factors[2]) / 2, rtol=1e-12)
    assert np.min(factors) >= 0.5 - 1e-12 and np.max(factors) <= 1.5 + 1e-12


def test_the_expected_factor_of_the_truth_is_one(case):
    """Exactly, by enumeration of the next example: for betting, for preferences, and for the joint bet."""
    instance, data = case
    problem = instance.problem
    law = np.asarray(problem.context_probs)[:, None, None] * np.asarray(problem.pair_law())
    log_class = cost_classes.tilted(problem.log_reference, instance.cost_class, problem.beta)
    x, y, edit = (a.reshape(-1).astype(np.int32) for a in np.indices(law.shape))

    @jax.jit
    def factors(x, y, edit):
        cells = (data.contexts.at[-1].set(x), data.responses.at[-1].set(y), data.edits.at[-1].set(edit))
        changed = type(data)(*cells, problem.costs_of(*cells))
        rows = _all_evidence(log_class, instance.cost_class, problem, changed, None)[:4]
        rows = (*rows, evidence.average_evidence(rows[0], rows[1]))
        return jnp.stack([row[-1] for row in rows]), jnp.stack([row[-2] for row in rows])

    after, before = jax.vmap(factors)(x, y, edit)
    expected = np.einsum("c,cek->ek", law.reshape(-1), np.exp(after))
    truth = int(instance.truth)
    start = before[0]
    before = np.exp(np.asarray(start)[:, truth])
    exact = [0, 1, 2, 4]  # mixture, betting, joint, average; squares are a supermartingale only
    np.testing.assert_allclose(expected[exact, truth], before[exact], rtol=1e-9)
    assert expected[3, truth] <= before[3] * (1 + 1e-12)
    # Of others it is not, but for the one that the bets follow: the test can fail.
    others = np.delete(expected[1] / np.exp(np.asarray(start[1])), truth)
    assert np.median(np.abs(others - 1)) > 1e-2


def test_weights_leave_examples_out_and_sizes_are_prefixes(case):
    instance, data = case
    problem = instance.problem
    weights = jnp.where(jnp.arange(N) < 25, 1.0, 0.0)
    short = jax.tree.map(lambda a: a[:25], data)
    for long, brief in zip(
        _all_evidence(policies(instance), instance.cost_class, problem, data, weights),
        _all_evidence(policies(instance), instance.cost_class, problem, short, None),
        strict=True,
    ):
        np.testing.assert_allclose(long[24], brief[-1], rtol=1e-10)
        np.testing.assert_allclose(long[-1], brief[-1], rtol=1e-10)
    squares = eqx.filter_jit(evidence.least_squares_members)
    at_sizes = squares(instance.cost_class, data, 0.2, DELTA, sizes=(25, N))
    np.testing.assert_array_equal(at_sizes[0], squares(instance.cost_class, short, 0.2, DELTA))
    np.testing.assert_array_equal(at_sizes[1], squares(instance.cost_class, data, 0.2, DELTA))
    table = np.random.default_rng(0).normal(size=(N, K))
    ratio = evidence.likelihood_ratio_members(jnp.asarray(table), DELTA, sizes=(25, N))
    total = np.cumsum(table, axis=0)[[24, N - 1]]
    np.testing.assert_array_equal(ratio, total.max(1, keepdims=True) - total <= np.log(K / DELTA))
    with pytest.raises(ValueError, match=r"sizes: got 61, must be in \[1, 60\]"):
        evidence.anytime_members(jnp.asarray(table), DELTA, (1, 61))


def test_certify_of_an_empty_set_certifies_nothing_and_chunks_do_not_matter(case, monkeypatch):
    instance, _ = case
    problem, log_class = instance.problem, policies(instance)
    nobody = jnp.zeros(K, bool)
    assert np.all(
        np.isinf(certificates.certify(log_class, log_class, nobody, problem.context_probs, problem.beta))
    )
    everyone = jnp.ones(K, bool)
    whole = certificates.certify(log_class, log_class, everyone, problem.context_probs, problem.beta)
    monkeypatch.setattr(certificates, "LARGEST_TABLE", 3 * K)
    parts = certificates.certify(log_class, log_class, everyone, problem.context_probs, problem.beta)
    np.testing.assert_allclose(parts, whole, rtol=1e-12)
    assert certificates.Certificates(whole, nobody).empty


def test_a_member_that_excludes_what_a_policy_says_makes_its_certificate_infinite():
    log_class = jnp.log(jnp.array([[[0.5, 0.5, 0.0]], [[0.2, 0.3, 0.5]], [[0.0, 1.0, 0.0]]]))
    found = certificates.divergences(log_class, log_class, jnp.ones(1))
    wanted = [
        [0.0, np.log(0.5 / np.sqrt(0.06)), np.inf],
        [np.inf, 0.0, np.inf],
        [np.log(2), np.log(1 / 0.3), 0.0],
    ]
    np.testing.assert_allclose(found, wanted, atol=1e-15)


def test_reverse_kl_centre_is_the_minimax_policy(case):
    instance, _ = case
    problem, log_class = instance.problem, policies(instance)
    members = jnp.arange(K) < 4
    centre = certified_policies.reverse_kl_centre(
        log_class, members, problem.context_probs, problem.beta, tolerance=1e-5, most_iterations=3000
    )
    assert centre.gap <= 1e-5 * centre.certificate
    np.testing.assert_allclose(
        certificates.certify(
            centre.log_policy[None], log_class, members, problem.context_probs, problem.beta
        )[0],
        centre.certificate,
        rtol=1e-9,
    )
    # Oracle: SLSQP on the epigraph, min t with t >= beta E_x KL(pi || v), over logits of pi.
    shape = log_class.shape[1:]
    inside = np.asarray(log_class[:4])
    probs, beta = np.asarray(problem.context_probs), float(problem.beta)

    def slack(z):
        logits = z[:-1].reshape(shape)
        log_pi = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        divergence = np.einsum("x,xy,kxy->k", probs, np.exp(log_pi), log_pi - inside)
        return z[-1] - beta * divergence / float(centre.certificate)

    start = np.append(inside.mean(axis=0).ravel(), 3.0)
    result = scipy.optimize.minimize(
        lambda z: z[-1],
        start,
        jac=lambda z: np.eye(len(z))[-1],
        constraints={"type": "ineq", "fun": slack},
        method="SLSQP",
        options={"maxiter": 300, "ftol": 1e-9},
    )
    np.testing.assert_allclose(result.fun, 1.0, rtol=1e-3)
    # It beats every member of the class.
    in_class = certificates.certify(log_class, log_class, members, problem.context_probs, problem.beta)
    assert centre.certificate < jnp.min(in_class)
    assert np.all(np.asarray(centre.weights)[4:] == 0) and np.isclose(np.sum(centre.weights), 1.0)


def test_centre_of_an_empty_set_and_of_one_member(case):
    instance, _ = case
    problem, log_class = instance.problem, policies(instance)
    empty = certified_policies.reverse_kl_centre(
        log_class, jnp.zeros(K, bool), problem.context_probs, problem.beta
    )
    assert np.isinf(empty.certificate) and empty.gap == 0 and np.all(np.isfinite(empty.log_policy))
    single = certified_policies.reverse_kl_centre(
        log_class, jnp.arange(K) == 3, problem.context_probs, problem.beta
    )
    np.testing.assert_allclose(single.log_policy, log_class[3], atol=1e-12)
    assert single.certificate < 1e-14


def test_posterior_player_is_the_policy_of_the_mixed_cost(case):
    instance, data = case
    problem, fs = instance.problem, np.asarray(instance.cost_class)
    members = jnp.arange(K) % 2 == 0
    likelihood = certified_policies.cost_log_likelihood(instance.cost_class, data, problem.cost_max)
    values = fs[:, np.asarray(data.contexts), np.asarray(data.responses)]
    for i in (0, 9, N - 1):
        errors = ((values - np.asarray(data.costs)) ** 2)[:, : i + 1].sum(axis=1)
        variance = (float(problem.cost_max) ** 2 / 4 + errors.min()) / (i + 2)
        np.testing.assert_allclose(likelihood[i], -errors / (2 * variance), rtol=1e-10)
    weights = np.where(members, np.exp(likelihood[20] - likelihood[20].max()), 0.0)
    mixed = np.einsum("f,fxy->xy", weights / weights.sum(), fs)
    log_class = cost_classes.tilted(problem.log_reference, instance.cost_class, problem.beta)
    player = certified_policies.posterior_player(log_class, likelihood[20], members)
    np.testing.assert_allclose(
        player,
        cost_classes.tilted(problem.log_reference, jnp.asarray(mixed), problem.beta),
        rtol=1e-9,
        atol=1e-12,
    )
