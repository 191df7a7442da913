"""Sequential tests of how edits choose their direction, from log-probabilities under the policy that wrote, and of candidates.

Given the unordered pair {a, b} of texts that an edit turned one into the other, let p be the chance of the direction seen. With a
balanced user whose preferred law is pi*, p = sigmoid(log(pi*/w)(edit) - log(pi*/w)(response)), w the policy that wrote this response
(docs/theory-certificates.md, C3 and C13). So a hypothesis about pi* is one about coins:

* nothing to learn: pi* = w. Fair coins; texts alone suffice.
* no taste: the user edits a into b as readily as b into a. p = sigmoid(log w(response) - log w(edit)): needs log-probabilities.
* a temperature: pi* proportional to w^(1 + t) for some t; the two above are t = 0 and t = -1.
* a candidate: pi* is one of given policies.

Evidence is that of universal inference (Wasserman, Ramdas and Balakrishnan 2020): predictions made from earlier records only, over
the largest likelihood in the hypothesis. Under it the evidence ever reaches 1 / level with chance at most `level`.
"""

import functools
import itertools
import math
import typing
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Float, Int

from edittheory.core.validation import check_probability

HYPOTHESES = {
    "nothing to learn": "given the pair of texts, either direction has chance 1/2: edits prefer what the policy prefers",
    "no taste": "the user turns a into b as readily as b into a: directions only undo how often the policy writes what",
    "a temperature": "balance, and the preferred law is a power of the policy: edits want its own texts, more or less decidedly",
    "a candidate": "balance, and one of the given policies is the preferred law",
}
"""The hypotheses and what each says."""
GROWTH = 1.25
"""The predictor is fitted anew whenever this many times as many records have been seen."""
RIDGE = 4.0
RATES = (0.1, 0.4)
"""Steps by which scores of texts are learned."""
SCALES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""By how much candidates' log-ratios are scaled in the predictor's mixture."""


class Tested(NamedTuple):
    """One hypothesis: log_e, the largest log-evidence against it; rejected: it reached log(1 / level); needed: records read by then."""

    hypothesis: str
    edits: int
    log_e: float
    rejected: bool
    needed: int | None


def looks(size: int) -> Int[np.ndarray, " K"]:
    """The sizes at which evidence is computed: 1, 2, ..., then growing by GROWTH, and the last."""
    found, at = [], 1
    while at < size:
        found.append(at)
        at = max(at + 1, int(at * GROWTH))
    return np.array([*found, size])


def log_sigmoid(u: np.ndarray) -> np.ndarray:
    """log of 1 / (1 + exp(-u))."""
    return -np.logaddexp(0.0, -u)


def damped_newton(
    loss: Callable[[np.ndarray], float],
    slope: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    size: int,
    least: float,
) -> Float[np.ndarray, " d"]:
    """Minimiser (size,) of a convex function by at most 50 damped Newton steps from 0.

    slope(theta): gradient and Hessian. Ends where a step promises to lower the loss by less than about `least`.
    """
    theta = np.zeros(size)
    now = loss(theta)
    for _ in range(50):
        gradient, hessian = slope(theta)
        step, length = np.linalg.solve(hessian, gradient), 1.0
        drop = float(gradient @ step)
        if drop < least:
            break
        while (tried := loss(theta - length * step)) > now - 1e-4 * length * drop and length > 1e-6:
            length /= 2
        theta, now = theta - length * step, tried
    return theta


def fit_logistic(
    design: Float[np.ndarray, "n d"], offset: Float[np.ndarray, " n"], ridge: float
) -> Float[np.ndarray, " d"]:
    """argmax of sum log sigmoid(offset + design . theta) - ridge |theta|^2 / 2, by damped Newton steps."""
    return damped_newton(
        lambda at: np.logaddexp(0.0, -(offset + design @ at)).sum() + ridge * at @ at / 2,
        functools.partial(_logistic_slope, design, offset, ridge),
        design.shape[1],
        1e-9,
    )


@typing.no_type_check  # called thousands of times a test
def _logistic_slope(
    design: np.ndarray, offset: np.ndarray, ridge: float, theta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient (d,) and Hessian (d, d) of what `fit_logistic` minimises."""
    wrong = scipy.special.expit(-(offset + design @ theta))
    gradient = -design.T @ wrong + ridge * theta
    hessian = (design * (wrong * (1 - wrong))[:, None]).T @ design + (ridge + 1e-9) * np.eye(len(theta))
    return gradient, hessian


def predictions(
    moved: Float[np.ndarray, "N d"],
    ratios: Float[np.ndarray, "N K"] | None = None,
    texts: Int[np.ndarray, "N 2"] | None = None,
) -> Float[np.ndarray, " N"]:
    """log-chance of each direction, from earlier records only: a mixture that weighs its parts by how well they have done so far.

    Parts: ridge regression on `moved`, features of the edit less those of the response; members `ratios` scaled by SCALES; where
    texts recur, either with a score for each text that is learned on the way (`texts`: numbers of response and edit).
    """
    parts = [_regression(moved)]
    if ratios is not None:
        each = np.concatenate([log_sigmoid(scale * ratios) for scale in SCALES], axis=1)
        mixture = scipy.special.logsumexp(np.cumsum(each, axis=0), axis=1) - np.log(each.shape[1])
        parts.append(np.diff(mixture, prepend=0.0))
    if texts is not None:
        parts += [_scored(part, texts, rate) for part in tuple(parts) for rate in RATES]
    both = scipy.special.logsumexp(np.cumsum(parts, axis=1), axis=0) - np.log(len(parts))
    return np.diff(both, prepend=0.0)


def _regression(moved: Float[np.ndarray, "N d"]) -> Float[np.ndarray, " N"]:
    """Ridge regression on the features, in units of their spread so far, fitted anew at every look."""
    size = len(moved)
    spread = np.sqrt(np.cumsum(moved**2, axis=0) / np.arange(1, size + 1)[:, None])
    found, borders = np.full(size, np.log(0.5)), [0, *looks(size)]
    for first, last in itertools.pairwise(borders[1:]):
        scale = np.where(spread[first - 1] > 0, spread[first - 1], np.inf)
        theta = fit_logistic(moved[:first] / scale, np.zeros(first), RIDGE)
        found[first:last] = log_sigmoid(np.clip(moved[first:last] / scale @ theta, -8.0, 8.0))
    return found


def _scored(
    guess: Float[np.ndarray, " N"], texts: Int[np.ndarray, "N 2"], rate: float
) -> Float[np.ndarray, " N"]:
    """A guess with a score added for each text, moved after every edit towards what was seen (Elo 1978)."""
    scores: dict[int, float] = {}
    found = np.empty(len(guess))
    odds = guess - np.log(-np.expm1(np.minimum(guess, -1e-12)))
    for i, ((before, after), start) in enumerate(zip(texts.tolist(), odds.tolist(), strict=True)):
        if before == after:
            found[i] = np.log(0.5)
            continue
        u = start + scores.get(after, 0.0) - scores.get(before, 0.0)
        found[i] = -math.log1p(math.exp(-u)) if u > -30 else u
        step = rate / (1.0 + math.exp(min(u, 30.0)))
        scores[after] = scores.get(after, 0.0) + step
        scores[before] = scores.get(before, 0.0) - step
    return found


def evidence(
    predicted: Float[np.ndarray, " N"],
    offset: Float[np.ndarray, " N"],
    design: Float[np.ndarray, "N d"] | None,
    at: Int[np.ndarray, " K"],
) -> Float[np.ndarray, " K"]:
    """log-evidence after each of `at` records against "sigmoid(offset + design . t) for some t" (without a design: offset alone)."""
    gained = np.cumsum(predicted)
    found = []
    for n in at:
        theta = np.zeros(0) if design is None else fit_logistic(design[:n], offset[:n], 0.0)
        u = offset[:n] if design is None else offset[:n] + design[:n] @ theta
        found.append(gained[n - 1] - log_sigmoid(u).sum())
    return np.array(found)


def run(
    hypothesis: str, log_e: np.ndarray, at: np.ndarray, edits: int, level: float, places: np.ndarray
) -> Tested:
    """The verdict: `places` are the records' numbers in the log, in order."""
    check_probability("level", level, open_left=True, open_right=True)
    if not len(at):
        return Tested(hypothesis, edits, 0.0, False, None)
    crossed = np.flatnonzero(log_e >= -np.log(level))
    needed = int(places[at[crossed[0]] - 1]) + 1 if len(crossed) else None
    return Tested(hypothesis, edits, float(max(log_e.max(), 0.0)), needed is not None, needed)


def reference_tests(
    moved: Float[np.ndarray, "N d"], reference: Float[np.ndarray, " N"], changed: np.ndarray, level: float
) -> list[Tested]:
    """The three hypotheses that the writing policy alone can test; `reference`: its log-probability of edit less that of response.

    Accepted records say nothing of a direction; `needed` counts them all the same. The level is divided over the tests.
    """
    places = np.flatnonzero(changed)
    moved, own = np.column_stack([moved[places], reference[places]]), reference[places]
    at = looks(len(places)) if len(places) else np.zeros(0, dtype=int)
    predicted = predictions(moved) if len(places) else np.zeros(0)
    nulls = {
        "nothing to learn": (np.zeros(len(own)), None),
        "no taste": (-own, None),
        "a temperature": (np.zeros(len(own)), own[:, None]),
    }
    return [
        run(name, evidence(predicted, offset, design, at), at, len(changed), level / len(nulls), places)
        for name, (offset, design) in nulls.items()
    ]
