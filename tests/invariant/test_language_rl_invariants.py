"""RL of language models: its gradient over all texts, one pass of the reference, resuming."""

import dataclasses
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.language.model import transformer
from edittheory.language.model.architecture import Architecture
from edittheory.language.train import (
    policy_gradient,
    reinforcement,
)
from edittheory.language.train.cost_net import pool
from edittheory.learn import losses
from tests import language_training_toys as toys
from tests.language_training_toys import Stopped, stop_at

EOS, WORDS, LONGEST = 0, 3, 3
TINY = Architecture(WORDS, 8, 1, 2, 1, 4, 8, max_length=8)


@pytest.fixture
def models(getkey):
    return toys.random_model(getkey()), toys.random_model(getkey())


def all_texts():
    """Every response of at most LONGEST tokens that ends at its first EOS: tokens (15, 3), lengths (15,)."""
    texts = []
    for length in range(1, LONGEST + 1):
        for words in itertools.product(range(WORDS), repeat=length):
            if EOS in words[:-1] or (words[-1] != EOS and length < LONGEST):
                continue
            texts.append((*words, *[EOS] * (LONGEST - length), length))
    table = np.array(texts, dtype=np.int32)
    return jnp.asarray(table[:, :LONGEST]), jnp.asarray(table[:, LONGEST])


def test_rloo_is_unbiased_and_token_kl_exact_over_all_texts(getkey):
    """E over all groups of two of RLOO's gradient is the gradient of sum_y pi(y) (f(y) + beta log pi(y) / pi_ref(y))."""
    tokens, lengths = all_texts()
    assert len(tokens) == 15
    prompts, prompt_len = jnp.tile(jnp.array([[1, 2]], dtype=jnp.int32), (15, 1)), jnp.full(15, 2, jnp.int32)
    policy, reference = toys.random_model(getkey(), TINY), toys.random_model(getkey(), TINY)
    costs = jax.random.uniform(getkey(), (15,), jnp.float32)
    first, second = (index.ravel() for index in np.meshgrid(np.arange(15), np.arange(15)))
    pairs = jnp.stack([first, second], axis=1)
    log_reference = jax.nn.log_softmax(toys.response_logits(reference, prompts, prompt_len, tokens))

    def table(model):
        return jax.nn.log_softmax(transformer.response_logits(model, prompts, prompt_len, tokens))

    def of_texts(table):
        chosen = jnp.take_along_axis(table, tokens[..., None], axis=-1)[..., 0]
        return jnp.sum(jnp.where(jnp.arange(LONGEST) < lengths[:, None], chosen, 0), axis=1)

    def objective(model, beta):
        logp = of_texts(table(model))
        return jnp.sum(jnp.exp(logp) * losses.cost(costs, logp - of_texts(log_reference), beta))

    def surrogate(model, beta):
        logps = table(model)
        chances = jax.lax.stop_gradient(jnp.exp(of_texts(logps)))

        def one(rows):
            texts = (tokens[rows], lengths[rows], costs[rows])
            return policy_gradient.group_loss(logps[rows], log_reference[rows], *texts, beta, 2)

        values, kl = jax.vmap(one)(pairs)
        weights = chances[first] * chances[second]
        return jnp.sum(weights * values), jnp.sum(weights * kl[:, 0])

    @jax.jit
    def both(model, beta):
        return (
            jnp.sum(jnp.exp(of_texts(table(model)))),
            jax.value_and_grad(objective)(model, beta),
            jax.grad(surrogate, has_aux=True)(model, beta),
        )

    total, (without, exact), (found, kl) = both(policy, jnp.float32(0.0))
    np.testing.assert_allclose(total, 1.0, atol=1e-5)
    toys.leaves_close(found, exact, 1e-4)
    _, (with_kl, exact), (found, _) = both(policy, jnp.float32(0.7))
    toys.leaves_close(found, exact, 1e-4)
    np.testing.assert_allclose(kl, (with_kl - without) / 0.7, rtol=1e-3, atol=1e-5)


@pytest.fixture
def ensemble(getkey):
    return toys.random_ensemble(getkey())


def test_one_pass_of_the_reference_is_two(models, ensemble, getkey):
    """log pi_ref and features from a single pass, against the functions that compute each."""
    pairs, reference = toys.random_pairs(getkey()), models[0]
    texts = (pairs.prompts, pairs.prompt_len, pairs.responses, pairs.response_len)
    ended = jnp.arange(13) % 2 == 0
    by = policy_gradient.Judge(reference, ensemble, jnp.float32(0.1), jnp.float32(1.75))
    found = jax.jit(partial(policy_gradient.judge, compute_dtype="float32"))(by, *texts, ended)
    logits = toys.response_logits(reference, *texts[:3])
    real = np.arange(toys.R) < np.asarray(pairs.response_len)[:, None]
    np.testing.assert_allclose(
        np.asarray(found.log_reference)[real], np.asarray(jax.nn.log_softmax(logits))[real], atol=1e-5
    )
    features = pool(jax.jit(transformer.hidden_states)(reference, *texts), pairs.response_len)
    expected = jnp.where(ended, ensemble.pessimistic(features), 1.75)
    np.testing.assert_allclose(found.costs, expected, atol=1e-5)


def test_rl_resumes_bit_for_bit(models, ensemble, getkey, tmp_path):
    pairs, key, path = toys.random_pairs(getkey()), getkey(), tmp_path / "state.npz"
    settings = dataclasses.replace(toys.RL, steps=12)

    def run(**options):
        return reinforcement.train(
            models[0], pairs.prompts, pairs.prompt_len, ensemble, settings, key, eos_id=0, **options
        )

    whole = run()
    with pytest.raises(Stopped):
        run(checkpoint=path, progress=stop_at(10))
    toys.leaves_equal(whole, run(checkpoint=path))
    objective = whole.history["cost"] + settings.beta * whole.history["kl"]
    np.testing.assert_allclose(whole.history["loss"], objective, rtol=1e-5)
    assert whole.history["kl"][-1] > 1e-3
