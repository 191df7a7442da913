"""The verification machinery: no statement is called violated, false ones are, and counts are judged at the declared level."""

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
import scipy.stats

from edittheory.claims import statements
from edittheory.claims.statement import Statement
from edittheory.problem import random_problems
from experiments import bound_verification
from experiments.bound_verification import Config
from tests.finite_toys import STRINGS

LEVEL = 1e-3
"""Chance that any true probabilistic statement is called violated over the whole table; keys are fixed."""
CONFIG = Config(
    families=("strings_balanced", "strings_sinkhorn", "text_styles"),
    sample_sizes=(40,),
    trials=300,
    level=LEVEL,
    num_contexts=2,
    num_candidates=6,
    max_length=2,
    num_switches=3,
    num_texts=12,
    text_source="builtin",
    width=300,
)
NAMES = {statement.name for statement in statements.STATEMENTS}
MUTANTS = {statement.name for statement in statements.MUTANTS}
FAILING = {"mutant.L1.squared", "mutant.A.dpo.beta"}


@pytest.mark.statistical
def test_no_statement_is_violated_and_every_mutant_is(monkeypatch):
    """Through the experiment's own cells and report, with the false statements among the true ones."""
    monkeypatch.setattr(statements, "STATEMENTS", statements.STATEMENTS + statements.MUTANTS)
    experiment = bound_verification.EXPERIMENT
    rows = pl.concat(
        [
            experiment.run_cell(CONFIG, cell, experiment.key(CONFIG, cell, seed=0))
            for cell in experiment.cells(CONFIG)
        ],
        how="vertical_relaxed",
    )
    assert MUTANTS == FAILING
    report = experiment.report(rows, CONFIG)
    assert not report.ok
    assert set(report.summary["violated"]) == MUTANTS
    records = {record["statement"]: record for record in report.summary["statements"]}
    assert set(records) == NAMES | MUTANTS
    for statement in statements.STATEMENTS:
        record = records[statement.name]
        assert record["trials"] == CONFIG.trials * (2 if statement.needs_balance else 3)
        assert record["verdict"] == ("violated" if statement.name in MUTANTS else "held")
    # s = beta misses on nearly every problem; the squared contraction only where Lemma 1 is nearly tight.
    assert records["mutant.A.dpo.beta"]["violations"] > 0.9 * records["mutant.A.dpo.beta"]["trials"]
    assert 0 < records["mutant.L1.squared"]["violations"] < records["mutant.L1.squared"]["trials"]
    # Tightness is that of true bounds: above 1, and a deterministic one is nearly reached somewhere.
    for record in records.values():
        if record["statement"] not in MUTANTS and "tightest" in record and not record["allowed"]:
            assert record["tightest"] >= 1
    assert records["B0.chord"]["tightest"] < 1.001

    without = experiment.report(rows.filter(~pl.col("statement").cast(pl.String).is_in(MUTANTS)), CONFIG)
    assert without.ok and without.summary["violated"] == []
    alone = experiment.report(rows.filter(pl.col("statement").cast(pl.String).is_in(MUTANTS)), CONFIG)
    assert not alone.ok and set(alone.summary["violated"]) == MUTANTS


@pytest.mark.statistical
def test_the_printed_coefficient_is_caught_at_beta_03():
    """s = beta at beta = 0.3 exactly: violated on every problem; s = 1, on the same problems, on none."""

    def draw(key):
        return random_problems.balanced_backwards(key, STRINGS, 2, 6, beta=jnp.asarray(0.3))

    family = random_problems.Family("beta = 0.3", draw, True)
    known = {claim.name: claim for claim in statements.STATEMENTS + statements.MUTANTS}
    claims = (known["A.dpo"], known["mutant.A.dpo.beta"])
    sides, _ = bound_verification.evaluate(
        claims, family, 40, 0.1, jax.random.key(3), 300, 300
    )  # shapes of CONFIG
    for name, violated in (("A.dpo", False), ("mutant.A.dpo.beta", True)):
        left, right = sides[name]
        assert np.all((left > right) == violated)


def rows_with(violations: dict[str, tuple[int, int]], family: str = "strings_balanced") -> pl.DataFrame:
    """Rows of statements with given (violations, trials) in one cell."""
    frames = [
        pl.DataFrame(
            {
                "statement": [name] * trials,
                "family": [family] * trials,
                "n": np.full(trials, 40, np.int32),
                "seed": np.arange(trials, dtype=np.int32),
                "realised": np.where(np.arange(trials) < bad, 2.0, 0.5).astype(np.float32),
                "bound": np.ones(trials, np.float32),
                "holds": np.arange(trials) >= bad,
                "reference": np.full(trials, 3.0, np.float32),
            }
        )
        for name, (bad, trials) in violations.items()
    ]
    return pl.concat(frames)


def verdicts(rows, config=CONFIG) -> dict[str, str]:
    return {record["statement"]: record["verdict"] for record in bound_verification.tally(rows, config)}


@pytest.mark.parametrize("name, failures", [("B1.b", 1), ("B3.a", 2), ("B3.class", 3)])
def test_probabilistic_claims_are_violated_exactly_where_the_count_is_too_unlikely(name, failures):
    """The fewest violations that refute a rate of failures * delta are those with binomial tail below level / checks."""
    trials, other = 700, "B2.a"
    counts = np.arange(trials + 1)
    tail = scipy.stats.binom.sf(counts - 1, trials, failures * CONFIG.delta)
    fewest = int(counts[tail < LEVEL / 2][0])  # two checks: this claim and the other one
    just, over = ({name: (bad, trials), other: (0, trials)} for bad in (fewest - 1, fewest))
    assert verdicts(rows_with(just))[name] == "held"
    assert verdicts(rows_with(over))[name] == "violated"
    assert bound_verification.report(rows_with(just), CONFIG).ok
    assert not bound_verification.report(rows_with(over), CONFIG).ok
    assert fewest > failures * CONFIG.delta * trials


def test_a_violation_in_one_cell_is_not_averaged_away():
    rows = pl.concat([rows_with({"B1.b": (0, 900)}, f"family {k}") for k in range(5)])
    rows = pl.concat([rows, rows_with({"B1.b": (100, 100)}, "bad family")])
    assert verdicts(rows)["B1.b"] == "violated"
    (record,) = [r for r in bound_verification.tally(rows, CONFIG) if r["statement"] == "B1.b"]
    assert record["worst_rate"] == 1.0 and record["violations"] == 100 and record["trials"] == 4600


def test_one_violation_refutes_a_deterministic_claim_and_absent_ones_do_not_apply():
    found = verdicts(rows_with({"A.identity": (0, 500), "L1.gamma": (1, 500)}))
    assert found["A.identity"] == "held" and found["L1.gamma"] == "violated"
    assert {found[name] for name in NAMES - {"A.identity", "L1.gamma"}} == {"not applicable"}


def test_tightness_and_share_of_informative_bounds():
    rows = rows_with({"B1.a": (0, 4)}).with_columns(
        realised=pl.Series([0.0, 0.1, 0.25, 0.5], dtype=pl.Float32),
        bound=pl.Series([1.0, 1.0, 1.0, 5.0], dtype=pl.Float32),
    )
    (record,) = [r for r in bound_verification.tally(rows, CONFIG) if r["statement"] == "B1.a"]
    # The row in which nothing was realised has no tightness; the others have 10, 4 and 10.
    np.testing.assert_allclose(record["tightness_50"], 10.0, rtol=1e-6)
    np.testing.assert_allclose(record["tightest"], 4.0, rtol=1e-6)
    assert record["informative"] == 0.75  # bound below the reference's 3


def test_nan_is_a_fault_not_a_verdict(monkeypatch):
    """A statement that computes NaN stops the run: NaN <= bound would count as a violation, bound <= NaN as held nowhere."""
    broken = Statement(
        "A.identity", "A", "NaN", lambda trial: (trial.n * jnp.nan, jnp.ones(())), kind="identity"
    )
    monkeypatch.setattr(statements, "STATEMENTS", (broken,))
    cell = bound_verification.cells(CONFIG)[0]
    with pytest.raises(
        FloatingPointError, match=r"A\.identity is NaN at trial 0 of family strings_balanced, n = 40"
    ):
        bound_verification.run_cell(CONFIG, cell, jax.random.key(0))


def test_names_of_statements():
    assert len(NAMES) == len(statements.STATEMENTS) and not NAMES & MUTANTS
    for statement in statements.STATEMENTS:
        assert statement.allowed(0.1) == pytest.approx(statement.failures * 0.1)
        assert statement.failures == 0 or statement.kind == "bound"
        assert statement.claim and statement.source
