"""`python -m paper_figures`: list the figures, or draw one or all of them from saved rows.

Exit codes: 0 drawn; 2 a mistake in the command, or rows that are missing, incomplete or stale (a line on
stderr each; `all` draws the others first); 3 the program failed.
"""

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import matplotlib

from edittheory.core import stops
from edittheory.core.errors import RunError

from . import REGISTRY, style, targets
from . import get as get_figure
from .figure import Figure

USAGE = "python -m paper_figures [NAME|all] [--results DIR ...] [--out DIR] [--style web|neurips|icml|slides] [--tex]"


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RunError(message)


def main(
    arguments: Sequence[str] | None = None,
    get: Callable[[str], Figure] = get_figure,
    names: Sequence[str] = REGISTRY,
) -> int:
    """Run the command line and return its exit code; `get` and `names` are the registry."""
    matplotlib.use("Agg")
    try:
        with stops.on_sigterm():
            return _main(arguments, get, names)
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print("stopped", file=sys.stderr)
        return stops.exit_code(stop)
    except Exception:
        traceback.print_exc()
        return 3


def _main(arguments: Sequence[str] | None, get: Callable[[str], Figure], names: Sequence[str]) -> int:
    parser = Parser(prog="python -m paper_figures", usage=USAGE, allow_abbrev=False)
    parser.add_argument("name", nargs="?", help="a figure, or all")
    parser.add_argument(
        "--results",
        default=[Path("results")],
        type=Path,
        nargs="+",
        help="where the experiments' folders are; the first that has one counts",
    )
    parser.add_argument("--out", default="figures", type=Path, help="folder to draw into")
    parser.add_argument("--style", default="web", help=f"where it is printed: {', '.join(targets.TARGETS)}")
    parser.add_argument("--tex", action="store_true", help="set all text by LaTeX, which must be installed")
    known = parser.parse_args(arguments)
    try:
        target = targets.target(known.style)
    except ValueError as error:
        raise RunError(str(error)) from None
    targets.settings(target, known.tex)  # refuses before anything is drawn
    if known.name is None:
        print(USAGE)
        for name in names:
            figure = get(name)
            print(f"{name}: {figure.summary} (needs {', '.join(figure.needs)})")
        return 0
    faults = 0
    for figure in [get(name) for name in names] if known.name == "all" else [get(known.name)]:
        try:
            with style.in_style(target, known.tex):
                paths = figure.make(known.results, known.out)
        except RunError as error:
            faults += 1
            print(f"error: {figure.name} is not drawn: {error}", file=sys.stderr)
        else:
            print(*paths)
    return 2 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
