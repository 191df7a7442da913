"""Hypothesis over public entry points: whatever comes in, a finite number that keeps its promise comes out, or a named refusal.

Numbers are drawn with NaN, infinities, zeros and both signs among them; a target raises AssertionError where a number is silent
nonsense. Errors other than ValueError and RunError are faults.
"""

import contextlib
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edittheory.bounds import offline, online
from edittheory.core import statistics, validation
from edittheory.core.errors import RunError
from edittheory.deploy import deployment, ensembles
from edittheory.problem import users
from edittheory.problem.edit_problem import EditProblem
from edittheory.problem.kernels import balanced_kernel
from edittheory.runs.identity import canonical_json, stable_hash
from edittheory.text.distance import levenshtein_matrix

ANY = st.one_of(st.floats(), st.floats(-2, 2), st.sampled_from([0.0, 1.0, -1.0, 0.5, 1e-300, 1e300]))
COUNT = st.one_of(st.integers(-3, 2000), st.integers())
DISTANCE = 1.0 - np.eye(3)
LAW = np.full((2, 3), 1 / 3)
USER = jnp.full((2, 3, 3), 1 / 3)


def rows(*shape: int, of: st.SearchStrategy = ANY) -> st.SearchStrategy:
    """Arrays of that shape."""
    size = math.prod(shape)
    return st.lists(of, min_size=size, max_size=size).map(
        lambda values: np.array(values, dtype=float).reshape(shape)
    )


SIMPLEX = rows(3, of=st.floats(0.01, 1.0)).map(lambda row: row / row.sum())


def finite(value: Any) -> np.ndarray:
    """An array without NaN or infinity."""
    array = np.asarray(value)
    assert np.isfinite(array).all(), array
    return array


def law(value: Any) -> None:
    """Rows of chances that sum to 1."""
    array = finite(value)
    assert (array >= -1e-12).all() and np.allclose(array.sum(-1), 1.0, atol=1e-8), array


def problem(
    context: np.ndarray, reference: np.ndarray, user: np.ndarray, distance: np.ndarray, beta: float
) -> None:
    """A problem that `check` takes has finite costs within [0, c_max] and laws that sum to 1."""
    found = EditProblem(context, reference, user, distance, beta).check()
    cost = finite(found.expected_cost)
    assert (cost >= 0).all() and (cost <= float(found.cost_max) * (1 + 1e-9)).all()
    law(np.exp(found.log_optimal))
    assert float(found.suboptimality(found.log_reference)) >= 0


def nearly_sound(context: np.ndarray, reference: np.ndarray, user: np.ndarray, beta: float) -> None:
    """Sound laws, any beta."""
    problem(
        context[:2] / context[:2].sum(),
        np.log(np.stack([reference, LAW[0]])),
        np.stack([np.stack([user] * 3)] * 2),
        DISTANCE,
        beta,
    )


def counted(responses: np.ndarray, edits: np.ndarray, beta: float, smoothing: float) -> None:
    """Counts of a log."""
    found = EditProblem.from_counts(responses, edits, DISTANCE, beta, smoothing)
    law(np.exp(found.log_reference))
    law(found.user)


def kernel(optimal: np.ndarray, strength: float, locality: float) -> None:
    """A balanced user is a law, and reversible."""
    found = balanced_kernel(jnp.log(optimal[None]), jnp.asarray(DISTANCE), strength, locality)
    law(found)
    flow = np.asarray(optimal)[:, None] * np.asarray(found[0])
    assert np.allclose(flow, flow.T, atol=1e-9)


def shares(share: float, chance: float) -> None:
    """Users made of users are laws."""
    law(users.habit(USER, jnp.asarray(LAW[0]), share))
    law(users.lazy(USER, chance))
    law(users.mixture(jnp.stack([USER, USER]), jnp.array([share, 1.0 - share])))


def slips(share: float, locality: float) -> None:
    """Noisy and contrarian users are laws."""
    law(users.noisy(USER, jnp.asarray(DISTANCE), share, locality))
    law(users.contrarian(USER, jnp.log(jnp.asarray(LAW)), jnp.asarray(DISTANCE), share, locality))


def interval(successes: Any, trials: Any, level: float) -> None:
    """Clopper-Pearson: ends in [0, 1] around the share."""
    low, high = (float(x) for x in statistics.clopper_pearson(successes, trials, level)[:2])
    share = successes / trials
    assert 0 <= low <= share + 1e-12 and share - 1e-12 <= high <= 1


def verdict(violations: Any, trials: Any, rate: float, level: float) -> None:
    """A verdict has a p-value in [0, 1]."""
    found = statistics.violation_check(violations, trials, rate, level)
    assert 0 <= float(found.p_value) <= 1


def adjusted(values: np.ndarray, level: float) -> None:
    """Holm rejects what Bonferroni rejects."""
    found = statistics.holm(values, level)
    assert (found | ~(values <= level / len(values))).all()


def bound(policies: Any, n: Any, delta: float) -> None:
    """A bound is finite and not negative."""
    assert finite(offline.maximum_likelihood(policies, n, delta).value) >= 0


def epochs(first: Any, growth: float, horizon: Any) -> None:
    """Lengths of epochs sum to the horizon."""
    found = online.epoch_lengths(first, growth, min(horizon, 10**6))
    assert sum(found) == min(horizon, 10**6) and min(found) >= 1


def replayed(costs: np.ndarray, most: float) -> None:
    """A table of costs is within [0, c_max]."""
    found = finite(deployment.replay_table(costs, most).costs)
    assert (found >= 0).all() and (found <= most).all()


def played(exploration: float, cost: float) -> None:
    """A bandit plays a policy that is there, and its mean is that of what it was told."""
    bandit = ensembles.LateEnsemble(3, exploration)
    state = bandit.update(bandit.init(), jnp.asarray(0), validation.check_range("cost", cost, 0, 1))
    assert 0 <= int(bandit.select(state)) < 3 and abs(float(state.means[0]) - cost) < 1e-12


def hashed(data: Any) -> None:
    """What is hashed is JSON without NaN, and the hash is that of its copy."""
    assert "NaN" not in canonical_json(data).split('"')[::2]
    assert stable_hash(data) == stable_hash(data) and len(stable_hash(data)) == 64


def distances(texts: list[str]) -> None:
    """Levenshtein distances are a metric, at most the longer length."""
    found = levenshtein_matrix(texts)
    assert (found == found.T).all() and (np.diag(found) == 0).all()
    for i, a in enumerate(texts):
        for j, b in enumerate(texts):
            assert abs(len(a) - len(b)) <= found[i, j] <= max(len(a), len(b)) and (found[i, j] == 0) == (
                a == b
            )


def checked(value: Any) -> None:
    """What the checks let through is what they say."""
    for check, holds in (
        (validation.check_positive, lambda x: 0 < x < math.inf),
        (validation.check_non_negative, lambda x: 0 <= x < math.inf),
        (validation.check_probability, lambda x: 0 <= x <= 1),
    ):
        with contextlib.suppress(ValueError):
            assert holds(check("value", value)), (check.__name__, value)
    with contextlib.suppress(ValueError):
        assert validation.check_int("value", value, 0) == int(value) >= 0


LEAVES = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
TARGETS: dict[Callable[..., None], tuple[st.SearchStrategy, ...]] = {
    problem: (rows(2), rows(2, 3), rows(2, 3, 3), rows(3, 3), ANY),
    nearly_sound: (SIMPLEX, SIMPLEX, SIMPLEX, ANY),
    counted: (rows(2, 3), rows(2, 3, 3), ANY, ANY),
    kernel: (SIMPLEX, ANY, ANY),
    shares: (ANY, ANY),
    slips: (ANY, ANY),
    interval: (st.one_of(COUNT, ANY), st.one_of(COUNT, ANY), ANY),
    verdict: (COUNT, COUNT, ANY, ANY),
    adjusted: (rows(4), ANY),
    bound: (COUNT, COUNT, ANY),
    epochs: (COUNT, ANY, COUNT),
    replayed: (rows(4, 2), ANY),
    played: (ANY, ANY),
    hashed: (JSON,),
    distances: (st.lists(st.text(max_size=6), min_size=1, max_size=4),),
    checked: (st.one_of(ANY, COUNT, st.booleans(), st.text(max_size=3), st.none()),),
}
"""What is fuzzed, and what with."""


def attack(target: Callable[..., None], examples: int) -> str:
    """ "" if the target kept its promise on so many examples, else the smallest one on which it did not, and how."""

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.tuples(*TARGETS[target]))
    def tried(values: tuple[Any, ...]) -> None:
        with np.errstate(all="ignore"), jax.numpy_dtype_promotion("standard"):
            try:
                target(*values)
            except (ValueError, RunError):
                pass
            except BaseException as error:
                error.args = (f"{target.__name__}{values!r}: {type(error).__name__} {error}",)
                raise

    try:
        tried()
    except Exception as error:
        return " ".join(str(error).split())[:300]
    return ""
