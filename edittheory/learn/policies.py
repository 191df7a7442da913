"""Policy classes trained by gradient: log-linear, tabular, and a small neural network on features.

A class is an equinox module that holds what is fixed (features, the reference); `init(key)` draws parameters,
a pytree of arrays, and `log_policy(params)` returns log-probabilities (X, Y). `scores(params)` is the
log-ratio log(pi / reference) up to a constant in each context, which is all that a preference loss needs: the
normaliser cancels.

A class is realisable when it contains the truth. `features.spanning` makes features for which it is; dropping
some (`LogLinear.keep`), or too small a network, breaks it, and `features.misfit` says by how much.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from edittheory.core.logspace import log_normalise

Policy = Float[Array, "X Y"]
Params = Any

__all__ = ["LogLinear", "NeuralPolicy", "PolicyClass", "Tabular", "apply_network", "init_network"]


def _check_reference(log_reference: Array, shape: tuple[int, ...], name: str) -> None:
    if log_reference.shape[-2:] != shape:
        raise ValueError(
            f"{name}: covers (X, Y) = {shape}, but log_reference has shape {log_reference.shape}; they must agree"
        )


class PolicyClass(eqx.Module):
    """What every trained class offers; subclasses say what their scores and parameters are."""

    log_reference: eqx.AbstractVar[Float[Array, "*batch X Y"]]

    @property
    def table_shape(self) -> tuple[int, int]:
        """(X, Y)."""
        return self.log_reference.shape[-2], self.log_reference.shape[-1]

    def init(self, key: PRNGKeyArray) -> Params:
        """Fresh parameters; the policy they give is the reference."""
        raise NotImplementedError

    def scores(self, params: Params) -> Policy:
        """log(pi / reference) up to a constant in each context."""
        raise NotImplementedError

    def project(self, params: Params) -> Params:
        """The nearest parameters inside the class; applied after every step of training."""
        return params

    def working_floats(self) -> int:
        """Roughly how many numbers one evaluation with its gradient keeps in memory (one run)."""
        return 6 * self.log_reference.shape[-1] * self.log_reference.shape[-2]

    def log_policy(self, params: Params) -> Policy:
        """Log-probabilities (X, Y)."""
        return log_normalise(self.log_reference + self.scores(params))

    def log_ratio(self, params: Params) -> Policy:
        """h_pi = log(pi / reference), (X, Y)."""
        return self.log_policy(params) - self.log_reference


class LogLinear(PolicyClass):
    """pi_theta = reference * exp(theta . phi(x, y)) / Z_theta(x), within ||theta|| <= radius; parameters
    theta (d,).

    Fields: features (X, Y, d); log_reference (X, Y); radius, infinite unless given.
    """

    features: Float[Array, "*batch X Y d"]
    log_reference: Float[Array, "*batch2 X Y"]
    radius: Float[Array, "*batch3"]

    def __init__(self, features, log_reference, radius: float | Float[Array, "*batch3"] = jnp.inf):
        self.features = jnp.asarray(features, dtype=float)
        self.log_reference = jnp.asarray(log_reference, dtype=float)
        self.radius = jnp.asarray(radius, dtype=float)
        if self.features.ndim < 3:
            raise ValueError(f"features: shape {self.features.shape}, must be (X, Y, d)")
        _check_reference(self.log_reference, self.features.shape[-3:-1], "features")
        if isinstance(radius, (int, float)) and not radius > 0:
            raise ValueError(f"radius: got {radius}, must be positive")

    @property
    def num_features(self) -> int:
        """d."""
        return self.features.shape[-1]

    def init(self, key: PRNGKeyArray) -> Float[Array, " d"]:
        """theta = 0, the reference; the training problem is convex for SUP, PREF and EarlyEnsemble, so `key`
        is not used."""
        return jnp.zeros(self.num_features, dtype=self.features.dtype)

    def scores(self, params: Float[Array, " d"]) -> Policy:
        """theta . phi(x, y)."""
        num_x, num_y, d = self.features.shape
        # One shared (X Y, d) table: under vmap over theta alone this is a single matrix product for all runs.
        flat = jnp.matmul(
            self.features.reshape(num_x * num_y, d), params, precision=jax.lax.Precision.HIGHEST
        )
        return flat.reshape(num_x, num_y)

    def project(self, params: Float[Array, " d"]) -> Float[Array, " d"]:
        """theta shortened to the radius if it is longer."""
        length = jnp.sqrt(jnp.sum(params**2))
        return jnp.where(
            length > self.radius, params * (self.radius / jnp.where(length > 0, length, 1.0)), params
        )

    def keep(self, indices) -> "LogLinear":
        """The class with only these features: misspecified, in general, if the whole class is not."""
        return LogLinear(self.features[..., jnp.asarray(indices)], self.log_reference, self.radius)


class Tabular(PolicyClass):
    """All policies: one free score for each (x, y); parameters (X, Y)."""

    log_reference: Float[Array, "*batch X Y"]

    def __init__(self, log_reference):
        self.log_reference = jnp.asarray(log_reference, dtype=float)

    def init(self, key: PRNGKeyArray) -> Policy:
        """Scores of 0, the reference."""
        return jnp.zeros_like(self.log_reference)

    def scores(self, params: Policy) -> Policy:
        """The parameters themselves."""
        return params


def init_network(
    key: PRNGKeyArray, inputs: int, width: int, depth: int, output_scale: float
) -> tuple[eqx.nn.Linear, ...]:
    """`depth` hidden layers of `width` units and one output; the output layer's weights are scaled by
    `output_scale`.

    Weights uniform in +-sqrt(3 / fan-in) (unit gain), biases uniform in +-1, so that units bend inside the
    data.
    """
    sizes = [inputs, *([width] * depth), 1]
    layers = []
    for index, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        weight_key, bias_key, key = jax.random.split(key, 3)
        layer = eqx.nn.Linear(fan_in, fan_out, dtype=float, key=weight_key)
        last = index == len(sizes) - 2
        gain = output_scale if last else 1.0
        reach = jnp.sqrt(3.0 / fan_in)
        weight = gain * jax.random.uniform(weight_key, (fan_out, fan_in), minval=-reach, maxval=reach)
        bias = (
            jnp.zeros(fan_out) if last else jax.random.uniform(bias_key, (fan_out,), minval=-1.0, maxval=1.0)
        )
        layers.append(eqx.tree_at(lambda layer: (layer.weight, layer.bias), layer, (weight, bias)))
    return tuple(layers)


def apply_network(
    params: tuple[eqx.nn.Linear, ...], inputs: Float[Array, "*batch k"], activation: Callable[[Array], Array]
) -> Float[Array, "*batch"]:
    """The network's output at each input."""
    values = inputs
    for index, layer in enumerate(params):
        values = jnp.matmul(values, layer.weight.T, precision=jax.lax.Precision.HIGHEST)
        values = values if layer.bias is None else values + layer.bias
        if index < len(params) - 1:
            values = activation(values)
    return values[..., 0]


def check_network(inputs: Array, width: int, depth: int) -> None:
    """ValueError unless inputs are (X, Y, k) and the sizes those of a network."""
    if inputs.ndim < 3:
        raise ValueError(f"inputs: shape {inputs.shape}, must be (X, Y, k)")
    if width < 1 or depth < 0:
        raise ValueError(f"width, depth: got {width}, {depth}; must be at least 1 and at least 0")


def network_floats(inputs: Array, width: int, depth: int) -> int:
    """Six tables and two values for every hidden unit and (x, y)."""
    return inputs.shape[-2] * inputs.shape[-3] * (6 + 2 * width * max(depth, 1))


class NeuralPolicy(PolicyClass):
    """pi = reference * exp(network(inputs(x, y))) / Z; parameters are the network's layers.

    Fields: inputs (X, Y, k), features of context and response side by side (`features.context_and_response`);
    log_reference (X, Y); width and depth of the hidden layers (depth 0 is log-linear); activation.
    """

    inputs: Float[Array, "*batch X Y k"]
    log_reference: Float[Array, "*batch2 X Y"]
    width: int = eqx.field(static=True)
    depth: int = eqx.field(static=True)
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(self, inputs, log_reference, width: int = 32, depth: int = 2, activation=jnp.tanh):
        self.inputs = jnp.asarray(inputs, dtype=float)
        self.log_reference = jnp.asarray(log_reference, dtype=float)
        self.width, self.depth, self.activation = width, depth, activation
        check_network(self.inputs, width, depth)
        _check_reference(self.log_reference, self.inputs.shape[-3:-1], "inputs")

    def init(self, key: PRNGKeyArray) -> tuple[eqx.nn.Linear, ...]:
        """Random hidden layers and a zero output layer: the policy is the reference."""
        return init_network(key, self.inputs.shape[-1], self.width, self.depth, output_scale=0.0)

    def scores(self, params: tuple[eqx.nn.Linear, ...]) -> Policy:
        """The network's output at each (x, y)."""
        return apply_network(params, self.inputs, self.activation)

    def working_floats(self) -> int:
        """That of the network's values."""
        return network_floats(self.inputs, self.width, self.depth)
