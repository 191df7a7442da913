"""Reading logs of real edits: fields, formats, bad lines, and what the command says of them."""

import gzip
import importlib.metadata
import json
from pathlib import Path

import polars as pl
import pytest

from edittheory.core.errors import InputError
from edittheory.logs import directions, reading
from edittheory.logs.command import main
from edittheory.logs.records import parse_map

FIXTURES = Path(__file__).parents[2] / "fixtures" / "logs"
EDITS = FIXTURES / "edits.jsonl"
MAP = ["prompt=question", "response=answer", "edit=edited", "source=domain"]


def run(capsys, *words: str) -> tuple[int, str, list[str]]:
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err.splitlines()


def write(path: Path, *rows: dict | str) -> Path:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def row(**changes) -> dict:
    return {"prompt": "p", "response": "some words", "edit": "other words", **changes}


def test_check_counts_everything_and_keeps_the_bad_lines(capsys, tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(EDITS.read_bytes())
    code, out, err = run(capsys, "check", path, "--map", *MAP, "--json")
    found = json.loads(out)
    assert code == 0 and err == ["note: columns taken: log_probability=logprob"]
    assert (found["read"], found["used"], found["skipped"]) == (8, 6, 2)
    assert found["reasons"] == {"response is missing": 1, "not JSON": 1}
    assert found["edited_share"] == 5 / 6 and found["empty_edits"] == 1 and found["duplicates"] == 0
    assert found["sources"] == {"mail": 3, "news": 3} and found["fields"]["log_probability"] == 6
    bad = [json.loads(line) for line in Path(found["bad_lines"]).read_text().splitlines()]
    assert [(one["line"], one["reason"]) for one in bad] == [(7, "response is missing"), (8, "not JSON")]
    assert bad[1]["raw"] == "not json"
    log, _ = reading.load(path, reading.Options(parse_map(MAP)))
    assert log.records["line"].to_list() == [1, 2, 3, 4, 5, 6] and log.records["time"][0] == 1793527200.0


def test_strict_refuses_at_the_first_bad_line_and_writes_nothing(capsys, tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(EDITS.read_bytes())
    code, out, err = run(capsys, "check", path, "--map", *MAP, "--strict")
    assert code == 2 and out == "" and err[-1] == f"error: {path}, line 7: response is missing"
    assert [one.name for one in tmp_path.iterdir()] == ["log.jsonl"]


@pytest.mark.parametrize("changes, reason", [
    ({"response": "  "}, "response is empty"),
    ({"response": None}, "response is missing"),
    ({"edit": ["a"]}, "edit is not text"),
    ({"edit": "x" * 1001}, "edit is more than 100 times as long as the response"),
    ({"prompt": "a\0b"}, "prompt holds a NUL character"),
    ({"prompt": "\ud800"}, "half a surrogate pair"),
    ({"cost": -1}, "cost is below 0"),
    ({"cost": float("nan")}, "cost is not finite"),
    ({"cost": True}, "cost is not a number"),
    ({"log_probability": 0.5}, "log_probability is above 0"),
    ({"time": "yesterday"}, "time is not a number or an ISO date"),
    ({"user": 1.5}, "user is not text"),
])  # fmt: skip
def test_every_fault_of_a_line_has_its_reason(tmp_path, changes, reason):
    path = write(tmp_path / "log.jsonl", row(), {**row(), **changes})
    found = reading.check(path, reading.Options())
    assert found["reasons"] == {reason: 1} and found["used"] == 1


def test_what_is_allowed_stays(tmp_path):
    rows = [
        row(edit=""),
        row(user=7),
        row(time=5),
        row(prompt=""),
        row(log_probability=-2),
        row(edit="é 🙂\u2028 line"),
    ]
    found = reading.check(write(tmp_path / "log.jsonl", *rows), reading.Options())
    assert (
        found["used"] == 6
        and found["reasons"] == {}
        and found["bad_lines"] is None
        and found["empty_edits"] == 1
    )


def test_duplicates_are_counted_and_dropped_on_demand(tmp_path):
    path = write(tmp_path / "log.jsonl", row(), row(), row(user="b"))
    assert reading.check(path, reading.Options())["duplicates"] == 1
    found = reading.check(path, reading.Options(drop_duplicates=True))
    assert found["used"] == 2 and found["reasons"] == {"duplicate of an earlier line": 1}


def test_same_records_from_every_format(tmp_path):
    rows = [row(source="a, b"), row(edit='with "quotes"\nand a line'), row(response="naïve", source="c")]
    write(tmp_path / "log.jsonl", *rows)
    frame = pl.DataFrame(rows, schema={name: pl.String for name in ("prompt", "response", "edit", "source")})
    frame.write_csv(tmp_path / "log.csv")
    frame.write_csv(tmp_path / "log.tsv", separator="\t")
    frame.write_parquet(tmp_path / "log.parquet")
    (tmp_path / "bom.csv").write_bytes(
        b"\xef\xbb\xbf" + (tmp_path / "log.csv").read_bytes().replace(b"\r\n", b"\n")
    )
    (tmp_path / "log.jsonl.gz").write_bytes(
        gzip.compress((tmp_path / "log.jsonl").read_bytes().replace(b"\n", b"\r\n"))
    )
    (tmp_path / "log.json").write_text(json.dumps(rows))
    wanted = None
    for name in ("log.jsonl", "log.csv", "bom.csv", "log.tsv", "log.parquet", "log.jsonl.gz", "log.json"):
        log, count = reading.load(tmp_path / name, reading.Options())
        texts = [tuple(one) for one in log.records.select("prompt", "response", "edit").iter_rows()]
        wanted = wanted or texts
        assert texts == wanted and count.reasons == {}, name


@pytest.mark.parametrize("name, file, first, costs", [
    ("mlqe-pe", "en-xx", ("A house.", "ein Haus .", "ein Haus ."), [0.0, 0.25, 0.3333]),
    ("qe4pe", "qe4pe.csv", ("A house.", "Un casa, qui.", "Una casa, qui."), [12.5, 20.0]),
    ("divemt", "divemt.tsv", ("A house.", "Un casa.", "Una casa."), [3.5]),
    ("lamp", "lamp.json", ("Describe a lake.", "The lake was a mirror of the soul.", "The lake was still."), [None, None]),
    ("trl", "trl.jsonl", ("Hello?", "Hello.", "Hello, dear friend."), [None, None]),
    ("prelude", "prelude.jsonl", ("An article on bees.", "Bees make honey in hives.", "- Bees make honey."), [4.0]),
])  # fmt: skip
def test_corpora_by_name(name, file, first, costs):
    log, count = reading.load(FIXTURES / file, reading.Options(format=name))
    assert log.records.select("prompt", "response", "edit").row(0) == first
    translated = (
        {"response is empty": 1} if name == "divemt" else {}
    )  # a translation from scratch has no draft
    assert log.records["cost"].to_list() == costs and count.reasons == translated
    if name == "prelude":
        assert log.records.select("source", "log_probability").row(0) == ("bullet points", -4.0)


def test_unequal_line_counts_are_refused(tmp_path):
    for ending, lines in (("src", 3), ("mt", 3), ("pe", 2)):
        (tmp_path / f"train.{ending}").write_text("a b\n" * lines)
    with pytest.raises(InputError, match="there are 3 of src, 3 of mt, 2 of pe"):
        reading.load(tmp_path, reading.Options(format="mlqe-pe"))


@pytest.mark.parametrize("words, message", [
    (["check", "nowhere.jsonl"], "nowhere.jsonl cannot be read: no such file or directory"),
    (["check", "log.txt"], "log.txt ends in none of .jsonl"),
    (["check", str(EDITS), "--format", "word"], "--format must be one of mlqe-pe"),
    (["check", str(EDITS), "--map", "prompt"], "--map 'prompt' must have the form FIELD=COLUMN"),
    (["check", str(EDITS), "--map", "reply=answer"], "the field must be one of prompt"),
    (["check", str(EDITS), "--map", "edit=a", "edit=b"], "--map gives edit twice"),
    (["check", str(EDITS), "--map", "edit=nothing"], "there is no column 'nothing'; columns: question"),
    (["check", str(EDITS), "--fast"], "unrecognized arguments: --fast"),
    (["costs", str(EDITS), "--by", "mood"], "--by must be of source"),
    (["costs", str(EDITS), "--level", "0.9"], "--level must be in (0, 0.5]"),
    (["costs", str(EDITS), "--measure", "feet"], "--measure must be of words"),
    (["costs", str(EDITS), "--measure", "logged"], "no record has a cost of its own"),
    (["costs", str(EDITS), "--figure", "a.gif"], "--figure must end in .png or .pdf"),
    (["export", str(EDITS), "--format", "trl", "--out", "x"], "--format must be one of trl-sft"),
    (["export", str(EDITS), "--format", "trl-sft", "--out", "x", "--split", "1"], "--split must be in [0, 1)"),
    (["export", str(EDITS), "--format", "trl-sft", "--out", "x", "--split", ".5", "--by", "line"], "--by must be one of"),
    ([], "the following arguments are required: command"),
])  # fmt: skip
def test_mistakes_are_said_in_one_line(capsys, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *words)
    said = [line for line in err if not line.startswith("note: ")]
    assert code == 2 and out == "" and len(said) == 1 and said[0].startswith("error: ") and message in said[0]
    assert list(tmp_path.iterdir()) == []


def test_two_synonyms_are_asked_about(tmp_path):
    path = write(tmp_path / "log.jsonl", {"prompt": "p", "answer": "a b", "draft": "b c", "edit": "c"})
    with pytest.raises(
        InputError,
        match="response could be any of the columns answer, draft; say which by --map response=COLUMN",
    ):
        reading.check(path, reading.Options())


def gec_folder(root: Path, source: str = "Він іде .\nДобре\n", target: str = "Він йде.\nДобре\n") -> Path:
    folder = root / "gec-fluency" / "test"
    for name, text in (("source-sentences/0002.src.txt", source), ("target-sentences/0002.a1.txt", target)):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_ua_gec_is_read_by_sentences_and_editors(tmp_path):
    folder = gec_folder(tmp_path)
    (folder / "target-sentences" / "0002.a2.txt").write_text("Він іде .\nДобре.\n", encoding="utf-8")
    log, _ = reading.load(folder, reading.Options(format="ua-gec"))
    assert log.records.select("edit", "document", "editor", "source").rows() == [
        ("Він йде.", "0002", "a1", "gec-fluency/test"), ("Добре", "0002", "a1", "gec-fluency/test"),
        ("Він іде .", "0002", "a2", "gec-fluency/test"), ("Добре.", "0002", "a2", "gec-fluency/test"),
    ]  # fmt: skip
    (folder / "target-sentences" / "0002.a2.txt").write_text("Він іде .\n", encoding="utf-8")
    with pytest.raises(
        InputError, match=r"0002\.a2\.txt must have as many lines as 0002\.src\.txt, 2, but it has 1"
    ):
        reading.load(folder, reading.Options(format="ua-gec"))
    with pytest.raises(InputError, match="must be the folder of a partition"):
        reading.load(tmp_path, reading.Options(format="ua-gec"))


def test_the_real_corpus_of_ua_gec():
    """Whole in its wheel: `pip install --no-deps ua-gec`. Only its files are read, its code is not imported."""
    try:
        files = importlib.metadata.files("ua-gec") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("ua-gec is not installed")
    sample = next(file for file in files if "gec-fluency/test/target-sentences" in str(file))
    folder = Path(str(sample.locate())).parents[1]
    log, count = reading.load(folder, reading.Options(format="ua-gec"))
    assert log.records["document"].n_unique() == 166 and set(log.records["editor"]) == {"a1", "a2"}
    assert not count.reasons
    pair = directions.agreement(log.records)  # the numbers of docs/your-own-log.md
    assert count.used == 5380 and round(1 - count.edited / count.used, 2) == 0.39
    assert (round(pair.between, 3), round(pair.from_response, 3), round(pair.same, 2)) == (0.124, 0.119, 0.39)
