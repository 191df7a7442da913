"""Small deployments and every bandit on them, for the tests of the online phase."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from edittheory.deploy import (
    bandits,
    contextual,
    deployment,
    elimination,
    ensembles,
    floors,
    off_policy,
    online,
    optimistic,
    sharing,
)
from edittheory.problem import EditProblem
from tests.bandit_cases import HORIZON
from tests.problem_cases import built_backwards

NUM_POLICIES, NUM_CONTEXTS, NUM_RESPONSES = 4, 3, 6


@functools.cache
def toy_problem(seed: int = 0, strength: float = 0.4) -> EditProblem:
    """A balanced problem on a line of responses."""
    optimum, _ = jax.random.split(jax.random.key(seed))
    places = np.arange(NUM_RESPONSES) / (NUM_RESPONSES - 1)
    distance = np.abs(places[:, None] - places[None, :])
    log_optimal = 2.0 * jax.random.normal(optimum, (NUM_CONTEXTS, NUM_RESPONSES))
    return built_backwards(np.array([0.5, 0.3, 0.2]), log_optimal, distance, 0.3, strength, 3.0)


@functools.partial(jax.jit, static_argnames="shape")
def _policies(seed, shape):
    return jax.nn.log_softmax(1.5 * jax.random.normal(jax.random.key(seed), shape), axis=-1)


def toy_policies(problem: EditProblem, seed: int = 1, count: int = NUM_POLICIES):
    """Random policies with full support, (count, X, Y)."""
    return _policies(seed, (count, *problem.log_reference.shape))


@functools.cache
def toy_deployment(seed: int = 0, count: int = NUM_POLICIES) -> deployment.Deployment:
    """`toy_policies` deployed on `toy_problem`."""
    problem = toy_problem(seed)
    return deployment.deploy(problem, toy_policies(problem, seed + 1, count))


@eqx.filter_jit
def cost_table(environment, key, num_seeds: int, horizon: int, first_seed: int = 0) -> deployment.Round:
    """The rounds that `online.simulate` and `trace` meet, every policy's cost in them: fields (S, T, ...)."""

    def one_seed(seed):
        environment_key, _ = online.seed_keys(key, seed)
        return jax.vmap(lambda t: environment.draw(environment_key, t))(jnp.arange(horizon))

    return jax.vmap(one_seed)(first_seed + jnp.arange(num_seeds))


COUNT, ALPHA, COST_MAX = NUM_POLICIES, 2.0**0.5, 1.0
DOMAINS = np.arange(NUM_CONTEXTS)


def late() -> ensembles.LateEnsemble:
    return ensembles.LateEnsemble(COUNT, ALPHA)


def thompson() -> bandits.Thompson:
    return bandits.Thompson(COUNT, COST_MAX / 2)


def prior() -> off_policy.Prior:
    return off_policy.Prior(jnp.full(COUNT, 2.5), jnp.linspace(0.2, 0.4, COUNT), jnp.full(COUNT, 0.05))


def known(kind, **options) -> ensembles.Bandit:
    """One that knows the policies' tables."""
    laws = toy_policies(toy_problem(), 1, COUNT), jnp.asarray([0.5, 0.3, 0.2])
    return kind(*laws, COST_MAX, HORIZON, **options)


def floored(**options) -> floors.FlooredEnsemble:
    low = floors.floors_from_log(jnp.linspace(0.2, 0.4, COUNT), jnp.full(COUNT, 0.05), 0.1)
    return floors.FlooredEnsemble(COUNT, ALPHA, low, **options)


BANDITS: dict[str, Callable[[], ensembles.Bandit]] = {
    "late": late,
    "follow_the_leader": lambda: ensembles.FollowTheLeader(COUNT),
    "epsilon_greedy": lambda: ensembles.EpsilonGreedy(COUNT),
    "elimination": lambda: ensembles.SuccessiveElimination(COUNT, COST_MAX),
    "fixed": lambda: ensembles.FixedArm(COUNT, COUNT - 1),
    "kl_ucb": lambda: bandits.KLUCB(COUNT, COST_MAX),
    "ucb_v": lambda: bandits.UCBV(COUNT, COST_MAX),
    "ucb_tuned": lambda: bandits.UCBTuned(COUNT, COST_MAX),
    "thompson": thompson,
    "tsallis_inf": lambda: bandits.TsallisINF(COUNT, COST_MAX),
    "exp3": lambda: bandits.Exp3(COUNT, COST_MAX),
    "discounted": lambda: bandits.DiscountedUCB(COUNT, ALPHA / 2, 0.98),
    "sliding_window": lambda: bandits.SlidingWindowUCB(COUNT, ALPHA, 20),
    "lin_ucb": lambda: contextual.LinUCB(COUNT, contextual.domain_features(DOMAINS, NUM_CONTEXTS), 0.5),
    "per_domain": lambda: contextual.PerDomain(late(), DOMAINS, NUM_CONTEXTS),
    "per_domain_thompson": lambda: contextual.PerDomain(thompson(), DOMAINS, NUM_CONTEXTS),
    "shared": lambda: sharing.SharedEnsemble(COUNT, 0.5, HORIZON),
    "shared_ucb": lambda: known(optimistic.SharedUCB),
    "shared_elimination": lambda: known(elimination.SharedElimination, first=8),
    "floored": floored,
    "floored_tested": lambda: floored(tested=True),
    "warm_late": lambda: off_policy.WarmStart(late(), prior()),
    "shifted_late": lambda: off_policy.ShiftedWarmStart(late(), prior()),
    "warm_ucb_v": lambda: off_policy.WarmStart(bandits.UCBV(COUNT, COST_MAX), prior()),
    "warm_thompson": lambda: off_policy.WarmStart(thompson(), prior()),
}
"""All bandits of the package, for NUM_POLICIES policies on NUM_CONTEXTS contexts."""
