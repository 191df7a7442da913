"""`--config.field value` on the command line: values parsed by tyro for their fields' types, faults in one line."""

import contextlib
import dataclasses
import difflib
import io
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro

from edittheory.core.errors import RunError

Config = TypeVar("Config")
PREFIX = "--config."


def split(arguments: Sequence[str]) -> dict[str, list[str]]:
    """`--config.a 1 2 --config.b=3` as {"a": ["1", "2"], "b": ["3"]}; RunError names what it does not know."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for argument in arguments:
        if argument.startswith(PREFIX):
            name, equals, value = argument.removeprefix(PREFIX).partition("=")
            name = name.replace("-", "_")
            if name in found:
                raise RunError(f"{PREFIX}{name} is given twice")
            current = found[name] = [value] if equals else []
        elif argument.startswith("--") or current is None:
            raise RunError(f"unknown argument {argument!r}; fields are set by {PREFIX}FIELD VALUE")
        else:
            current.append(argument)
    return found


def apply(config: Config, overrides: dict[str, list[str]]) -> Config:
    """`config` with those fields replaced; RunError names the field, the value and what is allowed."""
    kinds = typing.get_type_hints(type(config))
    names = [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    values = {}
    for name, words in overrides.items():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {PREFIX}{near[0]}?" if near else "fields: " + ", ".join(names)
            raise RunError(f"unknown field {PREFIX}{name}; {hint}")
        values[name] = _parse(name, kinds[name], words)
    try:
        return dataclasses.replace(config, **values)  # type: ignore[type-var]
    except ValueError as error:
        raise RunError(str(error)) from None


def kind_name(kind: Any) -> str:
    """A field's type as a user reads it."""
    if isinstance(kind, type) and not typing.get_args(kind):
        return kind.__name__
    return str(kind).replace("typing.", "")


def _parse(name: str, kind: Any, words: list[str]) -> Any:
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            return tyro.cli(kind, args=words, console_outputs=False)
    except SystemExit:
        given = " ".join(words) if words else "no value"
        raise RunError(
            f"{PREFIX}{name} must be of type {kind_name(kind)}, but it is given {given!r}"
        ) from None
