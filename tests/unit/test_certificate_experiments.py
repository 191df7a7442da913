"""The studies of certificates and bounds at their smallest: rows say what their docstrings promise, reports judge them."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from experiments import feedback_bounds, linear_certificates, robust_certificates


def small(module, **fields):
    return dataclasses.replace(module.EXPERIMENT.presets["quick"], **fields)


def test_linear_certificates_bound_their_player_and_a_wrong_one_is_reported():
    config = small(
        linear_certificates, classes=("log-linear, d = 2",), problems=1, logs=2, level_logs=1, sizes=(30, 60)
    )
    rows = linear_certificates.EXPERIMENT.run(config)
    assert rows.height == 3 * 3 * 2 and rows.null_count()["value"][0] == 3 * 2
    assert rows.filter(pl.col("covers").is_not_null())["form"].unique().to_list() == ["exact"]
    same = rows.pivot(on="form", index=["n", "seed"], values="realised")
    np.testing.assert_array_equal(same["exact"], same["anytime, preferences"])
    report = linear_certificates.report(rows, config)
    assert report.ok and all(record["ratio"] > 0 for record in report.summary["records"])
    # Many logs whose certificates are far too small are refuted, and counted where they are wrong at some n.
    bad = pl.concat(
        [rows.with_columns(pl.col("seed") + 100 * k, value=pl.col("value") * 0) for k in range(20)]
    )
    assert not linear_certificates.report(bad, config).ok
    assert linear_certificates.somewhere(bad)["share"].to_list() == [1.0, 1.0, 1.0]


def test_robust_certificates_differ_only_in_what_they_assume():
    config = small(
        robust_certificates,
        families=("line",),
        habits=(0.3,),
        trials=2,
        width=2,
        sizes=(30, 60),
        num_candidates=8,
    )
    rows = robust_certificates.EXPERIMENT.run(config)
    assert rows.height == 2 * len(robust_certificates.FORMS) * 2 and rows["radius"].min() > 0
    value = {form: mine["value"].to_numpy() for (form,), mine in rows.group_by(["form"], maintain_order=True)}
    assert set(value) == set(robust_certificates.FORMS)
    report = robust_certificates.report(rows, config)
    assert report.ok and len(report.summary["records"]) == len(robust_certificates.FORMS)


def test_feedback_bounds_and_their_winners():
    config = small(
        feedback_bounds, strengths=(0.5,), noises=(0.1,), problems=1, trials=20, sizes=(30,), num_features=2
    )
    rows = feedback_bounds.EXPERIMENT.run(config)
    assert rows.filter(pl.col("kind") == "bound")["name"].to_list() == list(
        feedback_bounds.van_trees.FEEDBACK
    )
    found = feedback_bounds.beside(rows)
    assert found["name"].to_list() == list(feedback_bounds.LEARNERS) and (found["bound"] > 0).all()
    (named,) = feedback_bounds.winners(rows).to_dicts()
    bounds = {
        name: mean for name, mean in rows.filter(pl.col("kind") == "bound").select("name", "mean").iter_rows()
    }
    assert named["predicted"] == min(feedback_bounds.PREDICTED, key=bounds.__getitem__)
    assert feedback_bounds.report(rows, config).ok
    low = rows.with_columns(
        mean=pl.when(pl.col("kind") == "learner").then(1e-9).otherwise("mean"), error=pl.lit(1e-12)
    )
    assert not feedback_bounds.report(low, config).ok


@pytest.mark.parametrize("module, fields, message", [
    (linear_certificates, {"classes": ("cubic",)}, "classes"),
    (robust_certificates, {"habits": (1.5,)}, "habits"),
    (feedback_bounds, {"noises": (-1.0,)}, "noises"),
    (feedback_bounds, {"half_width": 0.0}, "half_width must be"),
])  # fmt: skip
def test_bad_fields_are_named(module, fields, message):
    with pytest.raises(ValueError, match=message):
        small(module, **fields)
