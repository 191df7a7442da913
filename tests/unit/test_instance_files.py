"""Worst instances as files: judged alike when read again, refused by the name of the damaged field; the table of the hunt."""

import json

import jax
import numpy as np
import polars as pl
import pytest

from edittheory.claims.exact.attack_space import starting_vectors
from edittheory.claims.hunt import falsify, instance_files
from edittheory.core.errors import InputError
from experiments import falsification, falsification_report, recheck
from tests.attack_cases import ATTACKS, SPACES


@pytest.fixture(scope="module")
def points() -> dict[bool, list]:
    """Three random points of each space."""
    return {
        balanced: falsify.points_of(space, np.asarray(starting_vectors(jax.random.key(5), space, 3)))
        for balanced, space in SPACES.items()
    }


# -- files --------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def content(points) -> dict:
    """A refutation of s = beta, as a file's content."""
    attack, point = ATTACKS["mutant.A.dpo.beta"], points[True][1]
    found = falsify.check(attack, point)
    assert found.refuted
    return instance_files.record(attack.name, "deterministic", point, found.ratio, True, {"seed": 5})


def test_a_saved_instance_is_judged_alike(content, tmp_path, capsys):
    path = tmp_path / "instance.json"
    instance_files.save(path, content)
    assert instance_files.load(path) == json.loads(json.dumps(content))
    assert recheck.main([str(path)]) == 0
    assert "mutant.A.dpo.beta" in capsys.readouterr().out
    instance_files.save(path, content | {"refuted": False})
    assert recheck.main([str(path)]) == 1
    assert "DIFFERS" in capsys.readouterr().out
    instance_files.save(path, content | {"ratio": 2 * content["ratio"]})
    assert recheck.main([str(path)]) == 1


def change(content: dict, path: str, value) -> dict:
    """A copy with one field replaced (or removed, by None)."""
    copy = json.loads(json.dumps(content))
    *parents, last = path.split(".")
    place = copy
    for name in parents:
        place = place[name]
    if value is None:
        del place[last]
    else:
        place[last] = value(place[last]) if callable(value) else value
    return copy


def nudged(values):
    """The same nested list with its first number doubled."""
    array = np.array(values)
    array.flat[0] = 2 * array.flat[0] + 0.1
    return array.tolist()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("format", 7, "format: got 7, must be 1"),
        ("statement", "B9", "statement: unknown deterministic statement 'B9'"),
        ("kind", "guess", "kind: got 'guess'"),
        ("refuted", "yes", "refuted: got 'yes'"),
        ("ratio", "big", "ratio: got 'big'"),
        ("problem", None, "problem: missing"),
        ("problem.user", None, r"problem\.user: missing"),
        ("problem.user", nudged, r"problem\.user\[0, 0, 0\]"),
        ("problem.user", lambda user: np.full(np.shape(user), 1 / 3).tolist(), r"problem\.user: not balanced|log_class"),
        ("problem.beta", -1.0, r"problem\.beta: got -1\.0, must be positive"),
        ("problem.beta", "x", r"problem\.beta: must be an array of numbers"),
        ("problem.distance", nudged, r"problem\.distance"),
        ("problem.context_probs", nudged, r"problem\.context_probs"),
        ("problem.log_reference", lambda rows: rows[0], r"problem\.log_reference: shape \(3,\), must have 2 axes"),
        ("problem.probe", nudged, r"problem\.probe: probabilities do not sum to 1"),
        ("problem.time", 1.5, r"problem\.time: got 1\.5, must lie in \(0, 1\)"),
        ("problem.log_class", lambda rows: rows[::-1], r"problem\.log_class\[-1\]"),
        ("problem.cost_class", lambda rows: rows[::-1], r"problem\.cost_class\[-1\]"),
        ("problem.cost_class", lambda rows: (-np.array(rows)).tolist(), r"problem\.cost_class: must lie in"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_by_the_name_of_its_field(content, tmp_path, capsys, field, value, message):
    path = tmp_path / "damaged.json"
    path.write_text(json.dumps(change(content, field, value)))
    with pytest.raises(InputError, match=message):
        instance_files.load(path)
    assert recheck.main([str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and captured.err.count("\n") == 1


def test_files_that_are_no_instances(tmp_path, capsys):
    for name, text in (
        ("absent.json", None),
        ("broken.json", "{"),
        ("list.json", "[]"),
        ("rows.parquet", "x"),
    ):
        if text is not None:
            (tmp_path / name).write_text(text)
        assert recheck.main([str(tmp_path / name)]) == 2
        assert name in capsys.readouterr().err


def test_mean_costs_of_a_bandit_are_checked(tmp_path):
    good = instance_files.record("B4.paper", "bandit", {"means": np.array([0.1, 0.4])}, 0.5, False, {}, 50)
    np.testing.assert_array_equal(instance_files.check(good), [0.1, 0.4])
    for field, value, message in (
        ("problem.means", [0.1, 1.4], "means"),
        ("n", 1, "means"),
        ("n", 2.5, "n: got"),
    ):
        with pytest.raises(ValueError, match=message):
            instance_files.check(change(good, field, value))


# -- the experiment -----------------------------------------------------------------------------------------------------------------


def rows_with(verdicts: dict[str, bool]) -> pl.DataFrame:
    """Rows of the table in which exactly the given names are refuted or not, the others as they should be."""
    rows = []
    for name in falsification_report.names():
        attack = {**instance_files.DETERMINISTIC, **instance_files.STATISTICAL, **instance_files.BANDITS}[
            name
        ]
        source = attack.statement if hasattr(attack, "statement") else attack
        refuted = verdicts.get(name, attack.mutant)
        kind = next(kind for kind, known in instance_files.KINDS.items() if name in known)
        check = falsify.Check(1.0, 2.0, 2.0 if refuted else 0.5, refuted)
        rows.append(falsification._row(source, kind, None, 10, check, {"statement": name}, attack.mutant))
    return pl.DataFrame(rows, schema=falsification.SCHEMA)


@pytest.mark.parametrize(
    ("verdicts", "refuted", "survived"),
    [
        ({}, [], []),
        ({"B0.range": True}, ["B0.range"], []),
        ({"mutant.B3.set16": False}, [], ["mutant.B3.set16"]),
    ],
)
def test_the_report_fails_on_a_wrong_verdict(verdicts, refuted, survived):
    report = falsification.report(rows_with(verdicts), falsification.Config())
    assert report.ok == (not refuted and not survived)
    assert report.summary["refuted"] == refuted and report.summary["survived"] == survived
    assert len(report.summary["statements"]) == len(falsification_report.names())


def test_a_statement_is_judged_by_its_worst_row():
    """A refutation at one sample size counts whatever the others say; attempts add up."""
    one, other = rows_with({"B1.b": True}), rows_with({}).with_columns(ratio=pl.lit(3.0))
    best = falsification_report.worst(pl.concat([other, one]))
    assert best["statement"].to_list() == falsification_report.names()
    mine = best.row(by_predicate=pl.col("statement") == "B1.b", named=True)
    assert mine["refuted"] and mine["attempts"] == 20
    assert not falsification.report(pl.concat([other, one]), falsification.Config()).ok


def test_configurations_are_checked():
    for field, value in (
        ("starts", 0),
        ("num_responses", 1),
        ("level", 0.0),
        ("sample_sizes", ()),
        ("horizon", 2),
    ):
        with pytest.raises(ValueError, match=field):
            falsification.Config(**{field: value})
