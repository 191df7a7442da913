"""Runs without a server: classes of one's own, built-in users, local agents, task files, resumption, refusals."""

import json
import shutil
from pathlib import Path

import pytest

from edittheory.cli.main import main
from edittheory.core.errors import InputError
from edittheory.language.world import logs, tasks
from edittheory.language.world.editors import STRENGTHS, Editor
from edittheory.language.world.grammar import NanoWorld
from edittheory.language.world.task_files import fill, read_task
from edittheory.language.world.users import OperatorUser, Turn, User
from edittheory.logs.command import main as log
from edittheory.simulate.rounds import Rounds, builtin_task
from tests.language_toys import random_checkpoint

MINE = '''
class Mine:
    """Answers, and edits down to five words; keeps a list of the rounds it was asked about."""
    seen = []
    def respond(self, turn):
        return turn.prompt[-60:].strip() + " The end."
    def satisfies(self, response, turn):
        self.seen.append(turn.t)
        return len(response.split()) <= 5
    def revise(self, response, turn):
        return " ".join(response.split()[:5])

class Odd(Mine):
    def respond(self, turn):
        if turn.t == 3:
            raise KeyError("three")
        return super().respond(turn) if turn.t else " "
    def satisfies(self, response, turn):
        return "yes"
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(out: str, rounds: int, *more: str, agent="mine.py:Mine", user="mine.py:Mine", task="email") -> int:
    words = ["--agent", agent, "--user", user, "--task", task, "--rounds", str(rounds), "--out", out, *more]
    return main(["simulate", *words])


def rows(out: str) -> list[dict]:
    return [json.loads(line) for line in Path(out).read_text(encoding="utf-8").splitlines()]


def test_a_class_of_ones_own_makes_a_log_that_the_log_commands_read(folder, capsys):
    assert run("a.jsonl", 24, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["new"], found["accepted"], found["failed"]) == (24, 24, 0.0, {})
    assert [row["round"] for row in rows("a.jsonl")] == list(range(24))
    assert log(["check", "a.jsonl", "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert (seen["read"], seen["used"], seen["edited_share"]) == (24, 24, 1.0)
    assert seen["fields"]["document"] == seen["fields"]["user"] == seen["fields"]["cost"] == 24
    assert sorted(seen["sources"].values()) == [6, 6, 6, 6]
    assert log(["export", "a.jsonl", "--format", "trl-dpo", "--out", "dpo.jsonl"]) == 0
    assert len(rows("dpo.jsonl")) == 24
    assert log(["diagnose", "a.jsonl", "--out", "page.html"]) == 0


def test_more_rounds_go_on_where_the_log_ends(folder, capsys):
    assert run("whole.jsonl", 9) == 0
    assert run("parts.jsonl", 4) == 0
    first = Path("parts.jsonl").read_bytes()
    assert run("parts.jsonl", 9, "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["new"] == 5
    assert Path("parts.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()
    assert Path("whole.jsonl").read_bytes().startswith(first)
    assert run("parts.jsonl", 3) == 2 and "may grow, not shrink" in capsys.readouterr().err


def test_the_file_of_another_command_is_refused_and_stays(folder, capsys):
    assert run("a.jsonl", 2) == 0
    before = Path("a.jsonl").read_bytes()
    assert run("a.jsonl", 2, "--seed", "1") == 2
    assert "another command (they differ in task.seed)" in capsys.readouterr().err
    assert run("a.jsonl", 2, user="weak") == 2
    assert "they differ in user" in capsys.readouterr().err
    (folder / "mine.py").write_text(MINE + "\n# changed\n")
    assert run("a.jsonl", 2) == 2
    assert Path("a.jsonl").read_bytes() == before
    Path("other.jsonl").write_text("{}\n")
    assert run("other.jsonl", 2) == 2 and "exists and is not of this command" in capsys.readouterr().err
    assert Path("other.jsonl").read_text() == "{}\n"
    shutil.copytree("a.jsonl.run", "b.jsonl.run")
    Path("b.jsonl").write_bytes(before[:-9])
    (folder / "mine.py").write_text(MINE)
    assert run("b.jsonl", 2) == 2 and "b.jsonl, line 2" in capsys.readouterr().err


def test_faults_of_a_class_are_said_by_round(folder, capsys):
    assert run("a.jsonl", 6, user="strong", agent="mine.py:Odd") == 2
    assert "round 3: the agent raised KeyError: 'three'" in capsys.readouterr().err
    assert [row["round"] for row in rows("a.jsonl")] == [1, 2]
    assert run("b.jsonl", 6, user="mine.py:Odd") == 2
    assert "satisfies must return True or False, but it returned str" in capsys.readouterr().err


@pytest.mark.parametrize("strength", STRENGTHS)
def test_built_in_users_give_the_rows_of_the_language_track(strength):
    contexts = NanoWorld().contexts("email", 8, 1, "train")
    responses = [context.plain for context in contexts]
    editor = Editor(strength, horizon=8)
    user = OperatorUser(editor)
    assert isinstance(user, User)
    for t, row in enumerate(logs.make_rows(contexts, responses, editor, 5, "m")):
        preference = next(s for s in tasks.BUILTIN["email"].sources if s.name == row.source).preference
        turn = Turn(t, 5, "email", row.source, preference, row.prompt)
        assert user.satisfies(row.response, turn) == all(row.items.values())
        assert user.revise(row.response, turn) == row.edit


def test_rounds_depend_on_nothing_but_the_round():
    rounds = Rounds(builtin_task("summarization"), 3)
    turns = [rounds.at(t) for t in range(48)]
    assert [Rounds(builtin_task("summarization"), 3).at(t) for t in (40, 2)] == [turns[40], turns[2]]
    for start in range(0, 48, 4):
        assert {turn.source for turn, _ in turns[start : start + 4]} == {"news", "wiki", "papers", "films"}
    assert len({document for _, document in turns}) == 48  # none twice before all were asked about
    assert [turn.prompt for turn, _ in turns] != [
        Rounds(builtin_task("summarization"), 4).at(t)[0].prompt for t in range(48)
    ]


def test_the_built_in_tasks_are_files_of_the_same_form():
    for name, task in tasks.BUILTIN.items():
        assert tasks.TASKS[name] == tuple(
            tasks.Source(source.name, name, source.preference.items) for source in task.sources
        )
        assert all(source.preference.words for source in task.sources)
    assert tasks.INSTRUCTIONS == {"email": "Write an email about this:", "summarization": "Summarize this:"}


TASK = """
name = "notes"
prompt = "Note: {document}"
[user]
accept = "Is {response} like {preference}?"
[[sources]]
name = "a"
items = ["brief", "bullets"]
documents = "texts"
[[sources]]
name = "b"
words = "in rhyme"
documents = "lines.jsonl"
[[sources]]
name = "c"
items = ["casual"]
texts = ["One {response} only."]
"""


@pytest.fixture
def notes(folder):
    (folder / "texts").mkdir()
    (folder / "texts" / "one.txt").write_text("First text.\n")
    (folder / "texts" / "two.md").write_text("Second.")
    (folder / "lines.jsonl").write_text('{"id": "x", "text": "Third\u2028one."}\n\n{"text": "Fourth."}\n')
    (folder / "notes.toml").write_text(TASK)
    return folder


def test_a_task_of_ones_own(notes, capsys):
    task = read_task(Path("notes.toml"))
    assert [[(d.id, d.text) for d in s.documents] for s in task.sources] == [
        [("one.txt", "First text."), ("two.md", "Second.")],
        [("x", "Third\u2028one."), ("3", "Fourth.")],
        [("0", "One {response} only.")],
    ]
    assert [s.preference.said for s in task.sources] == ["brief, bullets", "in rhyme", "casual"]
    assert fill("{a} {b} {c}", a="{b}", b="2") == "{b} 2 {c}"
    assert run("a.jsonl", 9, task="notes.toml") == 0
    assert {row["prompt"] for row in rows("a.jsonl") if row["source"] == "c"} == {
        "Note: One {response} only."
    }
    assert run("b.jsonl", 9, task="notes.toml", user="strong") == 2
    assert "the source 'b' has none" in capsys.readouterr().err
    data = {
        "name": "j",
        "prompt": "{document}",
        "sources": [{"name": "s", "items": ["brief"], "texts": ["T."]}],
    }
    Path("j.json").write_text(json.dumps(data))
    assert run("c.jsonl", 2, task="j.json", user="strong") == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "notes"', "", "name is missing"),
        ('name = "notes"', 'name = "notes"\ncolour = 1', "unknown key 'colour'"),
        ("Note: {document}", "Note: {text}", r"prompt must hold \{document\}"),
        ("like {preference}", "good", "accept must hold"),
        ('"brief", "bullets"', '"bullets", "question answering"', "conflict"),
        ('"brief", "bullets"', '"shorter"', "no style item 'shorter'"),
        ('words = "in rhyme"', "", "a source needs items"),
        ('documents = "texts"', 'documents = "nowhere"', "cannot be read"),
        ('name = "b"', 'name = "a"', "two sources have the name 'a'"),
        ('texts = ["One {response} only."]', "texts = [1]", "must be a list of texts"),
        ("[[sources]]", "[[source]]", "unknown key 'source'"),
        ('name = "notes"', "name = ", "not TOML"),
        ('documents = "lines.jsonl"', 'documents = "half.jsonl"', "text must be text"),
    ],
)
def test_faults_of_a_task_file_are_named(notes, old, new, said):
    Path("half.jsonl").write_text('{"text": "\\ud800"}')
    Path("notes.toml").write_text(TASK.replace(old, new))
    with pytest.raises(InputError, match=said):
        read_task(Path("notes.toml"))


def test_a_source_without_documents_is_refused(notes, capsys):
    Path("notes.toml").write_text(TASK.replace('documents = "texts"', ""))
    assert run("a.jsonl", 1, task="notes.toml") == 2
    assert "source 'a' has no documents" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rounds", "0"], "--rounds must be in"),
        (["--world", "moon"], "--world must be one of"),
        (["--user", "http://127.0.0.1:9/v1"], "--user-model must name"),
        (["--user", "gentle"], "--user must be an address"),
        (["--agent", "nowhere"], "no folder with a checkpoint"),
        (["--task", "letters"], "neither a file nor one of email, summarization"),
        (["--user-extra", "[1]"], "must be a JSON object"),
        (["--user-price", "1", "-1"], "--user-price"),
        (["--rate", "nan"], "--rate must be in"),
        (["--colour", "red"], "unrecognized arguments"),
        (["--out", "."], "is a folder"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(folder, capsys, words, said):
    base = [
        "--agent",
        "mine.py:Mine",
        "--user",
        "strong",
        "--task",
        "email",
        "--rounds",
        "2",
        "--out",
        "a.jsonl",
    ]
    assert main(["simulate", *base, *words]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
    assert sorted(path.name for path in folder.iterdir() if path.name != "__pycache__") == ["mine.py"]


def test_a_checkpoint_on_this_machine_answers(folder):
    random_checkpoint(folder / "model")
    words = ["--agent-tokens", "12"]
    assert run("a.jsonl", 3, *words, agent="model", user="strong") == 0
    assert run("b.jsonl", 3, *words, "--concurrency", "1", agent="model", user="strong") == 0
    assert Path("a.jsonl").read_bytes() == Path("b.jsonl").read_bytes()
    for row in rows("a.jsonl"):
        assert row["log_probability"] < 0 and isinstance(row["ended"], bool) and row["agent"] == "model"
