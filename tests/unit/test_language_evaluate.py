"""`edittheory language evaluate`: what it prints and keeps, the same numbers by other means, and mistakes said in one line."""

import json
import shutil

import jax
import numpy as np
import polars as pl
import pytest

from edittheory.cli.main import main
from edittheory.language.evaluate import episodes, one_agent
from edittheory.language.model.checkpoint_folder import save_folder
from edittheory.language.model.tokens import WordTokeniser
from edittheory.language.model.transformer import Transformer
from edittheory.language.train.agents import nano_architecture
from edittheory.language.train.batches import Interaction, make_pairs
from edittheory.language.train.pretrained import Checkpoint
from edittheory.language.world.editors import Editor
from edittheory.language.world.grammar import PROMPT_TOKENS, RESPONSE_TOKENS, NanoWorld
from tests.language_toys import random_checkpoint

LENGTHS = ("--prompt-length", "60", "--response-length", "40")
LOG = [
    ("Summarize this: rain.", "It rains.", "Rain falls."),
    ("Summarize this: sun.", "It shines.", "It shines."),
    ("Summarize this: wind.", "It blows.", "Wind."),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return random_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def log(tmp_path):
    lines = [json.dumps(dict(zip(("prompt", "response", "edit"), row, strict=True))) for row in LOG]
    (tmp_path / "edits.jsonl").write_text("\n".join(lines))
    return tmp_path / "edits.jsonl"


def run(capsys, folder, *words):
    code = main(["language", "evaluate", "--agent", str(folder), *map(str, words)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_table_and_rows_that_agree(capsys, folder, tmp_path):
    words = ("--world", "nano", "--contexts", 6, "--users", "strong", "weak", *LENGTHS, "--out", tmp_path)
    code, out, err = run(capsys, folder, *words)
    assert (code, err) == (0, "")
    assert "edit cost" in out and "summarization" in out and "email" in out
    code, out, _ = run(capsys, folder, *words, "--json")
    found = json.loads(out)
    rows = pl.read_parquet(found["rows"])
    assert rows.height == 2 * 2 * 6
    for one in found["costs"]:
        mine = rows.filter((pl.col("task") == one["task"]) & (pl.col("test_user") == one["test_user"]))
        low, mean, high = one["cost"][1], one["cost"][0], one["cost"][2]
        assert low <= mean <= high and one["n"] == 6
        np.testing.assert_allclose(mean, mine["cost"].cast(pl.Float64).mean(), rtol=1e-6)
        assert one["no_end"] == pytest.approx((~mine["ended"]).mean())
    contexts = NanoWorld().contexts("email", 6, 0, "test")
    agent = Checkpoint(str(folder)).load(60, 40, 32, "float32")
    expected = episodes.judge(contexts, agent.respond([c.text for c in contexts]).texts, Editor("strong"), 0)
    mine = rows.filter((pl.col("task") == "email") & (pl.col("test_user") == "strong"))
    assert mine.select(list(episodes.COLUMNS)).equals(expected)


def test_rows_of_another_command_are_not_written_over(capsys, folder, tmp_path):
    words = ("--world", "nano", "--tasks", "email", "--users", "strong", *LENGTHS, "--out", tmp_path)
    assert run(capsys, folder, *words, "--contexts", 3)[0] == 0
    before = (tmp_path / "evaluation" / "rows.parquet").read_bytes()
    code, out, err = run(capsys, folder, *words, "--contexts", 4)
    assert code == 2 and out == "" and err.count("\n") == 1
    assert (tmp_path / "evaluation" / "rows.parquet").read_bytes() == before


def test_drawn_answers_differ_from_greedy_ones_and_are_the_same_again(capsys, folder):
    words = ("--world", "nano", "--tasks", "email", "--users", "strong", "--contexts", 4, *LENGTHS, "--json")
    greedy, *drawn = (
        json.loads(run(capsys, folder, *words, "--temperature", t)[1])["costs"] for t in (0, 1, 1)
    )
    assert drawn[0] == drawn[1] != greedy


def test_the_nano_agents_own_folder(capsys, tmp_path):
    """words.json in place of a tokeniser: the world and the lengths are then known."""
    words = WordTokeniser(NanoWorld().vocabulary())
    shape = nano_architecture(words.size, 16, 1, 2, 32, PROMPT_TOKENS + RESPONSE_TOKENS)
    save_folder(tmp_path / "nano", Transformer.init(jax.random.key(0), shape), words)
    options = ("--tasks", "email", "--users", "strong", "--contexts", 2)
    found = json.loads(run(capsys, tmp_path / "nano", *options, "--json")[1])
    assert found["world"] == "nano" and found["prompt_length"] == PROMPT_TOKENS
    code, _, err = run(capsys, tmp_path / "nano", *options, "--world", "real-builtin")
    assert code == 2 and "--world must be nano" in err
    (tmp_path / "nano" / "words.json").write_text('["a", "b"]')
    code, _, err = run(capsys, tmp_path / "nano", *options)
    assert code == 2 and "words.json must be a list of tokens that begins with <pad>" in err


def test_a_log_of_edits(capsys, folder, log, tmp_path):
    other = random_checkpoint(tmp_path / "other")
    words = ("--world", "nano", "--tasks", "email", "--users", "strong", "--contexts", 2, "--log", log)
    code, out, _ = run(capsys, folder, *words, "--reference", other, "--json", *LENGTHS)
    assert code == 0
    found = json.loads(out)["log"]
    agent = Checkpoint(str(folder)).load(60, 40, 32, "float32")
    pairs = make_pairs(agent.tokeniser, [Interaction(*row) for row in LOG], 60, 40)
    edit, response = agent.log_probs(pairs)
    assert (found["rows"], found["edited"], found["cut"]) == (3, 2, 0)
    np.testing.assert_allclose(found["token_nll"], -edit.sum() / np.asarray(pairs.edit_len).sum(), rtol=1e-6)
    np.testing.assert_allclose(found["edit_minus_response"][0], (edit - response)[[0, 2]].mean(), rtol=1e-5)
    assert found["drift_edit"] == found["drift_response"] == found["accuracy"] == 0, "the same weights"
    code, out, _ = run(capsys, folder, *words, *LENGTHS)
    assert "3 rows, 2 edited" in " ".join(out.split()) and "against the reference" not in out


def test_an_accepted_log_defines_no_preference(folder):
    agent = Checkpoint(str(folder)).load(60, 40, 32, "float32")
    found = one_agent.likelihood(agent, make_pairs(agent.tokeniser, [Interaction(*LOG[1])], 60, 40))
    assert found.edited == 0 and found.edit_minus_response is None and found.likelier is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--tasks", "poems"), "--tasks must be one of 'email', 'summarization', but it is 'poems'"),
        (("--users", "strong", "strong"), "--users must name some, each once"),
        (("--contexts", "0"), "--contexts must be an integer >= 1"),
        (("--temperature", "-1"), "--temperature must be"),
        (("--level", "0.95"), "level must be a chance of error"),
        (("--world", "mars"), "--world"),
        (("--contexts", "many"), "--contexts"),
        (("--colour",), "--colour"),
        (("--reference", "x"), "--reference needs --log"),
        (("--log", "nowhere.jsonl"), "cannot read nowhere.jsonl"),
        (
            ("--world", "nano", "--prompt-length", "100", "--response-length", "100"),
            "exceed the 130 of the model",
        ),
        (("--world", "real-builtin", "--contexts", "5000"), "--contexts: n must be"),
    ],
)
def test_mistakes_are_said_in_one_line(words, message, capsys, folder):
    code, out, err = run(capsys, folder, *words)
    assert code == 2 and out == "" and err.count("\n") == 1
    assert err.startswith("error: ") and message in err


def broken(folder, tmp_path, name, change):
    mine = shutil.copytree(folder, tmp_path / "broken")
    change(mine / name)
    return mine


def without_a_tensor(file):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(file)
    save_file({name: value for name, value in tensors.items() if "mlp.up_proj" not in name}, file)


def with_template(text):
    def change(file):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": text}))

    return change


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("model.safetensors", without_a_tensor, "lacks the tensor model.layers.0.mlp.up_proj.weight"),
        ("config.json", lambda file: file.unlink(), "is no folder with a checkpoint"),
        ("config.json", lambda file: file.write_text("{"), "config.json is not JSON"),
        ("tokenizer_config.json", with_template("{{ messages[0].nothing.at_all }}"), "cannot be rendered"),
        ("tokenizer_config.json", with_template("Hello"), "shows a user's text 0 times"),
        (
            "tokenizer_config.json",
            with_template("<|start_header_id|>user{{ messages[0].content }}"),
            "writes <|start_header_id|>, which is no token",
        ),
    ],
)
def test_a_damaged_checkpoint_is_named(name, change, message, capsys, folder, tmp_path):
    code, out, err = run(capsys, broken(folder, tmp_path, name, change), "--world", "nano")
    assert code == 2 and out == "" and err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize(
    ("text", "message"), [("", "no usable line among 0"), ("{}\n", "no usable line among 1")]
)
def test_an_empty_log_is_named_before_anything_is_computed(text, message, capsys, folder, tmp_path):
    (tmp_path / "edits.jsonl").write_text(text)
    code, out, err = run(capsys, folder, "--log", tmp_path / "edits.jsonl", "--out", tmp_path / "rows")
    assert code == 2 and out == "" and message in err
    assert not (tmp_path / "rows").exists()


def test_help_names_the_options(capsys):
    assert main(["language"]) == 0
    assert main(["language", "evaluate", "--help"]) == 0
    said = capsys.readouterr().out
    assert "--agent" in said and "--temperature" in said
    assert main(["language", "train"]) == 2
