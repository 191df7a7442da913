"""Fitting a user by penalised likelihood, with intervals from resampling documents, and what the log cannot tell apart."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Float

from edittheory.logs.users import model
from edittheory.logs.users.model import SCALARS, User
from edittheory.logs.users.states import Coded, States

STARTS = (
    (0.2, 2.0, 0.05, 0.1, 0.7),
    (0.7, 2.0, 0.05, 0.3, 0.5),
    (0.05, 8.0, 0.02, 0.05, 0.9),
    (0.4, 1.0, 0.1, 0.5, 0.3),
)
"""Scalars of the users that the search starts from; the best end is kept."""
TOLD_APART = 3.0
"""Nats of penalised log-likelihood that a model without a part has to lose before the log is said to show that part."""
WIDE = 0.3
"""An interval of a share that is wider than this says next to nothing; one of the locality, that spans more than FACTOR."""
FACTOR = 4.0


class Fitted(NamedTuple):
    """A user; its interval for each scalar; what the log-likelihood loses without each of strength, noise and habit, and with full
    attention; whether each scalar is identified; log-likelihood in nats an edit."""

    user: User
    intervals: Mapping[str, tuple[float, float]]
    losses: Mapping[str, float]
    identified: Mapping[str, bool]
    log_likelihood: float
    resamples: int


def _objective(vector, counts, switches, distance, shape):
    states = States((), (), switches, np.zeros(0), distance, 1.0)
    user = model.unpack(vector, *shape)
    log_law = jnp.log(jnp.maximum(model.law(user, states), 1e-12))
    return -jnp.sum(counts * log_law) + model.penalty(vector)


@partial(jax.jit, static_argnames=("shape",))
def _value_and_gradient(vector, counts, switches, distance, shape):
    return jax.value_and_grad(_objective)(vector, counts, switches, distance, shape)


def likeliest(
    counts: Float[np.ndarray, "X Y Y"],
    states: States,
    start: Float[np.ndarray, " P"],
    fixed: Mapping[str, float] | None = None,
) -> tuple[Float[np.ndarray, " P"], float]:
    """(vector, penalised log-likelihood) of the best user that L-BFGS finds from `start`; scalars in `fixed` keep their value there.

    A fixed share of 0 or 1 is a logit of -14 or 14, whose prior is left out of the comparison.
    """
    shape = (counts.shape[0], len(states.features))
    held = {SCALARS.index(name): 14.0 if value == 1 else -14.0 for name, value in (fixed or {}).items()}
    free = np.array([place for place in range(len(start)) if place not in held])
    full = np.array(start, dtype=float)
    for place, logit in held.items():
        full[place] = logit
    arrays = (jnp.asarray(counts), jnp.asarray(states.switches, dtype=float), jnp.asarray(states.distance))

    def value(part):
        full[free] = part
        loss, gradient = _value_and_gradient(jnp.asarray(full), *arrays, shape)
        return float(loss), np.asarray(gradient)[free]

    found = scipy.optimize.minimize(value, full[free], jac=True, method="L-BFGS-B", options={"maxiter": 500})
    full[free] = found.x
    prior = sum(0.5 * (logit / model.SPREAD) ** 2 for logit in held.values())
    return full.copy(), -(float(found.fun) - prior)


def starts(counts: Float[np.ndarray, "X Y Y"], states: States) -> list[Float[np.ndarray, " P"]]:
    """Vectors to start from: scalars of STARTS; tastes and form at the log-odds of the features in the edits."""
    on = np.einsum("xab,bm->xm", counts, states.switches.astype(float))
    share = (on + 0.5) / (counts.sum(axis=(1, 2))[:, None] + 1.0)
    odds = np.log(share) - np.log1p(-share)
    logits = {"tastes": jnp.asarray(odds), "form": jnp.asarray(odds.mean(axis=0))}
    each = [dict(zip(SCALARS, map(jnp.asarray, scalars), strict=True)) for scalars in STARTS]
    return [model.pack(User(**scalars, **logits)) for scalars in each]


Found = tuple[Float[np.ndarray, " P"], float]
"""A vector, and its penalised log-likelihood."""


def ends(counts: Float[np.ndarray, "X Y Y"], states: States) -> list[Found]:
    """Where the search ends from every start, the best first; also from the best with habit and tastes exchanged.

    Fresh draws from pi* and a habit are told apart by what the other edits do; where there are few of those, the exchange is as good.
    """
    found = [likeliest(counts, states, start) for start in starts(counts, states)]
    best = max(found, key=lambda one: one[1])[0]
    user = model.unpack(jnp.asarray(best), counts.shape[0], len(states.features))
    swapped = user._replace(
        tastes=jnp.broadcast_to(user.form, user.tastes.shape),
        form=jnp.mean(user.tastes, axis=0),
        habit=1.0 - user.habit,
    )
    found.append(likeliest(counts, states, model.pack(swapped)))
    return sorted(found, key=lambda one: -one[1])


def fit(
    coded: Coded,
    states: States,
    contexts: int,
    rng: np.random.Generator,
    *,
    resamples: int = 100,
    level: float = 0.1,
    progress: Callable[[int], None] = lambda done: None,
) -> Fitted:
    """The user of the coded records, with percentile intervals at error `level` from `resamples` resamplings of whole documents.

    An interval also holds the values of every other user that the search ended at and that is within TOLD_APART of the best.
    identified: the interval is narrow (WIDE) and, for the scalars with a null value, the log tells the fit from it (TOLD_APART).
    """
    sizes = (contexts, len(states.switches))
    counts = coded.counts(sizes)
    reached = ends(counts, states)
    best, top = reached[0]
    others = [_scalars(vector, contexts, states) for vector, value in reached[1:] if top - value < TOLD_APART]
    losses = {}
    for name, value in (("strength", 0.0), ("noise", 0.0), ("habit", 0.0), ("attention", 1.0)):
        losses[name] = max(top - likeliest(counts, states, best, {name: value})[1], 0.0)
    groups = int(coded.groups.max()) + 1
    drawn = []
    for done in range(resamples):
        weights = rng.multinomial(groups, np.full(groups, 1.0 / groups))[coded.groups].astype(float)
        vector, _ = likeliest(coded.counts(sizes, weights), states, best)
        drawn.append(_scalars(vector, contexts, states))
        progress(done + 1)
    user = model.unpack(jnp.asarray(best), contexts, len(states.features))
    here = _scalars(best, contexts, states)
    intervals = {}
    for place, name in enumerate(SCALARS):
        values = [here[place], *(one[place] for one in others)]
        if drawn:
            values += np.quantile([one[place] for one in drawn], [level / 2, 1 - level / 2]).tolist()
        intervals[name] = (min(values), max(values))
    identified = {
        name: _narrow(name, intervals[name]) and losses.get(name, np.inf) >= TOLD_APART for name in SCALARS
    }
    if (
        not losses["attention"] >= TOLD_APART
    ):  # full attention is then a good description, and a value: not a failure
        identified["attention"] = _narrow("attention", intervals["attention"])
    log_law = np.log(np.maximum(np.asarray(model.law(user, states)), 1e-12))
    return Fitted(
        user, intervals, losses, identified, float(np.sum(counts * log_law) / counts.sum()), resamples
    )


def _scalars(vector: Float[np.ndarray, " P"], contexts: int, states: States) -> list[float]:
    user = model.unpack(jnp.asarray(vector), contexts, len(states.features))
    return [float(getattr(user, name)) for name in SCALARS]


def _narrow(name: str, ends: tuple[float, float]) -> bool:
    low, high = ends
    return bool(high / low <= FACTOR) if name == "locality" else bool(high - low <= WIDE)
