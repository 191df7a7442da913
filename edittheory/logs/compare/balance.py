"""Balance on coarse states: do the directions of edits fit one preference, and do edits go both ways?

With a balanced user, given that an edit joins the states a and b, it goes from a to b with chance sigmoid(s(b) - s(a)), s = log(pi*/w),
w the law of the responses: a Bradley-Terry model (docs/theory-certificates.md, C3 and C13). Users whose directions run in circles, or
who want other things of other responses, do not fit it. The test takes the responses' weight over pi* to be one number within a
state; where that is far from true it may reject a balanced user, and a few states may fit where the texts would not.
"""

import functools
from typing import Any

import numpy as np
import scipy.special
from jaxtyping import Float

from edittheory.logs.advice.direction_models import damped_newton, log_sigmoid
from edittheory.logs.users.states import Coded, States

RIDGE = 1e-2
"""Keeps the scores of states finite that edits only ever leave, or only ever enter."""


def _pairs(counts: Float[np.ndarray, "X Y Y"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """design (P, S): -1 at a and +1 at b of each unordered pair that edits joined, of the S states they
    touch; edits from a to b, and in both directions (P,)."""
    num_x, num_y, _ = counts.shape
    rows, there, both = [], [], []
    for x in range(num_x):
        for a in range(num_y):
            for b in range(a + 1, num_y):
                total = counts[x, a, b] + counts[x, b, a]
                if total:
                    row = np.zeros(num_x * num_y)
                    row[[x * num_y + a, x * num_y + b]] = -1.0, 1.0
                    rows.append(row)
                    there.append(counts[x, a, b])
                    both.append(total)
    design = np.array(rows).reshape(-1, num_x * num_y)
    return design[:, np.abs(design).any(axis=0)], np.array(there, dtype=float), np.array(both, dtype=float)


def _loss(design: np.ndarray, there: np.ndarray, both: np.ndarray, at: np.ndarray) -> float:
    """Negative log-likelihood of the directions at scores `at` (S,), and the ridge."""
    logit = design @ at
    return float(
        -(there * log_sigmoid(logit) + (both - there) * log_sigmoid(-logit)).sum() + RIDGE * at @ at / 2
    )


def _slope(
    design: np.ndarray, there: np.ndarray, both: np.ndarray, at: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient (S,) and Hessian (S, S) of `_loss`."""
    chance = scipy.special.expit(design @ at)
    gradient = design.T @ (both * chance - there) + RIDGE * at
    return gradient, (design * (both * chance * (1 - chance))[:, None]).T @ design + RIDGE * np.eye(len(at))


def _scores(design: np.ndarray, there: np.ndarray, both: np.ndarray) -> np.ndarray:
    """Scores of the states that make the directions likeliest, with a ridge, by damped Newton steps; (S,)."""
    loss = functools.partial(_loss, design, there, both)
    slope = functools.partial(_slope, design, there, both)
    return damped_newton(loss, slope, design.shape[1], 1e-8)


def _deviance(design: np.ndarray, there: np.ndarray, both: np.ndarray) -> tuple[float, np.ndarray]:
    """Twice the log-likelihood that Bradley-Terry loses against a chance of its own for each pair, and its chances."""
    logit = design @ _scores(design, there, both)
    share = there / both
    free = scipy.special.xlogy(there, share) + scipy.special.xlogy(both - there, 1 - share)
    fitted = there * log_sigmoid(logit) + (both - there) * log_sigmoid(-logit)
    return float(2 * (free - fitted).sum()), scipy.special.expit(logit)


def directions_fit(
    coded: Coded, states: States, contexts: int, seed: int, resamples: int = 199
) -> dict[str, Any]:
    """What the directions of edits between states say of balance.

    changed: edits that change the state; one_way: share of them between states that no edit joins the other way; pairs: of states that
    edits join; spare: pairs beyond what the scores use up, without which nothing can be tested; p: of the parametric bootstrap (small:
    no preference fits), None where nothing can be tested; deviance: the statistic.
    """
    counts = coded.counts((contexts, len(states.switches)))
    design, there, both = _pairs(counts)
    changed = float(both.sum())
    spare = len(design) - int(np.linalg.matrix_rank(design)) if len(design) else 0
    found: dict[str, Any] = {"changed": int(changed), "one_way": None, "pairs": len(design), "spare": spare}
    if changed:
        alone = (there == 0) | (there == both)
        found["one_way"] = float(both[alone].sum() / changed)
    if not spare:
        return found | {"p": None, "deviance": None}
    seen, chance = _deviance(design, there, both)
    rng = np.random.default_rng(seed)
    drawn = [
        _deviance(design, rng.binomial(both.astype(int), chance).astype(float), both)[0]
        for _ in range(resamples)
    ]
    p = (1 + sum(one >= seen - 1e-9 for one in drawn)) / (resamples + 1)
    return found | {"p": float(p), "deviance": seen}
