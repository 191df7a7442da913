"""What a log says about given policies: which of them may be the user's preferred law, and what each is sure to cost at most.

Log-ratios h_k = log(pi_k / w), w the policy that wrote, of each candidate at response and edit. Needs nothing but a Parquet file of
log-probabilities, so candidates may be language models.
"""

from typing import NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Bool, Float, Int

from edittheory.logs.advice.direction_models import SCALES, Tested, log_sigmoid, predictions, run
from edittheory.logs.advice.samples import Sample


class Candidates(NamedTuple):
    """Of K policies: log_e (K,), largest log-evidence against "this is the preferred law"; possible (K,): not refuted at the level;
    cost_bound (K,): upper bound on the expected edit cost; tested: the hypothesis that one of them is the preferred law."""

    names: tuple[str, ...]
    log_e: Float[np.ndarray, " K"]
    possible: Bool[np.ndarray, " K"]
    cost_bound: Float[np.ndarray, " K"]
    tested: Tested


def direction_evidence(
    sample: Sample, moved: Float[np.ndarray, "N d"], texts: Int[np.ndarray, "N 2"] | None = None
) -> Float[np.ndarray, "N K"]:
    """log-evidence after each record against each candidate, from directions: the free predictor over the candidate's likelihood."""
    ratios = sample.edit - sample.response
    predicted = predictions(np.asarray(moved, dtype=float), ratios, texts)
    return np.cumsum(predicted)[:, None] - np.cumsum(log_sigmoid(ratios), axis=0)


def cost_pairs(prompts: Int[np.ndarray, " N"]) -> Int[np.ndarray, "M 2"]:
    """Records of one prompt paired in their order, by when the second came."""
    waiting: dict[int, int] = {}
    found = []
    for place, name in enumerate(prompts.tolist()):
        if name in waiting:
            found.append((waiting.pop(name), place))
        else:
            waiting[name] = place
    return np.array(found, dtype=int).reshape(-1, 2)


def cost_evidence(
    sample: Sample, prompts: Int[np.ndarray, " N"], beta: float, cost_max: float
) -> Float[np.ndarray, "N K"]:
    """log-evidence after each record against each candidate, by bets on differences of costs within a prompt.

    If pi_k is the preferred law, cost + beta h_k has one mean for all responses of a prompt, so its differences have mean 0. Needs
    a policy that was fixed while it wrote, costs in [0, cost_max] and prompts that recur; without pairs there is no evidence.
    """
    pairs = cost_pairs(prompts)
    size, count = sample.response.shape
    found = np.zeros((size, count))
    if not len(pairs):
        return found
    first, second = pairs.T
    claimed = -beta * (sample.response[second] - sample.response[first])
    seen = sample.cost[second] - sample.cost[first]
    # Whoever has predicted the differences best so far, a candidate or a scaled one, is what is bet on against each.
    rivals = np.concatenate([scale * claimed for scale in SCALES], axis=1)
    errors = np.cumsum((seen[:, None] - rivals) ** 2, axis=0) - (seen[:, None] - rivals) ** 2
    best = np.take_along_axis(rivals, errors.argmin(axis=1)[:, None], axis=1)
    margin = best - claimed
    spread = (0.25 * cost_max**2 + errors.min(axis=1)) / np.arange(1, len(pairs) + 1)
    limit = 0.5 / (cost_max + np.abs(claimed))
    bet = np.clip(margin / (spread[:, None] + margin**2), -limit, limit)
    gap = seen[:, None] - claimed
    np.add.at(found, second, np.log1p(bet * gap))
    return np.cumsum(found, axis=0)


def cost_bounds(sample: Sample, cost_max: float, level: float, cut: float = 10.0) -> Float[np.ndarray, " K"]:
    """Upper bounds on the expected edit cost of each candidate, all at once and at every n with chance 1 - level.

    J(pi) = cost_max - E[w (cost_max - cost)], w = exp(h) <= its cut form, so a lower bound on the mean of min(w, cut)
    (cost_max - cost) bounds J from above whatever the tails of w. The lower bound is the predictable empirical Bernstein one
    (Waudby-Smith and Ramdas 2023, Theorem 2). No balance is needed; costs must lie in [0, cost_max].
    """
    weight = np.minimum(np.exp(np.minimum(sample.response, 50.0)), cut)
    gain = weight * (cost_max - sample.cost)[:, None] / (cut * cost_max)
    size, count = gain.shape
    number = np.arange(1, size + 1)[:, None]
    mean = (0.5 + np.cumsum(gain, axis=0)) / (number + 1)
    variance = (0.25 + np.cumsum((gain - mean) ** 2, axis=0)) / (number + 1)
    share = np.log(count / level)
    old = np.concatenate([np.full((1, count), 0.25), variance[:-1]])
    past = np.concatenate([np.full((1, count), 0.5), mean[:-1]])
    bet = np.minimum(np.sqrt(2 * share / (old * number * np.log1p(number))), 0.5)
    price = (-np.log1p(-bet) - bet) * (gain - past) ** 2
    low = (np.cumsum(bet * gain, axis=0) - share - np.cumsum(price, axis=0)) / np.cumsum(bet, axis=0)
    return np.clip(cost_max - cut * cost_max * low.max(axis=0), 0.0, cost_max)


def examine(
    names: tuple[str, ...],
    sample: Sample,
    prompts: Int[np.ndarray, " N"],
    moved: Float[np.ndarray, "N d"],
    beta: float,
    cost_max: float,
    level: float,
    texts: Int[np.ndarray, "N 2"] | None = None,
) -> Candidates:
    """Test every candidate by directions and by costs (level / 2 each), and bound the cost of each (at `level` by itself)."""
    directions = direction_evidence(sample, moved, texts)
    both = np.maximum(directions, cost_evidence(sample, prompts, beta, cost_max)) - np.log(2.0)
    worst = np.maximum.accumulate(both, axis=0)
    least = worst.min(axis=1)
    tested = run("a candidate", least, np.arange(1, len(least) + 1), len(least), level, np.arange(len(least)))
    possible = worst[-1] < -np.log(level)
    return Candidates(names, worst[-1], possible, cost_bounds(sample, cost_max, level), tested)


def divergences(sample: Sample, beta: float) -> Float[np.ndarray, "K K"]:
    """Estimates (no bounds) of beta KL(pi_j || pi_k) by self-normalised importance weights, (K, K)."""
    h = sample.response
    weight = scipy.special.softmax(h, axis=0)
    own = np.sum(weight * h, axis=0)
    scale = scipy.special.logsumexp(h, axis=0)
    return beta * np.maximum(own[:, None] - scale[:, None] - weight.T @ h + scale[None, :], 0.0)
