"""Tables of reports: what a declared column writes, and where it stands."""

import pytest

from experiments.columns import Column, blank, numbers, table, text, where_known

RECORDS = [
    {"name": "a [b]", "n": 3000, "cost": 0.12345, "means": {"SUP": 0.5}},
    {"name": "c", "n": 30, "cost": None, "means": {"SUP": 2.0}, "bound": 7.0},
]
COLUMNS = [*text("name"), *numbers(",", "n"), Column("mean", ("means", "SUP"), ".2f"), Column("cost", style=".3f"),
           Column("B5", where_known("bound"), ".0f")]  # fmt: skip


def test_cells_are_written_in_the_style_of_their_column():
    written = [[column.cell(record) for column in COLUMNS] for record in RECORDS]
    assert written == [["a [b]", "3,000", "0.50", "0.123", ""], ["c", "30", "2.00", "", "7"]]


def test_text_stands_left_and_numbers_right():
    shown = table("title", COLUMNS, RECORDS)
    assert [column.justify for column in shown.columns] == ["left", "right", "right", "right", "right"]
    assert shown.row_count == 2 and shown.title == "title"
    empty = blank("title", ("a",), ("b", "c"))
    assert [(column.header, column.justify) for column in empty.columns] == [
        ("a", "left"),
        ("b", "right"),
        ("c", "right"),
    ]


def test_a_field_that_a_record_lacks_is_an_error():
    with pytest.raises(KeyError, match="absent"):
        Column("absent").cell(RECORDS[0])
