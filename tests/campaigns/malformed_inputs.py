"""Malformed inputs over the library, its files and its command lines: every one is refused as `attempts.judge` asks.

`python -m tests.campaigns.malformed_inputs [FAMILY ...]` tries them here and prints those that were not, by family.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.campaigns import malformed_commands, malformed_files, malformed_library, malformed_records
from tests.campaigns.attempts import Attempt, judge

FAMILIES = {
    "problem": malformed_library.problems,
    "argument": malformed_library.arguments,
    "checkpoint": malformed_files.checkpoints,
    "gguf": malformed_files.gguf_files,
    "tokeniser": malformed_files.tokenisers,
    "counterexample": malformed_records.instances,
    "rows": malformed_records.rows,
    "command": malformed_commands.commands,
    "log command": malformed_commands.log_commands,
}
"""Recipes by what they spoil; log files come beside them (`malformed_commands.log_files`)."""
NAMES = (*FAMILIES, "log file")


def attempts(family: str, folder: Path) -> Iterator[Attempt]:
    """All attempts of a family."""
    yield from malformed_commands.log_files(folder) if family == "log file" else FAMILIES[family]()


def rows(family: str, folder: Path, every: int = 1) -> list[dict[str, Any]]:
    """Try each of a family, or one in `every`; a row each."""
    found = []
    given = folder / f"given {family}"
    given.mkdir(parents=True)
    for number, attempt in enumerate(attempts(family, given)):
        if number % every == 0:
            said = judge(attempt, folder / family / str(number))
            row = {"campaign": "malformed", "case": family, "kind": attempt.name, "number": number}
            found.append(row | {"ok": not said, "said": said})
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        bad = [row for name in sys.argv[1:] or NAMES for row in rows(name, Path(place)) if not row["ok"]]
    print("\n".join(f"{row['case']}, {row['kind']}: {row['said']}" for row in bad) or "all refused")
    sys.exit(bool(bad))
