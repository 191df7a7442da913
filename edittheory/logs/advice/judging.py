"""What each stand-in is worth, by cross-validation on the log: its edit cost plus beta times its divergence, with paired errors.

J_beta(pi) = E[cost] + beta KL(pi || reference) is estimated by importance weights on held-out records, doubly robust: costs are
predicted by a regression on the other folds and only what that leaves over is weighted. This needs no balance: preferences and
labels are judged by what the edits of *their* policy would cost.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from edittheory.logs.advice import proxies
from edittheory.logs.advice.samples import Sample, group_sums

FOLDS = 5
Z = 1.96
"""Standard errors by which a held-out gain must be above 0 to be called shown."""
LARGEST_WEIGHT = 50.0
"""Importance weights are cut here; what is cut is reported by the effective sample size."""


class Judgement(NamedTuple):
    """Of L learners in the order of `proxies.LEARNERS`: value (L,), estimated J_beta less that of the reference; error (L, L):
    standard error of the difference of each two; alone (L,): of each value; effective (L,): effective share of the sample behind it."""

    value: Float[np.ndarray, " L"]
    error: Float[np.ndarray, "L L"]
    alone: Float[np.ndarray, " L"]
    effective: Float[np.ndarray, " L"]

    def gain_shown(self, learner: int) -> bool:
        """Whether the value of a learner is below that of the reference by Z standard errors."""
        return bool(self.value[learner] + Z * self.alone[learner] < 0)


def judge(sample: Sample, beta: float, policies: bool = False, folds: int = FOLDS) -> Judgement:
    """Cross-validate the stand-ins. Rows are dealt to folds in turn; `policies`: features are log-ratios of candidates."""
    size, group = sample.size, sample.group
    fold = np.arange(size) % folds
    count = len(proxies.LEARNERS)
    value, influence, effective = np.zeros(count), np.zeros((count, size)), np.zeros(count)
    mean_cost = sample.cost.mean()
    whole = proxies.policy_losses(sample, beta) if policies else None
    for number in range(folds):
        held, train = fold == number, fold != number
        if whole is not None:
            part = Sample(*(column[held] for column in sample))
            losses = whole.less(proxies.policy_losses(part, beta, len(whole.sizes)))
            ratios = {name: sample.response[:, pick] for name, pick in losses.picks().items()}
            predicted = _anchored(sample, train, -beta * ratios["cost regression"])
        else:
            ratios = {
                name: proxies.fit_features(name, sample, train, beta).log_ratio for name in proxies.LEARNERS
            }
            predicted = _anchored(sample, train, -beta * ratios["cost regression"])
        for i, learner in enumerate(proxies.LEARNERS):
            ratio = np.clip(ratios[learner], -proxies.MOST_LOG_RATIO, proxies.MOST_LOG_RATIO)
            h = proxies.normalised(group, ratio)
            weight = np.minimum(np.exp(h), LARGEST_WEIGHT)
            known = weight * (predicted + beta * h)
            left = (weight * (sample.cost - predicted))[held]
            # The regression may be off by a constant in each group: weights are centred, so that it does not matter.
            base = (sample.cost - predicted)[held]
            value[i] += (known.mean() - predicted.mean() + (left - base).mean()) / folds
            total = weight * (sample.cost + beta * h)
            mean = (group_sums(group, total) / np.maximum(group_sums(group, weight), 1e-12))[group]
            influence[i, held] = (total - weight * mean + mean - (sample.cost - mean_cost))[held]
            effective[i] += weight.sum() ** 2 / np.sum(weight**2) / size / folds
    gap = influence[:, None, :] - influence[None, :, :]
    alone = influence.std(axis=-1, ddof=1) / np.sqrt(size)
    return Judgement(value, gap.std(axis=-1, ddof=1) / np.sqrt(size), alone, effective)


def _anchored(sample: Sample, train, shape: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Cost of every response: a shape from regression and a constant in each group, from the rows `train`."""
    count = np.bincount(sample.group[train], minlength=sample.group.max() + 1)
    left = np.bincount(sample.group[train], weights=(sample.cost - shape)[train], minlength=len(count))
    overall = float((sample.cost - shape)[train].mean())
    return shape + ((left + overall) / (count + 1.0))[sample.group]
