"""The study of preference losses at its smallest, what its report makes of rows, and losses as columns of older studies."""

import jax
import numpy as np
import polars as pl
import pytest

from edittheory.runs.identity import canonical
from experiments import phase_diagram, preference_losses, rates, separation
from experiments import preference_losses_report as reports
from experiments.preference_learners import RECIPES, USERS, objective, simulate

SMALL = preference_losses.Config(
    trials=4, trained_trials=4, num_contexts=2, max_length=2, num_features=4, sample_sizes=(20, 60), users=("flips",),
    losses=("simpo", "sigmoid", "sigmoid + NLL per token"), scales=(0.5, 1.0), weights=(0.1, 1.0), candidates=3, steps=10,
    rates=(0.05, 0.1), displaced_n=40, displaced_steps=4, displaced_trials=4,
)  # fmt: skip


def test_the_study_runs_and_reports():
    experiment = preference_losses.EXPERIMENT
    rows = experiment.run(SMALL)
    study = rows.filter(pl.col("part") == "study")
    assert study["suboptimality"].is_finite().all() and (study["suboptimality"] >= 0).all()
    assert set(study["loss"]) == {*SMALL.losses, "SFT", "RL plug-in", "reference"}
    counts = study.group_by("class", "loss", "n").len()
    tuned = counts.filter(pl.col("loss").is_in(SMALL.losses))
    assert set(tuned["len"]) == {8} and tuned.height == 12
    moved = rows.filter(pl.col("part") == "displacement")
    assert moved["chosen"].is_finite().all() and set(moved["user"]) == {"strong", "weak"}
    assert np.all(moved.filter(pl.col("loss") == "pi*")["suboptimality"].to_numpy() < 1e-9)
    report = experiment.report(rows, SMALL)
    assert {r["loss"] for r in report.summary["contest"]} == set(study["loss"])
    cell = experiment.cells(SMALL)[0]
    again = experiment.run_cell(SMALL, cell, experiment.key(SMALL, cell))
    mine = study.filter((pl.col("class") == cell["class"]) & (pl.col("loss") == cell["loss"]))
    assert again.sort("value", "n", "seed").equals(mine.sort("value", "n", "seed"))


def test_flips_move_pairs_and_lose_none():
    """One in ten pairs is turned round; a pair of equal texts stays what it is."""
    plain, flipped = (simulate(SMALL, user, (2000,), 2)[1].counts for user in ("weak", "flips"))
    size = round((plain.shape[-1] / SMALL.num_contexts) ** 0.5)

    def split(counts):
        cells = np.asarray(counts).reshape(2, SMALL.num_contexts, size, size)
        return cells, np.einsum("txaa->txa", cells)

    assert plain.sum() == flipped.sum() == 2 * 1600
    assert USERS["flips"][:2] == USERS["weak"][:2]
    cells, diagonal = split(flipped)
    assert np.all(cells >= 0) and np.all(cells == np.round(cells)) and diagonal.sum() > 0


def rows_of(means, trials=20):
    """Rows in which each (loss, value) has SubOpt mean + a tenth of it for odd seeds."""
    return pl.DataFrame(
        [
            {
                "part": "study", "user": "weak", "class": "finite", "loss": loss, "value": value, "n": n, "seed": seed,
                "suboptimality": mean * (1.0 + 0.1 * (seed % 2)),
            }
            for (loss, value, n), mean in means.items()
            for seed in range(trials)
        ]
    )  # fmt: skip


def test_the_report_tunes_on_other_worlds_and_counts_pairs():
    means = {
        ("sigmoid", 0.1, 30): 0.5, ("sigmoid", 1.0, 30): 0.2, ("sigmoid", 0.1, 300): 0.4, ("sigmoid", 1.0, 300): 0.01,
        ("ipo", 0.1, 30): 0.05, ("ipo", 1.0, 30): 0.6, ("ipo", 0.1, 300): 0.05, ("ipo", 1.0, 300): 0.3,
        ("reference", float("nan"), 30): 1.0, ("reference", float("nan"), 300): 1.0,
    }  # fmt: skip
    rows = rows_of(means)
    found = reports.tuned(rows)["weak", "finite", 30]
    assert found["sigmoid"].mean() == pytest.approx(0.21) and found["ipo"].mean() == pytest.approx(0.0525)
    contest = {(r["n"], r["loss"]): r for r in reports.contest(rows, 0.05)}
    assert contest[30, "ipo"]["high"] < 0 < contest[300, "ipo"]["low"]
    best = {(r["loss"], r["n"]): r["value"] for r in reports.best_values(rows).to_dicts()}
    assert best["sigmoid", 300] == 1.0 and best["ipo", 300] == 0.1
    needed = {r["loss"]: r["n"] for r in reports.pairs_needed(rows, 0.1)}
    assert needed == {"sigmoid": 300, "ipo": 30, "reference": None}


def test_a_world_does_not_choose_its_own_number():
    """If each half of the worlds likes another value, every world is given the one that is bad for it."""
    rows = pl.DataFrame(
        [
            {
                "part": "study", "user": "weak", "class": "finite", "loss": "ipo", "value": value, "n": 30, "seed": seed,
                "suboptimality": 0.0 if seed % 2 == value else 1.0,
            }
            for value in (0, 1)
            for seed in range(10)
        ]
    )  # fmt: skip
    np.testing.assert_array_equal(reports.tuned(rows)["weak", "finite", 30]["ipo"], np.ones(10))


def test_recipes_are_what_they_are_called():
    mix = objective(SMALL, "sigmoid + NLL per token", 0.3)
    assert (float(mix.scale), float(mix.supervised_weight), mix.recipe.nll_per_token) == (1.0, 0.3, True)
    robust = objective(SMALL, "robust", 0.5)
    assert (float(robust.scale), float(robust.option), float(robust.supervised_weight)) == (0.5, 0.1, 0.0)
    assert len(RECIPES) == 12
    with pytest.raises(ValueError, match=r"losses\[0\] must be one of"):
        preference_losses.Config(losses=("dpo",))


@pytest.mark.parametrize("study", [separation, rates, phase_diagram])
def test_losses_join_older_studies_without_changing_their_runs(study):
    """At its default the field is no part of a run's identity; an unknown loss is named."""
    assert "losses" not in canonical(study.Config())
    assert canonical(study.Config(losses=("ipo",)))["losses"] == ["ipo"]
    with pytest.raises(ValueError, match=r"losses\[0\] must be one of 'sigmoid', 'ipo'"):
        study.Config(losses=("dpo",))


def test_separation_has_a_column_for_each_loss():
    config = separation.Config(
        trials=2,
        num_contexts=2,
        num_candidates=3,
        num_letters=2,
        max_length=2,
        width=2,
        losses=("sigmoid", "kto"),
    )
    cell = separation.cells(config)[1]
    rows = separation.run_cell(config, cell, jax.random.key(0))
    found = {name: part["suboptimality"].to_list() for (name,), part in rows.group_by(["learner"])}
    assert {"sigmoid", "kto"} < set(found)
    np.testing.assert_allclose(found["sigmoid"], found["PREF"], rtol=1e-12)
