"""Equivalent ways to fine-tune a language model give the same gradient, the same model, or the same bits."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.language.model import lora, transformer
from edittheory.language.train import (
    fine_tuning,
    pair_objectives,
    train_state,
)
from edittheory.language.train.batches import Columns, assemble
from edittheory.language.train.reference_cache import reference_log_probs
from edittheory.runs import checkpoints
from tests import language_training_toys as toys
from tests.language_training_toys import Stopped, stop_at

COMMON = toys.COMMON
LEARNERS = {
    "sft": fine_tuning.sft(3e-3, **COMMON),
    "dpo": fine_tuning.dpo(3e-3, scale=0.5, **COMMON),
    "early": fine_tuning.early(3e-3, supervised_weight=0.2, **COMMON),
}


batch_gradient = jax.jit(pair_objectives.batch_gradient, static_argnames="static")


def gradient(model, reference, pairs, rows, settings, accumulate=1, devices=1):
    """(loss, gradient) of one step on these rows, at `model`."""
    params, frozen = train_state.split(model)
    logps = reference_log_probs(reference, pairs, 4)
    columns = Columns(
        *(np.asarray(getattr(pairs, name)) for name in Columns._fields[:6]), logps.edit, logps.response
    )
    if settings.preference_weight == 0:
        columns = Columns(*columns[:4])
    batch = assemble(columns, [rows], settings.batch, accumulate, devices, settings.mean_tokens)
    mesh = train_state.data_mesh(jax.local_devices()[:devices], settings.batch // accumulate)
    numbers = pair_objectives.Coefficients.of(settings)
    static = pair_objectives.Static("float32", False, mesh)
    one_step = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), batch)
    return batch_gradient(params, frozen, one_step, numbers, static)


@jax.jit
def written_out(model, reference, some, real, preference_weight, supervised_weight, scale, mean_tokens):
    """The same, from the definition: sums of token log-probabilities, each text with its prompt, a mean over real rows."""
    prompt = (some.prompts, some.prompt_len)

    def logps(model):
        edit = transformer.token_log_probs(model, *prompt, some.edits, some.edit_len).sum(axis=1)
        response = transformer.token_log_probs(model, *prompt, some.responses, some.response_len).sum(axis=1)
        return edit, response

    def loss(model):
        edit, response = logps(model)
        margin = (edit - response) - (logps(reference)[0] - logps(reference)[1])
        preference = -jnp.log(jax.nn.sigmoid(scale * margin))
        count = jnp.where(mean_tokens, jnp.sum(some.edit_len * real), jnp.sum(real))
        return jnp.sum(real * (preference_weight * preference - supervised_weight * edit)) / count

    return jax.value_and_grad(loss)(model)


@pytest.fixture
def models(getkey):
    return toys.random_model(getkey()), toys.random_model(getkey())


@pytest.mark.parametrize("name", LEARNERS)
def test_one_step_is_the_definition_however_it_is_split(name, models, getkey):
    """Shared prompt = separate prompts; microbatches and devices = one big batch, a smaller last batch too."""
    settings, (model, reference) = LEARNERS[name], models
    pairs = toys.random_pairs(getkey())
    numbers = (settings.preference_weight, settings.supervised_weight, settings.scale, settings.mean_tokens)
    splits = ((1, 1),) if name == "sft" else ((1, 1), (2, 2), (4, 2))
    for rows in (np.array([5, 0, 12, 7]), np.array([3, 8, 1])):
        some, real = pairs.select(np.resize(rows, 4)), jnp.arange(4, dtype=jnp.float32) < len(rows)
        expected = written_out(model, reference, some, real, *map(jnp.float32, numbers))
        for accumulate, devices in splits:
            found = gradient(model, reference, pairs, rows, settings, accumulate, devices)
            toys.leaves_close(found, expected, 2e-5)


def test_trainings_agree_however_they_are_split(models, getkey):
    settings, model = LEARNERS["early"], models[0]
    pairs, key = toys.random_pairs(getkey(), edited_every=2), getkey()
    whole = fine_tuning.train(model, pairs, settings, key, devices=toys.one_device())
    parts = dataclasses.replace(settings, accumulate=2)
    by_two = fine_tuning.train(model, pairs, parts, key, devices=jax.local_devices()[:2])
    # Adam's step is the gradient over its size, so rounding in a gradient near 0 is of the order of a step.
    toys.leaves_close(by_two.model, whole.model, 2e-3)
    np.testing.assert_allclose(by_two.history["loss"], whole.history["loss"], rtol=1e-4)
    assert whole.steps == by_two.steps == 12


def test_the_loss_is_log_2_at_the_reference(models, getkey):
    pairs = toys.random_pairs(getkey())
    for scale in (0.1, 1.0, 7.0):
        settings = fine_tuning.dpo(1e-3, scale=scale, **COMMON)
        loss, _ = gradient(models[0], models[0], pairs, np.arange(4), settings)
        np.testing.assert_allclose(loss, np.log(2), atol=1e-5)


def test_early_ensemble_is_dpo_plus_lambda_times_the_summed_likelihood(models, getkey):
    pairs, rows = toys.random_pairs(getkey()), np.arange(4)

    def at(preference_weight, supervised_weight):
        settings = fine_tuning.Settings(
            1e-3, preference_weight=preference_weight, supervised_weight=supervised_weight, **COMMON
        )
        return gradient(*models, pairs, rows, settings)

    weight = 0.3
    expected = jax.tree.map(lambda a, b: a + weight * b, at(1.0, 0.0), at(0.0, 1.0))
    toys.leaves_close(at(1.0, weight), expected, 2e-5)
    key = getkey()
    trained = [
        fine_tuning.train(models[0], pairs, settings, key, devices=toys.one_device())
        for settings in (
            fine_tuning.early(1e-3, supervised_weight=0, **COMMON),
            fine_tuning.dpo(1e-3, **COMMON),
        )
    ]
    toys.leaves_equal(*trained)


def test_unedited_pairs_have_no_gradient_and_are_dropped(models, getkey):
    model, reference = models
    pairs, key = toys.random_pairs(getkey(), edited_every=2), getkey()
    rows = np.flatnonzero(~np.asarray(pairs.edited))[:4]
    edited = np.flatnonzero(np.asarray(pairs.edited))[:4]
    settings = LEARNERS["dpo"]
    _, none = gradient(model, reference, pairs, rows, settings)
    _, some = gradient(model, reference, pairs, edited, settings)
    sizes = [
        float(jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))) for tree in (none, some)
    ]
    assert sizes[0] < 1e-6 * sizes[1]
    with_them = fine_tuning.train(model, pairs, settings, key, devices=toys.one_device())
    without = fine_tuning.train(
        model,
        pairs.select(np.flatnonzero(np.asarray(pairs.edited))),
        settings,
        key,
        devices=toys.one_device(),
    )
    toys.leaves_equal(with_them, without)
    assert with_them.steps == 3 * 2  # 7 edited pairs of 13
    kept = fine_tuning.train(model, pairs, LEARNERS["early"], key, devices=toys.one_device())
    assert kept.steps == 3 * 4


@pytest.mark.parametrize("name", ["sft", "dpo"])
def test_resumed_equals_uninterrupted_bit_for_bit(name, models, getkey, tmp_path):
    pairs, key, path = toys.random_pairs(getkey()), getkey(), tmp_path / "state.npz"
    settings, model = LEARNERS[name], models[0]
    options = {"devices": toys.one_device()}
    whole = fine_tuning.train(model, pairs, settings, key, **options)
    with pytest.raises(Stopped):
        fine_tuning.train(model, pairs, settings, key, checkpoint=path, progress=stop_at(6), **options)
    seen = []
    resumed = fine_tuning.train(
        model, pairs, settings, key, checkpoint=path, progress=lambda p: seen.append(p.step), **options
    )
    assert seen == [9, 12]
    toys.leaves_equal(whole, resumed)
    again = fine_tuning.train(model, pairs, settings, key, checkpoint=path, progress=stop_at(0), **options)
    toys.leaves_equal(whole, again)
    with pytest.raises(checkpoints.CheckpointError, match="belongs to another training"):
        fine_tuning.train(model, pairs, settings, getkey(), checkpoint=path, **options)


def test_pretraining_resumes_with_the_next_batch(models, getkey, tmp_path):
    key, path, model = getkey(), tmp_path / "state.npz", models[0]

    def batches():
        rng = np.random.default_rng(0)
        while True:
            tokens = rng.integers(0, toys.VOCABULARY, (4, toys.P + toys.R))
            yield tokens[:, : toys.P], np.full(4, toys.P), tokens[:, toys.P :], rng.integers(1, toys.R + 1, 4)

    settings = LEARNERS["sft"]

    def run(**options):
        return fine_tuning.pretrain(model, batches(), settings, 8, key, devices=toys.one_device(), **options)

    whole = run()
    with pytest.raises(Stopped):
        run(checkpoint=path, progress=stop_at(6))
    toys.leaves_equal(whole, run(checkpoint=path))


def test_lora_trains_the_adapters_alone(models, getkey):
    base, pairs = models[0], toys.random_pairs(getkey())
    model = lora.add_lora(base, getkey(), 2, 4.0)
    params, _ = train_state.split(model)
    trainable = {leaf.shape for leaf in jax.tree.leaves(params)}
    hyper = train_state.Hyper.of(LEARNERS["early"], 3)
    moments = jax.tree.leaves(train_state.start(params, hyper).optimizer)
    assert {leaf.shape for leaf in moments} <= trainable | {()}
    trained = fine_tuning.train(model, pairs, LEARNERS["early"], getkey(), devices=toys.one_device()).model
    spec = lora.trainable(model)
    before, after = (eqx.partition(tree, spec) for tree in (model, trained))
    toys.leaves_equal(before[1], after[1])
    assert any(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (before[0], after[0])), strict=True))
    prompt = (pairs.prompts, pairs.prompt_len, pairs.edits, pairs.edit_len)
    merged = toys.token_log_probs(lora.merge(trained), *prompt)
    np.testing.assert_allclose(toys.token_log_probs(trained, *prompt), merged, atol=1e-5)
    assert np.max(np.abs(merged - toys.token_log_probs(base, *prompt))) > 1e-4
