"""The learners of `medley_rivals` on every part of a log: finite classes exactly, log-linear and neural ones by training."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from edittheory.learn import population
from edittheory.learn.cost_models import ridge
from edittheory.learn.objectives import EarlyEnsemble, PairLoss, Preference, Supervised
from edittheory.learn.policies import NeuralPolicy
from edittheory.medley import finite, likelihoods, linear
from edittheory.medley.candidates import medley_over_candidates
from edittheory.problem import EditDataset, EditProblem, cost_classes

from . import worlds
from .medley_rival_rules import Tallies, parts

EVERY = 5
"""One in EVERY examples of a part is kept from the fit of a trained policy, to stop it early."""


def of_finite_class(instance, tallies: Tallies, losses, scales, supervised_weight: float, delta: float):
    """{plain learner: (M, S, X, Y)}, {loss: one for each scale}, plug-in costs (M, S, X, Y), exactly, on all parts of a log."""
    problem, members = instance.problem, instance.log_class
    reference, costs = problem.log_reference, instance.cost_class
    seen = tallies.of(jnp.asarray(parts(tallies.pairs.shape[1])))
    total = jnp.sum(seen.pairs, axis=(2, 3, 4))[..., None]

    def mean(table):
        flat = seen.pairs.reshape(*seen.pairs.shape[:2], -1)
        return jnp.einsum("msc,kc->msk", flat, table.reshape(len(members), -1)) / total

    def of_pairs(name, scale):
        return mean(jax.vmap(lambda pi: population.pair_table(name, pi, reference, scale))(members))

    num_y = members.shape[-1]
    labels = mean(jnp.broadcast_to(-members[:, :, None, :], (*members.shape, num_y)))
    directions = of_pairs("sigmoid", 1.0)
    chosen = {"SUP": labels, "PREF": directions, "Early": directions + supervised_weight * labels}
    plain = {name: members[jnp.argmin(loss, axis=-1)] for name, loss in chosen.items()}
    times = jnp.sum(seen.pairs, axis=-1)
    squares = jnp.einsum("msxy,fxy->msf", times, costs**2) - 2.0 * jnp.einsum(
        "msxy,fxy->msf", seen.cost_sum, costs
    )
    fitted = costs[jnp.argmin(squares, axis=-1)]
    apart = jnp.einsum("msxy,msfxy->msf", times, (costs - fitted[:, :, None]) ** 2)
    inside = apart <= cost_classes.confidence_radius(problem.cost_max, len(costs), delta)
    high = jnp.max(jnp.where(inside[..., None, None], costs, -jnp.inf), axis=2)
    plain["RL"] = cost_classes.tilted(reference, high, problem.beta)
    plain["RL plug-in"] = cost_classes.tilted(reference, fitted, problem.beta)
    tuned = {
        name: [members[jnp.argmin(of_pairs(name, scale), axis=-1)] for scale in scales] for name in losses
    }
    return plain, tuned, fitted


def finite_medley(instance, tallies: Tallies):
    """The medley on everything, (M, X, Y)."""
    problem = instance.problem
    whole = tallies.of(jnp.ones((1, tallies.pairs.shape[1])))
    counts = likelihoods.Counts(*(leaf[:, 0] for leaf in whole))
    found = finite.posterior(
        instance.cost_class, problem.log_reference, counts, problem.beta, problem.cost_max, finite.DEFAULT
    )
    mean = jnp.einsum("mf,fxy->mxy", found.weights, instance.cost_class)
    return cost_classes.tilted(problem.log_reference, mean, problem.beta)


# -- trained classes -----------------------------------------------------------------------------------------------------


def part_weights(sizes, folds: int):
    """Weights (M, S, N) of each interaction in each part's fit, early stopping, and both."""
    most = max(sizes)
    place = np.arange(most)
    inside = (place[None] < np.asarray(sizes)[:, None])[:, None] * parts(folds)[:, place % folds][None]
    # The running number within the part, so that every part stops early on the same share.
    kept = (np.cumsum(inside, axis=-1) % EVERY == 0) & (inside > 0)
    return inside * ~kept, inside * kept, inside


@eqx.filter_jit
def logs_of(drawn: worlds.World, data: EditDataset, weights, delta):
    """`worlds.Logs` (T, P, ...) of P parts of each log: weights (..., N) of the fit, of early stopping, and of both."""
    fit, held, whole = (jnp.asarray(each).reshape(-1, each.shape[-1]) for each in weights)

    def one(world, data):
        problem = world.problem
        num_x, num_y = problem.num_contexts, problem.num_responses
        cell = (data.contexts * num_y + data.responses) * num_y + data.edits
        empty = jnp.zeros(num_x * num_y * num_y)
        indicator = jnp.broadcast_to(jnp.eye(num_x)[:, None, :], (num_x, num_y, num_x))
        psi = jnp.concatenate([world.features, indicator], axis=-1)
        truth = jnp.linalg.lstsq(psi.reshape(-1, psi.shape[-1]), problem.expected_cost.reshape(-1))[0]
        scale = jnp.sqrt(problem.cost_max**2 + 4.0 * world.noise**2)

        def at(fit, held, whole):
            found = ridge(psi, data, worlds.REGULARISATION, whole)
            centre = found.predict()
            bonus = found.radius(scale, jnp.linalg.norm(truth), delta) * found.width()
            clipped = [jnp.clip(each, 0.0, problem.cost_max) for each in (centre, centre + bonus)]
            return empty.at[cell].add(fit), empty.at[cell].add(held), *clipped

        return jax.lax.map(lambda three: at(*three), (fit, held, whole))

    return worlds.Logs(*jax.vmap(one)(drawn, data))


def of_trained_class(drawn, data: EditDataset, sizes, folds, neural: int, losses, scales, weight, delta, key):
    """As `of_finite_class` with a leading axis T of worlds; log-linear policies, or networks of `neural` units where that is > 0."""
    logs = logs_of(drawn, data, part_weights(sizes, folds), delta)
    shape = (logs.counts.shape[0], len(sizes), folds + 2, *drawn.problem.log_reference.shape[1:])
    model: Any = (
        NeuralPolicy(drawn.features, drawn.problem.log_reference, width=neural, depth=1) if neural else None
    )
    keys = jax.random.split(key, 3 + len(losses))

    def fitted(objective, own):
        return worlds.fit(drawn, logs, objective, own, model).reshape(shape)

    plain = {
        "SUP": fitted(Supervised(), keys[0]),
        "PREF": fitted(Preference(), keys[1]),
        "Early": fitted(EarlyEnsemble(jnp.asarray(weight)), keys[2]),
    }
    plain |= {name: each.reshape(shape) for name, each in worlds.ridge_policies(drawn, logs).items()}
    tuned = {
        name: [fitted(PairLoss(name, scale), keys[3 + place]) for scale in scales]
        for place, name in enumerate(losses)
    }
    return plain, tuned, logs.plug_in.reshape(shape)


def linear_medley(world: worlds.World, tallies: Tallies, config: linear.LinearMedley):
    """The log-linear medley on everything, (M, X, Y)."""
    whole = tallies.of(jnp.ones((1, tallies.pairs.shape[1])))
    counts = likelihoods.Counts(*(leaf[:, 0] for leaf in whole))
    problem: EditProblem = world.problem

    def one(each):
        return linear.fit(
            world.features, problem.log_reference, each, problem.beta, problem.cost_max, config
        ).log_policy

    return jax.vmap(one)(counts)


def candidate_medley(problem: EditProblem, tables, data: EditDataset, n: int):
    """The medley over candidates (K, X, Y) from the first n interactions: the recommended one."""
    x, y, edit = (leaf[:n] for leaf in (data.contexts, data.responses, data.edits))
    reference = problem.log_reference
    laws = jnp.exp(tables)
    apart = jnp.einsum("x,kxy,kvxy->kv", problem.context_probs, laws, tables[:, None] - tables[None])
    found = medley_over_candidates(
        tables[:, x, edit], tables[:, x, y], reference[x, edit], reference[x, y], data.costs[:n],
        problem.beta, problem.cost_max, contexts=x, num_contexts=problem.num_contexts, divergences=apart,
    )  # fmt: skip
    return tables[found.best]
