"""Tables of reports, declared: a column is a heading, where its value stands in a record, and how it is written."""

import functools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.table import Table

Record = Mapping[str, Any]


class Column(NamedTuple):
    """One column: the record's field of the heading's name, or `value` (a field, the names on the way to a nested one, or a
    function of the record), in `style`.

    style: a format specification such as ".3f"; without one the value is text, and its column is set to the left.
    """

    heading: str
    value: str | tuple[str, ...] | Callable[[Record], Any] | None = None
    style: str = ""

    def cell(self, record: Record) -> str:
        """The cell of one record; empty where the value is None."""
        if callable(self.value):
            value = self.value(record)
        else:
            way = self.value if isinstance(self.value, tuple) else (self.value or self.heading,)
            value = functools.reduce(operator.getitem, way, record)
        return "" if value is None else format(value, self.style)


def where_known(name: str) -> Callable[[Record], Any]:
    """The field of that name, None where the record has none."""
    return lambda record: record.get(name)


def text(*names: str) -> list[Column]:
    """Columns of text, by the names of their fields."""
    return [Column(name) for name in names]


def numbers(style: str, *names: str) -> list[Column]:
    """Columns of numbers in one style, by the names of their fields."""
    return [Column(name, name, style) for name in names]


def table(title: str, columns: Sequence[Column], records: Iterable[Record] = (), **look: Any) -> Table:
    """A table of records, one row each; `look` as of rich.table.Table."""
    shown = Table(title=title, title_justify="left", **look)
    for column in columns:
        shown.add_column(column.heading, justify="right" if column.style else "left")
    for record in records:
        shown.add_row(*(column.cell(record) for column in columns))
    return shown


def blank(title: str, left: Sequence[str], right: Sequence[str], **look: Any) -> Table:
    """A table without rows yet: headings set to the left, then to the right."""
    shown = table(title, [Column(name) for name in left], **look)
    for name in right:
        shown.add_column(name, justify="right")
    return shown
