"""Histories of training: rows that say what the policies say, records that a resumed training keeps, and the figure."""

import dataclasses

import jax
import numpy as np
import polars as pl
import pytest

from edittheory.language.train import fine_tuning
from edittheory.language.train.reference_cache import reference_log_probs, summed_log_probs
from edittheory.language.world.edit_costs import normalised_cost
from edittheory.language.world.editors import Editor
from experiments import tiny_llm_recipes, training_histories
from experiments.tiny_llm_recipes import Place, Training
from experiments.tiny_llm_stages import workshop
from paper_figures import llm_histories, style
from tests import language_training_toys as toys

SMOKE = training_histories.EXPERIMENT.resolve(training_histories.EXPERIMENT.preset("smoke"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def rows(folder):
    cells = training_histories.cells(SMOKE)
    return pl.concat([training_histories.run_cell(SMOKE, cell, None, folder) for cell in cells])


def test_the_last_record_is_what_the_trained_policy_does(rows, folder):
    mine = rows.filter(pl.col("method") == "Early")
    assert mine["step"].to_list() == [0, 1, 2] and mine["steps"].unique().to_list() == [2]
    settled, made = training_histories.underlying(SMOKE, 0), workshop(folder)
    log = tiny_llm_recipes.log(settled, Place(0, 0, "email", "weak"))
    candidate = training_histories.learners(SMOKE)["Early"]
    model = made.train(log, Training(candidate, 32, 1, 16, None, 0)).model
    world, base = log.responses.reference.world, made.reference(log.responses.reference)
    contexts = world.contexts("email", SMOKE.contexts, settled.seed, "validation")
    texts = base.with_model(model).respond([context.text for context in contexts]).texts
    user, rng = Editor("strong"), np.random.default_rng(0)
    costs = [normalised_cost(t, user.edit(t, c, rng).text) for c, t in zip(contexts, texts, strict=True)]
    assert mine["cost"][-1] == pytest.approx(np.mean(costs), abs=1e-6)
    pairs = made.log(log).pairs
    edited = np.flatnonzero(np.asarray(pairs.edited))
    probed = edited[np.unique(np.linspace(0, len(edited) - 1, min(SMOKE.probe, len(edited))).astype(int))]
    edit, response = summed_log_probs(model, pairs.select(probed), 4)
    reference = made.log(log).reference
    np.testing.assert_allclose(mine["drift_edit"][-1], (edit - reference.edit[probed]).mean(), atol=1e-3)
    moved = (response - reference.response[probed]).mean()
    np.testing.assert_allclose(mine["drift_response"][-1], moved, atol=1e-3)


def test_all_learners_start_from_one_reference(rows):
    first = rows.filter(pl.col("step") == 0)
    assert first["method"].to_list() == list(training_histories.LEARNERS)
    assert first["loss"].null_count() == 4 and (first["drift_edit"] == 0).all()
    assert first.select(training_histories.ANSWERS).n_unique() == 1
    later = rows.filter(pl.col("step") > 0)
    assert (
        later["loss"].is_finite().all()
        and later.select(training_histories.ANSWERS).null_count().row(0) == (0,) * 6
    )


def test_the_report_and_the_figure_show_the_rows(rows):
    found = training_histories.EXPERIMENT.report(rows, SMOKE).summary["last"]
    mix = next(one for one in found if one["method"] == "Mix")
    last = rows.filter(pl.col("method") == "Mix").sort("step")["drift_edit"]
    assert mix["drift_edit"] == pytest.approx(last[-1]) and mix["lowest"] == pytest.approx(last.min())
    more = pl.concat([rows, rows.with_columns(pl.col("replicate") + 1, pl.col("cost") + 0.1)])
    with style.in_style():
        figure = llm_histories.FIGURE.draw({"training_histories": more}, {})
    panel = next(ax for ax in figure.axes if ax.get_title(loc="left") == llm_histories.PANELS["cost"])
    line = next(line for line in panel.lines if line.get_label() == "SUP")
    expected = rows.filter(pl.col("method") == "SFT")["cost"].to_numpy() + 0.05
    np.testing.assert_allclose(line.get_ydata(), expected, atol=1e-5)


def test_measures_are_records_and_outlive_a_stop(tmp_path, getkey):
    model = toys.random_model(getkey())
    pairs, key = toys.random_pairs(getkey(), edited_every=2), getkey()
    reference = reference_log_probs(model, pairs, 4)
    settings = fine_tuning.dpo(1e-2, **{**toys.COMMON, "epochs": 4, "chunk": 2})
    measures = fine_tuning.Measures(("mean",), lambda model: {"mean": float(np.mean(model.embedding))})

    class Stop(Exception):
        pass

    def stop(progress):
        if progress.step >= 4:
            raise Stop

    options = {"reference": reference, "measures": measures, "devices": toys.one_device()}
    whole = fine_tuning.train(model, pairs, settings, key, **options)
    with pytest.raises(Stop):
        fine_tuning.train(
            model, pairs, settings, key, checkpoint=tmp_path / "c.npz", progress=stop, **options
        )
    again = fine_tuning.train(model, pairs, settings, key, checkpoint=tmp_path / "c.npz", **options)
    np.testing.assert_array_equal(again.history["mean"], whole.history["mean"])
    assert again.history["mean"][-1] == pytest.approx(float(np.mean(again.model.embedding)))
    plain = fine_tuning.train(model, pairs, settings, key, reference=reference, devices=toys.one_device())
    for one, two in zip(jax.tree.leaves(plain.model), jax.tree.leaves(whole.model), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"every": 0}, "every must be an integer >= 1"),
        ({"logs": 8, "batch": 16}, "logs must be an integer >= 16"),
        ({"train_users": ("lazy",)}, r"train_users\[0\]"),
        ({"mix_weight": -1.0}, "mix_weight"),
    ],
)
def test_bad_configurations_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMOKE, **change)
