"""What an experiment is: a configuration, its cells, the rows of one cell, and a report on all rows."""

import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import polars as pl
from rich.console import RenderableType

from edittheory.core.validation import check_in, check_int
from edittheory.runs.identity import MAX_SEED, run_identity, run_key
from edittheory.runs.ledger import Ledger
from edittheory.runs.progress import progress

from . import memory

Config = TypeVar("Config")
Key = Any  # a scalar jax random key


@dataclasses.dataclass(frozen=True)
class Report:
    """What the rows say: text or rich renderables, whether every claim held, and the numbers as JSON-like data."""

    renderables: tuple[RenderableType, ...]
    ok: bool
    summary: Mapping[str, Any]


def _nothing(config: Any) -> Mapping[str, Any]:
    return {}


def _same(config: Config) -> Config:
    return config


def _silent(config: Any, pending: int, folder: Path) -> str | None:
    return None


@dataclasses.dataclass(frozen=True)
class Experiment(Generic[Config]):
    """One question, answered by rows.

    name, summary: the word on the command line, and a line on what it asks.
    config_class:  a frozen dataclass of flat fields whose `__post_init__` raises ValueError naming field, value and
                   range. An integer field `seed` is the seed of all keys (0 without one).
    presets:       configurations by name; `times` gives each a rough time with its hardware.
    cells:         config -> parameters of each cell as JSON-like dicts, no two equal, in the order of the rows.
    run_cell:      (config, cell, key) -> rows. It must depend on nothing else, and put no clock times into rows.
                   For trouble that the user can mend it raises edittheory.core.errors.RunError. With `shares` it takes a
                   fourth argument, a folder for what cells have in common (`edittheory.runs.artefacts`): whatever is
                   found there or not, the rows are the same.
    report:        (all rows, config) -> Report.
    provenance:    config -> description of input data (names, versions, hashes); other input is another run.
    resolve:       config -> config with nothing left to chance or to the machine (no "auto"), before it is hashed.
    announce:      (config, pending cells, folder) -> a line for the user before the first cell, on time and disk, or
                   None; raises RunError if the folder's disk is too small.
    memory:        config -> bytes that a run cannot do without, or None where nobody knows (`experiments.memory`).
    """

    name: str
    summary: str
    config_class: type[Config]
    presets: Mapping[str, Config]
    times: Mapping[str, str]
    cells: Callable[[Config], list[dict[str, Any]]]
    run_cell: Callable[..., pl.DataFrame]
    report: Callable[[pl.DataFrame, Config], Report]
    provenance: Callable[[Config], Mapping[str, Any]] = _nothing
    resolve: Callable[[Config], Config] = _same
    shares: bool = False
    announce: Callable[[Config, int, Path], str | None] = _silent
    memory: Callable[[Config], int | None] = memory.finite

    def __post_init__(self) -> None:
        for preset, config in self.presets.items():
            if not isinstance(config, self.config_class):
                raise TypeError(
                    f"preset {preset!r} of {self.name} must be a {self.config_class.__name__}, but it is {config!r}"
                )
        if set(self.times) != set(self.presets):
            raise ValueError(
                f"times of {self.name} must name its presets {sorted(self.presets)}, but it names {sorted(self.times)}"
            )

    def preset(self, name: str) -> Config:
        """The configuration of a preset. Raises ValueError naming the presets there are."""
        return self.presets[check_in(f"preset of {self.name}", name, tuple(self.presets))]

    def key(self, config: Config, cell: Mapping[str, Any], seed: Any = None) -> Key:
        """Key of one cell of a resolved configuration; `seed` (integer or key) replaces the configuration's own."""
        if seed is None:
            seed = check_int("seed", getattr(config, "seed", 0), 0, MAX_SEED)
        return run_key(seed, run_identity(self.name, config, cell))

    def run(self, config: Config, seed: Any = None) -> pl.DataFrame:
        """All rows, computed in memory with the keys that a ledger gets.

        `seed` may be an integer, a key, or None for the configuration's own.
        """
        config = self.resolve(config)
        with tempfile.TemporaryDirectory() as folder:
            frames = [self._rows(config, cell, Path(folder), seed) for cell in self.cells(config)]
        return pl.concat(frames, how="vertical_relaxed")

    def _rows(self, config: Config, cell: dict[str, Any], folder: Path, seed: Any = None) -> pl.DataFrame:
        """Rows of one cell of an experiment whose files are in `folder`."""
        shared = (folder / "shared",) if self.shares else ()
        return self.run_cell(config, cell, self.key(config, cell, seed), *shared)

    def ledger(self, config: Config, out: str | Path, **options: Any) -> Ledger:
        """The ledger of a resolved configuration under `out`; options as of `Ledger`."""
        check_int("seed", getattr(config, "seed", 0), 0, MAX_SEED)
        return Ledger(
            out, self.name, config, self.cells(config), provenance=self.provenance(config), **options
        )

    def run_into(
        self, config: Config, ledger: Ledger, launch: Callable[[Ledger], None] | None = None
    ) -> None:
        """Compute what `ledger` lacks of a resolved configuration, and complete it.

        Cells are computed here, one after the other, unless `launch` is given: it gets the open ledger, and when
        it returns every cell must be written (see `Work` and `edittheory.runs.launchers`). Raises RunError, touching nothing,
        if this machine lacks the memory that the configuration surely needs.
        """
        if launch is None and not ledger.check():
            memory.require(f"{self.name} with this configuration", self.memory(config))
        with ledger.open():
            if launch is None:
                self._run_here(config, ledger)
            else:
                launch(ledger)
            ledger.finish()

    def _run_here(self, config: Config, ledger: Ledger) -> None:
        jobs = ledger.folder / "slurm"
        if jobs.exists():
            ledger.notify(f"jobs of {jobs} may be at work on the same cells, to no harm; scancel ends them")
        pending = ledger.pending()
        if pending and (line := self.announce(config, len(pending), ledger.folder)):
            ledger.notify(line)
        with progress(self.name, len(ledger.cells), len(ledger.cells) - len(pending)) as advance:
            for cell in pending:
                ledger.write(cell, self._rows(config, cell, ledger.folder))
                advance()
        shutil.rmtree(jobs, ignore_errors=True)


@dataclasses.dataclass(frozen=True)
class Work:
    """An experiment's share in a task on another machine: picklable, for it only names what is imported there."""

    lookup: Callable[[str], Experiment]
    name: str
    config: Any
    out: Path

    def __call__(self) -> tuple[Ledger, Callable[[Mapping[str, Any]], pl.DataFrame]]:
        """The ledger under `out`, and the function from one of its cells to the cell's rows."""
        experiment = self.lookup(self.name)
        ledger = experiment.ledger(self.config, self.out, notify=_to_log)

        def compute(cell: Mapping[str, Any]) -> pl.DataFrame:
            return experiment._rows(self.config, dict(cell), ledger.folder)

        return ledger, compute


def _to_log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
