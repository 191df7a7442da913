"""The experiments on the online phase: rows of a tiny run, verdicts from made-up rows, refusals, and figures from made-up rows."""

import dataclasses
import itertools

import numpy as np
import polars as pl
import pytest

import experiments.contextual_ensemble as contextual_ensemble
import experiments.drift as drift
import experiments.ensemble_robustness as ensemble_robustness
import experiments.late_ensemble as late_ensemble
import experiments.online_learning as online_learning
import experiments.warm_start as warm_start
from edittheory.deploy import ensembles
from experiments import deployments
from paper_figures import style

ROUNDS = (200, 1000, 2000, 4000, 8000, 12_000, 20_000)
MODULES = (contextual_ensemble, drift, ensemble_robustness, late_ensemble, online_learning, warm_start)


@pytest.mark.parametrize("module", MODULES)
def test_presets_and_cells(module):
    experiment = module.EXPERIMENT
    assert (
        set(experiment.presets) == {"quick", "standard", "paper"}
        and experiment.name == module.__name__.split(".")[-1]
    )
    for config in experiment.presets.values():
        cells = experiment.cells(config)
        assert cells and len({str(cell) for cell in cells}) == len(cells)
        horizons = getattr(config, "horizons", None) or (getattr(config, "rounds", None) or 200,)
        assert 200 in horizons  # the paper's horizon is among them everywhere


@pytest.mark.parametrize(
    ("module", "field", "value", "shown"),
    [
        (late_ensemble, "seeds", 1, "seeds must be an integer in"),
        (late_ensemble, "horizon", 20, "horizon must be an integer in"),
        (drift, "horizons", (5,), "horizons must be an integer in"),
        (warm_start, "horizons", (200, 50), "horizons must increase"),
        (contextual_ensemble, "horizons", (), "horizons must increase"),
        (ensemble_robustness, "beta", 0.0, "beta must be a finite number > 0"),
        (online_learning, "delta", 1.0, r"delta must be in \(0, 1\)"),
    ],
)
def test_bad_configurations_are_refused(module, field, value, shown):
    with pytest.raises(ValueError, match=shown):
        dataclasses.replace(module.EXPERIMENT.presets["quick"], **{field: value})


def test_late_ensemble_rows_and_report(monkeypatch):
    """Two bandits, few seeds: rows of every (setting, bandit, seed, t), the same rounds for both, B4 not exceeded."""

    def two(count, cost_max, horizon):
        return {
            "Late": ensembles.LateEnsemble(count, ensembles.theory_exploration(cost_max)),
            "first": ensembles.FixedArm(count, 0),
        }

    monkeypatch.setattr(deployments, "plain_bandits", two)
    monkeypatch.setattr(late_ensemble, "SETTINGS", {"weak log, strong user": ("weak", "strong")})
    config = dataclasses.replace(
        late_ensemble.EXPERIMENT.presets["quick"], seeds=4, horizon=200, checkpoints=3, num_candidates=4
    )
    rows = pl.concat(
        [
            late_ensemble.run_cell(config, cell, late_ensemble.EXPERIMENT.key(config, cell))
            for cell in late_ensemble.cells(config)
        ]
    )
    assert rows.group_by("setting", "bandit", "seed").len()["len"].n_unique() == 1
    assert rows.height % (len(late_ensemble.SETTINGS) * 2 * 4) == 0
    assert (rows["cost"] <= rows["t"] * rows["cost_max"]).all() and (rows["regret"] >= -1e-9).all()
    report = late_ensemble.report(rows, config)
    assert report.ok and report.summary["violated"] == 0 and report.summary["tried"] > 0


def made_up_late(factor: float) -> pl.DataFrame:
    """Rows in which Late's regret is `factor` times its bound, with a little noise."""
    rng, records = np.random.default_rng(0), []
    for setting, bandit, seed, t in itertools.product(
        late_ensemble.SETTINGS, deployments.plain_bandits(4, 1.0, 200), range(6), (50, 200, 1000)
    ):
        records.append(
            {
                "setting": setting,
                "bandit": bandit,
                "seed": seed,
                "t": t,
                "cost": 0.3 * t,
                "bound": 2.0 * t**0.5,
                "regret": factor * 2.0 * t**0.5 * (1 + 0.01 * rng.random()),
                "bound_sharp": t**0.5,
                "cost_max": 1.0,
                "best_value": 0.3,
                "largest_gap": 0.1,
            }
        )
    return pl.DataFrame(records)


def test_an_exceeded_b4_is_reported():
    config = late_ensemble.EXPERIMENT.presets["quick"]
    assert late_ensemble.report(made_up_late(0.3), config).ok
    broken = late_ensemble.report(made_up_late(0.7), config)
    assert not broken.ok and broken.summary["violated"] == 0 and broken.summary["violated_sharp"] > 0
    assert late_ensemble.report(made_up_late(1.5), config).summary["violated"] > 0


def made_up_robustness(excess: float) -> pl.DataFrame:
    rng, records = np.random.default_rng(1), []
    levels = {
        "base": 0.8,
        "SUP": 0.5,
        "PREF": 0.5,
        "RL": 0.6,
        "Early": 0.5,
        "Late": 0.55,
        ensemble_robustness.CHOSEN: 0.5 + excess,
        "best arm": 0.5,
        "best arm by context": 0.45,
    }
    for setting, (method, level), seed in itertools.product(
        ensemble_robustness.SETTINGS, levels.items(), range(20)
    ):
        records.append(
            {
                "setting": setting,
                "method": method,
                "seed": seed,
                "cost": level + 1e-4 * rng.random(),
                "cost_max": 1.0,
            }
        )
    return pl.DataFrame(records)


def test_goal_and_max_subopt():
    config = ensemble_robustness.EXPERIMENT.presets["quick"]
    for excess, reached in ((0.02, True), (0.03, False)):
        summary = ensemble_robustness.report(made_up_robustness(excess), config).summary
        assert all(item["reached"] is reached for item in summary["goal"][ensemble_robustness.CHOSEN])
        estimate, low, high = summary["max_subopt"]["Late"]
        assert low <= estimate <= high and abs(estimate - 0.05) < 1e-3
        assert "base" not in summary["goal"]


def test_a_refuted_b5_is_reported():
    """Made-up runs above the bound in a fifth of the seeds: refuted at delta = 0.1, level 0.01, by 24 of 120."""
    config = online_learning.EXPERIMENT.presets["quick"]
    records = []
    for setting, learner, seed, t in itertools.product(
        online_learning.SETTINGS, (online_learning.MLE, "cost, greedy"), range(60), ROUNDS
    ):
        closed = online_learning.SETTINGS[setting][1] and learner == online_learning.MLE
        high = closed and seed % 5 == 0 and t == 20_000
        records.append(
            {
                "setting": setting,
                "problem": 0,
                "learner": learner,
                "seed": seed,
                "t": t,
                "regret": 400.0 if high else t**0.5,
                "bound": 2 * t**0.5 if closed else np.nan,
                "bound_fast": 3 * t**0.5 if closed else np.nan,
                "closed": closed,
            }
        )
    rows = pl.DataFrame(records)
    broken = online_learning.report(rows, config)
    assert not broken.ok and broken.summary["violations"]["slow"] == 24
    fine = online_learning.report(rows.with_columns(pl.col("t").sqrt().alias("regret")), config)
    assert fine.ok
    assert abs(next(fit["exponent"] for fit in fine.summary["fits"]) - 0.5) < 0.02


def draw(name, rows):
    module = __import__(f"paper_figures.{name}", fromlist=["FIGURE"])
    config = {"seeds": 6, "trials": 3, "problems": 1, "rounds": 200}
    with style.in_style():
        return module.FIGURE.draw({name: rows}, {name: {"config": config}})


def test_figures_draw_what_the_rows_say():
    figure = draw("late_ensemble", made_up_late(0.5))
    left, right = figure.axes
    rounds = np.array([50, 200, 1000])
    np.testing.assert_allclose(right.lines[0].get_ydata(), np.sqrt(rounds) / (0.1 * rounds), rtol=0.01)
    np.testing.assert_allclose(
        right.lines[1].get_ydata(), 2 * np.sqrt(rounds) / (0.1 * rounds), rtol=1e-6
    )  # B4
    assert next(text.get_text() for text in left.get_yticklabels()) == "Late"
    for marks, _, bars in left.containers:  # a setting each, its bandits from top to bottom
        np.testing.assert_allclose(marks.get_xdata(), np.sqrt(200) / 20, rtol=0.01)
        assert len(bars[0].get_segments()) == len(marks.get_xdata()) == 7
    figure = draw("ensemble_robustness", made_up_robustness(0.02))
    widths = [bar.get_width() for bar in figure.axes[1].patches]
    np.testing.assert_allclose(widths, [0.3, 0, 0, 0.1, 0, 0.05, 0.02], atol=1e-3)


def test_other_figures_draw():
    changes, bandits = drift.CHANGES, ("Late", "Thompson")
    rows = pl.DataFrame(
        [
            {
                "horizon": 200,
                "change": c,
                "bandit": b,
                "excess": 1.0 + i + 0.01 * p,
                "best_fixed": 50.0,
                "problem": p,
                "seed": 0,
            }
            for c in changes
            for i, b in enumerate(bandits)
            for p in range(3)
        ]
    )
    texts = draw("drift", rows).axes[0].texts
    assert [text.get_text() for text in texts] == ["2.0"] * 5 + ["4.0"] * 5
    assert [text.get_fontweight() for text in texts] == ["bold"] * 5 + [
        "normal"
    ] * 5  # clearly worse in every problem
    rows = pl.DataFrame(
        [
            {
                "horizon": 200,
                "user": u,
                "bandit": b,
                "estimator": e,
                "logged": n,
                "regret": 1.0 / n + seed,
                "seed": seed,
            }
            for u in warm_start.USERS
            for b in ("Late", "Thompson", "Late, shifted prior")
            for e in ("none", "doubly robust", "self-normalised")
            for n in (10, 100)
            for seed in range(3)
        ]
    )
    assert len(draw("warm_start", rows).axes) == 2
    learners = (
        "edit-MLE",
        "edit-MLE, short epochs",
        "DPO, calibrated",
        "DPO, reference",
        "cost, greedy",
        "cost, optimistic",
    )
    rows = pl.DataFrame(
        [
            {
                "setting": s,
                "learner": name,
                "problem": 0,
                "seed": seed,
                "t": t,
                "regret": t**0.5,
                "bound": 9.0 * t,
                "bound_fast": 5.0 * t,
            }
            for s in online_learning.SETTINGS
            for name in learners
            for seed in range(2)
            for t in (50, 1000)
        ]
    )
    assert len(draw("online_learning", rows).axes) == 3
    module = __import__("paper_figures.contextual_ensemble", fromlist=["ORDER"])
    rows = pl.DataFrame(
        [
            {"horizon": 200, "method": m, "seed": seed, "cost": 0.1 * i + 0.01 * seed}
            for i, m in enumerate(module.ORDER)
            for seed in range(3)
        ]
    )
    assert len(draw("contextual_ensemble", rows).axes) == 1
