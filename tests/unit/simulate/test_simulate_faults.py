"""A run over a server that drops, stalls, garbles, refuses and slips 100 times: nothing lost, nothing asked twice, nothing invented."""

import collections
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edittheory.cli.main import main
from edittheory.logs.reading import Options, load
from tests.scripted_server import IN_THE_TEXT, ON_THE_WAY, Scripted, purpose

pytest.importorskip("httpx2")
ROOT = Path(__file__).parents[3]
FAULTS = 100
STALLS = 3
ROUNDS = 60


def words(url: str, out: Path, rounds: int = ROUNDS, **options: str) -> list[str]:
    given = {
        "agent": url, "agent-model": "base", "user": url, "user-model": "judge", "task": "summarization", "rounds": str(rounds),
        "out": str(out), "backoff": "0.001", "timeout": "4", "concurrency": "8", **options,
    }  # fmt: skip
    return [
        "simulate",
        *(word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)),
    ]


class Plan:
    """Faults dealt out by turns, one of a question's text on the way and one in the text, until there were 100."""

    def __init__(self) -> None:
        self.played: collections.Counter[str] = collections.Counter()
        self.of: collections.Counter[str] = collections.Counter()

    def __call__(self, body: dict) -> str | None:
        question = body["messages"][-1]["content"]
        if self.played.total() >= FAULTS or self.of[question] >= 2:
            return None
        self.of[question] += 1
        kinds = ON_THE_WAY if self.of[question] == 1 else IN_THE_TEXT
        fault = kinds[self.played.total() // 2 % len(kinds)]
        if fault == "stall" and self.played["stall"] >= STALLS:
            fault = "500"
        self.played[fault] += 1
        return fault


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run through all faults: (server, plan, log, folder)."""
    out = tmp_path_factory.mktemp("faults") / "edits.jsonl"
    plan = Plan()
    server = Scripted(plan)
    with server.running() as url:
        assert main(words(url, out)) == 0
        yield server, plan, out, url


def manifest(out: Path) -> dict:
    return json.loads((out.parent / f"{out.name}.run" / "manifest.json").read_text())


def test_a_hundred_faults_and_every_round_is_there(run):
    _, plan, out, _ = run
    assert plan.played.total() == FAULTS and plan.played["stall"] == STALLS
    assert set(plan.played) == {*ON_THE_WAY, *IN_THE_TEXT}
    log, count = load(out, Options())
    assert (count.read, count.used) == (ROUNDS, ROUNDS)
    assert log.records["log_probability"].null_count() == 0
    assert manifest(out)["failed"] == {} and manifest(out)["rows"] == ROUNDS
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["round"] for row in rows] == list(range(ROUNDS))
    for row in rows:  # every text is one that the server gave as a good answer
        assert row["response"].startswith("Dear all,") and row["response"].endswith("thanks")
        assert row["edit"] == row["response"] if row["accepted"] else row["edit"].startswith("revised ")


def test_every_fault_is_counted_by_kind(run):
    _, plan, out, _ = run
    seen = manifest(out)
    way = seen["on_the_way"]
    assert way["dropped"] == plan.played["drop"]
    assert way["stalled"] == plan.played["stall"]
    assert way["garbled"] == sum(plan.played[name] for name in ("garbage", "cut", "blank", "error body"))
    assert (way["HTTP 429"], way["HTTP 500"]) == (plan.played["429"], plan.played["500"])
    texts = collections.Counter()
    for outcomes in seen["exchanges"].values():
        texts.update(outcomes)
    assert sum(texts.values()) - texts["good"] == sum(plan.played[name] for name in IN_THE_TEXT)
    assert seen["calls"] == sum(texts.values()) + sum(way.values())


def test_nothing_is_asked_twice_and_users_never_see_the_context(run):
    server, _, out, _ = run
    replied = server.replied()
    assert len(set(replied)) == len(replied)
    prompts = {json.loads(line)["prompt"].partition(": ")[2] for line in out.read_text().splitlines()}
    for body, _, _ in server.asked:
        if purpose(body) != "answer":
            told = json.dumps(body, ensure_ascii=False)
            assert not any(prompt in told for prompt in prompts)


def test_the_same_command_asks_nothing_and_gives_the_same_bytes_at_any_width(run, tmp_path):
    server, _, out, url = run
    asked, first = len(server.asked), out.read_bytes()
    assert main(words(url, out)) == 0
    assert out.read_bytes() == first
    for width in ("1", "13"):
        again = tmp_path / f"again{width}.jsonl"
        shutil.copytree(f"{out}.run", f"{again}.run")
        assert main(words(url, again, concurrency=width)) == 0
        assert again.read_bytes() == first
    assert len(server.asked) == asked


def test_a_server_that_never_answers_well_leaves_no_edit(tmp_path, capsys):
    """A yes within a sentence is no acceptance, and what is no answer is no edit."""
    server = Scripted(answer=lambda body: "Sure: Yes. {" if purpose(body) != "answer" else "Dear all, hello")
    out = tmp_path / "edits.jsonl"
    with server.running() as url:
        assert main(words(url, out, rounds=5)) == 2
        assert "no round came to an end" in capsys.readouterr().err
        assert not out.exists()
        failed = manifest(out)["failed"]
        assert set(failed) == set("01234")
        assert set(failed.values()) == {"accept: 3 answers without use; the last was malformed"}
        asked = len(server.asked)
        assert asked == 5 * (1 + 3)
        assert main(words(url, out, rounds=5)) == 2  # the answers are known; they are no better
        assert len(server.asked) == asked
        assert main(words(url, out, rounds=30)) == 2
        assert "10 rounds failed one after the other" in capsys.readouterr().err


def test_a_spent_budget_ends_the_run_with_a_whole_log_and_more_goes_on(tmp_path, capsys):
    out = tmp_path / "edits.jsonl"
    server = Scripted()
    with server.running() as url:
        assert main(words(url, out, rounds=20, max_calls="30")) == 2
        assert "--max-calls 30 is reached" in capsys.readouterr().err
        assert len(server.asked) == 30
        assert main(words(url, out, rounds=20, max_calls="30")) == 2 and len(server.asked) == 30
        begun = len(out.read_text().splitlines())
        assert 0 < begun < 20
        assert main(words(url, out, rounds=20)) == 0
    assert len(out.read_text().splitlines()) == 20
    replied = server.replied()
    assert len(set(replied)) == len(replied)


def test_words_of_the_question_are_no_edit(tmp_path):
    said = {
        "accept": '{"satisfied": false}',
        "revise": '{"text": "The whole new text"}',
        "answer": "Dear all",
    }
    out = tmp_path / "edits.jsonl"
    with Scripted(answer=lambda body: said[purpose(body)]).running() as url:
        assert main(words(url, out, rounds=2)) == 2
    assert set(manifest(out)["failed"].values()) == {"revise: 3 answers without use; the last was malformed"}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_goes_on_and_repeats_no_question(tmp_path, how):
    server = Scripted(delay=0.02)
    out, whole = tmp_path / "edits.jsonl", tmp_path / "whole.jsonl"
    with server.running() as url:
        command = [sys.executable, "-m", "edittheory", *words(url, out, concurrency="2")]
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "JAX_PLATFORMS": "cpu"}, stderr=subprocess.PIPE
        )
        end = time.monotonic() + 240
        while len(server.good()) < 40 and time.monotonic() < end and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(how)
        _, said = process.communicate(timeout=60)
        known = len(list(Path(f"{out}.run").glob("exchanges/*/*.json")))
        assert known >= 35
        if how == signal.SIGINT:
            assert process.returncode == 130 and b"stopped; the same command goes on" in said
            assert 0 < len(out.read_text().splitlines()) < ROUNDS
        assert main(words(url, out)) == 0
        twice = [body for body, count in collections.Counter(server.replied()).items() if count > 1]
        assert len(twice) <= 2  # those that were on their way when it was killed
        assert main(words(url, whole)) == 0
    assert out.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.rglob("*.tmp"))
