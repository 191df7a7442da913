"""A problem in plain NumPy at extended precision, and the divergences: what the oracle's formulas are written with."""

from collections.abc import Mapping
from typing import Any

import numpy as np

Real = np.longdouble


GRID = 65
"""Points on a path whose maximum is taken."""


class Case:
    """A problem, a probe and the costs of an instance, in extended precision; laws are normalised again."""

    def __init__(self, arrays: Mapping[str, Any]):
        take = {name: np.asarray(value, dtype=Real) for name, value in arrays.items()}
        self.rho = take["context_probs"] / take["context_probs"].sum()
        self.ref = normalise(np.exp(take["log_reference"]))
        self.q = take["user"] / take["user"].sum(axis=-1, keepdims=True)
        self.dist, self.beta = take["distance"], take["beta"]
        self.pi = normalise(np.exp(take["probe"]))
        self.rivals = [*(normalise(np.exp(law)) for law in take["log_class"]), self.pi, self.ref]
        self.time, self.delta = take["time"], take["delta"]
        self.cost = (self.q * self.dist).sum(axis=-1)
        self.costs = np.concatenate([take["cost_class"][:-1], self.cost[None]])
        self.opt = normalise(self.ref * np.exp(-self.cost / self.beta))
        self.mu = self.edited(self.ref)
        self.top = np.max(self.dist)

    def edited(self, law):
        return np.stack([law[x] @ self.q[x] for x in range(len(law))])

    def objective(self, law):
        per = law * (self.cost + self.beta * np.log(law / self.ref))
        return self.rho @ per.sum(axis=-1)

    def suboptimality(self, law):
        return self.beta * (self.rho @ kl(law, self.opt))

    @property
    def gamma(self):
        return np.array([self.q[x, :, np.argmax(self.opt[x])].min() for x in range(len(self.rho))])

    @property
    def dobrushin(self):
        return np.array([max(tv(a, b) for a in rows for b in rows) for rows in self.q])

    @property
    def doeblin(self):
        return np.array([1 - rows.min(axis=0).sum() for rows in self.q])

    @property
    def reach(self):
        """B of the probe."""
        return self.beta * np.max(np.abs(np.log(self.pi / self.ref)))

    @property
    def margins(self):
        """u of the probe and of the optimum, u(x; a, b)."""
        ratio = [np.log(law / self.ref) for law in (self.pi, self.opt)]
        return [r[:, None, :] - r[:, :, None] for r in ratio]

    def kappa(self, half=1):
        spread = max(np.max(r) for r in self.margins) / half
        return np.exp(spread) + np.exp(-spread) + 2

    @property
    def law(self):
        """w(a, b | x)."""
        return self.ref[:, :, None] * self.q

    def pair_ratio(self, first, second):
        """max over x, a != b of [first(a) second(b) + first(b) second(a)] / [w(a, b) + w(b, a)]."""
        cross = first[:, :, None] * second[:, None, :]
        both = self.law + np.swapaxes(self.law, 1, 2)
        off = ~np.eye(cross.shape[-1], dtype=bool)[None] & (both > 0)
        return np.max((cross + np.swapaxes(cross, 1, 2))[off] / both[off])

    def path(self, end, time):
        return normalise(self.opt ** (1 - time) * end**time)

    def over_path(self, end, value):
        times = [*np.linspace(0, 1, GRID), self.time]
        return max(value(self.path(end, Real(t))) for t in times)

    @property
    def logged_gap(self):
        u, v = self.margins
        return (self.rho[:, None, None] * self.law * (u - v) ** 2).sum()

    @property
    def high(self):
        return self.costs.max(axis=0)

    @property
    def pessimist(self):
        return normalise(self.ref * np.exp(-self.high / self.beta))

    def mean(self, law, values):
        return self.rho @ (law * values).sum(axis=-1)

    def sensitivity(self, costs):
        best = np.zeros_like(self.cost)
        for f in costs:
            spread = self.mean(self.ref, (f - self.cost) ** 2)
            if np.max(np.abs(f - self.cost)[self.rho > 0]) > Real(1e-12) * self.top:
                best = np.maximum(best, (f - self.cost) ** 2 / spread)
        return best


def normalise(weights):
    """Rows that sum to one."""
    return weights / weights.sum(axis=-1, keepdims=True)


def tv(p, q):
    """Half the sum of absolute differences along the last axis."""
    return np.abs(p - q).sum(axis=-1) / 2


def h2(p, q):
    """Squared Hellinger distance along the last axis."""
    return ((np.sqrt(p) - np.sqrt(q)) ** 2).sum(axis=-1)


def kl(p, q):
    """KL(p || q) along the last axis."""
    return (p * np.log(p / q)).sum(axis=-1)


def sigmoid(x):
    """1 / (1 + e^-x)."""
    return 1 / (1 + np.exp(-x))
