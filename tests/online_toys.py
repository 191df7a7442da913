"""Small deployments and every bandit on them, for the tests of the online phase."""

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
from edittheory.problem import EditProblem, balanced_problem

NUM_POLICIES, NUM_CONTEXTS, NUM_RESPONSES = 4, 3, 6


def toy_problem(seed: int = 0, strength: float = 0.4) -> EditProblem:
    """A balanced problem on a line of responses."""
    optimum, _ = jax.random.split(jax.random.key(seed))
    places = jnp.arange(NUM_RESPONSES) / (NUM_RESPONSES - 1)
    distance = jnp.abs(places[:, None] - places[None, :])
    log_optimal = 2.0 * jax.random.normal(optimum, (NUM_CONTEXTS, NUM_RESPONSES))
    return balanced_problem(jnp.asarray([0.5, 0.3, 0.2]), log_optimal, distance, 0.3, strength, 3.0)


def toy_policies(problem: EditProblem, seed: int = 1, count: int = NUM_POLICIES):
    """Random policies with full support, (count, X, Y)."""
    noise = jax.random.normal(jax.random.key(seed), (count, *problem.log_reference.shape))
    return jax.nn.log_softmax(1.5 * noise, axis=-1)


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


def every_bandit(
    count: int = NUM_POLICIES, cost_max: float = 1.0, horizon: int = 64
) -> dict[str, ensembles.Bandit]:
    """All bandits of the package by name, for `count` policies on NUM_CONTEXTS contexts."""
    alpha = cost_max * 2.0**0.5
    domains = np.arange(NUM_CONTEXTS)
    thompson = bandits.Thompson(count, cost_max / 2)
    prior = off_policy.Prior(jnp.full(count, 2.5), jnp.linspace(0.2, 0.4, count), jnp.full(count, 0.05))
    policies, contexts = toy_policies(toy_problem(), 1, count), jnp.asarray([0.5, 0.3, 0.2])
    low = floors.floors_from_log(jnp.linspace(0.2, 0.4, count), jnp.full(count, 0.05), 0.1)
    return {
        "late": ensembles.LateEnsemble(count, alpha),
        "follow_the_leader": ensembles.FollowTheLeader(count),
        "epsilon_greedy": ensembles.EpsilonGreedy(count),
        "elimination": ensembles.SuccessiveElimination(count, cost_max),
        "fixed": ensembles.FixedArm(count, count - 1),
        "kl_ucb": bandits.KLUCB(count, cost_max),
        "ucb_v": bandits.UCBV(count, cost_max),
        "ucb_tuned": bandits.UCBTuned(count, cost_max),
        "thompson": thompson,
        "tsallis_inf": bandits.TsallisINF(count, cost_max),
        "exp3": bandits.Exp3(count, cost_max),
        "discounted": bandits.DiscountedUCB(count, alpha / 2, 0.98),
        "sliding_window": bandits.SlidingWindowUCB(count, alpha, 20),
        "lin_ucb": contextual.LinUCB(count, contextual.domain_features(domains, NUM_CONTEXTS), 0.5),
        "per_domain": contextual.PerDomain(ensembles.LateEnsemble(count, alpha), domains, NUM_CONTEXTS),
        "per_domain_thompson": contextual.PerDomain(thompson, domains, NUM_CONTEXTS),
        "shared": sharing.SharedEnsemble(count, 0.5, horizon),
        "shared_ucb": optimistic.SharedUCB(policies, contexts, cost_max, horizon),
        "shared_elimination": elimination.SharedElimination(policies, contexts, cost_max, horizon, first=8),
        "floored": floors.FlooredEnsemble(count, alpha, low),
        "floored_tested": floors.FlooredEnsemble(count, alpha, low, tested=True),
        "warm_late": off_policy.WarmStart(ensembles.LateEnsemble(count, alpha), prior),
        "shifted_late": off_policy.ShiftedWarmStart(ensembles.LateEnsemble(count, alpha), prior),
        "warm_ucb_v": off_policy.WarmStart(bandits.UCBV(count, cost_max), prior),
        "warm_thompson": off_policy.WarmStart(thompson, prior),
    }
