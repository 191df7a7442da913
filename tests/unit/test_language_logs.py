"""Logs: rows made by users, and files that are read back or refused by line and field."""

import json

import numpy as np
import pytest

from edittheory.core.errors import FolderError
from edittheory.language.world.edit_costs import normalised_cost
from edittheory.language.world.editors import Editor
from edittheory.language.world.grammar import NanoWorld
from edittheory.language.world.logs import LogRow, make_rows, read_log, write_log

CONTEXTS = NanoWorld().contexts("summarization", 12, 0, "train")
PLAIN = [context.plain for context in CONTEXTS]
ROWS = make_rows(CONTEXTS, PLAIN, Editor("weak"), 3, "model")


def test_rows_hold_what_the_user_did():
    weak = Editor("weak")
    assert len(ROWS) == 12 and any(row.edit != row.response for row in ROWS)
    for place, (row, context) in enumerate(zip(ROWS, CONTEXTS, strict=True)):
        edited = weak.edit(context.plain, context, np.random.default_rng([3, place]), place)
        assert row.edit == edited.text and row.items == edited.satisfied
        assert row.cost == normalised_cost(row.response, row.edit)
        assert (row.context_id, row.prompt, row.source) == (context.id, context.text, context.source)
        assert row.user == weak.identity() and row.model == "model" and row.seed == 3


def test_rows_do_not_depend_on_those_before():
    assert make_rows(CONTEXTS[:5], PLAIN[:5], Editor("weak"), 3, "model") == ROWS[:5]
    assert make_rows(CONTEXTS, PLAIN, Editor("weak"), 4, "model") != ROWS


def test_make_rows_refuses():
    with pytest.raises(ValueError, match="11 for 12 contexts"):
        make_rows(CONTEXTS, PLAIN[1:], Editor("weak"), 3, "model")
    with pytest.raises(ValueError, match="seed must be an integer"):
        make_rows(CONTEXTS, PLAIN, Editor("weak"), -1, "model")


def test_round_trip_and_duplicates(tmp_path):
    path = tmp_path / "log.jsonl"
    write_log(path, [*ROWS, *ROWS])  # a context may be answered twice
    assert read_log(path) == [*ROWS, *ROWS]
    assert [p.name for p in tmp_path.iterdir()] == ["log.jsonl"]


def test_text_with_line_separators_and_any_script_survives(tmp_path):
    text = "a\u2028b\x85c\x1ed\r\ne\u0000f 👩🏽‍🚀 שלום naïve \ufeff"
    row = LogRow("i", "email", "posts", text, text, text, 0.0, {"clean": True}, 0, "m", {"name": text})
    write_log(tmp_path / "log", [row])
    assert read_log(tmp_path / "log") == [row]


def written(tmp_path, change):
    data = json.loads(json.dumps(ROWS[1].__dict__))
    change(data)
    good = json.dumps(ROWS[0].__dict__)
    path = tmp_path / "log.jsonl"
    path.write_text(good + "\n" + json.dumps(data) + "\n")
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("edit"), "line 2: field edit is missing; a row has context_id"),
        (lambda d: d.update(extra=1), "line 2: field 'extra' is unknown"),
        (lambda d: d.update(response=3), "line 2: field response must be text, got 3"),
        (lambda d: d.update(prompt=""), "line 2: field prompt must be text that is not empty"),
        (
            lambda d: d.update(task="mail"),
            "line 2: field task must be one of email, summarization, got 'mail'",
        ),
        (lambda d: d.update(source="posts"), "line 2: field source must be one of news, wiki, papers, films"),
        (lambda d: d.update(cost=2.5), r"line 2: field cost must be in \[0, 2\], got 2.5"),
        (lambda d: d.update(cost=-0.1), r"line 2: field cost must be in \[0, 2\]"),
        (lambda d: d.update(cost=True), r"line 2: field cost must be a number in \[0, 2\], got True"),
        (lambda d: d.update(cost="0"), r"line 2: field cost must be a number in \[0, 2\], got '0'"),
        (lambda d: d.update(cost=float("nan")), "line 2: not JSON .NaN is no JSON number"),
        (lambda d: d.update(cost=d["cost"] + 0.01), "line 2: field cost must be .*check_cost=False"),
        (lambda d: d.update(items={}), "line 2: field items must be an object of at least one item"),
        (lambda d: d.update(items=["brief"]), "line 2: field items must be an object"),
        (
            lambda d: d.update(items={"brief": 1}),
            r"line 2: field items\['brief'\] must be true or false, got 1",
        ),
        (lambda d: d.update(seed=-1), r"line 2: field seed must be an integer in \[0, 4294967295\], got -1"),
        (lambda d: d.update(seed=1.0), "line 2: field seed must be an integer"),
        (lambda d: d.update(seed=True), "line 2: field seed must be an integer"),
        (lambda d: d.update(user="strong"), "line 2: field user must be an object"),
        (lambda d: d.update(model=None), "line 2: field model must be text, got None"),
    ],
)
def test_a_bad_row_is_refused_by_line_and_field(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        read_log(written(tmp_path, change))


def test_the_check_of_the_cost_can_be_skipped(tmp_path):
    path = written(tmp_path, lambda d: d.update(cost=1.5))
    assert read_log(path, check_cost=False)[1].cost == 1.5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no rows"),
        (b"\n", "line 1: not JSON"),
        (b"[1]\n", "line 1: must be an object with the fields"),
        (b"\xff\xfe\n", "line 1: not UTF-8 at byte 0"),
        (b"[" * 100_000, "line 1: (nested too deeply|not JSON)"),
        (json.dumps(ROWS[0].__dict__).encode() + b"\n\n", "line 2: not JSON"),
        (json.dumps(ROWS[0].__dict__).encode()[:-20], "line 1: not JSON"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, content, message):
    path = tmp_path / "log"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_log(path)


def test_writing_refuses_what_reading_would(tmp_path):
    path = tmp_path / "log"
    with pytest.raises(ValueError, match="rows must hold at least one row"):
        write_log(path, [])
    bad = LogRow("i", "email", "news", "p", "r", "r", 0.0, {"clean": True}, 0, "m", {})
    with pytest.raises(ValueError, match=r"rows\[1\]: field source must be one of"):
        write_log(path, [ROWS[0], bad])
    half = LogRow("i", "email", "posts", "p", "\ud800", "r", 0.0, {"clean": True}, 0, "m", {})
    with pytest.raises(ValueError, match=r"rows\[0\] holds half of a surrogate pair"):
        write_log(path, [half])
    odd = LogRow("i", "email", "posts", "p", "r", "r", 0.0, {"clean": True}, 0, "m", {"x": {1, 2}})
    with pytest.raises(ValueError, match=r"rows\[0\], field user"):
        write_log(path, [odd])
    assert not list(tmp_path.iterdir())
    with pytest.raises(FolderError):
        write_log(tmp_path / "none" / "log", ROWS)
