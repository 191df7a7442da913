"""The decoder against a plain NumPy one in float64, and what must not change its numbers."""

import dataclasses
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.language.model.architecture import Architecture, RopeScaling, training_flops
from edittheory.language.model.blocks import Context, attend, dense, log_prob_of, rotary_frequencies
from edittheory.language.model.transformer import (
    Transformer,
    hidden_states,
    pair_log_probs,
    response_logits,
    token_log_probs,
)

SMALL = Architecture(
    vocab_size=23, dim=16, layers=2, heads=4, kv_heads=2, head_dim=6, hidden_dim=20, max_length=64
)
KINDS = {
    "tied": SMALL,
    "free, bias": dataclasses.replace(SMALL, tied=False, attention_bias=True),
    "interleaved, one kv head": dataclasses.replace(SMALL, interleaved_rotary=True, kv_heads=1),
    "rescaled": dataclasses.replace(SMALL, rope_scaling=RopeScaling(4.0, 1.0, 4.0, 8)),
}


def randomised(model: Transformer, key: jax.Array) -> Transformer:
    """Norms and biases away from 1 and 0 too."""
    leaves, structure = jax.tree.flatten(model)
    keys = jax.random.split(key, len(leaves))
    noisy = [
        leaf + 0.3 * jax.random.normal(k, leaf.shape, leaf.dtype)
        for leaf, k in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(structure, noisy)


def batch(key: jax.Array, rows: int = 5, prompt: int = 7, response: int = 6, vocabulary: int = 23):
    keys = jax.random.split(key, 4)
    prompts = jax.random.randint(keys[0], (rows, prompt), 0, vocabulary, jnp.int32)
    prompt_len = jax.random.randint(keys[1], (rows,), 1, prompt + 1, jnp.int32)
    responses = jax.random.randint(keys[2], (rows, response), 0, vocabulary, jnp.int32)
    response_len = jax.random.randint(keys[3], (rows,), 0, response + 1, jnp.int32)
    return prompts, prompt_len, responses, response_len


def numpy_logits(model: Transformer, tokens: list[int]) -> np.ndarray:
    """Logits (T, V) of one unpadded sequence, token by token and head by head, in float64."""
    a = model.architecture
    get = lambda leaf: np.asarray(leaf, np.float64)  # noqa: E731
    x = get(model.embedding)[tokens]
    count = len(tokens)
    angle = np.arange(count)[:, None] * rotary_frequencies(a)
    norm = lambda x, w: x / np.sqrt((x * x).mean(-1, keepdims=True) + a.rms_eps) * w  # noqa: E731

    def turn(x):
        z = (
            x[:, 0::2] + 1j * x[:, 1::2]
            if a.interleaved_rotary
            else x[:, : a.head_dim // 2] + 1j * x[:, a.head_dim // 2 :]
        )
        z = z * np.exp(1j * angle)
        if not a.interleaved_rotary:
            return np.concatenate([z.real, z.imag], axis=-1)
        return np.stack([z.real, z.imag], axis=-1).reshape(x.shape)

    for number in range(a.layers):
        w = jax.tree.map(lambda leaf, n=number: get(leaf[n]), model.layers)
        y = norm(x, w.attention_norm) @ w.qkv + (0 if w.qkv_bias is None else w.qkv_bias)
        heads = y.reshape(count, -1, a.head_dim)
        mixed = []
        for head in range(a.heads):
            kv = head // (a.heads // a.kv_heads)
            q, k = turn(heads[:, head]), turn(heads[:, a.heads + kv])
            scores = np.where(np.tri(count, dtype=bool), q @ k.T / np.sqrt(a.head_dim), -np.inf)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            mixed.append(weights / weights.sum(-1, keepdims=True) @ heads[:, a.heads + a.kv_heads + kv])
        x = x + np.concatenate(mixed, axis=-1) @ w.out
        gate, up = np.split(norm(x, w.mlp_norm) @ w.gate_up, 2, axis=-1)
        x = x + (gate / (1 + np.exp(-gate)) * up) @ w.down
    return norm(x, get(model.final_norm)) @ get(model.output).T


@jax.jit
def both_of(model, prompts, prompt_len, responses, response_len):
    found = token_log_probs(model, prompts, prompt_len, responses, response_len)
    return found, response_logits(model, prompts, prompt_len, responses)


@pytest.mark.parametrize("kind", KINDS)
def test_equals_a_plain_decoder(kind, getkey):
    model = randomised(Transformer.init(getkey(), KINDS[kind]), getkey())
    prompts, prompt_len, responses, response_len = batch(getkey())
    found, scores = both_of(model, prompts, prompt_len, responses, response_len)
    assert found.dtype == scores.dtype == jnp.float32
    for row in range(len(prompts)):
        start, length = int(prompt_len[row]), int(response_len[row])
        sequence = [*prompts[row, -start:].tolist(), *responses[row].tolist()]
        logits = numpy_logits(model, sequence)[start - 1 : -1]
        np.testing.assert_allclose(scores[row], logits, atol=5e-5, rtol=5e-5)
        log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        expected = log_probs[np.arange(6), np.asarray(responses[row])]
        np.testing.assert_allclose(found[row, :length], expected[:length], atol=5e-5, rtol=5e-5)
        assert np.all(np.asarray(found[row, length:]) == 0)


def test_padding_and_other_rows_change_nothing(getkey):
    model = randomised(Transformer.init(getkey(), SMALL), getkey())
    prompts, prompt_len, responses, response_len = batch(getkey())
    found = token_log_probs(model, prompts, prompt_len, responses, response_len)
    junk = jax.random.randint(getkey(), (5, 4), 0, 23, jnp.int32)
    wide = jnp.concatenate([junk, prompts], axis=1), prompt_len, jnp.concatenate([responses, junk], axis=1)
    np.testing.assert_allclose(token_log_probs(model, *wide, response_len)[:, :6], found, atol=1e-5)
    other = jax.random.randint(getkey(), prompts.shape, 0, 23, jnp.int32)
    inside = jnp.arange(7) >= 7 - prompt_len[:, None]
    again = token_log_probs(model, jnp.where(inside, prompts, other), prompt_len, responses, response_len)
    np.testing.assert_array_equal(again, found)
    alone = token_log_probs(model, prompts[2:3], prompt_len[2:3], responses[2:3], response_len[2:3])
    np.testing.assert_allclose(alone[0], found[2], atol=1e-5)


def test_prompt_of_one_token(getkey):
    model = Transformer.init(getkey(), SMALL)
    prompts, _, responses, response_len = batch(getkey())
    one = jnp.ones(5, jnp.int32)
    expected = token_log_probs(model, prompts, one, responses, response_len)
    np.testing.assert_allclose(
        token_log_probs(model, prompts[:, -1:], one, responses, response_len), expected, atol=1e-5
    )


@pytest.mark.parametrize("longer", [0, 2])
def test_pair_equals_two_calls(longer, getkey):
    model = randomised(Transformer.init(getkey(), SMALL), getkey())
    prompts, prompt_len, responses, response_len = batch(getkey())
    edits = jax.random.randint(getkey(), (5, 6 + longer), 0, 23, jnp.int32)
    edit_len = response_len[::-1] + longer

    def pair(model):
        return pair_log_probs(model, prompts, prompt_len, edits, edit_len, responses, response_len)

    def apart(model):
        return (
            token_log_probs(model, prompts, prompt_len, edits, edit_len),
            token_log_probs(model, prompts, prompt_len, responses, response_len),
        )

    def with_slope(function):
        def total(model):
            parts = function(model)
            return sum(jnp.sum(jnp.sin(part)) for part in parts), parts

        return jax.jit(jax.grad(total, has_aux=True))(model)

    found, expected = with_slope(pair), with_slope(apart)
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4, rtol=1e-4)


def test_rematerialisation_and_loops_change_no_gradient(getkey):
    model = randomised(Transformer.init(getkey(), SMALL), getkey())
    data = batch(getkey(), rows=3, prompt=4, response=3)

    def slope(**settings):
        return jax.jit(jax.grad(lambda m: -jnp.sum(token_log_probs(m, *data, **settings))))(model)

    expected = slope()
    for settings in ({"remat": "full"}, {"unroll": False}, {"unroll": False, "remat": True}):
        for one, two in zip(jax.tree.leaves(slope(**settings)), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, two, atol=2e-4, rtol=2e-4, err_msg=str(settings))


def test_attention_and_dense_have_the_gradient_of_plain_ones(getkey):
    """Against automatic differentiation of the definition, with and without a shared context."""
    keys = iter(jax.random.split(getkey(), 12))
    draw = lambda *shape: jax.random.normal(next(keys), shape, jnp.float32)  # noqa: E731
    queries, keys_, values = draw(2, 2, 3, 2, 2, 4), draw(2, 2, 2, 3, 4), draw(2, 2, 2, 3, 4)
    context_keys, context_values = draw(2, 2, 5, 4), draw(2, 2, 5, 4)
    real = jnp.array([[True] * 5, [False, False, True, True, True]])
    own = jnp.tril(jnp.ones((3, 3), bool))[None, None]
    weights = draw(2, 2, 3, 16)

    def plain(queries, keys, values, context_keys=None, context_values=None):
        mask = own
        if context_keys is not None:
            spread = lambda x: jnp.broadcast_to(x[:, :, None], (2, 2, 2, 5, 4))  # noqa: E731
            keys = jnp.concatenate([spread(context_keys), keys], axis=3)
            values = jnp.concatenate([spread(context_values), values], axis=3)
            before = jnp.broadcast_to(real[:, None, None], (2, 2, 3, 5))
            mask = jnp.concatenate([before, jnp.broadcast_to(own, (2, 2, 3, 3))], axis=3)
        scores = jnp.einsum("nsqkgh,nksth->nsqkgt", queries, keys) / 2
        scores = jnp.where(mask[:, :, :, None, None], scores, -jnp.inf)
        mixed = jnp.einsum("nsqkgt,nksth->nsqkgh", jax.nn.softmax(scores, axis=-1), values)
        return jnp.sum(weights * mixed.reshape(2, 2, 3, 16))

    def ours(queries, keys, values, *context):
        shared = Context(*context, real) if context else None
        return jnp.sum(weights * attend(queries, keys, values, own, shared))

    for arguments in ((queries, keys_, values), (queries, keys_, values, context_keys, context_values)):
        places = tuple(range(len(arguments)))
        found = jax.jit(jax.value_and_grad(ours, places))(*arguments)
        expected = jax.jit(jax.value_and_grad(plain, places))(*arguments)
        for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, two, atol=2e-5, rtol=2e-5)
    x, matrix = draw(2, 3, 5), draw(5, 4)
    found = jax.grad(lambda *a: jnp.sum(jnp.sin(dense(*a))), (0, 1))(x, matrix)
    expected = jax.grad(lambda x, w: jnp.sum(jnp.sin(x @ w)), (0, 1))(x, matrix)
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_gradient_of_the_output_layer(getkey):
    hidden = jax.random.normal(getkey(), (9, 4), jnp.float32)
    head = jax.random.normal(getkey(), (11, 4), jnp.float32)
    tokens = jax.random.randint(getkey(), (9,), 0, 11, jnp.int32)
    weights = jax.random.normal(getkey(), (9,), jnp.float32)

    def plain(hidden, head):
        return weights @ jnp.take_along_axis(jax.nn.log_softmax(hidden @ head.T), tokens[:, None], 1)[:, 0]

    expected = jax.value_and_grad(plain, (0, 1))(hidden, head)
    for recompute in (False, True):
        found = jax.value_and_grad(lambda *a, r=recompute: weights @ log_prob_of(*a, tokens, r), (0, 1))(
            hidden, head
        )
        for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, two, atol=1e-5, rtol=1e-5)


def test_hidden_states(getkey):
    model = Transformer.init(getkey(), SMALL)
    prompts, prompt_len, responses, response_len = batch(getkey())
    states = hidden_states(model, prompts, prompt_len, responses, response_len)
    assert states.shape == (5, 6, 16) and states.dtype == jnp.float32
    logits = response_logits(model, prompts, prompt_len, responses)
    after = states @ model.output.T
    for row in range(5):
        length = int(response_len[row])
        assert np.all(np.asarray(states[row, length:]) == 0)
        shown = min(length, 5)
        np.testing.assert_allclose(after[row, :shown], logits[row, 1 : shown + 1], atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_no_wider_type_inside(dtype, getkey):
    model = Transformer.init(getkey(), SMALL)
    data = batch(getkey())

    def loss(model):
        return -jnp.sum(token_log_probs(model, *data, compute_dtype=dtype))

    program = str(jax.make_jaxpr(jax.grad(loss))(model))
    assert not re.search(r"[fi]64\[\d", program)
    assert ("bf16" in program) == (dtype == jnp.bfloat16)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(jax.eval_shape(jax.grad(loss), model)))


def test_bfloat16_is_near_float32(getkey):
    model = Transformer.init(getkey(), SMALL)
    data = batch(getkey())
    exact, found = token_log_probs(model, *data), token_log_probs(model, *data, compute_dtype=jnp.bfloat16)
    assert found.dtype == jnp.float32
    assert 0 < float(jnp.max(jnp.abs(found - exact))) < 0.2


def test_counts():
    model = Transformer.init(jax.random.key(0), KINDS["free, bias"])
    assert model.architecture.parameters == sum(leaf.size for leaf in jax.tree.leaves(model))
    smollm = Architecture(49152, 576, 30, 9, 3, 64, 1536, max_length=8192)
    assert smollm.layer_parameters == pytest.approx(106.17e6, rel=1e-4)
    assert training_flops(smollm, 128, 256, 128) == pytest.approx(36e12, rel=0.03)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3}, "heads must be a multiple"),
        ({"head_dim": 5}, "even"),
        ({"layers": 0}, "layers"),
        ({"rms_eps": 0.0}, "rms_eps"),
    ],
)
def test_impossible_architectures(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)


def test_too_long_a_sequence(getkey):
    model = Transformer.init(getkey(), dataclasses.replace(SMALL, max_length=11))
    with pytest.raises(ValueError, match="12 tokens exceeds the model's length, 11"):
        token_log_probs(model, *batch(getkey()))
    assert eqx.tree_equal(model.cast(None), model)
