"""A table drawn from rows: as Markdown, as LaTeX, and as a picture."""

import dataclasses
import textwrap
from collections.abc import Sequence

import matplotlib.figure

from paper_figures import style

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "±": r"$\pm$",
    "$": r"\$",
}


@dataclasses.dataclass(frozen=True)
class TextTable:
    """title: what the table says, in a sentence. header: names of the columns; the first column is text, the others are
    numbers already written out. bold: (row, column) of cells set in bold. notes: sentences below."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[tuple[int, int]] = frozenset()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.header):
                raise ValueError(f"rows: row {number} has {len(row)} cells, must have {len(self.header)}")

    def markdown(self) -> str:
        """The table for a README: title, pipes, notes."""
        lines = [
            f"**{self.title}**",
            "",
            _pipes(self.header),
            _pipes(["---", *["---:"] * (len(self.header) - 1)]),
        ]
        for i, row in enumerate(self.rows):
            lines.append(_pipes(f"**{cell}**" if (i, j) in self.bold else cell for j, cell in enumerate(row)))
        for note in self.notes:
            lines += ["", note]
        return "\n".join(lines) + "\n"

    def latex(self) -> str:
        """A booktabs table, to be \\input; it needs \\usepackage{booktabs}."""
        lines = [r"\begin{table}", r"\centering", rf"\caption{{{_escape(self.title)}}}"]
        lines += [rf"\begin{{tabular}}{{l{'r' * (len(self.header) - 1)}}}", r"\toprule"]
        lines += [" & ".join(map(_escape, self.header)) + r" \\", r"\midrule"]
        for i, row in enumerate(self.rows):
            cells = (
                rf"\textbf{{{_escape(c)}}}" if (i, j) in self.bold else _escape(c) for j, c in enumerate(row)
            )
            lines.append(" & ".join(cells) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}"]
        lines += [rf"\par\smallskip\footnotesize {_escape(note)}" for note in self.notes]
        return "\n".join([*lines, r"\end{table}"]) + "\n"

    def figure(self, width: float = style.PAGE, size: float = 7.0) -> matplotlib.figure.Figure:
        """The same as a picture of `width` inches, font size in points."""
        characters = int(width * 72 / (0.52 * size))
        notes = [line for note in self.notes for line in textwrap.wrap(note, characters)]
        title = textwrap.wrap(self.title, int(characters * 0.9))
        step = 1.75 * size / 72
        height = step * (len(self.rows) + 1.4 + len(title)) + 1.3 * size / 72 * len(notes) + 0.25
        figure = matplotlib.figure.Figure(figsize=(width, height))
        ax = figure.add_axes((0.01, 0.0, 0.98, 1.0))
        ax.set_axis_off()
        ax.set_xlim(0.0, 1.0)
        ax.set_ylim(0.0, height)
        longest = [max(len(row[j]) for row in (self.header, *self.rows)) + 2 for j in range(len(self.header))]
        ends, total = [], sum(longest)
        for j in range(len(longest)):
            ends.append(sum(longest[: j + 1]) / total)
        y = height - 0.12
        for line in title:
            ax.text(0.0, y, line, fontsize=size + 1, fontweight="bold", va="top")
            y -= step
        y -= 0.1 * step

        def write(cells: Sequence[str], y: float, weights: Sequence[str]) -> None:
            for j, cell in enumerate(cells):
                x = 0.0 if j == 0 else ends[j] - 0.5 / total
                ax.text(
                    x,
                    y,
                    cell,
                    fontsize=size,
                    fontweight=weights[j],
                    va="center",
                    ha="left" if j == 0 else "right",
                )

        ax.axhline(y, color="black", linewidth=0.8)
        write(self.header, y - step / 2, ["normal"] * len(self.header))
        y -= step
        ax.axhline(y, color="black", linewidth=0.5)
        for i, row in enumerate(self.rows):
            write(row, y - step / 2, ["bold" if (i, j) in self.bold else "normal" for j in range(len(row))])
            y -= step
        ax.axhline(y, color="black", linewidth=0.8)
        for number, note in enumerate(notes):
            ax.text(0.0, y - 0.06 - number * 1.3 * size / 72, note, fontsize=size, va="top", color="#444444")
        return figure


def _pipes(cells) -> str:
    return "| " + " | ".join(cells) + " |"


def _escape(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
