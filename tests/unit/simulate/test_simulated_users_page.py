"""docs/simulated-users.md: its files and its commands that need no server, run as they stand there; its options are real ones."""

import json
import re
import shlex
from pathlib import Path

from edittheory.cli.main import main
from edittheory.simulate.command import parser

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "simulated-users.md").read_text(encoding="utf-8")


def block(kind: str, holds: str) -> str:
    """The first fenced block of a kind that holds a text."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return next(found for name, found in fenced if name == kind and holds in found)


def test_the_commands_without_a_server_work(tmp_path, monkeypatch, capsys):
    (tmp_path / "me.py").write_text(block("python", "class Short"))
    (tmp_path / "notes.toml").write_text(block("toml", "[[sources]]"))
    assert len(block("python", "class Short").split("\n\n")[0].splitlines()) < 10
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(line) for line in block("", "me.py:Echo").splitlines()]
    assert len(commands) == 6
    for command in commands:
        assert main(command[1:]) == 0, (command, capsys.readouterr().err)
    assert [len((tmp_path / name).read_text().splitlines()) for name in ("short.jsonl", "weak.jsonl")] == [
        40,
        60,
    ]
    row = json.loads((tmp_path / "weak.jsonl").read_text().splitlines()[0])
    told = PAGE.split("**LOG**")[1].split(". ")[0]
    assert list(row) == re.findall(r"`([a-z_]+)`", told)


def test_the_options_of_the_page_are_those_of_the_command(capsys):
    known = {word for action in parser()._actions for word in action.option_strings}
    text = re.sub(r"--config[.\w-]*|--by|--format|--no-deps", "", PAGE)
    assert set(re.findall(r"--[a-z][a-z-]+", text)) <= known
    commands = block("", "http://127.0.0.1:8080/v1").replace("\\\n", " ").splitlines()[1:]
    for line in commands:
        assert parser().parse_args(shlex.split(line)[2:]).rounds > 1
    assert main(["--help"]) == 0 and "edittheory simulate" in capsys.readouterr().out
