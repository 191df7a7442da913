"""Losses against plain NumPy, and the contract of every learner on finite classes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from edittheory.learn import class_losses, learners, losses
from edittheory.problem import EditDataset, cost_classes
from edittheory.problem.random_problems import Instance
from tests.finite_toys import X, Y, instance, unbalanced_instance

DELTA, WEIGHT, SCALE = 0.1, 0.3, 0.5


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
draw = eqx.filter_jit(lambda problem, key, n: problem.sample(key, n))
SMALL, LARGE = 43, 200_000  # fewer and far more than the X * Y * Y = 108 cells


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


# -- losses ---------------------------------------------------------------------------------------------------------------------


def four(seed, shape=(5, 8)):
    return -np.abs(np.random.default_rng(seed).normal(size=(4, *shape)))


def test_losses_match_plain_numpy():
    edit, response, ref_edit, ref_response = values = four(0)
    logit = (edit - ref_edit) - (response - ref_response)
    arrays = list(map(jnp.asarray, values))
    np.testing.assert_array_equal(losses.supervised(arrays[0]), -edit)
    np.testing.assert_allclose(losses.preference_logit(*arrays), logit, rtol=1e-14)
    for scale in (0.3, 1.0, 2.0):
        expected = -np.log(scipy.special.expit(scale * logit))
        np.testing.assert_allclose(losses.preference(*arrays, scale), expected, rtol=1e-12)
        both = losses.early_ensemble(*arrays, 0.25, scale)
        np.testing.assert_allclose(both, expected + 0.25 * -edit, rtol=1e-12)
    np.testing.assert_allclose(losses.preference(*arrays), losses.preference(*arrays, 1.0))
    np.testing.assert_allclose(losses.cost(arrays[0], arrays[1], 0.4), edit + 0.4 * response, rtol=1e-14)
    np.testing.assert_array_equal(losses.early_ensemble(*arrays, 0.0), losses.preference(*arrays))


def test_losses_are_finite_and_sloped_at_extreme_logits():
    for logit, loss, slope in ((800.0, 0.0, 0.0), (-800.0, 800.0, -1.0)):
        found = jax.value_and_grad(
            lambda x: losses.preference(x, jnp.zeros(()), jnp.zeros(()), jnp.zeros(()))
        )
        value, gradient = found(jnp.asarray(logit))
        np.testing.assert_allclose([value, gradient], [loss, slope], atol=1e-300)


def test_an_unedited_pair_contributes_log_2_and_no_gradient():
    logp, ref = jnp.asarray([-0.1, -3.0, -40.0]), jnp.asarray([-2.0, -1.0, -0.5])
    loss, slope = jax.vmap(
        jax.value_and_grad(lambda lp, lr: losses.preference(lp, lp, lr, lr, jnp.asarray(0.7)))
    )(logp, ref)
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-15)
    np.testing.assert_array_equal(slope, 0.0)


def test_losses_broadcast_a_class_over_examples():
    edit, response, ref_edit, ref_response = four(1)
    found = losses.preference(*map(jnp.asarray, (edit, response, ref_edit[0], ref_response[0])))
    assert found.shape == (5, 8)
    for k in range(5):
        alone = losses.preference(*map(jnp.asarray, (edit[k], response[k], ref_edit[0], ref_response[0])))
        np.testing.assert_allclose(found[k], alone, rtol=1e-14)


# -- losses of a class ------------------------------------------------------------------------------------------------------------


def plain_losses(log_class, log_reference, data, scale, weight=0.0):
    """The mean loss of every member, example by example, in NumPy."""
    x, y, edit = (np.asarray(part) for part in (data.contexts, data.responses, data.edits))
    found = []
    for pi in np.asarray(log_class):
        logit = pi[x, edit] - pi[x, y] - (log_reference[x, edit] - log_reference[x, y])
        found.append(np.mean(np.logaddexp(0.0, -scale * logit) - weight * pi[x, edit]))
    return np.array(found)


@eqx.filter_jit
def all_losses(log_class, log_reference, data, scale, weight):
    """Through the definition and through the fast forms."""

    def loss(*args):
        return losses.early_ensemble(*args, weight, scale)

    return (
        class_losses.class_loss(loss, log_class, log_reference, data),
        class_losses.preference(log_class, log_reference, data, scale)
        + losses.weighted(class_losses.supervised(log_class, data), weight),
    )


@pytest.mark.parametrize("copies", [1, 4, 60], ids=["looked up", "counted, fast", "counted"])
@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_all_ways_of_summing_agree_with_plain_numpy(given, data, copies, weight):
    """Repeats of the same interactions have the same means; 4 times are more than the cells, 60 times more than the fast form takes."""
    reference = given.problem.log_reference
    many = jax.tree.map(lambda leaf: jnp.tile(leaf, copies), data)
    assert data.size <= X * Y * Y < 4 * data.size < 16 * X * Y * Y < 60 * data.size
    expected = plain_losses(given.log_class, np.asarray(reference), data, SCALE, weight)
    for found in all_losses(given.log_class, reference, many, jnp.asarray(SCALE), jnp.asarray(weight)):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("size", [3, 7, 8, 9, 43])
def test_fast_preference_at_every_remainder_of_its_factors(given, data, size):
    part = jax.tree.map(lambda leaf: leaf[:size], data)
    reference = given.problem.log_reference
    _, fast = all_losses(given.log_class, reference, part, jnp.asarray(1.0), jnp.asarray(0.0))
    np.testing.assert_allclose(
        fast, plain_losses(given.log_class, np.asarray(reference), part, 1.0), rtol=1e-12
    )


def test_fast_preference_at_large_and_tiny_logits(given, data):
    """Beyond the largest logit the definition takes over, also in one lane of a vmap; tiny losses keep their digits."""
    reference = given.problem.log_reference
    scales = jnp.asarray([1e-3, 1.0, 10.0, 40.0, 300.0, 5000.0])
    fast = jax.jit(jax.vmap(lambda s: class_losses.preference(given.log_class, reference, data, s)))(scales)
    for scale, found in zip(scales, fast, strict=True):
        expected = plain_losses(given.log_class, np.asarray(reference), data, float(scale))
        np.testing.assert_allclose(found, expected, rtol=1e-11)
    ((x, y, edit),) = [(0, 1, 2)]
    sure = jnp.zeros((1, X, Y)).at[0, x, edit].set(30.0)
    sure = sure - jax.nn.logsumexp(sure, axis=-1, keepdims=True)
    one = EditDataset(*(jnp.full(SMALL, value) for value in (x, y, edit)), jnp.zeros(SMALL))
    flat = jnp.full((X, Y), -np.log(Y))
    found = class_losses.preference(sure, flat, one)
    np.testing.assert_allclose(found, np.log1p(np.exp(-30.0)), rtol=1e-11)


@jax.jit
def choices(log_class, log_reference, data):
    chosen = {
        "SUP": learners.supervised(log_class, data),
        "PREF": learners.preference(log_class, log_reference, data),
        "Early": learners.early_ensemble(log_class, log_reference, data, 0.1),
        "Early, weight 0": learners.early_ensemble(log_class, log_reference, data, 0.0),
    }
    losses_of = (
        class_losses.preference(log_class, log_reference, data),
        class_losses.supervised(log_class, data),
    )
    return *losses_of, chosen


EXCLUDED = {
    # logged (response, edit) pairs of the only context, and whether response 0, which a member excludes, is an edit
    "never logged": ([(1, 2), (2, 1), (2, 2)], False),
    "unedited": ([(0, 0), (1, 2), (2, 2)], True),
    "edited away": ([(0, 1), (1, 2), (2, 2)], False),
    "edited into": ([(1, 0), (1, 2), (2, 2)], True),
}


@pytest.mark.parametrize("copies", [1, 10, 100], ids=["few", "fast", "counted"])
@pytest.mark.parametrize("case", EXCLUDED)
def test_members_without_full_support(case, copies):
    """No NaN: a member that excludes a response loses exactly where that shows."""
    pairs, excluded_edit = EXCLUDED[case]
    responses, edits = jnp.asarray(pairs * copies).T
    data = EditDataset(jnp.zeros(len(responses), int), responses, edits, jnp.zeros(len(responses)))
    probs = np.array([[[0.2, 0.3, 0.5]], [[0.0, 0.3, 0.7]]])
    with np.errstate(divide="ignore"):
        log_class, log_reference = jnp.log(probs), jnp.log(jnp.full((1, 3), 1 / 3))
    preferences, supervised, chosen = choices(log_class, log_reference, data)
    for k in range(2):
        terms = []
        for y, edit in pairs:
            p, q = probs[k, 0, edit], probs[k, 0, y]  # -log sigmoid(log(p / q)) = log(1 + q / p)
            terms.append(np.log(2) if p == q else np.inf if p == 0 else np.log1p(q / p))
        np.testing.assert_allclose(preferences[k], np.mean(terms), rtol=1e-12)
    assert np.isinf(supervised[1]) == excluded_edit and np.isfinite(supervised[0])
    if excluded_edit:
        assert chosen["SUP"] == chosen["Early"] == 0
    assert chosen["Early, weight 0"] == chosen["PREF"] == np.argmin(preferences)


def test_policies_that_exclude_both_are_indifferent_with_no_gradient():
    never = jnp.asarray(-jnp.inf)
    ref = jnp.asarray(-1.5)
    loss, slope = jax.value_and_grad(lambda lp: losses.preference(lp, never, ref, ref))(never)
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-15)
    assert slope == 0.0
