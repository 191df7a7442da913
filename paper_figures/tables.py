"""Tables as Markdown, LaTeX and pictures, from rows of texts."""

from collections.abc import Collection, Sequence

import matplotlib.figure

from . import style

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


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


def escape(text: str) -> str:
    """Text with LaTeX's special characters escaped, and +- as a symbol."""
    return "".join(_ESCAPED.get(character, character) for character in text).replace("±", r"$\pm$")


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


def picture(
    blocks: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]], Collection[tuple[int, int]]]],
    notes: Sequence[str] = (),
    width: float = style.PAGE,
    first: float = 0.2,
    size: float = 6.5,
) -> matplotlib.figure.Figure:
    """Tables one above the other, each (title, header, rows, bold cells), and lines of text below them.

    `first` is the first column's share of the width.
    """
    step = 0.165
    lines = sum(len(rows) + 2.8 for _, _, rows, _ in blocks) + 1.1 * len(notes)
    height = step * (lines + 1)
    figure, axes = style.new_figure(width=width, height=height)
    ax = axes[0, 0]
    ax.axis("off")
    ax.set_xlim(0, 1)
    ax.set_ylim(height / step, 0)
    y = 0.6
    for title, header, rows, bold in blocks:
        _check(header, rows)
        ends = [first + (1 - first) * (j + 1) / (len(header) - 1) for j in range(len(header) - 1)]
        ax.text(0, y, title, fontsize=size + 1.5, fontweight="bold", va="center")
        y += 1.1
        for j, cell in enumerate(header):
            ax.text(
                0 if j == 0 else ends[j - 1], y, cell, fontsize=size, ha="right" if j else "left", va="center"
            )
        ax.plot([0, 1], [y + 0.5, y + 0.5], color=style.BLACK, linewidth=0.6)
        y += 1
        for i, row in enumerate(rows):
            for j, cell in enumerate(row):
                ax.text(
                    0 if j == 0 else ends[j - 1],
                    y,
                    cell,
                    fontsize=size,
                    ha="right" if j else "left",
                    va="center",
                    fontweight="bold" if (i, j) in bold else "normal",
                )
            y += 1
        y += 0.7
    for note in notes:
        ax.text(0, y, note, fontsize=size, va="center")
        y += 1.1
    return figure
