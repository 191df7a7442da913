"""Cost classes that match the trained policies: linear with an elliptical confidence set, and an ensemble of
networks.

Both end in a table f_bar (X, Y) of pessimistic costs, which `cost_classes.tilted` turns
into a policy. The linear set is a theorem (theory-linear.md, P3); the ensemble's spread is a heuristic
without one.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from edittheory.learn import policies
from edittheory.learn.objectives import SquaredError
from edittheory.learn.training import DEFAULT, Settings, Trained, train
from edittheory.problem import EditDataset

Cost = Float[Array, "X Y"]
Scalar = float | Float[Array, ""]


class RidgeFit(eqx.Module):
    """Ridge regression of logged costs on features, with what its confidence set needs.

    Fields: weights w_hat (d,); gram V = regularisation I + sum phi phi^T (d, d); features (X, Y, d);
    regularisation.
    """

    weights: Float[Array, "*batch d"]
    gram: Float[Array, "*batch d d"]
    features: Float[Array, "*batch2 X Y d"]
    regularisation: Float[Array, "*batch"]

    def predict(self) -> Cost:
        """w_hat . phi(x, y)."""
        return self.features @ self.weights

    def width(self) -> Cost:
        """||phi(x, y)|| in the inverse of V."""
        return elliptical_norm(self.features, self.gram)

    def radius(self, cost_max: Scalar, norm_bound: Scalar, delta: Scalar) -> Float[Array, ""]:
        """beta_n: with chance 1 - delta, ||w_hat - w*|| in V is at most this, if ||w*|| <= norm_bound.

        (c_max / 2) sqrt(log det(V / regularisation) + 2 log(1 / delta)) + sqrt(regularisation) norm_bound:
        Abbasi-Yadkori, Pal and Szepesvari 2011, Theorem 2, with costs in an interval of length c_max, hence
        noise sub-Gaussian with constant c_max / 2 (Hoeffding).
        """
        d = self.weights.shape[-1]
        log_det = jnp.linalg.slogdet(self.gram)[1] - d * jnp.log(self.regularisation)
        noise = jnp.sqrt(log_det - 2.0 * jnp.log(jnp.asarray(delta, dtype=float)))
        return 0.5 * cost_max * noise + jnp.sqrt(self.regularisation) * norm_bound

    def pessimistic(self, cost_max: Scalar, norm_bound: Scalar, delta: Scalar) -> Cost:
        """f_bar = min(c_max, max(0, w_hat . phi + beta_n ||phi||)): at least the true cost everywhere with
        chance 1 - delta."""
        upper = self.predict() + self.radius(cost_max, norm_bound, delta) * self.width()
        return jnp.clip(upper, 0.0, cost_max)


def elliptical_norm(features: Float[Array, "X Y d"], gram: Float[Array, "d d"]) -> Cost:
    """||phi(x, y)|| in the inverse of the positive definite matrix `gram`."""
    factor = jnp.linalg.cholesky(gram)
    flat = features.reshape(-1, features.shape[-1])
    solved = jax.scipy.linalg.solve_triangular(factor, flat.T, lower=True)
    return jnp.sqrt(jnp.sum(solved**2, axis=0)).reshape(features.shape[:-1])


def ridge(
    features: Float[Array, "X Y d"],
    data: EditDataset,
    regularisation: Scalar,
    weights: Float[Array, " N"] | None = None,
) -> RidgeFit:
    """Ridge regression of the logged costs on the features of what was logged; weights of 0 leave examples
    out.

    Features are used as they stand (a cost, unlike a policy, is not free up to a constant in each context).
    Can be jitted and vmapped; regularisation must be positive.
    """
    if isinstance(regularisation, (int, float)) and not regularisation > 0:
        raise ValueError(f"regularisation: got {regularisation}, must be positive")
    seen = jnp.ones(data.size) if weights is None else weights
    design = features[data.contexts, data.responses]
    d = features.shape[-1]
    strength = jnp.asarray(regularisation, dtype=features.dtype)
    gram = strength * jnp.eye(d) + jnp.einsum("nd,n,ne->de", design, seen, design)
    target = jnp.einsum("nd,n->d", design, seen * data.costs)
    solution = jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(gram), True), target)
    return RidgeFit(solution, gram, features, strength)


class NeuralCost(eqx.Module):
    """f(x, y) = cost_max * sigmoid(network(inputs(x, y))), always a possible cost; trained by
    `objectives.SquaredError`.

    Fields: inputs (X, Y, k); cost_max; width and depth of the hidden layers; activation.
    """

    inputs: Float[Array, "*batch X Y k"]
    cost_max: Float[Array, "*batch2"]
    hidden: int = eqx.field(static=True)
    depth: int = eqx.field(static=True)
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(self, inputs, cost_max: float | Array, width: int = 32, depth: int = 2, activation=jnp.tanh):
        self.inputs = jnp.asarray(inputs, dtype=float)
        self.cost_max = jnp.asarray(cost_max, dtype=float)
        self.hidden, self.depth, self.activation = width, depth, activation
        policies.check_network(self.inputs, width, depth)

    @property
    def table_shape(self) -> tuple[int, int]:
        """(X, Y)."""
        return self.inputs.shape[-3], self.inputs.shape[-2]

    def init(self, key: PRNGKeyArray) -> tuple[eqx.nn.Linear, ...]:
        """A random network, so that the members of an ensemble differ where there are no data."""
        return policies.init_network(key, self.inputs.shape[-1], self.hidden, self.depth, output_scale=1.0)

    def predict(self, params: tuple[eqx.nn.Linear, ...]) -> Cost:
        """Costs (X, Y) in (0, cost_max)."""
        return self.cost_max * jax.nn.sigmoid(policies.apply_network(params, self.inputs, self.activation))

    def working_floats(self) -> int:
        """That of the network's values."""
        return policies.network_floats(self.inputs, self.hidden, self.depth)


def fit_ensemble(
    model: NeuralCost,
    data: EditDataset,
    key: PRNGKeyArray,
    members: int = 8,
    bootstrap: bool = True,
    settings: Settings = DEFAULT,
    **options: Any,
) -> tuple[Float[Array, "M X Y"], Trained]:
    """Train `members` networks on the logged costs of one data set (N,); predictions and how training went.

    With `bootstrap` each member sees a resample of the data (multinomial weights). Other options go to
    `training.train`.
    """
    if members < 2:
        raise ValueError(f"members: got {members}, must be at least 2")
    init_key, sample_key = jax.random.split(key)
    n = data.size
    if bootstrap:
        drawn = jax.random.randint(sample_key, (members, n), 0, n)
        weights = jax.vmap(lambda rows: jnp.zeros(n).at[rows].add(1.0))(drawn)
    else:
        weights = jnp.ones((members, n))
    trained = train(
        model,
        SquaredError(),
        data,
        jax.random.split(init_key, members),
        weights=weights,
        settings=settings,
        **options,
    )
    return jax.vmap(model.predict)(trained.params).astype(float), trained
