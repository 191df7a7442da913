"""What the learners cost against size: processor time and peak memory, each case in a process of its own.

    python benchmarks/cost.py --out benchmarks/out           # about six minutes: cost.json and cost.png
    python benchmarks/cost.py --cases finite:64:100:16 trained:100

finite:K:n:Y is SUP and PREF over K policies on 64 data sets of n pairs, X = 8 (`class_losses_sets`); trained:R is R runs of
log-linear DPO, d = 8, X = 4, Y = 16, n = 64, 50 Adam steps. A case that would need more than --memory GB (estimated) is refused and
listed. Compile time apart; peak memory is that of the whole process, Python, JAX and the draw included. The last line is JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from edittheory.learn.class_losses_sets import counts_cells

X, SETS = 8, 64
GRID = [("finite", k, n, y) for y in (16, 64) for n in (100, 1000, 10_000) for k in (64, 512, 4096)]
LARGE = [("finite", k, 1000, 256) for k in (64, 512, 4096, 32_768)]
CASES = GRID + LARGE + [("trained", runs) for runs in (100, 1000, 10_000, 100_000)]


def estimate(kind: str, *size: int) -> float:
    """Bytes of the largest arrays alive together."""
    if kind == "trained":
        return size[0] * (3 * 8 * 64 + 8 * 64 + 4 * 8 * 4) * 3
    k, n, y = size
    cells = X * y * y
    table = cells * (2 * k + SETS) if counts_cells(cells, SETS, n) else 6 * X * y * k
    return 8 * (3 * k * X * y + table + SETS * (4 * n + 4 * k) + 4 * cells)


def peak() -> float:
    """Peak resident MB of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3)


def worker(kind: str, *size: int) -> dict:
    """Processor seconds (best of three) and peak memory of one case."""
    import jax
    import jax.numpy as jnp

    from edittheory.learn import class_losses_sets
    from edittheory.learn.objectives import Preference
    from edittheory.learn.policies import LogLinear
    from edittheory.learn.training import Settings, train
    from edittheory.problem import EditDataset

    keys = jax.random.split(jax.random.key(0), 6)

    def draw(sets, n, x, y):
        parts = (
            jax.random.randint(key, (sets, n), 0, top) for key, top in zip(keys, (x, y, y), strict=False)
        )
        return EditDataset(*parts, jnp.zeros((sets, n)))

    if kind == "finite":
        k, n, y = size
        log_class = jax.nn.log_softmax(jax.random.normal(keys[3], (k, X, y)))
        log_reference = jax.nn.log_softmax(jax.random.normal(keys[4], (X, y)))
        data = draw(SETS, n, X, y)

        @jax.jit
        def choose(*args):
            both = class_losses_sets.supervised(args[0], args[2]), class_losses_sets.preference(*args)
            return [jnp.argmin(loss, axis=1) for loss in both]

        def run():
            return jax.block_until_ready(choose(log_class, log_reference, data))
    else:
        (runs,) = size
        model = LogLinear(jax.random.normal(keys[3], (4, 16, 8)), jnp.full((4, 16), -jnp.log(16.0)))
        data, seeds = draw(runs, 64, 4, 16), jax.random.split(keys[4], runs)
        settings = Settings(steps=50, chunk=50, width=min(runs, 100))

        def run():
            return train(model, Preference(), data, seeds, learning_rate=0.01, settings=settings)

    before, times, start = peak(), [], time.perf_counter()
    run()
    first = time.perf_counter() - start
    for _ in range(3):
        used = time.process_time()
        run()
        times.append(time.process_time() - used)
    return {
        "first_call_seconds": round(first, 2),
        "processor_seconds": round(min(times), 5),
        "peak_mb": peak(),
        "before_mb": before,
    }


def row_of(case: tuple, gigabytes: float) -> dict:
    """The case's row: measured, or refused."""
    kind, *size = case
    names = ("K", "n", "Y") if kind == "finite" else ("runs",)
    row = {
        "kind": kind,
        **dict(zip(names, size, strict=True)),
        "estimate_gb": round(estimate(*case) / 1e9, 3),
    }
    if row["estimate_gb"] > gigabytes:
        return row | {"refused": f"estimated {row['estimate_gb']} GB, more than {gigabytes:g}"}
    command = [sys.executable, __file__, "--worker", ":".join(map(str, case))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return row | json.loads(done.stdout.splitlines()[-1])


def fit(rows: list[dict]) -> dict[str, float]:
    """Models of processor time, by least squares of the relative error, and the largest factor by which a row is off.

    Reading rows: a K n S + b K X Y nanoseconds; counting cells: c K X Y Y S; training: d for a run and a step (the largest case).
    """
    import numpy as np

    found: dict[str, float] = {}
    measured = [row for row in rows if "refused" not in row]
    for counted, names in ((False, ("ns_K_n_S", "ns_K_X_Y")), (True, ("ns_K_X_Y_Y_S",))):
        work, times = [], []
        for row in measured:
            if row["kind"] == "finite" and counts_cells(X * row["Y"] ** 2, SETS, row["n"]) == counted:
                k, n, y = row["K"], row["n"], row["Y"]
                work.append([k * X * y * y * SETS] if counted else [k * n * SETS, k * X * y])
                times.append(1e9 * row["processor_seconds"])
        if len(work) > len(names):
            relative = np.array(work) / np.array(times)[:, None]
            values = np.linalg.lstsq(relative, np.ones(len(times)), rcond=None)[0]
            found |= {name: round(float(value), 4) for name, value in zip(names, values, strict=True)}
            off = np.exp(np.abs(np.log(relative @ values)))
            found["off_by_" + "_and_".join(names)] = round(float(off.max()), 2)
    trained = [row for row in measured if row["kind"] == "trained"]
    if trained:
        found["us_a_run_and_step"] = round(
            1e6 * trained[-1]["processor_seconds"] / trained[-1]["runs"] / 50, 3
        )
    return found


def plot(rows: list[dict], path: Path) -> None:
    """Processor seconds against K for each n and Y, and against runs."""
    from paper_figures import style

    marks = {100: "o", 1000: "s", 10_000: "^"}
    colours = {100: style.BLUE, 1000: style.ORANGE, 10_000: style.BLACK}
    measured = [row for row in rows if "refused" not in row]
    with style.in_style():
        figure, axes = style.new_figure(2, 2, height=4.6)
        for ax, y in zip(axes.flat, (16, 64, 256), strict=False):
            for n in (100, 1000, 10_000):
                line = [r for r in measured if r["kind"] == "finite" and (r["n"], r["Y"]) == (n, y)]
                if not line:
                    continue
                look = style.Look(f"n={n:,}", colours[n], marks[n])
                style.line(ax, [r["K"] for r in line], [r["processor_seconds"] for r in line], look)
            ax.set(xscale="log", yscale="log", xlabel="K, policies", title=f"SUP and PREF, Y = {y}")
            ax.set_ylim(2e-4, 5)
            style.label_ends(ax, ax.get_lines())
        runs = [r for r in measured if r["kind"] == "trained"]
        look = style.Look("log-linear", style.BLUE, "o")
        style.line(axes.flat[3], [r["runs"] for r in runs], [r["processor_seconds"] for r in runs], look)
        axes.flat[3].set(
            xscale="log", yscale="log", xlabel="runs", title="trained runs of DPO", ylim=(2e-4, 5)
        )
        style.label_ends(axes.flat[3], axes.flat[3].get_lines())
        for ax in axes[:, 0]:
            ax.set_ylabel("processor seconds")
        figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memory", type=float, default=4.0, help="GB beyond which a case is refused")
    parser.add_argument("--cases", nargs="+", default=None)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--worker", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()

    def read(text: str) -> tuple:
        kind, *size = text.split(":")
        return kind, *map(int, size)

    if options.worker:
        print(json.dumps(worker(*read(options.worker))))
        return
    rows = []
    for case in map(read, options.cases) if options.cases else CASES:
        rows.append(row_of(case, options.memory))
        print(json.dumps(rows[-1]), flush=True)
    load = round(os.getloadavg()[0], 1)
    result = {"benchmark": "cost", "data_sets": SETS, "X": X, "load": load, "model": fit(rows), "rows": rows}
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "cost.json").write_text(json.dumps(result, indent=1) + "\n")
        if not options.cases:
            plot(rows, options.out / "cost.png")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
