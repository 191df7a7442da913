"""One malformed input and how it is judged: refused by a named error that says the argument and what is allowed, nothing written."""

import contextlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from edittheory.cli.main import main
from edittheory.core.errors import RunError

RANGE = re.compile(
    r"must|\bat (least|most)\b|one of|known|needs?\b|lacks?\b|missing|not an?\b|is not|cannot|unknown|truncated|damaged|unexpected"
    r"|does not|did you mean|beyond|no such|has (no|neither)|holds? no|never opened|take[s]? no|expected|unrecognized|required|given"
    r"|loses|sum to|limit|in use|once|there is no|twice|has the shape|invalid|refused|not supported|settings"
)
"""Words with which a message says what is allowed, or what is wrong."""


class Attempt(NamedTuple):
    """family: of its recipe; name: what is wrong; names: what the message must match (the argument, field, tensor or file);
    call: makes and uses the input; it gets an empty folder."""

    family: str
    name: str
    names: str
    call: Callable[[Path], object]


class Said(NamedTuple):
    """A command's answer, for `judge`."""

    code: int
    out: str
    err: str


def command(*words: Any) -> Said:
    """`edittheory WORDS` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return Said(code, out.getvalue(), err.getvalue())


def judge(attempt: Attempt, folder: Path) -> str:
    """ "" if the input is refused as promised, else what came out instead."""
    folder.mkdir(parents=True)
    try:
        found = attempt.call(folder)
    except (ValueError, TypeError, RunError) as error:
        message = str(error)
        if isinstance(error, RunError) and "\n" in message:
            return f"several lines: {message!r}"
        return _judged(attempt, message)
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if not isinstance(found, Said):
        return f"accepted: {' '.join(repr(found).split())[:200]}"
    lines = [line for line in found.err.splitlines() if not line.startswith("note: ")]
    if found.code != 2 or found.out or len(lines) != 1 or not lines[0].startswith("error: "):
        return f"exit code {found.code}, {len(lines)} lines: {(lines or [found.out])[-1][:200]}"
    paths = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*"))]
    written = [path for path in paths if ".given" not in path]
    return f"written: {written}" if written else _judged(attempt, lines[0])


def _judged(attempt: Attempt, message: str) -> str:
    if not re.search(attempt.names, message):
        return f"does not name {attempt.names}: {' '.join(message.split())[:240]}"
    return "" if RANGE.search(message) else f"does not say what is allowed: {' '.join(message.split())[:240]}"
