"""Pure online learning, without a log to start from: iterated edit-MLE (theory.md B5) and its rivals.

Learning goes in epochs. A learner answers a whole epoch with one policy and then sees the epoch's counts of
(context, response, edit), which are sufficient for every learner here. Regret is exact: an epoch of n rounds under
pi costs n SubOpt(pi).
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from edittheory.bounds import REALISABLE
from edittheory.core.logspace import total_variation
from edittheory.deploy.ensembles import Scalar, as_float
from edittheory.learn import losses
from edittheory.problem import EditProblem, cost_classes

Policy = Float[Array, "X Y"]
Class = Float[Array, "K X Y"]
Counts = Float[Array, "X Y Y"]


class IteratedMLE(eqx.Module):
    """B5: play pi_m for an epoch, then pi_{m+1} is the member under which that epoch's edits are likeliest.

    Starts at the reference.
    """

    log_class: Class
    log_reference: Policy

    def init(self) -> Policy:
        """The state is the policy to play: the reference."""
        return self.log_reference

    def policy(self, state: Policy) -> Policy:
        """The policy to play."""
        return state

    def update(self, state: Policy, counts: Counts) -> Policy:
        """The member with the largest likelihood of the epoch's edits (ties to the first)."""
        edits = jnp.sum(counts, axis=-2)
        fit = jnp.sum(jnp.where(edits > 0, edits * self.log_class, 0.0), axis=(-2, -1))
        return self.log_class[jnp.argmax(fit)]


class PreferenceState(NamedTuple):
    """Total loss of each member over the growing log, and the policy to play."""

    losses: Float[Array, " K"]
    log_policy: Policy


class OnlinePreference(eqx.Module):
    """Online DPO on the growing log: the member of least total preference loss over all epochs.

    Under balance P(edit b beats response a) = sigmoid(log pi*/behaviour (b) - log pi*/behaviour (a)), where
    `behaviour` is the policy that answered, not the reference. `calibrated` uses it; without, the loss keeps the
    reference as the paper's offline loss does, which is wrong as soon as the behaviour is not the reference.
    """

    log_class: Class
    log_reference: Policy
    calibrated: bool = eqx.field(static=True, default=True)

    def init(self) -> PreferenceState:
        """No losses; play the reference."""
        return PreferenceState(jnp.zeros(self.log_class.shape[0]), self.log_reference)

    def policy(self, state: PreferenceState) -> Policy:
        """The policy to play."""
        return state.log_policy

    def update(self, state: PreferenceState, counts: Counts) -> PreferenceState:
        """Add the epoch's loss."""
        anchor = state.log_policy if self.calibrated else self.log_reference
        table = losses.preference(
            self.log_class[:, :, None, :],
            self.log_class[:, :, :, None],
            anchor[:, None, :],
            anchor[:, :, None],
        )
        total = state.losses + jnp.sum(jnp.where(counts > 0, counts * table, 0.0), axis=(-3, -2, -1))
        return PreferenceState(total, self.log_class[jnp.argmin(total)])


class CostState(NamedTuple):
    """Visits and total cost of each (context, response)."""

    visits: Policy
    totals: Policy


class OnlineCost(eqx.Module):
    """Least squares on all costs so far; play reference * exp(-f / beta).

    radius 0: greedy, f the fitted cost. radius > 0: optimistic, f the least cost of the confidence set
    {f : sum (f - f_hat)^2 <= radius} at each point; `costs.confidence_radius` is valid after any one epoch.
    """

    cost_class: Float[Array, "F X Y"]
    distance: Float[Array, "..."]
    log_reference: Policy
    beta: Scalar = eqx.field(converter=as_float)
    radius: Scalar = eqx.field(converter=as_float, default=0.0)

    def init(self) -> CostState:
        """No visits."""
        zeros = jnp.zeros_like(self.log_reference)
        return CostState(zeros, zeros)

    def policy(self, state: CostState) -> Policy:
        """The tilted reference; the reference itself before the first epoch."""
        errors = jnp.sum(
            self.cost_class**2 * state.visits - 2.0 * self.cost_class * state.totals, axis=(-2, -1)
        )
        fitted = self.cost_class[jnp.argmin(errors)]
        away = jnp.sum(state.visits * (self.cost_class - fitted) ** 2, axis=(-2, -1))
        belief = jnp.min(jnp.where((away <= self.radius)[:, None, None], self.cost_class, jnp.inf), axis=0)
        started = jnp.sum(state.visits) > 0
        return jnp.where(
            started, cost_classes.tilted(self.log_reference, belief, self.beta), self.log_reference
        )

    def update(self, state: CostState, counts: Counts) -> CostState:
        """Add the epoch's visits and costs."""
        return CostState(
            state.visits + jnp.sum(counts, axis=-1), state.totals + jnp.sum(counts * self.distance, axis=-1)
        )


class OnlineRun(NamedTuple):
    """Per seed and epoch (S, M): SubOpt of the policy played, and regret summed to the end of the epoch.

    policies (S, M, X, Y).
    """

    suboptimality: Float[Array, "*seeds M"]
    regret: Float[Array, "*seeds M"]
    policies: Float[Array, "*seeds M X Y"]


BLOCK = 512
"""Rounds drawn at a time within an epoch; the last block of an epoch is cut by a mask."""


def _cells(problem: EditProblem, log_policy: Policy, uniform: Float[Array, "n 3"]) -> Int[Array, " n"]:
    """Flat (context, response, edit) index of each round, from three uniforms: the same luck for every learner."""

    def law(probs):
        total = jnp.cumsum(probs, axis=-1)
        return total[..., :-1] / total[..., -1:]

    x = jnp.sum(law(problem.context_probs) <= uniform[:, :1], axis=-1)
    y = jnp.sum(law(jnp.exp(log_policy))[x] <= uniform[:, 1:2], axis=-1)
    edit = jnp.sum(law(problem.user)[x, y] <= uniform[:, 2:], axis=-1)
    return (x * problem.num_responses + y) * problem.num_responses + edit


@eqx.filter_jit
def run_epochs(
    learner,
    problem: EditProblem,
    key: PRNGKeyArray,
    num_seeds: int,
    lengths: Int[Array, " M"],
    width: int = 64,
) -> OnlineRun:
    """Play epochs of the given lengths for each seed, `width` seeds at a time (it changes no number).

    The uniforms of (seed, epoch, block) do not depend on the learner.
    """

    def one_seed(seed):
        own = jax.random.fold_in(key, seed)

        def epoch(state, now):
            index, length = now
            log_policy = learner.policy(state)

            def block(b, cells):
                rounds = b * BLOCK + jnp.arange(BLOCK)
                luck = jax.random.fold_in(jax.random.fold_in(own, index), b)
                uniform = jax.random.uniform(luck, (BLOCK, 3), dtype=log_policy.dtype)
                return cells.at[_cells(problem, log_policy, uniform)].add(
                    jnp.where(rounds < length, 1.0, 0.0)
                )

            cells = jax.lax.fori_loop(0, -(-length // BLOCK), block, jnp.zeros(problem.user.size))
            return learner.update(state, cells.reshape(problem.user.shape)), log_policy

        _, policies = jax.lax.scan(epoch, learner.init(), (jnp.arange(lengths.shape[0]), lengths))
        gaps = problem.suboptimality(policies)
        return OnlineRun(gaps, jnp.cumsum(gaps * lengths), policies)

    return jax.lax.map(one_seed, jnp.arange(num_seeds), batch_size=min(width, num_seeds))


def closed_class(
    problem: EditProblem, starts: Float[Array, "C X Y"], tolerance: float = REALISABLE, most: int = 2000
) -> Class:
    """A class that contains q o pi for each of its members: the orbits of `starts` and the reference under the
    user, and pi*.

    B5's assumption. Under balance every orbit converges to pi*; each is followed until within `tolerance` of it in
    every context. Raises ValueError if an orbit has more than `most` members: the user is too weak, or not
    balanced. All members lead to pi*: such a class makes learning easy, and an experiment that compares learners
    should not use it alone.
    """
    optimal = problem.log_optimal
    distance = eqx.filter_jit(lambda policy: jnp.max(total_variation(policy, optimal)))
    edit = eqx.filter_jit(problem.edited)
    members = [optimal[None]]
    for index, start in enumerate([problem.log_reference, *jnp.asarray(starts)]):
        orbit: list[Policy] = []
        policy = start
        while float(distance(policy)) > tolerance:
            if len(orbit) == most:
                where = "the reference" if index == 0 else f"starts[{index - 1}]"
                raise ValueError(
                    f"the orbit of {where} is not within {tolerance:g} of the optimum after {most} edits: "
                    "is the user balanced, and not too weak?"
                )
            orbit.append(policy)
            policy = edit(policy)
        members += [jnp.stack(orbit)] if orbit else []
    return jnp.concatenate(members)


def is_closed(
    problem: EditProblem, log_class: Class, tolerance: float = 10 * REALISABLE
) -> Bool[Array, " K"]:
    """For each member, whether q o pi is in the class up to `tolerance` of expected total variation.

    B5 needs it of what is played.
    """
    edited = problem.edited(log_class)
    nearest = jax.lax.map(lambda one: jnp.min(problem.total_variation(log_class, one)), edited)
    return nearest <= tolerance
