"""Certificates when the law of the contexts is not known: the worst average over laws that the log does not refute; C12.

The counts of n contexts have an e-process against every law rho, the Dirichlet(1/2, ..., 1/2) mixture over rho; the laws it does not
refute at delta form a convex set, valid at every n at once. The largest average of given values over it is found by one multiplier.
"""

import numpy as np
from jaxtyping import Float
from scipy import optimize
from scipy.special import gammaln

from edittheory.core.shapes import shaped
from edittheory.core.validation import check_probability


def slack(counts: Float[np.ndarray, " X"], delta: float) -> float:
    """tau such that {rho : n KL(counts / n || rho) <= tau} holds the law with chance 1 - delta, at every n at once.

    log of the Dirichlet(1/2) mixture's likelihood falls short of the largest one by what is subtracted from log(1 / delta).
    """
    total, size = counts.sum(), len(counts)
    mixture = gammaln(size / 2) - gammaln(total + size / 2) + np.sum(gammaln(counts + 0.5) - gammaln(0.5))
    seen = counts[counts > 0]
    best = float(np.sum(seen * np.log(seen / total))) if total else 0.0
    return float(np.log(1.0 / delta) + best - mixture)


@shaped
def largest_mean(counts: Float[np.ndarray, " X"], values: Float[np.ndarray, " X"], delta: float) -> float:
    """max over laws rho in the set of sum_x rho_x values_x: a bound, with chance 1 - delta, on the mean under the true law.

    counts: how often each context occurred (whole numbers, zeros allowed); values may depend on the log as well, as long as the
    bound is used for values that the truth makes (C12). Infinite values of contexts that may occur give infinity. Raises ValueError
    naming the argument.
    """
    check_probability("delta", delta, open_left=True, open_right=True)
    counts, values = np.asarray(counts, dtype=float), np.asarray(values, dtype=float)
    if np.any(counts < 0) or np.any(counts != np.round(counts)):
        raise ValueError(f"counts must be whole numbers >= 0, but they are {counts.tolist()}")
    if np.any(np.isnan(values)):
        raise ValueError(f"values must not be NaN, but they are {values.tolist()}")
    tau, top = slack(counts, delta), float(values.max())
    if counts.sum() == 0 or np.isinf(top) or np.ptp(values) == 0:
        return top
    seen = counts > 0
    n, g, total = counts[seen], values[seen], counts.sum()

    def excess(law: np.ndarray) -> float:
        """n KL(counts / n || law) - tau, of the seen contexts."""
        return float(np.sum(n * np.log(n / total / law))) - tau

    def law(over: float) -> np.ndarray:
        """The maximiser at the multiplier: weights n / (top + over - g), normalised."""
        weights = n / (top + over - g)
        return weights / weights.sum()

    # Nothing on unseen contexts while the multiplier stays above the largest value; then what is left goes to the largest unseen one.
    scale = float(np.ptp(values))
    if np.all(seen) or top not in values[~seen]:
        low, high = 1e-12 * scale, 1e12 * scale
        if excess(law(low)) <= 0:
            return float(law(low) @ g)
        over = optimize.brentq(lambda t: excess(law(np.exp(t))), np.log(low), np.log(high))
        found = law(float(np.exp(over)))
        candidates = [float(found @ g)]
        unseen = values[~seen]
        if len(unseen):
            candidates.append(_with_unseen(n, g, float(unseen.max()), total, tau))
        return max(candidates)
    return _with_unseen(n, g, top, total, tau)


def _with_unseen(n: np.ndarray, g: np.ndarray, value: float, total: float, tau: float) -> float:
    """The same, where a context that never occurred has the given value and gets a share w of the law."""

    def best(w: float) -> float:
        """Largest mean with share w on the unseen context: what slack is left bends the rest."""
        left = tau + total * np.log1p(-w)
        if left <= 0:
            return (1 - w) * float(n @ g) / total + w * value
        if np.ptp(g) == 0:
            return (1 - w) * float(g[0]) + w * value
        scale = float(np.ptp(g))

        def law(over: float) -> np.ndarray:
            weights = n / (g.max() + over - g)
            return weights / weights.sum()

        def excess(log_over: float) -> float:
            return float(np.sum(n * np.log(n / total / law(np.exp(log_over))))) - left

        low, high = np.log(1e-12 * scale), np.log(1e12 * scale)
        over = low if excess(low) <= 0 else optimize.brentq(excess, low, high)
        return (1 - w) * float(law(float(np.exp(over))) @ g) + w * value

    most = -np.expm1(-tau / total)
    found = optimize.minimize_scalar(
        lambda w: -best(w), bounds=(0.0, most), method="bounded", options={"xatol": 1e-12}
    )
    return max(best(0.0), best(most), -float(found.fun))
