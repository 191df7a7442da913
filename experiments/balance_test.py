"""Is balance true of these users? Level, power and time of the sequential test of B7, against a fixed-sample test."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.certify import balance_test
from edittheory.core import statistics
from edittheory.core.trials import map_chunks
from edittheory.core.validation import check_each, check_in, check_int, check_positive
from edittheory.problem import coverage
from edittheory.problem.random_problems import Spaces
from edittheory.runs.identity import execution_field

from . import spaces
from .balance_users import KINDS, Drawn, draw
from .columns import blank
from .experiment import Experiment, Report
from .frames import frame, seeds

SEQUENTIAL: tuple[balance_test.Combination, ...] = ("union", "average", "joint", "rich")
FIXED = "goodness of fit"


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell for each kind of user: `trials` random problems, one log of the largest of `sizes` edits each.

    delta: level of each test; level: chance, over the whole report, of calling a test's level broken though it is not.
    """

    kinds: tuple[str, ...] = tuple(KINDS)
    sizes: tuple[int, ...] = (100, 300, 1000)
    trials: int = 150
    delta: float = 0.1
    level: float = 0.01
    beta: float = 0.15
    num_contexts: int = 3
    num_candidates: int = 32
    num_letters: int = 2
    max_length: int = 3
    num_switches: int = 3
    num_texts: int = 24
    resamples: int = 99
    text_source: str = "builtin"
    seed: int = 0
    width: int = execution_field(50)

    def __post_init__(self):
        check_each("kinds", self.kinds, check_in, tuple(KINDS))
        check_each("sizes", self.sizes, check_int, 1, 10**6)
        check_int("trials", self.trials, 1, 10**6)
        statistics.check_level(self.delta, "delta")
        statistics.check_level(self.level)
        check_positive("beta", self.beta)
        check_int("num_contexts", self.num_contexts, 1, 64)
        check_int("num_candidates", self.num_candidates, 2, 4096)
        check_int("resamples", self.resamples, 9, 10**5)
        check_int("width", self.width, 1, 10**6)


@functools.cache
def response_spaces(config: Config) -> dict[bool, Spaces]:
    """Strings, and variants of texts (True)."""
    return {
        False: spaces.strings(config.num_letters, config.max_length),
        True: spaces.text_variants(config.text_source, config.num_switches, config.num_texts),
    }


@eqx.filter_jit
def _test(keys, drawn: Drawn, sizes: tuple[int, ...], delta: float, resamples: int):
    """Times of the sequential tests, p-values of the fixed one at each size, and the violation of balance."""

    def one(key, drawn):
        problem, cost_class = drawn
        data_key, test_key = jax.random.split(key)
        data = problem.sample(data_key, max(sizes))
        found = {"violation": coverage.balance_violation(problem)}
        evidence = balance_test.every_evidence(
            cost_class, problem.log_reference, data, problem.beta, problem.cost_max
        )
        for combination in SEQUENTIAL:
            found[combination] = balance_test.sequential(evidence[combination], delta).time
        for n in sizes:
            prefix = jax.tree.map(lambda a, n=n: a[:n], data)
            test = balance_test.fixed_sample(test_key, cost_class, prefix, problem.beta, resamples)
            found[f"{FIXED} {n}"] = test.p_value
        return found

    return jax.vmap(one)(keys, drawn)


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: kind, balanced, seed, test, n, rejected, time (examples until rejection, null if none), violation."""
    name = cell["kind"]
    space = response_spaces(config)[KINDS[name].text]

    def batch(keys):
        pairs = jax.vmap(jax.random.split)(keys)
        beta = jnp.asarray(config.beta)
        drawn = draw(name, pairs[:, 0], space, config.num_contexts, config.num_candidates, beta)
        return _test(pairs[:, 1], drawn, tuple(config.sizes), config.delta, config.resamples)

    found = map_chunks(batch, key, config.trials, config.width)
    frames = []
    for test in (*SEQUENTIAL, FIXED):
        for n in config.sizes:
            if test == FIXED:
                rejected = found[f"{FIXED} {n}"] <= config.delta
                time = np.where(rejected, n, max(config.sizes) + 1)
            else:
                time = found[test]
                rejected = time <= n
            frames.append(
                frame(
                    kind=name,
                    balanced=KINDS[name].balanced,
                    seed=seeds(config.trials),
                    test=test,
                    n=n,
                    rejected=rejected,
                    time=time.astype(np.int32),
                    violation=found["violation"].astype(np.float32),
                )
            )
    reached = pl.col("time") <= max(config.sizes)
    return pl.concat(frames).with_columns(pl.when(reached).then(pl.col("time")).alias("time"))


def cells(config: Config) -> list[dict]:
    """One cell for each kind of user."""
    return [{"kind": name} for name in config.kinds]


def rates(rows: pl.DataFrame, config: Config) -> list[dict]:
    """Share of rejections of each (kind, test, n) with exact joint intervals, and the median time to rejection.

    A claim of level is tested for each sequential test on each balanced kind at the largest n (they only grow).
    """
    claims = len(SEQUENTIAL) * sum(KINDS[name].balanced for name in config.kinds)
    divided = statistics.bonferroni(config.level, max(claims, 1))
    records = []
    for (kind, test, n), part in rows.group_by("kind", "test", "n", maintain_order=True):
        count, size = int(part["rejected"].sum()), len(part)
        low, high = statistics.clopper_pearson(count, size, config.level)
        record = {
            "kind": kind,
            "balanced": bool(part["balanced"][0]),
            "test": test,
            "n": int(n),
            "rate": count / size,
            "low": float(low),
            "high": float(high),
            "violation": float(np.mean(part["violation"].to_numpy())),
        }
        if test in SEQUENTIAL:
            times = part["time"].fill_null(max(config.sizes) + 1).to_numpy()
            median = float(np.median(times))
            record["median_time"] = None if median > max(config.sizes) else median
            if record["balanced"] and n == max(config.sizes):
                verdict = statistics.violation_check(count, size, config.delta, divided)
                record["level_broken"] = bool(verdict.violated)
        records.append(record)
    return records


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Level and power at the largest n, times, and whether any level was broken."""
    records = rates(rows, config)
    last = max(config.sizes)
    title = f"Share of {config.trials} random users rejected by n = {last:,} at delta = {config.delta:g}"
    numbers = "violation", *SEQUENTIAL, FIXED, *(f"median time, {t}" for t in SEQUENTIAL)
    table = blank(title, ("kind of user",), numbers)
    at = {(r["kind"], r["test"]): r for r in records if r["n"] == last}
    for kind in config.kinds:
        found = [at[kind, test] for test in (*SEQUENTIAL, FIXED)]
        times = [at[kind, test].get("median_time") for test in SEQUENTIAL]
        table.add_row(
            kind,
            f"{found[0]['violation']:.4f}",
            *(f"{r['rate']:.3f}" for r in found),
            *("-" if t is None else f"{t:,.0f}" for t in times),
        )
    broken = [f"{r['kind']} ({r['test']})" for r in records if r.get("level_broken")]
    line = (
        f"Level of the sequential tests broken for: {', '.join(broken)}."
        if broken
        else "The sequential tests kept their level under every balanced user."
    )
    return Report((table, line), not broken, {"rates": records})


EXPERIMENT = Experiment(
    name="balance_test",
    summary="level, power and time to refutation of the sequential test of the balance assumption",
    config_class=Config,
    presets={
        "quick": Config(trials=100, sizes=(100, 300), num_candidates=16, resamples=59),
        "standard": Config(trials=400, sizes=(30, 100, 300, 1000, 3000)),
        "paper": Config(trials=2000, sizes=(100, 300, 1000, 3000, 10000), num_candidates=256, resamples=499),
    },
    times={
        "quick": "34 s on one CPU core",
        "standard": "5 minutes on one CPU core (measured)",
        "paper": "for a GPU, not run",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)
