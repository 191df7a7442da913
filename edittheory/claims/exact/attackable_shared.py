"""The steps of O10's proofs that hold for every problem, and near-misses, attacked by gradients; docs/theory-online.md.

Two policies, the probe and the reference, with counts that sum to `ROUNDS`, the point's time deciding how; A_n, v_k, S, m and P are O10's.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from edittheory.bounds.online_shared import FACTOR
from edittheory.claims.exact.attack_space import DELTAS, Point
from edittheory.claims.exact.attackable_transfers import Sides
from edittheory.claims.statement import Attack

ROUNDS = 22.0
"""Rounds played so far: at least one by each of the two policies."""
GROWTH = 1.5
"""O10's gamma."""


class Shared(NamedTuple):
    """What two policies with counts share.

    laws (2, X, Y); counts (2,); answered (X, Y): A_n; weights (2, X, Y): pi_k/A_n; sizes (2,): v_k(n).
    """

    laws: Float[Array, "2 X Y"]
    counts: Float[Array, " 2"]
    answered: Float[Array, "X Y"]
    weights: Float[Array, "2 X Y"]
    sizes: Float[Array, " 2"]


def _sizes(rho: Array, laws: Array, counts: Array) -> tuple[Array, Array, Array]:
    """A_n, the weights and v_k(n)."""
    answered = jnp.tensordot(counts, laws, 1)
    weights = laws / answered
    return answered, weights, jnp.sum(laws * weights, axis=-1) @ rho


def shared(point: Point) -> Shared:
    """The probe and the reference, with 1 + (ROUNDS - 2) times (time, 1 - time) rounds."""
    laws = jnp.exp(jnp.stack([point.probe, point.problem.log_reference]))
    counts = 1.0 + (ROUNDS - 2.0) * jnp.stack([point.time, 1.0 - point.time])
    return Shared(laws, counts, *_sizes(point.problem.context_probs, laws, counts))


def _moved(point: Point, here: Shared, cut: Array) -> Array:
    """How far cutting the weights at `cut` (2,) moves each estimate's mean from J(pi_k), (2,)."""
    problem = point.problem
    centred = problem.expected_cost - 0.5 * problem.cost_max
    kept = jnp.minimum(here.weights, cut[:, None, None])
    means = jnp.sum(here.answered * kept * centred, axis=-1) @ problem.context_probs
    return jnp.abs(means - jnp.sum(here.laws * centred, axis=-1) @ problem.context_probs)


def _share(point: Point) -> Array:
    """The point's delta as a number between 0 and 1."""
    return point.delta / DELTAS[1]


def cut(divisor: float) -> Callable[[Point], Sides]:
    """The mean of weights cut at b is within (c/2) v/(divisor b) of J; b is a share of the largest weight."""

    def sides(point: Point) -> Sides:
        here, cost_max = shared(point), point.problem.cost_max
        least = _share(point) * jnp.max(here.weights, axis=(-2, -1))
        return _moved(point, here, least), 0.5 * cost_max * here.sizes / (divisor * least), cost_max

    return sides


def second_moment(divisor: float) -> Callable[[Point], Sides]:
    """sum_i E Z_i^2 <= c^2 v/divisor, Z = min(w, b)(cost - c/2)."""

    def sides(point: Point) -> Sides:
        here, problem = shared(point), point.problem
        least = _share(point) * jnp.max(here.weights, axis=(-2, -1))
        kept = jnp.minimum(here.weights, least[:, None, None])
        spread = jnp.sum(problem.user * (problem.distance - 0.5 * problem.cost_max) ** 2, axis=-1)
        left = jnp.sum(here.answered * kept**2 * spread, axis=-1) @ problem.context_probs
        return left, problem.cost_max**2 * here.sizes / divisor, problem.cost_max**2

    return sides


def exponential_moment(divisor: float) -> Callable[[Point], Sides]:
    """log E exp(l (Z - E Z)) <= l^2 E Z^2/(2 (1 - l b/divisor)), Z in [0, b = 1] at each answer, l = 2.7 time; in every context."""

    def sides(point: Point) -> Sides:
        values = point.problem.distance[0] / point.problem.cost_max
        law, slope = jnp.exp(point.probe), 2.7 * point.time
        mean, square = jnp.sum(law * values, axis=-1), jnp.sum(law * values**2, axis=-1)
        left = jax.nn.logsumexp(point.probe + slope * values, axis=-1) - slope * mean
        return left, slope**2 * square / (2.0 * (1.0 - slope / divisor)), 1.0

    return sides


def width(factor: float) -> Callable[[Point], Sides]:
    """What the cut-off moves, and Bernstein's deviation at l = log(1/delta), come to at most factor c sqrt(v l)."""

    def sides(point: Point) -> Sides:
        here, cost_max = shared(point), point.problem.cost_max
        level = jnp.log(1.0 / point.delta)
        least = jnp.sqrt(0.75 * here.sizes / level)
        deviation = jnp.sqrt(2.0 * here.sizes * level) + least * level / 3.0
        left = _moved(point, here, least) + 0.5 * cost_max * deviation
        return left, factor * cost_max * jnp.sqrt(here.sizes * level), cost_max

    return sides


def rounded(power: float) -> Callable[[Point], Sides]:
    """v_k(n) <= gamma^power v_k(N) where no n_j is below N_j/gamma: one of them there, the other in between."""

    def sides(point: Point) -> Sides:
        here = shared(point)
        fewer = here.counts * GROWTH ** -jnp.stack([jnp.ones(()), _share(point)])
        return _sizes(point.problem.context_probs, here.laws, fewer)[2], GROWTH**power * here.sizes, 1.0

    return sides


def one_round(share: float) -> Callable[[Point], Sides]:
    """a^2/A <= m a/(A + a) + share m^2 (1/A - 1/(A + a)), at every answer: what one more round adds."""

    def sides(point: Point) -> Sides:
        here = shared(point)
        most, after = jnp.max(here.laws, axis=0), here.answered + here.laws
        right = most * here.laws / after + share * most**2 * here.laws / (here.answered * after)
        return here.laws * here.weights, right, 1.0

    return sides


def jensen(share: float) -> Callable[[Point], Sides]:
    """E_x sum_y m log(A/P) <= share S log(T/S)."""

    def sides(point: Point) -> Sides:
        here, rho = shared(point), point.problem.context_probs
        most = jnp.max(here.laws, axis=0)
        left = jnp.sum(most * jnp.log(here.answered / jnp.sum(here.laws, axis=0)), axis=-1) @ rho
        size = jnp.sum(most, axis=-1) @ rho
        return left, share * size * jnp.log(ROUNDS / size), 1.0

    return sides


def potential(added: float) -> Callable[[Point], Sides]:
    """sum_t v_{k_t}(N(t)) <= S (added + log(T/S)) after 1, 2, 3 and 4 rounds more than one of each, of the probe and in turn."""
    played = np.array([[0, 0, 0, 0], [1, 0, 1, 0]])

    def sides(point: Point) -> Sides:
        laws, rho = (
            jnp.exp(jnp.stack([point.probe, point.problem.log_reference])),
            point.problem.context_probs,
        )
        turns = laws[played]
        before = jnp.sum(laws, axis=0) + jnp.cumsum(turns, axis=1) - turns
        left = jnp.cumsum(jnp.sum(turns**2 / before, axis=-1) @ rho, axis=1)
        size = jnp.sum(jnp.max(laws, axis=0), axis=-1) @ rho
        return left, size * (added + jnp.log(jnp.arange(3.0, 7.0) / size)), 1.0

    return sides


def design(largest: bool) -> Callable[[Point], Sides]:
    """sum_k p_k E_x sum_y pi_k^2/q_p <= S, p = counts/T; with `largest`, FALSE, its largest term without p_k."""

    def sides(point: Point) -> Sides:
        here = shared(point)
        each = ROUNDS * here.sizes
        left = jnp.max(each) if largest else here.counts @ each / ROUNDS
        return left, jnp.sum(jnp.max(here.laws, axis=0), axis=-1) @ point.problem.context_probs, 1.0

    return sides


TRUE: tuple[Attack, ...] = (
    Attack("O10.cut", "O10", "weights cut at b move the mean by at most (c/2) v/(4 b)", cut(4.0)),
    Attack("O10.moment", "O10", "sum E Z^2 <= (c^2/4) v", second_moment(4.0)),
    Attack("O10.bernstein", "O10", "log E exp(l (Z - E Z)) <= l^2 E Z^2/(2 (1 - l b/3)), 0 <= Z <= b", exponential_moment(3.0)),
    Attack("O10.width", "O10", "what the cut-off moves + Bernstein's deviation <= f c sqrt(v l)", width(FACTOR)),
    Attack("O10.rounded", "O10", "v_k(n) <= gamma v_k(N) for counts n >= N/gamma", rounded(1.0)),
    Attack("O10.round", "O10", "a^2/A <= m a/(A + a) + m^2 (1/A - 1/(A + a))", one_round(1.0)),
    Attack("O10.jensen", "O10", "E_x sum_y m log(A/P) <= S log(T/S)", jensen(1.0)),
    Attack("O10.potential", "O10", "sum over rounds of v <= S (1 + log(T/S))", potential(1.0)),
    Attack("O10.design", "O10", "sum_k p_k E_x sum_y pi_k^2/q_p <= S", design(False)),
)  # fmt: skip

MUTANTS: tuple[Attack, ...] = (
    Attack("mutant.O10.cut", "O10", "the same with (c/2) v/(4.5 b)", cut(4.5), False, True),
    Attack("mutant.O10.moment", "O10", "sum E Z^2 <= (c^2/4.5) v", second_moment(4.5), False, True),
    Attack("mutant.O10.bernstein", "O10", "the same with l b/4", exponential_moment(4.0), False, True),
    Attack("mutant.O10.width", "O10", "the same with .95 in the place of f", width(0.95), False, True),
    Attack("mutant.O10.rounded", "O10", "v_k(n) <= sqrt(gamma) v_k(N)", rounded(0.5), False, True),
    Attack("mutant.O10.round", "O10", "the same with m^2/2", one_round(0.5), False, True),
    Attack("mutant.O10.jensen", "O10", "E_x sum_y m log(A/P) <= .9 S log(T/S)", jensen(0.9), False, True),
    Attack("mutant.O10.potential", "O10", "sum over rounds of v <= S log(T/S)", potential(0.0), False, True),
    Attack("mutant.O10.design", "O10", "max_k E_x sum_y pi_k^2/q_p <= S", design(True), False, True),
)  # fmt: skip
