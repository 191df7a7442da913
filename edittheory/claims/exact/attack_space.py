"""Spaces of problems to attack: every problem of a family, with its classes, as a function of one unconstrained vector.

All constraints are built in: probabilities are positive and sum to one, distances are symmetric and lie in (0, c_max], a
balanced user is reversible for pi* by construction (symmetric weights and what they leave as the chance of staying), the
classes hold the truth, costs lie in [0, c_max]. So any vector of real numbers is a valid point, and a search may go
anywhere.

What the spaces leave out, by their bounds: |log-weights| above `REACH`, tilts c / beta above 20 nats, c_max outside of
[0.1, 10], confidence parameters delta outside of `DELTAS`.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from edittheory.core.logspace import log_normalise
from edittheory.problem import EditProblem
from edittheory.problem.random_problems import Instance

REACH = 8.0
"""Logits of policies and users, and their distance from those of another policy, lie in [-REACH, REACH]."""
DELTAS = (1e-3, 0.3)
"""The confidence parameter lies between these."""
TILT = (0.02, 20.0)
"""The largest c / beta lies between these."""
COST_MAX = (0.1, 10.0)
"""c_max lies between these."""
START = 1.5
"""Standard deviation of the coordinates of a random starting vector."""


class Point(eqx.Module):
    """One problem of a space, with what statements about it need.

    instance: problem, log_class (other members, then mu, then pi*), cost_class (others, then c), truth = the last, so
    that a learner who breaks ties in favour of the first gets no help; probe: a policy of full support; time in (0, 1):
    a place on the path from pi* to another policy; delta in `DELTAS`.
    """

    instance: Instance
    probe: Float[Array, "*batch X Y"]
    time: Float[Array, "*batch"]
    delta: Float[Array, "*batch"]

    @property
    def problem(self) -> EditProblem:
        """The instance's problem."""
        return self.instance.problem

    @property
    def policies(self) -> Float[Array, "*batch 1 X Y"]:
        """What a statement about any policy is tried on: the probe."""
        return self.probe[..., None, :, :]


class Space(NamedTuple):
    """Sizes of a family of problems, and whether their users are balanced or free.

    num_members policies besides pi* and mu, num_costs costs besides c.
    """

    balanced: bool
    num_contexts: int = 2
    num_responses: int = 3
    num_members: int = 2
    num_costs: int = 2

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The parts of a vector and their shapes."""
        x, y, k, f = self.num_contexts, self.num_responses, self.num_members, self.num_costs
        pairs = y * (y - 1) // 2
        user = {"optimum": (x, y), "weights": (x, pairs)} if self.balanced else {"reference": (x, y)}
        return {
            "contexts": (x,),
            "cost_max": (),
            "tilt": (),
            "time": (),
            "delta": (),
            "distance": (pairs,),
            **user,
            **({} if self.balanced else {"user": (x, y, y)}),
            "probe": (x, y),
            "probe_size": (),
            "members": (k, x, y),
            "member_sizes": (k,),
            "member_centres": (k,),
            "costs": (f, x, y),
            "cost_sizes": (f,),
        }

    @property
    def size(self) -> int:
        """Length of a vector."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def parts(self, theta: Float[Array | np.ndarray, " d"]) -> dict[str, Array]:
        """The named parts of a vector."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes.values()])
        pieces = jnp.split(jnp.asarray(theta, dtype=float), ends[:-1])
        return {
            name: piece.reshape(shape)
            for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)
        }

    def decode(self, theta: Float[Array | np.ndarray, " d"]) -> Point:
        """The point of a vector; differentiable almost everywhere, and can be vmapped."""
        part = self.parts(theta)
        context_probs = jax.nn.softmax(bounded(part["contexts"], REACH))
        cost_max = between(part["cost_max"], *COST_MAX)
        nearness = between(part["distance"], 0.02, 1.0)
        distance = symmetric(cost_max * nearness / jnp.max(nearness), self.num_responses)
        tilt = between(part["tilt"], *TILT)
        if self.balanced:
            log_optimal = log_normalise(bounded(part["optimum"], REACH))
            user = reversible_user(log_optimal, bounded(part["weights"], REACH))
        else:
            log_reference = log_normalise(bounded(part["reference"], REACH))
            user = jax.nn.softmax(bounded(part["user"], REACH), axis=-1)
        cost = jnp.sum(user * distance, axis=-1)
        beta = jnp.max(cost) / tilt
        if self.balanced:
            log_reference = log_normalise(log_optimal + cost / beta)
        problem = EditProblem(context_probs, log_reference, user, distance, beta)
        optimal = problem.log_optimal
        probe = near(optimal, part["probe"], part["probe_size"])
        edited = problem.edited(log_reference)
        share = jax.nn.sigmoid(part["member_centres"])[:, None, None]
        members = near(
            (1.0 - share) * optimal + share * edited, part["members"], part["member_sizes"][:, None, None]
        )
        away = cost_max * jax.nn.sigmoid(bounded(part["costs"], REACH)) - cost
        others = cost + between(part["cost_sizes"], 1e-3, 1.0)[:, None, None] * away
        log_class = jnp.concatenate([members, edited[None], optimal[None]])
        cost_class = jnp.concatenate([jnp.clip(others, 0.0, cost_max), cost[None]])
        instance = Instance(problem, log_class, cost_class, jnp.asarray(self.num_costs))
        return Point(
            instance, probe, jax.nn.sigmoid(bounded(part["time"], REACH)), between(part["delta"], *DELTAS)
        )


def bounded(theta: Float[Array, "..."], reach: float) -> Float[Array, "..."]:
    """reach * tanh(theta / reach): near theta where that is small, never outside of [-reach, reach]."""
    return reach * jnp.tanh(theta / reach)


def between(theta: Float[Array, "..."], low: float, high: float) -> Float[Array, "..."]:
    """A positive number between low and high; theta = 0 is their geometric mean."""
    return low * jnp.exp(jax.nn.sigmoid(theta) * math.log(high / low))


def near(
    log_centre: Float[Array, "..."], theta: Float[Array, "..."], size: Float[Array, "..."]
) -> Float[Array, "..."]:
    """A policy whose log-ratio to the centre is bounded(theta) times a factor between 1e-3 and 1."""
    return log_normalise(log_centre + between(size + 2.0, 1e-3, 1.0) * bounded(theta, REACH))


def symmetric(values: Float[Array, "*batch P"], size: int) -> Float[Array, "*batch Y Y"]:
    """The symmetric matrix with zero diagonal and the given values above it, row by row."""
    rows, columns = np.triu_indices(size, 1)
    upper = jnp.zeros((*values.shape[:-1], size, size)).at[..., rows, columns].set(values)
    return upper + jnp.swapaxes(upper, -1, -2)


def reversible_user(log_optimal: Float[Array, "X Y"], weights: Float[Array, "X P"]) -> Float[Array, "X Y Y"]:
    """A user reversible for the optimum: symmetric weights W(a, b), what a row lacks of pi*(a) stays where it is.

    Weights are pi*(a) pi*(b) exp(weights), so that 0 is the user who answers with a draw from pi*; those of a row that
    asks for more than pi*(a) are cut to what it has, and so are their mirror images. Every reversible user whose
    log-weights are in range is the image of some weights: nothing is cut from one that is valid already.
    """
    size = log_optimal.shape[-1]
    optimal = jnp.exp(log_optimal)
    off = ~jnp.eye(size, dtype=bool)
    asked = jnp.where(
        off, jnp.exp(symmetric(weights, size) + log_optimal[..., :, None] + log_optimal[..., None, :]), 0.0
    )
    share = jnp.minimum(1.0, optimal / jnp.sum(asked, axis=-1))
    flow = asked * jnp.minimum(share[..., :, None], share[..., None, :])
    moves = flow / optimal[..., None]
    stay = jnp.maximum(1.0 - jnp.sum(moves, axis=-1), 0.0)
    return moves + jnp.eye(size) * stay[..., None]


def starting_vectors(key, space: Space, count: int) -> Float[Array, "S d"]:
    """Random vectors to start from: independent normal coordinates, each vector with its own spread."""
    spread_key, normal_key = jax.random.split(key)
    spread = START * jnp.exp(jax.random.uniform(spread_key, (count, 1), minval=-1.0, maxval=1.0))
    return spread * jax.random.normal(normal_key, (count, space.size))


def log_path(point: Point, log_end: Float[Array, "X Y"]) -> Float[Array, "X Y"]:
    """pi_t proportional to pi*^(1-t) end^t at the point's time t."""
    start = point.problem.log_optimal
    return log_normalise((1.0 - point.time) * start + point.time * log_end)
