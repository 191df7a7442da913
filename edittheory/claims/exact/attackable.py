"""What the falsifier attacks by gradients: deterministic statements of docs/theory.md, and near-misses that are false.

Each is stated here once; the verification counts those of its list on random trials too (`statements`). To add one: write the
sides with the package's functions, write them again in `plain_oracle` with plain NumPy, and add a line to `TRUE` or `MUTANTS`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from edittheory import bounds
from edittheory.claims.exact import attackable_shared as shared
from edittheory.claims.exact import attackable_steps as steps
from edittheory.claims.exact import attackable_transfers as to
from edittheory.claims.exact.attackable_transfers import Sides, View, natural_size
from edittheory.claims.statement import Attack
from edittheory.core.logspace import kl, squared_hellinger, total_variation
from edittheory.problem import coverage

# -- A: identities --------------------------------------------------------------------------------------------------------


def _identity(point: View) -> Sides:
    problem = point.problem
    direct = problem.objective(point.probe) - problem.objective(problem.log_optimal)
    return jnp.abs(direct - problem.suboptimality(point.probe)), jnp.zeros(()), natural_size(point)


def _reverse(point: View) -> Sides:
    problem = point.problem
    reverse = problem.beta * jnp.sum(problem.context_probs * kl(problem.log_optimal, point.probe))
    return jnp.abs(reverse - problem.suboptimality(point.probe)), jnp.zeros(()), natural_size(point)


def _optimum(point: View) -> Sides:
    problem = point.problem
    rivals = jnp.concatenate([point.instance.log_class, point.policies, problem.log_reference[None]])
    return problem.objective(problem.log_optimal), problem.objective(rivals), natural_size(point, rivals)


def _reduction(point: View) -> Sides:
    return coverage.largest_pair_gap(point.problem), jnp.zeros(()), 1.0


def _reduction_without_beta(point: View) -> Sides:
    problem = point.problem
    law, cost = problem.pair_law(), problem.expected_cost
    both = law + jnp.swapaxes(law, -1, -2)
    observed = jnp.where(both > 0, law / jnp.where(both > 0, both, 1.0), 0.5)
    predicted = jax.nn.sigmoid(cost[..., :, None] - cost[..., None, :])
    return jnp.where(both > 0, jnp.abs(predicted - observed), 0.0), jnp.zeros(()), 1.0


def _calibrated(power: int) -> Callable[[View], Sides]:
    """The gradient at pi* of the population loss of PREF with s = beta^power, one entry for each pair."""

    def sides(point: View) -> Sides:
        problem = point.problem
        ratio = problem.log_optimal - problem.log_reference
        margin = problem.beta**power * (ratio[..., None, :] - ratio[..., :, None])
        push = problem.pair_law() * jax.nn.sigmoid(-margin)
        return jnp.abs(push - jnp.swapaxes(push, -1, -2)), jnp.zeros(()), 1.0

    return sides


def _stationary(point: View) -> Sides:
    problem = point.problem
    return total_variation(problem.edited(problem.log_optimal), problem.log_optimal), jnp.zeros(()), 1.0


def _minorisation(point: View) -> Sides:
    problem = point.problem
    return coverage.gamma_min(problem), jnp.exp(jnp.max(problem.log_optimal, axis=-1)), 1.0


# -- Lemma 1 --------------------------------------------------------------------------------------------------------------


def _contraction(coefficient: Callable[[View], Array]) -> Callable[[View], Sides]:
    def sides(point: View) -> Sides:
        problem = point.problem
        after = total_variation(problem.edited(point.probe), problem.log_optimal)
        return after, coefficient(point) * total_variation(point.probe, problem.log_optimal), 1.0

    return sides


def _lemma(form) -> Callable[[View], Sides]:
    def sides(point: View) -> Sides:
        problem = point.problem
        after = total_variation(problem.edited(point.probe), problem.log_optimal)
        return after, bounds.contraction(problem, point.probe, form, check=False).value, 1.0

    return sides


def _chain_doeblin(point: View) -> Sides:
    return coverage.dobrushin(point.problem), coverage.doeblin(point.problem), 1.0


def _chain_gamma(point: View) -> Sides:
    return coverage.doeblin(point.problem), 1.0 - coverage.gamma_min(point.problem), 1.0


# -- B0 and divergences -----------------------------------------------------------------------------------------------------


def _range(price: Callable[[Array, Array], Array]) -> Callable[[View], Sides]:
    """SubOpt <= price(c_max, B) D."""

    def sides(point: View) -> Sides:
        problem = point.problem
        terms = bounds.distance_to_suboptimality(problem, point.policies, "range").terms
        right = price(terms["cost_max"], terms["B"]) * terms["D"]
        return problem.suboptimality(point.policies), right, natural_size(point, point.policies)

    return sides


def _chord(point: View) -> Sides:
    problem = point.problem
    right = bounds.distance_to_suboptimality(problem, point.policies, "chord").value
    return problem.suboptimality(point.policies), right, natural_size(point, point.policies)


def _chord_order(point: View) -> Sides:
    problem = point.problem
    chord = bounds.distance_to_suboptimality(problem, point.probe, "chord").value
    return chord, bounds.distance_to_suboptimality(problem, point.probe, "range").value, natural_size(point)


def _chord_upper_only(point: View) -> Sides:
    problem = point.problem
    top = jnp.max(point.probe - problem.log_optimal, axis=-1)
    right = jnp.sum(problem.context_probs * top * total_variation(point.probe, problem.log_optimal))
    return problem.suboptimality(point.probe), problem.beta * right, natural_size(point)


def _divergences(left, right, constant: float = 0.0) -> Callable[[View], Sides]:
    """A claim about the divergences of probe and optimum in one context, by name: kl, tv, h2, top = log max ratio."""

    def sides(point: View) -> Sides:
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


def _bias(cover: Callable[[Array, Array, Array], Array]) -> Callable[[View], Sides]:
    """D(mu, pi*) against a function of context law, 1 - gamma_min and TV(reference, pi*) by context."""

    def sides(point: View) -> Sides:
        problem = point.problem
        start = total_variation(problem.log_reference, problem.log_optimal)
        mu = problem.edited(problem.log_reference)
        bias = problem.total_variation(mu, problem.log_optimal)
        return bias, cover(problem.context_probs, 1.0 - coverage.gamma_min(problem), start), 1.0

    return sides


def _bias_paper(point: View) -> Sides:
    terms = bounds.supervised(point.problem, point.instance.log_class, 1, 0.1, "paper", check=False).terms
    mu = point.problem.edited(point.problem.log_reference)
    return point.problem.total_variation(mu, point.problem.log_optimal), terms["bias"], 1.0


def _bias_from_edits(share: Callable[[Array], Array]) -> Callable[[View], Sides]:
    """share(gamma) TV(mu, pi*) <= (1 - gamma) TV(reference, mu)."""

    def sides(point: View) -> Sides:
        problem = point.problem
        mu, gamma = problem.edited(problem.log_reference), coverage.gamma_min(problem)
        left = share(gamma) * total_variation(mu, problem.log_optimal)
        return left, (1.0 - gamma) * total_variation(problem.log_reference, mu), 1.0

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
    Attack("L1.doeblin", "Lemma 1", "TV(q o pi, pi*) <= Doeblin's coefficient x TV(pi, pi*)", _lemma("doeblin"), True),
    Attack("L1.dobrushin", "Lemma 1", "TV(q o pi, pi*) <= Dobrushin's coefficient x TV(pi, pi*)", _lemma("dobrushin"), True),
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
    Attack("B2.slope", "B2(a)", "|u - v| <= kappa |sigmoid(u) - sigmoid(v)|", to.slope(_kappa), True),
    Attack("B2.hellinger", "B2(b)", "(u - v)^2 <= (π^2 / 2) kappa H2", to.curvature(_kappa, _HELLINGER), True),
    Attack("B2.hellinger4", "B2(b)", "(u - v)^2 <= 4 kappa H2", to.curvature(_kappa, 4.0), True),
    Attack("B2.transfer", "B2(b)", "SubOpt <= beta sqrt(C E_w (u - u*)^2)", to.transfer(), True),
    Attack("B2.transfer.fast", "B2(c)", "SubOpt <= (beta / 4) C~ E_w (u - u*)^2", to.transfer_fast(0.25), True),
    Attack("B2.path", "B2(c)", "2 pi_t(a) pi_t(b) / w <= C~ at every t", to.path_cover, True),
    Attack("B3.pessimism", "B3(a)", "SubOpt <= E_pi*[f_bar - c]", to.pessimism(lambda p: p.problem.log_optimal)),
    Attack("B3.transfer.fast", "B3(b)", "SubOpt <= C~_F E_ref (f_bar - c)^2 / (2 beta)", to.cost_fast(0.5)),
    Attack("B3.path", "B3(b)", "C_F(pi_t) <= C~_F at every t", to.cost_path(True)),
    Attack("B3.path.worst", "B3(b)", "C_F(pi_t) <= C~_F over the class", to.cost_path(False)),
    Attack("C14.cell", "C14", "P_v(A) <= exp(-(sqrt(-log P_u(A)) - |v - u| / sqrt 8)^2)", steps.cell(1.0)),
    Attack("L6.hellinger", "L6", "kappa(r) H2(pi, pi*) <= KL(pi || pi*), r = max log pi* / pi", steps.hellinger(steps.kappa)),
    Attack("M4.mixture", "M4", "SubOpt(mixture) = mean SubOpt of the parts - mean beta KL(part || mixture)", steps.mixed(1.0)),
    Attack("M4.tangent", "M4", "the objective at a part = its tangent at the mixture + beta KL(part || mixture) / 2",
           steps.first_order(1.0)),
    Attack("M4.weights", "M4", "E_ref (p/ref - q/ref)^2 <= 4 M (KL(p || z) + KL(q || z))", steps.weights_apart(4.0)),
    Attack("M5.centres", "M5", "-log sum p^t q^(1-t) <= t KL(pi || p) + (1-t) KL(pi || q)", steps.two_centres(1.0)),
    Attack("G5.beta", "G5", "SubOpt(made with beta') <= beta (1/beta' - 1/beta)^2 range(c)^2 / 8", steps.wrong_beta(8.0)),
    Attack("G7.factor", "G7", "costs within a share r of c: SubOpt <= (r max c)^2 / (2 beta)", steps.within_factor(2.0)),
    Attack("G8.cut", "G8", "SubOpt <= SubOpt with distances cut at T + E_pi[c - cut c]", steps.truncated(lambda p: p.probe)),
    *shared.TRUE,
)  # fmt: skip

MUTANTS: tuple[Attack, ...] = (
    Attack("mutant.A.nobeta", "A", "P(y' beats y) = sigmoid(c(y) - c(y'))", _reduction_without_beta, True, True),
    Attack("mutant.A.dpo.beta", "A", "s = beta: PREF's population loss is stationary at pi*", _calibrated(1), True, True),
    Attack("mutant.A.reverse", "A", "SubOpt(pi) = beta E KL(pi* || pi)", _reverse, False, True),
    Attack("mutant.A.stationary.free", "A", "q o pi* = pi* for any user", _stationary, False, True),
    Attack("mutant.L1.squared", "Lemma 1", "Lemma 1 with (1 - gamma_min)^2",
           _contraction(lambda p: (1.0 - coverage.gamma_min(p.problem)) ** 2), True, True),
    Attack("mutant.L1.free", "Lemma 1", "Lemma 1 (Dobrushin) for any user", _lemma("dobrushin"), False, True),
    Attack("mutant.L1.average", "Lemma 1", "Lemma 1 with the mean TV of two rows", _contraction(steps.mean_row_distance), True, True),
    Attack("mutant.L1.optimum", "Lemma 1", "Lemma 1 with max_a TV(q(.|a), pi*)", _contraction(steps.farthest_from_optimum), True, True),
    Attack("mutant.L1.spectral", "Lemma 1", "Lemma 1 with the Hilbert-Schmidt norm of q - pi*",
           _contraction(steps.hilbert_schmidt), True, True),
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
    Attack("mutant.B2.halfR", "B2(a)", "the slope with kappa at R / 2", to.slope(lambda reach: _kappa(0.5 * reach)), True, True),
    Attack("mutant.B2.rootkappa", "B2(b)", "(u - v)^2 <= (π^2 / 2) sqrt(kappa) H2",
           to.curvature(lambda reach: jnp.sqrt(_kappa(reach)), _HELLINGER), True, True),
    Attack("mutant.B2.hellinger3.9", "B2(b)", "(u - v)^2 <= 3.9 kappa H2", to.curvature(_kappa, 3.9), True, True),
    Attack("mutant.B2.transfer", "B2(b)", "SubOpt <= beta sqrt(C E_w (u - u*)^2) / 2", to.transfer(0.5), True, True),
    Attack("mutant.B2.transfer.fast", "B2(c)", "SubOpt <= (beta / 4.2) C~ E_w (u - u*)^2", to.transfer_fast(1 / 4.2), True, True),
    Attack("mutant.B2.path.ends", "B2(c)", "C~ is reached at an end of the path", to.path_ends, True, True),
    Attack("mutant.B3.reference", "B3(a)", "SubOpt <= E_ref[f_bar - c]", to.pessimism(lambda p: p.problem.log_reference), False, True),
    Attack("mutant.B3.transfer.fast", "B3(b)", "SubOpt <= C~_F E_ref (f_bar - c)^2 / (2.2 beta)", to.cost_fast(1 / 2.2), False, True),
    Attack("mutant.C14.cell", "C14", "the same at .8 of the distance", steps.cell(0.8), False, True),
    Attack("mutant.L6.hellinger", "L6", "2 H2(pi, pi*) <= KL(pi || pi*)", steps.hellinger(lambda r: 2.0), False, True),
    Attack("mutant.M4.mixture", "M4", "the same with half of the divergence", steps.mixed(0.5), False, True),
    Attack("mutant.M4.tangent", "M4", "the same with twice the divergence", steps.first_order(2.0), False, True),
    Attack("mutant.M4.weights", "M4", "the same with 3 M", steps.weights_apart(3.0), False, True),
    Attack("mutant.M5.centres", "M5", "the same with 1.05 times the left side", steps.two_centres(1.05), False, True),
    Attack("mutant.G5.beta", "G5", "the same with 9 in place of 8", steps.wrong_beta(9.0), False, True),
    Attack("mutant.G7.factor", "G7", "the same with 3 in place of 2", steps.within_factor(3.0), False, True),
    Attack("mutant.G8.reference", "G8", "the same with E_ref[c - cut c]", steps.truncated(lambda p: p.problem.log_reference), False, True),
    *shared.MUTANTS,
)  # fmt: skip

ATTACKS = TRUE + MUTANTS


def by_name(name: str) -> Attack:
    """The exact claim of that name. Raises KeyError."""
    return {attack.name: attack for attack in ATTACKS}[name]
