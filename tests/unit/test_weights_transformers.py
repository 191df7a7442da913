"""Against transformers itself, where it is installed: models made and saved on the spot, and ours loaded by it."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
import torch  # noqa: E402

from edittheory.language.model.architecture import Architecture, RopeScaling  # noqa: E402
from edittheory.language.model.checkpoint_folder import load_folder, save_folder  # noqa: E402
from edittheory.language.model.generation import generate  # noqa: E402
from edittheory.language.model.transformer import Transformer  # noqa: E402
from tests.fixtures.make_transformers_fixtures import KINDS, logits_of, make, tokens_of  # noqa: E402
from tests.unit.test_weights_folder import logits_of as our_logits  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs

MISTRAL = ("Mistral", {"sliding_window": None, "tie_word_embeddings": False}, None)
SMALL = Architecture(
    vocab_size=40, dim=16, layers=2, heads=4, kv_heads=2, head_dim=6, hidden_dim=20, max_length=64
)


@pytest.mark.parametrize("kind", [*KINDS, "mistral"])
@pytest.mark.parametrize("seed", [1, 2])
def test_their_models_here(kind, seed, tmp_path):
    name, settings, shard = KINDS.get(kind, MISTRAL)
    model = make(name, settings, seed)
    model.save_pretrained(tmp_path, **({"max_shard_size": shard} if shard else {}))
    ours, _ = load_folder(tmp_path)
    tokens = tokens_of(40)
    np.testing.assert_allclose(our_logits(ours, tokens), logits_of(model, tokens)[:, :-1], atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"tied": False, "attention_bias": True},
        {"interleaved_rotary": True, "rope_scaling": RopeScaling(8.0, 1.0, 4.0, 16), "rope_theta": 500.0},
        {"attention_bias": True, "output_bias": True},
        {"qk_norm": True, "tied": False},
        {"qk_norm": True, "attention_bias": True, "output_bias": True},
    ],
)
def test_our_models_there(change, tmp_path, getkey):
    model = Transformer.init(getkey(), dataclasses.replace(SMALL, **change))
    model = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(getkey(), leaf.shape, leaf.dtype), model)
    save_folder(tmp_path, model, ids={"bos": 0, "eos": 1, "pad": 2})
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert theirs.dtype == torch.float32
    tokens = tokens_of(40)
    np.testing.assert_allclose(logits_of(theirs.eval(), tokens)[:, :-1], our_logits(model, tokens), atol=1e-4)


@pytest.mark.parametrize("qk_norm", [False, True])
def test_greedy_text_is_theirs(qk_norm, tmp_path):
    model = Transformer.init(jax.random.key(3), dataclasses.replace(SMALL, qk_norm=qk_norm))
    save_folder(tmp_path, model, ids={"bos": 0, "eos": 1, "pad": 1})
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    lengths = np.array([3, 6, 6, 1])
    prompts = np.random.default_rng(0).integers(2, 40, (4, 6)).astype(np.int32)
    mask = np.arange(6) >= 6 - lengths[:, None]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = theirs.generate(
            torch.as_tensor(prompts).long(), attention_mask=torch.as_tensor(mask).long(),
            max_new_tokens=12, do_sample=False,
        )[:, 6:].numpy()  # fmt: skip
    found = generate(model, jnp.asarray(prompts), jnp.asarray(lengths, jnp.int32), 12, 1)
    np.testing.assert_array_equal(np.asarray(found.tokens)[:, : expected.shape[1]], expected)
