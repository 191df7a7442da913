"""Exact certificates of log-linear classes: the lemma of cells, the level at the truth's own cell, what breaks it, bounds."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.certify import certificates_exact_linear as linear
from edittheory.certify.parametric_maximum import Divergence
from edittheory.core import statistics
from edittheory.learn.policies import LogLinear
from edittheory.problem import EditDataset, features
from tests.finite_toys import balanced

D, N, DELTA, LOGS = 2, 60, 0.2, 400
LEVEL = 1e-4


@pytest.fixture(scope="module")
def case():
    """A balanced problem, a realisable log-linear class of two features, and its theta."""
    problem = balanced(3, beta=0.2, spread=0.8)
    ratio = problem.log_optimal - problem.log_reference
    phi = features.spanning(jax.random.key(0), ratio[None], D)
    theta = np.asarray(features.coefficients(phi, ratio)[0])
    return problem, LogLinear(phi, problem.log_reference, float(2 * np.linalg.norm(theta))), theta


def test_the_lemma_of_cells_against_all_outcomes_of_a_few_coins():
    """P(A) at theta for the worst A of each size, all 2^n outcomes counted; at .6 of the distance it is refuted (C14)."""
    rng = np.random.default_rng(0)
    outcomes = np.array(list(itertools.product((0, 1), repeat=9)), dtype=float)
    broken = 0
    for _ in range(60):
        u, apart = rng.normal(size=9) * 2, rng.normal(size=9) * rng.choice([0.05, 0.3, 1.0])
        law, other = (np.exp(outcomes @ odds - np.logaddexp(0, odds).sum()) for odds in (u, u + apart))
        order = np.argsort(-other / law)  # Neyman and Pearson: no set of the same size is likelier at theta
        alpha, power = np.cumsum(law[order])[:-1], np.cumsum(other[order])[:-1]
        reach = np.sqrt(np.sum(apart**2) / 4)
        root = np.sqrt(-np.log(alpha))
        for share in (1.0, 0.6):
            left = root - share * reach / np.sqrt(2)
            bound = np.where(left > 0, np.exp(-(left**2)), 1.0)
            if share == 1.0:
                assert np.all(power <= bound * (1 + 1e-9))
            else:
                broken += bool(np.any(power > bound * (1 + 1e-9)))
    assert broken > 10
    for delta in (0.01, 0.1):
        alpha = linear.cell_level(delta, 0.3)
        np.testing.assert_allclose(np.exp(-((np.sqrt(-np.log(alpha)) - 0.3 / np.sqrt(2)) ** 2)), delta)


def lost(problem, model, theta, turn=False):
    """How often the net loses the cell of the truth at level DELTA."""
    alpha, count = linear.cell_level(DELTA, 0.3), 0
    for number in range(LOGS):
        data = problem.sample(jax.random.key(number), N)
        if turn:
            data = EditDataset(data.contexts, data.edits, data.responses, data.costs)
        net = linear.Net(model, data, np.asarray(problem.context_probs), 0.3)
        centre = net.centre(theta[None])
        step = np.linalg.solve(net.axes, (theta - centre[0])[:, None])
        assert np.max(np.abs(step)) <= 0.5 * net.step * (1 + 1e-9)
        count += bool(net.p_values(centre, np.random.default_rng(number), 99)[0] <= alpha)
    return count


@pytest.mark.statistical
def test_the_cell_of_the_truth_stays_and_a_user_who_edits_the_wrong_way_round_is_found(case):
    problem, model, theta = case
    assert not statistics.violation_check(lost(problem, model, theta), LOGS, DELTA, LEVEL).violated
    assert statistics.violation_check(lost(problem, model, theta, True), LOGS, DELTA, LEVEL).violated


@pytest.mark.statistical
def test_certificates_hold_and_are_not_below_what_kept_cells_attain(case):
    problem, model, theta = case
    law, beta = np.asarray(problem.context_probs), float(problem.beta)
    bad, values = 0, []
    for number in range(40):
        data = problem.sample(jax.random.key(1000 + number), N)
        play = linear.policy_of(model, linear.fit(model, data))
        rng = np.random.default_rng(number)
        found = linear.exact(model, play, data, law, beta, DELTA, rng)
        assert found.method == "net" and 0 < found.tested <= found.cells
        realised = float(problem.suboptimality(jnp.asarray(play)))
        bad += realised > found.upper * (1 + 1e-9)
        values.append(found.upper / realised)
        if number < 3:
            # The answer is the largest loss at a corner of some cell: no cell above it survives other redraws as a rule.
            net = linear.Net(model, data, law, linear.reach_of(D))
            divergence = Divergence(play, model.features, problem.log_reference, law, beta)
            corners = net.centre(theta[None]) + net.corners
            np.testing.assert_allclose(
                np.linalg.norm(np.linalg.solve(net.axes, net.corners.T), axis=0), linear.reach_of(D)
            )
            covered = net.p_values(net.centre(theta[None]), np.random.default_rng(0), 999)[0] > 0.5
            assert not covered or divergence.value(corners).max() <= found.upper * (1 + 1e-9)
            stopped = linear.exact(
                model, play, data, law, beta, DELTA, np.random.default_rng(number), most_cells=1
            )
            assert stopped.upper >= found.upper and stopped.method in ("budget", "net")
    assert not statistics.violation_check(bad, 40, DELTA, LEVEL).violated
    assert np.isfinite(values).all()


def test_an_impossible_log_empties_the_set_and_faults_are_named(case):
    problem, model, _ = case
    data = problem.sample(jax.random.key(0), N)
    play = np.asarray(problem.log_optimal)
    law, rng = np.asarray(problem.context_probs), np.random.default_rng(0)
    # Both directions of pairs that the class says are all but certain, in a small ball: no theta agrees.
    small = LogLinear(model.features, problem.log_reference, 1e-3)
    one = np.full(400, int(data.responses[0]))
    other = np.full(400, (one[0] + 1) % 6)
    forced = EditDataset(*map(jnp.asarray, (np.zeros(400, dtype=int), one, other, np.ones(400))))
    found = linear.exact(small, play, forced, law, 0.2, DELTA, rng)
    assert np.isposinf(found.upper) and found.method == "empty"
    for change, message in (
        ({"draws": 3}, "draws must be an integer >="),
        ({"delta": 0.0}, r"delta must be in \(0, 1\)"),
        ({"first_share": 1.0}, r"first_share must be in \(0, 1\)"),
        ({"beta": 0.0}, "beta must be a finite number > 0"),
    ):
        given = {
            "model": model,
            "log_policy": play,
            "data": data,
            "context_probs": law,
            "beta": 0.2,
            "delta": DELTA,
            **change,
        }
        with pytest.raises(ValueError, match=message):
            linear.exact(rng=rng, **given)
