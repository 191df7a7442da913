"""`edittheory language evaluate --agent FOLDER`: one checkpoint, its answers judged by simulated users, its view of a log.

Exit codes as of `edittheory`. With --json stdout holds exactly one JSON object; notes go to stderr.
"""

import contextlib
import io
import json
import re
import sys
from collections.abc import Sequence
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from edittheory.cli.evaluation import Evaluate, evaluate
from edittheory.core.errors import RunError


def show(found: dict[str, Any]) -> list[Any]:
    """Tables for a reader."""
    table = Table(
        title=f"{found['agent']}, {found['weights']:,} weights, {found['world']} texts, temperature {found['temperature']:g}; "
        f"{1 - found['level']:.0%} intervals over contexts",
        title_justify="left",
    )
    for name in ("task", "user", "n", "edit cost", "accepted", "recall", "loops", "no end", "words"):
        table.add_column(name, justify="left" if name in ("task", "user") else "right")
    for one in found["costs"]:
        table.add_row(
            one["task"],
            one["test_user"],
            f"{one['n']:,}",
            _interval(one["cost"], ".3f"),
            _interval(one["accepted"], ".0%"),
            f"{one['recall']:.2f}",
            f"{one['loops']:.2f}",
            f"{one['no_end']:.2f}",
            f"{one['words']:.0f}",
        )
    lines: list[Any] = [table]
    if found["log"]:
        lines += _show_log(found["log"])
    return [*lines, *([f"rows {found['rows']}"] if found["rows"] else [])]


def _show_log(log: dict[str, Any]) -> list[str]:
    lines = [
        f"{log['file']}: {log['rows']:,} rows, {log['edited']:,} edited, {log['skipped']:,} skipped, {log['cut']:,} cut; "
        f"{log['token_nll']:.3f} nats a token of the edits"
    ]
    if log["edit_minus_response"] is not None:
        lines.append(
            f"log pi(edit) - log pi(response) on edited rows: {_interval(log['edit_minus_response'], '.2f')} nats; "
            f"the edit is likelier in {log['likelier']:.0%}"
        )
    if log["accuracy"] is not None:
        lines.append(
            f"against the reference: edits {log['drift_edit']:+.2f} nats, responses {log['drift_response']:+.2f} nats, "
            f"preference accuracy {log['accuracy']:.0%}"
        )
    return lines


def _interval(values: Sequence[float], form: str) -> str:
    return f"{values[0]:{form}} [{values[1]:{form}}, {values[2]:{form}}]"


def _parse(arguments: Sequence[str]) -> Evaluate:
    """Raises RunError with tyro's complaint in one line."""
    prog = "edittheory language evaluate"
    if set(arguments) & {"-h", "--help"}:
        return tyro.cli(Evaluate, args=list(arguments), prog=prog)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            found = tyro.cli(Evaluate, args=list(arguments), prog=prog)
        return found.check()
    except SystemExit:
        words = re.sub(r"[─-╿]+|-{3,}", " ", said.getvalue().partition("For full helptext")[0])
        raise RunError(f"{' '.join(words.split())}; see {prog} --help") from None
    except ValueError as error:
        raise RunError(str(error)) from None


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code; RunError is the caller's to print."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(str(__doc__).strip())
        return 0
    if arguments[0] != "evaluate":
        raise RunError(f"language knows evaluate, but it is given {arguments[0]!r}")
    try:
        given = _parse(arguments[1:])
    except SystemExit as done:  # --help
        return int(done.code or 0)
    found = evaluate(given)
    if given.json:
        print(json.dumps(found, ensure_ascii=False, allow_nan=False))
        return 0
    console = Console(soft_wrap=False) if sys.stdout.isatty() else Console(width=150)
    for renderable in show(found):
        console.print(renderable, markup=False)
    return 0
