"""Costs of real edits and training files made from them."""

import collections
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edittheory.core.errors import InputError
from edittheory.logs import costs, reading
from edittheory.logs.command import main
from edittheory.logs.export import EMPTY, NO_PAIR, UNEDITED, export
from edittheory.logs.records import SCHEMA, EditLog, parse_map
from tests.campaigns.malformed_logs import campaign

FIXTURES = Path(__file__).parents[2] / "fixtures" / "logs"
MAP = ["prompt=question", "response=answer", "edit=edited", "source=domain"]


def fixture() -> EditLog:
    return reading.load(FIXTURES / "edits.jsonl", reading.Options(parse_map(MAP)))[0]


def test_word_cost_is_the_papers_and_can_exceed_one():
    records = pl.DataFrame([
        {"line": 1, "prompt": "", "response": "one two three four", "edit": "one three four five"},
        {"line": 2, "prompt": "", "response": "one", "edit": "one two three four"},
        {"line": 3, "prompt": "", "response": "same", "edit": "same"},
        {"line": 4, "prompt": "", "response": "all gone", "edit": ""},
    ], schema=SCHEMA)  # fmt: skip
    costed = costs.measure(records, ("words", "characters"))
    np.testing.assert_allclose(costed["words"], [2 / 4, 3.0, 0.0, 1.0])
    np.testing.assert_allclose(costed["characters"], [a / b for a, b in ((9, 18), (15, 3), (0, 4), (8, 8))])


def test_ter_is_sacrebleus():
    pytest.importorskip("sacrebleu")
    log, _ = reading.load(FIXTURES / "en-xx", reading.Options(format="mlqe-pe"))
    costed = costs.measure(log.records, ("ter", "logged"))
    np.testing.assert_allclose(costed["ter"], [0.0, 1 / 4, 1 / 3], atol=1e-9)
    assert costs.rank_correlations(costed, ("ter", "logged")) == {"ter ~ logged": pytest.approx(1.0)}


def test_summary_by_source_has_intervals_that_hold_the_mean(capsys, tmp_path):
    words = ["costs", str(FIXTURES / "edits.jsonl"), "--map", *MAP, "--by", "source", "--json"]
    assert main([*words, "--figure", str(tmp_path / "costs.png")]) == 0
    found = json.loads(capsys.readouterr().out)
    everybody, mail, news = found["groups"]
    assert (everybody["n"], mail["source"], news["n"]) == (6, "mail", 3)
    assert everybody["accepted"][0] == 1 / 6 and everybody["accepted"][1] < 1 / 6 < everybody["accepted"][2]
    for group in found["groups"]:
        mean, low, high = group["words"]["mean"]
        assert low < mean < high
    weighted = (3 * mail["words"]["mean"][0] + 3 * news["words"]["mean"][0]) / 6
    assert everybody["words"]["mean"][0] == pytest.approx(weighted)
    assert found["measures"]["words"].startswith("word Levenshtein / words of the response")
    assert (tmp_path / "costs.png").read_bytes()[:4] == b"\x89PNG"


def read_rows(path) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def test_export_forms(tmp_path):
    log = fixture()
    sft = export(log, "trl-sft", tmp_path / "sft.jsonl", drop_unedited=True)
    assert (sft.records, sft.used, sft.rows) == (6, 4, 4) and sft.dropped == {UNEDITED: 1, EMPTY: 1}
    assert read_rows(sft.files[0])[0] == {
        "prompt": "Write to Ann about Friday.",
        "completion": "Dear Ann, are you free on Friday afternoon? Best, Tom",
    }
    dpo = export(log, "trl-dpo", tmp_path / "dpo.jsonl", conversational=True)
    assert dpo.dropped == {NO_PAIR: 1, EMPTY: 1}
    first = read_rows(dpo.files[0])[0]
    assert set(first) == {"prompt", "chosen", "rejected"} and first["rejected"][0]["role"] == "assistant"
    kto = export(log, "trl-kto", tmp_path / "kto.jsonl")
    labels = collections.Counter(row["label"] for row in read_rows(kto.files[0]))
    assert kto.rows == 9 and labels == {True: 5, False: 4}
    chat = read_rows(export(log, "openai", tmp_path / "chat.jsonl").files[0])
    assert [m["role"] for m in chat[0]["messages"]] == ["user", "assistant"]
    with pytest.raises(
        InputError, match=r"sft\.jsonl exists; choose another --out, or write over it with --force"
    ):
        export(log, "trl-sft", tmp_path / "sft.jsonl")


def test_split_keeps_documents_whole_and_is_the_same_every_time(tmp_path):
    rows = [
        {"line": i, "prompt": f"p{i}", "response": "a b", "edit": "a c", "document": f"d{i % 40}"}
        for i in range(400)
    ]
    log = EditLog(pl.DataFrame(rows, schema=SCHEMA), "made")
    done = export(log, "trl-sft", tmp_path / "a.jsonl", split=0.25, by="document")
    again = export(log, "trl-sft", tmp_path / "b.jsonl", split=0.25, by="document")
    assert done.rows + done.held_out == 400 and 20 <= done.held_out <= 200 and done[:4] == again[:4]
    train, held = ({row["prompt"] for row in read_rows(path)} for path in done.files)
    documents = [{int(p[1:]) % 40 for p in part} for part in (train, held)]
    assert not documents[0] & documents[1] and not train & held
    with pytest.raises(InputError, match="--by source: line 0 has none"):
        export(log, "trl-sft", tmp_path / "c.jsonl", split=0.25, by="source")
    assert not (tmp_path / "c.jsonl").exists()


TEXT = st.text(alphabet="ab \n\u00e9\U0001f642", max_size=6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT.filter(str.strip), TEXT), min_size=1, max_size=12),
       st.sampled_from(("trl-sft", "trl-dpo", "trl-kto", "openai")), st.booleans(), st.booleans())  # fmt: skip
def test_counts_in_equal_counts_out_plus_named_drops(tmp_path_factory, texts, form, drop, talk):
    rows = [{"line": i, "prompt": p, "response": r, "edit": e} for i, (p, r, e) in enumerate(texts)]
    out = tmp_path_factory.mktemp("export") / "out.jsonl"
    done = export(EditLog(pl.DataFrame(rows, schema=SCHEMA), "made"), form, out, drop_unedited=drop, conversational=talk,
                  split=0.5)  # fmt: skip
    assert done.records == len(rows) == done.used + sum(done.dropped.values())
    written = [row for path in done.files for row in read_rows(path)]
    assert len(written) == done.rows + done.held_out
    if form != "trl-kto":
        assert len(written) == done.used


def test_trl_loads_what_is_exported(tmp_path):
    datasets = pytest.importorskip("datasets")
    path = export(fixture(), "trl-dpo", tmp_path / "dpo.jsonl").files[0]
    assert datasets.load_dataset("json", data_files=path, split="train").column_names == [
        "prompt",
        "chosen",
        "rejected",
    ]


def test_malformed_files_are_refused_or_counted():
    found = campaign(60, train_every=12)
    assert found["files"] == 60 == found["refused"] + found["counted"] and found["counted"] >= 3
    assert found["fitted"] >= 1
