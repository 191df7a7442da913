"""`edittheory log train`: the language track's learners on a user's log, with a tiny agent made here."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from edittheory.core.errors import RunError
from edittheory.language.model.architecture import Architecture
from edittheory.language.model.byte_bpe import ByteBPE
from edittheory.language.model.checkpoint_folder import load_folder, save_folder
from edittheory.language.model.transformer import Transformer
from edittheory.logs import learning, reading
from edittheory.logs.command import main

NAMES = ("Ann", "Bo", "Cy", "Di", "Eve", "Flo")


def rows(count: int = 48) -> list[dict]:
    """Every edit greets and signs; one in four responses is accepted as it is."""
    made = []
    for k in range(count):
        name = NAMES[k % len(NAMES)]
        plain, polite = f"Hi {name}, see you.", f"Dear {name}, see you soon. Best, Tom"
        response = polite if k % 4 == 3 else plain
        made.append(
            {"prompt": f"Write to {name}.", "response": response, "edit": polite, "document": f"d{k // 2}"}
        )
    return made


def write(path: Path, records: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in records), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def agent(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("agent")
    texts = [row[side] for row in rows() for side in ("prompt", "response", "edit")]
    tokeniser = ByteBPE.train(texts, 300)
    shape = Architecture(
        vocab_size=tokeniser.size,
        dim=16,
        layers=1,
        heads=2,
        kv_heads=2,
        head_dim=8,
        hidden_dim=32,
        max_length=64,
    )
    return save_folder(folder, Transformer.init(jax.random.key(0), shape), tokeniser)


COMMON = ["--epochs", "2", "--batch", "8", "--rank", "2"]


def run(log: Path, agent: Path, out: Path, loss: str, *options: str) -> int:
    return main(
        ["train", str(log), "--agent", str(agent), "--loss", loss, "--out", str(out), *COMMON, *options]
    )


@pytest.mark.parametrize(
    "loss, better", [("sft", "token_nll"), ("dpo", "preference_loss"), ("mix", "token_nll")]
)
def test_held_out_loss_falls_and_a_folder_comes_out(tmp_path, agent, capsys, loss, better):
    log = write(tmp_path / "log.jsonl", rows())
    assert run(log, agent, tmp_path / "out", loss, "--learning-rate", "0.02", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["after"][better] < found["before"][better] - 0.05
    assert found["before"]["drift_edit"] == 0.0 and found["before"]["preference_loss"] == pytest.approx(
        np.log(2)
    )
    assert found["trained_on"] + found["held_out"] + sum(found["dropped"].values()) == found["used"] == 48
    assert found["dropped"] == ({learning.UNEDITED: 12} if loss == "dpo" else {})
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "training.json",
    ]  # fmt: skip
    model, _ = load_folder(tmp_path / "out")
    first, _ = load_folder(agent)
    assert not np.allclose(model.layers.qkv, first.layers.qkv) and np.array_equal(
        model.embedding, first.embedding
    )
    assert learning.load_agent(tmp_path / "out", None)[1].before == learning.load_agent(agent, None)[1].before
    assert run(log, agent, tmp_path / "out", loss) == 2
    assert "holds a model; choose another --out, or train again with --force" in capsys.readouterr().err


def test_a_stopped_training_goes_on_with_the_same_bits_and_another_is_refused(tmp_path, agent, monkeypatch):
    log, _ = reading.load(write(tmp_path / "log.jsonl", rows(240)), reading.Options())
    plan = learning.Plan(loss="mix", epochs=1, batch=4, rank=2, learning_rate=1e-2)
    learning.train(log, agent, tmp_path / "whole", plan)

    class Stopped(Exception):
        pass

    def stop(progress):
        raise Stopped

    with pytest.raises(Stopped):
        learning.train(log, agent, tmp_path / "parts", plan, stop)
    assert [p.name for p in (tmp_path / "parts").iterdir()] == [learning.STATE]
    with pytest.raises(RunError, match="belongs to another training"):
        learning.train(log, agent, tmp_path / "parts", plan._replace(seed=1))
    steps = []
    learning.train(log, agent, tmp_path / "parts", plan, lambda progress: steps.append(progress.step))
    assert steps and steps[0] > 20  # the first chunk is not done again
    for name in ("model.safetensors", "tokenizer.json"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_documents_are_held_out_whole_and_nothing_is_cut(tmp_path, agent):
    records = [*rows(), {"prompt": "x " * 200, "response": "a b", "edit": "a c", "document": "long"},
                        {"prompt": "p", "response": "a " * 200, "edit": "a c", "document": "long"},
                        {"prompt": "p", "response": "a b", "edit": " ", "document": "gone"}]  # fmt: skip
    log, _ = reading.load(write(tmp_path / "log.jsonl", records), reading.Options())
    model, tokeniser = learning.load_agent(agent, None)
    data = learning.prepare(log, tokeniser, model.architecture.max_length, learning.Plan())
    assert set(data.dropped.values()) == {1} and len(data.dropped) == 3
    assert {reason.split(" than")[0] for reason in data.dropped if "than" in reason} == {
        "prompt longer",
        "response or edit longer",
    }
    assert data.train.size + data.test.size == 48 and data.test.size % 2 == 0
    assert not np.asarray(data.train.cut).any() and not np.asarray(data.test.cut).any()


@pytest.mark.parametrize("options, message", [
    (["--loss", "kto"], "--loss must be one of sft, dpo, mix"),
    (["--rank", "-1"], "--rank must be in [0, 1024]"),
    (["--learning-rate", "0"], "--learning-rate must be in (0, 1]"),
    (["--split", "1"], "--split must be in (0, 1)"),
    (["--by", "mood"], "--by must be one of document"),
    (["--by", "source"], "--by source: line 1 has none"),
    (["--prompt-length", "64", "--response-length", "64"], "together at most the model's 64 positions"),
    (["--prompt-length", "4"], "no record is left to train on, of 48 (prompt longer than 4 tokens: 48)"),
    (["--split", "1e-9"], "no record is left held out, of 48 (none dropped)"),
    (["--agent", "nowhere"], "--agent nowhere is not a folder"),
])  # fmt: skip
def test_mistakes_are_said_in_one_line_and_leave_nothing(
    tmp_path, monkeypatch, agent, capsys, options, message
):
    monkeypatch.chdir(tmp_path)
    log = write(tmp_path / "log.jsonl", rows())
    words = {"--agent": str(agent), "--loss": "sft", "--out": "out"}
    words |= dict(zip(options[::2], options[1::2], strict=True))
    assert main(["train", str(log), *(part for pair in words.items() for part in pair)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("error: ") and message in said[0], said
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_what_an_agent_lacks_is_named(tmp_path, agent, capsys):
    log = write(tmp_path / "log.jsonl", rows())

    def refusal(change) -> str:
        shutil.rmtree(tmp_path / "agent", ignore_errors=True)
        shutil.copytree(agent, tmp_path / "agent")
        change(tmp_path / "agent")
        assert run(log, tmp_path / "agent", tmp_path / "out", "sft") == 2
        (said,) = capsys.readouterr().err.splitlines()
        return said

    def untemplated(folder: Path) -> None:
        config = json.loads((folder / "tokenizer_config.json").read_text())
        config.pop("chat_template")
        (folder / "tokenizer_config.json").write_text(json.dumps(config))

    assert "has no chat template" in refusal(untemplated) and not (tmp_path / "out").exists()
    assert run(log, tmp_path / "agent", tmp_path / "out", "sft", "--frame", "User: ", "\nAgent: ") == 0
    shutil.rmtree(tmp_path / "out")
    capsys.readouterr()
    assert "tokenizer.json does not exist" in refusal(lambda folder: (folder / "tokenizer.json").unlink())
    assert "config.json" in refusal(lambda folder: (folder / "config.json").unlink())
    assert "neither model.safetensors nor" in refusal(lambda folder: (folder / "model.safetensors").unlink())

    def without_a_tensor(folder: Path) -> None:
        from safetensors.numpy import load_file, save_file

        weights = load_file(folder / "model.safetensors")
        weights.pop("model.norm.weight")
        save_file(weights, folder / "model.safetensors")

    assert "model.norm.weight" in refusal(without_a_tensor)


def test_accepted_logs_have_no_preference(tmp_path, agent, capsys):
    same = [{**row, "response": row["edit"]} for row in rows()]
    log = write(tmp_path / "log.jsonl", same)
    assert run(log, agent, tmp_path / "out", "mix") == 2
    assert "nothing is preferred: use --loss sft" in capsys.readouterr().err
    assert run(log, agent, tmp_path / "out", "dpo") == 2
    assert f"({learning.UNEDITED}: 48)" in capsys.readouterr().err and not (tmp_path / "out").exists()
