"""Losses against plain NumPy, and the contract of every learner on finite classes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.learn import learners
from edittheory.problem import EditDataset, cost_classes
from edittheory.problem.random_problems import Instance
from tests.finite_toys import X, Y, instance, unbalanced_instance
from tests.learner_cases import DELTA, LARGE, SCALE, SMALL, WEIGHT, draw


def radius(given: Instance):
    return cost_classes.confidence_radius(given.problem.cost_max, given.num_candidates, DELTA)


# Each learner as a function of an instance and data, returning its policy (X, Y).
def sup(given, data):
    return given.log_class[learners.supervised(given.log_class, data)]


def pref(given, data):
    return given.log_class[learners.preference(given.log_class, given.problem.log_reference, data)]


def scaled(given, data):
    return given.log_class[learners.preference(given.log_class, given.problem.log_reference, data, SCALE)]


def early(given, data):
    return given.log_class[
        learners.early_ensemble(given.log_class, given.problem.log_reference, data, WEIGHT, SCALE)
    ]


def rl(given, data):
    problem = given.problem
    return learners.pessimistic_cost(
        given.cost_class, problem.log_reference, data, problem.beta, radius(given)
    )


def plug_in(given, data):
    return learners.plug_in_cost(given.cost_class, given.problem.log_reference, data, given.problem.beta)


def rl_in_class(given, data):
    problem = given.problem
    members = cost_classes.confidence_set(given.cost_class, data, radius(given))
    law = jnp.mean(jax.nn.one_hot(data.contexts, X), axis=0)
    chosen = learners.cost_in_class(
        given.log_class,
        problem.log_reference,
        cost_classes.pessimistic(given.cost_class, members),
        problem.beta,
        law,
    )
    return given.log_class[chosen]


# And the policy it must converge to, from the problem's own law, in plain NumPy.
def population_losses(given, scale, weight):
    """Expected preference + weight * supervised loss of every member."""
    problem = given.problem
    log_class, reference = np.asarray(given.log_class), np.asarray(problem.log_reference)
    law = (
        np.asarray(problem.context_probs)[:, None, None]
        * np.exp(reference)[..., None]
        * np.asarray(problem.user)
    )
    ratio = log_class - reference
    logit = ratio[:, :, None, :] - ratio[:, :, :, None]
    preference = np.sum(law * np.logaddexp(0.0, -scale * logit), axis=(1, 2, 3))
    return preference + weight * -np.sum(law.sum(1) * log_class, axis=(1, 2)), -np.sum(
        law.sum(1) * log_class, axis=(1, 2)
    )


def population_sup(given):
    return given.log_class[np.argmin(population_losses(given, 1.0, 0.0)[1])]


def population_pref(given):
    return given.log_class[np.argmin(population_losses(given, 1.0, 0.0)[0])]


def population_scaled(given):
    return given.log_class[np.argmin(population_losses(given, SCALE, 0.0)[0])]


def population_early(given):
    return given.log_class[np.argmin(population_losses(given, SCALE, WEIGHT)[0])]


def population_rl(given):
    return given.problem.log_optimal


def population_in_class(given):
    return given.log_class[np.argmin(given.problem.suboptimality(given.log_class))]


LEARNERS = {
    "SUP": (sup, population_sup),
    "PREF": (pref, population_pref),
    "PREF, s = 0.5": (scaled, population_scaled),
    "Early": (early, population_early),
    "RL": (rl, population_rl),
    "RL plug-in": (plug_in, population_rl),
    "RL in a class": (rl_in_class, population_in_class),
}


every = pytest.mark.parametrize("name", LEARNERS)


fit = {name: eqx.filter_jit(learner) for name, (learner, _) in LEARNERS.items()}


@pytest.fixture(scope="module", params=["balanced", "unbalanced"])
def given(request) -> Instance:
    return instance(jnp.asarray(7)) if request.param == "balanced" else unbalanced_instance(jnp.asarray(3))


@pytest.fixture(scope="module")
def data(given) -> EditDataset:
    return draw(given.problem, jax.random.key(1), SMALL)


# -- the contract -------------------------------------------------------------------------------------------------------------


@every
def test_returns_a_policy_and_jit_changes_nothing(given, data, name):
    learner, _ = LEARNERS[name]
    found, eager = fit[name](given, data), learner(given, data)
    assert found.shape == (X, Y) and found.dtype == jnp.float64
    np.testing.assert_allclose(np.exp(found).sum(-1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(found, eager, rtol=1e-13, atol=1e-14)


@every
def test_vmap_over_data_sets_equals_a_loop(given, name):
    several = [draw(given.problem, jax.random.key(seed), SMALL) for seed in range(5)]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *several)
    together = eqx.filter_jit(eqx.filter_vmap(LEARNERS[name][0], in_axes=(None, 0)))(given, batch)
    for mine, alone in zip(together, several, strict=True):
        np.testing.assert_allclose(mine, fit[name](given, alone), rtol=1e-13, atol=1e-14)


@every
def test_the_order_of_the_data_does_not_matter(given, data, name):
    order = np.random.default_rng(0).permutation(SMALL)
    shuffled = jax.tree.map(lambda leaf: leaf[order], data)
    np.testing.assert_allclose(fit[name](given, shuffled), fit[name](given, data), rtol=1e-13, atol=1e-14)


@every
def test_names_of_class_members_do_not_matter(given, data, name):
    rng = np.random.default_rng(1)
    relabelled = Instance(
        given.problem,
        given.log_class[rng.permutation(len(given.log_class))],
        given.cost_class[rng.permutation(len(given.cost_class))],
        given.truth,
    )
    assert not np.array_equal(relabelled.log_class, given.log_class)
    np.testing.assert_allclose(fit[name](relabelled, data), fit[name](given, data), rtol=1e-13, atol=1e-14)


@pytest.mark.statistical
@every
def test_converges_to_its_population_target(given, name):
    """One fixed data set of 200,000; the members' losses are further apart than that leaves in doubt."""
    many = draw(given.problem, jax.random.key(2), LARGE)
    np.testing.assert_allclose(fit[name](given, many), LEARNERS[name][1](given), rtol=1e-9, atol=1e-10)


def test_every_learner_gathers_them_all(given, data):
    found = eqx.filter_jit(learners.every_learner)(given, data, DELTA, WEIGHT, SCALE)
    expected = {
        "SUP": "SUP",
        "PREF": "PREF, s = 0.5",
        "Early": "Early",
        "RL": "RL",
        "RL plug-in": "RL plug-in",
    }
    assert set(found) == {*expected, "reference"}
    for mine, name in expected.items():
        np.testing.assert_allclose(found[mine], fit[name](given, data), rtol=1e-13, atol=1e-14)
    np.testing.assert_array_equal(found["reference"], given.problem.log_reference)


def test_population_preference_matches_plain_numpy(given):
    run = eqx.filter_jit(
        lambda given, scale: learners.population_preference(given.log_class, given.problem, scale)
    )
    for scale in (0.3, 1.0, 3.0):
        assert run(given, jnp.asarray(scale)) == np.argmin(population_losses(given, scale, 0.0)[0])


def test_no_supervision_is_preference_and_much_is_supervision(given, data):
    problem, log_class = given.problem, given.log_class

    @eqx.filter_jit
    def picked(weight):
        return (
            learners.early_ensemble(log_class, problem.log_reference, data, weight),
            learners.preference(log_class, problem.log_reference, data),
            learners.supervised(log_class, data),
        )

    none, only_preference, only_supervised = picked(jnp.asarray(0.0))
    assert none == only_preference
    assert picked(jnp.asarray(1e9))[0] == only_supervised


def test_ties_go_to_the_first_member(given, data):
    twice = jnp.concatenate([given.log_class, given.log_class])
    same = jnp.broadcast_to(given.log_class[3], given.log_class.shape)
    assert learners.supervised(same, data) == 0
    assert learners.preference(same, given.problem.log_reference, data) == 0
    # Rounding may part equal members of a larger class; the policy is the same.
    chosen = learners.supervised(twice, data) % len(given.log_class)
    assert chosen == learners.supervised(given.log_class, data)


# -- cost regression ------------------------------------------------------------------------------------------------------------


def test_regression_matches_plain_numpy(given, data):
    cost_class, where = np.asarray(given.cost_class), (np.asarray(data.contexts), np.asarray(data.responses))
    predicted = np.stack([f[where] for f in cost_class])
    errors = np.sum((predicted - np.asarray(data.costs)) ** 2, axis=-1)
    best = int(np.argmin(errors))
    assert cost_classes.least_squares(given.cost_class, data) == best
    gaps = np.sum((predicted - predicted[best]) ** 2, axis=-1)
    for r in (0.0, float(np.median(gaps)), float(gaps.max())):
        members = np.asarray(cost_classes.confidence_set(given.cost_class, data, r))
        np.testing.assert_array_equal(members, gaps <= r)
        bar = cost_classes.pessimistic(given.cost_class, jnp.asarray(members))
        np.testing.assert_array_equal(bar, cost_class[members].max(axis=0))
    assert gaps[best] == 0  # never empty
    np.testing.assert_allclose(
        cost_classes.confidence_radius(0.7, 12, 0.05), 2 * 0.7**2 * np.log(12 / 0.05), rtol=1e-14
    )
    log_reference, beta = np.asarray(given.problem.log_reference), float(given.problem.beta)
    weights = np.exp(log_reference) * np.exp(-cost_class / beta)
    np.testing.assert_allclose(
        np.exp(cost_classes.tilted(given.problem.log_reference, given.cost_class, beta)),
        weights / weights.sum(-1, keepdims=True),
        rtol=1e-11,
    )


def test_a_radius_of_zero_is_the_plug_in(given, data):
    problem = given.problem
    found = learners.pessimistic_cost(given.cost_class, problem.log_reference, data, problem.beta, 0.0)
    np.testing.assert_allclose(found, fit["RL plug-in"](given, data), rtol=1e-13)
