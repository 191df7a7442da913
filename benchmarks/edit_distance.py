"""Levenshtein distance of many pairs: on the device (`edittheory.distance.levenshtein`) against rapidfuzz on the host.

    python benchmarks/edit_distance.py                                # 1e6 pairs of 32, 64 and 128 tokens
    python benchmarks/edit_distance.py --pairs 10000 --lengths 32

Pairs of equal length over 26 letters, the second with 30% of the letters drawn again. rapidfuzz's `process.cpdist` gets the same pairs
as strings made beforehand, its fast path, once on one thread and once on all cores. Tokens lie on the device beforehand; "with
transfers" moves them there within the timing. Both sides take turns, medians; all distances are compared. Compile time apart; GCUPS
are 1e9 cells of the classical table a second; the last line is JSON.
"""

import argparse
import json
import os
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from edittheory.distance import levenshtein
from edittheory.runs import provenance


def draw(pairs: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens (pairs, length) of both sides."""
    rng = np.random.default_rng(length)
    first = rng.integers(97, 123, (pairs, length), dtype=np.int32)
    again = rng.random((pairs, length), dtype=np.float32) < 0.3
    return first, np.where(again, rng.integers(97, 123, (pairs, length), dtype=np.int32), first)


def strings(tokens: np.ndarray) -> list[str]:
    """A string for each row."""
    text, length = tokens.astype(np.uint8).tobytes().decode("ascii"), tokens.shape[1]
    return [text[start : start + length] for start in range(0, len(text), length)]


def measure(pairs: int, length: int, rounds: int) -> dict:
    """Wall and processor seconds of every way, and whether all distances are equal."""
    first, second = draw(pairs, length)
    texts = strings(first), strings(second)
    full = np.full(pairs, length, np.int32)
    lengths = jnp.asarray(full)
    there = [jnp.asarray(first), lengths, jnp.asarray(second), lengths]
    start = time.perf_counter()
    compiled = jax.jit(levenshtein).lower(*there).compile()
    compile_seconds = time.perf_counter() - start

    def host(workers):
        return process.cpdist(*texts, scorer=Levenshtein.distance, dtype=np.int32, workers=workers)

    def with_transfers():
        return np.asarray(compiled(*(jax.device_put(part) for part in (first, full, second, full))))

    ways = {
        "device": lambda: compiled(*there),
        "device_with_transfers": with_transfers,
        "rapidfuzz": lambda: host(1),
        "rapidfuzz_all_cores": lambda: host(-1),
    }
    wall, used, found = {way: [] for way in ways}, {way: [] for way in ways}, {}
    for turn in range(rounds + 1):  # the first warms up
        for way, run in ways.items():
            start, start_used = time.perf_counter(), time.process_time()
            found[way] = jax.block_until_ready(run())
            if turn:
                wall[way].append(time.perf_counter() - start)
                used[way].append(time.process_time() - start_used)
    row: dict = {"pairs": pairs, "length": length, "compile_seconds": round(compile_seconds, 2)}
    row["equal"] = all(bool(np.array_equal(found["rapidfuzz"], other)) for other in found.values())
    for way in ways:
        seconds = statistics.median(wall[way])
        row[f"{way}_pairs_per_second"] = round(pairs / seconds)
        row[f"{way}_gcups"] = round(pairs * length**2 / seconds / 1e9, 2)
        row[f"{way}_processor_us_a_pair"] = round(1e6 * statistics.median(used[way]) / pairs, 4)
    for peer in ("rapidfuzz", "rapidfuzz_all_cores"):
        ratios = [theirs / ours for theirs, ours in zip(wall[peer], wall["device"], strict=True)]
        row[f"times_faster_than_{peer}"] = round(statistics.median(ratios), 3)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--lengths", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    where = provenance.hardware()
    print(f"Levenshtein distance of {options.pairs:,} pairs, on {where['device']}, {where['processor']}")
    rows = []
    for length in options.lengths:
        row = measure(options.pairs, length, options.rounds)
        rows.append(row)
        rates = {
            way: row[f"{way}_pairs_per_second"] for way in ("device", "rapidfuzz", "rapidfuzz_all_cores")
        }
        told = ", ".join(f"{way} {rate / 1e6:.3f}" for way, rate in rates.items())
        print(f"  {length} tokens: {told} million pairs/s; equal: {row['equal']}", flush=True)
    load = round(os.getloadavg()[0], 1)
    about = {
        "benchmark": "edit_distance",
        "device": where["device"],
        "platform": where["platform"],
        "load": load,
    }
    print(json.dumps(about | {"cores": where["cpu_count"], "rows": rows}))


if __name__ == "__main__":
    main()
