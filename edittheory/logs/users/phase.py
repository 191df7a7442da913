"""Which learner has the least SubOpt for *your* users: the fitted user in an exact problem, and maps around it.

The problem has the log's contexts and responses: the law of contexts and the reference policy are those of the log (counts plus one
half), the distance is the log's, over its largest. A candidate is the fitted user with other tastes, drawn around a centre that
is no member (the fitted ones are exchangeable with the others: docs/theory.md, B7).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Array, Float, PRNGKeyArray

from edittheory.core.logspace import safe_log
from edittheory.core.trials import map_trials
from edittheory.learn import learners
from edittheory.logs.users import model
from edittheory.logs.users.model import User
from edittheory.logs.users.states import Coded, States
from edittheory.problem import cost_classes, coverage
from edittheory.problem.edit_problem import EditProblem
from edittheory.problem.random_problems import Instance

LEARNERS = ("SUP", "PREF", "Early", "RL", "RL plug-in")
PANELS = {"strength": (0.02, 0.1, 0.3, 0.6, 0.9), "habit": (0.0, 0.1, 0.2, 0.4, 0.6)}
SIZES = (30, 100, 300, 1000, 3000)
TRIALS = 60
SPREAD = 1.0
"""Standard deviation of the candidates' tastes, in log-odds."""


class Cell(NamedTuple):
    """One place of a map: the learner of least mean SubOpt, the means of all, and whether every other is worse at the level."""

    knob: str
    value: float
    fitted: bool
    n: int
    best: str
    separated: bool
    means: dict[str, float]


def problem_of(user: User, coded: Coded, states: States, beta: float) -> EditProblem:
    """The exact problem of a user, checked."""
    size = len(states.switches)
    contexts = user.tastes.shape[0]
    joint = coded.counts((contexts, size)).sum(axis=-1)
    shares = joint.sum(axis=-1)
    reference = np.log((joint + 0.5) / (joint + 0.5).sum(axis=-1, keepdims=True))
    probs = jnp.asarray(shares / shares.sum())
    return EditProblem(
        probs,
        jnp.asarray(reference),
        model.law(user, states),
        jnp.asarray(states.distance),
        jnp.asarray(beta),
    ).check()


def instance(
    key: PRNGKeyArray, user: User, problem: EditProblem, states: States, candidates: int
) -> Instance:
    """The problem with classes around it: `candidates` users with other tastes, the fitted one at a random place among them."""
    place_key, centre_key, taste_key = jax.random.split(key, 3)
    truth = jax.random.randint(place_key, (), 0, candidates)
    centre = user.tastes - SPREAD * jax.random.normal(centre_key, user.tastes.shape)
    tastes = centre + SPREAD * jax.random.normal(taste_key, (candidates, *user.tastes.shape))
    tastes = tastes.at[truth].set(user.tastes)
    laws = jax.vmap(lambda taste: model.law(user._replace(tastes=taste), states))(tastes)
    costs = jnp.sum(laws * problem.distance, axis=-1)
    optima = cost_classes.tilted(problem.log_reference, costs, problem.beta)
    edited = safe_log(jnp.einsum("xa,kxab->kxb", jnp.exp(problem.log_reference), laws))
    return Instance(problem, jnp.concatenate([optima, edited]), costs, truth)


def phase(
    user: User, coded: Coded, states: States, key: PRNGKeyArray, *, panels: Mapping[str, Sequence[float]] = PANELS,
    sizes: Sequence[int] = SIZES, beta: float = 0.1, candidates: int = 16, trials: int = TRIALS, delta: float = 0.1, level: float = 0.05,
) -> list[Cell]:  # fmt: skip
    """Cells for each knob of `panels` at its values and at the fitted one, and each number of edits in `sizes`.

    Each of `trials` draws candidates and a log; all learners see the same. A cell is separated if paired t-tests find every other
    learner worse; `level` is divided over all comparisons of a knob's map.
    """
    start = problem_of(user, coded, states, beta)
    cells = []
    for number, (knob, values) in enumerate(panels.items()):
        here = float(getattr(user, knob))
        places = sorted([*((value, False) for value in values), (here, True)])
        tail = level / (len(places) * len(sizes) * (len(LEARNERS) - 1))
        for n in sizes:
            for value, fitted in places:
                scores = map_trials(_trial, jax.random.fold_in(key, number), trials, trials,
                                    user._replace(**{knob: jnp.asarray(value)}), start, states.switches, states.distance,
                                    n, candidates, delta)  # fmt: skip
                cells.append(Cell(knob, value, fitted, n, *_winner(scores, tail)))
    return cells


def _trial(
    key: Array,
    user: User,
    start: EditProblem,
    switches: Any,
    distance: Any,
    n: int,
    candidates: int,
    delta: float,
) -> dict[str, Float[Array, ""]]:
    states = States((), (), switches, np.zeros(0), distance, 1.0)
    problem = EditProblem(
        start.context_probs, start.log_reference, model.law(user, states), start.distance, start.beta
    )
    class_key, data_key = jax.random.split(key)
    drawn = instance(class_key, user, problem, states, candidates)
    found = learners.every_learner(drawn, problem.sample(data_key, n), delta)
    return {name: problem.suboptimality(found[name]) for name in LEARNERS}


def _winner(scores: dict[str, Float[np.ndarray, " S"]], tail: float) -> tuple[str, bool, dict[str, float]]:
    means = {name: float(np.mean(scores[name])) for name in LEARNERS}
    best = min(LEARNERS, key=means.__getitem__)
    separated = True
    for name in LEARNERS:
        worse = scores[name] - scores[best]
        if name == best:
            continue
        error = float(worse.std(ddof=1)) / np.sqrt(len(worse))
        separated &= bool(error > 0 and worse.mean() / error > scipy.stats.t.isf(tail, len(worse) - 1))
    return best, separated, means


def violation(user: User, coded: Coded, states: States, beta: float) -> float:
    """How far the fitted user is from balance: `coverage.balance_violation` of its problem."""
    return float(coverage.balance_violation(problem_of(user, coded, states, beta)))
