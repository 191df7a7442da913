"""Byte-level BPE: training, files, the parts of a GGUF file, frames of prompts, and text of any script."""

import json

import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from edittheory.core.errors import InputError
from edittheory.language.model.byte_bpe import CHATML, ByteBPE
from edittheory.language.model.checkpoint_folder import save_folder, special_ids
from edittheory.language.model.tokens import Tokeniser, layout
from edittheory.language.model.transformer import Transformer
from edittheory.language.train.agents import nano_architecture
from edittheory.text.sample_texts import SAMPLE_TEXTS

TRAINED = ByteBPE.train(SAMPLE_TEXTS, 400)


def parts():
    """What a GGUF file of such a tokeniser would hold."""
    data = json.loads(TRAINED.tokenizer.to_str())
    vocabulary = sorted(data["model"]["vocab"].items(), key=lambda pair: pair[1])
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in data["model"]["merges"]]
    tokens = [token for token, _ in vocabulary] + ["<|im_start|>", "<|im_end|>"]
    return {
        "model": "gpt2", "pre": "smollm", "tokens": tokens, "merges": merges,
        "token_types": [3] * 4 + [1] * (len(tokens) - 6) + [3, 3], "bos": len(tokens) - 2, "eos": len(tokens) - 1,
        "pad": None,
    }  # fmt: skip


def test_training_is_deterministic_and_shortens():
    assert TRAINED.identity() == ByteBPE.train(SAMPLE_TEXTS, 400).identity()
    assert TRAINED.size == 400 and isinstance(TRAINED, Tokeniser)
    assert len(TRAINED.encode(SAMPLE_TEXTS[0])) < 0.6 * len(SAMPLE_TEXTS[0].encode())
    assert (TRAINED.pad_id, TRAINED.bos_id, TRAINED.eos_id, TRAINED.sep_id) == (0, 1, 2, 3)
    with pytest.raises(ValueError, match="size must be an integer >= 260"):
        ByteBPE.train(SAMPLE_TEXTS, 200)
    with pytest.raises(ValueError, match="texts must hold at least one"):
        ByteBPE.train([], 300)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_round_trip_is_exact_on_any_text(text):
    for tokeniser in (TRAINED, PARTS):
        ids = tokeniser.encode(text)
        assert tokeniser.decode(ids) == text
        assert not {tokeniser.bos_id, tokeniser.eos_id} & set(ids)


PARTS = ByteBPE.from_parts(parts(), frame=CHATML)


@pytest.mark.parametrize(
    "text", ["<eos> and <|im_end|>", "👩🏽‍🚀 🇫🇷 e\u0301 \u202eשלום\u202c \x00\x1b", " two  spaces\n\n"]
)
def test_names_of_specials_are_plain_text(text):
    for tokeniser in (TRAINED, PARTS):
        ids = tokeniser.encode(text)
        assert tokeniser.decode([tokeniser.bos_id, *ids, tokeniser.eos_id]) == text
        assert tokeniser.eos_id not in ids


def write(tokeniser, folder):
    for name, content in tokeniser.files().items():
        (folder / name).write_text(content, encoding="utf-8")


def test_files_are_read_back(tmp_path):
    write(TRAINED, tmp_path)
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        loaded = ByteBPE.load(path)
        assert loaded.identity() == TRAINED.identity()
        assert (loaded.pad_id, loaded.sep_id) == (0, 3)
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": {"content": "<sep>"}, "bos_token": "<pad>"})
    )
    loaded = ByteBPE.load(tmp_path)
    assert (loaded.eos_id, loaded.bos_id) == (3, 0)
    assert ByteBPE.load(tmp_path, eos="<bos>").eos_id == 1


@pytest.mark.parametrize("tokeniser", [TRAINED, PARTS], ids=["trained", "chat"])
def test_a_checkpoint_folder_names_its_specials_and_its_frame(tokeniser, tmp_path):
    """What AutoTokenizer needs is in the folder, and a tokeniser read back from it has the same specials and frame."""
    model = Transformer.init(jax.random.key(0), nano_architecture(tokeniser.size, 8, 1, 1, 8, 60))
    save_folder(tmp_path, model, tokeniser)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    for role in ("bos", "eos", "pad"):
        number = tokeniser.tokenizer.token_to_id(config[f"{role}_token"])
        assert number == getattr(tokeniser, f"{role}_id")
        assert special_ids(tmp_path)[role] == (number,)
    loaded = ByteBPE.load(tmp_path)
    assert loaded.identity() == tokeniser.identity() and loaded.sep_id == tokeniser.sep_id
    assert (loaded.before, loaded.after) == (tokeniser.before, tokeniser.after)
    for text in CHATML if tokeniser is PARTS else ("<bos>", "<sep>"):
        assert json.dumps(text) in config["chat_template"]


@pytest.mark.parametrize("tokeniser", [TRAINED, PARTS], ids=["trained", "chat"])
@pytest.mark.filterwarnings("ignore")  # theirs
def test_auto_tokenizer_of_transformers_frames_a_prompt_alike(tokeniser, tmp_path):
    transformers = pytest.importorskip("transformers")
    model = Transformer.init(jax.random.key(0), nano_architecture(tokeniser.size, 8, 1, 1, 8, 60))
    save_folder(tmp_path, model, tokeniser)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for role in ("bos", "eos", "pad"):
        assert getattr(theirs, f"{role}_token_id") == getattr(tokeniser, f"{role}_id")
    text = SAMPLE_TEXTS[1]
    asked = [{"role": "user", "content": text}]
    found = theirs.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
    assert tuple(found) == (*tokeniser.before, *tokeniser.encode(text), *tokeniser.after)
    told = theirs.apply_chat_template([*asked, {"role": "assistant", "content": "Yes."}], return_dict=False)
    assert told[len(found) :] == [*tokeniser.encode("Yes."), tokeniser.eos_id]
    assert theirs.decode(tokeniser.encode(text)) == text


def test_load_refuses(tmp_path):
    path = tmp_path / "tokenizer.json"
    with pytest.raises(InputError, match="does not exist"):
        ByteBPE.load(tmp_path / "none")
    path.write_text('{"version": "1.0"')
    with pytest.raises(InputError, match=r"tokenizer\.json is not a tokenizer"):
        ByteBPE.load(path)
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    path.write_text(tokenizer.to_str())
    with pytest.raises(InputError, match="no token for bos found"):
        ByteBPE.load(path)
    with pytest.raises(InputError, match="no token 'b', which is to be eos"):
        ByteBPE.load(path, bos="a", eos="b")
    with pytest.raises(InputError, match="loses characters"):
        ByteBPE.load(path, bos="a", eos="a")
    write(TRAINED, tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[1]")
    with pytest.raises(InputError, match="must hold an object"):
        ByteBPE.load(path)


def test_parts_of_a_gguf_file_give_the_same_merges_with_digits_apart():
    text = "The library opens on Sundays."
    assert PARTS.encode(text) == TRAINED.encode(text)
    assert len(PARTS.encode("2024")) == 4
    assert PARTS.size == TRAINED.size + 2
    start, end = PARTS.size - 2, PARTS.size - 1
    assert PARTS.before == (start, *PARTS.encode("user\n")) and PARTS.bos_id == start
    assert (
        PARTS.after == (end, *PARTS.encode("\n"), start, *PARTS.encode("assistant\n")) and PARTS.eos_id == end
    )


@pytest.mark.parametrize("pre", ["gpt-2", "default", "llama-bpe", "qwen2"])
def test_other_kinds_of_splitting(pre):
    tokeniser = ByteBPE.from_parts({**parts(), "pre": pre})
    text = "It's 2024: naïve  👩🏽‍🚀!\n\nThe end"
    assert tokeniser.decode(tokeniser.encode(text)) == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "llama"}, "tokeniser of kind 'llama'"),
        ({"pre": "odd"}, "known are 'gpt2' with 'smollm'"),
        ({"eos": 10_000}, r"eos must be in \[0, 401\], but it is 10000"),
        ({"eos": None}, "eos is missing"),
        ({"merges": ["zzz qqq"]}, "do not fit together"),
    ],
)
def test_parts_refused(change, message):
    with pytest.raises(InputError, match=message):
        ByteBPE.from_parts({**parts(), **change})


def test_layout_cuts_at_a_word_and_keeps_the_frame():
    text = SAMPLE_TEXTS[0]
    laid = layout(PARTS, [text, "Hi"], [text, "Hi"], 40, 30)
    frame = len(PARTS.before) + len(PARTS.after)
    for row, prompt in enumerate((text, "Hi")):
        ids = laid.prompts[row, 40 - laid.prompt_len[row] :].tolist()
        assert (
            tuple(ids[: len(PARTS.before)]) == PARTS.before and tuple(ids[-len(PARTS.after) :]) == PARTS.after
        )
        shown = PARTS.decode(ids[len(PARTS.before) : len(ids) - len(PARTS.after)])
        assert prompt.startswith(shown) and (shown == prompt or prompt[len(shown)].isspace())
    assert laid.prompt_cut.tolist() == [True, False] == laid.cut.tolist()
    assert frame < laid.prompt_len[0] <= 40
