"""tiny_llm: every field of the configuration names what is kept of the stages that it changes."""

import dataclasses
import json

import pytest

from edittheory.runs.identity import canonical, stable_hash
from experiments import tiny_llm, tiny_llm_recipes
from experiments.tiny_llm_config import Config, candidates, cells
from experiments.tiny_llm_presets import PRESETS
from experiments.tiny_llm_recipes import Place
from tests.language_toys import random_checkpoint

SMOKE = PRESETS["smoke"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return random_checkpoint(tmp_path_factory.mktemp("checkpoint"))


OTHER = {
    "agent": "FOLDER", "world": "real-builtin", "tasks": ("summarization",), "train_users": ("noisy",),
    "test_users": ("weak",), "curve": (20,), "sft_rates": (2e-3,), "dpo_rates": (2e-3,), "dpo_scales": (0.3,),
    "early_rates": (2e-3,), "early_weights": (0.3,), "select": "loss", "rivals": True, "compute_dtype": "bfloat16",
    "dim": 32, "least_steps": 99, "keep_models": True, "mix_weights": (0.5,), "mix_rates": (2e-3,), "test_temperature": 0.7,
}  # fmt: skip
"""Another value of each field that is not a number; numbers are doubled or halved."""

REFERENCE = """dim layers heads hidden_dim base_steps base_batch base_rate prompt_length response_length compute_dtype
seed style_rate world agent"""
FIRST_STAGE = {
    "reference": REFERENCE.split(),
    "responses": ["logs"],
    "log": ["keep_prob"],
    "policy": ["batch", "epochs", "least_steps", "rl_steps", "rl_rate", "rl_beta", "rl_pessimism",
               "lora_rank", "mix_weights", "sft_rates", "dpo_rates", "dpo_scales", "early_rates", "early_weights"],
    "outcome": ["held_out", "rounds", "online_seeds", "test_temperature"],
    "rows": ["tasks", "train_users", "test_users", "base_seeds", "train_seeds", "other_seeds", "curve", "select",
             "most_unended", "least_recall", "most_loops", "medley_power", "late_exploration", "rivals", "samples"],
    "nothing": ["batch_answers", "keep_models", "slip_prob", "warm_examples", "warm_rate", "mix_rates", "shortest_text",
                "longest_text"],
}  # fmt: skip
"""The first stage whose result a field changes, for the smoke configuration and a weak user; every field is here once.

"rows": no stage's result, what is computed from them. "nothing": how to compute, or another user's, or another agent's.
"""


def changed(config, field):
    value = getattr(config, field)
    if field in OTHER:
        other = OTHER[field]
    elif isinstance(value, int):
        other = 2 * value + (value == 0)
    else:
        other = value / 2
    return dataclasses.replace(config, **{field: other})


def identities(config):
    """Hashes of each stage's recipes for the weak log of training seed 0."""
    place = Place(0, 0, "email", "weak")
    labels = [one.label for one in candidates(config, config.logs)]
    trials = [tiny_llm_recipes.trial(config, place, label, config.logs) for label in ("base", *labels)]
    log = trials[0].log
    stages = {
        "reference": log.responses.reference,
        "responses": log.responses,
        "log": log,
        "policy": tuple((trial.log, trial.training) for trial in trials),
        "outcome": tuple(trials),
    }
    return {name: stable_hash(tiny_llm_recipes.identity(recipe)) for name, recipe in stages.items()}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Config)])
def test_every_field_is_in_the_identity_of_the_stages_that_it_changes(field, checkpoint):
    config = tiny_llm.EXPERIMENT.resolve(SMOKE)
    other = changed(config, field)
    if field == "agent":
        other = dataclasses.replace(other, agent=str(checkpoint))
    (first,) = [stage for stage, names in FIRST_STAGE.items() if field in names]
    one, two = identities(config), identities(other)
    stages = list(one)
    expected = stages[stages.index(first) :] if first in stages else []
    assert [stage for stage in stages if one[stage] != two[stage]] == expected


def test_fields_of_a_pretrained_agent_are_in_its_identity(checkpoint):
    """Also which files the checkpoint has, wherever they lie."""
    config = dataclasses.replace(SMOKE, agent=str(checkpoint), prompt_length=50, response_length=80)
    config = tiny_llm.EXPERIMENT.resolve(config)
    one = identities(config)["reference"]
    for field in ("warm_examples", "warm_rate", "tasks", "batch", "style_rate"):
        assert identities(changed(config, field))["reference"] != one
    real = dataclasses.replace(config, world="real-builtin", shortest_text=20)
    for field in ("shortest_text", "longest_text"):
        assert identities(changed(real, field))["reference"] != identities(real)["reference"]
    mixed = dataclasses.replace(config, mix_weights=(1.0,))
    assert identities(changed(mixed, "mix_rates"))["policy"] != identities(mixed)["policy"]
    assert identities(changed(config, "base_steps"))["reference"] == one
    settings = json.loads((checkpoint / "tokenizer_config.json").read_text())
    (checkpoint / "tokenizer_config.json").write_text(json.dumps(settings | {"eos_token": "<sep>"}))
    assert identities(config)["reference"] != one
    (checkpoint / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.mark.slow
def test_another_user_is_not_given_the_numbers_that_are_kept(tmp_path):
    """One folder, two values of keep_prob: the second run's numbers are its own."""
    config = tiny_llm.EXPERIMENT.resolve(SMOKE)
    cell = next(cell for cell in cells(config) if cell["train_user"] == "weak")
    found = {}
    for name, keep_prob, folder in (("a", 0.4, "one"), ("b", 1.0, "one"), ("fresh b", 1.0, "two")):
        mine = dataclasses.replace(config, keep_prob=keep_prob)
        found[name] = tiny_llm.run_cell(mine, cell, None, tmp_path / folder)
    assert found["b"].equals(found["fresh b"])
    assert found["a"]["held_cost"][0] != found["b"]["held_cost"][0]


def test_defaults_of_later_fields_leave_the_identity_as_it_was():
    later = {"keep_prob", "slip_prob", "style_rate", "least_recall", "most_loops", "lora_rank", "mix_weights"}
    later |= {"mix_rates", "shortest_text", "longest_text", "test_temperature"}
    assert not later & set(canonical(Config()))
    trial = tiny_llm_recipes.trial(
        tiny_llm.EXPERIMENT.resolve(SMOKE), Place(0, 0, "email", "weak"), "base", 32
    )
    assert "temperature" not in tiny_llm_recipes.identity(trial)
    assert canonical(Config(keep_prob=0.2))["keep_prob"] == 0.2


@pytest.mark.slow
@pytest.mark.parametrize("method", ["DPO s=1", "RL"])
def test_adapters_train_another_policy(method, tmp_path):
    """With `lora_rank` a cell runs, and what it trains is not what all weights give."""
    config = tiny_llm.EXPERIMENT.resolve(dataclasses.replace(SMOKE, rl_rate=1e-2, dpo_rates=(1e-2,)))
    cell = next(cell for cell in cells(config) if cell["method"] == method)
    folder = tmp_path / "shared"
    found = [
        tiny_llm.run_cell(dataclasses.replace(config, lora_rank=rank), cell, None, folder) for rank in (0, 2)
    ]
    assert found[0]["held_loss"][0] != found[1]["held_loss"][0]
    assert found[1]["drift_edit"][0] != 0
