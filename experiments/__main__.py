"""`python -m experiments`: list the experiments, or run one or all of them.

With `--launcher slurm` the cells are computed by a job array on a cluster; see edittheory.runs.launchers.

Exit codes: 0 done, every claim held; 1 a claim was violated; 2 a mistake in the command or a folder that
cannot be used (one line on stderr, nothing touched), or trouble that the user can mend on the way; 3 the
program failed (a traceback here or in the log of a task; finished cells are kept); 130 stopped by Ctrl-C, 143 by
SIGTERM (the same command continues).
"""

import argparse
import dataclasses
import os
import sys
import traceback
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edittheory.cli import studies
from edittheory.core import stops
from edittheory.core.errors import RunError
from edittheory.runs.files import remove_leftovers, write_json
from edittheory.runs.identity import canonical
from edittheory.runs.launchers import SlurmLauncher, TasksFailed
from edittheory.runs.ledger import Ledger
from edittheory.runs.slurm import SlurmOptions

from . import REGISTRY, overrides, sweeps
from . import get as get_experiment
from .experiment import Experiment, Work

USAGE = (
    "python -m experiments [NAME|all] [--preset NAME] [--out DIR] [--config.FIELD VALUE ...] "
    "[--sweep FIELD=VALUES ...] [--launcher slurm]"
)
SHORT = ("agent",)
"""Fields that may be written --FIELD, without the prefix of overrides."""
SLURM = "--slurm-"


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RunError(message)


def say(line: str) -> None:
    """One line on stderr."""
    print(" ".join(line.split()), file=sys.stderr, flush=True)


def main(
    arguments: Sequence[str] | None = None,
    get: Callable[[str], Experiment] = get_experiment,
    names: Sequence[str] = REGISTRY,
) -> int:
    """Run the command line and return its exit code; `get` and `names` are the registry."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with stops.on_sigterm():
            return _main(arguments, get, names)
    except TasksFailed as error:
        say(f"error: {error}")
        return 3 if error.fault else 2
    except RunError as error:
        say(f"error: {error}")
        return 2
    except BrokenPipeError:  # the reader, `head` say, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as stop:
        say(str(stop) or "stopped; finished cells are kept and the same command continues")
        return stops.exit_code(stop)
    except Exception:
        traceback.print_exc()
        say("failed (this is a fault of the program); finished cells are kept and the same command continues")
        return 3


def _main(arguments: list[str], get: Callable[[str], Experiment], names: Sequence[str]) -> int:
    parser = Parser(prog="python -m experiments", add_help=False, allow_abbrev=False)
    parser.add_argument("name", nargs="?")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--out", default="results", type=Path)
    parser.add_argument("--sweep", nargs="+", action="extend", default=[])
    parser.add_argument("--launcher", default="local", choices=("local", "slurm"))
    for field in dataclasses.fields(SlurmOptions):
        name, kind = SLURM + field.name.replace("_", "-"), typing.get_type_hints(SlurmOptions)[field.name]
        if field.name == "extra":
            parser.add_argument(name, action="append", default=[])
        else:
            parser.add_argument(name, type=next(iter(typing.get_args(kind)), kind))
    parser.add_argument("-h", "--help", action="store_true")
    known, rest = _split_known(parser, _spelt_out(arguments))
    if known.name is None:
        if rest:
            raise RunError(f"{rest[0]} needs the name of an experiment: {USAGE}")
        _list_all(get, names)
        return 0
    if known.name == "all":
        if rest:
            raise RunError("all takes no --config fields; name one experiment to change its configuration")
        chosen = [get(name) for name in names]
    else:
        chosen = [get(known.name)]
    if known.help:
        for experiment in chosen:
            _describe(experiment)
        return 0
    launcher = _launcher(known)
    if known.sweep:
        if known.name == "all":
            raise RunError("all takes no --sweep; name one experiment")
        return _sweep(chosen[0], known, rest, launcher, get)
    jobs = [_prepare(experiment, known.preset, rest, known.out) for experiment in chosen]
    for _, _, ledger in jobs:
        ledger.check()
    return max([_run(*job, launcher, get) for job in jobs])


def _sweep(
    experiment: Experiment,
    known: argparse.Namespace,
    rest: list[str],
    launcher: SlurmLauncher | None,
    get: Callable[[str], Experiment],
) -> int:
    """One run for each combination, checked before the first is started; then all rows in one file."""
    fields = sweeps.parse(known.sweep)
    jobs = []
    for changed in sweeps.combinations(fields):
        if both := set(changed) & set(overrides.split(rest)):
            raise RunError(f"{overrides.PREFIX}{min(both)} is swept; give it once")
        words = [
            *rest,
            *(word for name, (value,) in changed.items() for word in (f"{overrides.PREFIX}{name}={value}",)),
        ]
        jobs.append(_prepare(experiment, known.preset, words, sweeps.folder(known.out, changed)))
    for _, _, ledger in jobs:
        ledger.check()
    codes, runs = [], []
    for number, (_, config, ledger) in enumerate(jobs, 1):
        say(f"{experiment.name}: run {number} of {len(jobs)}, {ledger.folder.parent.name}")
        codes.append(_run(experiment, config, ledger, launcher, get))
        runs.append(({name: getattr(config, name) for name in fields}, ledger.rows()))
    print(f"all rows {sweeps.collect(known.out, experiment.name, runs)}", flush=True)
    return max(codes)


def _launcher(known: argparse.Namespace) -> SlurmLauncher | None:
    given = {field.name: getattr(known, f"slurm_{field.name}") for field in dataclasses.fields(SlurmOptions)}
    given = {name: value for name, value in given.items() if value not in (None, [])}
    if known.launcher == "local":
        if given:
            raise RunError(f"{SLURM}{next(iter(given)).replace('_', '-')} needs --launcher slurm")
        return None
    try:
        options = SlurmOptions(**given | {"extra": tuple(given.get("extra", ()))})
    except ValueError as error:
        raise RunError(str(error)) from None
    return SlurmLauncher(options)


def _split_known(parser: Parser, arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Options and overrides may come in any order: an override takes the words up to the next option."""
    mine: list[str] = []
    rest: list[str] = []
    taking = False
    for word in arguments:
        if word.startswith("-") and not _is_number(word):
            taking = word.startswith(overrides.PREFIX)
        (rest if taking else mine).append(word)
    return parser.parse_args(mine), rest


def _spelt_out(arguments: list[str]) -> list[str]:
    """The arguments with the short names of fields written in full."""
    short = {f"--{name}": f"{overrides.PREFIX}{name}" for name in SHORT}
    found = []
    for word in arguments:
        name, equals, value = word.partition("=")
        found.append(short[name] + equals + value if name in short else word)
    return found


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _prepare(
    experiment: Experiment, preset: str, rest: list[str], out: Path
) -> tuple[Experiment, Any, Ledger]:
    changed = overrides.split(rest)
    try:
        config = experiment.resolve(overrides.apply(experiment.preset(preset), changed))
        label = preset + "".join(f" {name}={' '.join(words)}" for name, words in changed.items())
        experiment.memory(config)  # sizes that no machine holds
        ledger = experiment.ledger(config, out, label=label, notify=lambda line: say(f"note: {line}"))
    except ValueError as error:
        raise RunError(str(error)) from None
    return experiment, config, ledger


def _run(
    experiment: Experiment,
    config: Any,
    ledger: Ledger,
    launcher: SlurmLauncher | None,
    get: Callable[[str], Experiment],
) -> int:
    if ledger.check():
        say(f"{experiment.name}: already complete")
    elif launcher is None:
        experiment.run_into(config, ledger)
    else:
        work = Work(get, experiment.name, config, ledger.folder.parent.absolute())
        experiment.run_into(config, ledger, lambda ledger: launcher.collect(ledger, work))
    report = experiment.report(ledger.rows(), config)
    remove_leftovers(ledger.folder)
    write_json(ledger.folder / "summary.json", canonical(_known(report.summary)))
    console = Console(soft_wrap=False) if sys.stdout.isatty() else Console(width=150)
    for renderable in report.renderables:
        console.print(renderable)
    print(f"rows {ledger.rows_path}, manifest {ledger.manifest_path}", flush=True)
    return 0 if report.ok else 1


def _known(summary: Any) -> Any:
    """A summary as JSON can hold it: numbers that are not finite (no rows to average, say) become null."""
    if isinstance(summary, Mapping):
        return {name: _known(value) for name, value in summary.items()}
    if isinstance(summary, (list, tuple, np.ndarray)):
        return [_known(value) for value in summary]
    return None if isinstance(summary, (float, np.floating)) and not np.isfinite(summary) else summary


def _list_all(get: Callable[[str], Experiment], names: Sequence[str]) -> None:
    print(USAGE)
    for name in names:
        try:
            _list_one(get(name))
        except RunError as error:
            print(f"\n{name}: not available here. {error}")


def _list_one(experiment: Experiment) -> None:
    print(f"\n{experiment.name}: {experiment.summary}")
    measured = studies.measured(experiment.name)
    for preset in experiment.presets:
        print(f"  --preset {preset:<9} {measured.pop(preset, None) or _estimate(experiment.times[preset])}")
    for label, time in measured.items():
        print(f"  committed rows: {label}, {time}")
    if study := studies.STUDIES.get(experiment.name):
        print(f"  figures: {', '.join(study.figures) or 'none'}")


def _estimate(time: str) -> str:
    """A time that no manifest of committed rows has: marked if it names an amount."""
    return f"{time} (estimate)" if any(letter.isdigit() for letter in time) else time


def _describe(experiment: Experiment) -> None:
    print(USAGE)
    _list_one(experiment)
    kinds = typing.get_type_hints(experiment.config_class)
    table = Table(
        "field",
        "type",
        *experiment.presets,
        title=f"--config.FIELD of {experiment.name}",
        title_justify="left",
    )
    for field in dataclasses.fields(experiment.config_class):
        values = [str(getattr(config, field.name)) for config in experiment.presets.values()]
        table.add_row(*map(escape, [field.name, overrides.kind_name(kinds[field.name]), *values]))
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(table)
    console.print(_slurm_table())


def _slurm_table() -> Table:
    table = Table("option", "default", "", title="with --launcher slurm", title_justify="left")
    for field in dataclasses.fields(SlurmOptions):
        default = "cluster's" if field.default is None else str(field.default or "none")
        table.add_row(SLURM + field.name.replace("_", "-"), escape(default), escape(field.metadata["help"]))
    return table


if __name__ == "__main__":
    sys.exit(main())
