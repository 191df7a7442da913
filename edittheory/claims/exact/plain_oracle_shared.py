"""The steps of O10 again in plain NumPy at extended precision, by loops, for `plain_oracle`; nothing of the package is used."""

from collections.abc import Callable
from typing import Any

import numpy as np

from edittheory.claims.exact.plain_case import Case, Real

ROUNDS, GROWTH, LARGEST_DELTA = 22, Real(3) / 2, Real(3) / 10
FACTOR = (np.sqrt(Real(2)) + 1 / np.sqrt(Real(3))) / 2


class _Pair:
    """Probe and reference, and how often each was played."""

    def __init__(self, c: Case):
        self.laws = [c.pi, c.ref]
        self.counts = [1 + (ROUNDS - 2) * c.time, 1 + (ROUNDS - 2) * (1 - c.time)]
        self.contexts, self.answers = c.pi.shape
        self.most = np.maximum(c.pi, c.ref)
        self.overlap = sum(c.rho[x] * self.most[x, y] for x, y in self.places())

    def places(self):
        return [(x, y) for x in range(self.contexts) for y in range(self.answers)]

    def answered(self, counts=None):
        counts = self.counts if counts is None else counts
        return sum(n * law for n, law in zip(counts, self.laws, strict=True))

    def size(self, c: Case, law, counts=None):
        table = law**2 / self.answered(counts)
        return sum(c.rho[x] * table[x, y] for x, y in self.places())


def _moved(c: Case, pair: _Pair, law, cut):
    answered, total = pair.answered(), Real(0)
    for x, y in pair.places():
        # (w - b)_+ is what is cut away: A min(w, b) = pi - A (w - b)_+.
        lost = answered[x, y] * max(law[x, y] / answered[x, y] - cut, Real(0))
        total += c.rho[x] * lost * (c.cost[x, y] - c.top / 2)
    return abs(total)


def _limits(c: Case, pair: _Pair):
    share = c.delta / LARGEST_DELTA
    return [share * np.max(law / pair.answered()) for law in pair.laws]


def _cut(c: Case, divisor):
    pair = _Pair(c)
    limits = _limits(c, pair)
    left = [_moved(c, pair, law, b) for law, b in zip(pair.laws, limits, strict=True)]
    right = [c.top * pair.size(c, law) / (2 * divisor * b) for law, b in zip(pair.laws, limits, strict=True)]
    return np.array(left), np.array(right)


def _moment(c: Case, divisor):
    pair = _Pair(c)
    answered, left = pair.answered(), []
    for law, b in zip(pair.laws, _limits(c, pair), strict=True):
        total = Real(0)
        for x, y in pair.places():
            square = min(law[x, y] / answered[x, y], b) ** 2
            for z in range(pair.answers):
                total += c.rho[x] * answered[x, y] * square * c.q[x, y, z] * (c.dist[y, z] - c.top / 2) ** 2
        left.append(total)
    return np.array(left), np.array([c.top**2 * pair.size(c, law) / divisor for law in pair.laws])


def _bernstein(c: Case, divisor):
    slope, left, right = Real(27) / 10 * c.time, [], []
    for law in c.pi:
        values = c.dist[0] / c.top
        left.append(np.log((law * np.exp(slope * (values - law @ values))).sum()))
        right.append(slope**2 * (law @ values**2) / (2 * (1 - slope / divisor)))
    return np.array(left), np.array(right)


def _width(c: Case, factor):
    pair, level = _Pair(c), -np.log(c.delta)
    left, right = [], []
    for law in pair.laws:
        v = pair.size(c, law)
        b = np.sqrt(3 * v / (4 * level))
        left.append(_moved(c, pair, law, b) + c.top / 2 * (np.sqrt(2 * v * level) + b * level / 3))
        right.append(factor * c.top * np.sqrt(v * level))
    return np.array(left), np.array(right)


def _rounded(c: Case, factor):
    pair = _Pair(c)
    fewer = [pair.counts[0] / GROWTH, pair.counts[1] / GROWTH ** (c.delta / LARGEST_DELTA)]
    left = [pair.size(c, law, fewer) for law in pair.laws]
    return np.array(left), np.array([factor * pair.size(c, law) for law in pair.laws])


def _round(c: Case, share):
    pair = _Pair(c)
    total, left, right = pair.answered(), [], []
    for law in pair.laws:
        left.append(law**2 / total)
        gap = law / (total * (total + law))  # 1/A - 1/(A + a), without cancellation
        right.append(pair.most * law / (total + law) + share * pair.most**2 * gap)
    return np.array(left), np.array(right)


def _jensen(c: Case, share):
    pair = _Pair(c)
    total, both = pair.answered(), c.pi + c.ref
    left = sum(c.rho[x] * pair.most[x, y] * np.log(total[x, y] / both[x, y]) for x, y in pair.places())
    return left, share * pair.overlap * np.log(ROUNDS / pair.overlap)


def _potential(c: Case, added):
    pair = _Pair(c)
    left, right = np.zeros((2, 4), Real), np.zeros(4, Real)
    for row, order in enumerate(((0, 0, 0, 0), (1, 0, 1, 0))):
        counts, total = [Real(1), Real(1)], Real(0)
        for t, k in enumerate(order):
            total += pair.size(c, pair.laws[k], counts)
            counts[k] += 1
            left[row, t] = total
            right[t] = pair.overlap * (added + np.log(sum(counts) / pair.overlap))
    return left, right


def _design(c: Case, largest):
    pair = _Pair(c)
    chances = [n / sum(pair.counts) for n in pair.counts]
    each = [pair.size(c, law, chances) for law in pair.laws]
    left = max(each) if largest else sum(p * v for p, v in zip(chances, each, strict=True))
    return left, pair.overlap


ORACLES: dict[str, Callable[[Case], tuple[Any, Any]]] = {
    "O10.cut": lambda c: _cut(c, Real(4)),
    "O10.moment": lambda c: _moment(c, Real(4)),
    "O10.bernstein": lambda c: _bernstein(c, Real(3)),
    "O10.width": lambda c: _width(c, FACTOR),
    "O10.rounded": lambda c: _rounded(c, GROWTH),
    "O10.round": lambda c: _round(c, Real(1)),
    "O10.jensen": lambda c: _jensen(c, Real(1)),
    "O10.potential": lambda c: _potential(c, Real(1)),
    "O10.design": lambda c: _design(c, False),
    "mutant.O10.cut": lambda c: _cut(c, Real(9) / 2),
    "mutant.O10.moment": lambda c: _moment(c, Real(9) / 2),
    "mutant.O10.bernstein": lambda c: _bernstein(c, Real(4)),
    "mutant.O10.width": lambda c: _width(c, Real(95) / 100),
    "mutant.O10.rounded": lambda c: _rounded(c, np.sqrt(GROWTH)),
    "mutant.O10.round": lambda c: _round(c, Real(1) / 2),
    "mutant.O10.jensen": lambda c: _jensen(c, Real(9) / 10),
    "mutant.O10.potential": lambda c: _potential(c, Real(0)),
    "mutant.O10.design": lambda c: _design(c, True),
}
