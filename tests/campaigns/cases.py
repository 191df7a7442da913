"""Commands that the campaigns start, stop and start again: nine experiments, a sweep and three log commands, at smoke size.

Where a log command writes one file it has --force: killed between its last write and its end, it would rightly refuse to write
over what is then whole.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
OUT = "out"
"""Where every command writes, below the folder it is started in."""


class Case(NamedTuple):
    """words: after `python -m`; {inputs} stands for the folder of `inputs`."""

    name: str
    words: str


CASES = (
    Case("contraction", "edittheory run contraction --config.strengths .1 .4 .8 --config.trials 20 --config.rounds 2 --config.max-length 2 "
         "--config.width 5"),
    Case("preference_scale", "edittheory run preference_scale --config.betas .3 1.0 --config.sample-sizes 50 100 --config.trials 4 "
         "--config.num-temperatures 61 --config.num-contexts 2 --config.max-length 2 --config.width 4"),
    Case("balance_test", "edittheory run balance_test --config.kinds balanced lazy noisy --config.sizes 100 "
         "--config.trials 4 --config.resamples 19"),
    Case("coverage", "edittheory run coverage --config.trials 4 --config.n 30 --config.values 2"),
    Case("warm_start", "edittheory run warm_start --config.trials 4 --config.width 4 --config.num-candidates 4"),
    Case("log_tests", "edittheory run log_tests --config.trials 3 --config.edits 100"),
    Case("late_ensemble", "edittheory run late_ensemble --config.seeds 4 --config.horizon 200 --config.checkpoints 3 "
         "--config.num-candidates 4"),
    Case("tiny_llm", "edittheory run tiny_llm --preset smoke"),
    Case("training_histories", "edittheory run training_histories --preset smoke"),
    Case("sweep", "edittheory run contraction --sweep seed=0:2 --config.strengths .1 .8 --config.trials 20 --config.rounds 2 "
         "--config.max-length 2 --config.width 5"),
    Case("log train", "edittheory log train {inputs}/log.jsonl --agent {inputs}/agent --loss mix --epochs 4 --batch 4 --rank 2"),
    Case("log diagnose", "edittheory log diagnose {inputs}/log.jsonl --by document --force"),
    Case("log fit", "edittheory log fit {inputs}/log.jsonl --by none --features 2 --resamples 5 --force"),
)  # fmt: skip
FILES = {"log diagnose": "page.html", "log fit": "user.json"}
"""What a log command writes, where it is no folder."""
TOY = Case("toy", "tests.toy_experiment toy")
"""For the short run in the tests: starts in two seconds."""


def inputs(folder: Path) -> Path:
    """A log of 240 edits and a random agent of a few thousand weights."""
    from tests.campaigns.malformed_logs import agent_folder

    folder.mkdir(parents=True, exist_ok=True)
    names, lines = ("Ann", "Bo", "Cy", "Di", "Eve", "Flo"), []
    for k in range(240):
        name = names[k % len(names)]
        polite = f"Dear {name}, see you soon."
        response = polite if k % 4 == 3 else f"Hi {name}, see you."
        row = {"prompt": f"Write to {name}.", "response": response, "edit": polite, "document": f"d{k // 8}"}
        lines.append(json.dumps(row))
    (folder / "log.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    agent_folder(folder / "agent")
    return folder


def command(case: Case, inputs_: Path) -> list[str]:
    """The command line; it writes into OUT."""
    out = f"{OUT}/{FILES[case.name]}" if case.name in FILES else OUT
    return [sys.executable, "-m", *case.words.format(inputs=inputs_).split(), "--out", out]


def environment(cache: Path, **more: str) -> dict[str, str]:
    """One thread, the CPU, and jax's compilation cache in a folder of the campaign's own, as any user may have it.

    NPROC: XLA's pool has as many threads as there are cores, or devices if these are more, and how it divides a product's sums
    depends on that; so it has four throughout, as many as the most devices tried.
    """
    return os.environ | {
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "OMP_NUM_THREADS": "1",
        "NPROC": "4",
        "POLARS_MAX_THREADS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        **more,
    }


def start(words: list[str], folder: Path, env: dict[str, str]) -> subprocess.Popen:
    """The command in a process group of its own, in `folder`, where OUT is made."""
    (folder / OUT).mkdir(parents=True, exist_ok=True)
    with open(folder / "said", "ab") as said:
        return subprocess.Popen(
            words, cwd=folder, env=env, stdout=said, stderr=said, stdin=subprocess.DEVNULL, process_group=0
        )  # fmt: skip
