"""A decoder small enough to enumerate its texts, and random pairs for it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from edittheory.language.model import transformer
from edittheory.language.model.architecture import Architecture
from edittheory.language.model.transformer import Transformer
from edittheory.language.train import fine_tuning, reinforcement
from edittheory.language.train.batches import Pairs
from edittheory.language.train.cost_net import CostEnsemble
from edittheory.learn.policies import init_network

VOCABULARY = 11
P, R = 5, 6
SHAPE = Architecture(VOCABULARY, 8, 1, 2, 1, 4, 12, max_length=16)


COMMON = {"batch": 4, "epochs": 3, "chunk": 3, "probe": 4}
"""Settings that the tests share, so that they share compilations too."""

RL = reinforcement.Settings(max_new=6, steps=40, batch=8, samples=4, chunk=5, learning_rate=3e-2, beta=0.02)

token_log_probs = jax.jit(transformer.token_log_probs)
response_logits = jax.jit(transformer.response_logits)


def one_device():
    return jax.local_devices()[:1]


def train(model, pairs, settings, key, **options):
    """`fine_tuning.train` on one device."""
    return fine_tuning.train(model, pairs, settings, key, devices=one_device(), **options)


class Stopped(Exception):
    """A training that `stop_at` broke off."""


def stop_at(step):
    """A `report` that breaks a training off at a step."""

    def report(progress):
        if progress.step >= step:
            raise Stopped

    return report


@partial(jax.jit, static_argnames="architecture")
def random_model(key, architecture=SHAPE):
    return Transformer.init(key, architecture)


@partial(jax.jit, static_argnames="dim")
def random_ensemble(key, dim=SHAPE.dim):
    """Cost networks that were not fitted to anything."""
    params = jax.vmap(lambda key: init_network(key, 2 * dim, 32, 1, 1.0))(jax.random.split(key, 4))
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    zeros, one = jnp.zeros(2 * dim, jnp.float32), jnp.float32(1.0)
    return CostEnsemble(params, zeros, zeros + 1, 2 * one, one, one, "spread")


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
    prompt_len[0] = P  # so that nothing is trimmed, whatever the key
    costs = rng.uniform(0, 2, size) * edited
    return Pairs(prompts, prompt_len, edits, edit_len, responses, response_len, edited, costs)


def leaves_equal(a, b):
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(left, right)


def leaves_close(a, b, tolerance):
    """Within `tolerance` of the largest absolute value in the leaf of b."""
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=tolerance * np.max(np.abs(right)))
