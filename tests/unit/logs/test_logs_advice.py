"""Advice on a log: stand-ins against exact learners, the file of log-probabilities, refusals, the command."""

import json

import numpy as np
import polars as pl
import pytest
import scipy.optimize

from edittheory.logs.advice import (
    candidates,
    direction_models,
    judging,
    policies_file,
    proxies,
    rule,
    samples,
    statistics,
)
from edittheory.logs.advice.samples import Sample
from edittheory.logs.command import main
from edittheory.logs.records import SCHEMA

WORDS = "red blue green sun moon star river stone".split()


def written(rng, count: int = 120, sources=("mail", "news")) -> list[dict]:
    """Records of people who greet, close and shorten, some of them as the response was."""
    rows = []
    for i in range(count):
        response = " ".join(rng.choice(WORDS, size=rng.integers(3, 10))) + "."
        response = f"Hi Ann, {response}" if rng.random() < 0.4 else response
        edit = response if rng.random() < 0.3 else " ".join(response.split()[-5:]) + " Best, Tom"
        rows.append(
            {"prompt": f"p{i % 5}", "response": response, "edit": edit, "source": sources[i % len(sources)]}
        )
    return rows


def save(rows: list[dict], path) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return str(path)


def table(rows: list[dict], rng, names=("reference", "brief", "polite")) -> pl.DataFrame:
    """Made-up log-probabilities that depend on the text."""
    found = []
    for line, row in enumerate(rows, 1):
        for number, name in enumerate(names):

            def score(text, number=number):
                return -20.0 - 0.3 * number * len(text.split()) - 0.01 * (hash_of(text) % 7)

            found.append(
                {"line": line, "policy": name, "response": score(row["response"]), "edit": score(row["edit"])}
            )
    return pl.DataFrame(found)


def hash_of(text: str) -> int:
    return sum(map(ord, text))


def toy(rng, size: int = 400, d: int = 3) -> Sample:
    group = rng.integers(0, 3, size)
    response, edit = rng.normal(size=(2, size, d))
    cost = response @ np.arange(1.0, d + 1) * 0.05 + 0.2 * group + 0.1 * rng.normal(size=size)
    return samples.standardised(Sample(group, response, edit + np.array([0.5, 0, 0]), cost))


@pytest.mark.parametrize("learner", ["SFT", "DPO", "SFT+DPO"])
def test_stand_ins_minimise_their_losses(learner):
    """Against a general optimiser on the loss as it is written down."""
    sample = toy(np.random.default_rng(0))
    train = np.arange(sample.size) % 4 > 0

    def loss(theta):
        h = sample.response @ theta
        moved = (sample.edit - sample.response)[train] @ theta
        total = 0.0 if learner == "SFT" else np.logaddexp(0, -moved).mean()
        if learner != "DPO":
            log_z = np.array([np.log(np.mean(np.exp(h[sample.group == g]))) for g in range(3)])
            labels = -(sample.edit[train] @ theta - log_z[sample.group[train]]).mean()
            total += labels * (proxies.SUPERVISED_WEIGHT if learner == "SFT+DPO" else 1.0)
        return total + proxies.RIDGE / train.sum() * theta @ theta / 2

    found = proxies.fit_features(learner, sample, train, 0.1).weights
    least = scipy.optimize.minimize(loss, np.zeros(3), tol=1e-10)
    np.testing.assert_allclose(found, least.x, atol=2e-4)


def test_cost_regression_finds_the_slope_and_turns_it_into_a_policy():
    rng = np.random.default_rng(1)
    sample = toy(rng, size=4000)
    fit = proxies.fit_features("cost regression", sample, np.ones(sample.size, bool), 0.1)
    np.testing.assert_allclose(fit.weights, -np.arange(1, 4) * 0.05 / 0.1, atol=0.06)


def test_losses_of_policies_are_those_of_the_definition_and_add_up_over_folds():
    rng = np.random.default_rng(2)
    sample = Sample(rng.integers(0, 4, 60), *rng.normal(size=(2, 60, 5)), rng.random(60))
    whole = proxies.policy_losses(sample, 0.2)
    part = Sample(*(column[:20] for column in sample))
    rest = Sample(*(column[20:] for column in sample))
    for mine, theirs in zip(
        whole.less(proxies.policy_losses(part, 0.2, 4)), proxies.policy_losses(rest, 0.2, 4), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, atol=1e-9)
    left = sample.cost[:, None] + 0.2 * sample.response
    for g in range(4):
        left[sample.group == g] -= left[sample.group == g].mean(axis=0)
    np.testing.assert_allclose(whole.errors(), np.mean(left**2, axis=0))
    assert whole.picks()["SFT"] == int(np.argmax(sample.edit.mean(axis=0)))


def test_held_out_values_are_those_of_the_policies():
    """Costs that are linear in the features, without a habit: the value of a stand-in is what its law costs, plus beta KL."""
    rng = np.random.default_rng(3)
    response = rng.normal(size=(6000, 2))
    cost = 1.0 + response @ [0.1, -0.05] + 0.05 * rng.normal(size=6000)
    sample = samples.standardised(
        Sample(np.zeros(6000, int), response, response + np.array([-0.3, 0.1]), cost)
    )
    judged = judging.judge(sample, 0.2)
    theta = np.array([-0.1, 0.05]) / 0.2  # normal responses: E cost moves by b . theta, KL = |theta|^2 / 2
    expected = 0.1 * theta[0] - 0.05 * theta[1] + 0.2 * theta @ theta / 2
    assert judged.value[3] == pytest.approx(expected, abs=0.006) and expected < 0
    assert np.all(judged.value[:3] >= judged.value[3] - 0.004) and 0 < judged.error[0, 3] < 0.02


def test_a_rule_projects_to_more_edits_and_separates_only_inside_what_it_knows():
    seen = np.array([5.0, 0.3, 0.5, -2, -2, -2, -1, 1.0, -1.0, 0.0, 0.2, -0.2, 0.0])
    assert len(seen) == len(statistics.NAMES)
    np.testing.assert_allclose(rule.project(seen, 1.0), seen)
    later = dict(zip(statistics.NAMES, rule.project(seen, 4.0), strict=True))
    assert later["noise of DPO"] == pytest.approx(-2 - np.log(4)) and later["log n"] == pytest.approx(
        5 + np.log(4)
    )
    assert later["held out: SFT"] == pytest.approx(np.tanh(2 * np.arctanh(0.2)))
    assert later["SFT from cost regression"] == pytest.approx(-1.0)
    assert later["DPO from cost regression"] == pytest.approx(np.log(1 + (np.e - 1) * 4))
    weights = np.zeros((14, 4))
    weights[-1] = [0, 3, 1, 0]
    weights[0] = [0, 1, 0, 0]
    one = rule.Rule(seen, np.ones(13), weights, 2.5)
    found = rule.decide(one, seen)
    assert (found.advised, list(found.separated), found.outside) == (1, [True, False, False, True], ())
    assert 0 < found.more < np.exp(5.0)
    far = rule.decide(one, seen + np.array([0, 9] + [0] * 11))
    assert far.outside == ("accepted",) and not far.separated.any() and far.more is None
    assert rule.decide(one, seen + np.array([9] + [0] * 12)).outside == ()


@pytest.mark.parametrize("kind", rule.KINDS)
def test_the_committed_rule_is_whole(kind):
    tuned = rule.load(kind)
    assert (
        tuned.weights.shape == (len(statistics.NAMES) + 1, len(proxies.LEARNERS)) and 0 < tuned.margin < 100
    )
    assert np.isfinite(tuned.weights).all() and np.all(tuned.scale > 0)


def test_pairs_of_costs_and_bounds():
    pairs = candidates.cost_pairs(np.array([0, 1, 0, 0, 1, 0]))
    assert pairs.tolist() == [[0, 2], [1, 4], [3, 5]]
    rng = np.random.default_rng(4)
    sample = Sample(np.zeros(3000, int), np.zeros((3000, 1)), np.zeros((3000, 1)), rng.uniform(0, 0.4, 3000))
    (bound,) = candidates.cost_bounds(sample, 1.0, 0.05, cut=1.0)
    assert 0.2 < bound < 0.25


def test_directions_of_no_taste_are_told_from_a_coin():
    """A symmetric user of an uneven policy: texts alone see a direction, log-probabilities explain it."""
    rng = np.random.default_rng(5)
    first = (
        rng.random(600) < 0.9
    )  # the policy writes text a nine times in ten; the user swaps a and b with chance 1/2
    changed = rng.random(600) < 0.5
    moved = np.where(changed, np.where(first, 1.0, -1.0), 0.0)[:, None]
    reference = np.where(changed, np.where(first, np.log(1 / 9), np.log(9)), 0.0)
    found = {one.hypothesis: one for one in direction_models.reference_tests(moved, reference, changed, 0.1)}
    assert found["nothing to learn"].rejected and found["nothing to learn"].needed < 100
    assert not found["no taste"].rejected and not found["a temperature"].rejected


def test_command_by_source_with_and_without_policies(tmp_path, capsys):
    rng = np.random.default_rng(6)
    rows = written(rng)
    path = save(rows, tmp_path / "edits.jsonl")
    assert main(["advise", path, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["source"] for one in found["sources"]] == ["all", "mail", "news"]
    for one in found["sources"]:
        assert one["advice"] in proxies.LEARNERS and one["rule"] == "features" and "tests" not in one
        assert sorted([one["advice"], *one["separated_from"], *one["not_separated_from"]]) == sorted(
            proxies.LEARNERS
        )
    table(rows, rng).write_parquet(tmp_path / "p.parquet")
    words = ["advise", path, "--policies", str(tmp_path / "p.parquet")]
    assert main([*words, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["sources"][0]
    assert first["rule"] == "policies" and [p["policy"] for p in first["policies"]] == ["brief", "polite"]
    assert {t["hypothesis"] for t in first["tests"]} == set(direction_models.HYPOTHESES)
    assert sum(len(p["picked_by"]) for p in first["policies"]) == 4
    assert all(0 <= p["cost_at_most"] <= p["cost_max"] for p in first["policies"])
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "It is assumed that" in shown and "Advice: " in shown and "preferred law?" in shown
    table(rows, rng, names=("reference",)).write_parquet(tmp_path / "p.parquet")
    assert main([*words, "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)["sources"][0]
    assert alone["rule"] == "features" and len(alone["tests"]) == 3 and alone["policies"] == []


def test_order_of_lines_does_not_matter_where_times_are_given(tmp_path, capsys):
    rows = [{**row, "time": i} for i, row in enumerate(written(np.random.default_rng(7), 80, ("mail",)))]
    found = []
    for name, these in (("a", rows), ("b", rows[::-1])):
        assert main(["advise", save(these, tmp_path / f"{name}.jsonl"), "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out)["sources"])
    assert found[0] == found[1]


def refused(words, capsys) -> str:
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and said.err.startswith("error: ")
    return said.err


def test_refusals_without_policies(tmp_path, capsys):
    rows = written(np.random.default_rng(8), 60)
    path = save(rows, tmp_path / "edits.jsonl")
    for option, message in (
        (["--beta", "0"], "--beta must be"),
        (["--beta", "nan"], "--beta must be"),
        (["--level", "2"], "--level must be"),
        (["--measure", "mood"], "--measure must be one of words"),
        (["--measure", "logged"], "no record has a cost of its own"),
        (["--cost-max", ".001"], "--cost-max must be at least"),
        (["--policies", str(tmp_path / "none.parquet")], "does not exist"),
        (["--policies", path], "cannot be read as Parquet"),
    ):
        assert message in refused(["advise", path, *option], capsys)
    for change, message in (
        (lambda rows: rows[:49], "49 records, but at least 50"),
        (lambda rows: [{**r, "edit": r["response"]} for r in rows], "0 of 60 records were edited"),
        (lambda rows: [{**r, "response": "one two", "edit": "one three"} for r in rows], "the same cost"),
        (
            lambda rows: [{**r, "response": "one two", "edit": "one" * (i % 2)} for i, r in enumerate(rows)],
            "the same text",
        ),
        (
            lambda rows: [
                {**r, "response": f"{'ab'[i % 2]} z", "edit": "q" * (1 + i % 2)} for i, r in enumerate(rows)
            ],
            "same cost",
        ),
    ):
        assert message in refused(["advise", save(change(rows), tmp_path / "other.jsonl")], capsys)
    few = [*rows, *[{**row, "source": "rare"} for row in rows[:5]]]
    assert main(["advise", save(few, tmp_path / "few.jsonl"), "--json"]) == 0
    found = {one["source"]: one for one in json.loads(capsys.readouterr().out)["sources"]}
    assert "5 records" in found["rare"]["refused"] and found["all"]["refused"] is None


def test_refusals_of_the_file_of_log_probabilities(tmp_path, capsys):
    rng = np.random.default_rng(9)
    rows = written(rng, 60)
    path, made = save(rows, tmp_path / "edits.jsonl"), tmp_path / "p.parquet"
    good = table(rows, rng)
    cases = [
        (good.drop("edit"), "lacks the column edit"),
        (good.with_columns(pl.col("line").cast(pl.String)), "the column line holds"),
        (good.with_columns(pl.col("edit").cast(pl.String)), "the column edit holds"),
        (good.with_columns(policy=pl.lit("x")), "no policy is called 'reference'"),
        (good.filter(pl.col("line") != 7), "has no row for line 7"),
        (pl.concat([good, good[3:4]]), "occurs more than once"),
        (good.with_columns(edit=pl.lit(0.5)), "must be a log-probability"),
        (good.with_columns(response=pl.lit(float("nan"))), "must be a log-probability"),
        (good.with_columns(response=pl.lit(float("-inf"))), "must be a log-probability"),
        (good.with_columns(policy=pl.lit(None, dtype=pl.String)), "line or policy is missing"),
    ]
    for frame, message in cases:
        frame.write_parquet(made)
        assert message in refused(["advise", path, "--policies", str(made)], capsys), message
    made.write_bytes(made.read_bytes()[:100])
    assert "cannot be read" in refused(["advise", path, "--policies", str(made)], capsys)
    logged = [{**row, "log_probability": -3.0} for row in rows]
    good.write_parquet(made)
    words = ["advise", save(logged, tmp_path / "logged.jsonl"), "--policies", str(made)]
    assert "line 1: the policy that wrote gave the response -3 in the log" in refused(words, capsys)


def test_the_file_is_joined_by_line_whatever_its_order():
    rows = [{"line": i, "prompt": "p", "response": f"a{i}", "edit": f"b{i}"} for i in (1, 3, 4)]
    records = pl.DataFrame(rows, schema=SCHEMA)
    frame = pl.DataFrame({
        "line": [4, 1, 3, 3, 1, 4], "policy": ["new", "reference", "new", "reference", "new", "reference"],
        "response": [-4.0, -10.0, -3.0, -30.0, -1.0, -40.0], "edit": [-4.5, -10.5, -3.5, -30.5, -1.5, -40.5],
    })  # fmt: skip
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        frame.write_parquet(Path(folder) / "p.parquet")
        found = policies_file.read(Path(folder) / "p.parquet", records)
    assert found.names == ("new",)
    np.testing.assert_array_equal(found.response[:, 0], [-1, -3, -4])
    np.testing.assert_array_equal(found.reference_edit, [-10.5, -30.5, -40.5])
