"""UCB over four arms: seeds x rounds in one compiled call, against a plain NumPy loop and others, on the same problem.

    python benchmarks/bandits.py [--seeds 10000] [--horizon 10000] [--library-python /path/to/python]

The NumPy loop is what one writes from the paper: one seed at a time, one round at a time. "NumPy over seeds" is the same loop
with all seeds side by side. "NumPy, incremental" is the fastest that was found in NumPy, and the fairest peer: policies first in
memory, only the played policy's mean and 1/sqrt(N) computed anew, the least of four by compares in pairs, no temporary arrays.
These two and this package take turns, ratios are medians over turns of processor time. `--library-python`
names an interpreter that has MABWiser installed, whose UCB is timed in a process of its own. Compile time apart; the last line is JSON.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time

import jax
import numpy as np

from edittheory.deploy import deployment, ensembles, online
from edittheory.runs import provenance

MEANS = (0.5, 0.45, 0.6, 0.3)
ALPHA = 2.0**0.5

LIBRARY = """
import time
import numpy as np
from mabwiser.mab import MAB, LearningPolicy
means, horizon = np.array({means}), {horizon}
rng = np.random.default_rng(0)
bandit = MAB(arms=list(range(len(means))), learning_policy=LearningPolicy.UCB1(alpha=2**0.5))
bandit.fit(list(range(len(means))), [-float(rng.random() < m) for m in means])
start = time.perf_counter()
for t in range(horizon):
    arm = bandit.predict()
    bandit.partial_fit([arm], [-float(rng.random() < means[arm])])
print(time.perf_counter() - start)
"""


def numpy_loop(horizon: int, rng: np.random.Generator) -> float:
    """Regret of one seed, one round at a time."""
    means = np.array(MEANS)
    total, count = np.zeros(len(means)), np.zeros(len(means))
    for t in range(1, horizon + 1):
        arm = t - 1 if t <= len(means) else int(np.argmin(total / count - ALPHA * np.sqrt(np.log(t) / count)))
        total[arm] += rng.random() < means[arm]
        count[arm] += 1
    return float(count @ (means - means.min()))


def numpy_over_seeds(seeds: int, horizon: int, rng: np.random.Generator) -> np.ndarray:
    """Regret of all seeds, side by side."""
    means, rows = np.array(MEANS), np.arange(seeds)
    total, count = np.zeros((seeds, len(means))), np.zeros((seeds, len(means)))
    for t in range(1, horizon + 1):
        if t <= len(means):
            arms = np.full(seeds, t - 1)
        else:
            arms = np.argmin(total / count - ALPHA * np.sqrt(np.log(t) / count), axis=1)
        total[rows, arms] += rng.random(seeds) < means[arms]
        count[rows, arms] += 1
    return count @ (means - means.min())


def numpy_incremental(seeds: int, horizon: int, rng: np.random.Generator) -> np.ndarray:
    """Regret of all seeds, side by side, in as few passes as NumPy allows; for four arms."""
    means, rows = np.array(MEANS), np.arange(seeds)
    total, count, mean, root, index = np.zeros((5, len(means), seeds))
    flat_total, flat_count, flat_mean, flat_root = (part.ravel() for part in (total, count, mean, root))
    uniform, chance, paid, plays, first, last = np.zeros((6, seeds))
    arms, place = np.zeros((2, seeds), int)
    upper, upper_last, later = np.zeros((3, seeds), bool)
    for t in range(1, horizon + 1):
        if t <= len(means):
            arms[:] = t - 1
        else:
            np.multiply(root, ALPHA * np.sqrt(np.log(t)), out=index)
            np.subtract(mean, index, out=index)
            np.less(index[1], index[0], out=upper)
            np.minimum(index[0], index[1], out=first)
            np.less(index[3], index[2], out=upper_last)
            np.minimum(index[2], index[3], out=last)
            np.less(last, first, out=later)
            np.copyto(upper, upper_last, where=later)
            np.add(upper, later, out=arms, dtype=int, casting="unsafe")
            arms += later
        np.multiply(arms, seeds, out=place)
        place += rows
        rng.random(out=uniform)
        means.take(arms, out=chance, mode="clip")
        flat_total.take(place, out=paid, mode="clip")
        paid += uniform < chance
        flat_total[place] = paid
        flat_count.take(place, out=plays, mode="clip")
        plays += 1
        flat_count[place] = plays
        paid /= plays
        flat_mean[place] = paid
        np.sqrt(plays, out=plays)
        np.divide(1.0, plays, out=plays)
        flat_root[place] = plays
    return (means - means.min()) @ count


def clock(run, repeats: int) -> tuple[float, object]:
    """Median seconds of `repeats` runs, and the last result."""
    times, result = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        result = jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


PEERS = (numpy_incremental, numpy_over_seeds)


def run_peer(peer, seeds: int, horizon: int) -> np.ndarray:
    """The peer with draws that are the same in every turn."""
    return peer(seeds, horizon, np.random.default_rng(0))


def in_turns(runs: dict, turns: int) -> dict:
    """Processor seconds of every run, `turns` of each."""
    used = {name: [] for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            start = time.process_time()
            jax.block_until_ready(run())
            used[name].append(time.process_time() - start)
    return used


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--horizon", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--library-python", default=None)
    options = parser.parse_args()
    rounds = options.seeds * options.horizon

    environment, late = deployment.BernoulliArms(MEANS), ensembles.LateEnsemble(len(MEANS), ALPHA)
    key = jax.random.key(0)

    def ours():
        return online.simulate(late, environment, key, options.seeds, options.horizon)

    # The slow ones first and last, so that a machine that gets busier favours nobody.
    loop_seeds = max(1, 40_000 // options.horizon)
    first_loop, _ = clock(
        lambda: [numpy_loop(options.horizon, np.random.default_rng(s)) for s in range(loop_seeds)], 3
    )
    start = time.perf_counter()
    jax.block_until_ready(ours())
    first_call = time.perf_counter() - start
    seconds, curves = clock(ours, options.repeats)
    last_loop, regrets = clock(
        lambda: [numpy_loop(options.horizon, np.random.default_rng(s)) for s in range(loop_seeds)], 3
    )
    side_horizon = min(options.horizon, 1000)
    side, peer_regret = clock(lambda: run_peer(numpy_over_seeds, options.seeds, side_horizon), 1)
    same = np.allclose(run_peer(numpy_incremental, options.seeds, side_horizon), peer_regret)
    assert same, "the two peers disagree"
    turns = {
        "edittheory": lambda: online.simulate(late, environment, key, options.seeds, side_horizon),
    } | {peer.__name__: functools.partial(run_peer, peer, options.seeds, side_horizon) for peer in PEERS}
    used = in_turns(turns, options.repeats)
    less = {
        peer.__name__: round(
            statistics.median(a / b for a, b in zip(used[peer.__name__], used["edittheory"], strict=True)), 2
        )
        for peer in PEERS
    }
    nanoseconds = {
        name: round(1e9 * statistics.median(taken) / options.seeds / side_horizon, 2)
        for name, taken in used.items()
    }

    rates = {
        "edittheory": rounds / seconds,
        "numpy_loop": loop_seeds * options.horizon / min(first_loop, last_loop),
        "numpy_over_seeds": options.seeds * side_horizon / side,
    }
    if options.library_python:
        script = LIBRARY.format(means=MEANS, horizon=min(options.horizon, 3000))
        done = subprocess.run([options.library_python, "-c", script], capture_output=True, text=True)
        if done.returncode == 0:
            rates["mabwiser"] = min(options.horizon, 3000) / float(done.stdout.split()[-1])
        else:
            print(f"MABWiser did not run: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
    hardware = provenance.hardware()
    print(
        f"{options.seeds:,} seeds x {options.horizon:,} rounds of UCB over {len(MEANS)} arms, float64, {hardware['processor']}, "
        f"{hardware['cpu_count']} cores, device {hardware['device']}"
    )
    print(f"  processor time: {nanoseconds} ns a round; times less than {less}")
    for name, rate in rates.items():
        print(
            f"  {name:<18} {rate:>14,.0f} rounds/s   edittheory is {rates['edittheory'] / rate:8.1f} times as fast"
        )
    print(
        f"  mean regret {float(np.mean(curves.regret)):.1f} (NumPy loop, {loop_seeds} seeds: {np.mean(regrets):.1f}); "
        f"compiling took about {first_call - seconds:.1f} s"
    )
    print(
        json.dumps(
            {
                "benchmark": "bandits",
                "device": hardware["device"],
                "cores": hardware["cpu_count"],
                "seeds": options.seeds,
                "horizon": options.horizon,
                "load": round(os.getloadavg()[0], 1),
                "processor_ns_per_round": nanoseconds,
                "times_less_processor_time": less,
                "seconds": round(seconds, 3),
                "compile_seconds": round(max(first_call - seconds, 0), 2),
                "rounds_per_second": {name: round(rate) for name, rate in rates.items()},
                "ratio": {
                    name: round(rates["edittheory"] / rate, 2)
                    for name, rate in rates.items()
                    if name != "edittheory"
                },
            }
        )
    )


if __name__ == "__main__":
    main()
