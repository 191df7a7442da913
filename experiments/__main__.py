"""`python -m experiments`: list the experiments, or run one or all of them.

With `--launcher slurm` the cells are computed by a job array on a cluster; see edittheory.runs.launchers.

Exit codes: 0 done, every claim held; 1 a claim was violated; 2 a mistake in the command or a folder that
cannot be used (one line on stderr, nothing touched), or trouble that the user can mend on the way; 3 the
program failed (a traceback here or in the log of a task; finished cells are kept); 130 stopped by Ctrl-C, 143 by
SIGTERM (the same command continues).
"""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from edittheory.core import stops
from edittheory.core.errors import RunError
from edittheory.runs.files import remove_leftovers, write_json
from edittheory.runs.identity import canonical
from edittheory.runs.launchers import SlurmLauncher, TasksFailed
from edittheory.runs.ledger import Ledger

from . import REGISTRY, command_line, listing, overrides, sweeps
from . import get as get_experiment
from .experiment import Experiment, Work


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
    known, rest = command_line.parsed(arguments)
    if known.name is None:
        if rest:
            raise RunError(f"{rest[0]} needs the name of an experiment: {listing.USAGE}")
        listing.list_all(get, names)
        return 0
    if known.name == "all":
        if rest:
            raise RunError("all takes no --config fields; name one experiment to change its configuration")
        chosen = [get(name) for name in names]
    else:
        chosen = [get(known.name)]
    if known.help:
        for experiment in chosen:
            listing.describe(experiment)
        return 0
    launcher = command_line.launcher(known)
    if known.sweep:
        if known.name == "all":
            raise RunError("all takes no --sweep; name one experiment")
        return _sweep(chosen[0], known, rest, launcher, get)
    jobs = [_prepare(experiment, known.preset, rest, known.out) for experiment in chosen]
    for _, _, ledger in jobs:
        ledger.check()
    return max([_run(*job, launcher, get) for job in jobs])


def check(arguments: Sequence[str], get: Callable[[str], Experiment] = get_experiment) -> bool:
    """Whether all rows of the command to run one experiment are there. Raises RunError where it would be refused; touches nothing."""
    known, rest = command_line.parsed(list(arguments))
    if known.help:
        return False
    command_line.launcher(known)
    if known.sweep:
        _swept(get(known.name), known, rest)
        return False
    return _prepare(get(known.name), known.preset, rest, known.out)[2].check()


def _swept(
    experiment: Experiment, known: argparse.Namespace, rest: list[str]
) -> list[tuple[Experiment, Any, Ledger]]:
    """One job for each combination, all of them checked."""
    jobs = []
    for changed in sweeps.combinations(sweeps.parse(known.sweep)):
        if both := set(changed) & set(overrides.split(rest)):
            raise RunError(f"{overrides.PREFIX}{min(both)} is swept; give it once")
        words = [*rest, *(f"{overrides.PREFIX}{name}={value}" for name, (value,) in changed.items())]
        jobs.append(_prepare(experiment, known.preset, words, sweeps.folder(known.out, changed)))
    for _, _, ledger in jobs:
        ledger.check()
    return jobs


def _sweep(
    experiment: Experiment,
    known: argparse.Namespace,
    rest: list[str],
    launcher: SlurmLauncher | None,
    get: Callable[[str], Experiment],
) -> int:
    """One run for each combination, checked before the first is started; then all rows in one file."""
    jobs = _swept(experiment, known, rest)
    fields = sweeps.parse(known.sweep)
    codes, runs, sent = [], [], 0
    for number, (_, config, ledger) in enumerate(jobs, 1):
        say(f"{experiment.name}: run {number} of {len(jobs)}, {ledger.folder.parent.name}")
        if launcher is not None:
            sent = sweeps.send_ahead(jobs[number - 1 :], sent - number + 1, launcher, get) + number - 1
        codes.append(_run(experiment, config, ledger, launcher, get))
        runs.append(({name: getattr(config, name) for name in fields}, ledger.rows()))
    print(f"all rows {sweeps.collect(known.out, experiment.name, runs)}", flush=True)
    return max(codes)


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


if __name__ == "__main__":
    sys.exit(main())
