"""Peak memory of a process that holds its part of a finite class: `python -m benchmarks.divided_class [--out FOLDER]`, a minute.

SUP and PREF over one class of MEMBERS policies (4 contexts, 16 responses, float64; 300 edits), divided over 1, 2 and 4 processes
by `jax.distributed`. All must choose the same member. Prints JSON last.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.slurm.nodes import free_ports

MEMBERS = 131_072
ROOT = Path(__file__).resolve().parents[1]


def run(processes: int) -> dict:
    """What the processes said: their choice, and the largest of their peaks above what each needed before the class was made."""
    port = free_ports(1)[0]
    env = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "tests.divided_worker", str(processes)]
    started = [
        subprocess.Popen([*words, str(rank), str(port), str(MEMBERS)], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
        for rank in range(processes)
    ]  # fmt: skip
    said = [json.loads(process.communicate(timeout=300)[0].splitlines()[-1]) for process in started]
    assert all(other["SUP"] == said[0]["SUP"] and other["PREF"] == said[0]["PREF"] for other in said)
    return {
        "processes": processes,
        "SUP": said[0]["SUP"],
        "PREF": said[0]["PREF"],
        "before_mb": max(one["before_mb"] for one in said),
        "grown_mb": max(one["peak_mb"] - one["before_mb"] for one in said),
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found = {
        "members": MEMBERS,
        "class_mb": MEMBERS * 4 * 16 * 8 / 2**20,
        "runs": [run(count) for count in (1, 2, 4)],
    }
    assert len({row["PREF"][0] for row in found["runs"]}) == 1
    if given.out is not None:
        (given.out / "divided_class.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
