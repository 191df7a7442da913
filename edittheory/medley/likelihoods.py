"""Evidence about what a log of edits has to do with the costs of a finite class, for `edittheory.medley`; docs/medley.md.

A log speaks of the expected cost f in three ways: its costs have mean f (always), the direction of its edits follows
pi_f (if the user is balanced), and the law of its edits is pi_f or lies on the way there (if the user is strong).
Each is a likelihood of the members; a marginal likelihood of the same data that owes nothing to f is the alternative.
All functions take counts, so that they cost the same at every n, and have a leading axis M of sample sizes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from edittheory.learn.class_losses import Policy
from edittheory.problem import EditDataset
from edittheory.problem.cost_classes import tilted

Scalar = float | Float[Array, ""]
CostClass = Float[Array, "F X Y"]
Likelihood = Float[Array, "M F"]
PRECISE = jax.lax.Precision.HIGHEST


class Counts(NamedTuple):
    """What the first n examples come to, for each of M sizes n.

    pairs (M, X, Y, Y): how often response y in context x became y'; cost_sum (M, X, Y) and cost_squares (M, X, Y): sums
    of the costs paid for each response and of their squares.
    """

    pairs: Float[Array, "M X Y Y"]
    cost_sum: Float[Array, "M X Y"]
    cost_squares: Float[Array, "M X Y"]

    @property
    def responses(self) -> Float[Array, "M X Y"]:
        """How often each response was logged."""
        return jnp.sum(self.pairs, axis=-1)

    @property
    def edits(self) -> Float[Array, "M X Y"]:
        """How often each text was what the user left."""
        return jnp.sum(self.pairs, axis=-2)


def count(data: EditDataset, sizes: Int[Array, " M"], num_contexts: int, num_responses: int) -> Counts:
    """Counts of the first n examples for each n of `sizes` (ascending)."""
    first = jnp.searchsorted(sizes, jnp.arange(data.size), side="right")
    cell = data.contexts * num_responses + data.responses

    def added(index, values, length):
        table = jnp.zeros((sizes.shape[0], length)).at[first, index].add(values, mode="drop")
        return jnp.cumsum(table, axis=0)

    shape = (sizes.shape[0], num_contexts, num_responses)
    size = num_contexts * num_responses
    pairs = added(cell * num_responses + data.edits, 1.0, size * num_responses)
    sums, squares = added(cell, data.costs, size), added(cell, data.costs**2, size)
    return Counts(pairs.reshape(*shape, num_responses), sums.reshape(shape), squares.reshape(shape))


def _flat(table: Float[Array, "A X *Y"]) -> Float[Array, "A C"]:
    return table.reshape(table.shape[0], -1)


def _dot(left: Float[Array, "M C"], right: Float[Array, "F C"]) -> Likelihood:
    return jnp.matmul(left, right.T, precision=PRECISE)


# -- likelihoods of the members ------------------------------------------------------------------------------------------


def cost_likelihood(cost_class: CostClass, counts: Counts, cost_max: Scalar) -> Likelihood:
    """Log-likelihood of the costs with Gaussian noise of unknown variance, integrated out (a Student's t).

    The prior of the variance is worth 4 costs of variance c_max^2 / 50. A working likelihood: costs are not Gaussian.
    """
    table = _flat(cost_class)
    squares = jnp.sum(counts.cost_squares, axis=(-2, -1))[:, None]
    errors = _dot(_flat(counts.responses), table**2) - 2.0 * _dot(_flat(counts.cost_sum), table) + squares
    n = jnp.sum(counts.responses, axis=(-2, -1))[:, None]
    prior = 0.04 * jnp.asarray(cost_max, dtype=float) ** 2
    return -(2.0 + 0.5 * n) * jnp.log(prior + 0.5 * jnp.maximum(errors, 0.0))


def preference_likelihood(
    cost_class: CostClass, counts: Counts, beta: Scalar, scale: Scalar = 1.0
) -> Likelihood:
    """log prod_i sigmoid(scale * (f(x_i, y_i) - f(x_i, y'_i)) / beta): the direction of each edit given the pair."""
    pull = scale / beta * (cost_class[:, :, :, None] - cost_class[:, :, None, :])
    return -_dot(_flat(counts.pairs), _flat(jax.nn.softplus(-pull)))


def edit_likelihood(
    cost_class: CostClass, log_reference: Policy, counts: Counts, beta: Scalar, share: Scalar
) -> Likelihood:
    """Log-likelihood of the edits under (1 - share) reference + share * pi_f: what a user of that strength leaves."""
    law = (1.0 - share) * jnp.exp(log_reference) + share * jnp.exp(tilted(log_reference, cost_class, beta))
    return _dot(_flat(counts.edits), _flat(jnp.log(law)))


def law_likelihood(log_laws: CostClass, counts: Counts) -> Likelihood:
    """Log-likelihood of the edits under a given law of each member; -inf where a text was left that its law excludes."""
    seen, table = _flat(counts.edits), _flat(log_laws)
    excluded = _dot((seen > 0).astype(float), (table == -jnp.inf).astype(float)) > 0
    return jnp.where(excluded, -jnp.inf, _dot(seen, jnp.where(table == -jnp.inf, 0.0, table)))


# -- marginal likelihoods that owe nothing to the costs ------------------------------------------------------------------


def edit_evidence(
    log_reference: Policy, counts: Counts, concentrations: tuple[float, ...]
) -> Float[Array, " M"]:
    """Log marginal likelihood of the edits if their law is Dirichlet around the reference, averaged over concentrations."""
    edits = counts.edits
    found = []
    for concentration in concentrations:
        prior = concentration * jnp.exp(log_reference)
        inner = jnp.sum(jax.scipy.special.gammaln(prior + edits) - jax.scipy.special.gammaln(prior), axis=-1)
        outer = jax.scipy.special.gammaln(concentration) - jax.scipy.special.gammaln(
            concentration + jnp.sum(edits, axis=-1)
        )
        found.append(jnp.sum(inner + outer, axis=-1))
    return jax.nn.logsumexp(jnp.stack(found), axis=0) - jnp.log(len(concentrations))


def preference_evidence(counts: Counts, spreads: tuple[float, ...], steps: int = 12) -> Float[Array, " M"]:
    """Log marginal likelihood of the directions if they follow utilities of no class, averaged over the spreads.

    Bradley and Terry with a free utility v(x, y) ~ N(0, spread^2) for each response: u = v(y') - v(y). Laplace's
    approximation at the mode, which `steps` damped Newton steps find (the posterior is log-concave).
    """
    num_y = counts.pairs.shape[-1]
    eye = jnp.eye(num_y)
    moved = counts.pairs * (1.0 - eye)
    met = moved + jnp.swapaxes(moved, -1, -2)
    stayed = jnp.sum(counts.pairs * eye, axis=(-3, -2, -1))

    def of_spread(spread):
        def chances(v):
            return jax.nn.sigmoid(v[..., None, :] - v[..., :, None])

        def curvature(v):
            p = chances(v)
            weight = met * p * (1.0 - p)
            return jnp.sum(weight, axis=-1)[..., None] * eye - weight + eye / spread**2

        def newton(_, v):
            gradient = jnp.sum(moved, axis=-2) - jnp.sum(met * chances(v), axis=-2) - v / spread**2
            return v + jnp.clip(jnp.linalg.solve(curvature(v), gradient[..., None])[..., 0], -2.0, 2.0)

        v = jax.lax.fori_loop(0, steps, newton, jnp.zeros(moved.shape[:-1]))
        fit = -jnp.sum(moved * jax.nn.softplus(v[..., :, None] - v[..., None, :]), axis=(-2, -1))
        volume = num_y * jnp.log(spread) + 0.5 * jnp.linalg.slogdet(curvature(v))[1]
        return jnp.sum(fit - 0.5 * jnp.sum(v**2, axis=-1) / spread**2 - volume, axis=-1)

    found = jax.vmap(of_spread)(jnp.asarray(spreads, dtype=float))
    return jax.nn.logsumexp(found, axis=0) - jnp.log(len(spreads)) - stayed * jnp.log(2.0)
