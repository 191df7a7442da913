"""`edittheory log advise` on files: by source, with log-probabilities, and what it refuses."""

import json

import numpy as np
import polars as pl

from edittheory.logs.advice import direction_models, policies_file, proxies
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


def test_the_file_is_joined_by_line_whatever_its_order(tmp_path):
    rows = [{"line": i, "prompt": "p", "response": f"a{i}", "edit": f"b{i}"} for i in (1, 3, 4)]
    records = pl.DataFrame(rows, schema=SCHEMA)
    frame = pl.DataFrame({
        "line": [4, 1, 3, 3, 1, 4], "policy": ["new", "reference", "new", "reference", "new", "reference"],
        "response": [-4.0, -10.0, -3.0, -30.0, -1.0, -40.0], "edit": [-4.5, -10.5, -3.5, -30.5, -1.5, -40.5],
    })  # fmt: skip
    frame.write_parquet(tmp_path / "p.parquet")
    found = policies_file.read(tmp_path / "p.parquet", records)
    assert found.names == ("new",)
    np.testing.assert_array_equal(found.response[:, 0], [-1, -3, -4])
    np.testing.assert_array_equal(found.reference_edit, [-10.5, -30.5, -40.5])
