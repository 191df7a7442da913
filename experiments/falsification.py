"""Can any statement of docs/theory.md be refuted? A hunt for counterexamples by optimisation, with false statements as a control."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from edittheory.claims.exact import attackable
from edittheory.claims.exact.attack_space import Space
from edittheory.claims.hunt import attackable_random, falsify, falsify_bandits, falsify_random, instance_files
from edittheory.claims.hunt.control import Control, parts
from edittheory.core.statistics import check_level
from edittheory.core.validation import check_each, check_int, check_probability
from edittheory.runs.files import make_folder
from edittheory.runs.identity import execution_field, later_field
from edittheory.runs.ledger import Ledger

from .experiment import Experiment
from .falsification_report import report, worst


@dataclasses.dataclass(frozen=True)
class Config:
    """How hard to look.

    starts, steps: gradient climbs for each deterministic statement and their length, problems of num_contexts and
    num_responses; population, data_sets, batches, generations: the evolutionary search for statistical statements, on
    problems of one context, at each of sample_sizes (B6: of certificate_sizes); bandit_*: the same for claims about bandits
    with `horizon` rounds, `shared_horizon` where feedback is shared. `level` is the chance, declared before the run, that
    any true statistical statement of the whole table is called refuted. stop_refuted: statements that are false on purpose
    are climbed no further once refuted. control_multiple, control_floor: true statistical statements are hunted for that
    multiple of the generations that the slowest false one of their kind needed, at least for the floor, a share of all
    (`hunt.control`); 0: all to the end. apart: statements that share little are hunted in programs of their own, and not
    tried on what others visit.
    """

    starts: int = 8
    steps: int = 200
    num_contexts: int = 2
    num_responses: int = 3
    population: int = 64
    data_sets: int = 64
    batches: int = 8
    generations: int = 30
    sample_sizes: tuple[int, ...] = (100,)
    certificate_sizes: tuple[int, ...] = (40,)
    horizon: int = 3000
    shared_horizon: int = later_field(3000)
    bandit_population: int = 24
    bandit_runs: int = 48
    bandit_generations: int = 6
    level: float = 0.01
    seed: int = 0
    stop_refuted: bool = later_field(False)
    control_multiple: int = later_field(0)
    control_floor: float = later_field(0.3)
    apart: bool = later_field(False)
    chunk: int = execution_field(100)

    def __post_init__(self):
        for name in ("starts", "steps", "num_contexts", "batches", "chunk"):
            check_int(name, getattr(self, name), 1, 10**7)
        check_int("num_responses", self.num_responses, 2, 16)
        check_int("population", self.population, 5, 10**6)
        check_int("bandit_population", self.bandit_population, 5, 10**6)
        check_int("data_sets", self.data_sets, 2, 10**6)
        check_int("bandit_runs", self.bandit_runs, 2, 10**6)
        check_int("generations", self.generations, 0, 10**6)
        check_int("control_multiple", self.control_multiple, 0, 10**6)
        check_probability("control_floor", self.control_floor)
        check_int("bandit_generations", self.bandit_generations, 0, 10**6)
        check_int("horizon", self.horizon, 10, 10**7)
        check_int("shared_horizon", self.shared_horizon, 10, 10**7)
        check_each("sample_sizes", self.sample_sizes, check_int, 1, 10**6)
        check_each("certificate_sizes", self.certificate_sizes, check_int, 1, 10**6)
        check_level(self.level)


def cells(config: Config) -> list[dict]:
    """One cell for each kind of search, domain and sample size; all statements of a cell share one compiled program."""
    listed: list[dict] = [{"kind": "deterministic", "balanced": balanced} for balanced in (True, False)]
    listed += [
        {"kind": "statistical", "balanced": balanced, "n": n, "group": group}
        for balanced in (True, False)
        for group in attackable_random.groups(balanced)
        for n in _sizes(config, group)
    ]
    return [*listed, {"kind": "bandit", "n": config.horizon}]


def _sizes(config: Config, group: str) -> tuple[int, ...]:
    return config.certificate_sizes if group == "certificates" else config.sample_sizes


def confirmations(config: Config) -> int:
    """How many statistical verdicts a run gives: what the level is divided by."""
    statistical = sum(
        len(attacks) * len(_sizes(config, group))
        for balanced in (True, False)
        for group, attacks in attackable_random.groups(balanced).items()
    )
    return statistical + len(falsify_bandits.ATTACKS)


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows of one cell, one for each statement: the worst instance found, what it gives, and the instance itself as JSON."""
    return _SEARCHES[cell["kind"]](config, cell, key)


def _deterministic(config: Config, cell: dict, key) -> pl.DataFrame:
    attacks = [attack for attack in attackable.ATTACKS if attack.balanced == cell["balanced"]]
    space = Space(cell["balanced"], config.num_contexts, config.num_responses)
    found = falsify.falsify(
        attacks, space, key, starts=config.starts, steps=config.steps, chunk=config.chunk, apart=config.apart
    )
    points = falsify.points_of(space, np.stack([one.theta for one in found]))
    rows = []
    for attack, one, point in zip(attacks, found, points, strict=True):
        near = [other for other in attacks if not config.apart or other.source == attack.source]
        visited = one.starts * len(near) * one.steps
        how = {"search": "gradient ascent", "starts": one.starts, "steps": one.steps, "seed": config.seed}
        content = instance_files.record(
            attack.name, "deterministic", point, one.check.ratio, one.check.refuted, how
        )
        rows.append(_row(attack, "deterministic", None, visited, one.check, content))
    return pl.DataFrame(rows, schema=SCHEMA)


def _control(config: Config) -> Control | None:
    return Control(config.control_multiple, config.control_floor) if config.control_multiple else None


def _evolved(one: falsify_random.RandomFound | falsify_bandits.BanditFound, config: Config) -> dict[str, Any]:
    """How an instance was found; with a control its generations, which are others for each statement."""
    how = {"search": "differential evolution", "candidates": one.tried, "seed": config.seed}
    return how | ({"generations": one.generations} if _control(config) else {})


def _statistical(config: Config, cell: dict, key) -> pl.DataFrame:
    group = attackable_random.groups(cell["balanced"])[cell["group"]]
    space = Space(cell["balanced"], 1, config.num_responses)
    found = {}
    for attacks in parts(group) if config.apart else [group]:
        for one in falsify_random.falsify_random(
            attacks,
            space,
            cell["n"],
            key,
            population=config.population,
            data_sets=config.data_sets,
            batches=config.batches,
            generations=config.generations,
            level=config.level * len(attacks) / confirmations(config),
            seed=config.seed,
            stop_refuted=config.stop_refuted,
            control=_control(config),
        ):
            found[one.name] = one
    points = falsify.points_of(space, np.stack([found[attack.name].theta for attack in group]))
    rows = []
    for attack, point in zip(group, points, strict=True):
        one = found[attack.name]
        how = _evolved(one, config)
        content = instance_files.record(
            attack.name, "statistical", point, one.check.ratio, one.check.refuted, how, cell["n"]
        )
        statement = attack.statement
        rows.append(
            _row(statement, "statistical", cell["n"], one.tried, one.check, content, mutant=attack.mutant)
        )
    return pl.DataFrame(rows, schema=SCHEMA)


def _bandit(config: Config, cell: dict, key) -> pl.DataFrame:
    attacks = falsify_bandits.ATTACKS
    found = falsify_bandits.falsify_bandits(
        attacks,
        cell["n"],
        key,
        shared_horizon=config.shared_horizon,
        population=config.bandit_population,
        runs=config.bandit_runs,
        generations=config.bandit_generations,
        level=config.level * len(attacks) / confirmations(config),
        seed=config.seed,
        stop_refuted=config.stop_refuted,
        control=_control(config),
    )
    rows = []
    for attack, one in zip(attacks, found, strict=True):
        how = _evolved(one, config)
        content = instance_files.record(
            attack.name, "bandit", {"means": one.means}, one.check.ratio, one.check.refuted, how, one.rounds
        )
        rows.append(_row(attack, "bandit", one.rounds, one.tried, one.check, content))
    return pl.DataFrame(rows, schema=SCHEMA)


_SEARCHES: dict[str, Callable[[Config, dict, Any], pl.DataFrame]] = {
    "deterministic": _deterministic,
    "statistical": _statistical,
    "bandit": _bandit,
}
SCHEMA: dict[str, Any] = {
    "statement": pl.String,
    "source": pl.String,
    "claim": pl.String,
    "kind": pl.String,
    "mutant": pl.Boolean,
    "n": pl.Int32,
    "attempts": pl.Int64,
    "left": pl.Float64,
    "right": pl.Float64,
    "ratio": pl.Float64,
    "violations": pl.Int32,
    "trials": pl.Int32,
    "allowed": pl.Float64,
    "refuted": pl.Boolean,
    "instance": pl.String,
}


def _row(attack, kind: str, n: int | None, attempts: int, check, content: dict, mutant: bool | None = None):
    return {
        "statement": attack.name,
        "source": attack.source,
        "claim": attack.claim,
        "kind": kind,
        "mutant": attack.mutant if mutant is None else mutant,
        "n": n,
        "attempts": attempts,
        "left": check.left,
        "right": check.right,
        "ratio": check.ratio,
        "violations": getattr(check, "violations", None),
        "trials": getattr(check, "trials", None),
        "allowed": getattr(check, "allowed", None),
        "refuted": check.refuted,
        "instance": json.dumps(content, allow_nan=False),
    }


class _Falsification(Experiment[Config]):
    """An experiment that also writes every worst instance as a file of its own."""

    def run_into(
        self, config: Config, ledger: Ledger, launch: Callable[[Ledger], None] | None = None
    ) -> None:
        """As of `Experiment`; then `<out>/falsification/instances/<statement>.json`."""
        super().run_into(config, ledger, launch)
        write_instances(ledger.rows(), ledger.folder / "instances")


def write_instances(rows: pl.DataFrame, folder: Path) -> list[Path]:
    """One file for each statement's worst instance; returns their paths."""
    make_folder(folder)
    paths = []
    for name, text in worst(rows).select("statement", "instance").iter_rows():
        paths.append(folder / f"{name}.json")
        instance_files.save(paths[-1], json.loads(text))
    return paths


EXPERIMENT = _Falsification(
    name="falsification",
    summary="can any statement of docs/theory.md be refuted by optimisation, and does the search catch false ones?",
    config_class=Config,
    presets={
        "quick": Config(steps=400, shared_horizon=1000, stop_refuted=True, control_multiple=3, apart=True),
        "standard": Config(
            starts=64, steps=600, generations=60, sample_sizes=(30, 100, 300), certificate_sizes=(20, 100)
        ),
        "paper": Config(
            starts=10000,
            steps=1000,
            population=512,
            data_sets=256,
            batches=32,
            generations=200,
            sample_sizes=(10, 30, 100, 300, 1000),
            certificate_sizes=(10, 30, 100, 300),
            bandit_population=128,
            bandit_runs=256,
            bandit_generations=40,
        ),
    },
    times={
        "quick": "85 s of processor time as verify compiles it (measured)",
        "standard": "about 20 minutes on 2 CPU cores, not measured",
        "paper": "for a GPU, not measured",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)
