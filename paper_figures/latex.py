"""Text for LaTeX: escapes, captions made of a figure's message, key and rows, and figures whose text LaTeX sets."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

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
    "<": r"$<$",
    ">": r"$>$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "−": r"$-$",
    "β": r"$\beta$",
    "λ": r"$\lambda$",
    "π": r"$\pi$",
}


def escape(text: str) -> str:
    """Text with LaTeX's special characters escaped, and signs and Greek letters as symbols."""
    return "".join(_ESCAPED.get(character, character) for character in text)


def escape_words(text: str) -> str:
    """The same, but what stands between two $ is left as it is."""
    parts = re.split(r"(\$[^$]*\$)", text)
    return "".join(part if index % 2 else escape(part) for index, part in enumerate(parts))


def caption(
    name: str,
    kind: str,
    message: str,
    key: str,
    needs: Sequence[str],
    manifests: Mapping[str, Mapping[str, Any]],
) -> str:
    """`\\caption` and `\\label` of a figure ("fig") or a table ("tab"): what it shows, how it is read, which rows it is of."""
    sources = "; ".join(
        rf"\texttt{{{escape(each)}}}, preset {escape(str(manifests[each].get('label', '')))}, "
        rf"commit \texttt{{{_commit(manifests[each])}}}, sha256 \texttt{{{manifests[each]['rows_sha256'][:12]}}}"
        for each in needs
    )
    words = " ".join(f"{part.rstrip('.')}." for part in (" ".join(key.split()),) if part)
    return (
        rf"\caption{{\textbf{{{escape_words(message.rstrip('.'))}.}} {escape_words(words)}{' ' if words else ''}Rows: {sources}.}}"
        "\n"
        rf"\label{{{kind}:{name}}}"
    )


def _commit(manifest: Mapping[str, Any]) -> str:
    sessions = manifest.get("sessions") or [{}]
    commits = {str((each.get("git") or {}).get("commit") or "unknown")[:10] for each in sessions}
    return "+".join(sorted(commits))


def set_by_latex(figure: matplotlib.figure.Figure) -> None:
    """Let LaTeX set every text of a drawn figure, escaped: what was written, and what the ticks say."""
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            found = axis.get_major_formatter()
            if isinstance(found, (FixedFormatter, FuncFormatter)):
                axis.set_major_formatter(FuncFormatter(_escaped(found)))
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(escape_words(text.get_text()))
        text.set_usetex(True)


def _escaped(formatter: FixedFormatter | FuncFormatter) -> Any:
    def labels(x: float, position: int | None = None) -> str:
        return escape_words(formatter(x, position))

    return labels
