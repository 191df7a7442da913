"""Small instances and loops over examples written out: what the tests of certificates compare with."""

import jax
import numpy as np

from edittheory.problem import random_problems
from tests.finite_toys import STRINGS

K, X, N = 8, 2, 60


@jax.jit
def backwards(key):
    """A balanced instance built backwards: candidates far apart, which preferences tell apart quickly."""
    problem_key, data_key = jax.random.split(key)
    instance = random_problems.balanced_backwards(problem_key, STRINGS, X, K, beta=0.1)
    return instance, instance.problem.sample(data_key, N)


@jax.jit
def on_a_line(key):
    """A dense class: K candidates along a line, neighbours hardly told apart by N edits."""
    problem_key, data_key = jax.random.split(key)
    instance = random_problems.balanced_backwards(problem_key, STRINGS, X, K, beta=0.3, tastes=random_problems.on_a_line)
    return instance, instance.problem.sample(data_key, N)


def loop_preferences(log_class, log_reference, data) -> np.ndarray:
    """log sigmoid(u_v) for each example and member, from the definition, (N, K)."""
    log_class, log_reference = np.asarray(log_class), np.asarray(log_reference)
    result = np.zeros((data.size, len(log_class)))
    for i, (x, y, edit) in enumerate(
        zip(*map(np.asarray, (data.contexts, data.responses, data.edits)), strict=True)
    ):
        for k, policy in enumerate(log_class):
            u = (policy[x, edit] - log_reference[x, edit]) - (policy[x, y] - log_reference[x, y])
            result[i, k] = -np.log1p(np.exp(-u))
    return result


def loop_mixture(log_likelihood: np.ndarray) -> np.ndarray:
    """log of the mean of all products over each member's product, (N, K)."""
    products = np.exp(np.cumsum(log_likelihood, axis=0))
    return np.log(products.mean(axis=1, keepdims=True) / products)


def loop_betting(cost_class, data, cost_max: float) -> np.ndarray:
    """The wealth of every bet, example by example; each bet is computed before the cost is looked at. (N, F)."""
    cost_class = np.asarray(cost_class)
    xs, ys, costs = (np.asarray(a) for a in (data.contexts, data.responses, data.costs))
    wealth = np.zeros((data.size, len(cost_class)))
    now = np.ones(len(cost_class))
    residuals = []
    for i, (x, y, cost) in enumerate(zip(xs, ys, costs, strict=True)):
        here = cost_class[:, x, y]
        past = [sum((costs[j] - f[xs[j], ys[j]]) ** 2 for j in range(i)) for f in cost_class]
        fitted = here[int(np.argmin(past))] if i else here.mean()
        variance = (cost_max**2 / 4 + sum(residuals)) / (1 + i)
        for k, f in enumerate(here):
            margin = fitted - f
            bet = min(max(margin / (variance + margin**2), -0.5 / cost_max), 0.5 / cost_max)
            now[k] *= 1 + bet * (cost - f)
        residuals.append((cost - fitted) ** 2)
        wealth[i] = now
    return np.log(wealth)


def loop_divergence(p, q, context_probs) -> float:
    """E_x KL(p || q)."""
    p, q = np.exp(np.asarray(p)), np.exp(np.asarray(q))
    return float(
        sum(r * (a * np.log(a / b)).sum() for r, a, b in zip(np.asarray(context_probs), p, q, strict=True))
    )
