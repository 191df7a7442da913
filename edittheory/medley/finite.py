"""The medley: one posterior from preferences, edits and costs that finds out for itself which of them to trust; theory.md B7.

On one class F of costs, with Pi = {pi_f}, the costs always speak of f. Whether the directions of the edits do too (balance)
and whether their law does (a strong user) are hypotheses with a prior, weighed by evidence against alternatives that owe
nothing to f (`medley_evidence`). The policy is reference * exp(-posterior mean of f / beta) / Z: of all policies it has
the least posterior expectation of beta E_x KL(pi || pi_f), that is of SubOpt. docs/medley.md has the statements.
"""

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from edittheory.certify import evidence
from edittheory.certify.certificates import certify
from edittheory.core.shapes import shaped
from edittheory.core.validation import check_each, check_positive, check_probability
from edittheory.learn.class_losses import Policy
from edittheory.medley import likelihoods
from edittheory.problem import EditDataset, cost_classes

Scalar = float | Float[Array, ""]
CostClass = Float[Array, "F X Y"]

MODELS = ("costs", "costs and preferences", "costs and edits", "all three")
"""The hypotheses: which kinds of feedback share the costs' f."""


@dataclasses.dataclass(frozen=True)
class Medley:
    """Priors of the medley; they are part of the method, and were chosen on random problems of their own.

    balance: prior chance that the directions of edits follow pi_f. strong: that the law of the edits is a mixture of
    reference and pi_f. shares: the shares of pi_f in that mixture, equally likely. spreads: of the free utilities that
    are one alternative to balance, in nats (the other is a member of the class unrelated to the costs).
    concentrations: of the Dirichlet law that is one alternative to a strong user. delta: of the certificates.
    given: prior chance of the laws of edits that are given, where they are (`log_laws`).
    """

    balance: float = 0.8
    strong: float = 0.3
    shares: tuple[float, ...] = (1.0, 0.9, 0.75, 0.5, 0.25)
    spreads: tuple[float, ...] = (1.0, 3.0)
    concentrations: tuple[float, ...] = (3.0, 10.0, 30.0)
    delta: float = 0.1
    given: float = 0.6

    def __post_init__(self) -> None:
        check_probability("given", self.given, open_right=True)
        check_probability("balance", self.balance)
        check_probability("strong", self.strong)
        check_each("shares", self.shares, check_probability, open_left=True)
        check_each("spreads", self.spreads, check_positive)
        check_each("concentrations", self.concentrations, check_positive)
        check_probability("delta", self.delta, open_left=True, open_right=True)


DEFAULT = Medley()


class MedleyResult(NamedTuple):
    """What the medley makes of the first n examples; every field has a leading axis M after `fit_path`.

    log_policy (X, Y): what to play. weights (F,): the posterior. models (4,): posterior of MODELS.
    certificate: bound on SubOpt(log_policy) that needs the expected cost in the class and nothing of the user; valid with
    chance 1 - delta at all n at once. +inf if the costs refute the class. members (F,): its set V_C.
    certificate_if_balanced: smaller, and valid with chance 1 - delta if the user is balanced as well, +inf once refuted;
    members_if_balanced (F,): its set. balance_refuted: that set is empty, which under balance and with the cost in the
    class has chance at most delta at all n together.
    log_evidence (4,): log prior times marginal likelihood of MODELS.

    Certificates take the law of the contexts as known. The smaller of the two is valid with chance 1 - 2 delta only.
    """

    log_policy: Float[Array, "*M X Y"]
    weights: Float[Array, "*M F"]
    models: Float[Array, "*M 4"]
    certificate: Float[Array, "*M"]
    certificate_if_balanced: Float[Array, "*M"]
    members: Bool[Array, "*M F"]
    members_if_balanced: Bool[Array, "*M F"]
    balance_refuted: Bool[Array, "*M"]
    log_evidence: Float[Array, "*M 4"]


class Posterior(NamedTuple):
    """weights (M, F) of the members, models (M, 4) of MODELS, and log_evidence (M, 4), log prior included."""

    weights: Float[Array, "M F"]
    models: Float[Array, "M 4"]
    log_evidence: Float[Array, "M 4"]


def _log(chance: Scalar) -> Float[Array, "..."]:
    return jnp.log(jnp.asarray(chance, dtype=float))


def _mean_exp(values: Float[Array, "..."], axis: int | tuple[int, ...]) -> Float[Array, "..."]:
    """log of the mean of exp(values)."""
    axes = (axis,) if isinstance(axis, int) else axis
    size = 1
    for each in axes:
        size *= values.shape[each]
    return jax.nn.logsumexp(values, axis=axis) - jnp.log(size)


def combine(
    cost: Float[Array, "M F"],
    preference: Float[Array, "M F"],
    edits: Float[Array, "shares M F"],
    free_preference: Float[Array, " M"],
    free_edits: Float[Array, " M"],
    config: Medley = DEFAULT,
    of_laws: Float[Array, "M F"] | None = None,
) -> Posterior:
    """Posterior over F members (uniform prior) and MODELS from log-likelihoods of the three kinds of feedback.

    The alternatives are halves: a member unrelated to the costs', and a law of no member (`free_preference`,
    `free_edits`: its log marginal likelihoods). of_laws: log-likelihoods of the edits under laws that are given.
    """
    no_balance = jnp.logaddexp(_mean_exp(preference, -1), free_preference) - jnp.log(2.0)
    strong, related, chance = _mean_exp(edits, 0), _mean_exp(edits, (0, 2)), config.strong
    if of_laws is not None:
        chance = config.given + (1.0 - config.given) * config.strong
        share = config.given / chance
        strong = jnp.logaddexp(_log(share) + of_laws, _log(1.0 - share) + strong)
        related = _mean_exp(strong, -1)
    not_strong = jnp.logaddexp(related, free_edits) - jnp.log(2.0)
    yes, no = _log(config.balance), (_log(1.0 - config.balance) + no_balance)[:, None]
    firm, loose = _log(chance), (_log(1.0 - chance) + not_strong)[:, None]
    joint = jnp.stack(
        [
            cost + no + loose,
            cost + preference + yes + loose,
            cost + strong + no + firm,
            cost + preference + strong + yes + firm,
        ],
        axis=1,
    ) - jnp.log(cost.shape[-1])
    log_evidence = jax.nn.logsumexp(joint, axis=-1)
    total = jax.nn.logsumexp(log_evidence, axis=-1, keepdims=True)
    weights = jnp.sum(jnp.exp(joint - total[..., None]), axis=1)
    return Posterior(weights, jnp.exp(log_evidence - total), log_evidence)


def posterior(
    cost_class: CostClass,
    log_reference: Policy,
    counts: likelihoods.Counts,
    beta: Scalar,
    cost_max: Scalar,
    config: Medley = DEFAULT,
    log_laws: CostClass | None = None,
) -> Posterior:
    """Posterior over the members of a cost class and over MODELS at each of M sample sizes.

    log_laws: for each member the log-law of its user's edits, q o reference, where a class of users is known and not only of
    costs: one more hypothesis about the law of the edits, of chance config.given.

    Confidence sets play no part in it: at delta = 10% they lose the truth often enough to spoil the mean SubOpt of a
    posterior cut down to them.
    """
    return combine(
        likelihoods.cost_likelihood(cost_class, counts, cost_max),
        likelihoods.preference_likelihood(cost_class, counts, beta),
        jnp.stack(
            [
                likelihoods.edit_likelihood(cost_class, log_reference, counts, beta, share)
                for share in config.shares
            ]
        ),
        likelihoods.preference_evidence(counts, config.spreads),
        likelihoods.edit_evidence(log_reference, counts, config.concentrations),
        config,
        None if log_laws is None else likelihoods.law_likelihood(log_laws, counts),
    )


@shaped
def fit_path(
    cost_class: Float[Array, "..."],
    log_reference: Policy,
    data: EditDataset,
    context_probs: Float[Array, " X"],
    beta: Scalar,
    cost_max: Scalar,
    sizes: Sequence[int],
    config: Medley = DEFAULT,
    cost_range: Scalar | None = None,
    log_laws: Float[Array, "..."] | None = None,
) -> MedleyResult:
    """The medley on the first n examples for each n of `sizes` (ascending); pure, can be jitted and vmapped over logs.

    cost_max bounds the expected costs; cost_range is the largest |c_i - f(x_i, y_i)| there can be, a constant known in
    advance: cost_max, unless noise was added to the costs. log_laws (F, X, Y): as of `posterior`; certificates do not use them.
    Raises ValueError if sizes are not ascending in 1, ..., N, or a shape is not that of its neighbours.
    """
    steps = [int(n) for n in sizes]
    ascending = all(before < after for before, after in pairwise(steps))
    if not steps or steps[0] < 1 or steps[-1] > data.size or not ascending:
        raise ValueError(f"sizes: got {tuple(steps)}, must be ascending in [1, {data.size}]")
    if cost_class.shape[1:] != log_reference.shape:
        raise ValueError(
            f"cost_class: shape {cost_class.shape}, must be (F, X, Y) with (X, Y) = {log_reference.shape}, that of log_reference"
        )
    if log_laws is not None and log_laws.shape != cost_class.shape:
        raise ValueError(f"log_laws: shape {log_laws.shape}, must be {cost_class.shape}, that of cost_class")
    num_x, num_y = log_reference.shape
    policies = cost_classes.tilted(log_reference, cost_class, beta)
    of_costs = evidence.betting_evidence(cost_class, data, cost_max if cost_range is None else cost_range)
    likelihood = evidence.preference_log_likelihood(policies, log_reference, data)
    of_both = evidence.joint_evidence(likelihood, of_costs)
    members = evidence.anytime_members(of_costs, config.delta, steps)
    both = evidence.anytime_members(of_both, config.delta, steps)
    refuted = ~jnp.any(both, axis=-1)
    counts = likelihoods.count(data, jnp.asarray(steps), num_x, num_y)
    found = posterior(cost_class, log_reference, counts, beta, cost_max, config, log_laws)
    mean = jnp.einsum("mf,fxy->mxy", found.weights, cost_class)
    log_policy = cost_classes.tilted(log_reference, mean, beta)

    def bound(policy, inside):
        return certify(policy[None], policies, inside, context_probs, beta)[0]

    return MedleyResult(
        log_policy,
        found.weights,
        found.models,
        jax.vmap(bound)(log_policy, members),
        jax.vmap(bound)(log_policy, both),
        members,
        both,
        refuted,
        found.log_evidence,
    )


@shaped
def fit(
    cost_class: Float[Array, "..."],
    log_reference: Policy,
    data: EditDataset,
    context_probs: Float[Array, " X"],
    beta: Scalar,
    cost_max: Scalar,
    config: Medley = DEFAULT,
    cost_range: Scalar | None = None,
    log_laws: Float[Array, "..."] | None = None,
) -> MedleyResult:
    """The medley on all of `data`; as `fit_path`, without the axis of sample sizes."""
    sizes = (data.size,)
    path = fit_path(
        cost_class, log_reference, data, context_probs, beta, cost_max, sizes, config, cost_range, log_laws
    )
    return jax.tree.map(lambda leaf: leaf[0], path)
