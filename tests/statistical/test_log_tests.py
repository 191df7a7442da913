"""Levels and power of the tests of a log, on simulated users with and without what they look for."""

import numpy as np
import polars as pl
import pytest

from edittheory.core import statistics
from edittheory.logs.advice import candidates
from edittheory.logs.advice.samples import Sample
from experiments import log_tests

LEVEL = 1e-4
"""Chance, over all checks of this file, of calling a level broken though it is not."""
CHECKS = 10


@pytest.fixture(scope="module")
def rates():
    config = log_tests.Config(trials=60, edits=400, level=LEVEL / CHECKS, num_contexts=2, num_candidates=8)
    rows = log_tests.EXPERIMENT.run(config)
    return log_tests.report(rows, config), {
        (r["kind"], r["hypothesis"]): r for r in log_tests.rates(rows, config)
    }


@pytest.mark.statistical
@pytest.mark.slow
def test_no_true_hypothesis_is_refuted_more_often_than_promised(rates):
    report, found = rates
    true = [one for one in found.values() if one["true"]]
    assert report.ok and len(true) == 6 and not any(one["broken"] for one in true)


@pytest.mark.statistical
@pytest.mark.slow
def test_what_is_false_is_refuted_where_it_can_be(rates):
    _, found = rates
    assert found["nothing to learn", "no taste"]["rate"] > 0.9 < found["no taste", "nothing to learn"]["rate"]
    assert found["a temperature", "no taste"]["rate"] > 0.9
    habit, none = found["a taste, habit .3", "a candidate"], found["a taste", "a candidate"]
    assert habit["low"] > 0.3 > none["high"] > none["rate"]


@pytest.mark.statistical
def test_bounds_on_costs_hold_at_every_n():
    """A candidate that prefers one of three texts; its cost is known. Wrong at any n counts."""
    rng = np.random.default_rng(0)
    reference, policy = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.2, 0.6])
    mean, logs, delta, wrong = np.array([0.5, 0.2, 0.3]), 200, 0.2, 0
    for _ in range(logs):
        texts = rng.choice(3, size=200, p=reference)
        cost = (rng.random(200) < mean[texts]).astype(float)
        h = np.log(policy / reference)[texts, None]
        (bound,) = candidates.cost_bounds(Sample(np.zeros(200, int), h, h, cost), 1.0, delta)
        wrong += bool(bound < policy @ mean)
    assert not statistics.violation_check(wrong, logs, delta, LEVEL / CHECKS).violated


@pytest.mark.statistical
def test_bets_on_costs_keep_the_preferred_law_and_drop_others():
    """cost + beta h has one mean in a prompt: true of the first candidate, false of the second."""
    rng = np.random.default_rng(1)
    logs, delta, wrong, dropped = 200, 0.2, 0, 0
    for _ in range(logs):
        prompts, texts = rng.integers(0, 4, 300), rng.integers(0, 3, 300)
        expected = np.array([0.2, 0.5, 0.4])[texts] + 0.1 * prompts / 4
        cost = (rng.random(300) < expected).astype(float)
        h = np.stack([np.array([0.2, 0.5, 0.4]) / -0.1, np.array([0.5, 0.2, 0.4]) / -0.1])[:, texts].T
        log_e = candidates.cost_evidence(Sample(prompts, h, h, cost), prompts, 0.1, 1.0).max(axis=0)
        wrong += bool(log_e[0] >= np.log(1 / delta))
        dropped += bool(log_e[1] >= np.log(1 / delta))
    assert not statistics.violation_check(wrong, logs, delta, LEVEL / CHECKS).violated
    assert dropped > 0.9 * logs


def test_rows_do_not_depend_on_the_other_kinds():
    config = log_tests.Config(trials=2, edits=30, num_candidates=3, kinds=("no taste", "a taste"))
    alone = log_tests.Config(trials=2, edits=30, num_candidates=3, kinds=("a taste",))
    both, one = log_tests.EXPERIMENT.cells(config)[1], log_tests.EXPERIMENT.cells(alone)[0]
    assert both == one
    key = log_tests.EXPERIMENT.key(alone, one)
    first, second = (log_tests.run_cell(alone, one, key) for _ in range(2))
    assert first.equals(second) and set(first["hypothesis"]) > {"a candidate"}
    assert isinstance(first, pl.DataFrame)
