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

from edittheory import costs, users
from edittheory.kernels import balanced_kernel, sinkhorn_kernel
from edittheory.logspace import log_normalise, safe_log
from edittheory.problem import EditProblem


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

    distances: Float[Array, "bank Y Y"]
    switches: np.ndarray | None = None

    def choose(self, key: PRNGKeyArray, num_contexts: int) -> Float[Array, "X Y Y"]:
        """One matrix for each context, without repetition where the bank allows."""
        bank = self.distances.shape[0]
        chosen = jax.random.choice(key, bank, (num_contexts,), replace=bank < num_contexts)
        return jnp.asarray(self.distances)[chosen]


def _log_uniform(key, low: float, high: float):
    return jnp.exp(jax.random.uniform(key, (), minval=jnp.log(low), maxval=jnp.log(high)))


def scattered(
    key: PRNGKeyArray, num_candidates: int, num_contexts: int, num_responses: int
) -> Float[Array, "K X Y"]:
    """Logits of candidates drawn i.i.d. around a random centre."""
    centre_key, member_key = jax.random.split(key)
    centre = jax.random.normal(centre_key, (num_contexts, num_responses))
    return 0.7 * centre + jax.random.normal(member_key, (num_candidates, num_contexts, num_responses))


def on_a_line(
    key: PRNGKeyArray, num_candidates: int, num_contexts: int, num_responses: int
) -> Float[Array, "K X Y"]:
    """Logits of candidates spaced evenly on a random line segment: a dense class, in which errors shrink as in a parametric one."""
    centre_key, direction_key = jax.random.split(key)
    centre = 0.7 * jax.random.normal(centre_key, (num_contexts, num_responses))
    direction = jax.random.normal(direction_key, (num_contexts, num_responses))
    return centre + jnp.linspace(-1.5, 1.5, num_candidates)[:, None, None] * direction


def _context_law(key, num_contexts: int):
    return jax.nn.softmax(0.5 * jax.random.normal(key, (num_contexts,)))


def _assemble(probs, log_reference, all_users, distance, beta, truth, log_optima=None) -> Instance:
    """Instance of the candidate users (K, X, Y, Y) with the given one as the truth."""
    problem = EditProblem(probs, log_reference, all_users[truth], distance, beta)
    cost_class = jnp.sum(all_users * distance, axis=-1)
    if log_optima is None:
        log_optima = costs.tilted(log_reference, cost_class, beta)
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
    habit: float | Float[Array, ""] = 0.0,
    tastes: Callable[..., Float[Array, "K X Y"]] = scattered,
) -> Instance:
    """Balanced users built backwards: optimum, then Metropolis user, then reference; theory.md C.

    `beta` and `strength` are drawn at random unless given: beta log-uniform in [0.08, 0.6]; half of the users strong
    (strength in [0.5, 0.97]), half weak ([0.02, 0.3]). A positive `habit` afterwards pulls that share of everybody's edits
    to one text for each context, which breaks balance; the optimum is then computed forward from the new costs.
    """
    keys = jax.random.split(key, 8)
    distance = spaces.choose(keys[0], num_contexts)
    size = distance.shape[-1]
    beta = _log_uniform(keys[1], 0.08, 0.6) if beta is None else jnp.asarray(beta, dtype=float)
    if strength is None:
        strong = jax.random.uniform(keys[4], (), minval=0.5, maxval=0.97)
        weak = jax.random.uniform(keys[4], (), minval=0.02, maxval=0.3)
        strength = jnp.where(jax.random.bernoulli(keys[3]), strong, weak)
    locality = _log_uniform(keys[5], 1.0, 8.0)
    taste_key, spread_key = jax.random.split(keys[6])
    spread = _log_uniform(spread_key, 0.5, 1.8)
    optima = log_normalise(spread * tastes(taste_key, num_candidates, num_contexts, size))
    all_users = jax.vmap(lambda optimum: balanced_kernel(optimum, distance, strength, locality))(optima)
    truth_key, probs_key = jax.random.split(keys[7])
    truth = jax.random.randint(truth_key, (), 0, num_candidates)
    cost = jnp.sum(all_users[truth] * distance, axis=-1)
    log_reference = log_normalise(optima[truth] + cost / beta)
    probs = _context_law(probs_key, num_contexts)
    if isinstance(habit, float) and habit == 0.0:
        return _assemble(probs, log_reference, all_users, distance, beta, truth, optima)
    favoured = jax.random.randint(keys[2], (num_contexts,), 0, size)
    pulled = jax.vmap(lambda user: users.habit(user, jax.nn.one_hot(favoured, size), habit))(all_users)
    return _assemble(probs, log_reference, pulled, distance, beta, truth)


def balanced_sinkhorn(key: PRNGKeyArray, spaces: Spaces, num_contexts: int, num_candidates: int) -> Instance:
    """Balanced users for one given reference: costs drawn i.i.d., each candidate's user found by Sinkhorn scaling.

    The candidates are exchangeable given everything else, the reference included. Costs stay where a user exists.
    """
    keys = jax.random.split(key, 7)
    distance = spaces.choose(keys[0], num_contexts)
    size = distance.shape[-1]
    beta = _log_uniform(keys[1], 0.05, 0.4)
    log_reference = log_normalise(0.7 * jax.random.normal(keys[2], (num_contexts, size)))
    centre_key, member_key = jax.random.split(keys[3])
    # Costs between 5% and 35% of the mean distance leave room for the scaling at any local kernel used here.
    centre = jax.random.normal(centre_key, (num_contexts, size))
    raw = 0.7 * centre + jax.random.normal(member_key, (num_candidates, num_contexts, size))
    level = jnp.sum(distance, axis=(-2, -1), keepdims=True)[..., 0] / (size * (size - 1))
    aimed = level * (0.05 + 0.30 * jax.nn.sigmoid(raw))
    locality = _log_uniform(keys[4], 0.5, 4.0)
    optima = costs.tilted(log_reference, aimed, beta)
    all_users, _ = jax.vmap(lambda optimum, cost: sinkhorn_kernel(optimum, cost, distance, locality))(
        optima, aimed
    )
    truth = jax.random.randint(keys[5], (), 0, num_candidates)
    # Rounding of the scaling goes into the reference, so that balance is exact for the problem as it stands.
    log_reference = log_normalise(optima[truth] + jnp.sum(all_users[truth] * distance, axis=-1) / beta)
    return _assemble(
        _context_law(keys[6], num_contexts), log_reference, all_users, distance, beta, truth, optima
    )


def unbalanced(key: PRNGKeyArray, spaces: Spaces, num_contexts: int, num_candidates: int) -> Instance:
    """Arbitrary local users with a habit, seen through laziness and slips: balance fails, costs are still realisable."""
    keys = jax.random.split(key, 10)
    distance = spaces.choose(keys[0], num_contexts)
    size = distance.shape[-1]
    beta, locality = _log_uniform(keys[1], 0.08, 0.6), _log_uniform(keys[2], 1.0, 8.0)
    habit_share = jax.random.uniform(keys[3], (), maxval=0.6)
    edit_prob = jax.random.uniform(keys[4], (), minval=0.3, maxval=1.0)
    slip_prob = jax.random.uniform(keys[5], (), maxval=0.3)
    habit_law = jax.nn.softmax(3.0 * jax.random.normal(keys[6], (num_contexts, size)))

    def user(user_key):
        own = users.random_local(user_key, num_contexts, distance, locality, 1.5)
        pulled = users.habit(own, habit_law, habit_share)
        return users.noisy(users.lazy(pulled, edit_prob), distance, slip_prob, locality)

    all_users = jax.vmap(user)(jax.random.split(keys[7], num_candidates))
    log_reference = log_normalise(jax.random.normal(keys[8], (num_contexts, size)))
    truth_key, probs_key = jax.random.split(keys[9])
    truth = jax.random.randint(truth_key, (), 0, num_candidates)
    return _assemble(_context_law(probs_key, num_contexts), log_reference, all_users, distance, beta, truth)


def style_users(key: PRNGKeyArray, spaces: Spaces, num_contexts: int, num_candidates: int) -> Instance:
    """Text users over style switches: each context wants a random setting, each wrong switch is set right by chance.

    Strong (always) or weak (0.4) with equal odds, plus slips, which give the edits full support. Not balanced.
    """
    if spaces.switches is None:
        raise ValueError("spaces: style users need `switches`, the style settings of the responses")
    keys = jax.random.split(key, 8)
    distance = spaces.choose(keys[0], num_contexts)
    size, num_switches = spaces.switches.shape
    beta = _log_uniform(keys[1], 0.05, 0.4)
    keep = jnp.where(jax.random.bernoulli(keys[2]), 1.0, 0.4)
    slip_prob = jax.random.uniform(keys[3], (), minval=0.02, maxval=0.2)
    wanted = jax.random.bernoulli(keys[4], 0.6, (num_candidates, num_contexts, num_switches))

    def user(want):
        return users.noisy(users.style_editor(spaces.switches, want, keep), distance, slip_prob, 4.0)

    all_users = jax.vmap(user)(wanted)
    log_reference = log_normalise(0.5 * jax.random.normal(keys[5], (num_contexts, size)))
    truth = jax.random.randint(keys[6], (), 0, num_candidates)
    return _assemble(_context_law(keys[7], num_contexts), log_reference, all_users, distance, beta, truth)


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
