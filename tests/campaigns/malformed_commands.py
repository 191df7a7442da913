"""Malformed command lines and log files, through `edittheory` itself: exit code 2, one line on stderr, nothing on stdout, nothing written.

Recipes: of an experiment, the name, the preset, an option without its value, a field nobody has, and fields of each type with text, a
value beyond each end, and what is no number; of the commands on logs, every option beyond each end of its range, and files of
`malformed_logs`, read with --strict.
"""

import functools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.campaigns import malformed_logs
from tests.campaigns.attempts import Attempt, Said, command

RUNS: tuple[tuple[str, str], ...] = (
    ("run", "run needs the name"),
    ("run contractoin", "contractoin"),
    ("run contraction --preset fast", "preset"),
    ("run contraction --preset", "preset"),
    ("run contraction extra", "extra"),
    ("run contraction --fast", "--fast"),
    ("run contraction --config.speed 3", "speed"),
    ("run contraction --config.trials", "trials"),
    ("run contraction --config.trials many", "trials"),
    ("run contraction --config.trials 0", "trials"),
    ("run contraction --config.trials -5", "trials"),
    ("run contraction --config.trials 1.5", "trials"),
    ("run contraction --config.trials 1e400", "trials"),
    ("run contraction --config.strengths 0 2", "strengths"),
    ("run contraction --config.strengths nan", "strengths"),
    ("run contraction --config.seed -1", "seed"),
    ("run contraction --config.seed 4294967296", "seed"),
    ("run contraction --config.width 0", "width"),
    ("run contraction --config.max-length 99", "max_length"),
    ("run contraction --config.width 1000000 --config.max-length 8", "memory|needs about"),
    ("run contraction --sweep", "sweep"),
    ("run contraction --sweep seed", "seed"),
    ("run contraction --sweep seed=3:3", "seed=3:3"),
    ("run contraction --sweep seed=0:a", "seed=0:a"),
    ("run contraction --sweep seed=1,1", "seed=1,1"),
    ("run contraction --sweep seed=0:9999999999", "seed=0:9999999999"),
    ("run contraction --sweep seed=0:2 --config.seed 1", "seed"),
    ("run contraction --launcher cloud", "launcher"),
    ("run contraction --slurm-partition main", "slurm"),
    ("run all --config.trials 3", "all"),
    ("run rates --config.num-candidates 1", "num_candidates"),
    ("run preference_scale --config.betas 0.0", "betas"),
    ("run preference_scale --config.betas inf", "betas"),
    ("run late_ensemble --config.horizon 1", "horizon"),
    ("run warm_start --config.trust -1", "trust"),
    ("run balance_test --config.kinds magic", "kinds"),
    ("run balance_test --config.delta 1", "delta"),
    ("run balance_test --config.level 0", "level"),
    ("run log_tests --config.edits 0", "edits"),
    ("run coverage --config.level 0", "level"),
    ("run phase_diagram --config.level 2", "level"),
    ("run user_shift --config.level nan", "level"),
    ("run policy_classes --config.level .9", "level"),
    ("run feedback_bounds --config.level -1", "level"),
    ("run certificates --config.faults none magic", "faults"),
    ("run medley --config.habits 1.5", "habits"),
    ("run falsification --config.steps 0", "steps"),
    ("run tiny_llm --agent /nowhere", "agent"),
    ("run tiny_llm --config.tasks poems", "tasks"),
    ("run tiny_llm --config.heads 3", "heads"),
    ("run tiny_llm --config.batch 0", "batch"),
    ("run tiny_llm --config.test-users nobody", "test_users"),
    ("run training_histories --config.keep-prob 2", "keep_prob"),
    ("figure contractoin", "contractoin"),
    ("figure contraction --style poster", "style"),
    ("figure contraction --results /nowhere", "contraction"),
    ("verify --preset fast", "preset"),
    ("list everything", "everything"),
    ("walk", "walk"),
    ("language evaluate", "agent"),
    ("language evaluate --agent /nowhere", "/nowhere"),
    ("language sing", "sing"),
)
"""Command lines without --out, and what the message must name."""
LOGS: tuple[tuple[str, str], ...] = (
    ("check", ""),
    ("check --map prompt", "prompt"),
    ("check --map answer=x", "answer"),
    ("check --map prompt=nothing", "nothing"),
    ("check --format word", "word"),
    ("costs --level 0", "level"),
    ("costs --level nan", "level"),
    ("costs --by length", "by"),
    ("costs --measure metres", "metres"),
    ("costs --figure costs.txt", "figure"),
    ("test --level 1", "level"),
    ("test --by length", "by"),
    ("export --format word --out out.jsonl", "format"),
    ("export --format trl-dpo", "out"),
    ("export --format trl-dpo --out out.jsonl --split 1", "split"),
    ("export --format trl-dpo --out out.jsonl --split nan", "split"),
    ("export --format trl-dpo --out out.jsonl --split .5 --by length", "by"),
    ("export --format trl-dpo --out none/out.jsonl", "none"),
    ("diagnose --out page.txt", "out"),
    ("diagnose --out page.html --level 2", "level"),
    ("diagnose --out page.html --by length", "by"),
    ("diagnose --out page.html --samples -1", "samples"),
    ("diagnose --out none/page.html", "none"),
    ("fit --by length", "by"),
    ("fit --features 0", "features"),
    ("fit --held-out 1", "held-out"),
    ("fit --resamples 0", "resamples"),
    ("fit --level nan", "level"),
    ("fit --beta 0", "beta"),
    ("fit --seed -1", "seed"),
    ("fit --out user.txt", "out"),
    ("train --agent none --loss sft --out out", "agent"),
    ("train --agent none --loss love --out out", "loss"),
    ("train --agent none --loss sft --out out --epochs 0", "epochs"),
    ("train --agent none --loss sft --out out --learning-rate nan", "learning-rate"),
    ("train --agent none --loss sft --out out --rank -1", "rank"),
    ("train --agent none --loss sft --out out --split 0", "split"),
    ("train --agent none --loss dpo --out out --scale 0", "scale"),
    ("train --agent none --loss sft --out none", "out"),
    ("advise --level 7", "level"),
)
"""Commands on a sound log; "" stands for a file that is not there."""
LOG_FILES = 40


def _run(words: str, folder: Path) -> Said:
    split = words.split()
    out = ["--out", folder / "out"] if split[0] in ("run", "verify") and len(split) > 1 else []
    out = ["--out", folder / "out"] if split[0] == "figure" else out
    return command(*split, *out)


def _log(words: str, folder: Path) -> Said:
    name, *options = words.split()
    file = folder / "log.given.jsonl"
    shutil.copy(Path(__file__).resolve().parents[1] / "fixtures" / "logs" / "edits.jsonl", file)
    if words == "check":
        file.unlink()
    placed: list[Any] = []
    for word, before in zip(options, ["", *options], strict=False):
        placed.append(folder / word if before in ("--out", "--agent", "--figure") else word)
    mapped = [] if "--map" in options else ["--map", "source=domain"]
    return command("log", name, file, *placed, *mapped)


def _strict(number: int, folder: Path) -> Said:
    given = folder / "file.given"
    given.mkdir()
    found = command("log", "check", malformed_logs.make(number, given), "--strict")
    if len(list(given.iterdir())) != 1:
        raise RuntimeError("something was written beside the file")
    return found


def sound(number: int, folder: Path) -> bool:
    """Whether a file of `malformed_logs` happens to be read without a bad line."""
    found = command("log", "check", malformed_logs.make(number, folder), "--json")
    return found.code == 0 and json.loads(found.out)["skipped"] == 0


def commands() -> Iterator[Attempt]:
    """Command lines of experiments, figures and checkpoints."""
    for words, names in RUNS:
        yield Attempt("command", words, names, functools.partial(_run, words))


def log_commands() -> Iterator[Attempt]:
    """Options of the commands on logs."""
    for words, names in LOGS:
        yield Attempt("log command", words, names or "log.given.jsonl", functools.partial(_log, words))


def log_files(folder: Path, count: int = LOG_FILES) -> Iterator[Attempt]:
    """Files that hold a bad line at least, refused by --strict."""
    for number in range(10_000):
        if count and not sound(number, folder):
            count -= 1
            yield Attempt("log file", f"file {number}", "file", functools.partial(_strict, number))
