"""The frame of the figures: what they read, what they refuse, what their files carry."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import paper_figures
from edittheory.runs.files import sha256_file
from paper_figures import style
from paper_figures.__main__ import main
from paper_figures.figure import Figure
from tests.toy_experiment import EXPERIMENT, ToyConfig

ROOT = Path(__file__).resolve().parents[2]


def draw(rows, manifests):
    figure, axes = style.new_figure()
    table = rows["toy"].group_by("index", maintain_order=True).agg(pl.col("draw").mean())
    lines = [
        style.line(axes[0, 0], table["index"], table["draw"] + shift, style.look("sup"))
        for shift in (0, 0.01)
    ]
    axes[0, 0].set_xlabel(f"index, of {manifests['toy']['config']['cells']}")
    style.key(figure, "Dots: 100% of the draws.")
    style.label_ends(axes[0, 0], lines)
    return figure


TOY = Figure(name="toy_figure", needs=("toy",), draw=draw, summary="Draws of a toy.")
OTHER = dataclasses.replace(TOY, name="other_figure", needs=("toy", "absent"))


def run(capsys, *arguments: str) -> tuple[int, list[str], list[str]]:
    figures = {"toy_figure": TOY, "other_figure": OTHER}
    get = lambda name: figures.get(name) or paper_figures.get(name)  # noqa: E731
    code = main(list(arguments), get=get, names=tuple(figures))
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err.splitlines()


@pytest.fixture
def results(tmp_path) -> Path:
    config = EXPERIMENT.resolve(ToyConfig())
    EXPERIMENT.run_into(config, EXPERIMENT.ledger(config, tmp_path / "results"))
    return tmp_path / "results"


def test_list(capsys):
    code, out, err = run(capsys)
    assert (code, err) == (0, [])
    assert out[1:] == [
        "toy_figure: Draws of a toy. (needs toy)",
        "other_figure: Draws of a toy. (needs toy, absent)",
    ]


def test_files_carry_the_hash_of_the_rows(capsys, results, tmp_path):
    out = tmp_path / "out"
    code, printed, err = run(capsys, "toy_figure", "--results", str(results), "--out", str(out))
    assert (code, err) == (0, [])
    assert printed == [
        " ".join(str(out / f"toy_figure{suffix}") for suffix in (".pdf", ".png", "_caption.tex"))
    ]
    digest = sha256_file(results / "toy" / "rows.parquet")
    pdf = (out / "toy_figure.pdf").read_bytes()
    assert f"/Keywords (rows sha256: toy={digest})".encode() in pdf
    assert b"CreationDate" not in pdf and b"/FontType 3" not in pdf and b"/Type3" not in pdf
    with Image.open(out / "toy_figure.png") as image:
        assert image.text["Rows-SHA256"] == f"toy={digest}"
        assert image.text["Title"] == "toy_figure"
    first, _, *rest = (out / "toy_figure_caption.tex").read_text().splitlines()
    assert first == f"% rows sha256: toy={digest}"
    assert rest[0].startswith(
        r"\caption{\textbf{Draws of a toy.} Dots: 100\% of the draws. Rows: \texttt{toy}, preset "
    )
    assert digest[:12] in rest[0] and rest[1] == r"\label{fig:toy_figure}"


@pytest.mark.slow
def test_same_rows_give_the_same_bytes_in_any_process(results, tmp_path):
    program = (
        "import sys; from tests.unit.test_figures import *; sys.exit(main(sys.argv[1:], get=lambda _: TOY))"
    )
    for name in ("1", "2"):
        command = [
            sys.executable,
            "-c",
            program,
            "toy_figure",
            "--results",
            str(results),
            "--out",
            str(tmp_path / name),
        ]
        subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": name, "TZ": f"UTC+{name}"}, check=True
        )
    for file in ("toy_figure.pdf", "toy_figure.png", "toy_figure_caption.tex"):
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes()


def stale(folder: Path) -> None:
    pl.read_parquet(folder / "rows.parquet").head(3).write_parquet(folder / "rows.parquet")


def incomplete(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"status": "running"}))


@pytest.mark.parametrize(
    "harm, message",
    [
        (stale, r"rows\.parquet is stale: its sha256 is not the one in its manifest\.json"),
        (incomplete, r"toy is incomplete; run `python -m experiments toy` with the same --out"),
        (
            lambda folder: (folder / "rows.parquet").unlink(),
            r"rows\.parquet is missing; run `python -m experiments toy`",
        ),
        (lambda folder: (folder / "manifest.json").unlink(), r"manifest\.json is missing"),
        (
            lambda folder: (folder / "manifest.json").write_text("{"),
            r"manifest\.json cannot be read as a manifest",
        ),
    ],
)
def test_bad_input_is_named_and_nothing_drawn(capsys, results, tmp_path, harm, message):
    harm(results / "toy")
    code, out, err = run(capsys, "toy_figure", "--results", str(results), "--out", str(tmp_path / "out"))
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith("error: toy_figure is not drawn: ") and re.search(message, err[0])
    assert not (tmp_path / "out").exists()


def test_all_draws_what_it_can_and_names_the_rest(capsys, results, tmp_path):
    code, out, err = run(capsys, "all", "--results", str(results), "--out", str(tmp_path / "out"))
    assert (code, len(out), len(err)) == (2, 1, 1)
    assert err[0].startswith(
        f"error: other_figure is not drawn: {results / 'absent' / 'manifest.json'} is missing"
    )
    assert (tmp_path / "out" / "toy_figure.pdf").exists() and not (
        tmp_path / "out" / "other_figure.pdf"
    ).exists()


def test_first_folder_that_has_the_experiment_counts(capsys, results, tmp_path):
    words = ("--results", str(tmp_path / "none"), str(results), "--out", str(tmp_path / "out"))
    assert run(capsys, "toy_figure", *words)[0] == 0


@pytest.mark.parametrize(
    "words, message",
    [
        ("rate", "unknown figure 'rate'; did you mean 'rates'?"),
        ("toy_figure --fast", "unrecognized arguments: --fast"),
        ("toy_figure --results", "argument --results: expected at least one argument"),
        (
            "toy_figure --style icm",
            "style must be one of 'web', 'neurips', 'icml', 'slides', but it is 'icm'",
        ),
    ],
)
def test_mistakes_are_one_line(capsys, words, message):
    assert run(capsys, *words.split()) == (2, [], [f"error: {message}"])


def test_unwritable_folder_is_one_line(capsys, results, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, "toy_figure", "--results", str(results), "--out", str(tmp_path / "file"))
    assert code == 2
    assert err == [
        f"error: toy_figure is not drawn: cannot create the folder {tmp_path / 'file'}: file exists"
    ]


def test_every_registered_figure_is_sound():
    for name in paper_figures.REGISTRY:
        figure = paper_figures.get(name)
        assert figure.name == name and figure.summary and figure.needs


def test_labels_are_spread_as_little_as_needed():
    assert style.spread([0.0, 100.0], 10) == [0.0, 100.0]
    np.testing.assert_allclose(style.spread([0.0, 1.0, 2.0, 100.0], 10), [-9.0, 1.0, 11.0, 100.0])
    heights = np.sort(np.random.default_rng(0).uniform(0, 100, 12))
    found = np.array(style.spread(heights.tolist(), 7.0))
    assert np.all(np.diff(found) >= 7.0 - 1e-9)
    np.testing.assert_allclose(found.mean(), heights.mean())  # nothing pushes the whole


def test_labels_stand_at_the_ends_of_their_lines():
    _, axes = style.new_figure()
    ax = axes[0, 0]
    ax.set_yscale("log")
    lines = [
        style.line(ax, [1, 2, 3], [1, 2, end], style.indexed(i, str(end)))
        for i, end in enumerate((1e3, 1e-3, np.nan))
    ]
    style.label_ends(ax, lines)
    heights = {text.get_text(): text.xy[1] for text in ax.texts}
    assert heights["1000.0"] == pytest.approx(1 - heights["0.001"], abs=0.05)
    assert heights["0.001"] < heights["nan"] < heights["1000.0"]  # the last finite point is at 2
    gaps = np.diff(sorted(text.get_window_extent().y0 for text in ax.texts))
    assert np.all(gaps > ax.texts[0].get_window_extent().height * 0.9)


def test_looks_differ_and_go_by_any_name():
    looks = list(style.LEARNERS.values())
    assert len({(look.color, look.marker, look.linestyle) for look in looks}) == len(looks)
    assert style.look("SUP") == style.look("supervised") and style.look("Early-Ensemble") == style.look(
        "early"
    )
    with pytest.raises(ValueError, match=r"learner must be one of sup, pref, .* but it is 'x'"):
        style.look("x")
    with pytest.raises(ValueError, match="draw fewer lines"):
        style.indexed(8, "ninth")


def test_errorbars_take_ends():
    _, axes = style.new_figure()
    style.errorbars(axes[0, 0], [1], [2.0], [1.5], [4.0], style.look("rl"))
    (segment,) = axes[0, 0].containers[0].lines[2][0].get_segments()
    assert segment[:, 1].tolist() == [1.5, 4.0]
