"""The kinds of users on which the test of balance is tried, and random problems with one of them."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from edittheory.core.logspace import log_normalise
from edittheory.problem import EditProblem, random_problems, users
from edittheory.problem.kernels import balanced_kernel
from edittheory.problem.random_problems import Spaces


class Drawn(NamedTuple):
    """A problem and a cost class (K, X, Y) that holds its expected cost: of the kind's K users, one by chance is real."""

    problem: EditProblem
    cost_class: jax.Array


class Kind(NamedTuple):
    """A kind of user. `make(user, optimum, other, distance)` turns a balanced user into one of the kind."""

    balanced: bool
    make: Callable[..., jax.Array] | None
    strength: float = 0.3
    locality: float = 3.0
    text: bool = False


def _partial(base, optimum, other, distance):
    return users.partial_editor(jnp.argmax(optimum, axis=-1), distance, 0.5, 8.0)


def _partial_slips(base, optimum, other, distance):
    return users.noisy(_partial(base, optimum, other, distance), distance, 0.1, 3.0)


def _habit(share):
    def make(base, optimum, other, distance):
        favoured = jax.nn.one_hot(jnp.argmax(other, axis=-1), other.shape[-1])
        return users.habit(base, favoured, share)

    return make


def _mixture(base, optimum, other, distance):
    rival = balanced_kernel(log_normalise(1.2 * other), distance, 0.3, 3.0)
    return users.mixture(jnp.stack([base, rival]), jnp.array([0.5, 0.5]))


GIVEN_REFERENCE = "balanced, given reference"


KINDS = {
    "balanced, strong": Kind(True, None, strength=0.9),
    "balanced": Kind(True, None, strength=0.3),
    "balanced, weak": Kind(True, None, strength=0.03),
    "balanced, local": Kind(True, None, strength=0.0, locality=8.0),
    GIVEN_REFERENCE: Kind(True, None),
    "habit .1": Kind(False, _habit(0.1)),
    "habit .3": Kind(False, _habit(0.3)),
    "lazy": Kind(False, lambda base, *_: users.lazy(base, 0.5)),
    "noisy": Kind(False, lambda base, optimum, other, distance: users.noisy(base, distance, 0.3, 3.0)),
    "contrarian": Kind(
        False, lambda base, optimum, other, distance: users.contrarian(base, optimum, distance, 0.3, 3.0)
    ),
    "partial editor": Kind(False, _partial_slips),
    "mixture": Kind(False, _mixture),
    "random local": Kind(False, None),
    "style editor": Kind(False, None, text=True),
    "style editor, partial": Kind(False, None, text=True),
}


class Base(NamedTuple):
    """K balanced users, their optima, and what goes with them; `other` (X, Y) is a random table without a role yet."""

    context_probs: jax.Array
    distance: jax.Array
    log_reference: jax.Array
    users: jax.Array
    optima: jax.Array
    other: jax.Array
    truth: jax.Array
    key: jax.Array


@eqx.filter_jit
def draw_base(keys, space: Spaces, num_contexts: int, num_candidates: int, beta, strength, locality) -> Base:
    """Balanced users built backwards, one for each key, with the reference that makes the true one's optimum optimal."""

    def one(key):
        dice_key, key = jax.random.split(key)
        dice = random_problems.Dice(dice_key, space, num_contexts, num_candidates)
        truth = dice.below(num_candidates)
        optima = log_normalise(1.2 * random_problems.scattered(dice))
        base = jax.vmap(lambda optimum: balanced_kernel(optimum, dice.distance, strength, locality))(optima)
        cost = jnp.sum(base[truth] * dice.distance, axis=-1)
        log_reference = log_normalise(optima[truth] + cost / beta)
        return Base(dice.context_probs, dice.distance, log_reference, base, optima, dice.other, truth, key)

    return jax.vmap(one)(keys)


@eqx.filter_jit
def draw_given_reference(keys, space: Spaces, num_contexts: int, num_candidates: int) -> Drawn:
    """`families.balanced_sinkhorn`."""
    instances = jax.vmap(
        lambda key: random_problems.balanced_sinkhorn(key, space, num_contexts, num_candidates)
    )(keys)
    return Drawn(instances.problem, instances.cost_class)


@eqx.filter_jit
def modify(name: str, base: Base, switches, beta) -> Drawn:
    """The users of a kind, and the cost class of their expected costs."""
    kind = KINDS[name]

    def one(base: Base) -> Drawn:
        num_k, num_x = base.users.shape[:2]
        distance, log_reference, all_users = base.distance, base.log_reference, base.users
        if name == "random local":
            each = jax.random.split(base.key, num_k)
            all_users = jax.vmap(lambda key: users.random_local(key, num_x, distance, 3.0, 1.5))(each)
            log_reference = log_normalise(base.other)
        elif kind.text:
            wanted = jax.random.bernoulli(base.key, 0.6, (num_k, num_x, switches.shape[-1]))
            keep = 1.0 if name == "style editor" else 0.4
            all_users = jax.vmap(
                lambda want: users.noisy(users.style_editor(switches, want, keep), distance, 0.1, 4.0)
            )(wanted)
            log_reference = log_normalise(0.5 * base.other)
        elif kind.make is not None:
            make = kind.make
            all_users = jax.vmap(lambda user, optimum: make(user, optimum, base.other, distance))(
                all_users, base.optima
            )
        problem = EditProblem(base.context_probs, log_reference, all_users[base.truth], distance, beta)
        return Drawn(problem, jnp.sum(all_users * distance, axis=-1))

    return jax.vmap(one)(base)


def draw(name: str, keys, space: Spaces, num_contexts: int, num_candidates: int, beta) -> Drawn:
    """A random problem of a kind for each key; the cost class holds the expected costs of `num_candidates` users of it."""
    if name == GIVEN_REFERENCE:
        return draw_given_reference(keys, space, num_contexts, num_candidates)
    kind = KINDS[name]
    knobs = jnp.asarray(kind.strength), jnp.asarray(kind.locality)
    base = draw_base(keys, space, num_contexts, num_candidates, beta, *knobs)
    return modify(name, base, space.switches, beta)
