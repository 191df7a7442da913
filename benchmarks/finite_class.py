"""SUP and PREF over a finite class, on many data sets at once, against a NumPy loop over the data sets.

    python benchmarks/finite_class.py                       # the headline and the scaling, about three minutes
    python benchmarks/finite_class.py --headline            # the headline alone, about half a minute
    python benchmarks/finite_class.py --out benchmarks/out  # also rows and a plot

A trial is the two argmins over K policies on one fresh data set of n edits. "NumPy, products" is a NumPy loop over data sets with the
algorithm of this package, the fairest peer; the NumPy loop is what one writes from the definition, vectorised over class and data.
All take turns in one process, medians of the rounds; every choice is compared. Compile time apart; data drawn beforehand.
The last line is JSON.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import jax

if not any(Path("/dev").glob("nvidia[0-9]*")):
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))

import jax.numpy as jnp
import numpy as np
from ceilings import WIDE, class_floor
from finite_class_numpy import numpy_loop, numpy_products_loop, same_choices
from finite_class_output import BASE, METHODS, SCANS, plot, show
from jax.sharding import NamedSharding, PartitionSpec

from edittheory.learn import class_losses, class_losses_sets, learners, losses
from edittheory.problem import EditDataset, balanced_problem
from edittheory.runs import provenance

# -- the problem ---------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A class of K policies around a common centre, the reference, and S data sets of n edits."""

    log_class: jax.Array
    log_reference: jax.Array
    data: EditDataset


def draw(size: dict[str, int]) -> Case:
    """A balanced user whose optimum is the first member; distances are those between numbers on a line."""
    keys = jax.random.split(jax.random.key(0), 3)
    centre = jax.random.normal(keys[0], (size["X"], size["Y"]))
    members = jax.random.normal(keys[1], (size["K"], size["X"], size["Y"]))
    log_class = jax.nn.log_softmax(0.7 * centre + members)
    line = jnp.linspace(0.0, 1.0, size["Y"])
    distance = jnp.abs(line[:, None] - line)
    problem = balanced_problem(jnp.full(size["X"], 1 / size["X"]), log_class[0], distance, 0.2, 0.3, 4.0)

    @jax.jit
    def sample(problem, keys):
        return jax.lax.map(lambda key: problem.sample(key, size["n"]), keys)

    data = sample(problem, jax.random.split(keys[2], size["S"]))
    return Case(log_class, problem.log_reference, data)


# -- this package --------------------------------------------------------------------------------------------


def choose(log_class, log_reference, data):
    """The trials: indices chosen by SUP and PREF on every data set."""
    losses = (
        class_losses_sets.supervised(log_class, data),
        class_losses_sets.preference(log_class, log_reference, data),
    )
    return tuple(jnp.argmin(loss, axis=1) for loss in losses)


def choose_one(log_class, log_reference, data):
    """One trial, as the experiments run it, each on a class of its own."""
    return learners.supervised(log_class, data), learners.preference(log_class, log_reference, data)


def choose_by_definition(log_class, log_reference, data):
    """The same through the losses as they are defined, one logarithm and one exponential for each example."""
    sup = class_losses.class_loss(lambda edit, *_: losses.supervised(edit), log_class, log_reference, data)
    pref = class_losses.class_loss(
        lambda edit, answer, *reference: losses.preference(edit, answer, *reference),
        log_class,
        log_reference,
        data,
    )
    return jnp.argmin(sup), jnp.argmin(pref)


def mapped(trial, size):
    """The trial over all data sets: a loop over chunks of vmapped trials, whose intermediates fit in a CPU's cache."""
    cpu = jax.default_backend() == "cpu"
    width = max(1, (2**22 if cpu else 2**28) // (size["n"] * size["K"]))
    return lambda log_class, log_reference, data: jax.lax.map(
        functools.partial(trial, log_class, log_reference), data, batch_size=width
    )


def compiled(function, *args):
    """The function compiled for these arguments, as a call without arguments, and the seconds that took."""
    start = time.perf_counter()
    executable = jax.jit(function, compiler_options=WIDE).lower(*args).compile()
    return lambda: jax.tree.map(np.asarray, executable(*args)), time.perf_counter() - start


def over_devices(function, case):
    """The trials with the data sets divided among the devices, and its arguments placed there."""
    mesh = jax.make_mesh((jax.device_count(),), ("trials",), axis_types=(jax.sharding.AxisType.Auto,))
    here, everywhere = PartitionSpec("trials"), PartitionSpec()
    function = jax.shard_map(
        function,
        mesh=mesh,
        in_specs=(everywhere, everywhere, here),
        out_specs=here,
        check_vma=False,
    )
    shared = jax.device_put(case[:2], NamedSharding(mesh, everywhere))
    return function, (*shared, jax.device_put(case.data, NamedSharding(mesh, here)))


# -- timing --------------------------------------------------------------------------------------------------


def compare(size, methods, seconds=0.3, rounds=5, checked=1):
    """A row for each method: microseconds a trial (wall and processor), compile seconds, ratio to the NumPy loop.

    Every round runs every method for about `seconds`, the NumPy loops on as many data sets as fit; the ratio is the
    median of the ratios within rounds. Choices are compared on every data set that the NumPy loop takes, at least `checked`.
    """
    case = draw(size)
    arrays = (
        *(np.asarray(part) for part in case[:2]),
        *(np.asarray(p) for p in jax.tree.leaves(case.data)[:3]),
    )
    numpy_methods = {"numpy": numpy_loop, "numpy_products": numpy_products_loop}
    calls, compile_seconds, counts = {}, {}, {}
    for method in methods:
        if method in numpy_methods:
            loop = numpy_methods[method]
            start = time.perf_counter()
            loop(arrays, 1)
            fitting = int(seconds / (time.perf_counter() - start))
            counts[method] = min(size["S"], max(2, fitting))
            calls[method] = functools.partial(loop, arrays, counts[method])
        else:
            trial = {"definition": choose_by_definition, "one_by_one": choose_one}.get(method)
            function, args = mapped(trial, size) if trial else choose, tuple(case)
            if method == "sharded":
                function, args = over_devices(choose, case)
            elif method == "definition":
                counts[method] = min(size["S"], 32)
                args = (*case[:2], jax.tree.map(lambda leaf, m=counts[method]: leaf[:m], case.data))
            counts.setdefault(method, size["S"])
            calls[method], compile_seconds[method] = compiled(function, *args)
    outcomes = {method: call() for method, call in calls.items()}
    expected = outcomes["numpy"] if checked <= counts["numpy"] else numpy_loop(arrays, checked)
    ties, compared = 0, {}
    for method, outcome in outcomes.items():
        both = compared[method] = min(len(outcome[0]), len(expected[0]))
        ties += same_choices(arrays, [o[:both] for o in outcome], [o[:both] for o in expected])
    wall, busy = ({method: [] for method in methods} for _ in range(2))
    for _ in range(rounds):
        for method, call in calls.items():
            repeats, start, start_busy = 0, time.perf_counter(), time.process_time()
            while repeats == 0 or (time.perf_counter() - start < seconds / 2):
                call()
                repeats += 1
            trials = repeats * counts[method]
            wall[method].append(1e6 * (time.perf_counter() - start) / trials)
            busy[method].append(1e6 * (time.process_time() - start_busy) / trials)

    def ratio(times, method, peer="numpy"):
        return round(statistics.median(a / b for a, b in zip(times[peer], times[method], strict=True)), 2)

    return [
        {
            "method": method,
            **size,
            "us_per_trial": round(statistics.median(wall[method]), 2),
            "cpu_us_per_trial": round(statistics.median(busy[method]), 2),
            "times_less_cpu_than_products": ratio(busy, method, "numpy_products"),
            "times_faster": ratio(wall, method),
            "times_less_cpu": ratio(busy, method),
            "compile_seconds": round(compile_seconds.get(method, 0.0), 2),
            "compared": compared[method],
            "ties": ties,
        }
        for method in methods
    ]


def memory(sets: int) -> dict[str, float]:
    """Peak resident MB of a fresh process that runs the mapped trials and nothing else, before and after the run."""
    command = [sys.executable, __file__, "--memory-worker", str(sets)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def memory_worker(sets: int) -> None:
    def peak() -> float:
        # Not getrusage, which a child process inherits.
        lines = Path("/proc/self/status").read_text().splitlines()
        return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3)

    size = BASE | {"S": sets}
    case = draw(size)
    jax.block_until_ready(case)
    before = peak()
    jax.block_until_ready(jax.jit(choose)(*case))
    print(json.dumps({"sets": sets, "before_mb": before, "peak_mb": peak()}))


# -- output --------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--headline", action="store_true", help="without the scaling in S, K, n and Y")
    parser.add_argument("--out", type=Path, default=None, help="folder for finite_class.json and .png")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory-worker", type=int, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_worker:
        memory_worker(options.memory_worker)
        return
    where = provenance.hardware()
    name = where["processor"] if where["platform"] == "cpu" else where["device"]
    device = f"{name}, {where['device_count']} {'cores' if where['platform'] == 'cpu' else 'device(s)'}"
    sizes = ", ".join(f"{letter}={value}" for letter, value in BASE.items())
    print(f"SUP and PREF over a finite class, {sizes}, float64, on {device}; load {os.getloadavg()[0]:.1f}")
    headline = compare(BASE, list(METHODS), rounds=options.rounds, checked=256)
    show(headline)
    by_method = {row["method"]: row for row in headline}
    data = draw(BASE).data
    floor = class_floor(BASE, data.responses != data.edits)
    taken = by_method["package"]["cpu_us_per_trial"]
    products = by_method["numpy_products"]["cpu_us_per_trial"]
    cached = floor["product"] + max(floor["cache"], floor["factors"])
    passes = sum(floor[part] for part in ("product", "factors", "counting", "packing"))
    print(f"  floor: {floor}")
    for kind, least in (("rows from a second cache", cached), ("all passes but these", passes)):
        print(
            f"  {kind}: {least:.1f} us; taken {taken / least:.1f}, NumPy, products {products / least:.1f} times"
        )
    peak = memory(4 * BASE["S"])
    print(
        f"  peak memory with {peak['sets']} data sets: {peak['peak_mb']} MB, {peak['before_mb']} MB before the run"
    )
    rows = [{"scan": "headline", **row} for row in headline]
    if not options.headline:
        for scan, values in SCANS.items():
            for value in values:
                size = BASE | {"S": 64} | {scan: value}
                new = compare(
                    size, ["package", "definition", "numpy", "numpy_products"], seconds=0.2, rounds=3
                )
                print(f"{scan} = {value}")
                show(new)
                rows += [{"scan": scan, **row} for row in new]
    result = {
        "benchmark": "finite_class",
        "device": device,
        "platform": where["platform"],
        "load": round(os.getloadavg()[0], 1),
        **BASE,
        "trials_per_second": {m: round(1e6 / row["us_per_trial"]) for m, row in by_method.items()},
        "times_less_processor_time_than_numpy_products": {
            m: row["times_less_cpu_than_products"] for m, row in by_method.items()
        },
        "times_faster_than_numpy_loop": {m: row["times_faster"] for m, row in by_method.items()},
        "times_less_processor_time": {m: row["times_less_cpu"] for m, row in by_method.items()},
        "compile_seconds": by_method["package"]["compile_seconds"],
        "compared": by_method["package"]["compared"],
        "ties": by_method["package"]["ties"],
        "floor_us": floor,
        "cached_floor_us": round(cached, 2),
        "passes_floor_us": round(passes, 2),
        "products_over_floors": [round(products / least, 2) for least in (cached, passes)],
        "peak_memory_mb": peak,
    }
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**result, "software": provenance.software(), "rows": rows}, indent=1)
        (options.out / "finite_class.json").write_text(text + "\n")
        if not options.headline:
            plot(rows, device, options.out / "finite_class.png")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
