"""Equivalent ways of running the same trials give the same rows: chunk width, memory or ledger, at once or resumed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import experiments
from edittheory.claims import statements
from edittheory.core.trials import map_chunks, map_trials, trial_keys
from edittheory.learn import learners
from experiments import rates, separation
from experiments.__main__ import main
from tests.finite_toys import balanced, policies

COUNT = 23
WIDTHS = (1, 7, 50)


def trial(key, problem, log_class):
    """Draws, exact sums, and a learner: everything rows are made of."""
    data = problem.sample(key, 9)
    chosen = learners.preference(log_class, problem.log_reference, data)
    return {
        "data": data,
        "chosen": chosen,
        "normal": jax.random.normal(key, (3,)),
        "loss": problem.suboptimality(log_class[chosen]),
        "mean": jnp.mean(data.costs),
    }


@pytest.fixture(scope="module")
def by_width():
    problem, log_class = balanced(), policies(3, 5)
    return {width: map_trials(trial, jax.random.key(5), COUNT, width, problem, log_class) for width in WIDTHS}


@pytest.mark.parametrize("width", WIDTHS[:-1])
def test_trials_do_not_depend_on_the_width(by_width, width):
    """Random draws and choices bit by bit; sums may be ordered otherwise for another width, so to a few last bits."""
    whole, found = by_width[WIDTHS[-1]], by_width[width]
    assert jax.tree.structure(whole) == jax.tree.structure(found)
    for name in ("data", "chosen", "normal"):
        jax.tree.map(np.testing.assert_array_equal, found[name], whole[name])
    for name in ("loss", "mean"):
        assert found[name].shape == (COUNT,) and found[name].dtype == np.float64
        # At most 36 terms of one sign: a relative error of 36 units in the last place, each way.
        np.testing.assert_allclose(found[name], whole[name], rtol=72 * np.finfo(float).eps, atol=0)


def test_trials_are_those_of_their_keys(by_width):
    keys = trial_keys(jax.random.key(5), 0, COUNT)
    problem, log_class = balanced(), policies(3, 5)
    run = jax.jit(lambda key: trial(key, problem, log_class))
    for index in (0, 6, 7, COUNT - 1):
        alone = run(keys[index])
        np.testing.assert_array_equal(by_width[7]["data"].edits[index], alone["data"].edits)
        np.testing.assert_allclose(by_width[7]["loss"][index], alone["loss"], rtol=1e-13)
    assert len(np.unique(by_width[7]["normal"])) == 3 * COUNT  # no trial twice


def test_a_longer_run_begins_with_a_shorter_one(by_width):
    short = map_trials(trial, jax.random.key(5), 9, 7, balanced(), policies(3, 5))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[:9]), short, by_width[7])


def test_several_keys_and_late_starts():
    keys = {"problem": jax.random.key(1), "data": jax.random.key(2)}
    found = trial_keys(keys, 4, 3)
    for name, key in keys.items():
        for place in range(3):
            expected = jax.random.fold_in(key, 4 + place)
            np.testing.assert_array_equal(
                jax.random.key_data(found[name][place]), jax.random.key_data(expected)
            )


@pytest.mark.parametrize("count, width", [(0, 5), (5, 0), (-1, 5)])
def test_sizes_out_of_range(count, width):
    with pytest.raises(ValueError, match=f"count: got {count}, width: got {width}; both must be at least 1"):
        map_chunks(lambda keys: keys, jax.random.key(0), count, width)


def test_every_chunk_has_one_shape():
    shapes = []

    def batch(keys):
        shapes.append(keys.shape)
        return jnp.arange(len(keys))

    found = map_chunks(batch, jax.random.key(0), 10, 4)
    assert shapes == [(4,), (4,), (4,)] and found.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


# -- experiments ---------------------------------------------------------------------------------------------------------------


# The quick configurations, shrunk.
TINY = {
    "bound_verification": dict(
        families=("strings_balanced",), sample_sizes=(20,), trials=6, num_contexts=2, num_candidates=4, max_length=2,
        num_switches=2, num_texts=4, text_source="builtin", width=6,
    ),
    "contraction": dict(strengths=(0.1, 0.8), trials=5, rounds=2, max_length=2, width=5),
    "rates": dict(sample_sizes=(20, 200), trials=4, num_contexts=2, num_candidates=21, max_length=2, fit_from=20, width=4),
    "preference_scale": dict(
        betas=(0.3, 1.0), sample_sizes=(50,), trials=4, num_temperatures=61, num_contexts=2, max_length=2, width=4
    ),
    "separation": dict(trials=6, num_contexts=2, num_candidates=8, num_letters=2, max_length=2, width=6),
}  # fmt: skip


def prepared(name, monkeypatch):
    """The experiment and its tiny configuration; claims, users and settings are cut where each would have to be compiled."""
    experiment = experiments.get(name)
    if name == "bound_verification":
        few = tuple(c for c in statements.STATEMENTS if c.name in ("A.identity", "L1.gamma", "B3.set"))
        monkeypatch.setattr(statements, "STATEMENTS", few)
    if name == "rates":
        monkeypatch.setattr(rates, "USERS", {"strong": 0.9})
    if name == "separation":
        monkeypatch.setattr(separation, "SETTINGS", {"habit": separation.SETTINGS["habit"]})
    return experiment, dataclasses.replace(experiment.preset("quick"), **TINY[name])


def arguments(name, out) -> list[str]:
    words = []
    for field, value in TINY[name].items():
        values = value if isinstance(value, tuple) else (value,)
        words += [f"--config.{field}", *map(str, values)]
    return [name, "--preset", "quick", "--out", str(out), *words]


def check_rows(name, rows, config, cells):
    assert rows.height > 0
    for column, kind in rows.schema.items():
        assert rows[column].null_count() == 0, column
        if kind.is_float():
            assert not rows[column].is_nan().any(), column
    if name == "bound_verification":
        assert {"statement", "family", "n", "seed", "realised", "bound", "holds"} <= set(rows.columns)
        assert rows.height == 3 * config.trials and rows["holds"].all()
    else:
        assert rows["seed"].n_unique() == config.trials
    for cell in cells:
        for field, value in cell.items():
            if field in rows.columns:
                assert value in rows[field].to_list()


@pytest.mark.parametrize("name", TINY)
def test_quick_configuration_shrunk_runs_and_reports_from_the_command_line(
    name, tmp_path, monkeypatch, capsys
):
    experiment, config = prepared(name, monkeypatch)
    # Too few trials to separate learners or to be sure of anything else: the code says whether claims held.
    assert main(arguments(name, tmp_path)) in (0, 1)
    shown = capsys.readouterr().out
    assert "rows.parquet" in shown and len(shown.splitlines()) > 4
    rows = pl.read_parquet(tmp_path / name / "rows.parquet")
    check_rows(name, rows, config, experiment.cells(config))
    if name not in ("rates", "separation"):  # whose trials would be compiled again
        # One cell computed in memory: its rows stand in the file, in order and bit by bit.
        cells = experiment.cells(config)
        mine = experiment.run_cell(config, cells[0], experiment.key(config, cells[0]))
        assert_frame_equal(mine, rows.head(mine.height), check_exact=True, categorical_as_str=True)
    assert experiment.report(rows, config).ok or name == "separation"


@pytest.mark.parametrize("name", ["contraction", "preference_scale"])
def test_rows_in_memory_equal_those_of_a_ledger_that_was_stopped(name, tmp_path, monkeypatch):
    """Run at once; or stopped after a cell and continued: same rows, bit by bit."""
    experiment, config = prepared(name, monkeypatch)
    at_once = experiment.run(config)
    ledger = experiment.ledger(config, tmp_path)
    real, calls = experiment.run_cell, []

    def stopping(config, cell, key):
        calls.append(cell)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(config, cell, key)

    with pytest.raises(KeyboardInterrupt):
        dataclasses.replace(experiment, run_cell=stopping).run_into(config, ledger)
    assert not ledger.check() and len(calls) == 2
    resumed = experiment.ledger(config, tmp_path)
    assert len(resumed.pending()) == len(experiment.cells(config)) - 1
    experiment.run_into(config, resumed)
    assert_frame_equal(resumed.rows(), at_once, check_exact=True)
    # Another seed is another run, with other rows.
    other = experiment.run(config, seed=1)
    assert other.schema == at_once.schema and not other.equals(at_once)


def test_width_is_not_part_of_a_run(tmp_path, monkeypatch):
    """Another width: the same identity, so the ledger is complete; and rows that agree to a few last bits."""
    experiment, config = prepared("contraction", monkeypatch)
    wide, narrow = experiment.run(config), dataclasses.replace(config, width=2)
    assert_frame_equal(experiment.run(narrow), wide, rel_tol=1e-12, abs_tol=1e-14)
    experiment.run_into(config, experiment.ledger(config, tmp_path))
    assert experiment.ledger(narrow, tmp_path).check()
    assert experiment.key(config, {"strength": 0.1}) == experiment.key(narrow, {"strength": 0.1})
