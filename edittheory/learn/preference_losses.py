"""Preference losses by the names their users know, as pure functions of log-probabilities; one value for each pair.

All are of the log-ratios h = log(pi / reference) of edit and response, u = h(edit) - h(response), and a coefficient
`scale` (s here, beta in TRL). They broadcast like `losses`, and take one more number, `option`, whose meaning
`PREFERENCE_LOSSES` names. The user's edit is TRL's "chosen", the agent's response its "rejected". What each has as its
population optimum is in docs/losses.md.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from edittheory.learn.losses import Values, preference_logit, weighted

LARGEST_LOG_RATIO = 30.0
"""Above this log-ratio chi-PO's ratio pi / reference is held, so that it stays finite in float32."""

Number = float | Values


def sigmoid(
    logp_edit: Values, logp_response: Values, ref_logp_edit: Values, ref_logp_response: Values,
    scale: Number = 1.0, option: Number = 0.0,
) -> Values:  # fmt: skip
    """DPO: -log sigmoid(s u - option); option is a margin that u has to exceed, 0 in DPO (Rafailov et al. 2023, eq. 7)."""
    logit = preference_logit(logp_edit, logp_response, ref_logp_edit, ref_logp_response)
    return jax.nn.softplus(option - scale * logit)


def ipo(
    logp_edit: Values, logp_response: Values, ref_logp_edit: Values, ref_logp_response: Values,
    scale: Number = 1.0, option: Number = 0.0,
) -> Values:  # fmt: skip
    """IPO: (u - 1 / (2 s))^2, with s its tau (Azar et al. 2024, eq. 17). TRL takes u of means over tokens."""
    logit = preference_logit(logp_edit, logp_response, ref_logp_edit, ref_logp_response)
    return (logit - 1.0 / (2.0 * scale)) ** 2


def conservative(
    logp_edit: Values, logp_response: Values, ref_logp_edit: Values, ref_logp_response: Values,
    scale: Number = 1.0, option: Number = 0.1,
) -> Values:  # fmt: skip
    """cDPO: DPO with label smoothing e = option, -(1 - e) log sigmoid(s u) - e log sigmoid(-s u) (Mitchell 2023)."""
    logit = scale * preference_logit(logp_edit, logp_response, ref_logp_edit, ref_logp_response)
    right, wrong = jax.nn.softplus(-logit), jax.nn.softplus(logit)
    return weighted(right, 1.0 - option) + weighted(wrong, option)


def robust(
    logp_edit: Values, logp_response: Values, ref_logp_edit: Values, ref_logp_response: Values,
    scale: Number = 1.0, option: Number = 0.1,
) -> Values:  # fmt: skip
    """rDPO: the unbiased form of DPO when labels are flipped at rate e = option < 1/2 (Chowdhury et al. 2024, eq. 12).

    [-(1 - e) log sigmoid(s u) + e log sigmoid(-s u)] / (1 - 2 e); not bounded below where labels are surer than 1 - e.
    """
    logit = scale * preference_logit(logp_edit, logp_response, ref_logp_edit, ref_logp_response)
    right, wrong = jax.nn.softplus(-logit), jax.nn.softplus(logit)
    return (weighted(right, 1.0 - option) - weighted(wrong, option)) / (1.0 - 2.0 * option)


def dpo_positive(
    logp_edit: Values, logp_response: Values, ref_logp_edit: Values, ref_logp_response: Values,
    scale: Number = 1.0, option: Number = 5.0,
) -> Values:  # fmt: skip
    """DPO-positive: -log sigmoid(s (u - l max(0, -h(edit)))), l = option (Pal et al. 2024, eq. 3): the edit may not fall."""
    logit = preference_logit(logp_edit, logp_response, ref_logp_edit, ref_logp_response)
    fallen = jax.nn.relu(ref_logp_edit - logp_edit)
    return jax.nn.softplus(scale * (weighted(fallen, option) - logit))


def simpo(
    logp_edit: Values, logp_response: Values, ref_logp_edit: Values, ref_logp_response: Values,
    scale: Number = 2.0, option: Number = 0.5,
) -> Values:  # fmt: skip
    """SimPO: -log sigmoid(s (log pi(edit) - log pi(response)) - g), g = option, without a reference (Meng et al. 2024, eq. 6).

    Its log-probabilities are means over tokens: divide by the lengths before.
    """
    none = jnp.zeros_like(ref_logp_edit), jnp.zeros_like(ref_logp_response)
    return jax.nn.softplus(option - scale * preference_logit(logp_edit, logp_response, *none))


def kto(
    logp_edit: Values, logp_response: Values, ref_logp_edit: Values, ref_logp_response: Values,
    scale: Number = 1.0, option: Number = 0.0,
    desirable_weight: Number = 1.0, undesirable_weight: Number = 1.0,
) -> Values:  # fmt: skip
    """KTO on a pair: the mean of d sigmoid(s (z - h(edit))) and r sigmoid(s (h(response) - z)) (Ethayarajh et al. 2024, eq. 8).

    z = option is the reference point, KL(pi || reference) or an estimate, which no gradient goes through; d and r weigh
    desirable and undesirable texts.
    """
    anchor = jax.lax.stop_gradient(option)
    good = jax.nn.sigmoid(scale * (anchor - (logp_edit - ref_logp_edit)))
    bad = jax.nn.sigmoid(scale * ((logp_response - ref_logp_response) - anchor))
    return (desirable_weight * good + undesirable_weight * bad) / 2.0


def apo_zero(
    logp_edit: Values, logp_response: Values, ref_logp_edit: Values, ref_logp_response: Values,
    scale: Number = 1.0, option: Number = 0.0,
) -> Values:  # fmt: skip
    """APO-zero: sigmoid(-s h(edit)) + sigmoid(s h(response)), edit up and response down (D'Oosterlinck et al. 2024, eq. 7)."""
    up = jax.nn.sigmoid(-scale * (logp_edit - ref_logp_edit))
    return up + jax.nn.sigmoid(scale * (logp_response - ref_logp_response))


def apo_down(
    logp_edit: Values, logp_response: Values, ref_logp_edit: Values, ref_logp_response: Values,
    scale: Number = 1.0, option: Number = 0.0,
) -> Values:  # fmt: skip
    """APO-down: sigmoid(s h(edit)) + sigmoid(-s u), both down, the response more (D'Oosterlinck et al. 2024, eq. 8)."""
    logit = preference_logit(logp_edit, logp_response, ref_logp_edit, ref_logp_response)
    return jax.nn.sigmoid(scale * (logp_edit - ref_logp_edit)) + jax.nn.sigmoid(-scale * logit)


def chi_po(
    logp_edit: Values, logp_response: Values, ref_logp_edit: Values, ref_logp_response: Values,
    scale: Number = 1.0, option: Number = 20.0,
) -> Values:  # fmt: skip
    """Chi-PO: DPO with phi(r) = r + log r of the ratio r = pi / reference in place of log r (Huang et al. 2025, eq. 8).

    The logit is clipped to [-option, option], their 2 R_max. The ratio is held above e^LARGEST_LOG_RATIO.
    """
    logit = preference_logit(logp_edit, logp_response, ref_logp_edit, ref_logp_response)
    edit, response = (
        jnp.exp(jnp.minimum(log_ratio, LARGEST_LOG_RATIO))
        for log_ratio in (logp_edit - ref_logp_edit, logp_response - ref_logp_response)
    )
    return jax.nn.softplus(-jnp.clip(scale * (logit + edit - response), -option, option))


@dataclasses.dataclass(frozen=True)
class PreferenceLoss:
    """A loss of pairs: its function, what its `option` is and may be, and whether TRL gives it means over tokens."""

    function: Callable[..., Values]
    option: str
    default: float
    least: float
    most: float
    per_token: bool = False

    def check(self, option: float) -> None:
        """Raises ValueError if `option` is outside of its range."""
        if not self.least <= option <= self.most:
            raise ValueError(
                f"option ({self.option}) must be in [{self.least:g}, {self.most:g}], but it is {option}"
            )


HUGE = 1e6
PREFERENCE_LOSSES = {
    "sigmoid": PreferenceLoss(sigmoid, "margin", 0.0, -HUGE, HUGE),
    "ipo": PreferenceLoss(ipo, "not used", 0.0, 0.0, 0.0, per_token=True),
    "conservative": PreferenceLoss(conservative, "label smoothing", 0.1, 0.0, 0.5),
    "robust": PreferenceLoss(robust, "rate of flipped labels", 0.1, 0.0, 0.499),
    "dpo_positive": PreferenceLoss(dpo_positive, "weight of the edit's fall", 5.0, 0.0, HUGE),
    "simpo": PreferenceLoss(simpo, "margin", 0.5, -HUGE, HUGE, per_token=True),
    "kto": PreferenceLoss(kto, "reference point", 0.0, 0.0, HUGE),
    "apo_zero": PreferenceLoss(apo_zero, "not used", 0.0, 0.0, 0.0),
    "apo_down": PreferenceLoss(apo_down, "not used", 0.0, 0.0, 0.0),
    "chi_po": PreferenceLoss(chi_po, "clip of the logit", 20.0, 1e-6, HUGE),
}  # fmt: skip
"""Every preference loss by its name; the order numbers them for `by_number`."""

NUMBERS = {name: number for number, name in enumerate(PREFERENCE_LOSSES)}


def by_number(
    number: Int[Array, ""], logp_edit: Values, logp_response: Values, ref_logp_edit: Values,
    ref_logp_response: Values, scale: Number, option: Number,
) -> Values:  # fmt: skip
    """The loss of NUMBERS[name], chosen when it is run: one compiled program serves all losses."""
    functions = [loss.function for loss in PREFERENCE_LOSSES.values()]
    logps = (logp_edit, logp_response, ref_logp_edit, ref_logp_response)
    return jax.lax.switch(number, functions, *logps, scale, option)
