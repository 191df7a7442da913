"""The experiment `medley_limits`: rows of a tiny run, its report; candidates' users are those of the instance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.problem import random_problems
from experiments import medley_limits, spaces
from experiments.medley_report import PLAIN

TINY = medley_limits.Config(
    trials=4, width=4, sample_sizes=(20, 40), num_candidates=6, strengths=(0.5,), habits=(0.0, 0.4), noises=(0.0,)
)  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    return medley_limits.EXPERIMENT.run(TINY)


def test_rows_and_report(rows):
    names = {*PLAIN, *medley_limits.RULES}
    assert rows.height == 2 * 4 * 2 * len(names) and set(rows["learner"]) == names
    assert np.isfinite(rows["suboptimality"].to_numpy()).all() and (rows["suboptimality"] > -1e-6).all()
    found = medley_limits.report(rows, TINY).summary["rules"]
    for record in found.values():
        assert set(record) == {"balanced", "habit"}
        assert all(each["low"] <= each["high"] and each["mean"] <= each["worst"] for each in record.values())


def test_a_ratio_by_hand(rows):
    key, values = next(iter(medley_limits.tables(rows).items()))
    best = min(np.mean(values[name]) for name in PLAIN)
    assert medley_limits.ratio(values, "medley") == pytest.approx(np.mean(values["medley"]) / max(best, 1e-4))
    assert key == (0.5, 0.0, 0.0, 20)


@pytest.mark.parametrize("habit", [None, 0.3])
def test_candidate_users_are_those_of_the_instance(habit):
    arguments = (jax.random.key(5), spaces.strings(2, 2), 2, 4)
    instance = random_problems.balanced_backwards(*arguments, beta=0.2, strength=0.4, habit=habit)
    users = random_problems.candidate_users(*arguments, beta=0.2, strength=0.4, habit=habit)
    np.testing.assert_allclose(users[instance.truth], instance.problem.user, rtol=1e-12)
    costs = jnp.sum(users * instance.problem.distance, axis=-1)
    np.testing.assert_allclose(costs, instance.cost_class, rtol=1e-12)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sample_sizes", (30, 30)),
        ("strengths", (1.5,)),
        ("noises", (-1.0,)),
        ("resamples", 3),
        ("delta", 0.0),
    ],
)
def test_bad_configurations_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        medley_limits.Config(**{field: value})
