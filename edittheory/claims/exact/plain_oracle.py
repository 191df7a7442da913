"""Both sides of every attacked statement again, in plain NumPy at extended precision: what a refutation has to pass.

Nothing of the package is used here: formulas are written from docs/theory.md, by loops where that is clearer, on numbers of
`np.longdouble` (80 bits on x86, otherwise whatever the platform has). Maxima over a path are grid maxima: a right side that
holds one is a little too small, where the package's own is a little too large. A refutation has to pass both.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from edittheory.claims.exact import plain_oracle_shared
from edittheory.claims.exact.plain_case import Case, Real, h2, kl, sigmoid, tv


def _chord(case: Case):
    total = Real(0)
    for x in range(len(case.rho)):
        ratio = case.pi[x] / case.opt[x]
        high, low = ratio.max(), ratio.min()
        up = high * np.log(high) / (high - 1) if high > 1 else Real(1)
        down = -low * np.log(low) / (1 - low) if low < 1 else Real(1)
        total += case.rho[x] * (up - down) * tv(case.pi[x], case.opt[x])
    return case.beta * total


def _observed(case: Case):
    both = case.law + np.swapaxes(case.law, 1, 2)
    return np.where(both > 0, case.law / np.where(both > 0, both, 1), 0.5), both > 0


def _preference(case: Case, scale):
    observed, seen = _observed(case)
    margin = (case.cost[:, :, None] - case.cost[:, None, :]) * scale
    return np.where(seen, np.abs(sigmoid(margin) - observed), 0), Real(0)


def _calibrated(case: Case, scale):
    push = case.law * sigmoid(-scale * case.margins[1])
    return np.abs(push - np.swapaxes(push, 1, 2)), Real(0)


def _after(case: Case, coefficient):
    return tv(case.edited(case.pi), case.opt), coefficient * tv(case.pi, case.opt)


def _mean_apart(case: Case):
    size = case.q.shape[-1]
    return np.array([sum(tv(a, b) for a in rows for b in rows) / (size * (size - 1)) for rows in case.q])


def _hilbert_schmidt(case: Case):
    root = np.sqrt(case.opt)
    core = root[:, :, None] * case.q / root[:, None, :] - root[:, :, None] * root[:, None, :]
    return np.sqrt((core**2).sum(axis=(-2, -1)))


def _sub(case: Case, right):
    return case.suboptimality(case.pi), right


def _start(case: Case):
    return tv(case.ref, case.opt)


def _bias_paper(case: Case):
    weak, start = 1 - case.gamma, case.rho @ _start(case)
    eta, eta_bar = weak.max(), np.sqrt(case.rho @ weak**2)
    return case.rho @ tv(case.mu, case.opt), min(eta * start, eta_bar * np.sqrt(start))


def _bias(case: Case, right):
    return case.rho @ tv(case.mu, case.opt), right


def _hellinger(case: Case, factor, kappa):
    u, v = case.margins
    p, q = sigmoid(u), sigmoid(v)
    # (sqrt p - sqrt q)^2 = ((p - q) / (sqrt p + sqrt q))^2, with p - q from expm1: nothing cancels.
    gap = p * (1 - q) * -np.expm1(v - u)
    distance = (gap / (np.sqrt(p) + np.sqrt(q))) ** 2 + (gap / (np.sqrt(1 - p) + np.sqrt(1 - q))) ** 2
    return (u - v) ** 2, factor * kappa * distance


def _slope(case: Case, kappa):
    u, v = case.margins
    return np.abs(u - v), kappa * np.abs(sigmoid(u) * (1 - sigmoid(v)) * np.expm1(v - u))


def _fast_preference(case: Case, factor):
    cover = case.over_path(case.pi, lambda law: case.pair_ratio(law, law))
    return _sub(case, factor * case.beta * cover * case.logged_gap)


def _fast_cost(case: Case, factor):
    gap = (case.high - case.cost) ** 2
    cover = case.over_path(case.pessimist, lambda law: case.mean(law, gap))
    return case.suboptimality(case.pessimist), factor * cover / case.beta


def _here(case: Case):
    law = case.path(case.pi, case.time)
    return case.pair_ratio(law, law)


def _cost_here(case: Case):
    return case.mean(case.path(case.pessimist, case.time), case.sensitivity(case.costs))


def _worst_path(case: Case):
    low = case.ref * np.exp(-case.cost / case.beta)
    high = case.ref * np.exp(-case.high / case.beta)
    ceiling = low / (low + high.sum(axis=-1, keepdims=True) - high)
    return (case.rho[:, None] * ceiling * case.sensitivity(case.costs)).sum()


def _pi_ends(case: Case):
    return max(case.pair_ratio(law, law) for law in (case.opt, case.pi))


def _top(case: Case):
    return np.log((case.pi / case.opt).max(axis=-1))


PI = Real(np.pi)


def _cell(c, share):
    u, v = (np.log(p)[:, None, :] - np.log(p)[:, :, None] for p in (c.opt, c.pi))
    root = np.sqrt(np.log1p(np.exp(-u))) - share * np.abs(v - u) / np.sqrt(Real(8))
    return 1 / (1 + np.exp(-v)), np.where(root > 0, np.exp(-(root**2)), Real(1))


def _kl_share(c):
    """(t log t - t + 1) / (sqrt t - 1)^2 at the smallest ratio t of pi to pi*, by its series where t is near 1."""
    t = np.min(c.pi / c.opt, axis=-1)
    apart = np.where(np.abs(t - 1) < 1e-4, Real(1) / 2, t)
    exact = (apart * np.log(apart) - apart + 1) / (np.sqrt(apart) - 1) ** 2
    return np.where(np.abs(t - 1) < 1e-4, 2 + (t - 1) / 3, exact)


def _two(c):
    """Probe and reference with their weights, and their mixture."""
    laws, weights = (c.pi, c.ref), (c.time, 1 - c.time)
    return laws, weights, weights[0] * laws[0] + weights[1] * laws[1]


def _mixed(c, share):
    laws, weights, mix = _two(c)
    right = sum(
        w * (c.suboptimality(p) - share * c.beta * (c.rho @ kl(p, mix)))
        for p, w in zip(laws, weights, strict=True)
    )
    return np.abs(c.suboptimality(mix) - right), Real(0)


def _tangent(c, share):
    laws, weights, mix = _two(c)
    half = c.beta / 2
    slope = [c.objective(p) - half * (c.rho @ kl(p, c.ref)) for p in laws]
    gradient = [
        s + half * (c.rho @ (p * np.log(mix / c.ref)).sum(axis=-1)) for s, p in zip(slope, laws, strict=True)
    ]
    here = weights[0] * slope[0] + weights[1] * slope[1] + half * (c.rho @ kl(mix, c.ref))
    mean = weights[0] * gradient[0] + weights[1] * gradient[1]
    right = [
        here + g - mean + share * half * (c.rho @ kl(p, mix)) for g, p in zip(gradient, laws, strict=True)
    ]
    return np.array([np.abs(c.objective(p) - r) for p, r in zip(laws, right, strict=True)]), np.zeros(2, Real)


def _weights(c, factor):
    middle = c.time * c.pi + (1 - c.time) * c.opt
    most = np.maximum(c.pi / c.ref, c.opt / c.ref).max(axis=-1)
    left = ((c.pi - c.opt) ** 2 / c.ref).sum(axis=-1)
    return left, factor * most * (kl(c.pi, middle) + kl(c.opt, middle))


def _centres(c, factor):
    left = -np.log((c.opt**c.time * c.ref ** (1 - c.time)).sum(axis=-1))
    return factor * left, c.time * kl(c.pi, c.opt) + (1 - c.time) * kl(c.pi, c.ref)


def _beta(c, divisor):
    off = c.ref * np.exp(-2 * c.time * c.cost / c.beta)
    off = off / off.sum(axis=-1, keepdims=True)
    spread = (c.cost.max(axis=-1) - c.cost.min(axis=-1)) / c.beta
    return c.beta * kl(off, c.opt), c.beta * ((2 * c.time - 1) * spread) ** 2 / divisor


def _within(c, divisor):
    turned = np.tanh(np.log(c.pi / c.ref))
    off = c.ref * np.exp(-c.cost * (1 + c.time * turned) / c.beta)
    off = off / off.sum(axis=-1, keepdims=True)
    return c.beta * kl(off, c.opt), (c.time * c.cost.max(axis=-1)) ** 2 / (divisor * c.beta)


def _cut(c, law):
    short = (c.q * np.minimum(c.dist, c.time * c.top)).sum(axis=-1)
    best = c.ref * np.exp(-short / c.beta)
    best = best / best.sum(axis=-1, keepdims=True)
    lost = (law * (c.cost - short)).sum(axis=-1)
    return c.suboptimality(c.pi), c.rho @ (c.beta * kl(c.pi, best) + lost)


ORACLES: dict[str, Callable[[Case], tuple[Any, Any]]] = {
    "A.identity": lambda c: (np.abs(c.objective(c.pi) - c.objective(c.opt) - c.suboptimality(c.pi)), Real(0)),
    "A.optimum": lambda c: (c.objective(c.opt), np.array([c.objective(law) for law in c.rivals])),
    "A.preference": lambda c: _preference(c, 1 / c.beta),
    "A.dpo": lambda c: _calibrated(c, 1),
    "A.stationary": lambda c: (tv(c.edited(c.opt), c.opt), Real(0)),
    "A.minorisation": lambda c: (c.gamma, c.opt.max(axis=-1)),
    "L1.gamma": lambda c: _after(c, 1 - c.gamma),
    "L1.doeblin": lambda c: _after(c, c.doeblin),
    "L1.dobrushin": lambda c: _after(c, c.dobrushin),
    "L1.chain.doeblin": lambda c: (c.dobrushin, c.doeblin),
    "L1.chain.gamma": lambda c: (c.doeblin, 1 - c.gamma),
    "B0.range": lambda c: _sub(c, (c.top + c.reach) * (c.rho @ tv(c.pi, c.opt))),
    "B0.chord": lambda c: _sub(c, _chord(c)),
    "B0.order": lambda c: (_chord(c), (c.top + c.reach) * (c.rho @ tv(c.pi, c.opt))),
    "D.h2.tv": lambda c: (h2(c.pi, c.opt), 2 * tv(c.pi, c.opt)),
    "D.tv.h2": lambda c: (tv(c.pi, c.opt) ** 2, h2(c.pi, c.opt) * (1 - h2(c.pi, c.opt) / 4)),
    "D.kl.h2": lambda c: (kl(c.pi, c.opt), (2 + _top(c)) * h2(c.pi, c.opt)),
    "C14.cell": lambda c: _cell(c, Real(1)),
    "mutant.C14.cell": lambda c: _cell(c, Real(8) / 10),
    "L6.hellinger": lambda c: (_kl_share(c) * h2(c.pi, c.opt), kl(c.pi, c.opt)),
    "mutant.L6.hellinger": lambda c: (2 * h2(c.pi, c.opt), kl(c.pi, c.opt)),
    "B1.bias": _bias_paper,
    "B1.bias.context": lambda c: _bias(c, c.rho @ ((1 - c.gamma) * _start(c))),
    "B1.gamma": lambda c: (c.gamma * tv(c.mu, c.opt), (1 - c.gamma) * tv(c.ref, c.mu)),
    "B2.slope": lambda c: _slope(c, c.kappa()),
    "B2.hellinger": lambda c: _hellinger(c, PI**2 / 2, c.kappa()),
    "B2.hellinger4": lambda c: _hellinger(c, 4, c.kappa()),
    "B2.transfer": lambda c: _sub(c, c.beta * np.sqrt(c.pair_ratio(c.pi, c.opt) * c.logged_gap)),
    "B2.transfer.fast": lambda c: _fast_preference(c, Real(1) / 4),
    "B2.path": lambda c: (_here(c), c.over_path(c.pi, lambda law: c.pair_ratio(law, law))),
    "B3.pessimism": lambda c: (c.suboptimality(c.pessimist), c.mean(c.opt, c.high - c.cost)),
    "B3.transfer.fast": lambda c: _fast_cost(c, Real(1) / 2),
    "B3.path": lambda c: (
        _cost_here(c),
        c.over_path(c.pessimist, lambda law: c.mean(law, c.sensitivity(c.costs))),
    ),
    "B3.path.worst": lambda c: (_cost_here(c), _worst_path(c)),
    "mutant.A.nobeta": lambda c: _preference(c, 1),
    "mutant.A.dpo.beta": lambda c: _calibrated(c, c.beta),
    "mutant.A.reverse": lambda c: (
        np.abs(c.beta * (c.rho @ kl(c.opt, c.pi)) - c.suboptimality(c.pi)),
        Real(0),
    ),
    "mutant.A.stationary.free": lambda c: (tv(c.edited(c.opt), c.opt), Real(0)),
    "mutant.L1.squared": lambda c: _after(c, (1 - c.gamma) ** 2),
    "mutant.L1.free": lambda c: _after(c, c.dobrushin),
    "mutant.L1.average": lambda c: _after(c, _mean_apart(c)),
    "mutant.L1.optimum": lambda c: _after(c, tv(c.q, c.opt[:, None, :]).max(axis=-1)),
    "mutant.L1.spectral": lambda c: _after(c, _hilbert_schmidt(c)),
    "mutant.B0.cmax": lambda c: _sub(c, c.top * (c.rho @ tv(c.pi, c.opt))),
    "mutant.B0.halfB": lambda c: _sub(c, (c.top + c.reach / 2) * (c.rho @ tv(c.pi, c.opt))),
    "mutant.B0.over1.05": lambda c: _sub(c, (c.top + c.reach) * (c.rho @ tv(c.pi, c.opt)) / Real(1.05)),
    "mutant.B0.logM": lambda c: _sub(c, c.beta * (c.rho @ (_top(c) * tv(c.pi, c.opt)))),
    "mutant.D.tv.h2": lambda c: (tv(c.pi, c.opt), h2(c.pi, c.opt)),
    "mutant.D.h2.tv": lambda c: (h2(c.pi, c.opt), Real(1.6) * tv(c.pi, c.opt)),
    "mutant.D.kl.h2": lambda c: (kl(c.pi, c.opt), (1 + _top(c)) * h2(c.pi, c.opt)),
    "mutant.B1.bias.mean": lambda c: _bias(c, (c.rho @ (1 - c.gamma)) * (c.rho @ _start(c))),
    "mutant.B1.bias.root": lambda c: _bias(c, np.sqrt(c.rho @ (1 - c.gamma) ** 2) * (c.rho @ _start(c))),
    "mutant.B1.gamma": lambda c: (tv(c.mu, c.opt), (1 - c.gamma) * tv(c.ref, c.mu)),
    "mutant.B2.halfR": lambda c: _slope(c, c.kappa(2)),
    "mutant.B2.rootkappa": lambda c: _hellinger(c, PI**2 / 2, np.sqrt(c.kappa())),
    "mutant.B2.hellinger3.9": lambda c: _hellinger(c, Real(3.9), c.kappa()),
    "mutant.B2.transfer": lambda c: _sub(c, c.beta * np.sqrt(c.pair_ratio(c.pi, c.opt) * c.logged_gap) / 2),
    "mutant.B2.transfer.fast": lambda c: _fast_preference(c, 1 / Real(4.2)),
    "mutant.B2.path.ends": lambda c: (_here(c), _pi_ends(c)),
    "M4.mixture": lambda c: _mixed(c, Real(1)),
    "M4.tangent": lambda c: _tangent(c, Real(1)),
    "M4.weights": lambda c: _weights(c, Real(4)),
    "M5.centres": lambda c: _centres(c, Real(1)),
    "G5.beta": lambda c: _beta(c, Real(8)),
    "G7.factor": lambda c: _within(c, Real(2)),
    "G8.cut": lambda c: _cut(c, c.pi),
    "mutant.G7.factor": lambda c: _within(c, Real(3)),
    "mutant.G8.reference": lambda c: _cut(c, c.ref),
    "mutant.M4.mixture": lambda c: _mixed(c, Real(1) / 2),
    "mutant.M4.tangent": lambda c: _tangent(c, Real(2)),
    "mutant.M4.weights": lambda c: _weights(c, Real(3)),
    "mutant.M5.centres": lambda c: _centres(c, Real(105) / 100),
    "mutant.G5.beta": lambda c: _beta(c, Real(9)),
    "mutant.B3.reference": lambda c: (c.suboptimality(c.pessimist), c.mean(c.ref, c.high - c.cost)),
    "mutant.B3.transfer.fast": lambda c: _fast_cost(c, 1 / Real(2.2)),
    **plain_oracle_shared.ORACLES,
}
