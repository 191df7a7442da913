"""Tables and figures of the language track on made-up rows, against sums done by hand."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from edittheory.language.evaluate import summaries
from edittheory.language.evaluate.summaries import SETTINGS
from paper_figures import (
    llm_estimates,
    llm_online,
    llm_rivals,
    llm_samples,
    llm_tradeoffs,
    style,
    table_main,
    tables,
    tradeoffs,
)
from tests.language_toys import COSTS, MANIFEST, cost_of, made_up


@pytest.fixture(scope="module")
def rows():
    return made_up()


def test_scores_are_means_over_rounds(rows):
    found = summaries.scores(rows, "strong")
    assert found.settings == SETTINGS and found.methods[:5] == summaries.COMPARATORS
    assert found.costs.shape == (3, 4, len(COSTS)) and found.seeds == ((0, 0, 0), (0, 0, 1), (0, 0, 2))
    for name, each in found.means().items():
        for (task, user), value in each.items():
            assert value == pytest.approx(cost_of(name, user), abs=1e-6), (name, task, user)
    assert found.spreads()["SFT"][SETTINGS[0]] == pytest.approx(0.01, abs=1e-6)


def test_worst_gap_is_to_the_fixed_comparators(rows):
    """RL is worse than all and "Late, theory" no comparator: neither moves the others' gaps."""
    gaps = summaries.scores(rows, "strong").gaps()
    # strong: best SFT .2; weak: DPO .2, SFT .5, Early .25, Late .22
    assert gaps["SFT"][0] == pytest.approx(0.3, abs=1e-6)
    assert gaps["Late"][0] == pytest.approx(0.02, abs=1e-6)
    assert gaps["Late, theory"][0] == pytest.approx(0.1, abs=1e-6)
    less = rows.filter(pl.col("method") != "RL")
    assert summaries.scores(less, "strong").gaps()["Early"] == gaps["Early"]
    cheap = rows.with_columns(
        pl.when(pl.col("method") == "Late, theory").then(0.0).otherwise("cost").alias("cost")
    )
    assert summaries.scores(cheap, "strong").gaps()["Late, theory"][0] < 0
    assert summaries.scores(cheap, "strong").gaps()["SFT"] == gaps["SFT"]


def test_the_gap_is_taken_in_every_seed():
    """Two seeds in which different methods win: the mean of the worst gaps, not the gap of the means."""
    rows = made_up(methods=summaries.COMPARATORS, seeds=2, rounds=4)
    swapped = rows.with_columns(
        pl.when((pl.col("method") == "SFT") & (pl.col("seed") == 0))
        .then(pl.col("cost") + 0.4)
        .otherwise("cost")
        .alias("cost")
    )
    found = summaries.scores(swapped, "strong")
    each = (found.costs - found.costs.min(axis=2, keepdims=True)).max(axis=1)
    index = found.methods.index("SFT")
    np.testing.assert_allclose(each[:, index], [0.7, 0.3], atol=1e-6)
    assert found.gaps()["SFT"][0] == pytest.approx(0.5, abs=1e-6)


def test_missing_rows_are_named(rows):
    lacking = rows.filter(
        ~((pl.col("method") == "DPO") & (pl.col("seed") == 2) & (pl.col("task") == "email"))
    )
    with pytest.raises(
        ValueError, match="'DPO' is missing for email / strong, base seed 0, training seed 0, online seed 2"
    ):
        summaries.scores(lacking, "strong")
    with pytest.raises(ValueError, match="test_user must be one of 'strong', 'transfer', but it is 'angry'"):
        summaries.scores(rows, "angry")


def test_claims_on_the_papers_own_numbers():
    """Every claim was read off Table 1, so all hold there; Table 2 does not show the second."""
    first, second = (summaries.claims(summaries.paper_means(user)) for user in ("strong", "transfer"))
    assert all(first.values())
    assert [text for text, held in second.items() if not held] == [list(summaries.CLAIMS)[1]]
    printed = summaries.PAPER_GAPS["strong"]
    ours = summaries.gap_of_means(summaries.paper_means("strong"))
    assert ours["base"] == pytest.approx(printed["base"][0], abs=1e-3)
    assert (
        ours["Late"] < printed["Late"][0] - 0.05
    )  # the paper's is larger than its own means allow: taken per seed


def test_claims_on_ours_and_the_sentences(rows):
    found = summaries.claims(summaries.scores(rows, "strong").means())
    assert list(found.values()) == [True, True, True, False, False, False, True, True, False]
    lines = summaries.comparison(summaries.scores(rows, "strong").means(), "strong")
    assert lines[0].endswith("in both tasks: yes in the paper, yes here (agrees).")
    assert lines[3].endswith("yes in the paper, no here (does not agree).")
    with pytest.raises(ValueError, match="'Late' is missing"):
        summaries.claims(
            {name: {} for name in ("base", "SFT", "DPO", "Early")}
            | {n: dict.fromkeys(SETTINGS, 0.0) for n in ("base", "SFT", "DPO", "Early")}
        )


def test_markdown_and_latex():
    header, cells = ["", "a|b"], [["x_1", "0.5 ±0.1"], ["50%", "2"]]
    assert tables.markdown(header, cells).splitlines() == [
        "|  | a\\|b |",
        "| :-- | --: |",
        "| x_1 | 0.5 ±0.1 |",
        "| 50% | 2 |",
    ]
    text = tables.latex(header, cells, [(0, 1)])
    assert r"x\_1 & \textbf{0.5 $\pm$0.1} \\" in text and r"50\% & 2 \\" in text
    with pytest.raises(ValueError, match=r"rows\[1\] must have 2 cells as the header, but it has 1"):
        tables.markdown(header, [["a", "b"], ["c"]])


def test_the_table_of_one_run_holds_both_and_what_agrees(rows):
    figure = llm_rivals.FIGURE
    assert figure.draw is None  # a table, not a picture of one
    mine = summaries.scores(rows, "strong").means()
    trained = rows.with_columns(pl.col("seed").alias("train_seed"), pl.lit(0, rows["seed"].dtype).alias("seed"))
    texts = figure.texts({"tiny_llm": trained}, {"tiny_llm": MANIFEST})
    assert f"{mine['SFT'][SETTINGS[0]]:.3f} ±0.025" in texts[".md"], "4.303 * .01 / sqrt 3"
    assert "## Ours" in texts[".md"] and "## The paper's" in texts[".md"]
    assert "1.079 ±0.06" in texts[".md"] and texts[".md"].count("agree") >= 9
    assert texts[".tex"].count(r"\begin{tabular}") == 2 and r"\textbf{" in texts[".tex"]


def test_a_claim_is_tried_in_every_seed():
    """DPO beats SFT on weak edits in two of three seeds: undecided."""
    rows = made_up(methods=summaries.COMPARATORS, rounds=2).with_columns(
        pl.when((pl.col("method") == "DPO") & (pl.col("seed") == 1)).then(0.9).otherwise("cost").alias("cost")
    )
    lines = summaries.comparison_by_seed(summaries.scores(rows, "strong"), "strong")
    assert lines[0].endswith("yes in the paper, in 3 of 3 seeds here (agrees).")
    assert lines[1].endswith("yes in the paper, in 2 of 3 seeds here (undecided).")


def test_leaders_are_those_not_clearly_worse():
    """Two seeds of differences 0.1 and 0.3: t = 2 on one degree of freedom, no lead; twenty paired seeds tell them apart."""
    few = np.array([[0.1, 0.2], [0.1, 0.4]])
    assert (
        tables.leaders(few) == [] and tables.leaders(few[:1]) == []
    )  # nothing is clearly worse; no interval
    noise = np.random.default_rng(0).normal(size=(20, 1))
    many = noise + np.array([[0.0, 0.001, 1.0]]) + 0.01 * np.random.default_rng(1).normal(size=(20, 3))
    assert tables.leaders(many) == [0, 1]  # shared noise cancels, ties stay
    with pytest.raises(ValueError, match="shape"):
        tables.leaders(noise[:, 0])


def test_bold_is_over_training_seeds(rows):
    """Three online seeds of one training say nothing about the next training, so nothing of ours is bold."""
    assert table_main.ours(rows, "strong")[2] == []
    again = rows.with_columns(pl.col("seed").alias("train_seed"), pl.lit(0, rows["seed"].dtype).alias("seed"))
    bold = table_main.ours(again, "strong")[2]
    methods = summaries.scores(again, "strong").methods
    assert (methods.index("SFT"), 1) in bold and (methods.index("base"), 1) not in bold


def test_a_table_of_one_task_tries_no_claims():
    rows = made_up(settings=SETTINGS[2:])
    assert table_main.sentences(rows, "strong") == [
        "Not all four settings were run, so the paper's claims were not tried."
    ]
    header, cells, _ = table_main.ours(rows, "strong")
    assert len(header) == 5 and len(cells[0]) == 5


def test_online_curves_accumulate(rows):
    each = llm_online.curves(
        rows.filter(
            (pl.col("task") == "email") & (pl.col("train_user") == "weak") & (pl.col("test_user") == "strong")
        ),
        "DPO",
    )
    assert each.shape == (3, 8)
    np.testing.assert_allclose(each[1, :3], [0.3, 0.4, 0.7], atol=1e-6)
    with style.in_style():
        figure = llm_online.FIGURE.draw({"tiny_llm": rows}, {})
    line = next(line for line in figure.axes[3].lines if line.get_label() == "DPO")
    np.testing.assert_allclose(line.get_ydata(), each.mean(axis=0), atol=1e-6)


def test_tradeoffs_show_every_size():
    rows = made_up(methods=("base", "SFT", "DPO", "Early"), sizes=(100, 600))
    with style.in_style():
        figure = llm_tradeoffs.FIGURE.draw({"tiny_llm_curve": rows}, {})
    line = next(line for line in figure.axes[0].lines if line.get_label() == "SFT")
    np.testing.assert_allclose(line.get_xdata(), [100, 600])
    np.testing.assert_allclose(line.get_ydata(), [0.25, 0.2], atol=1e-6)


def test_samples_and_estimates_draw(rows):
    with style.in_style():
        figure = llm_estimates.FIGURE.draw({"tiny_llm": rows}, {})
    words = llm_samples.FIGURE.texts({"tiny_llm": rows}, {})[".md"]
    assert words.count("## ") == 8 and "> SFT says so. 🚀" in words and "lacks clean" in words
    assert len(figure.axes) == 3
    table = llm_estimates.FIGURE.texts({"tiny_llm": rows}, {})[".md"]
    assert "| cost of SFT, strong test user | 0.200 | 0.500 | 0.200 | 0.500 |" in table


def test_bold_cells_in_markdown_and_texts_beside_a_figure(tmp_path):
    rows = Path(__file__).parents[2] / "paper_figures" / "rows"
    paths = tradeoffs.FIGURE.make([rows], tmp_path)
    assert [path.name for path in paths] == ["tradeoffs.md", "tradeoffs.tex", "tradeoffs_caption.tex"]
    lines = (tmp_path / "tradeoffs.md").read_text(encoding="utf-8").splitlines()
    digest = hashlib.sha256((rows / "phase_diagram" / "rows.parquet").read_bytes()).hexdigest()
    assert lines[0] == f"<!-- rows sha256: phase_diagram={digest} -->"
    assert tables.markdown(["a", "b"], [["x", "1"]], {(0, 1)}).splitlines()[-1] == "| x | **1** |"
    assert (
        (tmp_path / "tradeoffs.tex").read_text(encoding="utf-8").startswith("% rows sha256: phase_diagram=")
    )
