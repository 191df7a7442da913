"""The commands of docs/your-own-log.md, run as they stand there."""

import json
import re
import shlex
import shutil
from pathlib import Path

import polars as pl

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


def test_the_commands_on_advice_work(tmp_path, monkeypatch, capsys):
    """On the small file 20 times over, for advice needs more than it holds, with made-up log-probabilities."""
    page = (ROOT / "docs" / "your-own-log.md").read_text(encoding="utf-8")
    block = re.search(r"```\n(edittheory log advise.*?)```", page, re.DOTALL)
    assert block is not None
    commands = [shlex.split(line) for line in block[1].splitlines()]
    assert len(commands) == 2
    lines = [
        line
        for line in (ROOT / "tests" / "fixtures" / "logs" / "edits.jsonl").read_text("utf-8").splitlines()
        if "logprob" in line
    ]
    records = [json.loads(line) | {"logprob": None} for line in lines] * 20
    (tmp_path / "edits.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    made = [
        {
            "line": line,
            "policy": policy,
            "response": -1.0 * len(row["answer"]),
            "edit": -rate * len(row["edited"]),
        }
        for line, row in enumerate(records, 1)
        for policy, rate in (("reference", 1.0), ("sft", 0.9), ("dpo", 0.8))
    ]
    pl.DataFrame(made).write_parquet(tmp_path / "logprobs.parquet")
    monkeypatch.chdir(tmp_path)
    for command in commands:
        assert main(command[1:]) == 0, (command, capsys.readouterr().err)
