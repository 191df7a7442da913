"""Cached generation against full forward passes, and its draws against their probabilities."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from edittheory.language.model.architecture import Architecture
from edittheory.language.model.generation import generate, generate_batched
from edittheory.language.model.transformer import Transformer, response_logits

SMALL = Architecture(
    vocab_size=13, dim=16, layers=2, heads=4, kv_heads=2, head_dim=8, hidden_dim=24, max_length=40
)
EOS = 3


def model_of(key: jax.Array, **changes) -> Transformer:
    model = Transformer.init(key, dataclasses.replace(SMALL, **changes))
    return jax.tree.map(lambda leaf: 1.7 * leaf, model)


def prompts_of(key: jax.Array, rows: int = 12, length: int = 6):
    tokens = jax.random.randint(key, (rows, length), 0, 13, jnp.int32)
    return tokens, jax.random.randint(jax.random.fold_in(key, 1), (rows,), 1, length + 1, jnp.int32)


def greedy_by_full_forwards(model, prompts, prompt_len, max_new):
    """Token by token, each from a full forward pass without a cache; also the margin to the second choice."""
    responses = np.zeros((len(prompts), max_new), np.int32)
    margin = np.inf
    forward = jax.jit(response_logits)
    for step in range(max_new):
        logits = np.asarray(forward(model, prompts, prompt_len, jnp.asarray(responses)))[:, step]
        best = np.sort(logits, axis=-1)
        margin = min(margin, float((best[:, -1] - best[:, -2]).min()))
        responses[:, step] = logits.argmax(-1)
    return responses, margin


@pytest.mark.parametrize("kind", [{}, {"tied": False, "attention_bias": True, "interleaved_rotary": True}])
def test_cached_greedy_is_the_argmax_of_full_forwards(kind):
    key = jax.random.key(5)
    model = model_of(key, **kind)
    prompts, prompt_len = prompts_of(jax.random.key(6))
    expected, margin = greedy_by_full_forwards(model, prompts, prompt_len, 9)
    assert margin > 1e-4, "the seed gives ties: choose another"
    eos = int(np.bincount(expected[:, 4]).argmax())
    found = generate(model, prompts, prompt_len, 9, eos)
    assert found.tokens.dtype == found.lengths.dtype == jnp.int32
    ends = expected == eos
    length = np.where(ends.any(1), ends.argmax(1) + 1, 9)
    assert len(set(length)) > 1, "rows should end at different places"
    np.testing.assert_array_equal(found.lengths, length)
    np.testing.assert_array_equal(found.ended, ends.any(1))
    inside = np.arange(9) < length[:, None]
    np.testing.assert_array_equal(found.tokens, np.where(inside, expected, eos))


def test_rows_and_padding_do_not_matter():
    model = model_of(jax.random.key(5))
    prompts, prompt_len = prompts_of(jax.random.key(6))
    settings = {"temperature": 0.8, "key": jax.random.key(2)}
    whole = generate(model, prompts, prompt_len, 9, EOS, **settings)
    parts = generate_batched(model, np.asarray(prompts), np.asarray(prompt_len), 9, EOS, 5, **settings)
    for one, two in zip(parts, whole, strict=True):
        assert isinstance(one, np.ndarray)
        np.testing.assert_array_equal(one, two)
    wide = jnp.pad(prompts, ((0, 0), (3, 0)), constant_values=7)
    np.testing.assert_array_equal(generate(model, wide, prompt_len, 9, EOS, **settings).tokens, whole.tokens)


def test_one_token_of_prompt():
    model = model_of(jax.random.key(5))
    prompts, _ = prompts_of(jax.random.key(6))
    one = jnp.ones(12, jnp.int32)
    expected = generate(model, prompts, one, 5, EOS)
    np.testing.assert_array_equal(generate(model, prompts[:, -1:], one, 5, EOS).tokens, expected.tokens)


def test_stops_when_all_rows_have_ended():
    """An output layer that always says the end: the loop takes one step and the rest is filler."""
    model = model_of(jax.random.key(1), tied=False)
    norm = jnp.full_like(model.final_norm, 0.0)
    model = dataclasses.replace(model, final_norm=norm)  # all logits equal: the first token, 0
    prompts, prompt_len = prompts_of(jax.random.key(6))
    found = generate(model, prompts, prompt_len, 30, 0)
    assert np.all(np.asarray(found.lengths) == 1) and np.all(np.asarray(found.ended))
    never = generate(model, prompts, prompt_len, 4, 5)
    assert np.all(np.asarray(never.lengths) == 4) and not np.any(np.asarray(never.ended))
    assert np.all(np.asarray(never.tokens) == 0)


def test_temperature_may_be_traced():
    model = model_of(jax.random.key(5))
    prompts, prompt_len = prompts_of(jax.random.key(6))
    key = jax.random.key(0)
    sample = jax.jit(lambda t: generate(model, prompts, prompt_len, 6, EOS, temperature=t, key=key).tokens)
    greedy = generate(model, prompts, prompt_len, 6, EOS).tokens
    np.testing.assert_array_equal(sample(jnp.float32(0.0)), greedy)
    assert np.any(np.asarray(sample(jnp.float32(1.0))) != np.asarray(greedy))


def test_bfloat16_generates():
    model = model_of(jax.random.key(5))
    prompts, prompt_len = prompts_of(jax.random.key(6))
    found = generate(model, prompts, prompt_len, 6, EOS, compute_dtype=jnp.bfloat16)
    exact = generate(model, prompts, prompt_len, 6, EOS)
    assert np.mean(np.asarray(found.tokens[:, 0] == exact.tokens[:, 0])) > 0.5


def test_no_float64_inside():
    model = model_of(jax.random.key(5))
    prompts, prompt_len = prompts_of(jax.random.key(6))
    program = str(
        jax.make_jaxpr(
            lambda m: generate(m, prompts, prompt_len, 6, EOS, temperature=1.0, key=jax.random.key(0))
        )(model)
    )
    assert not re.search(r"[fi]64\[\d", program)


@pytest.mark.statistical
def test_samples_follow_the_probabilities():
    """Chi-square of the first two tokens against their exact joint probabilities; false alarm 1e-4."""
    model = model_of(jax.random.key(8))
    prompts, prompt_len = jnp.tile(jnp.arange(4, dtype=jnp.int32), (2000, 1)), jnp.full(2000, 4, jnp.int32)
    temperature = 1.5
    found = generate(model, prompts, prompt_len, 2, EOS, temperature=temperature, key=jax.random.key(0))
    every = jnp.stack([jnp.arange(13, dtype=jnp.int32), jnp.zeros(13, jnp.int32)], axis=1)
    logits = response_logits(model, prompts[:13], prompt_len[:13], every)
    probability = jax.nn.softmax(logits.astype(jnp.float64) / temperature, axis=-1)
    joint = np.array(probability[0, 0][:, None] * probability[:, 1])
    joint[EOS] = 0.0
    joint[EOS, EOS] = probability[0, 0, EOS]  # after the end only filler
    counts = np.zeros((13, 13))
    np.add.at(counts, tuple(np.asarray(found.tokens).T), 1)
    expected = 2000 * joint
    rare = expected < 5
    seen = np.append(counts[~rare], counts[rare].sum())
    wanted = np.append(expected[~rare], expected[rare].sum())
    assert np.all(counts[joint == 0] == 0)
    assert stats.chisquare(seen, wanted * seen.sum() / wanted.sum()).pvalue > 1e-4


def test_errors():
    model = model_of(jax.random.key(5))
    prompts, prompt_len = prompts_of(jax.random.key(6))
    with pytest.raises(ValueError, match="key must be given"):
        generate(model, prompts, prompt_len, 4, EOS, temperature=1.0)
    with pytest.raises(ValueError, match="exceed the model's length, 40"):
        generate(model, prompts, prompt_len, 40, EOS)
    with pytest.raises(ValueError, match="max_new must be an integer >= 1"):
        generate(model, prompts, prompt_len, 0, EOS)


def test_any_of_several_ends_stops_a_row():
    """The text of a row is the same up to the first end of any kind; what is beyond is filled with the first kind."""
    model = model_of(jax.random.key(5))
    prompts, prompt_len = prompts_of(jax.random.key(6))
    expected, _ = greedy_by_full_forwards(model, prompts, prompt_len, 9)
    first, second = (int(token) for token in np.argsort(-np.bincount(expected.ravel()))[:2])
    found = generate(model, prompts, prompt_len, 9, (first, second))
    ends = np.isin(expected, (first, second))
    length = np.where(ends.any(1), ends.argmax(1) + 1, 9)
    assert np.any(np.asarray(generate(model, prompts, prompt_len, 9, first).lengths) > length)
    np.testing.assert_array_equal(found.lengths, length)
    inside = np.arange(9) < length[:, None]
    np.testing.assert_array_equal(found.tokens, np.where(inside, expected, first))
