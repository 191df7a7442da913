"""The config.json of a Llama-family checkpoint: read against a list of what is understood, and written.

Read: LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, and MistralForCausalLM where its window is as long as its texts. A
setting that is on no list is refused, since it may change the arithmetic; code that a configuration points to (`auto_map`)
is never run.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from edittheory.core.errors import InputError
from edittheory.language.model.architecture import Architecture, RopeScaling
from edittheory.language.model.transformer import Transformer


class Family(NamedTuple):
    """A family's name, and what transformers takes for settings that a file leaves out.

    kv_heads: None for the number of heads; head_dim: None for hidden size / heads. bias: whether projections to queries,
    keys and values always have a bias (None: as attention_bias says, the one behind attention with them).
    """

    name: str
    max_length: int
    kv_heads: int | None
    window: int | None = None
    head_dim: int | None = None
    bias: bool | None = None


FAMILIES = {
    "LlamaForCausalLM": Family("llama", 2048, None),
    "Qwen2ForCausalLM": Family("qwen2", 32_768, 32, bias=True),
    "Qwen3ForCausalLM": Family("qwen3", 32_768, 32, head_dim=128),
    "MistralForCausalLM": Family("mistral", 131_072, 8, window=4096, bias=False),
}

_READ = """architectures model_type vocab_size hidden_size num_hidden_layers num_attention_heads num_key_value_heads head_dim
intermediate_size rope_theta rope_scaling rope_parameters rms_norm_eps tie_word_embeddings max_position_embeddings
sliding_window max_window_layers"""
_OF_NO_EFFECT = """bos_token_id eos_token_id pad_token_id unk_token_id sep_token_id decoder_start_token_id dtype torch_dtype
transformers_version _name_or_path name_or_path _attn_implementation attn_implementation _attn_implementation_autoset
use_cache initializer_range pretraining_tp attention_dropout hidden_dropout resid_pdrop embd_pdrop is_llama_config
transformers.js_config tokenizer_class task_specific_params problem_type id2label label2id num_labels finetuning_task
return_dict return_dict_in_generate output_hidden_states output_attentions output_scores torchscript use_bfloat16
tf_legacy_loss prefix max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty
temperature top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size
bad_words_ids begin_suppress_tokens suppress_tokens num_return_sequences chunk_size_feed_forward remove_invalid_values
exponential_decay_length_penalty forced_bos_token_id forced_eos_token_id unsloth_version unsloth_fixed"""
_ONLY: dict[str, tuple[Any, ...]] = {
    "auto_map": (None, {}),
    "quantization_config": (None,),
    "mlp_bias": (None, False),
    "attention_bias": (None, False),
    "hidden_act": (None, "silu", "swish"),
    "partial_rotary_factor": (None, 1, 1.0),
    "use_sliding_window": (None, False),
    "rope_interleaved": (None, False),
    "use_mrope": (None, False),
    "is_decoder": (None, False, True),
    "is_encoder_decoder": (None, False),
    "add_cross_attention": (None, False),
    "cross_attention_hidden_size": (None,),
    "tie_encoder_decoder": (None, False),
    "pruned_heads": (None, {}),
}
"""Settings whose other values this decoder does not have."""

_ROPE = {
    "default": ("rope_theta", "rope_type", "type", "partial_rotary_factor"),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}
"""Kind of rotary scaling -> its settings; "llama3" has those of "default" too."""

_KNOWN = frozenset([*_READ.split(), *_OF_NO_EFFECT.split(), *_ONLY])
Refuse = Callable[[str], InputError]


def read_architecture(folder: str | Path) -> Architecture:
    """The architecture that config.json describes. Raises InputError naming the file and what this decoder does not know."""
    file = Path(folder) / "config.json"
    config = read_json(file)

    def refuse(what: str) -> InputError:
        return InputError(f"{file}: {what}")

    family = _family(config, refuse)
    _check_settings(config, family, refuse)

    def number(name: str, default: Any = None) -> Any:
        value = config.get(name)
        if value is None and default is None:
            raise refuse(f"lacks {name}")
        return default if value is None else value

    given = [config[name] for name in ("rope_parameters", "rope_scaling") if config.get(name)]
    if given and not (all(isinstance(one, dict) for one in given) and given[0] == given[-1]):
        raise refuse("rope_parameters and rope_scaling must be objects, and the same where both are there")
    rope = given[0] if given else {}
    heads = number("num_attention_heads")
    asked = bool(config.get("attention_bias"))
    try:
        return Architecture(
            vocab_size=number("vocab_size"),
            dim=number("hidden_size"),
            layers=number("num_hidden_layers"),
            heads=heads,
            kv_heads=number("num_key_value_heads", heads if family.kv_heads is None else family.kv_heads),
            head_dim=number("head_dim", family.head_dim or number("hidden_size") // heads),
            hidden_dim=number("intermediate_size"),
            rope_theta=rope.get("rope_theta", number("rope_theta", 10_000.0)),
            rms_eps=number("rms_norm_eps", 1e-6),
            tied=bool(number("tie_word_embeddings", False)),
            attention_bias=asked if family.bias is None else family.bias,
            output_bias=asked and family.bias is None,
            qk_norm=family.name == "qwen3",
            max_length=number("max_position_embeddings", family.max_length),
            rope_scaling=_rope_scaling(rope, refuse),
        )
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise refuse(str(error)) from None


def _family(config: dict[str, Any], refuse: Refuse) -> Family:
    names = config.get("architectures") or []
    family = FAMILIES.get(names[0]) if len(names) == 1 else None
    if family is None:
        found = ", ".join(map(str, names)) or "(none)"
        raise refuse(f"unknown architecture {found}; known: {', '.join(FAMILIES)}")
    if config.get("model_type", family.name) != family.name:
        raise refuse(f"model_type = {config['model_type']!r} does not fit the architecture {names[0]}")
    return family


def _check_settings(config: dict[str, Any], family: Family, refuse: Refuse) -> None:
    """Refuses values that this decoder does not have, and settings that nobody has looked at."""
    if config.get("auto_map"):
        raise refuse("auto_map asks for code of its own, which is never run")
    for name, value in config.items():
        may_have_bias = name == "attention_bias" and value in (True, False) and family.bias is not False
        if value not in _ONLY.get(name, (value,)) and not may_have_bias:
            raise refuse(f"{name} = {value!r} is not supported")
    unknown = [name for name in config if name not in _KNOWN | {"layer_types"}]
    if unknown:
        raise refuse(
            f"{unknown[0]} = {config[unknown[0]]!r} is unknown, and may change what the model computes"
        )
    if set(config.get("layer_types") or ()) - {"full_attention"}:
        raise refuse(f"layer_types = {config['layer_types']!r} is not supported")
    window = config.get("sliding_window", family.window) if family.name == "mistral" else None
    length = config.get("max_position_embeddings") or family.max_length
    if window is not None and window < length:
        told = "" if "sliding_window" in config else " (what its absence means)"
        raise refuse(f"sliding_window = {window}{told}, less than the {length} positions, is not supported")


def _rope_scaling(rope: dict[str, Any], refuse: Refuse) -> RopeScaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in _ROPE:
        raise refuse(f"rotary scaling of type {kind!r} is not supported (only 'default' and 'llama3')")
    known = _ROPE["default"] + (_ROPE[kind] if kind != "default" else ())
    for name, value in rope.items():
        if name not in known or (name == "partial_rotary_factor" and value != 1):
            raise refuse(f"{name} = {value!r} of rotary positions is not supported")
    if kind == "default":
        return None
    for name in _ROPE[kind]:
        if name not in rope:
            raise refuse(f"rotary scaling lacks {name}")
    return RopeScaling(*(rope[name] for name in _ROPE[kind]))


def config_of(model: Transformer) -> dict[str, Any]:
    """What config.json says of a decoder, with the names of transformers."""
    a = model.architecture
    name = "Qwen2ForCausalLM" if a.attention_bias and not a.output_bias else "LlamaForCausalLM"
    name = "Qwen3ForCausalLM" if a.qk_norm else name
    bias = {} if name == "Qwen2ForCausalLM" else {"attention_bias": a.output_bias}
    scaling = None
    if a.rope_scaling is not None:
        s = a.rope_scaling
        numbers = (s.factor, s.low, s.high, s.original_length)
        scaling = {"rope_type": "llama3", **dict(zip(_ROPE["llama3"], numbers, strict=True))}
    return {
        "architectures": [name],
        "model_type": FAMILIES[name].name,
        "vocab_size": a.vocab_size,
        "hidden_size": a.dim,
        "num_hidden_layers": a.layers,
        "num_attention_heads": a.heads,
        "num_key_value_heads": a.kv_heads,
        "head_dim": a.head_dim,
        "intermediate_size": a.hidden_dim,
        "hidden_act": "silu",
        "rope_theta": a.rope_theta,
        "rope_scaling": scaling,
        "rms_norm_eps": a.rms_eps,
        "tie_word_embeddings": a.tied,
        "max_position_embeddings": a.max_length,
        "torch_dtype": str(model.embedding.dtype),
        **bias,
    }


def read_json(file: Path) -> dict[str, Any]:
    """The object that a JSON file holds. Raises InputError naming the file."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {file}: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{file} must hold a JSON object")
    return data
