"""What a late ensemble meets during deployment: the environments of the online phase (theory.md A).

An environment is an equinox module with `num_policies`, `cost_max` and `draw(key, t) -> Round`. It computes the
cost, never the agent. A round's randomness comes from (seed's key, t) alone: every bandit of a seed sees the same
contexts, and by common random numbers (one uniform inverted through each policy's law of responses, another through
the user's law of edits) the same luck. So a policy x round table of costs exists, and running a bandit is a replay
of it.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32

from edittheory.core.counter_bits import first_word
from edittheory.deploy.ensembles import as_float
from edittheory.problem import EditProblem

Index = Int[Array, ""]


class Round(NamedTuple):
    """One episode, as it would go under each policy.

    context: index below X. costs (K,): realised edit cost had policy k answered. conditional (K,): its expectation
    given the context. marginal (K,): its expectation over contexts too, J_t(pi_k). log_probs (K, K): [a, k] = log
    pi_k(y_a|x), y_a policy a's response.
    """

    context: Index
    costs: Float[Array, " K"]
    conditional: Float[Array, " K"]
    marginal: Float[Array, " K"]
    log_probs: Float[Array, "K K"] | None


class BernoulliArms(eqx.Module):
    """Costs c_max with chance means[k], else 0, one uniform a round for all policies; no contexts.

    The textbook problem.
    """

    means: Float[Array, " K"] = eqx.field(converter=as_float)
    cost_max: Float[Array, ""] = eqx.field(converter=as_float, default=1.0)

    @property
    def num_policies(self) -> int:
        """K."""
        return self.means.shape[-1]

    def draw(self, key: PRNGKeyArray, t: Index) -> Round:
        """Round t of the seed."""
        expected = self.cost_max * self.means
        costs = jnp.where(self.uniform(self.word(key, t)) < self.means, self.cost_max, 0.0)
        return Round(jnp.zeros((), dtype=jnp.int32), costs, expected, expected, None)

    @staticmethod
    def word(key: PRNGKeyArray, t: Index) -> UInt32[Array, ""]:
        """The round's random bits: the folded key is itself a hash of (key, t), its first word comes at half the price."""
        return first_word(key, t)

    @staticmethod
    def uniform(word: UInt32[Array, "*seeds"]) -> Float[Array, "*seeds"]:
        """The uniform of 24 of these bits."""
        return (word >> 8).astype(jnp.float32) * 2.0**-24


class Replay(eqx.Module):
    """A table of costs (T, K) from anywhere (a language model's log, say), played in its order; `contexts` (T,)
    default to 0.

    Expected costs are not known: `conditional` and `marginal` are the realised costs.
    """

    costs: Float[Array, "*batch T K"] = eqx.field(converter=as_float)
    contexts: Int[Array, "*batch T"] = eqx.field(converter=jnp.asarray)
    cost_max: Float[Array, "*batch"] = eqx.field(converter=as_float)

    @property
    def num_policies(self) -> int:
        """K."""
        return self.costs.shape[-1]

    def draw(self, key: PRNGKeyArray, t: Index) -> Round:
        """Row t of the table; the key is not used."""
        row = self.costs[t]
        return Round(self.contexts[t], row, row, row, None)


def replay_table(costs: np.ndarray, cost_max: float, contexts: np.ndarray | None = None) -> Replay:
    """A `Replay` of a checked table.

    ValueError naming the round, the policy and the value where a cost is NaN or outside [0, cost_max].
    """
    table = np.asarray(costs, dtype=float)
    if table.ndim != 2 or table.shape[1] < 1:
        raise ValueError(f"costs: shape {table.shape}, must be (rounds, policies) with at least one policy")
    if table.shape[0] < table.shape[1]:
        raise ValueError(
            f"costs: {table.shape[0]} rounds for {table.shape[1]} policies; needs at least one round for each policy"
        )
    if not 0 < cost_max < np.inf:
        raise ValueError(f"cost_max: got {cost_max}, must be positive and finite")
    bad = np.argwhere(~((table >= 0) & (table <= cost_max)))
    if len(bad):
        t, k = bad[0]
        raise ValueError(f"costs: round {t}, policy {k}: got {table[t, k]}, must lie in [0, {cost_max:g}]")
    contexts = np.zeros(len(table), dtype=int) if contexts is None else np.asarray(contexts)
    if contexts.shape != (len(table),):
        raise ValueError(f"contexts: shape {contexts.shape}, must be ({len(table)},), one for each round")
    return Replay(jnp.asarray(table), jnp.asarray(contexts), jnp.asarray(cost_max, dtype=float))


class Deployment(eqx.Module):
    """K policies answering, users editing: the finite setting, round by round. Make one with `deploy`.

    context_law (X,), answer_law (K, X, Y) and edit_law (P, X, Y, Y) are cumulative; phases (T,) says which of the P
    users edits in round t, orders (T,) which context comes (-1: drawn); both repeat after T rounds. values (P, X,
    K) = E[cost | user, context, policy].
    """

    context_law: Float[Array, "*batch X"]
    context_probs: Float[Array, "*batch X"]
    log_policies: Float[Array, "*batch K X Y"]
    answer_law: Float[Array, "*batch K X Y"]
    edit_law: Float[Array, "*batch P X Y Y"]
    distance: Float[Array, "*batch X Y Y"]
    values: Float[Array, "*batch P X K"]
    phases: Int[Array, "*batch cycle"]
    orders: Int[Array, "*batch cycle2"]
    cost_max: Float[Array, "*batch"]

    @property
    def num_policies(self) -> int:
        """K."""
        return self.log_policies.shape[-3]

    @property
    def policy_values(self) -> Float[Array, "P K"]:
        """J of each policy with each user, over the law of contexts."""
        return jnp.einsum("...x,...pxk->...pk", self.context_probs, self.values)

    def draw(self, key: PRNGKeyArray, t: Index) -> Round:
        """Round t of the seed: three uniforms, for the context, the response and the edit."""
        uniform = jax.random.uniform(jax.random.fold_in(key, t), (3,), dtype=self.context_law.dtype)
        phase = self.phases[t % self.phases.shape[0]]
        order = self.orders[t % self.orders.shape[0]]
        context = jnp.where(order < 0, _invert(self.context_law, uniform[0]), order)
        answers = _invert(self.answer_law[:, context], uniform[1])
        edits = _invert(self.edit_law[phase, context, answers], uniform[2])
        costs = self.distance[context, answers, edits]
        conditional = self.values[phase, context]
        marginal = jnp.where(order < 0, self.context_probs @ self.values[phase], conditional)
        return Round(context, costs, conditional, marginal, self.log_policies[:, context, answers].T)

    def fixed_costs(self, horizon: int) -> Float[Array, " K"]:
        """Expected total cost of each policy played alone over `horizon` rounds; the best fixed arm is its argmin."""
        rounds = jnp.arange(horizon)
        phases, orders = (
            self.phases[rounds % self.phases.shape[0]],
            self.orders[rounds % self.orders.shape[0]],
        )
        marginal = self.policy_values[phases]
        given = self.values[phases, jnp.maximum(orders, 0)]
        return jnp.sum(jnp.where((orders < 0)[:, None], marginal, given), axis=0)


def _invert(cumulative: Float[Array, "*batch Y"], uniform: Float[Array, "..."]) -> Int[Array, "*batch"]:
    """The cell into which `uniform` falls; never one of probability zero."""
    return jnp.sum(cumulative[..., :-1] <= uniform, axis=-1)


def _cumulative(probs: Array) -> Array:
    total = jnp.cumsum(probs, axis=-1)
    return total / total[..., -1:]


def deploy(
    problem: EditProblem,
    log_policies: Float[Array, "K X Y"],
    users: Float[Array, "P X Y Y"] | None = None,
    phases: Int[Array | np.ndarray, " T"] | None = None,
    orders: Int[Array | np.ndarray, " T2"] | None = None,
    check: bool = True,
) -> Deployment:
    """The deployment of K policies on a problem, with its own user or with `users` coming in turn as `phases` says.

    phases (T,): index of the user in each round, `schedules` has the usual ones; orders (T,): contexts in a
    prescribed order instead of i.i.d. draws. Raises ValueError for indices out of range and for policies that are
    not distributions.
    """
    num_x, num_y = problem.log_reference.shape
    log_policies = jnp.asarray(log_policies, dtype=float)
    if log_policies.ndim != 3 or log_policies.shape[0] < 1 or log_policies.shape[1:] != (num_x, num_y):
        raise ValueError(
            f"log_policies: shape {log_policies.shape}, must be (K, {num_x}, {num_y}) with at least one policy"
        )
    law = problem.user[None] if users is None else jnp.asarray(users, dtype=float)
    if law.shape[1:] != (num_x, num_y, num_y):
        raise ValueError(f"users: shape {law.shape}, must be (P, {num_x}, {num_y}, {num_y})")
    for name, rows in (("log_policies", jnp.exp(log_policies)), ("users", law)) if check else ():
        off = np.abs(np.asarray(jnp.sum(rows, axis=-1)) - 1.0)
        if not np.all(off < 1e-6):
            where = tuple(int(i) for i in np.argwhere(~(off < 1e-6))[0])
            raise ValueError(f"{name}: row {where} does not sum to 1 (off by {off[where]:.3g})")
    phases = _indices("phases", phases, law.shape[0] - 1, 0, check)
    orders = _indices("orders", orders, num_x - 1, -1, check)
    distance = jnp.broadcast_to(problem.distance, (num_x, num_y, num_y))
    expected = jnp.sum(law * distance, axis=-1)
    return Deployment(
        _cumulative(problem.context_probs),
        problem.context_probs,
        log_policies,
        _cumulative(jnp.exp(log_policies)),
        _cumulative(law),
        distance,
        jnp.einsum("kxy,pxy->pxk", jnp.exp(log_policies), expected),
        phases,
        orders,
        problem.cost_max,
    )


def _indices(name: str, given: Array | np.ndarray | None, highest: int, lowest: int, check: bool) -> Array:
    """`given` as an integer array with every entry in range; [lowest] where it is None."""
    if given is None:
        return jnp.full(1, lowest)
    if not check:
        return jnp.asarray(given)
    values = np.asarray(given)
    if values.ndim != 1 or len(values) < 1 or not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"{name}: shape {values.shape} of {values.dtype}, must be integers of shape (T,)")
    bad = np.flatnonzero((values < lowest) | (values > highest))
    if len(bad):
        raise ValueError(f"{name}[{bad[0]}]: got {values[bad[0]]}, must lie in [{lowest}, {highest}]")
    return jnp.asarray(values)
