"""Random problems of declared families, each with a policy class and a cost class that contain the truth.

The truth is exchangeable with the other members: K candidates are drawn i.i.d. around a common centre that is not one of
them, and one of them, drawn uniformly, becomes the truth. (With classes of the form truth + symmetric noise the class
average is the truth, and every learner that averages looks better than it is; theory.md B7.)

A family is a pure function of a key, so that `jax.vmap` draws thousands at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from edittheory.core.logspace import log_normalise, safe_log
from edittheory.problem import cost_classes, users
from edittheory.problem.edit_problem import EditProblem
from edittheory.problem.kernels import balanced_kernel, sinkhorn_kernel


class Instance(eqx.Module):
    """A problem with finite classes around it.

    log_class (2K, X, Y): K candidate optima followed by the laws of the edits, q_k o reference, of the K candidate users;
    cost_class (K, X, Y): the expected costs of the candidate users; truth: index of the real one among the K.
    """

    problem: EditProblem
    log_class: Float[Array, "*batch C X Y"]
    cost_class: Float[Array, "*batch K X Y"]
    truth: Int[Array, "*batch"]

    @property
    def num_candidates(self) -> int:
        """K."""
        return self.cost_class.shape[-3]


class Family(NamedTuple):
    """A named way of drawing instances; `balanced` says whether Assumption 1 holds of every one of them."""

    name: str
    draw: Callable[[PRNGKeyArray], Instance]
    balanced: bool


class Spaces(NamedTuple):
    """Response spaces to draw from: a bank of distance matrices, each (Y, Y), of which every context takes one.

    Strings share one matrix (a bank of one); texts have one for each text. `switches` (Y, m) only for text variants.
    """

    distances: Float[Array | np.ndarray, "bank Y Y"]
    switches: np.ndarray | None = None

    def choose(self, uniforms: Float[Array, " bank"], num_contexts: int) -> Float[Array, "X Y Y"]:
        """One matrix for each context from i.i.d. uniforms, without repetition where the bank allows."""
        order = jnp.argsort(uniforms)
        return jnp.asarray(self.distances)[order[jnp.arange(num_contexts) % len(self.distances)]]


class Dice:
    """All random numbers of one instance from three calls: compiling a random call costs more than the numbers do."""

    def __init__(self, key: PRNGKeyArray, spaces: Spaces, num_contexts: int, num_candidates: int):
        size = spaces.distances.shape[-1]
        scalar_key, normal_key, law_key = jax.random.split(key, 3)
        numbers = jax.random.uniform(scalar_key, (16 + len(spaces.distances),))
        self._scalars = iter(numbers[:16])
        self.distance = spaces.choose(numbers[16:], num_contexts)
        normals = jax.random.normal(normal_key, (num_candidates + 2, num_contexts, size))
        self.members, self.centre, self.other = normals[:-2], normals[-2], normals[-1]
        self.context_probs = jax.nn.softmax(0.5 * jax.random.normal(law_key, (num_contexts,)))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Float[Array, ""]:
        """The next scalar, uniform between low and high."""
        return low + (high - low) * next(self._scalars)

    def log_uniform(self, low: float, high: float) -> Float[Array, ""]:
        """The next scalar, log-uniform between low and high."""
        return jnp.exp(self.uniform(float(np.log(low)), float(np.log(high))))

    def below(self, count: int) -> Int[Array, ""]:
        """The next integer, uniform in 0, ..., count - 1."""
        return jnp.minimum((self.uniform() * count).astype(int), count - 1)


def scattered(dice: Dice) -> Float[Array, "K X Y"]:
    """Logits of candidates drawn i.i.d. around a random centre."""
    return 0.7 * dice.centre + dice.members


def on_a_line(dice: Dice) -> Float[Array, "K X Y"]:
    """Logits of candidates spaced evenly on a random segment: a dense class, whose errors shrink as parametric ones do."""
    position = jnp.linspace(-1.5, 1.5, dice.members.shape[0])[:, None, None]
    return 0.7 * dice.centre + position * dice.other


def _assemble(dice: Dice, log_reference, all_users, beta, truth, log_optima=None) -> Instance:
    """Instance of the candidate users (K, X, Y, Y) with the given one as the truth."""
    problem = EditProblem(dice.context_probs, log_reference, all_users[truth], dice.distance, beta)
    cost_class = jnp.sum(all_users * dice.distance, axis=-1)
    if log_optima is None:
        log_optima = cost_classes.tilted(log_reference, cost_class, beta)
    log_optima = log_optima.at[truth].set(problem.log_optimal)
    edited = safe_log(jnp.einsum("xa,kxab->kxb", jnp.exp(log_reference), all_users))
    return Instance(problem, jnp.concatenate([log_optima, edited]), cost_class, truth)


def balanced_backwards(
    key: PRNGKeyArray,
    spaces: Spaces,
    num_contexts: int,
    num_candidates: int,
    *,
    beta: float | Float[Array, ""] | None = None,
    strength: float | Float[Array, ""] | None = None,
    habit: float | Float[Array, ""] | None = None,
    tastes: Callable[[Dice], Float[Array, "K X Y"]] = scattered,
) -> Instance:
    """Balanced users built backwards: optimum, then Metropolis user, then reference; theory.md C.

    `beta` and `strength` are drawn at random unless given: beta log-uniform in [0.08, 0.6]; half of the users strong
    (strength in [0.5, 0.97]), half weak ([0.02, 0.3]). A `habit` afterwards pulls that share of everybody's edits to one
    text for each context, which breaks balance; the optimum is then computed forward from the new costs.
    """
    drawn = _backwards(key, spaces, num_contexts, num_candidates, beta, strength, habit, tastes)
    dice, log_reference, all_users, beta, truth, optima = drawn
    # With a habit the optimum is computed forward from the new costs.
    return _assemble(dice, log_reference, all_users, beta, truth, optima if habit is None else None)


def candidate_users(
    key: PRNGKeyArray,
    spaces: Spaces,
    num_contexts: int,
    num_candidates: int,
    *,
    beta: float | Float[Array, ""] | None = None,
    strength: float | Float[Array, ""] | None = None,
    habit: float | Float[Array, ""] | None = None,
    tastes: Callable[[Dice], Float[Array, "K X Y"]] = scattered,
) -> Float[Array, "K X Y Y"]:
    """The users of all candidates of `balanced_backwards` with the same arguments: what is known of them to nobody who learns."""
    return _backwards(key, spaces, num_contexts, num_candidates, beta, strength, habit, tastes).users


class _Backwards(NamedTuple):
    """What `balanced_backwards` draws."""

    dice: Dice
    log_reference: Float[Array, "X Y"]
    users: Float[Array, "K X Y Y"]
    beta: Float[Array, ""]
    truth: Int[Array, ""]
    optima: Float[Array, "K X Y"]


def _backwards(key, spaces, num_contexts, num_candidates, beta, strength, habit, tastes) -> _Backwards:
    dice = Dice(key, spaces, num_contexts, num_candidates)
    drawn_beta, coin = dice.log_uniform(0.08, 0.6), dice.uniform()
    drawn_strength = jnp.where(coin < 0.5, dice.uniform(0.5, 0.97), dice.uniform(0.02, 0.3))
    beta = drawn_beta if beta is None else jnp.asarray(beta, dtype=float)
    strength = drawn_strength if strength is None else strength
    locality, spread, truth = (
        dice.log_uniform(1.0, 8.0),
        dice.log_uniform(0.5, 1.8),
        dice.below(num_candidates),
    )
    optima = log_normalise(spread * tastes(dice))
    all_users = jax.vmap(lambda optimum: balanced_kernel(optimum, dice.distance, strength, locality))(optima)
    cost = jnp.sum(all_users[truth] * dice.distance, axis=-1)
    log_reference = log_normalise(optima[truth] + cost / beta)
    if habit is not None:
        favoured = jax.nn.one_hot(jnp.argmax(dice.other, axis=-1), dice.other.shape[-1])
        all_users = jax.vmap(lambda user: users.habit(user, favoured, habit))(all_users)
    return _Backwards(dice, log_reference, all_users, beta, truth, optima)


def balanced_sinkhorn(key: PRNGKeyArray, spaces: Spaces, num_contexts: int, num_candidates: int) -> Instance:
    """Balanced users for one given reference: costs drawn i.i.d., each candidate's user found by Sinkhorn scaling.

    The candidates are exchangeable given everything else, the reference included. Costs stay where a user exists.
    """
    dice = Dice(key, spaces, num_contexts, num_candidates)
    distance, size = dice.distance, dice.distance.shape[-1]
    beta, locality, truth = (
        dice.log_uniform(0.05, 0.4),
        dice.log_uniform(0.5, 4.0),
        dice.below(num_candidates),
    )
    log_reference = log_normalise(0.7 * dice.other)
    # Costs between 5% and 35% of the mean distance leave room for the scaling at any local kernel used here.
    level = jnp.sum(distance, axis=(-2, -1), keepdims=True)[..., 0] / (size * (size - 1))
    aimed = level * (0.05 + 0.30 * jax.nn.sigmoid(scattered(dice)))
    optima = cost_classes.tilted(log_reference, aimed, beta)
    all_users, _ = jax.vmap(lambda optimum, cost: sinkhorn_kernel(optimum, cost, distance, locality))(
        optima, aimed
    )
    # Rounding of the scaling goes into the reference, so that balance is exact for the problem as it stands.
    log_reference = log_normalise(optima[truth] + jnp.sum(all_users[truth] * distance, axis=-1) / beta)
    return _assemble(dice, log_reference, all_users, beta, truth, optima)


def unbalanced(key: PRNGKeyArray, spaces: Spaces, num_contexts: int, num_candidates: int) -> Instance:
    """Arbitrary local users with a habit, seen through laziness and slips: balance fails, costs are still realisable."""
    dice_key, users_key = jax.random.split(key)
    dice = Dice(dice_key, spaces, num_contexts, num_candidates)
    distance, truth = dice.distance, dice.below(num_candidates)
    beta, locality = dice.log_uniform(0.08, 0.6), dice.log_uniform(1.0, 8.0)
    habit_share, edit_prob, slip_prob = dice.uniform(0.0, 0.6), dice.uniform(0.3, 1.0), dice.uniform(0.0, 0.3)
    habit_law = jax.nn.softmax(3.0 * dice.other)

    def user(user_key):
        own = users.random_local(user_key, num_contexts, distance, locality, 1.5)
        pulled = users.habit(own, habit_law, habit_share)
        return users.noisy(users.lazy(pulled, edit_prob), distance, slip_prob, locality)

    all_users = jax.vmap(user)(jax.random.split(users_key, num_candidates))
    return _assemble(dice, log_normalise(dice.centre), all_users, beta, truth)


def style_users(key: PRNGKeyArray, spaces: Spaces, num_contexts: int, num_candidates: int) -> Instance:
    """Text users over style switches: each context wants a random setting, each wrong switch is set right by chance.

    Strong (always) or weak (0.4) with equal odds, plus slips, which give the edits full support. Not balanced.
    """
    switches = spaces.switches
    if switches is None:
        raise ValueError("spaces: style users need `switches`, the style settings of the responses")
    dice_key, wanted_key = jax.random.split(key)
    dice = Dice(dice_key, spaces, num_contexts, num_candidates)
    beta, truth = dice.log_uniform(0.05, 0.4), dice.below(num_candidates)
    keep = jnp.where(dice.uniform() < 0.5, 1.0, 0.4)
    slip_prob = dice.uniform(0.02, 0.2)
    wanted = jax.random.bernoulli(wanted_key, 0.6, (num_candidates, num_contexts, switches.shape[-1]))

    def user(want):
        return users.noisy(users.style_editor(switches, want, keep), dice.distance, slip_prob, 4.0)

    all_users = jax.vmap(user)(wanted)
    return _assemble(dice, log_normalise(0.5 * dice.other), all_users, beta, truth)


def families(
    strings: Spaces, texts: Spaces | None, num_contexts: int, num_candidates: int
) -> dict[str, Family]:
    """The declared families by name, over strings and (where given) over variants of real sentences."""
    table = [
        ("strings_balanced", balanced_backwards, strings, True),
        ("strings_sinkhorn", balanced_sinkhorn, strings, True),
        ("strings_unbalanced", unbalanced, strings, False),
    ]
    if texts is not None:
        table += [
            ("text_balanced", balanced_backwards, texts, True),
            ("text_styles", style_users, texts, False),
        ]

    def bind(draw, spaces):
        return lambda key: draw(key, spaces, num_contexts, num_candidates)

    return {name: Family(name, bind(draw, spaces), balanced) for name, draw, spaces, balanced in table}
