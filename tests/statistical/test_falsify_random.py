"""The search over problems for statistical statements: refutes false ones, no true one, and counts as it should."""

import json
from pathlib import Path

import jax
import numpy as np
import polars as pl
import pytest
import scipy.stats

from edittheory.claims.exact.attack_space import Space
from edittheory.claims.hunt import attackable_random, falsify, falsify_random, instance_files
from experiments import recheck

pytestmark = pytest.mark.statistical
LEVEL = 1e-3
"""Chance that a true statement of a test's list is called refuted; keys are fixed."""
ATTACKS = {attack.name: attack for attack in attackable_random.ATTACKS}
ROWS = Path(__file__).resolve().parents[2] / "paper_figures" / "rows" / "falsification" / "rows.parquet"


def search(names, space, n, **options):
    attacks = [ATTACKS[name] for name in names]
    return {one.name: one for one in falsify_random.falsify_random(
        attacks, space, n, jax.random.key(1), level=LEVEL, **options)}  # fmt: skip


def test_a_small_search_refutes_false_statements_and_no_true_one():
    names = ("MLE.hellinger", "B1.b", "B3.set", "mutant.B1.nobias", "mutant.B3.noL")
    found = search(names, Space(False, 1, 3), 40, population=24, data_sets=48, batches=4, generations=6)
    for name, one in found.items():
        assert one.check.refuted == name.startswith("mutant."), one
        assert one.check.trials == 24 * 48 and one.tried == 24 * (4 + 5 * 7)
        assert (one.check.ratio > 1) == one.check.refuted
    again = search(names, Space(False, 1, 3), 40, population=24, data_sets=48, batches=4, generations=6)
    for name, one in found.items():
        np.testing.assert_array_equal(one.theta, again[name].theta)
        assert one.check == again[name].check


def test_refuted_false_statements_are_climbed_no_further_and_true_ones_to_the_end():
    names = ("B1.b", "mutant.B1.nobias", "mutant.B3.noL")
    sizes = {"population": 24, "data_sets": 48, "batches": 4, "generations": 6}
    found = search(names, Space(False, 1, 3), 40, stop_refuted=True, **sizes)
    for name, one in found.items():
        assert one.check.refuted == name.startswith("mutant."), one
        assert 24 * (4 + 7) <= one.tried < 24 * (4 + 3 * 7)


def test_certificates_stand_and_the_likelihood_set_needs_balance():
    space = Space(False, 1, 3)
    found = search(
        ("B6.cost", "mutant.B6.free"), space, 30, population=12, data_sets=32, batches=4, generations=2
    )
    assert not found["B6.cost"].check.refuted and found["mutant.B6.free"].check.refuted


def test_verdicts_follow_the_binomial_test():
    """judge against scipy's own test, at counts around where it turns; ties at 0 are no violations."""
    trials, allowed = 500, 0.1
    for bad in (0, 50, 60, 70, 90):
        log_ratio = np.where(np.arange(trials) < bad, 0.5, -0.5)
        check = falsify_random.judge(log_ratio, np.exp(log_ratio), np.ones(trials), allowed, LEVEL)
        p_value = scipy.stats.binomtest(bad, trials, allowed, alternative="greater").pvalue
        assert check.violations == bad and check.refuted == (p_value < LEVEL)
        assert check.ratio == pytest.approx(np.exp(0.5 if bad > 50 else -0.5))
    zero = falsify_random.judge(np.zeros(trials), np.ones(trials), np.ones(trials), allowed, LEVEL)
    assert zero.violations == 0
    nan = falsify_random.judge(np.full(trials, np.nan), np.ones(trials), np.ones(trials), allowed, LEVEL)
    assert nan.violations == trials  # what is not a number did not hold


def test_arguments_are_checked():
    attack, space = ATTACKS["B1.a"], Space(False, 1, 3)
    with pytest.raises(ValueError, match=r"attacks: B1\.a needs a space of balanced users"):
        falsify_random.Arena([attack], space, 10, 8, 8, jax.random.key(0))
    for name, sizes in (("population", (10, 4, 8)), ("data_sets", (10, 8, 1)), ("n", (0, 8, 8))):
        with pytest.raises(ValueError, match=name):
            falsify_random.Arena([attack], Space(True, 1, 3), *sizes, jax.random.key(0))


# -- the committed instances ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def committed() -> dict[str, dict]:
    """The instances of the committed rows by statement."""
    return {content["statement"]: content for content in recheck.read(ROWS)}


@pytest.mark.parametrize("balanced", [True, False])
def test_committed_instances_of_deterministic_statements(committed, balanced):
    """Every mutant's counterexample refutes it again; every true statement's tightest instance does not."""
    known = instance_files.DETERMINISTIC
    attacks = [attack for attack in known.values() if attack.balanced == balanced]
    points = [instance_files.check(committed[attack.name]) for attack in attacks]
    for attack, found in zip(attacks, falsify.check_all(attacks, points), strict=True):
        assert found.refuted == attack.mutant == committed[attack.name]["refuted"], attack.name
        assert recheck.agrees(committed[attack.name], found), attack.name


@pytest.mark.parametrize("name", ["mutant.B1.nobias", "mutant.B3.set16", "mutant.B2.noC", "B3.set"])
def test_committed_instances_of_statistical_statements(committed, name):
    found = instance_files.recheck(committed[name], seed=9, data_sets=3000)
    assert found.refuted == name.startswith("mutant.")


def test_every_statement_has_a_committed_verdict(committed):
    rows = pl.read_parquet(ROWS)
    everything = {name for known in instance_files.KINDS.values() for name in known}
    assert set(committed) == everything
    assert rows.filter(pl.col("refuted") != pl.col("mutant")).is_empty()
    assert all(json.loads(text)["format"] == instance_files.FORMAT for text in rows["instance"])
