"""What the experiments on late ensembles share: users, the policies trained on their logs, and the bandits by name."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from edittheory.core.validation import check_positive
from edittheory.deploy import bandits, contextual, ensembles, sharing
from edittheory.learn import learners
from edittheory.problem import EditDataset, EditProblem, random_problems
from edittheory.problem.kernels import balanced_kernel

LEARNERS = ("SUP", "PREF", "RL", "Early")
"""The policies that a late ensemble chooses from; `base`, the reference, is not among them."""
LOCALITY = 3.0

# name: (strength of the balanced user, share of the habit, logged edits to train on)
TRAINING = {"strong": (0.9, 0.0, 30), "weak": (0.05, 0.0, 100), "habit": (0.05, 0.3, 1000)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problems:
    """The fields of their configurations that say which random problems are met."""

    beta: float = 0.1
    num_contexts: int = 4
    num_candidates: int = 32
    num_letters: int = 2
    max_length: int = 3
    seed: int = 0

    def __post_init__(self):
        check_positive("beta", self.beta)


class Trained(NamedTuple):
    """A problem with its training user, the log, and the policies trained on it: (4, X, Y) in the order of LEARNERS."""

    problem: EditProblem
    data: EditDataset
    log_policies: Float[Array, "K X Y"]


def train(
    key: PRNGKeyArray, user: str, spaces: random_problems.Spaces, num_contexts: int, num_candidates: int, beta: float
) -> Trained:
    """A random problem of the named training user, its log, and every learner on it; jits and vmaps over keys."""
    strength, habit, n = TRAINING[user]
    # Without the barrier XLA spends minutes folding what it can compute from constant distances.
    spaces = spaces._replace(distances=jax.lax.optimization_barrier(jnp.asarray(spaces.distances)))
    problem_key, data_key = jax.random.split(key)
    instance = random_problems.balanced_backwards(
        problem_key, spaces, num_contexts, num_candidates, beta=beta, strength=strength, habit=habit
    )
    data = instance.problem.sample(data_key, n)
    found = learners.every_learner(instance, data, 0.1)
    return Trained(instance.problem, data, jnp.stack([found[name] for name in LEARNERS]))


def deployed_user(problem: EditProblem, user: str) -> Float[Array, "X Y Y"]:
    """The user met in deployment: "same" as in training, or a "strong" or "weak" one with the problem's optimal policy."""
    if user == "same":
        return problem.user
    return balanced_kernel(
        problem.log_optimal, problem.distance, {"strong": 0.9, "weak": 0.05}[user], LOCALITY
    )


def plain_bandits(count: int, cost_max: float | Array, horizon: int) -> dict[str, ensembles.Bandit]:
    """The bandits without context or log by name; `horizon` sets the window of the sliding one."""
    theory = ensembles.theory_exploration(cost_max)
    return {
        "Late": ensembles.LateEnsemble(count, theory),
        "Late, alpha/4": ensembles.LateEnsemble(count, theory / 4),
        "follow the leader": ensembles.FollowTheLeader(count),
        "epsilon-greedy": ensembles.EpsilonGreedy(count, 2.0),
        "elimination": ensembles.SuccessiveElimination(count, cost_max),
        "KL-UCB": bandits.KLUCB(count, cost_max),
        "UCB-V": bandits.UCBV(count, cost_max),
        "UCB-tuned": bandits.UCBTuned(count, cost_max),
        "Thompson": bandits.Thompson(count, cost_max / 2),
        "Thompson, noise/2": bandits.Thompson(count, cost_max / 4),
        "Tsallis-INF": bandits.TsallisINF(count, cost_max),
        "Exp3": bandits.Exp3(count, cost_max),
        "sliding window": bandits.SlidingWindowUCB(count, theory / 4, max(count, min(horizon // 4, 500))),
        "discounted": bandits.DiscountedUCB(count, theory / 8, 0.99),
    }


def shared(count: int, cost_max: float | Array, horizon: int) -> sharing.SharedEnsemble:
    """Late on shared feedback, exploring as "Late, alpha/4" does."""
    return sharing.SharedEnsemble(count, ensembles.theory_exploration(cost_max) / 4, horizon)


def lin_ucb(count: int, cost_max: float | Array, domains: Array, num_domains: int) -> contextual.LinUCB:
    """LinUCB on a constant and domain indicators."""
    return contextual.LinUCB(count, contextual.domain_features(domains, num_domains), cost_max / 4)
