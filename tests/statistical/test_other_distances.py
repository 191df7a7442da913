"""G7 (iv) and G8 (ii) of docs/theory-agnostic.md: distances that are linear in features, and distances without a bound; counted."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from edittheory import learners
from edittheory.bounds import agnostic
from edittheory.deploy import off_policy
from edittheory.problem import EditProblem, balanced_problem, cost_classes

pytestmark = pytest.mark.statistical
LEVEL, DELTA, LOGS = 1e-3, 0.1, 60
TRUE_WEIGHTS = jnp.asarray([1.0, 0.6])


def features(count: int = 5) -> jax.Array:
    """Two distances of `count` texts: along a line, and whether the parity differs."""
    places = jnp.arange(count)
    line = jnp.abs(places[:, None] - places[None, :]) / (count - 1)
    parity = ((places[:, None] - places[None, :]) % 2 != 0).astype(float)
    return jnp.stack([line, 0.5 * parity + 0.25 * (line > 0)])


def linear_problem(key) -> EditProblem:
    distance = jnp.einsum("j,jab->ab", TRUE_WEIGHTS, features())
    optimal = jax.nn.log_softmax(jax.random.normal(key, (2, 5)))
    return balanced_problem(jnp.asarray([0.6, 0.4]), optimal, distance, 0.4, 0.4, 2.0)


def expected_features(problem: EditProblem) -> jax.Array:
    return jnp.einsum("xab,jab->jxa", problem.user, features())


def estimated(problem: EditProblem, data) -> jax.Array:
    """Means of the features by cell of another log."""
    found = [with_costs(data, one[data.responses, data.edits]) for one in features()]
    return jnp.stack([off_policy.cell_means(each, *problem.log_reference.shape) for each in found])


def with_costs(data, costs):
    """The same log with other costs."""
    return eqx.tree_at(lambda d: d.costs, data, costs)


def test_a_distance_linear_in_estimated_features():
    grid = jnp.stack(jnp.meshgrid(*[jnp.linspace(0.0, 2.0, 5)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)

    def one(key):
        world, other, own = jax.random.split(key, 3)
        problem = linear_problem(world)
        exact = expected_features(problem)
        guess = estimated(problem, problem.sample(other, 300))
        right = TRUE_WEIGHTS / problem.beta
        weights = jnp.concatenate([grid / problem.beta, right[None]])
        tilt = problem.log_reference - jnp.einsum("kj,jxy->kxy", weights, guess)
        log_class = jax.nn.log_softmax(tilt, axis=-1)
        learned = log_class[learners.preference(log_class, problem.log_reference, problem.sample(own, 100))]
        wrong = jnp.einsum("j,jxy->xy", right, guess - exact)
        bound = agnostic.linear_distance(problem, len(weights), wrong, 100, DELTA, learned)
        agnostic_one = agnostic.preference(problem, log_class, 100, DELTA, learned)
        nearest = agnostic.preference_divergences(problem, log_class)[-1]
        return (
            problem.suboptimality(learned),
            bound.value,
            (problem.suboptimality(log_class[-1]), bound.terms["member"]),
            (nearest, bound.terms["approximation"]),
            agnostic_one.value,
        )

    left, right, member, step, sharper = jax.jit(lambda keys: jax.lax.map(one, keys))(
        jax.random.split(jax.random.key(0), LOGS)
    )
    bad = int(np.sum(np.asarray(left) > np.asarray(right)))
    assert scipy.stats.binomtest(bad, LOGS, 2 * DELTA, alternative="greater").pvalue > LEVEL
    for small, large in (member, step):
        assert np.all(np.asarray(small) <= np.asarray(large) * (1 + 1e-9) + 1e-12)
        assert np.all(np.asarray(small) > 0.02 * np.asarray(large))  # and not by far
    assert np.all(np.asarray(sharper) <= np.asarray(right) * (1 + 1e-9))  # G3 with the class's own chi2


HEIGHT, TAIL, LONGEST = 1.0, 1.0, 40


def endless(key) -> EditProblem:
    """Texts 0, 1, ..., of chance e^-i: what is edited becomes text 0 at distance i, so tails fall like e^-t with tau = 1."""
    places = jnp.arange(LONGEST)
    chance = jax.random.uniform(key, (LONGEST,), minval=0.2, maxval=0.9).at[0].set(0.0)
    user = jnp.diag(1.0 - chance).at[:, 0].add(chance)
    distance = jnp.abs(places[:, None] - places[None, :]).astype(float)
    reference = jax.nn.log_softmax(-places / TAIL)
    return EditProblem(jnp.ones(1), reference[None], user[None], distance, jnp.asarray(2.0))


def test_the_tail_is_what_is_assumed_and_its_price_is_below_the_bound():
    """P(distance > t) <= e^-t, and E_pi of what is cut <= A tau e^(-T/tau)/z for any cost that is played; T = tau log n."""
    problem = endless(jax.random.key(1))
    lengths = np.asarray(problem.distance[:, 0])
    for t in np.linspace(0, 30, 61):
        edited = np.asarray(1 - jnp.diagonal(problem.user[0])) * (lengths > t)
        assert np.exp(np.asarray(problem.log_reference[0])) @ edited <= HEIGHT * np.exp(-t / TAIL) * (
            1 + 1e-9
        )
    for n, seed in ((10, 2), (100, 3), (1000, 4)):
        cut = agnostic.cut_problem(problem, agnostic.cut_length(TAIL, n))
        played = jax.random.uniform(jax.random.key(seed), (1, LONGEST)) * agnostic.cut_length(TAIL, n)
        learned = jax.nn.log_softmax(problem.log_reference - played / problem.beta, axis=-1)
        lost = float(problem.suboptimality(learned) - cut.suboptimality(learned))
        found = agnostic.unbounded(problem, cut.expected_cost[None], n, DELTA, HEIGHT, TAIL, played)
        assert lost <= float(found.terms["tail"])


def test_rl_from_cut_costs_is_below_the_bound_of_unbounded_distances():
    n = 200
    length = agnostic.cut_length(TAIL, n)
    scales = jnp.asarray([0.0, 0.5, 0.8, 1.0])

    def one(key):
        world, own = jax.random.split(key)
        problem = endless(world)
        cut = agnostic.cut_problem(problem, length)
        costs = jnp.concatenate([scales[:, None, None] * cut.expected_cost, length - cut.expected_cost[None]])
        data = problem.sample(own, n)
        data = with_costs(data, jnp.minimum(data.costs, length))
        radius = cost_classes.confidence_radius(length, len(costs), DELTA)
        worst = cost_classes.pessimistic(costs, cost_classes.confidence_set(costs, data, radius))
        bound = agnostic.unbounded(problem, costs, n, DELTA, HEIGHT, TAIL, worst)
        learned = learners.pessimistic_cost(costs, problem.log_reference, data, problem.beta, radius)
        return problem.suboptimality(learned), bound.value

    left, right = jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(jax.random.key(0), LOGS))
    bad = int(np.sum(np.asarray(left) > np.asarray(right)))
    assert scipy.stats.binomtest(bad, LOGS, 2 * DELTA, alternative="greater").pvalue > LEVEL
    assert np.all(np.isfinite(right))


def test_the_price_of_length_is_log_squared():
    """At n and n^2 the statistical part grows as (log n)^2/n, the tail's as 1/n."""
    problem = endless(jax.random.key(1))
    played = jnp.zeros((1, LONGEST))
    terms = {}
    for n in (100, 10_000):
        cost = agnostic.cut_problem(problem, agnostic.cut_length(TAIL, n)).expected_cost
        terms[n] = agnostic.unbounded(
            problem, jnp.stack([cost, 0.5 * cost]), n, DELTA, HEIGHT, TAIL, played
        ).terms
    assert float(terms[10_000]["T"]) == pytest.approx(2 * float(terms[100]["T"]))
    assert float(terms[100]["tail"] / terms[10_000]["tail"]) == pytest.approx(100.0)
    rate = (
        terms[100]["statistical"]
        / terms[100]["C_F_path"]
        / (terms[10_000]["statistical"] / terms[10_000]["C_F_path"])
    )
    assert float(rate) == pytest.approx(25.0)
