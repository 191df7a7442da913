"""Cost networks on hidden states, and RL against them."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.language.model import generation
from edittheory.language.train import cost_net, policy_gradient, reinforcement
from edittheory.learn.training import Settings as FitSettings
from tests import language_training_toys as toys

EOS, DISLIKED = 0, 4
FIT_KEY = jax.random.key(9)
FIT = FitSettings(steps=200, chunk=50, batch_size=32, patience=4)


def with_costs(pairs):
    """Costs that a reader of the hidden states can predict: 2 * share of tokens from DISLIKED on."""
    real = np.arange(toys.R) < np.asarray(pairs.response_len)[:, None]
    share = np.sum(real & (np.asarray(pairs.responses) >= DISLIKED), axis=1) / np.asarray(pairs.response_len)
    return dataclasses.replace(pairs, costs=2.0 * share)


@pytest.fixture(scope="module")
def model():
    return toys.random_model(jax.random.key(7))


@pytest.fixture(scope="module")
def pairs():
    return with_costs(toys.random_pairs(jax.random.key(8), 300))


@pytest.fixture(scope="module")
def ensemble(model, pairs):
    return cost_net.fit_ensemble(model, pairs, FIT_KEY, learning_rate=1e-2, settings=FIT)


def test_pool_is_mean_and_last():
    hidden = jnp.arange(24.0, dtype=jnp.float32).reshape(2, 4, 3)
    pooled = cost_net.pool(hidden, jnp.array([2, 0], dtype=jnp.int32))
    np.testing.assert_allclose(pooled[0], [1.5, 2.5, 3.5, 3.0, 4.0, 5.0])
    np.testing.assert_array_equal(pooled[1], np.zeros(6))


def test_features_do_not_depend_on_batches(model, pairs):
    some = pairs.select(np.arange(11))
    features = cost_net.response_features(model, some, 4)
    assert features.shape == (11, 2 * toys.SHAPE.dim) and features.dtype == np.float32
    np.testing.assert_allclose(features, cost_net.response_features(model, some, 11), atol=1e-5)


def test_the_ensemble_predicts_and_is_pessimistic(model, pairs, ensemble):
    fresh = with_costs(toys.random_pairs(jax.random.key(10), 200))
    features = jnp.asarray(cost_net.response_features(model, fresh))
    predictions = np.asarray(ensemble.predict(features))
    assert predictions.shape == (4, 200) and np.all((predictions > 0) & (predictions < 2))
    error = predictions.mean(axis=0) - np.asarray(fresh.costs)
    r2 = 1 - np.mean(error**2) / np.var(np.asarray(fresh.costs))
    assert r2 > 0.6
    mean, spread = predictions.mean(axis=0), predictions.std(axis=0)
    np.testing.assert_allclose(ensemble.pessimistic(features), np.minimum(mean + spread, 2), rtol=1e-5)
    largest = dataclasses.replace(ensemble, mode="max")
    np.testing.assert_allclose(largest.pessimistic(features), predictions.max(axis=0), rtol=1e-6)
    assert np.all(spread > 0)


def test_held_out_r2_is_of_the_pairs_that_were_set_aside(model, pairs, ensemble):
    order = jax.random.permutation(jax.random.split(FIT_KEY)[0], pairs.size)
    aside = pairs.select(order[:60])
    predicted = np.asarray(ensemble.predict(jnp.asarray(cost_net.response_features(model, aside)))).mean(
        axis=0
    )
    costs = np.asarray(aside.costs)
    expected = 1 - np.sum((predicted - costs) ** 2) / np.sum((costs - costs.mean()) ** 2)
    np.testing.assert_allclose(ensemble.held_out_r2, expected, atol=1e-4)


def test_rl_lowers_the_cost_and_more_kl_penalty_stays_closer(model, pairs, ensemble):
    prompts, lengths = pairs.prompts[:32], pairs.prompt_len[:32]
    settings = toys.RL

    def run(**changes):
        changed = dataclasses.replace(settings, **changes)
        return reinforcement.train(model, prompts, lengths, ensemble, changed, jax.random.key(11), eos_id=EOS)

    free, bound = run(), run(beta=1.0)
    assert free.history["cost"][-1] < free.history["cost"][0] - 0.2
    assert bound.history["kl"][-1] < 0.5 * free.history["kl"][-1]
    assert free.steps == 40 and len(free.history["kl"]) == 8
    # What was learned is judged by the cost itself, on texts that neither saw.
    fresh = toys.random_pairs(jax.random.key(12), 64)

    def true_cost(policy):
        found = generation.generate(
            policy, fresh.prompts, fresh.prompt_len, 6, EOS, temperature=1.0, key=jax.random.key(13)
        )
        real = np.arange(6) < np.asarray(found.lengths)[:, None]
        return np.mean(
            np.sum(real & (np.asarray(found.tokens) >= DISLIKED), axis=1) / np.asarray(found.lengths)
        )

    assert true_cost(free.model) < true_cost(model)


def test_grpo_standardises_costs_within_a_group(getkey):
    logits = jax.random.normal(getkey(), (4, 3, 5), jnp.float32)
    tokens = jax.random.randint(getkey(), (4, 3), 0, 5)
    lengths, costs = jnp.array([3, 1, 2, 3]), jnp.array([0.0, 1.0, 0.3, 0.3], jnp.float32)

    def loss(logits):
        log_policy = jax.nn.log_softmax(logits)
        return policy_gradient.group_loss(
            log_policy, jax.lax.stop_gradient(log_policy), tokens, lengths, costs, 0.1, 2, "grpo"
        )[0]

    slope = np.asarray(jax.jit(jax.grad(loss))(logits))
    real = np.arange(3) < np.asarray(lengths)[:, None]
    chances = np.asarray(jax.nn.softmax(logits))
    blame = (
        np.array([-1.0, 1.0, 0.0, 0.0]) / 4
    )  # (c - mean) / deviation in each group, a mean over 4 responses
    expected = blame[:, None, None] * real[..., None] * (np.eye(5)[np.asarray(tokens)] - chances)
    np.testing.assert_allclose(slope, expected, atol=1e-3)


def test_texts_without_an_end_cost_the_cap(model, pairs, ensemble):
    texts = (pairs.prompts[:5], pairs.prompt_len[:5], pairs.responses[:5], pairs.response_len[:5])
    by = policy_gradient.Judge(model, ensemble, jnp.float32(0.0), jnp.float32(2.0))
    ended = jnp.array([True, False, True, False, True])
    found = jax.jit(partial(policy_gradient.judge, compute_dtype="float32"))(by, *texts, ended)
    np.testing.assert_array_equal(np.asarray(found.costs) == 2.0, [False, True, False, True, False])


def test_bad_input_is_named(model, pairs, ensemble, getkey):
    settings = reinforcement.Settings(max_new=4, batch=4, steps=2)

    def run(prompt_len=pairs.prompt_len, ensemble=ensemble, settings=settings, eos_id=EOS):
        return reinforcement.train(
            model, pairs.prompts, prompt_len, ensemble, settings, getkey(), eos_id=eos_id
        )

    with pytest.raises(ValueError, match=r"prompt_len\[0\] must be in \[2, 5\], but it is 1"):
        run(prompt_len=jnp.ones_like(pairs.prompt_len))
    with pytest.raises(ValueError, match="batch must be at most the 300 prompts, but it is 301"):
        run(settings=dataclasses.replace(settings, batch=301))
    with pytest.raises(ValueError, match=r"eos_id must be an integer in \[0, 10\]"):
        run(eos_id=11)
    with pytest.raises(ValueError, match="must read 16 features of the reference, but it reads 4"):
        run(ensemble=dataclasses.replace(ensemble, centre=jnp.zeros(4), spread=jnp.ones(4)))
    with pytest.raises(ValueError, match="samples must be an integer >= 2"):
        dataclasses.replace(settings, samples=1)
    with pytest.raises(ValueError, match="advantage must be one of"):
        dataclasses.replace(settings, advantage="ppo")
    with pytest.raises(ValueError, match=r"pairs.costs\[2\] must be in \[0, 2\], but it is 3"):
        wrong = dataclasses.replace(pairs, costs=pairs.costs.at[2].set(3.0))
        cost_net.fit_ensemble(model, wrong, getkey())
    with pytest.raises(ValueError, match="members"):
        cost_net.fit_ensemble(model, pairs, getkey(), 1)
