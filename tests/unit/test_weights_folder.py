"""Checkpoint folders: logits that transformers computed, folders written and read back, and damage that is named."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.core.errors import InputError
from edittheory.language.model.architecture import Architecture, RopeScaling
from edittheory.language.model.checkpoint_config import read_architecture
from edittheory.language.model.checkpoint_folder import load_folder, save_folder, special_ids
from edittheory.language.model.lora import add_lora
from edittheory.language.model.tokens import WordTokeniser
from edittheory.language.model.transformer import Transformer, response_logits

FIXTURES = Path(__file__).parents[1] / "fixtures"
SMALL = Architecture(
    vocab_size=11, dim=8, layers=2, heads=2, kv_heads=1, head_dim=4, hidden_dim=12, max_length=32
)


def logits_of(model, tokens) -> np.ndarray:
    """Logits (N, T - 1, V) after every token but the last."""
    tokens = jnp.asarray(tokens, jnp.int32)
    ones = jnp.ones(len(tokens), jnp.int32)
    return np.asarray(response_logits(model, tokens[:, :1], ones, tokens[:, 1:]))


@pytest.mark.parametrize("name", ["llama_tiny", "qwen2_tiny", "qwen3_tiny", "llama_bias_tiny"])
def test_logits_of_transformers(name):
    model, architecture = load_folder(FIXTURES / name)
    with np.load(FIXTURES / name / "expected.npz") as stored:
        found, expected = logits_of(model, stored["tokens"]), stored["logits"][:, :-1]
    assert np.std(expected) > 0.3
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert architecture.attention_bias == (name in ("qwen2_tiny", "llama_bias_tiny"))
    assert architecture.output_bias == (name == "llama_bias_tiny")
    assert architecture.qk_norm == (name == "qwen3_tiny")
    assert architecture.parameters == sum(leaf.size for leaf in jax.tree.leaves(model))
    assert (architecture.rope_scaling is not None) == (name == "llama_tiny")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"tied": False, "attention_bias": True, "rope_scaling": RopeScaling(2.0, 1.0, 4.0, 16)},
        {"interleaved_rotary": True, "kv_heads": 2},
        {"attention_bias": True, "output_bias": True},
        {"qk_norm": True, "interleaved_rotary": True},
        {"qk_norm": True, "attention_bias": True, "output_bias": True, "tied": False},
    ],
)
def test_written_and_read_back(change, tmp_path, getkey):
    architecture = dataclasses.replace(SMALL, **change)
    model = Transformer.init(getkey(), architecture)
    words = WordTokeniser(["one", "two"])
    save_folder(tmp_path / "a", model, words, {"eos": 2, "bos": 1})
    again, found = load_folder(tmp_path / "a")
    assert found == dataclasses.replace(architecture, interleaved_rotary=False)
    assert special_ids(tmp_path / "a") == {"bos": (1,), "eos": (2,), "pad": ()}
    assert tuple(json.loads((tmp_path / "a" / "words.json").read_text())) == words.tokens
    if not architecture.interleaved_rotary:
        for one, two in zip(jax.tree.leaves(again), jax.tree.leaves(model), strict=True):
            np.testing.assert_array_equal(one, two)
    tokens = jax.random.randint(getkey(), (2, 9), 0, 11)
    np.testing.assert_allclose(logits_of(again, tokens), logits_of(model, tokens), atol=1e-5)


def test_bfloat16_folder(tmp_path, getkey):
    model = Transformer.init(getkey(), SMALL, jnp.bfloat16)
    save_folder(tmp_path, model)
    again, _ = load_folder(tmp_path, jnp.bfloat16)
    wide, _ = load_folder(tmp_path)
    assert again.embedding.dtype == jnp.bfloat16 and wide.embedding.dtype == jnp.float32
    np.testing.assert_array_equal(again.layers.qkv, model.layers.qkv)


def test_adapters_are_not_lost(tmp_path, getkey):
    model = add_lora(Transformer.init(getkey(), SMALL), getkey(), 2, 4)
    with pytest.raises(ValueError, match=r"lora\.merge"):
        save_folder(tmp_path, model)


def rewrite(file: Path, **changes) -> None:
    data = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({name: value for name, value in data.items() if value != "absent"}))


def copy_of(name: str, folder: Path) -> Path:
    return shutil.copytree(FIXTURES / name, folder / name)


MISTRAL = {"architectures": ["MistralForCausalLM"], "model_type": "mistral"}
QWEN3 = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "unknown architecture GPT2LMHeadModel"),
        ({"architectures": "absent"}, r"unknown architecture \(none\)"),
        ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map asks for code"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        (
            MISTRAL | {"attention_bias": True, "sliding_window": None},
            "attention_bias = True is not supported",
        ),
        ({"attention_bias": "yes"}, "attention_bias = 'yes' is not supported"),
        ({"architectures": ["Qwen3MoeForCausalLM"]}, "unknown architecture Qwen3MoeForCausalLM"),
        (QWEN3 | {"use_sliding_window": True}, "use_sliding_window = True is not supported"),
        (QWEN3 | {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types = "),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
        ({"hidden_size": "absent"}, "lacks hidden_size"),
        ({"num_key_value_heads": 3}, "heads must be a multiple of kv_heads"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "type 'yarn' is not supported"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 2.0}}, "lacks low_freq_factor"),
        (MISTRAL | {"sliding_window": 16}, "sliding_window = 16, less than the 64 positions"),
        (MISTRAL | {"max_position_embeddings": 5000}, r"sliding_window = 4096 \(what its absence means\)"),
        (MISTRAL | {"max_position_embeddings": "absent"}, "less than the 131072 positions"),
        ({"model_type": "granite"}, "model_type = 'granite' does not fit the architecture LlamaForCausalLM"),
        ({"attention_multiplier": 0.015625}, r"attention_multiplier = 0\.015625 is unknown"),
        ({"logits_scaling": 8.0}, r"logits_scaling = 8\.0 is unknown, and may change"),
        ({"rope_interleaved": True}, "rope_interleaved = True is not supported"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types = "),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "= 0.5 of rotary"),
        ({"rope_parameters": {"rope_type": "default", "mscale": 2.0}}, r"mscale = 2\.0 of rotary positions"),
    ],
)
def test_configurations_beyond_this_decoder(change, message, tmp_path):
    folder = copy_of("llama_tiny", tmp_path)
    rewrite(folder / "config.json", **change)
    with pytest.raises(InputError, match=message) as caught:
        read_architecture(folder)
    assert str(folder / "config.json") in str(caught.value)


@pytest.mark.parametrize("window", [None, 64, "absent"])
def test_mistral_is_a_llama_where_its_window_is_as_long_as_its_texts(window, tmp_path):
    folder = copy_of("llama_tiny", tmp_path)
    expected = read_architecture(folder)
    rewrite(folder / "config.json", **MISTRAL, sliding_window=window)
    assert read_architecture(folder) == expected


@pytest.mark.parametrize("name", ["granite", "llama"])
def test_a_granite_relabelled_as_a_llama_is_refused(name, tmp_path):
    """Its multipliers change the logits (by 4.5 in the checkpoint that was tried), and no tensor shows them."""
    folder = copy_of("llama_tiny", tmp_path)
    multipliers = {"embedding_multiplier": 12.0, "residual_multiplier": 0.22, "logits_scaling": 8.0}
    rewrite(folder / "config.json", model_type=name, **multipliers)
    with pytest.raises(InputError, match="model_type" if name == "granite" else "embedding_multiplier"):
        load_folder(folder)


def test_what_a_qwen3_leaves_out_is_what_transformers_takes(tmp_path):
    """Heads of 128, where other families divide the hidden size by the heads."""
    folder = copy_of("qwen3_tiny", tmp_path)
    expected = read_architecture(folder)
    rewrite(
        folder / "config.json", head_dim="absent", attention_bias="absent", max_position_embeddings="absent"
    )
    changed = dataclasses.replace(expected, head_dim=128, max_length=32_768)
    assert read_architecture(folder) == changed


def test_norms_and_biases_that_a_configuration_does_not_announce_are_named(tmp_path):
    """A Qwen3 called a Llama, and a Llama whose attention_bias was lost."""
    folder = copy_of("qwen3_tiny", tmp_path)
    rewrite(folder / "config.json", architectures=["LlamaForCausalLM"], model_type="llama")
    with pytest.raises(InputError, match=r"(q|k)_norm\.weight, which this architecture has no place for"):
        load_folder(folder)
    folder = copy_of("llama_bias_tiny", tmp_path)
    rewrite(folder / "config.json", attention_bias=False)
    with pytest.raises(InputError, match=r"_proj\.bias, which this architecture has no place for"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output_bias": True}, "output_bias must be False without attention_bias"),
        ({"qk_norm": True, "attention_bias": True}, "output_bias must be attention_bias beside qk_norm"),
    ],
)
def test_combinations_that_no_family_has(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)


def test_missing_extra_and_misshapen_tensors_are_named(tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = copy_of("llama_tiny", tmp_path)
    file = folder / "model.safetensors"
    name = "model.layers.1.mlp.up_proj.weight"
    tensors = load_file(file)
    save_file({key: value for key, value in tensors.items() if key != name}, file)
    with pytest.raises(InputError, match=f"lacks the tensor {name}"):
        load_folder(folder)
    save_file(tensors | {name: tensors[name].T.copy()}, file)
    with pytest.raises(InputError, match=rf"{name} must have the shape \(64, 32\), but it has \(32, 64\)"):
        load_folder(folder)
    save_file(tensors | {"model.layers.0.self_attn.o_proj.bias": np.zeros(32, np.float32)}, file)
    with pytest.raises(InputError, match=r"o_proj\.bias, which this architecture has no place for"):
        load_folder(folder)


def test_damaged_and_missing_files_are_named(tmp_path):
    folder = copy_of("llama_tiny", tmp_path)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"model\.safetensors is missing, truncated or damaged"):
        load_folder(folder)
    file.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match="pickle, which is never opened"):
        load_folder(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json is not JSON"):
        load_folder(folder)
    with pytest.raises(InputError, match="cannot read"):
        load_folder(tmp_path / "nowhere")


def test_shards(tmp_path):
    folder = copy_of("qwen2_tiny", tmp_path)
    index = folder / "model.safetensors.index.json"
    where = json.loads(index.read_text())["weight_map"]
    rewrite(index, weight_map=where | {"model.norm.weight": "../other.safetensors"})
    with pytest.raises(InputError, match="not a file of the same folder"):
        load_folder(folder)
    moved = next(name for name in where.values() if name != where["model.norm.weight"])
    rewrite(index, weight_map=where | {"model.norm.weight": moved})
    with pytest.raises(InputError, match=r"lacks the tensor model\.norm\.weight, which the index"):
        load_folder(folder)
    rewrite(index, weight_map=where)
    (folder / moved).unlink()
    with pytest.raises(InputError, match=f"{moved} is missing"):
        load_folder(folder)
