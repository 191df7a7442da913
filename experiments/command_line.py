"""The words of `python -m experiments`: options of the command and of the launcher apart from overrides of fields."""

import argparse
import dataclasses
import typing
from pathlib import Path
from typing import NoReturn

from edittheory.core.errors import RunError
from edittheory.runs.launchers import SlurmLauncher
from edittheory.runs.slurm import SlurmOptions

from . import overrides

SHORT = ("agent",)
"""Fields that may be written --FIELD, without the prefix of overrides."""
SLURM = "--slurm-"


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RunError(message)


def parsed(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options, and the words that override fields. Raises RunError for words that are neither."""
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
    return _split_known(parser, _spelt_out(arguments))


def launcher(known: argparse.Namespace) -> SlurmLauncher | None:
    """What computes the cells elsewhere, None for here. Raises RunError for options that do not go together."""
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
