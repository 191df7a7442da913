"""Is balance true of these users? Level, power and time of the sequential test of B7, against a fixed-sample test."""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from rich.table import Table

from edittheory.certify import balance_test
from edittheory.core import statistics
from edittheory.core.logspace import log_normalise
from edittheory.core.trials import map_chunks
from edittheory.core.validation import check_each, check_in, check_int, check_positive
from edittheory.problem import EditProblem, coverage, random_problems, users
from edittheory.problem.kernels import balanced_kernel
from edittheory.problem.random_problems import Spaces
from edittheory.runs.identity import execution_field

from . import spaces
from .experiment import Experiment, Report

SEQUENTIAL: tuple[balance_test.Combination, ...] = ("union", "average", "joint", "rich")
FIXED = "goodness of fit"


class Drawn(NamedTuple):
    """A problem and a cost class (K, X, Y) that holds its expected cost: of the kind's K users, one by chance is real."""

    problem: EditProblem
    cost_class: jax.Array


class Kind(NamedTuple):
    """A kind of user. `make(user, optimum, other, distance)` turns a balanced user into one of the kind."""

    balanced: bool
    make: Callable[..., jax.Array] | None
    strength: float = 0.3
    locality: float = 3.0
    text: bool = False


def _partial(base, optimum, other, distance):
    return users.partial_editor(jnp.argmax(optimum, axis=-1), distance, 0.5, 8.0)


def _partial_slips(base, optimum, other, distance):
    return users.noisy(_partial(base, optimum, other, distance), distance, 0.1, 3.0)


def _habit(share):
    def make(base, optimum, other, distance):
        favoured = jax.nn.one_hot(jnp.argmax(other, axis=-1), other.shape[-1])
        return users.habit(base, favoured, share)

    return make


def _mixture(base, optimum, other, distance):
    rival = balanced_kernel(log_normalise(1.2 * other), distance, 0.3, 3.0)
    return users.mixture(jnp.stack([base, rival]), jnp.array([0.5, 0.5]))


GIVEN_REFERENCE = "balanced, given reference"
KINDS = {
    "balanced, strong": Kind(True, None, strength=0.9),
    "balanced": Kind(True, None, strength=0.3),
    "balanced, weak": Kind(True, None, strength=0.03),
    "balanced, local": Kind(True, None, strength=0.0, locality=8.0),
    GIVEN_REFERENCE: Kind(True, None),
    "habit .1": Kind(False, _habit(0.1)),
    "habit .3": Kind(False, _habit(0.3)),
    "lazy": Kind(False, lambda base, *_: users.lazy(base, 0.5)),
    "noisy": Kind(False, lambda base, optimum, other, distance: users.noisy(base, distance, 0.3, 3.0)),
    "contrarian": Kind(
        False, lambda base, optimum, other, distance: users.contrarian(base, optimum, distance, 0.3, 3.0)
    ),
    "partial editor": Kind(False, _partial_slips),
    "mixture": Kind(False, _mixture),
    "random local": Kind(False, None),
    "style editor": Kind(False, None, text=True),
    "style editor, partial": Kind(False, None, text=True),
}
UNBALANCED = tuple(name for name, kind in KINDS.items() if not kind.balanced)


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
        statistics.check_level(self.delta)
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


class Base(NamedTuple):
    """K balanced users, their optima, and what goes with them; `other` (X, Y) is a random table without a role yet."""

    context_probs: jax.Array
    distance: jax.Array
    log_reference: jax.Array
    users: jax.Array
    optima: jax.Array
    other: jax.Array
    truth: jax.Array
    key: jax.Array


@eqx.filter_jit
def draw_base(keys, space: Spaces, num_contexts: int, num_candidates: int, beta, strength, locality) -> Base:
    """Balanced users built backwards, one for each key, with the reference that makes the true one's optimum optimal."""

    def one(key):
        dice_key, key = jax.random.split(key)
        dice = random_problems.Dice(dice_key, space, num_contexts, num_candidates)
        truth = dice.below(num_candidates)
        optima = log_normalise(1.2 * random_problems.scattered(dice))
        base = jax.vmap(lambda optimum: balanced_kernel(optimum, dice.distance, strength, locality))(optima)
        cost = jnp.sum(base[truth] * dice.distance, axis=-1)
        log_reference = log_normalise(optima[truth] + cost / beta)
        return Base(dice.context_probs, dice.distance, log_reference, base, optima, dice.other, truth, key)

    return jax.vmap(one)(keys)


@eqx.filter_jit
def draw_given_reference(keys, space: Spaces, num_contexts: int, num_candidates: int) -> Drawn:
    """`families.balanced_sinkhorn`."""
    instances = jax.vmap(lambda key: random_problems.balanced_sinkhorn(key, space, num_contexts, num_candidates))(
        keys
    )
    return Drawn(instances.problem, instances.cost_class)


@eqx.filter_jit
def modify(name: str, base: Base, switches, beta) -> Drawn:
    """The users of a kind, and the cost class of their expected costs."""
    kind = KINDS[name]

    def one(base: Base) -> Drawn:
        num_k, num_x = base.users.shape[:2]
        distance, log_reference, all_users = base.distance, base.log_reference, base.users
        if name == "random local":
            each = jax.random.split(base.key, num_k)
            all_users = jax.vmap(lambda key: users.random_local(key, num_x, distance, 3.0, 1.5))(each)
            log_reference = log_normalise(base.other)
        elif kind.text:
            wanted = jax.random.bernoulli(base.key, 0.6, (num_k, num_x, switches.shape[-1]))
            keep = 1.0 if name == "style editor" else 0.4
            all_users = jax.vmap(
                lambda want: users.noisy(users.style_editor(switches, want, keep), distance, 0.1, 4.0)
            )(wanted)
            log_reference = log_normalise(0.5 * base.other)
        elif kind.make is not None:
            make = kind.make
            all_users = jax.vmap(lambda user, optimum: make(user, optimum, base.other, distance))(
                all_users, base.optima
            )
        problem = EditProblem(base.context_probs, log_reference, all_users[base.truth], distance, beta)
        return Drawn(problem, jnp.sum(all_users * distance, axis=-1))

    return jax.vmap(one)(base)


def draw(name: str, keys, space: Spaces, num_contexts: int, num_candidates: int, beta) -> Drawn:
    """A random problem of a kind for each key; the cost class holds the expected costs of `num_candidates` users of it."""
    if name == GIVEN_REFERENCE:
        return draw_given_reference(keys, space, num_contexts, num_candidates)
    kind = KINDS[name]
    knobs = jnp.asarray(kind.strength), jnp.asarray(kind.locality)
    base = draw_base(keys, space, num_contexts, num_candidates, beta, *knobs)
    return modify(name, base, space.switches, beta)


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
                pl.DataFrame(
                    {
                        "kind": [name] * config.trials,
                        "balanced": [KINDS[name].balanced] * config.trials,
                        "seed": np.arange(config.trials, dtype=np.int32),
                        "test": [test] * config.trials,
                        "n": np.full(config.trials, n, dtype=np.int32),
                        "rejected": rejected,
                        "time": time.astype(np.int32),
                        "violation": found["violation"].astype(np.float32),
                    }
                ).with_columns(
                    pl.when(pl.col("time") <= max(config.sizes)).then(pl.col("time")).alias("time")
                )
            )
    return pl.concat(frames)


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
    table = Table(
        title=f"Share of {config.trials} random users rejected by n = {last:,} at delta = {config.delta:g}",
        title_justify="left",
    )
    columns = ("kind of user", "violation", *SEQUENTIAL, FIXED, *(f"median time, {t}" for t in SEQUENTIAL))
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
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
