"""Rules that choose among or mix learned policies by logged costs: cross-validation and M4's mixture; for `medley_rivals`.

A log is kept as `Tallies`: what each of V folds (interaction i is in fold i mod V) holds of the first n interactions, for M sizes n.
Every learner is fitted on the same S = V + 2 `parts` of it: all but one fold, V times; everything; all but the first half of the folds.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from edittheory.core.logspace import kl
from edittheory.medley import aggregate
from edittheory.problem import EditDataset, EditProblem

Policies = Float[Array, "M S X Y"]
MIXING_STEPS = 200


class Tallies(NamedTuple):
    """pairs (M, V, X, Y, Y): how often y became y'; cost_sum, cost_squares (M, V, X, Y): of the costs paid for each response."""

    pairs: Float[Array, "M V X Y Y"]
    cost_sum: Float[Array, "M V X Y"]
    cost_squares: Float[Array, "M V X Y"]

    def of(self, parts: Float[Array, "S V"]) -> "Tallies":
        """The same of each part, with S in the place of V."""
        return jax.tree.map(lambda leaf: jnp.einsum("sv,mv...->ms...", parts, leaf), self)


def tally(
    data: EditDataset, sizes: Int[Array, " M"], folds: int, num_contexts: int, num_responses: int
) -> Tallies:
    """Tallies of the first n interactions for each n of `sizes` (ascending)."""
    place = jnp.arange(data.size)
    first, fold = jnp.searchsorted(sizes, place, side="right"), place % folds
    cell = data.contexts * num_responses + data.responses

    def added(index, values, length):
        table = jnp.zeros((len(sizes), folds, length)).at[first, fold, index].add(values, mode="drop")
        return jnp.cumsum(table, axis=0)

    size, shape = num_contexts * num_responses, (len(sizes), folds, num_contexts, num_responses)
    pairs = added(cell * num_responses + data.edits, 1.0, size * num_responses)
    sums, squares = added(cell, data.costs, size), added(cell, data.costs**2, size)
    return Tallies(pairs.reshape(*shape, num_responses), sums.reshape(shape), squares.reshape(shape))


def parts(folds: int) -> Float[np.ndarray, "S V"]:
    """Which folds each part holds: all but the v-th, for each v; everything; all but the first half."""
    half = (np.arange(folds) >= folds // 2).astype(float)
    return np.concatenate([1.0 - np.eye(folds), np.ones((1, folds)), half[None]])


def replayed(
    problem: EditProblem,
    policies: Float[Array, "... X Y"],
    tallies: Tallies,
    baseline: Float[Array, "... X Y"],
) -> Float[Array, " ..."]:
    """Unbiased estimates of J_beta from held-out costs, importance-weighted; what `baseline` gets right is no longer noise.

    tallies: with leading axes that broadcast against those of the policies. As `aggregate.held_out_risks`, from sums.
    """
    times = jnp.sum(tallies.pairs, axis=-1)
    known = jnp.sum(jnp.exp(policies) * baseline, axis=-1) + problem.beta * kl(
        policies, problem.log_reference
    )
    moved = jnp.exp(policies - problem.log_reference) * (tallies.cost_sum - baseline * times)
    return known @ problem.context_probs + jnp.sum(moved, axis=(-2, -1)) / jnp.sum(times, axis=(-2, -1))


def scores(
    problem: EditProblem, policies: Policies, tallies: Tallies, fitted: Policies | None
) -> Float[Array, " M"]:
    """Cross-validated J_beta of one learner; `fitted`: the plug-in costs of each part as baseline (doubly robust), else none."""
    folds = tallies.pairs.shape[1]
    baseline = jnp.zeros_like(policies) if fitted is None else fitted
    return jnp.mean(replayed(problem, policies[:, :folds], tallies, baseline[:, :folds]), axis=1)


def pick(
    policies: Sequence[Policies], values: Sequence[Float[Array, " M"]], folds: int
) -> Float[Array, "M X Y"]:
    """The learner of least score at each size, fitted on everything."""
    best = jnp.argmin(jnp.stack(values), axis=0)
    everything = jnp.stack([policy[:, folds] for policy in policies])
    return everything[best, jnp.arange(best.shape[0])]


def mixed(
    problem: EditProblem,
    policies: Sequence[Policies],
    fitted: Policies,
    tallies: Tallies,
    part: int,
    held: Array,
) -> Float[Array, "M X Y"]:
    """M4's mixture of the learners as fitted on `part`, weighed by the folds that `held` (V,) marks."""
    own = tallies.of(held[None])
    tables = jnp.stack([policy[:, part] for policy in policies], axis=1)
    seen = jax.tree.map(lambda leaf: leaf[:, :1], own)
    risks = replayed(problem, tables, seen, fitted[:, part][:, None])

    def one(table, risk):
        return aggregate.aggregate(
            table, problem.log_reference, risk, problem.context_probs, problem.beta, MIXING_STEPS
        ).log_policy

    return jax.vmap(one)(tables, risks)


def rivals(
    problem: EditProblem,
    plain: Mapping[str, Policies],
    tuned: Mapping[str, Sequence[Policies]],
    fitted: Policies,
    tallies: Tallies,
) -> dict[str, Float[Array, "M X Y"]]:
    """What each rule plays. plain: the plain learners; tuned: those of each preference loss, one for each scale; fitted: plug-in costs."""
    folds = tallies.pairs.shape[1]
    own = {name: scores(problem, policy, tallies, None) for name, policy in plain.items()}
    robust = [scores(problem, policy, tallies, fitted) for policy in plain.values()]
    by_loss = {
        name: [scores(problem, policy, tallies, None) for policy in each] for name, each in tuned.items()
    }
    players = list(plain.values())
    found = {
        "CV": pick(players, list(own.values()), folds),
        "CV, doubly robust": pick(players, robust, folds),
        "CV, all losses": pick(
            [*players, *(policy for each in tuned.values() for policy in each)],
            [*own.values(), *(value for each in by_loss.values() for value in each)],
            folds,
        ),
    }
    found |= {name: pick(each, by_loss[name], folds) for name, each in tuned.items()}
    first = jnp.arange(folds)
    found["M4, a quarter held out"] = mixed(problem, players, fitted, tallies, 0, (first == 0) * 1.0)
    found["M4, half held out"] = mixed(
        problem, players, fitted, tallies, folds + 1, (first < folds // 2) * 1.0
    )
    found["M4, no split"] = mixed(problem, players, fitted, tallies, folds, jnp.ones(folds))
    return found
