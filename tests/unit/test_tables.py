"""Tables as Markdown, LaTeX and pictures."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from paper_figures import style
from paper_figures.table import TextTable

TABLE = TextTable(
    "Costs of two_methods",
    ("method", "n = 30", "n = 300"),
    (("SFT & co", "0.10 ± 0.02", "0.05"), ("DPO", "0.20", "0.01")),
    frozenset({(0, 1), (1, 2)}),
    ("95% of runs.", "A second note."),
)


def test_markdown_marks_the_winners():
    lines = TABLE.markdown().splitlines()
    assert lines[2:6] == [
        "| method | n = 30 | n = 300 |",
        "| --- | ---: | ---: |",
        "| SFT & co | **0.10 ± 0.02** | 0.05 |",
        "| DPO | 0.20 | **0.01** |",
    ]
    assert "A second note." in lines


def test_latex_escapes_what_latex_would_read():
    text = TABLE.latex()
    assert r"two\_methods" in text and r"SFT \& co" in text and r"95\% of runs." in text
    assert r"\textbf{0.10 $\pm$ 0.02}" in text
    assert text.count(r"\\") == 3 and text.count("&") == 3 * 2 + 1


def test_the_picture_keeps_cells_apart():
    with style.in_style():
        figure = TABLE.figure()
        FigureCanvasAgg(figure).draw()
        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    page = figure.bbox
    for number, box in enumerate(boxes):
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        assert not any(box.overlaps(other) for other in boxes[:number])
    weights = np.array([text.get_fontweight() for text in figure.axes[0].texts])
    assert (weights == "bold").sum() == 3  # the title and two cells


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"rows: row 1 has 1 cells, must have 2"):
        TextTable("t", ("a", "b"), (("x", "1"), ("y",)))
