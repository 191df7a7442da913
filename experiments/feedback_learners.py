"""Learners of labels, comparisons, costs and all of them, on logs drawn from the prior of a van Trees bound; in plain NumPy, batched.

Every learner knows the prior, as a normal law of the same variance; "labels, informed" also knows the user's kernel, and fits by
Fisher scoring. Each is a function of what its feedback shows, nothing else.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_expit, log_softmax

from edittheory.bounds import van_trees
from edittheory.bounds.van_trees import Family
from edittheory.problem.kernels import balanced_kernel

LEARNERS = {"SUP": "labels", "labels, informed": "labels", "PREF": "comparisons", "RL": "costs", "all": "all"}
"""Every learner and the feedback that it sees."""
NEWTON = 12
PRIOR_VARIANCE = 1.0 / 3.0 - 2.0 / np.pi**2
"""Of the law cos^2(pi t / 2) on [-1, 1]."""


class Tables:
    """A family as NumPy arrays, and the middle's pairs."""

    def __init__(self, family: Family):
        problem = family.problem
        self.beta, self.phi = float(problem.beta), np.asarray(family.features)
        self.rho, self.reference = (
            np.asarray(problem.context_probs),
            np.exp(np.asarray(problem.log_reference)),
        )
        self.log_middle, self.cost = np.asarray(problem.log_optimal), np.asarray(problem.expected_cost)
        self.variance = np.asarray(van_trees.cost_variance(family))
        both = np.asarray(van_trees.pairs(family))
        both = both + np.swapaxes(both, 1, 2)
        x, a, b = np.nonzero(np.triu(np.ones(both.shape[1:]), k=1)[None] * both > 0)
        self.pair_law = both[x, a, b]
        self.apart = (self.phi[x, a] - self.phi[x, b]) / self.beta
        self.odds = (self.cost[x, a] - self.cost[x, b]) / self.beta
        self.precision = 1.0 / (PRIOR_VARIANCE * float(family.half_width) ** 2)

    def log_policy(self, w: np.ndarray) -> np.ndarray:
        """log pi_w of each row of w, (T, X, Y)."""
        return log_softmax(self.log_middle - np.einsum("td,xyd->txy", w, self.phi) / self.beta, axis=-1)


def _newton(start: np.ndarray, derivatives) -> np.ndarray:
    """Newton steps, shortened to length 1, on (T, d) from functions that give gradient and Hessian of what is least."""
    w = start
    for _ in range(NEWTON):
        gradient, hessian = derivatives(w)
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        w = w - step / np.maximum(1.0, np.linalg.norm(step, axis=1, keepdims=True))
    return w


def _law(family: Family, w: jax.Array) -> jax.Array:
    """The law of the edits of the user of pi_w, (X, Y)."""
    problem = family.problem
    user = balanced_kernel(
        van_trees.log_policy(family, w), problem.distance, family.strength, family.locality
    )
    return jnp.einsum("xa,xab->xb", jnp.exp(problem.log_reference), user)


_edits = jax.jit(jax.vmap(_law, in_axes=(None, 0)))


@jax.jit
def _slopes(family: Family, w: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The law of the edits at each row of w, and its derivative."""
    return jax.vmap(_law, in_axes=(None, 0))(family, w), jax.vmap(
        jax.jacfwd(_law, argnums=1), in_axes=(None, 0)
    )(family, w)


def risks(family: Family, n: int, trials: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """SubOpt (trials,) of every learner, each trial with a w of the prior and n interactions of each kind of feedback."""
    tables = Tables(family)
    d = tables.phi.shape[-1]
    w = float(family.half_width) * van_trees.draw_prior(rng, trials, d)
    truth = tables.log_policy(w)
    prior, eye = tables.precision, np.eye(d)
    start = np.zeros((trials, d))

    # Comparisons: pairs of the middle's user, or an answer left alone, and the direction of each.
    inside = float(tables.pair_law.sum())
    law = np.append(tables.pair_law, max(1.0 - inside, 0.0))
    total = rng.multinomial(n, law / law.sum(), size=trials)[:, :-1]
    odds = tables.odds + w @ tables.apart.T
    forward = rng.binomial(total, np.exp(log_expit(odds)))

    def direction(w):
        chance = np.exp(log_expit(tables.odds + w @ tables.apart.T))
        gradient = (total * chance - forward) @ tables.apart
        return gradient, np.einsum("tp,pd,pe->tde", total * chance * (1 - chance), tables.apart, tables.apart)

    # Costs: counts of answers, and the mean cost of each.
    shape = tables.reference.shape
    counts = rng.multinomial(n, (tables.rho[:, None] * tables.reference).ravel(), size=trials).reshape(
        -1, *shape
    )
    spread = np.sqrt(tables.variance / np.maximum(counts, 1))
    moved = np.einsum("td,xyd->txy", w, tables.phi) + spread * rng.normal(size=counts.shape)
    weights = counts / tables.variance
    of_costs = np.einsum("txy,xyd,xye->tde", weights, tables.phi, tables.phi)
    pull = np.einsum("txy,xyd->td", weights * moved, tables.phi)

    def costing(w):
        return np.einsum("tde,te->td", of_costs, w) - pull, of_costs

    # Labels: edits of the user of pi_w.
    seen = np.asarray(_edits(family, jnp.asarray(w)))
    chances = (tables.rho[:, None] * seen).reshape(trials, -1)
    label = rng.multinomial(n, chances / chances.sum(axis=1, keepdims=True)).reshape(-1, *shape)
    per_context = label.sum(axis=-1)

    def scoring(w):
        law, slope = (np.asarray(part) for part in _slopes(family, jnp.asarray(w)))
        information = n * np.einsum("x,txyd,txye,txy->tde", tables.rho, slope, slope, 1.0 / law)
        return -np.einsum("txy,txyd->td", label / law, slope), information

    def likelihood(w):
        policy = np.exp(tables.log_policy(w))
        mean = np.einsum("txy,xyd->txd", policy, tables.phi)
        second = np.einsum("tx,txy,xyd,xye->tde", per_context, policy, tables.phi, tables.phi)
        hessian = second - np.einsum("tx,txd,txe->tde", per_context, mean, mean)
        gradient = np.einsum("txy,xyd->td", label, tables.phi) - np.einsum("tx,txd->td", per_context, mean)
        return gradient / tables.beta, hessian / tables.beta**2

    def penalised(*parts):
        def derivatives(w):
            found = [part(w) for part in parts]
            return sum(g for g, _ in found) + prior * w, sum(h for _, h in found) + prior * eye

        return derivatives

    fitted = {
        "SUP": _newton(start, penalised(likelihood)),
        "labels, informed": _newton(start, penalised(scoring)),
        "PREF": _newton(start, penalised(direction)),
        "RL": _newton(start, penalised(costing)),
        "all": _newton(start, penalised(direction, costing)),
    }
    return {name: _lost(tables, tables.log_policy(found), truth) for name, found in fitted.items()}


def _lost(tables: Tables, played: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """beta E_x KL(played || truth) of each trial."""
    return tables.beta * np.sum(tables.rho * np.sum(np.exp(played) * (played - truth), axis=-1), axis=-1)
