"""Every figure as it is printed: width, size and place of every text that is drawn, from the committed rows."""

import itertools
import math
import os
import shutil
import warnings
from pathlib import Path

import matplotlib
import polars as pl
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

import paper_figures
from edittheory.cli.finished import read_inputs
from edittheory.core.errors import RunError
from paper_figures import certificates, latex, medley, style, targets
from paper_figures.__main__ import main

ROWS = Path(__file__).resolve().parents[2] / "paper_figures" / "rows"
DRAWN = tuple(name for name in paper_figures.REGISTRY if paper_figures.get(name).draw is not None)
TABLES = tuple(name for name in paper_figures.REGISTRY if name not in DRAWN)
UNCOMMITTED = {"llm_pretrained"}
"""Figures of studies whose rows are too dear to make for every version: looked at where the rows are, skipped elsewhere."""
PRINTED = ("falsification", "phase_diagram", "llm_histories")
"""Text beside the panels, a map with labels, many small panels: what is drawn in print by `make test`; `make figures-check` draws all."""
EVERY_STYLE = "FIGURES_CHECK" in os.environ


def texts_of(figure, monkeypatch) -> list:
    """The text objects that reach the paper: hidden ones and ticks outside of the axes do not."""
    found: dict[int, Text] = {}
    plain = Text.draw

    def draw(
        self, renderer, *args, **options
    ):  # not the renderer's draw_text, which is not told of texts of several lines
        if self.get_visible() and self.get_text().strip():
            found[id(self)] = self
        return plain(self, renderer, *args, **options)

    monkeypatch.setattr(Text, "draw", draw)
    FigureCanvasAgg(figure).draw()
    monkeypatch.undo()
    return list(found.values())


def check(name: str, chosen: str, monkeypatch) -> None:
    figure, target = paper_figures.get(name), targets.target(chosen)
    if name in UNCOMMITTED and not all((ROWS / need).exists() for need in figure.needs):
        pytest.skip(f"the rows of {', '.join(figure.needs)} are not committed")
    rows, manifests = read_inputs([ROWS], figure.needs)
    with style.in_style(target), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # a layout that does not fit
        drawn = figure.draw(rows, manifests)
        texts = texts_of(drawn, monkeypatch)
        assert drawn.get_figwidth() == pytest.approx(target.width)
        assert drawn.get_suptitle(), "no key"
        small = {
            t.get_text(): t.get_fontsize()
            for t in texts
            if t.get_fontsize() < targets.LEAST * target.scale - 1e-9
        }
        assert small == {}
        boxes = {t: t.get_window_extent() for t in texts}
        page = drawn.bbox.padded(1.0)
        outside = [
            t.get_text()
            for t, box in boxes.items()
            if not (page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1)
        ]
        assert outside == []
        upright = [t for t in texts if t.get_rotation() % 90 == 0]
        overlaps = [
            (a.get_text(), b.get_text())
            for a, b in itertools.combinations(upright, 2)
            if boxes[a].padded(-0.12 * min(boxes[a].height, boxes[b].height)).overlaps(boxes[b])
        ]
        assert overlaps == []


def test_a_table_is_text_only():
    assert {"table_main", "table_transfer", "llm_rivals", "tradeoffs", "llm_samples"} == set(TABLES)
    assert all(paper_figures.get(name).texts is not None for name in TABLES)


def test_texts_are_seen_and_judged(monkeypatch):
    """The check itself: hidden texts and ticks outside are not seen, a small one is."""
    with style.in_style():
        figure, axes = style.new_figure()
        ax = axes[0, 0]
        ax.set_xticks([0.5, 7.0], ["inside", "outside"])
        ax.set_xlim(0, 1)
        ax.text(0.5, 0.5, "tiny", fontsize=5)
        ax.text(0.5, 0.5, "hidden", visible=False)
        ax.text(0.5, 0.2, "two\nlines")
        texts = {each.get_text(): each.get_fontsize() for each in texts_of(figure, monkeypatch)}
    assert texts["inside"] == targets.LEAST and texts["tiny"] == 5
    assert "two\nlines" in texts and "outside" not in texts and "hidden" not in texts


def test_sizes_follow_the_target():
    for name, target in targets.TARGETS.items():
        with style.in_style(target):
            figure, _ = style.new_figure(height=2.0)
            assert figure.get_figwidth() == target.width and style.pt(3) == pytest.approx(3 * target.scale), (
                name
            )
            assert figure.get_figheight() == pytest.approx(2.0 * target.scale)
    with pytest.raises(ValueError, match=r"style must be one of .* but it is 'poster'"):
        targets.target("poster")


def test_a_ramp_goes_from_light_to_dark():
    for count in range(1, 7):
        grey = [sum(int(color[i : i + 2], 16) for i in (1, 3, 5)) for color in style.ramp(count)]
        assert len(grey) == count and grey == sorted(grey, reverse=True) and len(set(grey)) == count
    with pytest.raises(ValueError, match="draw fewer lines"):
        style.ramp(7)


def test_without_latex_tex_is_refused_before_anything_is_drawn(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    words = ["rates", "--results", str(ROWS), "--out", str(tmp_path / "out"), "--tex"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert (
        error.startswith("error: --tex needs latex and dvipng, which this machine lacks") and "STIX" in error
    )
    assert not (tmp_path / "out").exists()
    with pytest.raises(RunError, match="--tex needs"), style.in_style(tex=True):
        pass


def test_text_for_latex():
    assert latex.escape("50% of a_b & ±1 <= {x}") == r"50\% of a\_b \& $\pm$1 $<$= \{x\}"
    assert latex.escape_words(r"95% of $\pi_0$, λ") == r"95\% of $\pi_0$, $\lambda$"


@pytest.mark.slow
@pytest.mark.skipif(
    any(shutil.which(program) is None for program in targets.TEX), reason="LaTeX is not installed"
)
def test_latex_sets_the_text(tmp_path):
    with style.in_style(targets.target("neurips"), tex=True):
        paths = paper_figures.get("separation").make([ROWS], tmp_path)
        assert matplotlib.rcParams["text.usetex"]
    data = paths[0].read_bytes()
    assert b"NimbusRomNo9L" in data and b"DejaVu" not in data and b"/Type3" not in data


def marks(ax) -> list[tuple[float, float]]:
    """Where single marks stand."""
    return [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in ax.lines
        if len(line.get_xdata()) == 1
    ]


def test_falsification_shows_every_statement_once():
    figure = paper_figures.get("falsification")
    rows, manifests = read_inputs([ROWS], figure.needs)
    data = rows["falsification"]
    with style.in_style():
        left, right = figure.draw(rows, manifests).axes[:2]
    for ax, mutant in ((left, False), (right, True)):
        statements = data.filter(pl.col("mutant") == mutant)["statement"].n_unique()
        places = marks(ax)
        assert len(places) == len(set(places)) == statements  # none hides another
        assert ax.get_title(loc="left").startswith(f"{statements} ")
    assert max(x for x, _ in marks(left)) <= 1.0 and min(x for x, _ in marks(right)) > 0.0


def test_medley_is_drawn_as_ratios_of_means():
    """Two cells at n = 10: ratios 1/2 and 2 have the geometric mean 1; a third, where nothing is left to lose, does not count."""
    cells = {0.1: (0.01, 0.02), 0.2: (0.04, 0.02), 0.3: (1e-5, 2e-5)}
    data = pl.DataFrame(
        {"track": "finite", "space": "strings", "panel": "grid", "strength": strength, "habit": 0.0, "noise": 0.0, "n": 10,
         "learner": learner, "suboptimality": loss}
        for strength, losses in cells.items()
        for learner, loss in zip(("medley", "SUP"), losses, strict=True)
        for _ in range(2)
    )  # fmt: skip
    sizes, ratio = medley.curves(medley.means(data), "medley")
    assert sizes.tolist() == [10] and ratio[0, 1] == pytest.approx(1.0)
    assert 0.5 < ratio[0, 0] < ratio[0, 2] < 2.0


def test_a_certificate_of_an_empty_set_counts_as_large():
    data = pl.DataFrame({"n": [10] * 4, "value": [0.1, 0.2, math.inf, math.inf]})
    assert certificates._quantiles(data, "value", [10])[:, 0].tolist() == [0.1, 0.2, math.inf]


@pytest.mark.parametrize("name", DRAWN)
def test_on_a_page(name, monkeypatch):
    check(name, "web", monkeypatch)


@pytest.mark.parametrize("name", PRINTED)
def test_in_print(name, monkeypatch):
    """The narrow style of serif letters for three figures; all others only by `make figures-check`."""
    check(name, "neurips", monkeypatch)


@pytest.mark.slow
@pytest.mark.skipif(not EVERY_STYLE, reason="three styles of every figure are drawn by `make figures-check`")
@pytest.mark.parametrize("chosen", ["neurips", "icml", "slides"])
@pytest.mark.parametrize("name", DRAWN)
def test_in_print_and_on_slides(name, chosen, monkeypatch):
    check(name, chosen, monkeypatch)
