"""What no rule can do: adapt to two users at once (M5), find the best of K policies in T rounds (O9), or trust a log for nothing (O11).

docs/theory-agnostic.md has the statements and proofs. Plain NumPy: exact sums over counts, one-dimensional integrals.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import optimize, special, stats

from edittheory.core.validation import check_int, check_positive, check_probability

REACH = 9.0
"""Standard deviations to which Gaussian integrals are taken."""
NODES = 400


class Pair(NamedTuple):
    """One context, two texts a and b, two users with one editing law: their edits differ in nothing but what they cost.

    change, back: chances that a becomes b and that b becomes a. near, far: the distance of a and b for the first user, who is
    balanced, and for the second, who is not. noise: standard deviation of what is added to every logged cost. beta: of J_beta.
    """

    change: float
    back: float
    near: float
    far: float
    noise: float
    beta: float

    @property
    def reference(self) -> Float[np.ndarray, "2"]:
        """pi_ref(a), pi_ref(b): the reference for which the first user is balanced."""
        odds = math.log(self.change / self.back) + self.near * (self.back - self.change) / self.beta
        return np.array([special.expit(-odds), special.expit(odds)])

    def cost(self, distance: float) -> Float[np.ndarray, "2"]:
        """Expected costs of a and b."""
        return distance * np.array([self.change, self.back])

    def optimum(self, distance: float) -> Float[np.ndarray, "2"]:
        """pi*(a), pi*(b) of the user with this distance."""
        law = self.reference * np.exp(-self.cost(distance) / self.beta)
        return law / law.sum()

    def check(self) -> "Pair":
        """Itself. Raises ValueError naming the field that is out of range."""
        for name in ("change", "back"):
            check_probability(name, getattr(self, name), open_left=True, open_right=True)
        for name in ("near", "far", "noise", "beta"):
            check_positive(name, getattr(self, name))
        if self.far <= self.near:
            raise ValueError(f"far: got {self.far}, must be above near, {self.near}")
        return self


class Adaptation(NamedTuple):
    """ratio: M5's lower bound. preference, cost: expected SubOpt of PREF with the first user and of RL plug-in with the second,
    in units of cost, both exact and over the class of the two users. weight: of the first user in the least favourable prior.
    distance: mean of the squared shift of the log-likelihood ratio between the users that n interactions give."""

    ratio: float
    preference: float
    cost: float
    weight: float
    distance: float


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    return float(np.sum(p * (np.log(p) - np.log(q))))


def preference_risk(pair: Pair, n: int) -> float:
    """E SubOpt of PREF over {pi*_near, pi*_far} with the first user: exact, from the counts of both directions."""
    first, second = pair.optimum(pair.near), pair.optimum(pair.far)
    odds = [
        np.log(law[1] / law[0]) - np.log(pair.reference[1] / pair.reference[0]) for law in (first, second)
    ]
    forth, back = pair.reference * np.array([pair.change, pair.back])
    wrong = 0.0
    edits = np.arange(n + 1)
    for total, chance in zip(edits, stats.binom.pmf(edits, n, forth + back), strict=True):
        ab = np.arange(total + 1)
        score = ab * (special.log_expit(odds[0]) - special.log_expit(odds[1]))
        score = score + (total - ab) * (special.log_expit(-odds[0]) - special.log_expit(-odds[1]))
        wrong += chance * np.sum(stats.binom.pmf(ab, total, forth / (forth + back)) * (score < 0))
    return pair.beta * _divergence(second, first) * float(wrong)


def cost_risk(pair: Pair, n: int) -> float:
    """E SubOpt of RL plug-in over the two costs with the second user: exact sums over counts, a normal law over the noise."""
    near, far = pair.cost(pair.near), pair.cost(pair.far)
    gap, half = far - near, 0.5 * (far**2 - near**2)
    wrong = 0.0
    answers = np.arange(n + 1)
    for a, chance in zip(answers, stats.binom.pmf(answers, n, pair.reference[0]), strict=True):
        ab, ba = np.arange(a + 1)[:, None], np.arange(n - a + 1)[None, :]
        mean = pair.far * (ab * gap[0] + ba * gap[1]) - a * half[0] - (n - a) * half[1]
        spread = pair.noise * math.sqrt(a * gap[0] ** 2 + (n - a) * gap[1] ** 2)
        law = stats.binom.pmf(ab, a, pair.change) * stats.binom.pmf(ba, n - a, pair.back)
        wrong += chance * np.sum(law * special.ndtr(-mean / spread))
    return pair.beta * _divergence(pair.optimum(pair.near), pair.optimum(pair.far)) * float(wrong)


def two_users(pair: Pair, n: int) -> Adaptation:
    """M5: every rule has, with one of the two users, an expected SubOpt of at least `ratio` times that of a plain learner.

    A rule is any function of the n logged (x, y, y', noisy cost), randomised or not; the plain learners are PREF with the
    first user, RL plug-in with the second. Raises ValueError naming the field or argument that is out of range.
    """
    pair.check()
    check_int("n", n, 1, 1000)
    risks = preference_risk(pair, n), cost_risk(pair, n)
    first, second = np.log(pair.optimum(pair.near)), np.log(pair.optimum(pair.far))
    rate = float(pair.reference @ np.array([pair.change, pair.back]))
    shift = (pair.far - pair.near) / pair.noise
    edits = np.arange(n + 1)
    chances = stats.binom.pmf(edits, n, rate)
    length = np.sqrt(np.maximum(edits, 1e-12)) * shift
    # The sufficient statistic is normal with variance 1 and mean 0 or `length`: both densities on one grid for each count.
    at = -REACH + (2.0 * REACH + length)[:, None] * np.linspace(0.0, 1.0, NODES)
    width = at[:, 1:2] - at[:, :1]
    densities = [stats.norm.pdf(at - middle) * width * chances[:, None] for middle in (0.0, length[:, None])]

    def bayes(weight: float) -> float:
        parts = [weight / risks[0] * densities[0], (1.0 - weight) / risks[1] * densities[1]]
        total = parts[0] + parts[1]
        share = parts[0] / np.where(total > 0, total, 1.0)
        mixed = share[..., None] * first + (1.0 - share[..., None]) * second
        return pair.beta * float(np.sum(total * -special.logsumexp(mixed, axis=-1)))

    found = optimize.minimize_scalar(
        lambda odds: -bayes(special.expit(odds)), bounds=(-20.0, 5.0), method="bounded"
    )
    weight = float(special.expit(found.x))
    return Adaptation(bayes(weight), *risks, weight, float(chances @ length**2))


def bandit_excess(num_policies: int, horizon: int, best: float, gap: float) -> float:
    """O9: with one of K users every bandit pays on average at least this share more than the best policy does.

    Costs in {0, 1}; user k has mean `best` for policy k and best + gap for all others; the bandit sees nothing but the cost
    of what it plays. (gap / best) (1 - 1/K - sqrt(T kl / (2 K))), kl = kl(best + gap, best); may be negative.
    """
    check_int("num_policies", num_policies, 2)
    check_int("horizon", horizon, 1)
    check_probability("best", best, open_left=True, open_right=True)
    check_probability("gap", gap, open_left=True, open_right=True)
    other = best + gap
    if other >= 1.0:
        raise ValueError(f"gap: got {gap}, must be below 1 - best, {1.0 - best}")
    divergence = other * math.log(other / best) + (1.0 - other) * math.log((1.0 - other) / (1.0 - best))
    lost = math.sqrt(horizon * divergence / (2.0 * num_policies))
    return gap / best * (1.0 - 1.0 / num_policies - lost)


def least_excess(num_policies: int, horizon: int, best: float) -> float:
    """`bandit_excess` at the gap that makes it largest, at least 0."""
    found = optimize.minimize_scalar(
        lambda gap: -bandit_excess(num_policies, horizon, best, gap),
        bounds=(1e-6, min(0.5, 0.999 - best)),
        method="bounded",
    )
    return max(0.0, -float(found.fun))


def price_of_trust(plays: float, divergence: float, gap: float, horizon: int) -> float:
    """O11 (iv): a bandit that plays policy k at most `plays` times on average with one user has at least this regret with another.

    The other user differs in the costs of k only, by `divergence` = KL(costs of k with the first || with the second), and k is
    best with them by `gap`: gap (T/4) exp(-plays divergence) - gap plays; may be negative.
    """
    check_positive("horizon", horizon)
    if not (plays >= 0 and divergence >= 0 and gap >= 0):
        raise ValueError(f"plays, divergence, gap: got {plays}, {divergence}, {gap}, must be at least 0")
    return gap * (horizon / 4.0 * math.exp(-plays * divergence) - plays)
