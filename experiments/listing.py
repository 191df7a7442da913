"""What `python -m experiments` prints of experiments: presets with their times, figures, fields, options of the launcher."""

import dataclasses
import sys
import typing
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edittheory.cli import studies
from edittheory.core.errors import RunError
from edittheory.runs.slurm import SlurmOptions

from . import overrides
from .command_line import SLURM
from .experiment import Experiment

USAGE = (
    "python -m experiments [NAME|all] [--preset NAME] [--out DIR] [--config.FIELD VALUE ...] "
    "[--sweep FIELD=VALUES ...] [--launcher slurm]"
)


def list_all(get: Callable[[str], Experiment], names: Sequence[str]) -> None:
    """Print every experiment; one that lacks something is said to be not available, and why."""
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


def describe(experiment: Experiment) -> None:
    """Print one experiment with its fields for every preset."""
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
