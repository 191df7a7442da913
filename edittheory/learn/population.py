"""Preference losses over whole tables: every pair of a context at once, their expectation under a problem, and its optima.

Where a loss has its population optimum in closed form, a function here returns it; docs/losses.md proves them, and the
tests find each one again by minimising `population_loss` over all policies.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from edittheory.core.logspace import kl, log_normalise
from edittheory.learn import losses
from edittheory.learn.preference_losses import PREFERENCE_LOSSES
from edittheory.problem import EditProblem

Policy = Float[Array, "X Y"]
Pairs = Float[Array, "X Y Y"]
Lengths = Float[Array, " Y"]
Number = float | Float[Array, ""]


def preference_under(
    log_class: Float[Array, "K X Y"],
    log_reference: Policy,
    laws: Float[Array, "M X Y Y"],
    scale: Number = 1.0,
) -> Float[Array, "M K"]:
    """Expected PREF loss of each member under each law of (context, response, edit): of a problem, or counts / n of a log.

    With v = s u the losses of (a, b) and (b, a) are max(-v, 0) and max(v, 0), plus log(1 + e^-|v|) for both: that is computed
    once for both orders and all laws. A pair that is never logged does not matter, even where a loss on it is infinite.
    """
    first, second = np.triu_indices(log_reference.shape[-1], 1)
    a, b = jnp.asarray(first), jnp.asarray(second)
    logit = scale * losses.preference_logit(
        log_class[..., b], log_class[..., a], log_reference[..., b], log_reference[..., a]
    )
    forth, back = laws[..., a, b], laws[..., b, a]
    both = jnp.log1p(jnp.exp(-jnp.abs(logit)))
    wrong, right = jnp.maximum(-logit, 0.0), jnp.maximum(logit, 0.0)

    def one(forth: Array, back: Array, unedited: Array) -> Array:
        lost = jnp.where(forth > 0, forth * wrong, 0.0) + jnp.where(back > 0, back * right, 0.0)
        return jnp.sum((forth + back) * both + lost, axis=(-2, -1)) + unedited * jnp.log(2.0)

    return jax.vmap(one)(forth, back, jnp.trace(laws, axis1=-2, axis2=-1).sum(axis=-1))


def pair_table(
    name: str,
    log_policy: Policy,
    log_reference: Policy,
    scale: Number = 1.0,
    option: Number | None = None,
    lengths: Lengths | None = None,
) -> Pairs:
    """The loss of PREFERENCE_LOSSES[name] on each (context, response, edit).

    KTO's reference point is KL(pi || reference) in the context, to which `option` is added. lengths: in tokens, of each
    response; log-probabilities are divided by them.
    """
    loss = PREFERENCE_LOSSES[name]
    number = jnp.asarray(loss.default if option is None else option, dtype=log_policy.dtype)
    if name == "kto":
        number = (number + kl(log_policy, log_reference))[:, None, None]
    if lengths is not None:
        log_policy, log_reference = log_policy / lengths, log_reference / lengths
    return loss.function(
        log_policy[:, None, :],
        log_policy[:, :, None],
        log_reference[:, None, :],
        log_reference[:, :, None],
        scale,
        number,
    )


def population_loss(
    name: str,
    log_policy: Policy,
    problem: EditProblem,
    scale: Number = 1.0,
    option: Number | None = None,
    supervised_weight: Number = 0.0,
    flips: Number = 0.0,
) -> Float[Array, ""]:
    """Expected loss of a pair, plus `supervised_weight` times the expected NLL of the edit.

    flips: the chance that a pair is logged the wrong way round. KTO's reference point takes no part in a gradient.
    """
    law = problem.context_probs[:, None, None] * problem.pair_law()
    law = (1.0 - flips) * law + flips * jnp.swapaxes(law, -1, -2)
    table = pair_table(name, log_policy, problem.log_reference, scale, option)
    table = table + losses.weighted(losses.supervised(log_policy[:, None, :]), supervised_weight)
    return jnp.sum(jnp.where(law > 0, law * jnp.where(law > 0, table, 0.0), 0.0))


def sigmoid_target(problem: EditProblem, scale: Number = 1.0) -> Policy:
    """DPO's optimum under balance, reference * exp(-c / (scale * beta)); pi* at scale 1. Also rDPO's, at its rate of flips."""
    return log_normalise(problem.log_reference - problem.expected_cost / (scale * problem.beta))


def simpo_target(problem: EditProblem, scale: Number = 1.0) -> Policy:
    """SimPO's optimum under balance without a margin, for texts of one length: exp(-c / (scale * beta)), reference or not."""
    return log_normalise(-problem.expected_cost / (scale * problem.beta))


def ipo_target(problem: EditProblem, scale: Number = 1.0) -> Policy:
    """IPO's optimum for any user: h by weighted least squares on (2 P(edit beats response) - 1) / (2 scale) over all pairs."""
    law = problem.pair_law()
    both, net = law + jnp.swapaxes(law, -1, -2), jnp.swapaxes(law, -1, -2) - law
    laplacian = jnp.eye(both.shape[-1]) * jnp.sum(both, axis=-1)[..., None] - both
    # Zero row sums: pinned by adding the constant direction, which the normalisation takes out again.
    flow = jnp.sum(net, axis=-1) / (2.0 * scale)
    ratio = jnp.linalg.solve(laplacian + 1.0 / both.shape[-1], flow[..., None])[..., 0]
    return log_normalise(problem.log_reference + ratio)


def chi_po_target(problem: EditProblem, scale: Number = 1.0, steps: int = 200) -> Policy:
    """Chi-PO's optimum under balance, unclipped: pi = r * reference with r + log r = -c / (scale * beta) + a constant.

    The constant of each context by bisection, r by Newton's iteration on log r.
    """
    wanted = -problem.expected_cost / (scale * problem.beta)

    def log_ratio(level: Float[Array, "X Y"]) -> Float[Array, "X Y"]:
        def step(_, value):
            return value - (jnp.exp(value) + value - level) / (jnp.exp(value) + 1.0)

        return jax.lax.fori_loop(0, 60, step, jnp.where(level > 1.0, jnp.log(jnp.maximum(level, 1.0)), level))

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        mass = jnp.sum(jnp.exp(problem.log_reference + log_ratio(wanted + middle[:, None])), axis=-1)
        return jnp.where(mass > 1.0, low, middle), jnp.where(mass > 1.0, middle, high)

    # At the constant -max(wanted) + 1 every r is at most 1, at -min(wanted) + 1 at least 1.
    ends = 1.0 - jnp.max(wanted, axis=-1), 1.0 - jnp.min(wanted, axis=-1)
    low, high = jax.lax.fori_loop(0, steps, halve, ends)
    return log_normalise(problem.log_reference + log_ratio(wanted + ((low + high) / 2)[:, None]))
