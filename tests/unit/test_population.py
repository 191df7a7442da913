"""Population optima of the preference losses: closed forms against a minimiser over all policies, and what has none."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special

from edittheory.core.logspace import kl, log_normalise
from edittheory.learn import class_losses, learners, losses, population
from edittheory.learn.objectives import PairLoss, Preference, mean_loss
from edittheory.learn.policies import Tabular
from edittheory.learn.preference_losses import PREFERENCE_LOSSES
from edittheory.learn.training import Settings, train
from edittheory.problem import EditProblem, users
from tests import finite_toys as toys

BALANCED = toys.balanced(seed=1, beta=0.4, strength=0.2)


population_loss = jax.jit(population.population_loss, static_argnames="name")


@functools.partial(jax.jit, static_argnames="name")
@functools.partial(jax.value_and_grad, argnums=2)
def value_and_slope(name, problem, logits, *numbers):
    policy = log_normalise(problem.log_reference + logits.reshape(toys.X, toys.Y))
    return population.population_loss(name, policy, problem, *numbers)


def minimised(problem, name, scale, option=None, supervised_weight=0.0, flips=0.0):
    """The policy of least population loss over all policies, by quasi-Newton steps on its logits from the reference."""
    option = PREFERENCE_LOSSES[name].default if option is None else option

    def objective(logits):
        value, slope = value_and_slope(name, problem, logits, scale, option, supervised_weight, flips)
        return float(value), np.asarray(slope)

    found = scipy.optimize.minimize(
        objective, np.zeros(toys.X * toys.Y), jac=True, method="L-BFGS-B",
        options={"maxiter": 5000, "maxfun": 20000, "ftol": 0.0, "gtol": 1e-10},
    )  # fmt: skip
    return log_normalise(problem.log_reference + found.x.reshape(toys.X, toys.Y))


def close(found, expected, tolerance=1e-5):
    assert float(jnp.max(jnp.abs(jnp.exp(found) - jnp.exp(expected)))) < tolerance


def habit():
    """The balanced problem with .3 of every edit pulled to one text."""
    favoured = jnp.tile(jax.nn.one_hot(2, toys.Y), (toys.X, 1))
    return BALANCED.with_user(users.habit(BALANCED.user, favoured, 0.3))


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_targets_under_balance(scale):
    close(minimised(BALANCED, "sigmoid", scale), population.sigmoid_target(BALANCED, scale))
    close(minimised(BALANCED, "ipo", scale), population.ipo_target(BALANCED, scale))
    close(minimised(BALANCED, "simpo", scale, option=0.0), population.simpo_target(BALANCED, scale))
    chi = minimised(BALANCED, "chi_po", scale, option=1e6)
    close(chi, population.chi_po_target(BALANCED, scale))


def test_flipped_labels():
    """At its own rate of flips rDPO finds pi*; DPO and cDPO on the same logs do not, nor does rDPO at another rate."""
    close(minimised(BALANCED, "robust", 1.0, option=0.1, flips=0.1), BALANCED.log_optimal)
    for name, options in (("sigmoid", {}), ("conservative", {"option": 0.1}), ("robust", {"option": 0.02})):
        wrong = minimised(BALANCED, name, 1.0, flips=0.1, **options)
        assert BALANCED.suboptimality(wrong) > 1e-4, name


def test_smoothing_by_a_half_teaches_nothing():
    close(minimised(BALANCED, "conservative", 1.0, option=0.5), BALANCED.log_reference)


def test_ipo_for_small_differences_is_calibrated_at_a_quarter():
    near = toys.balanced(seed=1, beta=40.0, strength=0.2)
    target = population.ipo_target(near, 0.25)
    ratio = (target - near.log_reference)[:, 1:] - (target - near.log_reference)[:, :1]
    wanted = (near.log_optimal - near.log_reference)[:, 1:] - (near.log_optimal - near.log_reference)[:, :1]
    np.testing.assert_allclose(ratio, wanted, rtol=1e-3, atol=1e-6)


def test_a_habit_moves_every_pairwise_target():
    """What the pairs ask for is what the user does, not what costs least: no pairwise loss finds pi* then."""
    broken = habit()
    for name in ("sigmoid", "ipo", "chi_po"):
        assert broken.suboptimality(minimised(broken, name, 1.0)) > 1e-3, name
    close(minimised(broken, "ipo", 0.7), population.ipo_target(broken, 0.7))


def test_the_mix_goes_from_dpo_to_the_law_of_the_edits():
    gaps = [
        float(
            BALANCED.total_variation(
                minimised(BALANCED, "sigmoid", 1.0, supervised_weight=weight),
                BALANCED.edited(BALANCED.log_reference),
            )
        )
        for weight in (0.0, 0.1, 1.0, 100.0)
    ]
    assert gaps == sorted(gaps, reverse=True) and gaps[-1] < 1e-2
    close(minimised(BALANCED, "sigmoid", 1.0, supervised_weight=0.0), BALANCED.log_optimal)


def test_bounded_losses_sort_by_who_is_edited_into():
    """KTO's and APO-zero's population loss is a sum over texts of (reference - edited) sigmoid(s (h - z)) plus a constant."""
    log_policy = toys.policies(seed=3, count=1)[0]
    policy, reference = np.asarray(log_policy), np.asarray(BALANCED.log_reference)
    net, h = np.exp(reference) - np.exp(BALANCED.edited(BALANCED.log_reference)), policy - reference
    for name in ("kto", "apo_zero"):
        z = (np.exp(policy) * h).sum(axis=-1, keepdims=True) if name == "kto" else 0.0
        terms = np.sum(net * scipy.special.expit(0.8 * (h - z)), axis=-1)
        found = population_loss(name, log_policy, BALANCED, 0.8)
        expected = 1.0 + np.sum(BALANCED.context_probs * terms)
        np.testing.assert_allclose(found * (2 if name == "kto" else 1), expected, rtol=1e-12)


def test_robust_loss_has_no_floor_where_labels_are_sure():
    """Where a pair is ordered one way with more than 1 - e, the expectation of rDPO falls without end."""
    reference, user = jnp.log(jnp.full((1, 2), 0.5)), jnp.asarray([[[0.05, 0.95], [0.0, 1.0]]])
    sure = EditProblem(jnp.ones(1), reference, user, jnp.asarray([[0.0, 1.0], [1.0, 0.0]]), 0.5)
    values = []
    for gap in (2.0, 5.0, 10.0, 20.0):
        policy = log_normalise(jnp.asarray([[0.0, gap]]))
        values.append(float(population_loss("robust", policy, sure, 1.0, 0.2)))
    assert np.all(np.diff(values) < -0.1)


# -- the same losses in the learners ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PREFERENCE_LOSSES)
def test_class_losses_and_objectives_are_the_same_function(name):
    problem, log_class = BALANCED, toys.policies(seed=5, count=7)
    data = problem.sample(jax.random.key(2), 40)
    found = class_losses.pair_loss(name, log_class, problem.log_reference, data, 0.7)
    model, objective = Tabular(problem.log_reference), PairLoss(name, 0.7)
    values = jax.jit(jax.vmap(lambda scores: mean_loss(objective, model, scores, data, jnp.ones(40))))
    np.testing.assert_allclose(found, values(log_class - problem.log_reference), rtol=1e-12)
    chosen = learners.by_pair_loss(
        name, log_class, problem.log_reference, data, 0.7, supervised_weight=jnp.asarray(0.3)
    )
    assert chosen == jnp.argmin(found + 0.3 * class_losses.supervised(log_class, data))


def test_pair_loss_sigmoid_is_preference():
    data = BALANCED.sample(jax.random.key(2), 40)
    log_class = toys.policies(seed=5, count=7)
    np.testing.assert_allclose(
        class_losses.pair_loss("sigmoid", log_class, BALANCED.log_reference, data, 0.7),
        class_losses.preference(log_class, BALANCED.log_reference, data, 0.7),
        rtol=1e-12,
    )
    lengths = jnp.asarray([1.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    found = class_losses.pair_loss("simpo", log_class, BALANCED.log_reference, data, 2.0, 0.3, lengths)
    x, y, edit = data.contexts, data.responses, data.edits
    gap = log_class[:, x, edit] / lengths[edit] - log_class[:, x, y] / lengths[y]
    np.testing.assert_allclose(found, np.mean(np.log1p(np.exp(0.3 - 2.0 * gap)), axis=-1), rtol=1e-12)


def test_the_trainer_takes_any_pair_loss_and_sweeps_its_numbers(getkey):
    data = BALANCED.sample(getkey(), 200)
    settings = Settings(steps=60, chunk=60, dtype="float64")
    runs = dict(model=Tabular(BALANCED.log_reference), data=data, settings=settings, learning_rate=0.05)
    scales = jnp.asarray([0.5, 1.0])
    keys = jax.random.split(getkey(), 2)
    named = train(objective=PairLoss("sigmoid", scales), keys=keys, **runs)
    plain = train(objective=Preference(scales), keys=keys, **runs)
    np.testing.assert_allclose(named.loss, plain.loss, rtol=1e-9)
    for name in PREFERENCE_LOSSES:
        assert np.all(np.isfinite(train(objective=PairLoss(name, scales), keys=keys, **runs).loss)), name
    with pytest.raises(ValueError, match="name must be one of 'sigmoid', 'ipo'"):
        PairLoss("dpo")


def test_trl_s_mix_is_early_ensemble_at_the_weight_over_the_mean_length():
    """-sum log pi / sum lengths over a batch is the mean of -log pi over pairs divided by the mean length."""
    rng = np.random.default_rng(0)
    logp, length = -rng.exponential(5.0, 30), rng.integers(1, 40, 30)
    trl = -np.sum(logp) / np.sum(length)
    np.testing.assert_allclose(1.7 * trl, np.mean(losses.supervised(jnp.asarray(logp))) * 1.7 / length.mean())


def test_flips_change_only_the_scale_of_ipo():
    """Flipping a share e of the pairs is ipo at s / (1 - 2 e), exactly; here 0.6 / 0.8."""
    close(minimised(BALANCED, "ipo", 0.6, flips=0.1), population.ipo_target(BALANCED, 0.75), tolerance=1e-6)


def test_dpo_positive_goes_to_the_reference():
    """The larger the weight of the fall, the nearer; and at no weight of these is the optimum pi*."""
    gaps = []
    for weight in (0.0, 1.0, 5.0, 50.0):
        found = minimised(BALANCED, "dpo_positive", 1.0, option=weight)
        gaps.append(float(BALANCED.total_variation(found, BALANCED.log_reference)))
    assert gaps == sorted(gaps, reverse=True) and gaps[-1] < 0.2 * gaps[0]


def test_a_margin_acts_as_a_smaller_scale_on_close_pairs():
    near, margin = toys.balanced(seed=1, beta=40.0, strength=0.2), 0.5
    found = minimised(near, "simpo", 1.0, option=margin)
    same = population.simpo_target(near, 2.0 / (1.0 + np.exp(margin)))
    shift, wanted = found[:, 1:] - found[:, :1], same[:, 1:] - same[:, :1]
    np.testing.assert_allclose(shift, wanted, rtol=1e-2, atol=1e-5)


def test_when_the_chosen_log_probability_rises():
    """Its mean over the edits of edited pairs is KL(nu || reference) - KL(nu || pi), nu their law; at pi* of either sign."""
    # Two poor texts that are edited into each other, and a good one that hardly anybody reaches.
    user = jnp.asarray([[[0.5, 0.45, 0.05], [0.45, 0.5, 0.05], [0.0, 0.0, 1.0]]])
    distance = jnp.asarray([[0.0, 0.2, 1.0], [0.2, 0.0, 1.0], [1.0, 1.0, 0.0]])
    local = EditProblem(jnp.ones(1), jnp.log(jnp.full((1, 3), 1 / 3)), user, distance, 0.1)
    for problem, sign in ((local, -1.0), (toys.balanced(seed=1, beta=0.1, strength=0.95), 1.0)):
        law = problem.pair_law() * (1.0 - jnp.eye(problem.num_responses))
        nu = jnp.sum(law, axis=-2) / jnp.sum(law, axis=(-2, -1))[:, None]
        for policy in (problem.log_optimal, problem.edited(problem.log_reference)):
            mean = jnp.sum(nu * (policy - problem.log_reference), axis=-1)
            gap = kl(jnp.log(nu), problem.log_reference) - kl(jnp.log(nu), policy)
            np.testing.assert_allclose(mean, gap, rtol=1e-9, atol=1e-12)
        best = jnp.sum(nu * (problem.log_optimal - problem.log_reference), axis=-1)
        assert np.all(np.sign(best) == sign)


def test_apo_down_aims_away_from_the_optimum():
    """Some policy that is worse than the reference has less of its loss than pi* and the reference have."""
    losses_of = {
        name: float(population_loss("apo_down", policy, BALANCED, 1.0))
        for name, policy in {
            "down": log_normalise(2 * BALANCED.log_reference - BALANCED.log_optimal),
            "pi*": BALANCED.log_optimal,
            "reference": BALANCED.log_reference,
        }.items()
    }
    assert min(losses_of, key=losses_of.get) == "down"
