"""The pretrained arm: its report shows its rows; its path runs without the packages it needs at size."""

import dataclasses
import json

import polars as pl
import pytest

from edittheory.language.train.pretrained import Checkpoint
from experiments import tiny_llm, tiny_llm_pretrained, tiny_llm_recipes, tiny_llm_smollm
from experiments.tiny_llm_config import Config, candidates, cells
from experiments.tiny_llm_presets import PRESETS
from experiments.tiny_llm_recipes import Place
from experiments.tiny_llm_stages import workshop
from tests.language_toys import cost_of, made_up, random_checkpoint

SETTINGS = (("summarization", "strong"), ("summarization", "weak"))


@pytest.fixture(scope="module")
def rows():
    one = made_up(methods=("base", "SFT", "DPO", "Early"), settings=SETTINGS, seeds=1).with_columns(
        pl.col("method").replace({"DPO": "DPO s=1", "Early": "Early 0.05"})
    )
    two = one.with_columns(pl.lit(1, pl.Int16).alias("base_seed"), pl.col("cost") + 0.2)
    return pl.concat([one, two])


def test_the_report_says_what_its_intervals_are_over(rows):
    report = tiny_llm_smollm.EXPERIMENT.report(rows, Config())
    assert "not over trainings" in report.renderables[0].title
    found = {(one["train_user"], one["family"]): one for one in report.summary["families"]}
    assert set(found) == {
        (user, name) for user in ("strong", "weak") for name in ("base", "SFT", "DPO", "Early")
    }
    for (user, name), one in found.items():
        mean = cost_of(name, user) - 0.01
        assert one["each"] == pytest.approx([mean, mean + 0.2], abs=1e-6) and one["replicates"] == 2
        assert one["cost"] == pytest.approx(mean + 0.1, abs=1e-6) and one["low"] < one["cost"] < one["high"]


def test_replicates_are_complete_one_after_the_other():
    found = cells(tiny_llm_smollm.EXPERIMENT.preset("quick"))
    places = list(dict.fromkeys((cell["base_seed"], cell["train_user"]) for cell in found))
    assert places == [(0, "strong"), (0, "weak"), (1, "strong"), (1, "weak")]
    labels = [cell["method"] for cell in found[:7]]
    two = ["DPO s=1, rate 0.0003", "DPO s=1, rate 0.003"]
    assert labels == ["base", "SFT", *two, "Mix 1", "Early 0.05", "ensembles"]
    assert [tiny_llm_smollm.family(label) for label in two] == ["DPO 0.0003", "DPO 0.003"]


def test_a_kept_policy_ends_where_its_checkpoint_did(tmp_path):
    """All ends of text that the checkpoint named, through training and back."""
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "generation_config.json").write_text(
        json.dumps({"eos_token_id": [config["eos_token_id"], 7]})
    )
    agent = Checkpoint(str(checkpoint)).load(20, 10, 4, "float32")
    assert set(agent.ends) == {config["eos_token_id"], 7}
    kept = tiny_llm_pretrained.keep(tmp_path / "models", agent, "DPO s=1")
    again = Checkpoint(str(kept)).load(20, 10, 4, "float32")
    assert set(again.ends) == set(agent.ends) and again.tokeniser.identity() == agent.tokeniser.identity()


@pytest.mark.slow
def test_mixed_candidates_and_drawn_answers(tmp_path):
    """The arm's path with a checkpoint of nobody's: adapters, Mix, answers at a temperature, the same for all policies."""
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    config = dataclasses.replace(
        PRESETS["smoke"], agent=str(checkpoint), world="real-builtin", tasks=("summarization",), train_users=("weak",),
        rounds=4, held_out=4, logs=16, warm_examples=16, mix_weights=(1.0,), lora_rank=2, rl_steps=0, test_temperature=1.0,
        prompt_length=60, response_length=40, sft_rates=(1e-9,), dpo_rates=(1e-9,), early_rates=(1e-9,),
    )  # fmt: skip
    config = tiny_llm.EXPERIMENT.resolve(config)
    made, place = workshop(tmp_path / "shared"), Place(0, 0, "summarization", "weak")
    labels = ["base", *(one.label for one in candidates(config))]
    assert "Mix 1" in labels
    found = {}
    for label in labels:
        found[label] = made.outcome(tiny_llm_recipes.trial(config, place, label, config.logs))
    for label in labels:
        assert found[label].tests == found["base"].tests, "the same draws, and weights that hardly moved"
    greedy = dataclasses.replace(config, test_temperature=0.0)
    assert (
        made.outcome(tiny_llm_recipes.trial(greedy, place, "base", config.logs)).tests != found["base"].tests
    )
    shared = tiny_llm.run_cell(config, cells(config)[-1], None, tmp_path / "shared")
    assert "Late, shared" not in shared["method"].to_list() and "Late" in shared["method"].to_list()
