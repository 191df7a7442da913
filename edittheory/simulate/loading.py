"""A class of one's own, by the name that its owner gives: `module:Class` or `FILE.py:Class`.

Nothing else is ever imported: a task's file, a log or a server cannot name code.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from edittheory.core.errors import InputError
from edittheory.runs.files import sha256_file


def is_own(name: str) -> bool:
    """Whether a name has the form `module:Class`; addresses (http://...) have not."""
    return ":" in name and "//" not in name


def load_own(option: str, name: str, methods: tuple[str, ...]) -> tuple[Any, dict[str, str]]:
    """An instance of the class, made without arguments, and what identifies it. Raises InputError in one line.

    Args:
        option: of the command line, for messages.
        name: `module:Class` of an installed module, or `FILE.py:Class`.
        methods: what the class must have.
    """
    place, _, attribute = name.rpartition(":")
    if not place or not attribute.isidentifier():
        raise InputError(f"{option}: {name!r} must have the form module:Class or FILE.py:Class")
    module, identity = _from_file(option, Path(place)) if place.endswith(".py") else _installed(option, place)
    made = getattr(module, attribute, None)
    if not isinstance(made, type):
        raise InputError(f"{option}: {place} has no class {attribute}")
    lacking = [method for method in methods if not callable(getattr(made, method, None))]
    if lacking:
        raise InputError(f"{option}: {name} has no method {' and no method '.join(lacking)}")
    try:
        return made(), {"class": attribute, **identity}
    except Exception as error:
        raise InputError(f"{option}: {name}() raised {type(error).__name__}: {error}") from error


def _from_file(option: str, path: Path) -> tuple[Any, dict[str, str]]:
    path = path.expanduser()
    if not path.is_file():
        raise InputError(f"{option}: there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"edittheory_own_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # as dataclasses of that module want it
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"{option}: {path} raised {type(error).__name__}: {error}") from error
    return module, {"file": sha256_file(path)}


def _installed(option: str, name: str) -> tuple[Any, dict[str, str]]:
    try:
        module = importlib.import_module(name)
    except Exception as error:
        raise InputError(
            f"{option}: importing {name} raised {type(error).__name__}: {error}; a file is named as FILE.py:Class"
        ) from error
    source = getattr(module, "__file__", None)
    return module, {"module": name} | ({"file": sha256_file(Path(source))} if source else {})
