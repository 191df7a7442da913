"""User-edit distributions: laws, limits of their parameters, sweeps, how much each breaks balance, messages."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.core.logspace import log_normalise
from edittheory.problem import EditProblem, coverage, kernels, users
from tests.finite_toys import DISTANCE, X, Y, balanced, policies

DISTANCES = jnp.asarray(DISTANCE)
SWITCHES = np.array([[bit >> 1 & 1, bit & 1] for bit in range(4)], dtype=bool)
WANTED = np.array([[True, False], [True, True]])
SQUARE = jnp.asarray(np.abs(SWITCHES[:, None].astype(float) - SWITCHES[None]).sum(-1) / 2)


@pytest.fixture(scope="module")
def base() -> EditProblem:
    return balanced()


def habit_law(seed=0):
    return jax.nn.softmax(2.0 * jax.random.normal(jax.random.key(seed), (X, Y)))


# name: (user of a share in [0, 1] and a base problem, what breaks of balance)
MAKERS = {
    "balanced": lambda base, share: users.balanced_kernel(base.log_optimal, DISTANCES, share, 2.0),
    "metropolis": lambda base, share: users.metropolis(base.log_optimal, DISTANCES, 4.0 * share),
    "habit": lambda base, share: users.habit(base.user, habit_law(), share),
    "lazy": lambda base, share: users.lazy(base.user, share),
    "noisy": lambda base, share: users.noisy(base.user, DISTANCES, share, 2.0),
    "contrarian": lambda base, share: users.contrarian(base.user, base.log_optimal, DISTANCES, share),
    "partial_editor": lambda base, share: users.partial_editor(jnp.asarray([0, 3, 5]), DISTANCES, share),
    "mixture": lambda base, share: users.mixture(
        jnp.stack([base.user, users.lazy(users.habit(base.user, habit_law(), 0.5), 0.5)]),
        jnp.stack([share, 1.0 - share]),
    ),
    "random_local": lambda base, share: users.random_local(jax.random.key(0), X, DISTANCES, 2.0, 3.0 * share),
}
build = {name: eqx.filter_jit(maker) for name, maker in MAKERS.items()}


@pytest.mark.parametrize("name", MAKERS)
def test_rows_are_laws_at_every_share_and_sweeps_vmap(base, name):
    shares = jnp.asarray([0.0, 1e-9, 0.3, 0.7, 1.0 - 1e-9, 1.0])
    swept = np.asarray(eqx.filter_jit(jax.vmap(lambda share: MAKERS[name](base, share)))(shares))
    assert swept.shape == (6, X, Y, Y)
    assert np.all(swept >= 0)
    np.testing.assert_allclose(swept.sum(-1), 1.0, rtol=1e-12)
    for share, user in zip(shares, swept, strict=True):
        np.testing.assert_allclose(user, build[name](base, share), rtol=1e-12, atol=1e-15)
    assert np.max(np.abs(swept[2] - swept[3])) > 1e-3  # the parameter does something
    for user in swept:
        EditProblem(base.context_probs, base.log_reference, user, DISTANCE, 0.3).check()


def test_limits_of_the_parameters(base):
    eye = np.broadcast_to(np.eye(Y), (X, Y, Y))
    optimal = np.exp(base.log_optimal)
    everywhere = np.broadcast_to(optimal[:, None, :], (X, Y, Y))
    law = habit_law()

    def same(user, expected):
        np.testing.assert_allclose(user, expected, atol=1e-15)

    same(users.lazy(base.user, 0.0), eye)
    same(users.lazy(base.user, 1.0), base.user)
    same(users.habit(base.user, law, 1.0), np.broadcast_to(law[:, None, :], (X, Y, Y)))
    same(users.habit(base.user, law, 0.0), base.user)
    same(users.habit(base.user, law[0], 1.0), np.broadcast_to(law[0], (X, Y, Y)))
    same(users.noisy(base.user, DISTANCES, 0.0), base.user)
    same(users.contrarian(base.user, base.log_optimal, DISTANCES, 0.0), base.user)
    same(users.mixture(jnp.stack([base.user, eye]), jnp.asarray([0.0, 1.0])), eye)
    same(users.balanced_kernel(base.log_optimal, DISTANCES, 1.0, 2.0), everywhere)
    same(
        users.balanced_kernel(base.log_optimal, DISTANCES, 0.0, 2.0),
        users.metropolis(base.log_optimal, DISTANCES, 2.0),
    )
    by_context = users.balanced_kernel(base.log_optimal, DISTANCES, jnp.asarray([0.0, 1.0, 0.5]), 2.0)
    same(by_context[1], everywhere[1])
    same(by_context[0], users.metropolis(base.log_optimal, DISTANCES, 2.0)[0])
    same(users.partial_editor(jnp.asarray([4, 4, 1]), DISTANCES, 1.0)[2], np.eye(Y)[1] * np.ones((Y, 1)))
    # A long reach makes slips uniform, a short one keeps them to the nearest neighbours.
    uniform = kernels.local_proposal(DISTANCES, 0.0)
    same(uniform, (1 - np.eye(Y)) / (Y - 1))
    nearest = np.asarray(kernels.local_proposal(DISTANCES, 200.0))
    least = np.min(DISTANCE + 9 * np.eye(Y), axis=-1, keepdims=True)
    assert np.all(nearest[(DISTANCE > least + 1e-9)] < 1e-12)


def test_metropolis_matches_its_textbook_form(base):
    """Accept a symmetric proposal with chance min(1, pi*(b) / pi*(a)); what is refused stays."""
    found = np.asarray(users.metropolis(base.log_optimal, DISTANCES, 2.0))
    weights = np.exp(-2.0 * DISTANCE) * (1 - np.eye(Y))
    proposal = weights / weights.sum(-1).max()
    for x, optimal in enumerate(np.exp(base.log_optimal)):
        for a in range(Y):
            for b in range(Y):
                if a != b:
                    chance = proposal[a, b] * min(1.0, optimal[b] / optimal[a])
                    assert abs(found[x, a, b] - chance) < 1e-15


def test_a_partial_editor_moves_towards_the_target_only():
    target = 5
    user = np.asarray(users.partial_editor(jnp.asarray([target]), DISTANCES, 0.2, 400.0))[0]
    for a in range(Y):
        for b in range(Y):
            detour = DISTANCE[a, b] + DISTANCE[b, target] - DISTANCE[a, target]
            assert (user[a, b] > 1e-9) == (detour < 1e-9)
    np.testing.assert_allclose(user[target], np.eye(Y)[target], atol=1e-15)


def test_contrarians_move_away_from_the_optimum(base):
    """The contrarian part alone is reversible for 1 / pi*, the opposite taste."""
    user = np.asarray(users.contrarian(base.user, base.log_optimal, DISTANCES, 1.0))
    opposite = np.exp(log_normalise(-base.log_optimal))
    flow = opposite[..., None] * user
    np.testing.assert_allclose(flow, np.swapaxes(flow, -1, -2), atol=1e-15)


# -- balance ----------------------------------------------------------------------------------------------------------------


def violation(base, user) -> float:
    """Balance violation of another user on the base's contexts, reference and distance."""
    return float(_violation(base, user))


@eqx.filter_jit
def _violation(base, user):
    return coverage.balance_violation(base.with_user(user))


@pytest.mark.parametrize(
    "name", ["habit", "noisy", "contrarian", "partial_editor", "random_local", "mixture", "lazy"]
)
def test_violation_is_zero_for_balanced_users_and_positive_for_the_others(base, name):
    assert violation(base, base.user) < 1e-14
    assert violation(base, build[name](base, jnp.asarray(0.5))) > 1e-3
    if name in ("habit", "noisy", "contrarian"):
        grown = [violation(base, build[name](base, jnp.asarray(share))) for share in (0.0, 0.1, 0.4)]
        assert grown[0] < 1e-14 < grown[1] < grown[2]


def test_a_lazy_balanced_user_is_balanced_for_the_weaker_optimum_of_its_costs(base):
    """Laziness keeps reversibility for the old optimum but shrinks costs: balance returns with the reference rebuilt."""
    user = users.lazy(base.user, 0.4)
    cost = np.sum(np.asarray(user) * DISTANCE, axis=-1)
    rebuilt = EditProblem(
        base.context_probs, log_normalise(base.log_optimal + cost / base.beta), user, DISTANCE, base.beta
    )
    assert coverage.largest_pair_gap(rebuilt) < 1e-13
    np.testing.assert_allclose(rebuilt.log_optimal, base.log_optimal, atol=1e-13)


# -- style editors ------------------------------------------------------------------------------------------------------------


def test_strong_and_weak_style_editors():
    strong = np.asarray(users.style_editor(SWITCHES, WANTED, 1.0))
    weak = np.asarray(users.style_editor(SWITCHES, WANTED, 0.4))
    none = np.asarray(users.style_editor(SWITCHES, WANTED, 0.0))
    assert strong.shape == weak.shape == (2, 4, 4)
    for x, wanted in enumerate(WANTED):
        goal = int(np.flatnonzero((SWITCHES == wanted).all(-1))[0])
        np.testing.assert_array_equal(strong[x], np.eye(4)[goal] * np.ones((4, 1)))
        np.testing.assert_array_equal(none[x], np.eye(4))
        for a in range(4):
            wrong = SWITCHES[a] != wanted
            for b in range(4):
                changed = SWITCHES[a] != SWITCHES[b]
                # Only wrong switches are touched, each by its own chance.
                chance = (
                    0.0
                    if np.any(changed & ~wrong)
                    else 0.4 ** changed.sum() * 0.6 ** (wrong & ~changed).sum()
                )
                assert abs(weak[x, a, b] - chance) < 1e-15
        # Same favourite text, smaller minorisation constant: 0.4 for each of the m switches.
        assert strong[x, :, goal].min() == 1.0
        np.testing.assert_allclose(weak[x, :, goal].min(), 0.4**2)


def test_style_editors_take_one_chance_a_switch_and_sweeps():
    by_switch = np.asarray(users.style_editor(SWITCHES, WANTED[0], jnp.asarray([1.0, 0.0])))
    assert by_switch.shape == (1, 4, 4)
    # The first switch is always set right, the second never touched.
    for a in range(4):
        goal = int(np.flatnonzero((SWITCHES == [True, SWITCHES[a, 1]]).all(-1))[0])
        assert by_switch[0, a, goal] == 1.0
    swept = jax.jit(jax.vmap(lambda keep: users.style_editor(SWITCHES, WANTED, keep)))(
        jnp.asarray([0.0, 0.4, 1.0])
    )
    np.testing.assert_allclose(swept[1], users.style_editor(SWITCHES, WANTED, 0.4), atol=1e-15)
    np.testing.assert_allclose(swept.sum(-1), 1.0, rtol=1e-14)


@pytest.mark.parametrize(
    "switches, wanted", [(SWITCHES[:3], WANTED), (SWITCHES, np.ones((2, 3), bool)), (np.ones((4, 3), bool), np.ones(3, bool))]
)  # fmt: skip
def test_style_editor_names_wrong_shapes(switches, wanted):
    shapes = rf"switches: shape \({switches.shape[0]}, {switches.shape[1]}\) and wanted: shape .*must be \(2\^m, m\)"
    with pytest.raises(ValueError, match=shapes):
        users.style_editor(switches, wanted, 0.4)


def test_style_editor_refuses_settings_that_occur_twice():
    twice = SWITCHES[[0, 0, 2, 3]]
    with pytest.raises(ValueError, match="switches"):
        users.style_editor(twice, WANTED, 0.4)


def test_style_editors_break_balance():
    reference = policies(0, 1, 0.5)[0, :2, :4]
    reference = reference - jax.nn.logsumexp(reference, axis=-1, keepdims=True)

    for keep in (0.4, 1.0):
        user = users.style_editor(SWITCHES, WANTED, keep)
        problem = EditProblem(jnp.asarray([0.5, 0.5]), reference, user, SQUARE, 0.3).check()
        assert coverage.balance_violation(problem) > 0.01


# -- shift, messages ------------------------------------------------------------------------------------------------------------


def test_a_shifted_user_changes_costs_and_data(base, getkey):
    shifted = base.with_user(users.habit(base.user, habit_law(), 0.8))
    assert np.max(np.abs(shifted.expected_cost - base.expected_cost)) > 0.05
    assert shifted.suboptimality(base.log_optimal) > 1e-3
    key = getkey()
    before, after = base.sample(key, 2000), shifted.sample(key, 2000)
    loved = int(np.argmax(np.asarray(habit_law())[0]))
    seen = [
        np.mean(np.asarray(data.edits)[np.asarray(data.contexts) == 0] == loved) for data in (before, after)
    ]
    assert seen[1] > seen[0]


@pytest.mark.parametrize("name", ["beta", "cost_floor"])
def test_balanced_problem_for_names_bad_arguments(base, name):
    arguments = {"beta": 0.3, "cost_floor": 0.02} | {name: 0.0}
    with pytest.raises(ValueError, match=f"{name}: got 0.0, must be positive"):
        users.balanced_problem_for(
            base.context_probs, base.log_reference, base.log_optimal, DISTANCES, **arguments
        )
