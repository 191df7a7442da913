"""Troubles that the user can mend, each said in one line; command lines print the line and exit with code 2."""

import difflib
from collections.abc import Sequence


class RunError(Exception):
    """Something the user can mend, said in one line."""


class FolderError(RunError):
    """A folder or file that cannot be written or read."""


class FolderBusy(RunError):
    """Another process is working on the folder."""


class ConfigurationMismatch(RunError):
    """The folder holds rows of another configuration."""


class InputError(RunError):
    """A file that is missing, stale, incomplete or damaged."""


class UnknownName(RunError):
    """A name that is in no registry, with the nearest one that is."""

    def __init__(self, kind: str, name: str, known: Sequence[str]):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(known)
        super().__init__(f"unknown {kind} {name!r}; {hint}")
