"""Constants that the bounds depend on: contraction, ranges, coverage of pairs and of costs, balance (docs/theory.md).

Maxima over the path between two policies (C~ of B2(c), C~_F of B3(b)) are upper bounds certified by concavity, not grid
maxima: along pi_t proportional to pi*^(1-t) pi^t every log pi_t(y|x) is concave in t.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from edittheory.core.inlined import inlined
from edittheory.core.logspace import expect
from edittheory.problem import paths
from edittheory.problem.edit_problem import EditProblem

Policy = Float[Array, "X Y"]
Class = Float[Array, "K X Y"]
CostClass = Float[Array, "F X Y"]
Scalar = Float[Array, ""]

SAME_COST = 1e-12
"""Largest |f - c| / c_max, response by response, that counts as rounding in the true member of a cost class."""


# -- contraction (Lemma 1 and its sharper forms) ------------------------------------------------------------------------


def favourite(problem: EditProblem) -> Array:
    """y*(x), the index of the most likely response of the optimal policy; shape (X,)."""
    return jnp.argmax(problem.log_optimal, axis=-1)


@inlined
def gamma_min(problem: EditProblem) -> Float[Array, " X"]:
    """Minorisation constant: the least chance, over responses, that the user edits into the favourite y*(x)."""
    to_favourite = jnp.take_along_axis(problem.user, favourite(problem)[:, None, None], axis=-1)[..., 0]
    return jnp.min(to_favourite, axis=-1)


@inlined
def doeblin(problem: EditProblem) -> Float[Array, " X"]:
    """1 - sum_{y'} min_y q(y'|x, y): contraction coefficient no larger than 1 - gamma_min."""
    return jnp.maximum(1.0 - jnp.sum(jnp.min(problem.user, axis=-2), axis=-1), 0.0)


@inlined
def dobrushin(problem: EditProblem) -> Float[Array, " X"]:
    """max_{a,b} TV(q(.|x, a), q(.|x, b)): the best contraction coefficient in total variation."""
    rows = problem.user
    return jnp.max(
        0.5 * jnp.sum(jnp.abs(rows[..., :, None, :] - rows[..., None, :, :]), axis=-1), axis=(-2, -1)
    )


def eta(problem: EditProblem) -> Scalar:
    """max_x (1 - gamma_min(x)), over contexts that occur."""
    return jnp.max(jnp.where(problem.context_probs > 0, 1.0 - gamma_min(problem), 0.0))


def eta_bar(problem: EditProblem) -> Scalar:
    """Root mean square of 1 - gamma_min(x) over contexts."""
    return jnp.sqrt(jnp.sum(problem.context_probs * (1.0 - gamma_min(problem)) ** 2))


# -- ranges of log-ratios -----------------------------------------------------------------------------------------------


def log_ratio_bound(problem: EditProblem, log_class: Class) -> Scalar:
    """B = max |beta h_pi| over the class, h_pi = log(pi / reference); in units of cost."""
    return problem.beta * jnp.max(jnp.abs(log_class - problem.log_reference))


@inlined
def log_ratio_range(problem: EditProblem, log_class: Class) -> Scalar:
    """R = max over the class and contexts of max_y h_pi - min_y h_pi; in nats."""
    ratio = log_class - problem.log_reference
    return jnp.max(jnp.max(ratio, axis=-1) - jnp.min(ratio, axis=-1))


def sigmoid_curvature(log_ratio_range: Scalar) -> Scalar:
    """kappa = e^R + e^-R + 2 = 1 / sigmoid'(R)."""
    return jnp.exp(log_ratio_range) + jnp.exp(-log_ratio_range) + 2.0


def density_ratio(problem: EditProblem, log_class: Class) -> Scalar:
    """M = max pi / pi* over the class, contexts and responses (at least 1)."""
    return jnp.maximum(jnp.exp(jnp.max(log_class - problem.log_optimal)), 1.0)


# -- balance ------------------------------------------------------------------------------------------------------------


@inlined
def pair_gap(problem: EditProblem) -> Float[Array, "X Y Y"]:
    """|sigmoid(u*(a, b)) - P(b beats a)| for each pair that the log can hold, 0 for the others.

    P(b beats a) = w(a, b) / (w(a, b) + w(b, a)): among logged {response, edit} = {a, b}, the share edited into b.
    """
    law = problem.pair_law()
    both = law + jnp.swapaxes(law, -1, -2)
    seen = both > 0
    observed = jnp.where(seen, law / jnp.where(seen, both, 1.0), 0.5)
    ratio = problem.log_optimal - problem.log_reference
    predicted = jax.nn.sigmoid(ratio[..., None, :] - ratio[..., :, None])
    return jnp.where(seen, jnp.abs(predicted - observed), 0.0)


@inlined
def balance_violation(problem: EditProblem) -> Scalar:
    """E_w |sigmoid(u*) - P(y' beats y)|: 0 iff the preference model of PREF is right; theory.md C."""
    return jnp.sum(problem.context_probs[:, None, None] * problem.pair_law() * pair_gap(problem))


@inlined
def largest_pair_gap(problem: EditProblem) -> Scalar:
    """The largest `pair_gap` over contexts that occur: 0 to rounding for a balanced user."""
    return jnp.max(jnp.where(problem.context_probs[:, None, None] > 0, pair_gap(problem), 0.0))


@inlined
def balance_radius(problem: EditProblem) -> Scalar:
    """max over pairs of different texts of |log P(b beats a) / P(a beats b) - u*(a, b)|, in nats: 0 for a balanced user.

    Infinite where a pair that the log can hold is only ever edited one way; C15.
    """
    law = problem.pair_law()
    other = jnp.swapaxes(law, -1, -2)
    ratio = problem.log_optimal - problem.log_reference
    odds = ratio[..., None, :] - ratio[..., :, None]
    both = (law > 0) & (other > 0)
    found = jnp.abs(jnp.log(jnp.where(both, law, 1.0)) - jnp.log(jnp.where(both, other, 1.0)) - odds)
    gap = jnp.where(both, found, jnp.where((law > 0) | (other > 0), jnp.inf, 0.0))
    apart = ~jnp.eye(problem.num_responses, dtype=bool) & (problem.context_probs > 0)[:, None, None]
    return jnp.max(jnp.where(apart, gap, 0.0))


@inlined
def largest_flow_gap(problem: EditProblem) -> Scalar:
    """The sum of |pi*(a) q(b|a) - pi*(b) q(a|b)| over unordered pairs, in the worst context that occurs: 0 for a balanced user.

    Unlike `largest_pair_gap` it does not weigh pairs by the reference, which may hardly ever answer with one of them. The sum
    bounds TV(q o pi*, pi*); the largest term does not, where there are many pairs.
    """
    flow = jnp.exp(problem.log_optimal)[..., :, None] * problem.user
    gap = 0.5 * jnp.sum(jnp.abs(flow - jnp.swapaxes(flow, -1, -2)), axis=(-2, -1))
    return jnp.max(jnp.where(problem.context_probs > 0, gap, 0.0))


# -- coverage of pairs (PREF) -------------------------------------------------------------------------------------------


def over_pairs(
    problem: EditProblem, numerator: Callable[[Array, Array], Float[Array, "*batch X P"]]
) -> Float[Array, "*batch"]:
    """max over contexts and a < b of numerator / [w(a, b) + w(b, a)]; infinite where the log never holds the pair.

    numerator: of the indices a and b of all P pairs, symmetric in them.
    """
    first, second = (jnp.asarray(index) for index in np.triu_indices(problem.num_responses, 1))
    law = problem.pair_law()
    both, above = law[..., first, second] + law[..., second, first], numerator(first, second)
    ratio = jnp.where(both > 0, above / jnp.where(both > 0, both, 1.0), jnp.where(above > 0, jnp.inf, 0.0))
    return jnp.max(jnp.where((problem.context_probs > 0)[:, None], ratio, 0.0), axis=(-2, -1))


@inlined
def preference_coverage(problem: EditProblem, log_class: Class) -> Float[Array, " K"]:
    """C of B2(a, b) for each member: max of [pi(a) pi*(b) + pi(b) pi*(a)] / [w(a, b) + w(b, a)]; take the max over K."""
    policy, optimal = jnp.exp(log_class), jnp.exp(problem.log_optimal)

    def cross(a: Array, b: Array) -> Array:
        return policy[..., a] * optimal[..., b] + policy[..., b] * optimal[..., a]

    return over_pairs(problem, cross)


@functools.partial(inlined, static_argnames=("steps",))
def path_preference_coverage(problem: EditProblem, log_class: Class, steps: int = 8) -> Float[Array, " K"]:
    """C~ of B2(c) for each member: max over t of 2 pi_t(a) pi_t(b) / [w(a, b) + w(b, a)], from above."""
    times, values, slopes = paths.path(problem.log_optimal, log_class, steps)

    def highest(a: Array, b: Array) -> Array:
        """Twice the largest pi_t(a) pi_t(b) over the path, from above."""
        pairs = [table[..., a] + table[..., b] for table in (values, slopes, problem.log_optimal)]
        return 2.0 * jnp.exp(paths.from_start(paths.tangent_maximum(times, pairs[0], pairs[1]), pairs[2]))

    return over_pairs(problem, highest)


# -- coverage of costs (RL) ---------------------------------------------------------------------------------------------


@inlined
def cost_sensitivity(problem: EditProblem, cost_class: CostClass) -> Policy:
    """max over f != c of (f - c)^2(x, y) / E_{x, reference}(f - c)^2: how far a cost that looks right on the log can be off.

    Members equal to c, to rounding, wherever a context occurs do not count; one that differs only where the reference (to
    float64) never answers has an infinite sensitivity there.
    """
    occurs = (problem.context_probs > 0)[:, None]
    gap = jnp.where(occurs, cost_class - problem.expected_cost, 0.0)
    # Response by response: the mean under the reference of a rival's error can be as small as the reference is somewhere.
    other = (jnp.max(jnp.abs(gap), axis=(-2, -1)) > SAME_COST * problem.cost_max)[:, None, None]
    error = jnp.where(other, gap, 0.0) ** 2
    spread = jnp.sum(problem.context_probs * expect(problem.log_reference, error), axis=-1)[:, None, None]
    ratio = error / jnp.where(spread > 0, spread, 1.0)
    return jnp.max(jnp.where((spread <= 0) & (error > 0), jnp.inf, ratio), axis=0)


def _mean_sensitivity(
    problem: EditProblem, cost_class: CostClass, probs: Float[Array, "*batch X Y"]
) -> Float[Array, "*batch"]:
    """E_{x, y ~ probs} of `cost_sensitivity`; infinite wherever it is, also at a response whose chance underflows to 0."""
    sensitivity = cost_sensitivity(problem, cost_class)
    unseen = jnp.isinf(sensitivity)
    mean = jnp.sum(
        problem.context_probs[:, None] * probs * jnp.where(unseen, 0.0, sensitivity), axis=(-2, -1)
    )
    return jnp.where(jnp.any(unseen), jnp.inf, mean)


@inlined
def cost_coverage(
    problem: EditProblem, cost_class: CostClass, log_policy: Float[Array, "*batch X Y"]
) -> Float[Array, "*batch"]:
    """C_F(nu) of B3(a): E_{x, y~nu} of `cost_sensitivity`."""
    return _mean_sensitivity(problem, cost_class, jnp.exp(log_policy))


@functools.partial(inlined, static_argnames=("steps",))
def path_cost_coverage(
    problem: EditProblem, cost_class: CostClass, log_policy: Float[Array, "*batch X Y"], steps: int = 16
) -> Float[Array, "*batch"]:
    """C~_F of B3(b): max over t of C_F(pi_t) on the path from pi* to `log_policy`, from above."""
    ceiling = jnp.exp(paths.path_ceiling(problem.log_optimal, log_policy, steps))
    return jnp.max(_mean_sensitivity(problem, cost_class, ceiling), axis=-1)


@inlined
def worst_path_cost_coverage(problem: EditProblem, cost_class: CostClass) -> Scalar:
    """C~_F of B3(b) whatever the data: over every pessimistic cost between c and the largest member, from above.

    On the path the tilting cost lies in [c, top], top = max over the class; so pi_t(y|x) is at most the value it has when
    y keeps cost c and all other responses have cost top.
    """
    top = jnp.maximum(jnp.max(cost_class, axis=0), problem.expected_cost)
    low = problem.log_reference - problem.expected_cost / problem.beta
    high = problem.log_reference - top / problem.beta
    shift = jnp.max(low, axis=-1, keepdims=True)
    mine, others = jnp.exp(low - shift), jnp.exp(high - shift)
    ceiling = mine / (mine + jnp.sum(others, axis=-1, keepdims=True) - others)
    return _mean_sensitivity(problem, cost_class, ceiling)
