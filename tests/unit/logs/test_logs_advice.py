"""Advice on a log in numbers: stand-ins against their definitions, cross-validation, the rule, tests and bounds."""

import numpy as np
import pytest
import scipy.optimize

from edittheory.logs.advice import candidates, direction_models, judging, proxies, rule, samples, statistics
from edittheory.logs.advice.samples import Sample


def toy(rng, size: int = 400, d: int = 3) -> Sample:
    group = rng.integers(0, 3, size)
    response, edit = rng.normal(size=(2, size, d))
    cost = response @ np.arange(1.0, d + 1) * 0.05 + 0.2 * group + 0.1 * rng.normal(size=size)
    return samples.standardised(Sample(group, response, edit + np.array([0.5, 0, 0]), cost))


@pytest.mark.parametrize("learner", ["SFT", "DPO", "SFT+DPO"])
def test_stand_ins_minimise_their_losses(learner):
    """Against a general optimiser on the loss as it is written down."""
    sample = toy(np.random.default_rng(0))
    train = np.arange(sample.size) % 4 > 0

    def loss(theta):
        h = sample.response @ theta
        moved = (sample.edit - sample.response)[train] @ theta
        total = 0.0 if learner == "SFT" else np.logaddexp(0, -moved).mean()
        if learner != "DPO":
            log_z = np.array([np.log(np.mean(np.exp(h[sample.group == g]))) for g in range(3)])
            labels = -(sample.edit[train] @ theta - log_z[sample.group[train]]).mean()
            total += labels * (proxies.SUPERVISED_WEIGHT if learner == "SFT+DPO" else 1.0)
        return total + proxies.RIDGE / train.sum() * theta @ theta / 2

    found = proxies.fit_features(learner, sample, train, 0.1).weights
    least = scipy.optimize.minimize(loss, np.zeros(3), tol=1e-10)
    np.testing.assert_allclose(found, least.x, atol=2e-4)


def test_cost_regression_finds_the_slope_and_turns_it_into_a_policy():
    rng = np.random.default_rng(1)
    sample = toy(rng, size=4000)
    fit = proxies.fit_features("cost regression", sample, np.ones(sample.size, bool), 0.1)
    np.testing.assert_allclose(fit.weights, -np.arange(1, 4) * 0.05 / 0.1, atol=0.06)


def test_losses_of_policies_are_those_of_the_definition_and_add_up_over_folds():
    rng = np.random.default_rng(2)
    sample = Sample(rng.integers(0, 4, 60), *rng.normal(size=(2, 60, 5)), rng.random(60))
    whole = proxies.policy_losses(sample, 0.2)
    part = Sample(*(column[:20] for column in sample))
    rest = Sample(*(column[20:] for column in sample))
    for mine, theirs in zip(
        whole.less(proxies.policy_losses(part, 0.2, 4)), proxies.policy_losses(rest, 0.2, 4), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, atol=1e-9)
    left = sample.cost[:, None] + 0.2 * sample.response
    for g in range(4):
        left[sample.group == g] -= left[sample.group == g].mean(axis=0)
    np.testing.assert_allclose(whole.errors(), np.mean(left**2, axis=0))
    assert whole.picks()["SFT"] == int(np.argmax(sample.edit.mean(axis=0)))


def test_held_out_values_are_those_of_the_policies():
    """Costs that are linear in the features, without a habit: the value of a stand-in is what its law costs, plus beta KL."""
    rng = np.random.default_rng(3)
    response = rng.normal(size=(6000, 2))
    cost = 1.0 + response @ [0.1, -0.05] + 0.05 * rng.normal(size=6000)
    sample = samples.standardised(
        Sample(np.zeros(6000, int), response, response + np.array([-0.3, 0.1]), cost)
    )
    judged = judging.judge(sample, 0.2)
    theta = np.array([-0.1, 0.05]) / 0.2  # normal responses: E cost moves by b . theta, KL = |theta|^2 / 2
    expected = 0.1 * theta[0] - 0.05 * theta[1] + 0.2 * theta @ theta / 2
    assert judged.value[3] == pytest.approx(expected, abs=0.006) and expected < 0
    assert np.all(judged.value[:3] >= judged.value[3] - 0.004) and 0 < judged.error[0, 3] < 0.02


def test_a_rule_projects_to_more_edits_and_separates_only_inside_what_it_knows():
    seen = np.array([5.0, 0.3, 0.5, -2, -2, -2, -1, 1.0, -1.0, 0.0, 0.2, -0.2, 0.0])
    assert len(seen) == len(statistics.NAMES)
    np.testing.assert_allclose(rule.project(seen, 1.0), seen)
    later = dict(zip(statistics.NAMES, rule.project(seen, 4.0), strict=True))
    assert later["noise of DPO"] == pytest.approx(-2 - np.log(4)) and later["log n"] == pytest.approx(
        5 + np.log(4)
    )
    assert later["held out: SFT"] == pytest.approx(np.tanh(2 * np.arctanh(0.2)))
    assert later["SFT from cost regression"] == pytest.approx(-1.0)
    assert later["DPO from cost regression"] == pytest.approx(np.log(1 + (np.e - 1) * 4))
    weights = np.zeros((14, 4))
    weights[-1] = [0, 3, 1, 0]
    weights[0] = [0, 1, 0, 0]
    one = rule.Rule(seen, np.ones(13), weights, np.array([10.0, 1000.0]), np.array([2.5, 2.5]))
    assert one._replace(margins=np.array([1.0, 3.0])).margin(np.full(13, np.log(100))) == pytest.approx(2.0)
    found = rule.decide(one, seen)
    assert (found.advised, list(found.separated), found.outside) == (1, [True, False, False, True], ())
    assert 0 < found.more < np.exp(5.0)
    far = rule.decide(one, seen + np.array([0, 9] + [0] * 11))
    assert far.outside == ("accepted",) and not far.separated.any() and far.more is None
    assert rule.decide(one, seen + np.array([9] + [0] * 12)).outside == ()


@pytest.mark.parametrize("kind", rule.KINDS)
def test_the_committed_rule_is_whole(kind):
    tuned = rule.load(kind)
    assert tuned.weights.shape == (len(statistics.NAMES) + 1, len(proxies.LEARNERS)) and np.all(
        (0 <= tuned.margins) & (tuned.margins < 100)
    )
    assert np.isfinite(tuned.weights).all() and np.all(tuned.scale > 0)


def test_pairs_of_costs_and_bounds():
    pairs = candidates.cost_pairs(np.array([0, 1, 0, 0, 1, 0]))
    assert pairs.tolist() == [[0, 2], [1, 4], [3, 5]]
    rng = np.random.default_rng(4)
    sample = Sample(np.zeros(3000, int), np.zeros((3000, 1)), np.zeros((3000, 1)), rng.uniform(0, 0.4, 3000))
    (bound,) = candidates.cost_bounds(sample, 1.0, 0.05, cut=1.0)
    assert 0.2 < bound < 0.25


def test_directions_of_no_taste_are_told_from_a_coin():
    """A symmetric user of an uneven policy: texts alone see a direction, log-probabilities explain it."""
    rng = np.random.default_rng(5)
    first = (
        rng.random(600) < 0.9
    )  # the policy writes text a nine times in ten; the user swaps a and b with chance 1/2
    changed = rng.random(600) < 0.5
    moved = np.where(changed, np.where(first, 1.0, -1.0), 0.0)[:, None]
    reference = np.where(changed, np.where(first, np.log(1 / 9), np.log(9)), 0.0)
    found = {one.hypothesis: one for one in direction_models.reference_tests(moved, reference, changed, 0.1)}
    assert found["nothing to learn"].rejected and found["nothing to learn"].needed < 100
    assert not found["no taste"].rejected and not found["a temperature"].rejected
