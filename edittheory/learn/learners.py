"""The learners on finite classes, exactly: SUP, PREF (DPO), EarlyEnsemble, and RL with pessimistic or plug-in costs.

Each minimises a loss of `losses` over a class of log-probabilities (K, X, Y) by looking at every member, and can be
jitted and vmapped over data sets, problems and parameters. Exact ties go to the first member; members whose losses are
equal up to rounding (a class that lists one policy twice, say) may come in either order.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from edittheory.core.shapes import shaped
from edittheory.learn import class_losses, losses, population
from edittheory.learn.class_losses import Class, Policy
from edittheory.problem import EditDataset, EditProblem, cost_classes
from edittheory.problem.random_problems import Instance


@shaped
def supervised(log_class: Class, data: EditDataset) -> Int[Array, ""]:
    """SUP: index of the member with the largest likelihood of the edits; theory.md A."""
    return jnp.argmin(class_losses.supervised(log_class, data))


@shaped
def preference(
    log_class: Class, log_reference: Policy, data: EditDataset, scale: float | Float[Array, ""] = 1.0
) -> Int[Array, ""]:
    """PREF (DPO) with coefficient `scale`: index of the member under which edits beat responses most; theory.md A, B2."""
    return jnp.argmin(class_losses.preference(log_class, log_reference, data, scale))


@shaped
def population_preference(
    log_class: Class, problem: EditProblem, scale: float | Float[Array, ""] = 1.0
) -> Int[Array, ""]:
    """PREF on infinitely many edits: index of the least expected preference loss under the problem's own law of pairs."""
    law = problem.context_probs[:, None, None] * problem.pair_law()
    return jnp.argmin(population.preference_under(log_class, problem.log_reference, law[None], scale)[0])


@shaped
def early_ensemble(
    log_class: Class,
    log_reference: Policy,
    data: EditDataset,
    supervised_weight: float | Float[Array, ""],
    scale: float | Float[Array, ""] = 1.0,
) -> Int[Array, ""]:
    """EarlyEnsemble: index of the minimiser of preference + supervised_weight * supervised loss; theory.md A."""
    preferring = class_losses.preference(log_class, log_reference, data, scale)
    return jnp.argmin(
        preferring + losses.weighted(class_losses.supervised(log_class, data), supervised_weight)
    )


@shaped
def by_pair_loss(
    name: str,
    log_class: Class,
    log_reference: Policy,
    data: EditDataset,
    scale: float | Float[Array, ""] = 1.0,
    option: float | Float[Array, ""] | None = None,
    supervised_weight: float | Float[Array, ""] = 0.0,
) -> Int[Array, ""]:
    """Index of the minimiser of any loss of `PREFERENCE_LOSSES` (docs/losses.md) + supervised_weight * supervised loss."""
    preferring = class_losses.pair_loss(name, log_class, log_reference, data, scale, option)
    return jnp.argmin(
        preferring + losses.weighted(class_losses.supervised(log_class, data), supervised_weight)
    )


@shaped
def pessimistic_cost(
    cost_class: Float[Array, "F X Y"],
    log_reference: Policy,
    data: EditDataset,
    beta: float | Float[Array, ""],
    radius: float | Float[Array, ""],
) -> Policy:
    """RL: log-probabilities of reference * exp(-f_bar / beta), f_bar the largest cost of the confidence set; theory.md B3.

    `radius` is the squared radius of the set (`costs.confidence_radius`); 0 leaves least squares alone.
    """
    members = cost_classes.confidence_set(cost_class, data, radius)
    return cost_classes.tilted(log_reference, cost_classes.pessimistic(cost_class, members), beta)


@shaped
def plug_in_cost(
    cost_class: Float[Array, "F X Y"],
    log_reference: Policy,
    data: EditDataset,
    beta: float | Float[Array, ""],
) -> Policy:
    """RL without pessimism: reference * exp(-f_hat / beta) with the least-squares cost f_hat."""
    return cost_classes.tilted(log_reference, cost_class[cost_classes.least_squares(cost_class, data)], beta)


@shaped
def cost_in_class(
    log_class: Class,
    log_reference: Policy,
    cost: Policy,
    beta: float | Float[Array, ""],
    context_probs: Float[Array, " X"],
) -> Int[Array, ""]:
    """RL over a finite policy class: index of the least E_{x, y~pi}[cost + beta h_pi] under the given context law.

    The law may be the empirical one of m sampled contexts, which costs the extra term of theory.md B3.
    """
    per_response = jnp.exp(log_class) * losses.cost(cost, log_class - log_reference, beta)
    per_context = jnp.sum(jnp.where(log_class > -jnp.inf, per_response, 0.0), axis=-1)
    return jnp.argmin(jnp.sum(context_probs * per_context, axis=-1))


def every_learner(
    instance: Instance,
    data: EditDataset,
    delta: float | Float[Array, ""],
    supervised_weight: float | Float[Array, ""] = 0.1,
    scale: float | Float[Array, ""] = 1.0,
) -> dict[str, Policy]:
    """Log-policies of all learners on one instance: SUP, PREF, Early, RL (pessimistic), RL plug-in, and the reference."""
    problem, log_class = instance.problem, instance.log_class
    reference, beta = problem.log_reference, problem.beta
    radius = cost_classes.confidence_radius(problem.cost_max, instance.num_candidates, delta)
    return {
        "SUP": log_class[supervised(log_class, data)],
        "PREF": log_class[preference(log_class, reference, data, scale)],
        "Early": log_class[early_ensemble(log_class, reference, data, supervised_weight, scale)],
        "RL": pessimistic_cost(instance.cost_class, reference, data, beta, radius),
        "RL plug-in": plug_in_cost(instance.cost_class, reference, data, beta),
        "reference": reference,
    }


def every_pair_loss(
    instance: Instance, data: EditDataset, names: Sequence[str], scale: float | Float[Array, ""] = 1.0
) -> dict[str, Policy]:
    """Log-policies of the minimisers of these losses of `PREFERENCE_LOSSES` on one instance, by name."""
    log_class, reference = instance.log_class, instance.problem.log_reference
    return {name: log_class[by_pair_loss(name, log_class, reference, data, scale)] for name in names}
