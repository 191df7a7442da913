"""The user that is fitted: the package's balanced user with a habit, inattention and slips, over states of texts.

q = noisy(lazy(habit(balanced_kernel(pi*, distance, strength, locality), h, habit), attention), distance, noise, locality): the same
pieces in the same order as the unbalanced family of `edittheory.problem.random_problems`. pi*(x) and h are products over features.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from edittheory.core.logspace import log_normalise
from edittheory.logs.users.states import States
from edittheory.problem import kernels, users

SCALARS = ("strength", "locality", "noise", "habit", "attention")
"""strength: share of looked-at edits that go straight to a draw from pi*; locality: how short the others are, against the largest
distance; noise: chance of a random slip; habit: share drawn from one law whatever the response; attention: chance to look at all."""
LOCALITY = (0.05, 50.0)
SPREAD = 3.0
"""Standard deviation of the weak Gaussian prior on every logit, which keeps those finite that the log says nothing of."""


class User(NamedTuple):
    """Numbers of a user for X contexts and m features: the scalars of SCALARS, the logits of pi* (X, m), and of h (m,)."""

    strength: Float[Array, ""]
    locality: Float[Array, ""]
    noise: Float[Array, ""]
    habit: Float[Array, ""]
    attention: Float[Array, ""]
    tastes: Float[Array, "X m"]
    form: Float[Array, " m"]


def log_product(logits: Float[Array, "*batch m"], switches: Float[Array, "Y m"]) -> Float[Array, "*batch Y"]:
    """log of the law over states in which features are on independently, with these log-odds."""
    return log_normalise(logits @ switches.T)


def law(user: User, states: States) -> Float[Array, "X Y Y"]:
    """q(y'|x, y)."""
    switches, distance = jnp.asarray(states.switches, dtype=float), jnp.asarray(states.distance)
    optimal, form = log_product(user.tastes, switches), jnp.exp(log_product(user.form, switches))
    careful = kernels.balanced_kernel(optimal, distance, user.strength, user.locality)
    looked = users.lazy(users.habit(careful, form, user.habit), user.attention)
    return users.noisy(looked, distance, user.noise, user.locality)


def unpack(vector: Float[Array, " P"], contexts: int, features: int) -> User:
    """The user of an unconstrained vector: shares through a sigmoid, locality log-uniform between the ends of LOCALITY."""
    share = jax.nn.sigmoid(vector[: len(SCALARS)])
    low, high = np.log(LOCALITY[0]), np.log(LOCALITY[1])
    tastes, form = vector[len(SCALARS) : -features], vector[-features:]
    values = dict(zip(SCALARS, share, strict=True)) | {"locality": jnp.exp(low + (high - low) * share[1])}
    return User(**values, tastes=tastes.reshape(contexts, features), form=form)


def pack(user: User) -> Float[np.ndarray, " P"]:
    """The vector of a user; shares are kept 1e-6 away from their ends."""
    low, high = np.log(LOCALITY[0]), np.log(LOCALITY[1])
    share = np.array([float(getattr(user, name)) for name in SCALARS])
    share[1] = (np.log(share[1]) - low) / (high - low)
    share = np.clip(share, 1e-6, 1 - 1e-6)
    return np.concatenate([np.log(share) - np.log1p(-share), np.ravel(user.tastes), np.ravel(user.form)])


def penalty(vector: Float[Array, " P"]) -> Float[Array, ""]:
    """Minus the log-density of the prior, up to a constant."""
    return 0.5 * jnp.sum((vector / SPREAD) ** 2)
