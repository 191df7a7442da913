"""Is balance true of this user? Sequential and fixed-sample tests from a log of edits; theory.md B7, docs/theory-certificates.md.

The null hypothesis: some cost f of the class is the user's expected cost **and** pairs are edited by balance, in the
direction y -> y' with chance sigmoid((f(y) - f(y')) / beta). The sequential test drops every f against which preferences
and costs together have evidence 1/delta, and rejects when none is left: at any time, with chance at most delta under the
null, however long one looks. What it rejects is balance, or that the cost is in the class.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from edittheory.certify import evidence
from edittheory.certify.evidence import Evidence, Weights
from edittheory.learn import losses
from edittheory.learn.class_losses import Class, Policy
from edittheory.problem import EditDataset, cost_classes

Scalar = float | Float[Array, ""]
Combination = Literal["union", "average", "joint", "rich"]
SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""By how much `rich_predictor` lets directions be less or more decided than the class says."""
STRENGTHS = (1.0, 8.0, 64.0)
"""How many edits of a pair its own frequencies must have before `rich_predictor` believes them over the class."""


class SequentialTest(NamedTuple):
    """rejected: whether the class was ever empty; time: examples until then, N + 1 if it never was; p_value (N,): anytime p-values.

    p_value[i] is the smallest delta at which the test would have rejected by example i + 1; it only decreases.
    """

    rejected: Bool[Array, "..."]
    time: Int[Array, "..."]
    p_value: Float[Array, "... N"]


class FixedTest(NamedTuple):
    """p_value of the parametric bootstrap, the statistic, and the index of the fitted cost."""

    p_value: Float[Array, "..."]
    statistic: Float[Array, "..."]
    fitted: Int[Array, "..."]


def union_evidence(*evidence_of_member: Evidence) -> Evidence:
    """Largest of m e-processes over m: its set at delta is the intersection of their sets at delta / m (B7 as it stands)."""
    stacked = jnp.stack(evidence_of_member)
    return jnp.max(stacked, axis=0) - jnp.log(len(evidence_of_member))


def rich_predictor(
    log_class: Class, log_reference: Policy, data: EditDataset, weights: Weights = None
) -> Float[Array, " N"]:
    """log of a predictor of each edit's direction from the edits before it, for users that no member describes; (N,).

    A Bayesian mixture, half on members with their logits scaled by `SCALES`, half on frequencies of the pair itself that start
    from the former's prediction, worth `STRENGTHS` edits. Some unbalanced users are nearest to one and the same member
    in preferences and in costs: a mixture of members alone has no evidence against that one, however wrong it is.
    """
    num_x, num_y = log_reference.shape
    x, y, edit = data.contexts, data.responses, data.edits
    seen = jnp.ones(data.size) if weights is None else weights
    logit = losses.preference_logit(
        log_class[:, x, edit], log_class[:, x, y], log_reference[x, edit], log_reference[x, y]
    ).T
    scaled = jnp.concatenate([-jax.nn.softplus(-scale * logit) for scale in SCALES], axis=-1)
    scaled = jnp.where(seen[:, None] > 0, seen[:, None] * scaled, 0.0)
    product = jax.nn.logsumexp(jnp.cumsum(scaled, axis=0), axis=-1) - jnp.log(scaled.shape[-1])
    members = jnp.diff(product, prepend=0.0)
    strengths = jnp.asarray(STRENGTHS)
    forward = (x * num_y + y) * num_y + edit
    backward = (x * num_y + edit) * num_y + y

    def step(counts, example):
        here, there, guess, weight = example
        won, lost = counts[here], counts[there]
        chance = (strengths * jnp.exp(guess) + won) / (strengths + won + lost)
        chance = jnp.where(here == there, 0.5, chance)
        return counts.at[here].add(weight), weight * jnp.log(chance)

    start = jnp.zeros(num_x * num_y * num_y)
    _, pairs = jax.lax.scan(step, start, (forward, backward, members, seen))
    pairs = jax.nn.logsumexp(jnp.cumsum(pairs, axis=0), axis=-1) - jnp.log(len(STRENGTHS))
    return jnp.diff(jnp.logaddexp(product, pairs) - jnp.log(2.0), prepend=0.0)


def every_evidence(
    cost_class: Float[Array, "F X Y"],
    log_reference: Policy,
    data: EditDataset,
    beta: Scalar,
    cost_max: Scalar,
    weights: Weights = None,
) -> dict[Combination, Evidence]:
    """Evidence (N, F) against each "the cost is f and balance holds", in four combinations of preferences and costs.

    "union" is B7's intersection at delta / 2 each; "average" the mean of the two, whose sets are inside; "joint" the mean
    of three, the two and `evidence.joint_evidence`; "rich" the mean of four, these and the preferences against
    `rich_predictor`.
    """
    policies = cost_classes.tilted(log_reference, cost_class, beta)
    likelihood = evidence.preference_log_likelihood(policies, log_reference, data)
    preferring = evidence.mixture_evidence(likelihood, weights)
    betting = evidence.betting_evidence(cost_class, data, cost_max, weights)
    both = evidence.joint_evidence(likelihood, betting, weights)
    predictor = rich_predictor(policies, log_reference, data, weights)
    free = evidence.plug_in_evidence(predictor, likelihood, weights)
    return {
        "union": union_evidence(preferring, betting),
        "average": evidence.average_evidence(preferring, betting),
        "joint": evidence.average_evidence(preferring, betting, both),
        "rich": evidence.average_evidence(preferring, betting, both, free),
    }


def sequential(log_evidence: Evidence, delta: Scalar) -> SequentialTest:
    """Reject at the first t by which every member has met evidence 1/delta; level delta at all t together (Ville)."""
    survived = jnp.min(jax.lax.cummax(log_evidence, axis=0), axis=-1)
    gone = survived >= -jnp.log(jnp.asarray(delta, dtype=float))
    rejected = jnp.any(gone)
    time = jnp.where(rejected, jnp.argmax(gone) + 1, gone.shape[0] + 1)
    return SequentialTest(rejected, time, jnp.minimum(jnp.exp(-survived), 1.0))


def fixed_sample(
    key: PRNGKeyArray,
    cost_class: Float[Array, "F X Y"],
    data: EditDataset,
    beta: Scalar,
    resamples: int = 199,
) -> FixedTest:
    """Goodness of fit of balance at one n: do the directions of edits agree with the cost fitted by least squares?

    Statistic: Pearson's sum over pairs {a, b} of (count of a -> b less expected)^2 / (N p (1 - p)), with
    p = sigmoid((f_hat(a) - f_hat(b)) / beta). Its law under the null by parametric bootstrap given the unordered pairs: every
    direction is drawn anew with chance p (the cost of a pair is the same both ways), f_hat is fitted anew. Approximate: exact
    only if f_hat is the truth. Costs must be symmetric in the pair, and not observed with noise.
    """
    num_f, num_x, num_y = cost_class.shape
    x = data.contexts
    low, high = jnp.minimum(data.responses, data.edits), jnp.maximum(data.responses, data.edits)
    forward = data.responses == low
    changed = low != high
    pair = (x * num_y + low) * num_y + high
    cells = num_x * num_y * num_y
    totals = jnp.zeros(cells).at[pair].add(jnp.where(changed, 1.0, 0.0))
    table = cost_class.reshape(num_f, -1)
    logits = (cost_class[:, :, :, None] - cost_class[:, :, None, :]).reshape(num_f, -1) / beta

    def fit(going_up):
        """Least squares when the responses are those of these directions."""
        first = x * num_y + jnp.where(going_up, low, high)
        counts = jnp.zeros(num_x * num_y).at[first].add(1.0)
        sums = jnp.zeros(num_x * num_y).at[first].add(data.costs)
        return jnp.argmin(jnp.square(table) @ counts - 2.0 * (table @ sums))

    def statistic(going_up):
        fitted = fit(going_up)
        observed = jnp.zeros(cells).at[pair].add(jnp.where(changed & going_up, 1.0, 0.0))
        chance = jax.nn.sigmoid(logits[fitted])
        variance = jnp.maximum(totals * chance * (1.0 - chance), 1e-12)
        return jnp.sum(jnp.where(totals > 0, (observed - totals * chance) ** 2 / variance, 0.0)), fitted

    found, fitted = statistic(forward)
    chance = jax.nn.sigmoid(logits[fitted])[pair]

    def resample(one):
        return statistic(jax.random.uniform(one, chance.shape) < chance)[0]

    redrawn = jax.lax.map(resample, jax.random.split(key, resamples))
    p_value = (1.0 + jnp.sum(redrawn >= found)) / (resamples + 1.0)
    return FixedTest(p_value, found, fitted)
