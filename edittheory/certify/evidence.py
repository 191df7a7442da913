"""Evidence against the members of a finite class, and the confidence sets it leaves; docs/theory-certificates.md.

A set is either a likelihood-ratio or least-squares set, valid at one sample size fixed in advance, or *anytime*: an
e-process E_t(v) >= 0 with E sup-bounded by Ville's inequality under the truth, so that dropping v once E_t(v) >= 1/delta
keeps the truth at every t at once with chance 1 - delta. E-processes travel as logarithms (N, K): row i - 1 is the
evidence after i examples, from which `anytime_members` reads off the set at any sample sizes and any delta.
`weights` (N,) of ones and zeros leave examples out, so that logs of several lengths can be padded to one.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from edittheory.learn import losses
from edittheory.learn.class_losses import Class, Policy
from edittheory.problem import EditDataset, cost_classes

Scalar = float | Float[Array, ""]
Sizes = Sequence[int] | Int[Array, " M"] | None
LogLikelihood = Float[Array, "N K"]
Evidence = Float[Array, "N K"]
Weights = Float[Array, " N"] | None
TINY = 1e-300
LEAST_FACTOR = 0.499
"""How much of a joint bet's factor the preferences may lose; 1/2 is what the bet on the cost always leaves."""


# -- likelihoods ---------------------------------------------------------------------------------------------------------


def preference_log_likelihood(
    log_class: Class,
    log_reference: Policy,
    data: EditDataset,
    log_behaviour: Float[Array, "N Y"] | None = None,
) -> LogLikelihood:
    """log p_v(i) = log sigmoid(u_v(x_i; y_i, y'_i)) of each member at each example: direction given the unordered pair.

    log_behaviour: log pi_i(. | x_i) of the policy that answered example i, chosen from the past, in the place of the reference:
    for logs whose policy changed while they were written (C13). Sets and tests made of it stay valid.
    """
    x, y, edit = data.contexts, data.responses, data.edits
    rows = jnp.arange(data.size)
    answered = log_reference[x] if log_behaviour is None else log_behaviour
    loss = losses.preference(
        log_class[:, x, edit], log_class[:, x, y], answered[rows, edit], answered[rows, y]
    )
    return -loss.T


def edit_log_likelihood(log_class: Class, data: EditDataset) -> LogLikelihood:
    """log v(y'_i | x_i): the likelihood of the edits, for classes that hold their law q o reference."""
    return log_class[:, data.contexts, data.edits].T


def _totals(values: Float[Array, "N K"], weights: Weights) -> Float[Array, "N K"]:
    """Running sums over the examples; an example of weight 0 does not count even where its value is infinite."""
    if weights is not None:
        values = jnp.where(weights[:, None] > 0, weights[:, None] * values, 0.0)
    return jnp.cumsum(values, axis=0)


def _rows(values: Float[Array, "N K"], sizes: Sizes) -> Float[Array, "..."]:
    """The last row, or one row for each of `sizes`, which count examples from 1."""
    if sizes is None:
        return values[-1]
    if not isinstance(sizes, jax.core.Tracer) and isinstance(sizes, Sequence):
        wrong = [n for n in sizes if not 1 <= n <= values.shape[0]]
        if wrong:
            raise ValueError(f"sizes: got {wrong[0]}, must be in [1, {values.shape[0]}]")
    return values[jnp.asarray(sizes) - 1]


# -- sets at one sample size ---------------------------------------------------------------------------------------------


def likelihood_ratio_members(
    log_likelihood: LogLikelihood,
    delta: Scalar,
    weights: Weights = None,
    sizes: Sizes = None,
) -> Bool[Array, "*sizes K"]:
    """{v : sum_i log p_mle(i) - log p_v(i) <= log(K / delta)}; holds the truth with chance 1 - delta, theory.md B6.

    Valid at every n at once as well, if members that were ever dropped stay out (Ville's inequality for each of the K
    ratios); never empty at one n.
    """
    total = _rows(_totals(log_likelihood, weights), sizes)
    threshold = jnp.log(total.shape[-1] / jnp.asarray(delta, dtype=float))
    return jnp.max(total, axis=-1, keepdims=True) - total <= threshold


def least_squares_members(
    cost_class: Float[Array, "F X Y"],
    data: EditDataset,
    cost_max: Scalar,
    delta: Scalar,
    weights: Weights = None,
    sizes: Sizes = None,
) -> Bool[Array, "*sizes F"]:
    """{f : sum_i (f - f_hat)^2(x_i, y_i) <= 2 c_max^2 log(F / delta)}; holds c with chance 1 - delta, theory.md B3."""
    values = cost_classes.predictions(cost_class, data).T
    errors = _rows(_totals((values - data.costs[:, None]) ** 2, weights), sizes)
    radius = cost_classes.confidence_radius(cost_max, cost_class.shape[0], delta)
    best = jnp.argmin(errors, axis=-1)

    def spread(centre):
        return _totals((values - values[:, centre][:, None]) ** 2, weights)

    if sizes is None:
        return spread(best)[-1] <= radius
    at = jnp.asarray(sizes) - 1
    return jax.vmap(lambda centre, row: spread(centre)[row])(best, at) <= radius


# -- e-processes ---------------------------------------------------------------------------------------------------------


def mixture_evidence(log_likelihood: LogLikelihood, weights: Weights = None) -> Evidence:
    """log [ mean_pi prod_{j<=i} p_pi(j) / prod_{j<=i} p_v(j) ]: the e-process of the uniform mixture; theory.md B6.

    At least the likelihood ratio of the best member over K, so its set is inside that of `likelihood_ratio_members`.
    """
    total = _totals(log_likelihood, weights)
    mixture = jax.nn.logsumexp(total, axis=-1, keepdims=True) - jnp.log(total.shape[-1])
    return jnp.where(total == -jnp.inf, jnp.inf, mixture - total)


def robust_evidence(
    log_likelihood: LogLikelihood,
    moved: Bool[Array, " N"] | Float[Array, " N"],
    radius: Scalar,
) -> Evidence:
    """`mixture_evidence` against each "the optimum is v, and log-odds of directions are within `radius` of balance"; C15.

    log [ mean_pi prod p_pi(j) / prod sigmoid(u_v(j) + radius) ] over examples with moved(j), those whose edit is another text: the
    denominator is the most that a user within the radius (`coverage.balance_radius`) can give the direction that was seen.
    """
    odds_against = jnp.exp(-jnp.asarray(radius, dtype=float)) * jnp.expm1(-log_likelihood)
    most = _totals(-jnp.log1p(odds_against), jnp.asarray(moved, dtype=float))
    total = _totals(log_likelihood, jnp.asarray(moved, dtype=float))
    mixture = jax.nn.logsumexp(total, axis=-1, keepdims=True) - jnp.log(total.shape[-1])
    return jnp.where(most == -jnp.inf, jnp.inf, mixture - most)


def least_radius(
    log_likelihood: LogLikelihood,
    moved: Bool[Array, " N"] | Float[Array, " N"],
    betting: Evidence,
    delta: Scalar,
    radii: Sequence[float],
) -> float:
    """A lower confidence bound, with chance 1 - delta at every n at once, on the user's radius: the last of the increasing `radii`
    below which preferences and costs together (the average of `robust_evidence` and `betting`) leave no member.

    0 where balance is not refuted, inf where no radius given is left. There is no upper bound: C15.
    """
    for radius in radii:
        found = average_evidence(robust_evidence(log_likelihood, moved, radius), betting)
        if bool(jnp.any(anytime_members(found, delta))):
            return float(radius)
    return float("inf")


def plug_in_evidence(
    log_predictor: Float[Array, " N"],
    log_likelihood: LogLikelihood,
    weights: Weights = None,
) -> Evidence:
    """log prod_{j<=i} p_hat_{j-1}(j) / p_v(j), with predictions p_hat_{j-1} fitted on the first j - 1 examples only.

    Universal inference (Wasserman, Ramdas and Balakrishnan 2020), for a predictor from any class.
    """
    gain = _totals(jnp.broadcast_to(log_predictor[:, None], log_likelihood.shape), weights)
    total = _totals(log_likelihood, weights)
    return jnp.where(total == -jnp.inf, jnp.inf, gain - total)


def squares_evidence(
    cost_class: Float[Array, "F X Y"],
    data: EditDataset,
    cost_max: Scalar,
    weights: Weights = None,
) -> Float[Array, "N F"]:
    """log mean_g exp( (S_i(f) - S_i(g)) / (2 s) ), S_i(f) = sum_{j<=i} (c_j - f)^2, s = c_max^2 / 4.

    `mixture_evidence` of Gaussian likelihoods at the largest variance proxy of a cost in [0, c_max]: a supermartingale
    under f = c by Hoeffding's lemma. Does not adapt to small noise; `betting_evidence` does.
    """
    errors = (cost_classes.predictions(cost_class, data).T - data.costs[:, None]) ** 2
    return mixture_evidence(-2.0 * errors / jnp.asarray(cost_max, dtype=float) ** 2, weights)


def betting_evidence(
    cost_class: Float[Array, "F X Y"],
    data: EditDataset,
    cost_max: Scalar,
    weights: Weights = None,
) -> Float[Array, "N F"]:
    """log prod_{j<=i} (1 + lambda_j (c_j - f(x_j, y_j))): betting against each cost f; theory.md B6.

    lambda_j = m / (v + m^2), cut off at +-1/(2 c_max), is fixed before c_j is seen: m = f_hat_{j-1} - f at (x_j, y_j),
    f_hat_{j-1} least squares on the first j - 1 costs (the class's mean before the first), v the mean of c_max^2 / 4
    and the squared errors of the predictions so far. Needs |c_j - f| <= 2 c_max, so that no factor is negative: true of costs
    and members in [0, c_max], and of noisy costs with a larger constant in the place of c_max. No log F is paid.
    Waudby-Smith and Ramdas 2023.
    """
    cost_max = jnp.asarray(cost_max, dtype=float)
    limit = 0.5 / cost_max
    seen = jnp.ones(data.size) if weights is None else weights
    values = cost_classes.predictions(cost_class, data).T

    def step(state, example):
        errors, residuals, count, wealth = state
        value, observed, weight = example
        fitted = jnp.where(count > 0, value[jnp.argmin(errors)], jnp.mean(value))
        margin = fitted - value
        variance = (0.25 * cost_max**2 + residuals) / (1.0 + count)
        bet = jnp.clip(margin / (variance + margin**2), -limit, limit)
        # A cost that no bet was prepared for (outside [0, c_max] by more than c_max) leaves nothing, and no evidence.
        factor = jnp.maximum(1.0 + bet * (observed - value), 0.0)
        wealth = wealth + jnp.where(weight > 0, weight * jnp.log(factor), 0.0)
        errors = errors + weight * (observed - value) ** 2
        residuals = residuals + weight * (observed - fitted) ** 2
        return (errors, residuals, count + weight, wealth), wealth

    zeros = jnp.zeros(cost_class.shape[0])
    start = (zeros, jnp.zeros(()), jnp.zeros(()), zeros)
    return jax.lax.scan(step, start, (values, data.costs, seen))[1]


def joint_evidence(log_likelihood: LogLikelihood, betting: Evidence, weights: Weights = None) -> Evidence:
    """One e-process from preferences and costs together: log prod_j (1 + kappa_j (P_j - 1) + (B_j - 1)).

    P_j = p_mix(j) / p_v(j) is the factor of `mixture_evidence`, B_j in [1/2, 3/2] that of `betting_evidence`, and kappa_j <= 1
    the largest share that keeps the factor from 0 whichever way the pair had gone, so it is known before the direction is.
    A member whose bets lost everything (a cost further from it than 2 c_max) has no evidence against it from there on.
    Small gains add up, where intersecting two sets, or averaging two processes, keeps only the better of them. Row v of
    both must be one hypothesis: the preferences of pi_f and the cost f. Docs: theory-certificates.md, C6.
    """
    seen = jnp.ones(log_likelihood.shape[0]) if weights is None else weights
    total = _totals(log_likelihood, weights)
    past = jnp.concatenate([jnp.zeros_like(total[:1]), total[:-1]])
    own = jnp.exp(log_likelihood)
    mixture = jnp.sum(jax.nn.softmax(past, axis=-1) * own, axis=-1, keepdims=True)
    ratio = mixture / jnp.maximum(own, TINY)
    other = (1.0 - mixture) / jnp.maximum(1.0 - own, TINY)
    share = jnp.minimum(1.0, LEAST_FACTOR / jnp.maximum(1.0 - jnp.minimum(ratio, other), TINY))
    broke = betting == -jnp.inf
    bet = jnp.expm1(jnp.diff(jnp.where(broke, 0.0, betting), axis=0, prepend=0.0))
    gain = jnp.log1p(jnp.where(broke, 0.0, share * (ratio - 1.0) + bet))
    return jnp.cumsum(jnp.where(seen[:, None] > 0, jnp.where(broke, -jnp.inf, gain), 0.0), axis=0)


def average_evidence(*evidence: Evidence) -> Evidence:
    """log of the mean of several e-processes of one class: again one, for they share their filtration.

    Its set at delta is inside the intersection of the sets at delta / (their number), which is what a union bound gives.
    """
    stacked = jnp.stack(evidence)
    return jax.nn.logsumexp(stacked, axis=0) - jnp.log(len(evidence))


def anytime_members(log_evidence: Evidence, delta: Scalar, sizes: Sizes = None) -> Bool[Array, "*sizes K"]:
    """Members never dropped by any of the first n examples, at n = N or at each of `sizes`: E_t(v) < 1/delta for all t <= n."""
    worst = _rows(jax.lax.cummax(log_evidence, axis=0), sizes)
    return worst < -jnp.log(jnp.asarray(delta, dtype=float))
