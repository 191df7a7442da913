"""The search for counterexamples to B4, O7, O8, O10 and O11: ensembles on costs in {0, 1}, an expectation against a bound.

Candidates are mean costs of K policies or of K responses, over which the policies lie. The left side is an expectation over
runs: the search climbs a lower estimate of it, and the verdict is Maurer and Pontil's empirical Bernstein lower bound on fresh
runs, valid for any law of a bounded regret.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import optimize

from edittheory.claims.exact.attack_space import bounded
from edittheory.claims.hunt import bandit_attacks, bandit_attacks_shared
from edittheory.claims.hunt.bandit_attacks import BanditAttack, regrets, regrets_of
from edittheory.claims.hunt.control import ENOUGH, ROOM, Control, kind
from edittheory.core import statistics
from edittheory.core.validation import check_int, check_probability

__all__ = ["BanditAttack", "falsify_bandits", "judge", "lower_bound", "regrets"]

REACH = 8.0
"""Log-odds of mean costs lie in [-REACH, REACH]."""
ALLOWANCE = 1e-9
TRUE = bandit_attacks.TRUE + bandit_attacks_shared.TRUE
MUTANTS = bandit_attacks.MUTANTS + bandit_attacks_shared.MUTANTS
ATTACKS = TRUE + MUTANTS


class BanditCheck(NamedTuple):
    """Mean regret over fresh runs, the bound, their ratio, a valid lower bound on the expected regret, and the verdict."""

    left: float
    right: float
    ratio: float
    lower: float
    trials: int
    refuted: bool


class BanditFound(NamedTuple):
    """The worst mean costs found for one attack, what fresh runs say, how many candidates were tried in how many generations and for
    how many rounds each."""

    name: str
    means: Float[np.ndarray, " K"]
    check: BanditCheck
    tried: int
    generations: int
    rounds: int


def lower_bound(values: Float[np.ndarray, " D"], width: float, level: float) -> float:
    """A bound below the expectation of variables in an interval of the given width, wrong with chance at most `level`.

    Source: Maurer and Pontil 2009, theorem 4.
    """
    count, log_term = len(values), math.log(2.0 / level)
    spread = math.sqrt(2.0 * float(np.var(values, ddof=1)) * log_term / count)
    return float(np.mean(values)) - spread - 7.0 * width * log_term / (3.0 * (count - 1))


def judge(
    attack: BanditAttack,
    means: Float[np.ndarray, " K"],
    horizon: int,
    key,
    runs: int,
    level: float,
    rows: int = 1,
) -> BanditCheck:
    """Judge a claim on fresh runs of LateEnsemble with these mean costs; `runs` in so many equal `rows`, for one program's sake."""
    if runs % rows:
        raise ValueError(f"rows must divide runs = {runs}, but it is {rows}")
    repeated = jnp.broadcast_to(jnp.asarray(means, dtype=float), (rows, len(means)))
    keys = jax.random.split(key, runs).reshape(rows, runs // rows)
    paid = np.asarray(regrets_of(attack, repeated, keys, horizon)).ravel()
    right = float(attack.bound(repeated, horizon)[0])
    left = float(paid.mean())
    # Cutting runs off at a fixed height only lowers the expectation, and makes the bound on it much sharper.
    ceiling = horizon * float(np.ptp(means))
    ceiling = min(ceiling, 3.0 * right) if right > 0 else ceiling
    low = lower_bound(np.minimum(paid, ceiling), ceiling, level)
    return BanditCheck(left, right, left / (right + ALLOWANCE), low, runs, low > right + ALLOWANCE)


def falsify_bandits(
    attacks: Sequence[BanditAttack],
    horizon: int,
    key,
    *,
    shared_horizon: int | None = None,
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

    shared_horizon: rounds of the claims about shared feedback, `horizon` unless given. stop_refuted, control: as of
    `falsify_random`.
    """
    check_int("horizon", horizon, num_policies)
    shared_horizon = check_int("shared_horizon", shared_horizon or horizon, num_policies)
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
        attack, budget, own = attacks[index], generations, kind(attacks[index].source)
        if control is not None:
            budget = (
                control.patience * generations
                if attack.mutant
                else control.budget(needed.get(own), generations)
            )
        rounds = attack.rounds(horizon, shared_horizon)
        rng = np.random.default_rng([seed, index])
        starts = np.clip(rng.normal(0, 2, (population, num_policies)), -8, 8)

        def confirmed(means, look: int, attack=attack, index=index, rounds=rounds) -> bool:
            """Whether fresh runs, others at each look, refute it at a level that leaves room."""
            others = jax.random.fold_in(jax.random.fold_in(key, 2 * 10**6 + index), look)
            return judge(attack, means, rounds, others, population * runs, ROOM * share, population).refuted

        ends: Callable[[Float[np.ndarray, " K"], int], bool] | None = None
        if attack.mutant and control is not None:
            ends = confirmed
        elif attack.mutant and stop_refuted:
            ends = _at_once
        means, tried, spent = _evolve(
            attack,
            rounds,
            keys,
            starts,
            budget,
            np.random.default_rng([seed, index, 1]),
            ends,
        )
        fresh = jax.random.fold_in(key, 10**6 + index)
        verdict = judge(attack, means, rounds, fresh, population * runs, share, population)
        found[index] = BanditFound(attack.name, means, verdict, tried, spent, rounds)
        if attack.mutant:
            needed[own] = max(spent, needed.get(own, 0))
    return [found[index] for index in range(len(attacks))]


def _at_once(means: Float[np.ndarray, " K"], look: int) -> bool:
    """A score above ENOUGH is enough."""
    return True


@jax.jit
def _means_of(log_odds: Float[Array, "S K"]) -> Float[Array, "S K"]:
    return jax.nn.sigmoid(bounded(log_odds, REACH))


def _evolve(
    attack: BanditAttack,
    horizon: int,
    keys,
    starts: Float[np.ndarray, "P K"],
    generations: int,
    rng: np.random.Generator,
    confirmed: Callable[[Float[np.ndarray, " K"], int], bool] | None,
) -> tuple[Float[np.ndarray, " K"], int, int]:
    """The mean costs of the highest score, how many were tried, and the generations.

    It ends early where a score is above ENOUGH and `confirmed(means, how many times it was asked)` says so.
    """
    best_score, best_means, tried, looks = -np.inf, np.full(starts.shape[1], 0.5), 0, 0

    def score(x):
        nonlocal best_score, best_means, tried
        means = _means_of(jnp.asarray(np.ascontiguousarray(x.T)))
        paid = np.asarray(regrets_of(attack, means, keys, horizon))
        low = paid.mean(axis=1) - 2.5 * paid.std(axis=1, ddof=1) / math.sqrt(keys.shape[1])
        right = np.asarray(attack.bound(means, horizon))
        values = np.log(np.maximum(low, 1e-12)) - np.log(right + ALLOWANCE)
        tried += len(values)
        if values.max() > best_score:
            best_score, best_means = values.max(), np.asarray(means[values.argmax()])
        return -values

    def ended(intermediate_result) -> bool:
        nonlocal looks
        if confirmed is None or best_score <= ENOUGH:
            return False
        looks += 1
        return confirmed(best_means, looks)

    result = optimize.differential_evolution(
        score,
        [(-REACH, REACH)] * starts.shape[1],
        init=starts,
        maxiter=generations,
        tol=0.0,
        polish=False,
        updating="deferred",
        vectorized=True,
        callback=ended,
        rng=rng,
    )
    return best_means, tried, int(result.nit)
