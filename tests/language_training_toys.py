"""A decoder small enough to enumerate its texts, and random pairs for it."""

import jax
import numpy as np

from edittheory.language.architecture import Architecture
from edittheory.language.batches import Pairs
from edittheory.language.transformer import Transformer

VOCABULARY = 11
P, R = 5, 6
SHAPE = Architecture(VOCABULARY, 8, 2, 2, 1, 4, 12, max_length=16)


def one_device():
    return jax.local_devices()[:1]


def random_model(key, architecture=SHAPE):
    return Transformer.init(key, architecture)


def random_pairs(key, size=13, edited_every=1, vocabulary=VOCABULARY):
    """Random texts; row i is unedited unless i is a multiple of `edited_every`."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    edits, responses = rng.integers(0, vocabulary, (2, size, R))
    edit_len, response_len = rng.integers(1, R + 1, (2, size))
    edited = np.arange(size) % edited_every == 0
    edits = np.where(edited[:, None], edits, responses)
    edit_len = np.where(edited, edit_len, response_len)
    clash = edited & (edit_len == response_len)
    responses[clash, 0] = (edits[clash, 0] + 1) % vocabulary
    prompts = rng.integers(0, vocabulary, (size, P))
    prompt_len = rng.integers(2, P + 1, size)
    costs = rng.uniform(0, 2, size) * edited
    return Pairs(prompts, prompt_len, edits, edit_len, responses, response_len, edited, costs)


def leaves_equal(a, b):
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(left, right)


def leaves_close(a, b, tolerance):
    """Within `tolerance` of the largest absolute value in the leaf of b."""
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=tolerance * np.max(np.abs(right)))
