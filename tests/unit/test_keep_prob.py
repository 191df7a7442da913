"""keep_prob_study: equal tuning, choices from held-out contexts alone, its rows, and intervals over seeds."""

import dataclasses

import numpy as np
import polars as pl
import pytest
import scipy.stats

from edittheory.language.evaluate import over_seeds, user_strength
from edittheory.language.train import fine_tuning
from experiments import keep_prob_study, tiny_llm_training
from experiments.__main__ import main
from experiments.keep_prob_config import FAMILIES, PRESETS, RULES, Config, cells, choices, nearest
from experiments.tiny_llm_recipes import Training
from paper_figures import keep_prob, style, table_main, table_transfer
from tests.language_toys import MANIFEST, made_up_strengths

SMOKE, STANDARD = PRESETS["smoke"], PRESETS["standard"]


# -- intervals -----------------------------------------------------------------------------------------------------------


def test_a_mean_over_seeds_is_students():
    values = [0.1, 0.2, 0.4, 0.35, 0.15]
    found = over_seeds.mean(values)
    low, high = scipy.stats.t.interval(0.95, 4, np.mean(values), scipy.stats.sem(values))
    assert (found.low, found.high, found.seeds) == (pytest.approx(low), pytest.approx(high), 5)
    assert found.sign == 1 and over_seeds.mean([-v for v in values]).sign == -1
    assert over_seeds.mean([-0.3, 0.4, 0.1]).sign == 0
    assert found.half == pytest.approx((high - low) / 2)


def test_one_seed_has_no_interval_and_pairs_must_match():
    alone = over_seeds.mean([0.5])
    assert alone.mean == 0.5 and np.isnan(alone.low) and alone.sign == 0
    gap = over_seeds.difference([0.5, 0.7, 0.6], [0.4, 0.6, 0.5])
    assert gap.mean == pytest.approx(0.1, abs=1e-3) and gap.half < 1e-9, "differences are paired"
    with pytest.raises(ValueError, match="second must have one value per seed of first, 2, but it has 3"):
        over_seeds.difference([1.0, 2.0], [1.0, 2.0, 3.0])


# -- configuration -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_every_family_has_the_same_budget(preset):
    """As many candidates, and as many passes over the log in all."""
    config = PRESETS[preset]
    known = {family: choices(config, family) for family in FAMILIES}
    assert len({len(each) for each in known.values()}) == 1
    assert len({sum(choice.epochs for choice in each) for each in known.values()}) == 1
    for family, each in known.items():
        assert len({choice.label for choice in each}) == len(each), family
        assert {choice.candidate.family for choice in each} == {family}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dpo_scales": (1.0,)}, "dpo_scales must hold 2 numbers, as sft_rates does"),
        ({"pair_rates": (1e-3,)}, "pair_rates must hold one rate for each of the 2 epochs"),
        ({"keep_probs": (0.0, 1.0)}, r"keep_probs\[0\] must be in \(0, 1\], but it is 0.0"),
        ({"tuned": (0.5,)}, r"tuned\[0\] must be one of 1.0, 0.4"),
        ({"keep_probs": (1.0, 0.4, 0.2, 0.2)}, "keep_probs must not name anything twice"),
        ({"tuning_seeds": 6}, r"tuning_seeds must be an integer in \[1, 5\], but it is 6"),
        ({"transfer": (0.5,)}, r"transfer\[0\] must be one of"),
        ({"tasks": ()}, "tasks must hold at least one item"),
    ],
)
def test_bad_fields_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(STANDARD, **change)


def test_users_take_the_choices_of_the_nearest_tuned_one():
    assert [nearest(STANDARD, keep) for keep in STANDARD.keep_probs] == [1.0, 0.4, 0.2, 0.4, 0.4]
    assert nearest(STANDARD, 0.75) == 1.0


def test_a_stopped_run_has_whole_users():
    """All of one user's cells come before the next user's, and its candidates before what is chosen of them."""
    order = cells(STANDARD)
    by_cost = [cell["keep_prob"] for cell in order if cell["stage"] == "cost"]
    assert list(dict.fromkeys(by_cost)) == list(STANDARD.keep_probs)
    assert by_cost == sorted(by_cost, key=STANDARD.keep_probs.index)
    seen = set()
    for cell in order:
        if cell["stage"] == "candidates":
            seen.add(cell["keep_prob"])
        else:
            assert nearest(STANDARD, cell["keep_prob"]) in seen
    assert len({tuple(cell.items()) for cell in order}) == len(order)


def test_replicates_share_nothing_and_the_strong_user_is_the_strong_one():
    config = Config()
    places = [keep_prob_study.Place(1.0, r, "email") for r in range(2)]
    first, second = (keep_prob_study.trial(config, place, None) for place in places)
    assert first.log.responses.reference.seed != second.log.responses.reference.seed
    assert first.log.user.strength == "strong" and first.log.name == "strong"
    weak = keep_prob_study.trial(config, keep_prob_study.Place(0.4, 0, "email"), None)
    assert weak.log.responses == first.log.responses, "all users edit the same responses"
    assert weak.log.user.keep_prob == 0.4


def test_the_mix_is_dpo_and_the_mean_token_loss():
    choice = choices(STANDARD, "Mix")[0]
    training = Training(choice.candidate, 400, choice.epochs, 16, None, 0)
    asked = fine_tuning.preferring(
        "sigmoid", 1e-3, scale=1.0, supervised_weight=1.0, epochs=2, batch=16, compute_dtype="float32"
    )
    assert tiny_llm_training._settings(training, 16, "float32") == dataclasses.replace(
        asked, probe=1
    )  # nobody reads the history
    assert asked.mean_tokens and not asked.drops_unedited


# -- the smoke preset from end to end ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("strengths")
    assert main(["keep_prob_study", "--preset", "smoke", "--out", str(out)]) == 0
    return out, pl.read_parquet(out / "keep_prob_study" / "rows.parquet")


@pytest.mark.slow
def test_rows_hold_every_learner_for_every_user(run):
    _, rows = run
    by_cost = rows.filter((pl.col("rule") == "cost") & (pl.col("test_user") == "strong"))
    assert by_cost.group_by("keep_prob", "replicate", "method").len()["len"].to_list() == [1] * 2 * 2 * 8
    assert set(by_cost["method"]) == set(user_strength.METHODS)
    assert by_cost["cost"].is_between(0, 2).all()
    strong = rows.filter(
        (pl.col("method") == "base") & (pl.col("keep_prob") == 1) & (pl.col("kind") == "policy")
    )
    assert (strong["log_gamma"] == 1).all() and (strong["log_reach"] == 1).all()
    weak = rows.filter(
        (pl.col("method") == "base") & (pl.col("keep_prob") == 0.4) & (pl.col("kind") == "policy")
    )
    assert (weak["log_gamma"] < weak["log_edited"]).all()
    best, late = (
        by_cost.filter(pl.col("method") == name).sort("keep_prob", "replicate")
        for name in ("best arm", "Late")
    )
    assert (best["cost"] <= late["cost"] + 1e-12).all()


@pytest.mark.slow
def test_choices_are_the_least_on_held_out_contexts(run):
    """Recomputed from the candidates' rows; those carry nothing of the test."""
    _, rows = run
    tried = rows.filter(pl.col("kind") == "candidate")
    assert tried["cost"].null_count() == len(tried) and tried["test_user"].null_count() == len(tried)
    found = user_strength.chosen(rows)
    for rule, measure in RULES.items():
        for family in FAMILIES:
            each = (
                tried.filter(pl.col("method") == family)
                .group_by("candidate", maintain_order=True)
                .agg(unsound=(1 - pl.col("sound")).sum(), value=pl.col(measure).mean())
            )
            assert len(each) == len(choices(SMOKE, family))
            best = min(each.iter_rows(named=True), key=lambda row: (row["unsound"], row["value"]))
            assert found[rule, 0.4, family] == best["candidate"]


@pytest.mark.slow
def test_the_same_command_goes_on_and_gives_the_same_rows(run):
    out, rows = run
    cell = next((out / "keep_prob_study" / "cells").glob("*.parquet"), None)
    if cell is not None:
        cell.unlink()
    assert main(["keep_prob_study", "--preset", "smoke", "--out", str(out)]) == 0
    assert pl.read_parquet(out / "keep_prob_study" / "rows.parquet").equals(rows)


# -- what is drawn from rows ---------------------------------------------------------------------------------------------


def test_orderings_are_paired_by_seed():
    """Replicates differ by much more than learners do: only pairing sees that DPO always costs less on weak edits."""
    rows = made_up_strengths()
    weak = user_strength.verdict(rows, "email", 0.2, "DPO costs less than SFT")
    strong = user_strength.verdict(rows, "email", 1.0, "DPO costs less than SFT")
    assert (weak.gap.sign, weak.seeds) == (1, 5) and (strong.gap.sign, strong.seeds) == (-1, 0)
    assert weak.gap.mean == pytest.approx(0.2, abs=0.01)
    sft = over_seeds.mean(user_strength.costs(rows, 0.2, "email", "SFT"))
    assert sft.low < user_strength.costs(rows, 0.2, "email", "DPO").mean(), "unpaired, it could be chance"
    with pytest.raises(ValueError, match="rows hold no 'RL' chosen by 'cost' for 'email' at keep_prob"):
        user_strength.costs(rows, 0.2, "email", "RL")


def test_choosing_by_loss_is_compared_with_choosing_by_cost():
    gaps = {(gap.task, gap.method): gap for gap in user_strength.rule_gaps(made_up_strengths())}
    assert (
        gaps["email", "SFT"].gap.mean == pytest.approx(0.1, abs=1e-3) and gaps["email", "SFT"].gap.sign == 1
    )
    assert {gap.keep_prob for gap in gaps.values()} == {0.4}


def test_the_figure_marks_what_the_intervals_say():
    rows = made_up_strengths()
    with style.in_style():
        figure = keep_prob.FIGURE.draw({"keep_prob_study": rows}, {})
    above, below = figure.axes[0], figure.axes[2]
    drawn = next(bar.lines[0] for bar in above.containers if bar.get_label() == "DPO")
    means = [
        user_strength.costs(rows, keep, "summarization", "DPO").to_numpy().mean() for keep in (0.2, 0.4, 1.0)
    ]
    np.testing.assert_allclose(drawn.get_ydata(), means)
    clearly = [
        (str(bar.get_label()), round(float(bar.lines[0].get_xdata()[0])))
        for bar in below.containers
        if bar.lines[0].get_markerfacecolor() != "white"
    ]
    assert len(below.containers) == 3 * 3 + 1
    assert {("DPO", 0), ("DPO", 2), (keep_prob.BY_LOSS.label, 1)} <= set(clearly) and (
        "Early",
        2,
    ) not in clearly


@pytest.mark.parametrize("module", [table_main, table_transfer])
def test_tables_show_two_users_with_intervals(module):
    rows, user = made_up_strengths(), "strong" if module is table_main else "transfer"
    texts = module.FIGURE.texts({"keep_prob_study": rows}, {"keep_prob_study": MANIFEST})
    mine = over_seeds.mean(user_strength.costs(rows, 0.4, "email", "SFT", user))
    assert f"{mine.mean:.3f} ±{mine.half:.3f}" in texts[".md"]
    assert "5 training seeds" in texts[".md"] and "in 5 of 5 seeds here (agrees)" in texts[".md"]
    header, cells, bold = table_main.ours(rows, user)
    names = [cell[0] for cell in cells]
    column = header.index("Email/strong")
    assert (names.index("SFT"), column) in bold and (names.index("DPO"), column) not in bold
    assert (names.index("Early"), column) in bold, "a difference that may be 0 does not lose"
