"""The commands of docs/your-own-log.md, run as they stand there."""

import re
import shlex
import shutil
from pathlib import Path

from edittheory.cli.main import main

ROOT = Path(__file__).parents[3]


def test_the_commands_of_the_page_work(tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "your-own-log.md").read_text(encoding="utf-8")
    block = re.search(r"```\n(pip install.*?)```", page, re.DOTALL)
    assert block is not None
    commands = [shlex.split(line) for line in block[1].splitlines() if line.startswith("edittheory ")]
    assert len(commands) == 6
    shutil.copy(ROOT / "tests" / "fixtures" / "logs" / "edits.jsonl", tmp_path)
    monkeypatch.chdir(tmp_path)
    for command in commands:
        assert main(command[1:]) == 0, (command, capsys.readouterr().err)
    made = {path.name for path in tmp_path.iterdir()}
    assert {
        "report.html",
        "edits.jsonl.bad.jsonl",
        "costs.png",
        "dpo.jsonl",
        "dpo.heldout.jsonl",
        "sft.jsonl",
    } <= made
