"""The experiments behind advice: users to test on are not those of the tuning, the committed rule is that of the committed rows."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from edittheory.logs.advice import proxies, rule, statistics
from experiments import advice, advice_logs, advice_texts, advice_tuning

ROOT = Path(__file__).parents[3]


def test_settings_to_test_on_are_none_of_those_to_tune_on():
    for user, ranges in advice_logs.USERS.items():
        both = {
            split: [advice_logs.setting(user, split, i) for i in range(8)] for split in advice_logs.SPLITS
        }
        betas = [beta for each in both.values() for beta, _ in each]
        assert len(set(betas)) == 16 and all(0.06 <= beta <= 0.24 for beta in betas)
        for name, (low, high) in ranges.items():
            values = [knobs[name] for each in both.values() for _, knobs in each]
            assert len(set(values)) == 16 and all(low <= value <= high for value in values)
            assert np.ptp(values) > 0.5 * (high - low)


@pytest.fixture(scope="module")
def tuning() -> pl.DataFrame:
    rows = pl.read_parquet(ROOT / "paper_figures" / "rows" / "advice_tuning" / "rows.parquet")
    return rows.with_columns(pl.col(pl.Categorical).cast(pl.String))


def test_the_committed_rule_is_that_of_the_committed_rows(tuning):
    """Choices, not weights: the optimiser may end a little elsewhere on another machine."""
    found = advice_tuning.fit(tuning)
    for family, kind in advice_tuning.KIND.items():
        mine = tuning.filter(pl.col("family") == family)
        seen = mine.select(statistics.NAMES).to_numpy()
        ours, theirs = (rule.score(one, seen).argmax(axis=1) for one in (found[kind], rule.load(kind)))
        assert np.mean(ours == theirs) > 0.97
        np.testing.assert_allclose(rule.load(kind).margins, found[kind].margins, rtol=0.15, atol=0.1)
        wrong = advice_tuning.wrong_margins(rule.load(kind), mine)
        assert np.mean(wrong > rule.load(kind).margin(seen)) < rule.DELTA


def test_rows_and_reports_of_a_small_run(tmp_path):
    config = advice.Config(
        settings=1, trials=2, sample_sizes=(60, 120), num_candidates=4, num_features=4, max_length=2
    )
    cells = [cell for cell in advice.EXPERIMENT.cells(config) if cell["user"] in ("strong", "habit")]
    assert len(cells) == 4 and len(advice.EXPERIMENT.cells(config)) == 16
    rows = pl.concat(
        [advice.run_cell(config, cell, advice.EXPERIMENT.key(config, cell, seed=0)) for cell in cells]
    )
    assert rows.height == 4 * 2 * 2 and rows.select(statistics.NAMES).to_numpy().shape == (16, 13)
    assert np.isfinite(rows.select(statistics.NAMES).to_numpy()).all()
    for row in rows.iter_rows(named=True):
        assert row["advice"] == row[row["advised"]] and 0 <= row["separated"] <= 3
        assert row["advice"] >= min(row[name] for name in proxies.LEARNERS) - 1e-12
    again = advice.run_cell(config, cells[0], advice.EXPERIMENT.key(config, cells[0], seed=0))
    assert again.equals(rows[:4])
    report = advice.report(rows, config)
    assert {one["user"] for one in report.summary["comparisons"]} == {"all users", "strong", "habit"}
    assert sum(one["logs"] for one in report.summary["errors"]) == 16


def test_the_rule_is_written_from_rows(tuning, tmp_path):
    made = advice_tuning.write(tuning, tmp_path / "rule.json")
    assert (tmp_path / "rule.json").stat().st_size > 1000 and set(made) == set(rule.KINDS)
    assert advice_tuning.main([]) == 2


def test_logs_of_texts_are_read_as_a_users_own_and_scored_exactly():
    """The more edits of a user without a habit, the nearer cost regression and DPO come to the optimum; features see the styles."""
    config = advice_texts.Config(settings=1, trials=3, sample_sizes=(40, 2000), num_texts=3, num_switches=2)
    cell = {"family": advice_texts.FAMILY, "user": "medium"}
    assert cell in advice_texts.EXPERIMENT.cells(config)
    rows = advice_texts.run_cell(config, cell, advice_texts.EXPERIMENT.key(config, cell))
    assert rows.height == 6 and np.isfinite(rows.select(statistics.NAMES).to_numpy()).all()
    few, many = (rows.filter(pl.col("n") == n).select(proxies.LEARNERS).mean().row(0) for n in (40, 2000))
    assert many[1] < few[1] and many[3] < few[3] and min(many) < rows["reference"].mean()
    assert (rows.select(proxies.LEARNERS).to_numpy() >= 0).all()
