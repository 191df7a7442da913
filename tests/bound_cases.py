"""Every bound once more in plain NumPy, by name."""

import numpy as np

from edittheory.problem.random_problems import Instance
from tests.finite_toys import X, Y

N, DELTA = 137, 0.07


class Numbers:
    """The constants of theory.md B, by plain NumPy, of an instance and the policy that was learned."""

    def __init__(self, given: Instance, learned, learned_rl):
        problem = given.problem
        self.beta, self.law = float(problem.beta), np.asarray(problem.context_probs)
        self.reference, self.user = np.exp(problem.log_reference), np.asarray(problem.user)
        distance = np.broadcast_to(problem.distance, (X, Y, Y))
        self.cost, self.cost_max = np.einsum("xab,xab->xa", self.user, distance), distance.max()
        weights = self.reference * np.exp(-self.cost / self.beta)
        self.optimal = weights / weights.sum(-1, keepdims=True)
        self.edited = np.einsum("xa,xab->xb", self.reference, self.user)
        self.members, self.costs = np.exp(given.log_class), np.asarray(given.cost_class)
        self.learned, self.learned_rl = np.exp(learned), np.exp(learned_rl)
        self.L = np.log(len(self.members) / DELTA)
        self.L_F = np.log(len(self.costs) / DELTA)
        log_ratio = np.log(self.members) - np.log(self.reference)
        self.B = self.beta * np.abs(log_ratio).max()
        self.R = np.ptp(log_ratio, axis=-1).max()
        self.kappa = (1 + np.exp(self.R)) * (1 + np.exp(-self.R))  # = e^R + e^-R + 2
        self.M = (self.members / self.optimal).max()
        favourite = self.optimal.argmax(-1)
        self.gamma = np.array([self.user[x, :, favourite[x]].min() for x in range(X)])

    def tv(self, p, q):
        return 0.5 * np.abs(p - q).sum(-1)

    def deviation(self):
        return np.sqrt(2 * self.L / N)

    def paper_bias(self):
        start = self.law @ self.tv(self.reference, self.optimal)
        return min((1 - self.gamma).max() * start, np.sqrt(self.law @ (1 - self.gamma) ** 2) * np.sqrt(start))

    def hellinger_bias(self):
        return np.sqrt(self.law @ ((np.sqrt(self.edited) - np.sqrt(self.optimal)) ** 2).sum(-1))

    def pair_cover(self, policies):
        pairs = self.reference[..., None] * self.user
        pairs = pairs + np.swapaxes(pairs, -1, -2)
        worst = 0.0
        for pi in policies:
            for x in range(X):
                for a in range(Y):
                    for b in range(a):
                        top = pi[x, a] * self.optimal[x, b] + pi[x, b] * self.optimal[x, a]
                        worst = max(worst, top / pairs[x, a, b])
        return worst

    def path_pair_cover(self, policies):
        """On a dense grid of the path: from below, by less than 1e-4 of itself."""
        pairs = self.reference[..., None] * self.user
        pairs = pairs + np.swapaxes(pairs, -1, -2) + np.where(np.eye(Y, dtype=bool), np.inf, 0.0)
        worst = 0.0
        for pi in policies:
            for t in np.linspace(0, 1, 2001):
                step = self.optimal ** (1 - t) * pi**t
                step = step / step.sum(-1, keepdims=True)
                worst = max(worst, (2 * step[..., :, None] * step[..., None, :] / pairs).max())
        return worst

    def sensitivity(self):
        worst = np.zeros((X, Y))
        for f in self.costs:
            error = (f - self.cost) ** 2
            if error.max() > 1e-18:
                worst = np.maximum(worst, error / (self.law @ (self.reference * error).sum(-1)))
        return worst

    def cost_cover(self, pi):
        return self.law @ (pi * self.sensitivity()).sum(-1)

    def path_cost_cover(self, end):
        worst = 0.0
        for t in np.linspace(0, 1, 2001):
            step = self.optimal ** (1 - t) * end**t
            worst = max(worst, self.cost_cover(step / step.sum(-1, keepdims=True)))
        return worst
