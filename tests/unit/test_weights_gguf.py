"""A GGUF file as llama.cpp's converter makes it: transformers' logits of the rounded weights, and damage named."""

from pathlib import Path

import gguf
import numpy as np
import pytest

from edittheory.core.errors import InputError
from edittheory.language.model.gguf_weights import load_gguf
from tests.unit.test_weights_folder import FIXTURES, logits_of

FILE = FIXTURES / "gguf_tiny.gguf"


def test_logits_of_transformers():
    model, parts = load_gguf(FILE)
    with np.load(FIXTURES / "gguf_tiny.npz") as stored:
        found, expected = logits_of(model, stored["tokens"]), stored["logits"][:, :-1]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert parts["tokens"][3] == "t3" and parts["merges"] == ["t 1", "t 2"]
    assert (parts["eos"], parts["bos"], parts["chat_template"]) == (2, None, None)


def written(file: Path, family: str = "llama", skip: str = "", kind=None, extra: dict | None = None) -> Path:
    """The fixture copied field by field, with one thing wrong."""
    reader, writer = gguf.GGUFReader(FILE), gguf.GGUFWriter(file, family)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture" or name == skip:
            continue
        kinds = field.types
        writer.add_key_value(
            name.replace("llama.", family + "."),
            field.contents(),
            kinds[0],
            kinds[-1] if len(kinds) > 1 else None,
        )
    for name, value in (extra or {}).items():
        writer.add_string(name, value)
    for tensor in reader.tensors:
        if tensor.name != skip:
            data, stored = tensor.data, tensor.tensor_type
            if kind is not None and data.dtype == np.uint8:
                data, stored = np.zeros_like(data)[:, : gguf.GGML_QUANT_SIZES[kind][1]], kind
            writer.add_tensor(tensor.name, np.array(data), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"family": "mamba"}, "unknown architecture 'mamba'"),
        ({"skip": "blk.1.ffn_up.weight"}, r"lacks the tensor model\.layers\.1\.mlp\.up_proj\.weight"),
        ({"skip": "llama.block_count"}, r"lacks llama\.block_count"),
        ({"extra": {"llama.rope.scaling.type": "yarn"}}, "'yarn'"),
    ],
)
def test_faults_are_named(fault, message, tmp_path):
    with pytest.raises(InputError, match=message):
        load_gguf(written(tmp_path / "a.gguf", **fault))
    assert load_gguf(written(tmp_path / "b.gguf"))[0].architecture.layers == 2


def test_unknown_quantisation_is_named(monkeypatch):
    def refuse(*_):
        raise NotImplementedError

    monkeypatch.setattr(gguf.quants, "dequantize", refuse)
    with pytest.raises(InputError, match=r"attn_norm\.weight is quantised as F32, which cannot be read"):
        load_gguf(FILE)


@pytest.mark.parametrize("kept", [0, 10, 1000, 14_000])
def test_truncated(kept, tmp_path):
    (tmp_path / "a.gguf").write_bytes(FILE.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"a\.gguf is truncated or not a GGUF file"):
        load_gguf(tmp_path / "a.gguf")


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_gguf(tmp_path / "none.gguf")
