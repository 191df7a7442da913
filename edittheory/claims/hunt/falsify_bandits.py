"""The search for counterexamples to B4, O7 and O8: ensembles on Bernoulli costs, an expectation over runs against a bound.

Candidates are mean costs of K policies (B4) or of K responses, over which the policies lie (O7, O8). The left side is an
expectation: the search climbs a lower estimate of it, and the verdict is Maurer and Pontil's empirical Bernstein lower bound
on fresh runs, valid for any law of a bounded regret.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import optimize

from edittheory.bounds import online
from edittheory.claims.exact.attack_space import bounded
from edittheory.claims.hunt.control import ENOUGH, Control, kind
from edittheory.core import statistics
from edittheory.core.validation import check_int, check_probability
from edittheory.deploy.ensembles import LateEnsemble, theory_exploration
from edittheory.deploy.sharing import SharedExponential, overlap

REACH = 8.0
"""Log-odds of mean costs lie in [-REACH, REACH]."""
ALLOWANCE = 1e-9


class BanditAttack(NamedTuple):
    """A claim about E regret of LateEnsemble with theory's exploration, or of `SharedExponential` with a prior; costs in {0, 1}.

    `right(means, horizon)` bounds the expected regret E sum_t (J(pi_t) - min J). shared: which of the
    two. first: the prior chance of the first policy of the shared ensemble, None for the uniform prior.
    """

    name: str
    source: str
    claim: str
    right: Callable[[Array, int], Array]
    mutant: bool = False
    shared: bool = False
    first: float | None = None


class BanditCheck(NamedTuple):
    """Mean regret over fresh runs, the bound, their ratio, a valid lower bound on the expected regret, and the verdict."""

    left: float
    right: float
    ratio: float
    lower: float
    trials: int
    refuted: bool


class BanditFound(NamedTuple):
    """The worst mean costs found for one attack, what fresh runs say, how many candidates were tried in how many generations."""

    name: str
    means: Float[np.ndarray, " K"]
    check: BanditCheck
    tried: int
    generations: int


def _gaps(means: Array) -> Array:
    return means - jnp.min(means, axis=-1, keepdims=True)


def _b4(form) -> Callable[[Array, int], Array]:
    return lambda means, horizon: online.late_ensemble(_gaps(means), 1.0, horizon, form).value


def _without_log(means: Array, horizon: int) -> Array:
    gaps = _gaps(means)
    inverse = jnp.where(gaps > 0, 1.0 / jnp.where(gaps > 0, gaps, 1.0), 0.0)
    return 8.0 * jnp.sum(inverse, axis=-1) + (1.0 + math.pi**2 / 3.0) * jnp.sum(gaps, axis=-1)


MIXED = 0.15
"""Share of each of the other responses in a policy of O7 and O8: policy k answers k, or one of the others."""


def policies(count: int) -> Float[Array, "K K"]:
    """Chances of the responses under each policy."""
    return jnp.full((count, count), MIXED) + (1.0 - count * MIXED) * jnp.eye(count)


def _log_prior(first: float | None, count: int) -> Array:
    if first is None:
        return jnp.full(count, -math.log(count))
    return jnp.log(jnp.full(count, (1.0 - first) / (count - 1)).at[0].set(first))


def _uniform_rate(count: int, horizon: int) -> Array:
    shared = overlap(jnp.log(policies(count))[:, None], jnp.ones(1))
    return jnp.sqrt(2.0 * math.log(count) / (shared * horizon))


def _o7(first: float | None, share: float = 1.0) -> Callable[[Array, int], Array]:
    """O7 (uniform prior, first None), O8 (`first` the prior chance of the first policy), at the rate of the uniform prior."""

    def right(means: Array, horizon: int) -> Array:
        count = means.shape[-1]
        best = jnp.argmin(means @ policies(count).T, axis=-1)
        shared = overlap(jnp.log(policies(count))[:, None], jnp.ones(1))
        rate = _uniform_rate(count, horizon)
        log_prior = _log_prior(first, count)[best]
        return share * online.shared_feedback(log_prior, shared, 1.0, horizon, rate).value

    return right


TRUE = (
    BanditAttack("B4.paper", "B4", "E regret of LateEnsemble, the least of both forms", _b4("paper")),
    BanditAttack("B4.sharp", "B4", "E regret of LateEnsemble, the constants of O1", _b4("sharp")),
    BanditAttack("O7", "O7", "E regret of SharedExponential, uniform prior", _o7(None), shared=True),
    BanditAttack("O8", "O8", "E regret of SharedExponential, a prior of 1% for one policy", _o7(0.01),
                 shared=True, first=0.01),
)  # fmt: skip
MUTANTS = (
    BanditAttack("mutant.B4.nolog", "B4", "the gap-dependent form without log T", _without_log, True),
    BanditAttack("mutant.B4.best", "B4", "LateEnsemble's cost is at most the best policy's",
                 lambda means, horizon: jnp.zeros(means.shape[:-1]), True),
    BanditAttack("mutant.O7", "O7", "a third of it", _o7(None, 1 / 3), True, True),
    BanditAttack("mutant.O8", "O8", "the uniform prior's bound with a prior of 1% for one policy", _o7(None), True, True, 0.01),
)  # fmt: skip
ATTACKS = TRUE + MUTANTS


@eqx.filter_jit
def shared_regrets(
    means: Float[Array, "S K"], keys: Array, horizon: int, first: float | None
) -> Float[Array, "S D"]:
    """`regrets` of SharedExponential on `policies`, means those of the responses; `first` as in an attack."""
    count = means.shape[-1]
    laws = policies(count)
    ensemble = SharedExponential(count, 1.0, _uniform_rate(count, horizon), _log_prior(first, count))

    def run(mean, key):
        gaps = _gaps(laws @ mean)
        own, play_key = jax.random.split(key)

        def play(state, luck):
            arm = ensemble.select(state)
            response = jnp.sum(jnp.cumsum(laws[arm])[:-1] <= luck[0])
            cost = (luck[1] < mean[response]).astype(mean.dtype)
            return ensemble.update(state, arm, cost, log_probs=jnp.log(laws[:, response])), gaps[arm]

        luck = jax.random.uniform(play_key, (horizon, 2), dtype=mean.dtype)
        return jnp.sum(jax.lax.scan(play, ensemble.init(own), luck)[1])

    return jax.vmap(lambda mean, row: jax.vmap(lambda key: run(mean, key))(row))(means, keys)


def regrets_of(attack: BanditAttack, means: Float[Array, "S K"], keys: Array, horizon: int) -> Array:
    """Regrets (S, D) of the ensemble that the claim is about."""
    if not attack.shared:
        return regrets(means, keys, horizon)
    return shared_regrets(means, keys, horizon, attack.first)


@eqx.filter_jit
def regrets(means: Float[Array, "S K"], keys: Array, horizon: int) -> Float[Array, "S D"]:
    """sum_t (J(pi_t) - min J) of one run of `horizon` rounds for each of the keys (S, D)."""
    ensemble = LateEnsemble(means.shape[-1], theory_exploration(1.0))

    def run(mean, key):
        gaps = _gaps(mean)

        def play(state, uniform):
            arm = ensemble.select(state)
            cost = (uniform < mean[arm]).astype(mean.dtype)
            return ensemble.update(state, arm, cost), gaps[arm]

        _, paid = jax.lax.scan(play, ensemble.init(), jax.random.uniform(key, (horizon,), dtype=mean.dtype))
        return jnp.sum(paid)

    return jax.vmap(lambda mean, row: jax.vmap(lambda key: run(mean, key))(row))(means, keys)


def lower_bound(values: Float[np.ndarray, " D"], width: float, level: float) -> float:
    """A bound below the expectation of variables in an interval of the given width, wrong with chance at most `level`.

    Source: Maurer and Pontil 2009, theorem 4.
    """
    count, log_term = len(values), math.log(2.0 / level)
    spread = math.sqrt(2.0 * float(np.var(values, ddof=1)) * log_term / count)
    return float(np.mean(values)) - spread - 7.0 * width * log_term / (3.0 * (count - 1))


def judge(
    attack: BanditAttack, means: Float[np.ndarray, " K"], horizon: int, key, runs: int, level: float
) -> BanditCheck:
    """Judge a claim on fresh runs of LateEnsemble with these mean costs."""
    concrete = jnp.asarray(means, dtype=float)
    keys = jax.random.split(key, runs)[None]
    paid = np.asarray(regrets_of(attack, concrete[None], keys, horizon))[0]
    right = float(attack.right(concrete, horizon))
    left = float(paid.mean())
    # Cutting runs off at a fixed height only lowers the expectation, and makes the bound on it much sharper.
    ceiling = horizon * float(np.ptp(means))
    ceiling = min(ceiling, 3.0 * right) if right > 0 else ceiling
    low = lower_bound(np.minimum(paid, ceiling), ceiling, level)
    return BanditCheck(left, right, left / (right + ALLOWANCE), low, runs, low > right + ALLOWANCE)


def _ends_above(enough: float) -> Callable[..., bool]:
    """What scipy asks after each generation: the parameter's name is its convention."""
    return lambda intermediate_result: bool(-intermediate_result.fun > enough)


def falsify_bandits(
    attacks: Sequence[BanditAttack],
    horizon: int,
    key,
    *,
    num_policies: int = 3,
    population: int = 32,
    runs: int = 64,
    generations: int = 10,
    level: float = 1e-3,
    seed: int = 0,
    stop_refuted: bool = False,
    control: Control | None = None,
) -> list[BanditFound]:
    """The worst mean costs found for each attack, judged on population * runs fresh runs; `level` is divided over attacks.

    stop_refuted, control: as of `falsify_random`.
    """
    check_int("horizon", horizon, num_policies)
    check_int("population", population, 5)
    check_int("runs", runs, 2)
    check_probability("level", level, open_left=True)
    share = statistics.bonferroni(level, len(attacks))
    keys = jnp.broadcast_to(jax.random.split(key, runs), (population, runs))
    found: dict[int, BanditFound] = {}
    needed: dict[str, int] = {}
    for index in sorted(
        range(len(attacks)), key=lambda index: control is not None and not attacks[index].mutant
    ):
        attack, enough, budget, own = attacks[index], np.inf, generations, kind(attacks[index].source)
        if attack.mutant:
            enough = ENOUGH if stop_refuted or control is not None else np.inf
        elif control is not None:
            budget = control.budget(needed.get(own), generations)
        best_score, best_means, tried = -np.inf, np.full(num_policies, 0.5), 0

        def score(x, attack=attack):
            nonlocal best_score, best_means, tried
            means = jax.nn.sigmoid(bounded(jnp.asarray(np.ascontiguousarray(x.T)), REACH))
            paid = np.asarray(regrets_of(attack, means, keys, horizon))
            low = paid.mean(axis=1) - 2.5 * paid.std(axis=1, ddof=1) / math.sqrt(runs)
            right = np.asarray(attack.right(means, horizon))
            values = np.log(np.maximum(low, 1e-12)) - np.log(right + ALLOWANCE)
            tried += len(values)
            if values.max() > best_score:
                best_score, best_means = values.max(), np.asarray(means[values.argmax()])
            return -values

        result = optimize.differential_evolution(
            score,
            [(-REACH, REACH)] * num_policies,
            init=np.clip(
                np.random.default_rng([seed, index]).normal(0, 2, (population, num_policies)), -8, 8
            ),
            maxiter=budget,
            tol=0.0,
            polish=False,
            updating="deferred",
            vectorized=True,
            callback=_ends_above(enough),
            rng=np.random.default_rng([seed, index, 1]),
        )
        fresh = jax.random.fold_in(key, 10**6 + index)
        verdict = judge(attack, best_means, horizon, fresh, population * runs, share)
        found[index] = BanditFound(attack.name, best_means, verdict, tried, result.nit)
        if attack.mutant:
            needed[own] = max(result.nit, needed.get(own, 0))
    return [found[index] for index in range(len(attacks))]
