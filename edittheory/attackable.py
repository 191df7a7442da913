"""What the falsifier attacks by gradients: deterministic statements of docs/theory.md, and near-misses that are false.

An `Attack` maps a point of its domain to left sides, right sides and the natural scale at which float64 rounding enters;
it claims left <= right everywhere on the domain. To add one: write the sides with the package's functions, write them again
in `plain_oracle` with plain NumPy, and add a line to `TRUE` or `MUTANTS`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from edittheory import bounds, costs, coverage
from edittheory.attack_space import Point, log_path
from edittheory.logspace import expect, kl, squared_hellinger, total_variation

Sides = tuple[Array, Array, Array | float]


class Attack(NamedTuple):
    """A claim left <= right for all points of a domain.

    balanced: whether the domain is the problems with balanced users or all; mutant: whether it is false on purpose.
    Sides may have any common shape (contexts, pairs): the claim is about every entry.
    """

    name: str
    source: str
    claim: str
    sides: Callable[[Point], Sides]
    balanced: bool = False
    mutant: bool = False


# -- A: identities --------------------------------------------------------------------------------------------------------


def _size(point: Point) -> Array:
    """The scale of sums that make up J_beta: c_max plus the largest |beta log-ratio|."""
    problem = point.problem
    return problem.cost_max + problem.beta * jnp.max(jnp.abs(point.probe - problem.log_reference))


def _identity(point: Point) -> Sides:
    problem = point.problem
    direct = problem.objective(point.probe) - problem.objective(problem.log_optimal)
    return jnp.abs(direct - problem.suboptimality(point.probe)), jnp.zeros(()), _size(point)


def _reverse(point: Point) -> Sides:
    problem = point.problem
    reverse = problem.beta * jnp.sum(problem.context_probs * kl(problem.log_optimal, point.probe))
    return jnp.abs(reverse - problem.suboptimality(point.probe)), jnp.zeros(()), _size(point)


def _optimum(point: Point) -> Sides:
    problem = point.problem
    return problem.objective(problem.log_optimal), problem.objective(point.probe), _size(point)


def _reduction(point: Point) -> Sides:
    return coverage.largest_pair_gap(point.problem), jnp.zeros(()), 1.0


def _reduction_without_beta(point: Point) -> Sides:
    problem = point.problem
    law, cost = problem.pair_law(), problem.expected_cost
    both = law + jnp.swapaxes(law, -1, -2)
    observed = jnp.where(both > 0, law / jnp.where(both > 0, both, 1.0), 0.5)
    predicted = jax.nn.sigmoid(cost[..., :, None] - cost[..., None, :])
    return jnp.where(both > 0, jnp.abs(predicted - observed), 0.0), jnp.zeros(()), 1.0


def _calibrated(power: int) -> Callable[[Point], Sides]:
    """The gradient at pi* of the population loss of PREF with s = beta^power, one entry for each pair."""

    def sides(point: Point) -> Sides:
        problem = point.problem
        ratio = problem.log_optimal - problem.log_reference
        margin = problem.beta**power * (ratio[..., None, :] - ratio[..., :, None])
        push = problem.pair_law() * jax.nn.sigmoid(-margin)
        return jnp.abs(push - jnp.swapaxes(push, -1, -2)), jnp.zeros(()), 1.0

    return sides


def _stationary(point: Point) -> Sides:
    problem = point.problem
    return total_variation(problem.edited(problem.log_optimal), problem.log_optimal), jnp.zeros(()), 1.0


def _minorisation(point: Point) -> Sides:
    problem = point.problem
    return coverage.gamma_min(problem), jnp.exp(jnp.max(problem.log_optimal, axis=-1)), 1.0


# -- Lemma 1 --------------------------------------------------------------------------------------------------------------


def _contraction(coefficient: Callable[[Point], Array]) -> Callable[[Point], Sides]:
    def sides(point: Point) -> Sides:
        problem = point.problem
        after = total_variation(problem.edited(point.probe), problem.log_optimal)
        return after, coefficient(point) * total_variation(point.probe, problem.log_optimal), 1.0

    return sides


def _lemma(form) -> Callable[[Point], Sides]:
    def sides(point: Point) -> Sides:
        problem = point.problem
        after = total_variation(problem.edited(point.probe), problem.log_optimal)
        return after, bounds.contraction(problem, point.probe, form, check=False).value, 1.0

    return sides


def _mean_row_distance(point: Point) -> Array:
    rows = point.problem.user
    apart = 0.5 * jnp.sum(jnp.abs(rows[..., :, None, :] - rows[..., None, :, :]), axis=-1)
    size = rows.shape[-1]
    return jnp.sum(apart, axis=(-2, -1)) / (size * (size - 1))


def _farthest_from_optimum(point: Point) -> Array:
    rows, optimal = point.problem.user, jnp.exp(point.problem.log_optimal)
    return jnp.max(0.5 * jnp.sum(jnp.abs(rows - optimal[..., None, :]), axis=-1), axis=-1)


def _hilbert_schmidt(point: Point) -> Array:
    """The Hilbert-Schmidt norm of q - pi* in L2(pi*): at least the second largest modulus of an eigenvalue of q."""
    problem = point.problem
    root = jnp.exp(0.5 * problem.log_optimal)
    core = root[..., :, None] * problem.user / root[..., None, :] - root[..., :, None] * root[..., None, :]
    return jnp.sqrt(jnp.sum(core**2, axis=(-2, -1)))


def _chain_doeblin(point: Point) -> Sides:
    return coverage.dobrushin(point.problem), coverage.doeblin(point.problem), 1.0


def _chain_gamma(point: Point) -> Sides:
    return coverage.doeblin(point.problem), 1.0 - coverage.gamma_min(point.problem), 1.0


# -- B0 and divergences -----------------------------------------------------------------------------------------------------


def _range(price: Callable[[Array, Array], Array]) -> Callable[[Point], Sides]:
    """SubOpt <= price(c_max, B) D."""

    def sides(point: Point) -> Sides:
        problem = point.problem
        terms = bounds.distance_to_suboptimality(problem, point.probe, "range").terms
        right = price(terms["cost_max"], terms["B"]) * terms["D"]
        return problem.suboptimality(point.probe), right, _size(point)

    return sides


def _chord(point: Point) -> Sides:
    problem = point.problem
    right = bounds.distance_to_suboptimality(problem, point.probe, "chord").value
    return problem.suboptimality(point.probe), right, _size(point)


def _chord_order(point: Point) -> Sides:
    problem = point.problem
    chord = bounds.distance_to_suboptimality(problem, point.probe, "chord").value
    return chord, bounds.distance_to_suboptimality(problem, point.probe, "range").value, _size(point)


def _chord_upper_only(point: Point) -> Sides:
    problem = point.problem
    top = jnp.max(point.probe - problem.log_optimal, axis=-1)
    right = jnp.sum(problem.context_probs * top * total_variation(point.probe, problem.log_optimal))
    return problem.suboptimality(point.probe), problem.beta * right, _size(point)


def _divergences(left, right, constant: float = 0.0) -> Callable[[Point], Sides]:
    """A claim about the divergences of probe and optimum in one context, by name: kl, tv, h2, top = log max ratio."""

    def sides(point: Point) -> Sides:
        optimal = point.problem.log_optimal
        found = {
            "kl": kl(point.probe, optimal),
            "tv": total_variation(point.probe, optimal),
            "h2": squared_hellinger(point.probe, optimal),
            "top": jnp.max(point.probe - optimal, axis=-1),
        }
        return left(found), right(found), 1.0 + found["top"]

    return sides


# -- B1: the bias of SUP ------------------------------------------------------------------------------------------------------


def _bias(cover: Callable[[Array, Array, Array], Array]) -> Callable[[Point], Sides]:
    """D(mu, pi*) against a function of context law, 1 - gamma_min and TV(reference, pi*) by context."""

    def sides(point: Point) -> Sides:
        problem = point.problem
        start = total_variation(problem.log_reference, problem.log_optimal)
        mu = problem.edited(problem.log_reference)
        bias = problem.total_variation(mu, problem.log_optimal)
        return bias, cover(problem.context_probs, 1.0 - coverage.gamma_min(problem), start), 1.0

    return sides


def _bias_paper(point: Point) -> Sides:
    terms = bounds.supervised(point.problem, point.instance.log_class, 1, 0.1, "paper", check=False).terms
    mu = point.problem.edited(point.problem.log_reference)
    return point.problem.total_variation(mu, point.problem.log_optimal), terms["bias"], 1.0


def _bias_from_edits(share: Callable[[Array], Array]) -> Callable[[Point], Sides]:
    """share(gamma) TV(mu, pi*) <= (1 - gamma) TV(reference, mu)."""

    def sides(point: Point) -> Sides:
        problem = point.problem
        mu, gamma = problem.edited(problem.log_reference), coverage.gamma_min(problem)
        left = share(gamma) * total_variation(mu, problem.log_optimal)
        return left, (1.0 - gamma) * total_variation(problem.log_reference, mu), 1.0

    return sides


# -- B2: from preferences to policies -------------------------------------------------------------------------------------------


def _pairs(point: Point) -> tuple[Array, Array, Array]:
    """u of the probe, u of the optimum (X, Y, Y), and R over the two."""
    problem = point.problem
    two = jnp.stack([point.probe, problem.log_optimal])
    ratio = two - problem.log_reference
    margins = ratio[..., None, :] - ratio[..., :, None]
    return margins[0], margins[1], coverage.log_ratio_range(problem, two)


def _curvature(kappa: Callable[[Array], Array], factor: float) -> Callable[[Point], Sides]:
    """(u - v)^2 <= factor kappa(R) H2 of the two preferences, on every pair."""

    def sides(point: Point) -> Sides:
        u, v, reach = _pairs(point)
        # sigmoid(u), sigmoid(v) as cos^2, sin^2 of angles; H2 = 4 sin^2(half of their difference), without cancellation.
        angle = jnp.arctan(jnp.exp(0.5 * u)) - jnp.arctan(jnp.exp(0.5 * v))
        hellinger = 4.0 * jnp.sin(0.5 * angle) ** 2
        return (u - v) ** 2, factor * kappa(reach) * hellinger, 1.0 + kappa(reach)

    return sides


def _slope(kappa: Callable[[Array], Array]) -> Callable[[Point], Sides]:
    """|u - v| <= kappa(R) |sigmoid(u) - sigmoid(v)|, on every pair."""

    def sides(point: Point) -> Sides:
        u, v, reach = _pairs(point)
        gap = jnp.abs(jax.nn.sigmoid(u) - jax.nn.sigmoid(v))
        return jnp.abs(u - v), kappa(reach) * gap, 1.0 + kappa(reach)

    return sides


def _logged_gap(point: Point) -> Array:
    """E_w (u - u*)^2 of the probe."""
    u, v, _ = _pairs(point)
    law = point.problem.pair_law()
    return jnp.sum(point.problem.context_probs[:, None, None] * law * (u - v) ** 2)


def _transfer(factor: float = 1.0) -> Callable[[Point], Sides]:
    """SubOpt <= factor beta sqrt(C E_w (u - u*)^2), C of the probe."""

    def sides(point: Point) -> Sides:
        problem = point.problem
        cover = coverage.preference_coverage(problem, point.probe[None])[0]
        right = factor * problem.beta * jnp.sqrt(cover * _logged_gap(point) + 1e-300)
        return problem.suboptimality(point.probe), right, _size(point)

    return sides


def _transfer_fast(factor: float) -> Callable[[Point], Sides]:
    """SubOpt <= factor beta C~ E_w (u - u*)^2, C~ on the probe's path."""

    def sides(point: Point) -> Sides:
        problem = point.problem
        cover = coverage.path_preference_coverage(problem, point.probe[None])[0]
        return (
            problem.suboptimality(point.probe),
            factor * problem.beta * cover * _logged_gap(point),
            _size(point),
        )

    return sides


def _at_time(point: Point, log_policy: Array) -> Array:
    """max over pairs of 2 pi(a) pi(b) / [w(a, b) + w(b, a)]: half of C when both policies are the same."""
    law = point.problem.pair_law()
    both = law + jnp.swapaxes(law, -1, -2)
    pi = jnp.exp(log_policy)
    off = ~jnp.eye(pi.shape[-1], dtype=bool) & (both > 0)
    ratio = 2.0 * pi[..., :, None] * pi[..., None, :] / jnp.where(off, both, 1.0)
    return jnp.max(jnp.where(off, ratio, 0.0))


def _path_cover(point: Point) -> Sides:
    here = _at_time(point, log_path(point, point.probe))
    right = coverage.path_preference_coverage(point.problem, point.probe[None])[0]
    return here, right, 1.0 + right


def _path_ends(point: Point) -> Sides:
    here = _at_time(point, log_path(point, point.probe))
    right = jnp.maximum(_at_time(point, point.problem.log_optimal), _at_time(point, point.probe))
    return here, right, 1.0 + right


# -- B3: from costs to policies -------------------------------------------------------------------------------------------------


def _pessimistic(point: Point) -> tuple[Array, Array]:
    """The largest cost of the class (at least c), and the policy it induces."""
    problem = point.problem
    high = jnp.max(point.instance.cost_class, axis=0)
    return high, costs.tilted(problem.log_reference, high, problem.beta)


def _pessimism(law: Callable[[Point], Array]) -> Callable[[Point], Sides]:
    """SubOpt of the pessimistic policy <= E_law[f_bar - c]."""

    def sides(point: Point) -> Sides:
        problem = point.problem
        high, policy = _pessimistic(point)
        gap = expect(law(point), high - problem.expected_cost)
        return problem.suboptimality(policy), jnp.sum(problem.context_probs * gap), problem.cost_max

    return sides


def _cost_fast(factor: float) -> Callable[[Point], Sides]:
    """SubOpt <= factor C~_F E_reference (f - c)^2 / beta, F the one cost f_bar."""

    def sides(point: Point) -> Sides:
        problem = point.problem
        high, policy = _pessimistic(point)
        cover = coverage.path_cost_coverage(problem, high[None], policy)
        error = jnp.sum(
            problem.context_probs * expect(problem.log_reference, (high - problem.expected_cost) ** 2)
        )
        return problem.suboptimality(policy), factor * cover * error / problem.beta, _size(point)

    return sides


def _cost_path(learned: bool) -> Callable[[Point], Sides]:
    """C_F(pi_t) <= C~_F, at the learned policy or at its worst over the class."""

    def sides(point: Point) -> Sides:
        problem, cost_class = point.problem, point.instance.cost_class
        _, policy = _pessimistic(point)
        here = coverage.cost_coverage(problem, cost_class, log_path(point, policy))
        if learned:
            right = coverage.path_cost_coverage(problem, cost_class, policy)
        else:
            right = coverage.worst_path_cost_coverage(problem, cost_class)
        return here, right, 1.0 + right

    return sides


_kappa = coverage.sigmoid_curvature
_HELLINGER = float(jnp.pi**2 / 2)

TRUE: tuple[Attack, ...] = (
    Attack("A.identity", "A", "SubOpt(pi) = beta E KL(pi || pi*)", _identity),
    Attack("A.optimum", "A", "J_beta(pi*) <= J_beta(pi)", _optimum),
    Attack("A.preference", "A", "P(y' beats y) = sigmoid((c(y) - c(y')) / beta)", _reduction, True),
    Attack("A.dpo", "A", "PREF with s = 1: its population loss is stationary at pi*", _calibrated(0), True),
    Attack("A.stationary", "A", "q o pi* = pi*", _stationary, True),
    Attack("A.minorisation", "A", "gamma_min(x) <= max_y pi*(y|x)", _minorisation, True),
    Attack("L1.gamma", "Lemma 1", "TV(q o pi, pi*) <= (1 - gamma_min) TV(pi, pi*)", _lemma("gamma"), True),
    Attack("L1.doeblin", "Lemma 1", "the same with Doeblin's coefficient", _lemma("doeblin"), True),
    Attack("L1.dobrushin", "Lemma 1", "the same with Dobrushin's coefficient", _lemma("dobrushin"), True),
    Attack("L1.chain.doeblin", "Lemma 1", "Dobrushin <= Doeblin", _chain_doeblin),
    Attack("L1.chain.gamma", "Lemma 1", "Doeblin <= 1 - gamma_min", _chain_gamma),
    Attack("B0.range", "B0", "SubOpt <= (c_max + B) D(pi, pi*)", _range(lambda c, b: c + b)),
    Attack("B0.chord", "B0", "SubOpt <= beta E[phi(M, m) TV]", _chord),
    Attack("B0.order", "B0", "beta E[phi TV] <= (c_max + B) D", _chord_order),
    Attack("D.h2.tv", "MLE lemma", "H2 <= 2 TV", _divergences(lambda d: d["h2"], lambda d: 2.0 * d["tv"])),
    Attack("D.tv.h2", "MLE lemma", "TV^2 <= H2 (1 - H2 / 4)",
           _divergences(lambda d: d["tv"] ** 2, lambda d: d["h2"] * (1.0 - d["h2"] / 4.0))),
    Attack("D.kl.h2", "B1(c)", "KL <= (2 + log M) H2", _divergences(lambda d: d["kl"], lambda d: (2.0 + d["top"]) * d["h2"])),
    Attack("B1.bias", "B1(a)", "D(mu, pi*) <= min{eta D, eta_bar sqrt D}", _bias_paper, True),
    Attack("B1.bias.context", "B1(a)", "D(mu, pi*) <= E[(1 - gamma_min) TV(ref, pi*)]",
           _bias(lambda rho, weak, start: jnp.sum(rho * weak * start)), True),
    Attack("B1.gamma", "B6", "gamma TV(mu, pi*) <= (1 - gamma) TV(ref, mu)", _bias_from_edits(lambda g: g), True),
    Attack("B2.slope", "B2(a)", "|u - v| <= kappa |sigmoid(u) - sigmoid(v)|", _slope(_kappa), True),
    Attack("B2.hellinger", "B2(b)", "(u - v)^2 <= (pi^2 / 2) kappa H2", _curvature(_kappa, _HELLINGER), True),
    Attack("B2.hellinger4", "B2(b)", "(u - v)^2 <= 4 kappa H2", _curvature(_kappa, 4.0), True),
    Attack("B2.transfer", "B2(b)", "SubOpt <= beta sqrt(C E_w (u - u*)^2)", _transfer(), True),
    Attack("B2.transfer.fast", "B2(c)", "SubOpt <= (beta / 4) C~ E_w (u - u*)^2", _transfer_fast(0.25), True),
    Attack("B2.path", "B2(c)", "2 pi_t(a) pi_t(b) / w <= C~ at every t", _path_cover, True),
    Attack("B3.pessimism", "B3(a)", "SubOpt <= E_pi*[f_bar - c]", _pessimism(lambda p: p.problem.log_optimal)),
    Attack("B3.transfer.fast", "B3(b)", "SubOpt <= C~_F E_ref (f_bar - c)^2 / (2 beta)", _cost_fast(0.5)),
    Attack("B3.path", "B3(b)", "C_F(pi_t) <= C~_F at every t", _cost_path(True)),
    Attack("B3.path.worst", "B3(b)", "C_F(pi_t) <= C~_F over the class", _cost_path(False)),
)  # fmt: skip

MUTANTS: tuple[Attack, ...] = (
    Attack("mutant.A.nobeta", "A", "P(y' beats y) = sigmoid(c(y) - c(y'))", _reduction_without_beta, True, True),
    Attack("mutant.A.dpo.beta", "A", "s = beta: PREF's population loss is stationary at pi*", _calibrated(1), True, True),
    Attack("mutant.A.reverse", "A", "SubOpt(pi) = beta E KL(pi* || pi)", _reverse, False, True),
    Attack("mutant.A.stationary.free", "A", "q o pi* = pi* for any user", _stationary, False, True),
    Attack("mutant.L1.squared", "Lemma 1", "Lemma 1 with (1 - gamma_min)^2",
           _contraction(lambda p: (1.0 - coverage.gamma_min(p.problem)) ** 2), True, True),
    Attack("mutant.L1.free", "Lemma 1", "Lemma 1 (Dobrushin) for any user", _lemma("dobrushin"), False, True),
    Attack("mutant.L1.average", "Lemma 1", "Lemma 1 with the mean TV of two rows", _contraction(_mean_row_distance), True, True),
    Attack("mutant.L1.optimum", "Lemma 1", "Lemma 1 with max_a TV(q(.|a), pi*)", _contraction(_farthest_from_optimum), True, True),
    Attack("mutant.L1.spectral", "Lemma 1", "Lemma 1 with the Hilbert-Schmidt norm of q - pi*", _contraction(_hilbert_schmidt), True, True),
    Attack("mutant.B0.cmax", "B0", "SubOpt <= c_max D", _range(lambda c, b: c), False, True),
    Attack("mutant.B0.halfB", "B0", "SubOpt <= (c_max + B / 2) D", _range(lambda c, b: c + 0.5 * b), False, True),
    Attack("mutant.B0.over1.05", "B0", "SubOpt <= (c_max + B) D / 1.05", _range(lambda c, b: (c + b) / 1.05), False, True),
    Attack("mutant.B0.logM", "B0", "SubOpt <= beta E[log M TV]", _chord_upper_only, False, True),
    Attack("mutant.D.tv.h2", "MLE lemma", "TV <= H2", _divergences(lambda d: d["tv"], lambda d: d["h2"]), False, True),
    Attack("mutant.D.h2.tv", "MLE lemma", "H2 <= 1.6 TV", _divergences(lambda d: d["h2"], lambda d: 1.6 * d["tv"]), False, True),
    Attack("mutant.D.kl.h2", "B1(c)", "KL <= (1 + log M) H2",
           _divergences(lambda d: d["kl"], lambda d: (1.0 + d["top"]) * d["h2"]), False, True),
    Attack("mutant.B1.bias.mean", "B1(a)", "D(mu, pi*) <= (1 - E gamma_min) D(ref, pi*)",
           _bias(lambda rho, weak, start: jnp.sum(rho * weak) * jnp.sum(rho * start)), True, True),
    Attack("mutant.B1.bias.root", "B1(a)", "D(mu, pi*) <= eta_bar D(ref, pi*)",
           _bias(lambda rho, weak, start: jnp.sqrt(jnp.sum(rho * weak**2)) * jnp.sum(rho * start)), True, True),
    Attack("mutant.B1.gamma", "B6", "TV(mu, pi*) <= (1 - gamma) TV(ref, mu)", _bias_from_edits(jnp.ones_like), True, True),
    Attack("mutant.B2.halfR", "B2(a)", "the slope with kappa at R / 2", _slope(lambda reach: _kappa(0.5 * reach)), True, True),
    Attack("mutant.B2.rootkappa", "B2(b)", "(u - v)^2 <= (pi^2 / 2) sqrt(kappa) H2",
           _curvature(lambda reach: jnp.sqrt(_kappa(reach)), _HELLINGER), True, True),
    Attack("mutant.B2.hellinger3.9", "B2(b)", "(u - v)^2 <= 3.9 kappa H2", _curvature(_kappa, 3.9), True, True),
    Attack("mutant.B2.transfer", "B2(b)", "SubOpt <= beta sqrt(C E_w (u - u*)^2) / 2", _transfer(0.5), True, True),
    Attack("mutant.B2.transfer.fast", "B2(c)", "SubOpt <= (beta / 4.2) C~ E_w (u - u*)^2", _transfer_fast(1 / 4.2), True, True),
    Attack("mutant.B2.path.ends", "B2(c)", "C~ is reached at an end of the path", _path_ends, True, True),
    Attack("mutant.B3.reference", "B3(a)", "SubOpt <= E_ref[f_bar - c]", _pessimism(lambda p: p.problem.log_reference), False, True),
    Attack("mutant.B3.transfer.fast", "B3(b)", "SubOpt <= C~_F E_ref (f_bar - c)^2 / (2.2 beta)", _cost_fast(1 / 2.2), False, True),
)  # fmt: skip

ATTACKS = TRUE + MUTANTS
