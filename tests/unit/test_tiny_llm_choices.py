"""tiny_llm: what its configuration refuses, its cells, its choices between candidates, its reports."""

import dataclasses

import numpy as np
import polars as pl
import pytest

import experiments
from edittheory.core.errors import RunError
from experiments import tiny_llm, tiny_llm_config, tiny_llm_ensembles, tiny_llm_plan, tiny_llm_pretrained
from experiments.tiny_llm_config import Config, candidates, cells
from experiments.tiny_llm_presets import PRESETS
from experiments.tiny_llm_stages import Outcome
from tests.language_toys import made_up

SMOKE = PRESETS["smoke"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("agent", "", "agent must be"),
        ("curve", (10,), r"curve\[0\] must be an integer in \[16, 599\]"),
        ("curve", (200, 100), "curve must increase"),
        ("other_seeds", 4, r"other_seeds must be an integer in \[1, 3\]"),
        ("train_users", ("strong", "strong"), "train_users must not repeat itself"),
        ("dim", 60, "dim must be a multiple of 2 \\* heads"),
        ("dpo_scales", (), "dpo_scales must hold at least one item"),
        ("sft_rates", (0.0,), r"sft_rates\[0\] must be a finite number > 0"),
        ("select", "luck", "select must be one of"),
        ("keep_prob", 1.5, r"keep_prob must be .*1\.5"),
        ("least_recall", -0.1, "least_recall must be"),
    ],
)
def test_bad_configurations_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(Config(), **{field: value})


def test_cells_of_a_curve():
    config = tiny_llm.EXPERIMENT.resolve(dataclasses.replace(SMOKE, curve=(16, 24), train_users=("weak",)))
    assert [(cell["n"], cell["method"]) for cell in cells(config)] == [
        *((32, name) for name in ("base", "SFT", "DPO s=1", "Early 0.05", "RL", "ensembles")),
        *((n, name) for n in (24, 16) for name in ("SFT", "DPO s=1", "Early 0.05")),
    ]
    assert tiny_llm_config.epochs(dataclasses.replace(config, least_steps=10), 16) == 10
    assert tiny_llm_config.epochs(dataclasses.replace(config, least_steps=10), 32) == 5


def outcome(cost, loss, unended=0.0, recall=0.9, loops=0.0):
    names = ("held_cost", "held_loss", "held_unended", "held_recall", "held_loops")
    measures = dict(zip(names, (cost, loss, unended, recall, loops), strict=True))
    return Outcome([], ([], []), measures, np.zeros(1), np.zeros(1))


BASE = outcome(0.6, 0.5, recall=0.8, loops=0.02)


def test_choices_mind_what_costs_the_user_nothing():
    """Texts without an end, without the facts, with loops: the cheapest policy is not chosen for them."""
    good = {"a": outcome(0.3, 0.1), "b": outcome(0.1, 0.9)}
    bad = {
        "no end": outcome(0.0, 0.0, unended=0.06),
        "forgetful": outcome(0.0, 0.0, recall=0.39),
        "looping": outcome(0.0, 0.0, loops=0.08),
    }
    for name, one in bad.items():
        found = good | {name: one}
        assert tiny_llm_ensembles.pick(Config(), found, BASE, "cost") == "b"
        assert tiny_llm_ensembles.pick(Config(), found, BASE, "loss") == "a"
        lenient = Config(most_unended=0.1, least_recall=0.3, most_loops=0.1)
        assert tiny_llm_ensembles.pick(lenient, found, BASE, "cost") == name
    assert tiny_llm_ensembles.pick(Config(), bad, BASE, "cost") == "no end"


def test_choices_by_both_rules():
    config = tiny_llm.EXPERIMENT.resolve(dataclasses.replace(SMOKE, dpo_scales=(1.0, 0.1), rl_steps=0))
    trained = {
        "SFT": outcome(0.2, 0.2),
        "DPO s=1": outcome(0.5, 0.3),
        "DPO s=0.1": outcome(0.4, 0.4),
        "Early 0.05": outcome(0.3, 0.1),
    }
    assert tiny_llm_ensembles.choices(config, candidates(config), trained, BASE) == {
        "DPO": "DPO s=0.1",
        "DPO, by loss": "DPO s=1",
        "Early": "Early 0.05",
        "pick by cost": "SFT",
        "pick by loss": "Early 0.05",
    }


def test_the_report_stands_where_the_two_rules_differ_in_some_settings_only():
    """Rows of "DPO, by loss" are there for one setting of four: the table has a line for it, DPO's elsewhere."""
    rows = made_up()
    here = rows.filter(
        (pl.col("method") == "DPO") & (pl.col("task") == "email") & (pl.col("train_user") == "weak")
    )
    by_loss = here.with_columns(pl.lit("DPO, by loss").alias("method"), pl.col("cost") + 0.1)
    report = tiny_llm.EXPERIMENT.report(pl.concat([rows, by_loss]), Config())
    table = report.summary["strong"]["table"]
    dpo, other = table["DPO"]["cost"], table["DPO, by loss"]["cost"]
    assert other["email/weak"] == pytest.approx(dpo["email/weak"] + 0.1, abs=1e-6)
    assert {name: cost for name, cost in other.items() if name != "email/weak"} == {
        name: cost for name, cost in dpo.items() if name != "email/weak"
    }


def test_a_full_disk_is_noticed(tmp_path, monkeypatch):
    config = tiny_llm.EXPERIMENT.resolve(PRESETS["nano"])
    line = tiny_llm_plan.announce(config, 28, tmp_path)
    assert line.startswith("28 of 28 policies and ensembles to come, 14") and "MB of disk" in line
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10_000})())
    with pytest.raises(
        RunError, match=r"needs about 0.0 GB of disk, but 0.0 GB are free; choose another --out"
    ):
        tiny_llm_plan.announce(config, 28, tmp_path)


def test_the_curve_reports_every_size():
    experiment = experiments.get("tiny_llm_curve")
    report = experiment.report(made_up(sizes=(100, 600)), experiment.preset("smoke"))
    found = {
        (row["task"], row["train_user"], row["method"], row["n"]): row["cost"]
        for row in report.summary["means"]
    }
    assert found["email", "weak", "SFT", 100] == pytest.approx(0.55, abs=1e-6)
    assert ("email", "weak", "Late", 100) not in found


def test_restyled_texts_hold_what_was_said():
    text = "The council opens a new bridge on Monday. It is nine metres long."
    rng = np.random.default_rng(4)
    found = [tiny_llm_pretrained.restyled(text, rng, 0.25) for _ in range(30)]
    assert len(set(found)) > 20 and sum("bridge" in one for one in found) == 30
