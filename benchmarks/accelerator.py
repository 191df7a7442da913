"""The whole table of speeds on one accelerator, in one command: every part in a process of its own, with a time limit.

    python benchmarks/accelerator.py --out benchmarks/out --torch-python ENV/bin/python      # on a GPU, about ten minutes
    python benchmarks/accelerator.py --size toy --torch-python none                          # on a CPU, under two minutes

Peers (torch, transformers, TRL in ENV; rapidfuzz here) are measured beside where they can be imported. A part that fails or runs out
of time gives a row with its error, and the others go on. Rows go to OUT/accelerator.json after every part; the last line is JSON.
GOALS are what a GPU should reach; at toy size, or without a GPU, the numbers say only that the scripts work.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent

GOALS = {
    "finite_class_ms": 10.0,
    "seeds_seconds": 0.10,
    "dpo_pairs_per_second": 950.0,
    "sft_sequences_per_second": 1500.0,
    "greedy_tokens_per_second": 200_000.0,
    "levenshtein_times_rapidfuzz": 200.0,
}

Rows = Iterator[dict[str, Any]]


def _row(quantity: str, value: float, goal: str | None = None, **more: Any) -> dict[str, Any]:
    return {"quantity": quantity, "value": value, "goal": GOALS.get(goal or quantity)} | more


# -- what each part's last line becomes ----------------------------------------------------------------------


def finite_rows(found: dict) -> Rows:
    """SUP and PREF over a finite class."""
    yield _row("finite_class_ms", found["milliseconds"], size=found["size"])


def seed_rows(found: dict) -> Rows:
    """Log-linear DPO over seeds, and PyTorch where it ran."""
    yield _row("seeds_seconds", found["seconds"], seeds=found["seeds"], steps=found["steps"])
    for peer in ("vmap_compiled", "vmap", "loop"):
        if found.get(peer):
            yield _row(f"seeds_seconds_torch_{peer}", found[peer])


def bandit_rows(found: dict) -> Rows:
    """Rounds of UCB a second."""
    for name, rate in found["rounds_per_second"].items():
        yield _row(f"ucb_rounds_per_second_{name}", rate)


def distance_rows(found: dict) -> Rows:
    """Pairs a second and the ratio to rapidfuzz on all cores, by length."""
    for row in found["rows"]:
        goal = "levenshtein_times_rapidfuzz" if row["length"] == 32 else None
        ratio = row["times_faster_than_rapidfuzz_all_cores"]
        yield _row(f"levenshtein_times_rapidfuzz_{row['length']}", ratio, goal, **row)


def language_rows(found: dict) -> Rows:
    """Training and generation at SmolLM2's shape, and TRL and transformers where they ran."""
    shape, goals = found["shape"], {"dpo": "dpo_pairs_per_second", "sft": "sft_sequences_per_second"}
    for case in shape["training"]:
        goal = goals[case["objective"]]
        yield _row(goal, case["rows_per_second"], **{name: case[name] for name in ("rows", "remat", "mfu")})
    yield _row("greedy_tokens_per_second", shape["greedy"]["tokens_per_second"], rows=shape["greedy"]["rows"])
    for name, answer in shape.get("theirs", {}).items():
        for rate in ("rows_per_second", "tokens_per_second"):
            if isinstance(answer, dict) and rate in answer:
                yield _row(f"{rate}_peer_{name}", answer[rate])


# -- the parts -----------------------------------------------------------------------------------------------


class Part(NamedTuple):
    """A script with its arguments at full and toy size, how to read it, and its limit in seconds."""

    script: str
    full: str
    toy: str
    rows: Callable[[dict], Rows]
    limit: float
    torch: bool = False


PARTS = {
    "finite_class": Part("accelerator.py", "--child full", "--child toy", finite_rows, 60),
    "edit_distance": Part("edit_distance.py", "", "--pairs 2000 --lengths 32 --rounds 1", distance_rows, 120),
    "seeds": Part("trained_policies.py", "", "--seeds 64 --steps 20", seed_rows, 120, True),
    "bandits": Part("bandits.py", "", "--seeds 64 --horizon 200 --repeats 1", bandit_rows, 60),
    "language": Part("language.py", "--part shape", "--part shape --toy", language_rows, 420, True),
}


def finite_class(size: str) -> dict:
    """Milliseconds of SUP and PREF over K policies on S data sets of n pairs, in one compiled call."""
    import jax
    import jax.numpy as jnp

    from edittheory.learn import class_losses_sets
    from edittheory.problem import EditDataset

    k, x, y, n, s = (1024, 8, 64, 100_000, 64) if size == "full" else (32, 2, 8, 200, 8)
    keys = jax.random.split(jax.random.key(0), 5)
    log_class = jax.nn.log_softmax(jax.random.normal(keys[0], (k, x, y)))
    log_reference = jax.nn.log_softmax(jax.random.normal(keys[1], (x, y)))
    draws = (jax.random.randint(key, (s, n), 0, high) for key, high in zip(keys[2:], (x, y, y), strict=True))
    data = EditDataset(*draws, jnp.zeros((s, n)))

    @jax.jit
    def choose(log_class, log_reference, data):
        supervised = class_losses_sets.supervised(log_class, data)
        preference = class_losses_sets.preference(log_class, log_reference, data)
        return jnp.argmin(supervised, axis=1), jnp.argmin(preference, axis=1)

    times = []
    for _ in range(6):
        start = time.perf_counter()
        jax.block_until_ready(choose(log_class, log_reference, data))
        times.append(time.perf_counter() - start)
    sizes = {"K": k, "X": x, "Y": y, "n": n, "S": s}
    return {
        "milliseconds": round(1e3 * min(times[1:]), 3),
        "first_seconds": round(times[0], 2),
        "size": sizes,
    }


def measure(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of one part; one row with its error where it failed."""
    part, start = PARTS[name], time.perf_counter()
    arguments = (part.toy if options.size == "toy" else part.full).split()
    if part.torch:
        arguments += ["--torch-python", options.torch_python]
    limit, problem = min(part.limit, options.limit), None
    command = [sys.executable, str(HERE / part.script), *arguments]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, **pipes) as process:
        try:
            output, errors = process.communicate(timeout=limit)
            if process.returncode:
                problem = (errors.strip().splitlines() or ["no output"])[-1]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with what the part has started itself
            problem = f"stopped after {limit:g} s"
    rows = [{"quantity": None, "error": problem}]
    if problem is None:
        rows = list(part.rows(json.loads(output.strip().splitlines()[-1])))
    spent = round(time.perf_counter() - start, 1)
    return [{"part": name, "size": options.size, "part_seconds": spent} | row for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("full", "toy"), default="full")
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    parser.add_argument("--limit", type=float, default=600.0, help="largest number of seconds for a part")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter with the peers, or none")
    parser.add_argument("--out", type=Path, default=None, help="folder for accelerator.json")
    parser.add_argument("--child", choices=("full", "toy"), default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(finite_class(options.child)))
        return
    gpu = any(Path("/dev").glob("nvidia[0-9]*"))
    result: dict = {"benchmark": "accelerator", "size": options.size, "gpu": gpu, "load": os.getloadavg()[0]}
    rows: list[dict[str, Any]] = []
    for name in options.parts:
        rows += measure(name, options)
        for row in (row for row in rows if row["part"] == name):
            goal = f" (goal {row['goal']:g})" if row.get("goal") and gpu and options.size == "full" else ""
            print(f"{name}: {row.get('error') or row['quantity']} {row.get('value', '')}{goal}", flush=True)
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            text = json.dumps(result | {"rows": rows}, indent=1)
            (options.out / "accelerator.json").write_text(text + "\n")
    print(json.dumps(result | {"rows": rows}))


if __name__ == "__main__":
    main()
