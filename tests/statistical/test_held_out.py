"""C16 and C17 of docs/theory-certificates.md, G7 and G8 of docs/theory-agnostic.md: counted, and their counterexamples computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from edittheory.claims.exact.attack_space import Space, starting_vectors
from edittheory.claims.hunt import attackable_agnostic
from edittheory.core import statistics
from edittheory.medley import held_out
from edittheory.problem import EditProblem, coverage
from tests.parts import part

pytestmark = pytest.mark.statistical
LEVEL = 1e-3
POINTS, LOGS, N = 20, 60, 80


@pytest.fixture(scope="module")
def points():
    space = Space(False)
    drawn = jax.jit(lambda key: jax.vmap(space.decode)(starting_vectors(key, space, POINTS)))
    return drawn(jax.random.key(4))


def test_a_policy_against_rivals_keeps_its_level(points):
    """Violations of C17 for each problem; the wealth at the truth says the same as the bound."""
    (attack,) = (each for each in attackable_agnostic.TRUE if each.name == "C17")

    @jax.jit
    def counted(point, keys):
        problem = point.problem
        rivals = jnp.concatenate([point.instance.log_class[:-1], problem.log_reference[None]])
        truth = problem.objective(point.probe) - problem.objective(rivals)

        def one(key):
            left, right = attack.run(point, key, N)
            found = held_out.against_rivals(
                point.probe, rivals, problem.log_reference, problem.sample(key, N), problem.context_probs, problem.beta,
                problem.cost_max, point.delta, point.instance.cost_class[0],
            )  # fmt: skip
            scale = 1e-9 * (1.0 + jnp.max(jnp.abs(found.upper)))
            return left >= right, jnp.any(truth > found.upper + scale), found.upper - found.estimate

        return jax.vmap(one)(keys)

    keys = jax.random.split(jax.random.key(6), (POINTS, LOGS))
    found = [np.asarray(side) for side in jax.lax.map(lambda pair: counted(*pair), (points, keys))]
    for i in range(POINTS):
        point = part(points, i)
        wealth, wrong, slack = (side[i] for side in found)
        np.testing.assert_array_equal(wealth, wrong)
        assert np.all(slack > 0)
        check = statistics.violation_check(int(wrong.sum()), LOGS, float(point.delta), LEVEL / POINTS)
        assert not check.violated


def test_more_held_out_costs_make_a_smaller_bound(points):
    point = part(points, 0)
    problem = point.problem
    widths = []
    for n in (50, 5000):
        found = held_out.against_rivals(
            point.probe, problem.log_reference[None], problem.log_reference, problem.sample(jax.random.key(1), n),
            problem.context_probs, problem.beta, problem.cost_max,
        )  # fmt: skip
        widths.append(float(found.upper[0] - found.estimate[0]))
    assert widths[1] < 0.4 * widths[0]
    with pytest.raises(ValueError, match="delta"):
        held_out.against_rivals(
            point.probe, problem.log_reference[None], problem.log_reference, problem.sample(jax.random.key(1), 5),
            problem.context_probs, problem.beta, problem.cost_max, 0.0,
        )  # fmt: skip


def test_two_users_whom_a_log_without_repetitions_does_not_tell_apart():
    """C16: with user 1 the reference is optimal and balance holds; with user B it is .43 c_max from the optimum."""
    size, beta = 64, 0.1
    distance = 1.0 - jnp.eye(size)
    uniform = jnp.full((1, size), -np.log(size))
    coins = np.random.default_rng(0).permutation(np.arange(size) % 2)

    def problem(change):
        moved = change[:, None] * distance / (size - 1) + (1.0 - change)[:, None] * jnp.eye(size)
        return EditProblem(jnp.ones(1), uniform, moved[None], distance, jnp.asarray(beta))

    first, second = problem(jnp.full(size, 0.5)), problem(jnp.asarray(coins, dtype=float))
    assert float(first.suboptimality(uniform)) < 1e-12
    assert float(coverage.balance_violation(first)) < 1e-12
    wanted = 0.5 - beta * np.log(2.0 / (1.0 + np.exp(-1.0 / beta)))
    assert float(second.suboptimality(uniform)) == pytest.approx(wanted, rel=1e-9)
    assert wanted == pytest.approx(0.43, abs=2e-3)


@pytest.mark.parametrize("wanted", [1.0, 100.0])
def test_without_a_tail_one_of_two_users_costs_as_much_as_one_likes(wanted):
    """G8 (iii): at the user 0 of D = 4 S + 2 beta log 2 policies with p <= 1/2 pay 2 S, at the user H those above it 4 S."""
    beta, n = 0.1, 50
    far = 4.0 * wanted + 2.0 * beta * np.log(2.0)
    longest = 8 * n * (far + beta * np.log(2.0) + 4.0 * wanted)

    def loss(p, cost):
        law = np.array([p, 1.0 - p])
        free = -beta * (scipy.special.logsumexp(-np.asarray(cost) / beta) - np.log(2.0))
        return law @ cost + beta * np.sum(scipy.special.xlogy(law, 2.0 * law)) - free

    assert min(loss(p, [0.0, far]) for p in np.linspace(0.0, 0.5, 101)) >= 2.0 * wanted
    assert min(loss(p, [longest / (4 * n), far]) for p in np.linspace(0.5, 1.0, 101)) >= 4.0 * wanted


def test_a_distance_within_a_factor(points):
    """G7 (ii) with the distance itself distorted, and (iii): no policy is near the optimum of both ends."""
    low, high = 0.8, 1.3

    def both(point, key):
        problem = point.problem
        factor = jax.random.uniform(key, problem.distance.shape, minval=low, maxval=high)
        factor = (factor + jnp.swapaxes(factor, -1, -2)) / 2.0
        seen = jnp.sum(problem.user * problem.distance * factor, axis=-1)
        tilt = 2.0 * seen / (low + high) / problem.beta
        policy = jax.nn.log_softmax(problem.log_reference - tilt, axis=-1)
        share = (high - low) / (high + low)
        bound = problem.context_probs @ (share * jnp.max(problem.expected_cost, axis=-1)) ** 2
        return problem.suboptimality(policy), bound / (2.0 * problem.beta)

    left, right = map(np.asarray, jax.jit(jax.vmap(both))(points, jax.random.split(jax.random.key(2), POINTS)))
    assert np.all(left <= right * (1 + 1e-9))
