"""The rule: scores of the learners, linear in the log's statistics, with weights and a margin tuned on simulated logs.

Tuned by `python -m experiments.advice_tuning` to make the mean regret small on one set of simulated logs; the experiments `advice` and
`advice_texts` report on others, of other users. A learner is *separated* from the advised one if its score is lower by more than the
margin.
"""

import functools
import importlib.resources
import json
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from edittheory.logs.advice.statistics import NAMES

KINDS = ("texts", "policies", "features")
"""What a rule is for: logs of texts, logs with candidate policies, and samples with features of one's own and prompts that recur."""
DELTA = 0.1
"""Stated error: chance that a learner said to be separated is better than the advised one by more than TOLERANCE."""
TOLERANCE = 0.02
"""As a share of what there is to gain, the SubOpt of the policy that wrote."""
MOST_FACTOR = 100.0
"""Beyond this many times as many edits no forecast is made."""
LARGEST = 3.0
"""Statistics further than this many standard deviations from what the rule was tuned on count as this far."""


class Rule(NamedTuple):
    """centre, scale (S,): of the statistics; weights (S + 1, L), the last row constant; margins (M,) of a separation at M sizes (M,)."""

    centre: Float[np.ndarray, " S"]
    scale: Float[np.ndarray, " S"]
    weights: Float[np.ndarray, "T L"]
    sizes: Float[np.ndarray, " M"]
    margins: Float[np.ndarray, " M"]

    def margin(self, statistics: Float[np.ndarray, "... S"]) -> Float[np.ndarray, "..."]:
        """By which score a learner must be behind to be separated: between sizes linear in log n, beyond them constant."""
        return np.asarray(np.interp(statistics[..., NAMES.index("log n")], np.log(self.sizes), self.margins))


class Decision(NamedTuple):
    """scores (L,); advised: index of the largest; separated (L,): who is told apart from it; outside: names of statistics
    beyond what the rule was tuned on, and then nothing is separated; more: edits still needed to separate all, 0 if they are, None
    if no forecast is made."""

    scores: Float[np.ndarray, " L"]
    advised: int
    separated: Bool[np.ndarray, " L"]
    outside: tuple[str, ...]
    more: int | None


@functools.cache
def load(kind: str) -> Rule:
    """The tuned rule of a kind."""
    text = (importlib.resources.files("edittheory.logs.advice") / "rule.json").read_text(encoding="utf-8")
    found = json.loads(text)[kind]
    return Rule(*(np.array(found[name], dtype=float) for name in Rule._fields))


def place(rule: Rule, statistics: Float[np.ndarray, "... S"]) -> Float[np.ndarray, "... T"]:
    """Standardised statistics, and a 1."""
    z = np.clip((statistics - rule.centre) / rule.scale, -LARGEST, LARGEST)
    return np.concatenate([z, np.ones((*z.shape[:-1], 1))], axis=-1)


def score(rule: Rule, statistics: Float[np.ndarray, "... S"]) -> Float[np.ndarray, "... L"]:
    """Of every learner; larger is better."""
    return place(rule, statistics) @ rule.weights


def project(statistics: Float[np.ndarray, " S"], factor: float) -> Float[np.ndarray, " S"]:
    """What the statistics would be with `factor` times as many edits of the same user, if what was seen of them is right.

    Noise falls as 1 / n; a distance between stand-ins beyond its noise stays, so its ratio to the noise grows; held-out differences
    count for more by the root of the factor.
    """
    found = dict(zip(NAMES, statistics.tolist(), strict=True))
    for name, value in found.items():
        if name == "log n":
            found[name] = value + np.log(factor)
        elif name.startswith("noise"):
            found[name] = value - np.log(factor)
        elif " from " in name:
            found[name] = float(np.log(np.exp(min(value, 0.0)) + max(np.exp(value) - 1.0, 0.0) * factor))
        elif name.startswith("held out"):
            found[name] = float(np.tanh(np.arctanh(np.clip(value, -1 + 1e-12, 1 - 1e-12)) * np.sqrt(factor)))
    return np.array([found[name] for name in NAMES])


def decide(rule: Rule, statistics: Float[np.ndarray, " S"]) -> Decision:
    """The advice for one log."""
    scores = score(rule, statistics)
    advised = int(np.argmax(scores))
    separated = scores[advised] - scores > rule.margin(statistics)
    outside = beyond(rule, statistics)
    return Decision(
        scores, advised, separated & (not outside), outside, None if outside else _more(rule, statistics)
    )


def beyond(rule: Rule, statistics: Float[np.ndarray, " S"]) -> tuple[str, ...]:
    """Names of statistics beyond what the rule was tuned on, for which nothing is stated.

    More edits, less noise and clearer distances than that are no reason to keep silent: they count as the most that was seen.
    """
    found = []
    for name, z in zip(NAMES, (statistics - rule.centre) / rule.scale, strict=True):
        low, high = z < -LARGEST, z > LARGEST
        if name == "log n" or " from " in name:
            high = False
        elif name.startswith("noise"):
            low = False
        if low or high:
            found.append(name)
    return tuple(found)


def _more(rule: Rule, statistics: Float[np.ndarray, " S"]) -> int | None:
    size = float(np.exp(statistics[NAMES.index("log n")]))
    for factor in np.geomspace(1.0, MOST_FACTOR, 41):
        seen = project(statistics, float(factor))
        later = score(rule, seen)
        gap = np.delete(later.max() - later, int(np.argmax(later)))
        if np.all(gap > rule.margin(seen)):
            return int(np.ceil(size * (factor - 1.0)))
    return None
