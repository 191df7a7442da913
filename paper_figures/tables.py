"""Tables as Markdown and as LaTeX with booktabs' rules, from rows of texts; and which of their cells lead."""

from collections.abc import Collection, Sequence

import numpy as np

from edittheory.core.statistics import student_half

from .latex import escape


def _check(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for index, row in enumerate(rows):
        if len(row) != len(header):
            raise ValueError(
                f"rows[{index}] must have {len(header)} cells as the header, but it has {len(row)}"
            )


def markdown(
    header: Sequence[str], rows: Sequence[Sequence[str]], bold: Collection[tuple[int, int]] = ()
) -> str:
    """A Markdown table: first column to the left, the others to the right; `bold` names cells as (row, column)."""
    _check(header, rows)
    marked = [
        [f"**{cell}**" if (i, j) in bold else cell for j, cell in enumerate(row)]
        for i, row in enumerate(rows)
    ]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"

    marks = [":--", *["--:"] * (len(header) - 1)]
    return "\n".join([line(header), line(marks), *map(line, marked)])


def latex(
    header: Sequence[str], rows: Sequence[Sequence[str]], bold: Collection[tuple[int, int]] = ()
) -> str:
    """A LaTeX tabular with booktabs rules; `bold` names cells as (row, column)."""
    _check(header, rows)
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", r"\toprule"]
    lines += [" & ".join(map(escape, header)) + r" \\", r"\midrule"]
    for i, row in enumerate(rows):
        cells = [
            rf"\textbf{{{escape(cell)}}}" if (i, j) in bold else escape(cell) for j, cell in enumerate(row)
        ]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def leaders(values: np.ndarray, level: float = 0.05) -> list[int]:
    """Which columns of `values` (repeats, columns), smaller being better, are not clearly worse than the best one.

    Repeats are paired, such as seeds. Clearly worse: the t-interval of the mean difference to the column of least mean,
    its level divided over the others, lies above 0. Nothing leads where a single repeat leaves no interval, or where
    nothing is clearly worse.
    """
    if values.ndim != 2:
        raise ValueError(f"values must have the shape (repeats, columns), but it is {values.shape}")
    count, columns = values.shape
    if count < 2:
        return []
    best = int(np.argmin(values.mean(axis=0)))
    found = []
    for column in range(columns):
        differences = values[:, column] - values[:, best]
        half = student_half(differences, level / max(columns - 1, 1))
        if column == best or differences.mean() - half <= 0:
            found.append(column)
    return found if len(found) < columns else []
