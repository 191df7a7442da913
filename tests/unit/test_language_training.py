"""Fine-tuning of language models: batches, schedule, reference cache, what is learned, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.language.evaluate import held_out
from edittheory.language.train import batches, fine_tuning, pair_objectives, train_state
from edittheory.language.train.reference_cache import (
    reference_log_probs,
    summed_log_probs,
)
from tests import language_training_toys as toys

COMMON, train = toys.COMMON, toys.train


@pytest.fixture
def model(getkey):
    return toys.random_model(getkey())


# -- pairs and batches -------------------------------------------------------------------------------------------------


def test_learners_do_what_their_losses_ask_for(model, getkey):
    pairs, key = toys.random_pairs(getkey(), edited_every=2), getkey()
    before = held_out.evaluate(summed_log_probs(model, pairs, 4), pairs, reference_log_probs(model, pairs, 4))
    assert before.drift_edit == 0 and before.preference_loss == pytest.approx(np.log(2), abs=1e-6)
    reference = reference_log_probs(model, pairs, 4)
    common = {**COMMON, "epochs": 10, "probe": 8}
    results = {
        name: train(model, pairs, settings, key, reference=reference)
        for name, settings in {
            "sft": fine_tuning.sft(1e-2, **common),
            "dpo": fine_tuning.dpo(1e-2, **common),
            "early": fine_tuning.early(1e-2, supervised_weight=0.5, **common),
        }.items()
    }
    after = {
        name: held_out.evaluate(summed_log_probs(result.model, pairs, 4), pairs, reference)
        for name, result in results.items()
    }
    for name, result in results.items():
        assert result.history["loss"][-1] < result.history["loss"][0], name
        assert result.history["step"][-1] == result.steps
        assert set(result.history) == {
            "step", "loss", "gradient_norm", "learning_rate", "drift_edit", "drift_response", "preference_accuracy",
        }  # fmt: skip
    assert results["sft"].steps == 40 and results["dpo"].steps == 20
    assert after["sft"].token_nll < before.token_nll and after["early"].token_nll < before.token_nll
    assert after["dpo"].preference_loss < np.log(2) and after["dpo"].preference_accuracy == 1.0
    assert after["dpo"].drift_edit - after["dpo"].drift_response > 1.0
    assert after["early"].drift_edit > after["dpo"].drift_edit
    # The probe of 8 pairs holds all 7 edited ones: the last record is the evaluation.
    np.testing.assert_allclose(results["dpo"].history["drift_edit"][-1], after["dpo"].drift_edit, atol=1e-4)


def test_two_compilations_serve_all_learners(model, getkey):
    pairs, key = toys.random_pairs(getkey(), size=17), getkey()
    before = pair_objectives.advance._cache_size()
    for settings in (
        fine_tuning.sft(1e-3, **COMMON),
        fine_tuning.sft(2e-3, mean_tokens=False, **COMMON),
        fine_tuning.dpo(5e-4, scale=0.1, **COMMON),
        fine_tuning.dpo(1e-3, clip=0.5, **{**COMMON, "epochs": 2}),
        fine_tuning.early(1e-3, supervised_weight=0.1, weight_decay=0.1, **COMMON),
        fine_tuning.preferring("sigmoid", 1e-3, supervised_weight=1.0, **COMMON),
        fine_tuning.preferring("ipo", 1e-3, scale=0.3, **COMMON),
        fine_tuning.preferring("dpo_positive", 1e-3, option=50.0, mean_tokens=False, **COMMON),
        fine_tuning.preferring("simpo", 1e-3, scale=2.0, **COMMON),
    ):
        train(model, pairs, settings, key)
        train(model, pairs.select(np.arange(11)), settings, key)
    assert pair_objectives.advance._cache_size() - before <= 2


def test_no_array_of_training_is_wider_than_32_bits(model, getkey):
    pairs = toys.random_pairs(getkey())
    result = train(model, pairs, fine_tuning.early(**COMMON), getkey())
    assert {leaf.dtype for leaf in jax.tree.leaves(result.model)} == {jnp.dtype("float32")}
    columns = batches.Columns(*(np.asarray(getattr(pairs, name)) for name in batches.Columns._fields[:6]))
    batch = batches.assemble(columns, [np.arange(4)], 4, 1, 1, False)
    assert {leaf.dtype.itemsize for leaf in jax.tree.leaves(batch)} == {4}


def test_bfloat16_activations_with_float32_masters(model, getkey):
    pairs, key = toys.random_pairs(getkey()), getkey()
    settings = fine_tuning.sft(3e-3, **COMMON)
    exact = train(model, pairs, settings, key)
    half = train(
        jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), model),
        pairs,
        dataclasses.replace(settings, compute_dtype="bfloat16", remat="light"),
        key,
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(half.model)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(half.history["loss"], exact.history["loss"], rtol=0.05)


def test_pretraining_learns_the_source(model, getkey):
    rng = np.random.default_rng(5)

    def examples():
        while True:
            prompts = rng.integers(1, toys.VOCABULARY, (4, toys.P))
            yield prompts, np.full(4, toys.P), np.repeat(prompts[:, -1:], toys.R, axis=1), np.full(4, 3)

    settings = fine_tuning.sft(2e-2, batch=4, chunk=3, weight_decay=0.01)
    trained = fine_tuning.pretrain(model, examples(), settings, 150, getkey(), devices=toys.one_device())
    assert trained.steps == 150 and len(trained.history["loss"]) == 50
    assert trained.history["loss"][-1] < min(0.5, 0.5 * trained.history["loss"][0])
    with pytest.raises(ValueError, match="ran out at step 1"):
        fine_tuning.pretrain(model, [next(examples())], settings, 5, getkey())
    with pytest.raises(ValueError, match=r"batches\[0\] must have 8 rows"):
        fine_tuning.pretrain(model, examples(), fine_tuning.sft(batch=8), 5, getkey())


# -- what is refused -----------------------------------------------------------------------------------------------------


def test_bad_pairs_are_named(model, getkey):
    pairs = toys.random_pairs(getkey())
    settings, key = fine_tuning.dpo(**COMMON), getkey()
    with pytest.raises(ValueError, match="pairs must hold at least one pair"):
        train(model, pairs.select(np.zeros(0, dtype=int)), settings, key)
    with pytest.raises(ValueError, match="all 13 are unedited"):
        train(
            model,
            toys.random_pairs(getkey(), edited_every=20).select(np.arange(1, 13).repeat(2)[:13]),
            settings,
            key,
        )
    with pytest.raises(ValueError, match="batch must be at most the 13 pairs, but it is 14"):
        train(model, pairs, dataclasses.replace(settings, batch=14), key)
    few = toys.random_pairs(getkey(), edited_every=6)
    with pytest.raises(ValueError, match=r"at most the 3 pairs that are edited \(of 13\), but it is 4"):
        train(model, few, settings, key)
    outside = batches.Pairs(
        pairs.prompts, pairs.prompt_len, pairs.edits.at[4, 1].set(11), pairs.edit_len, pairs.responses,
        pairs.response_len, pairs.edited, pairs.costs,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"pairs.edits\[4, 1\] must be a token in \[0, 10\], but it is 11"):
        train(model, outside, settings, key)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"learning_rate": 0}, "learning_rate must be a finite number > 0"),
        ({"accumulate": 3}, "accumulate must divide batch"),
        ({"preference_weight": 0}, "nothing to learn from"),
        ({"loss": "dpo"}, "loss must be one of 'sigmoid', 'ipo'"),
        (
            {"loss": "robust", "option": 0.5},
            r"option \(rate of flipped labels\) must be in \[0, 0.499\], but it is 0.5",
        ),
        ({"per_token": "mean"}, "per_token must be one of"),
        ({"compute_dtype": "int8"}, "compute_dtype must be one of"),
        ({"remat": "heavy"}, "remat must be one of"),
        ({"warmup": 1.5}, r"warmup must be in \[0, 1\]"),
    ],
)
def test_bad_settings_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        fine_tuning.Settings(**wrong)


def test_an_exploding_training_names_its_steps(model, getkey):
    pairs, rate = toys.random_pairs(getkey(), size=40), 100.0
    settings = fine_tuning.sft(rate, mean_tokens=False, warmup=0, **COMMON)
    message = rf"diverged at steps \d+ to \d+: the mean loss is .*lower the learning_rate, now {rate:g}\."
    with pytest.raises(fine_tuning.FineTuningDiverged, match=message):
        train(model, pairs, settings, getkey())


def test_the_guard_stops_at_the_first_step_that_is_not_finite(model, getkey):
    """A source of batches with one bad example at step 5, in chunks of 2."""
    values = np.ones(8, dtype=np.float32)
    values[5] = np.nan

    def gradient(params, value, step):
        return {"loss": value * jnp.sum(params)}, value * jnp.ones(2, jnp.float32)

    settings = fine_tuning.Settings(0.1)
    hyper = train_state.Hyper.of(settings, 8)

    @jax.jit
    def advance(params, rest, inputs, count):
        return train_state.run_chunk(gradient, params, rest, inputs, count, hyper)

    def run(values):
        return train_state.drive(
            advance,
            lambda first, count: jnp.asarray(values[first : first + 2]),
            train_state.start(jnp.ones(2, jnp.float32), hyper),
            lambda params: params,
            steps=8,
            chunk=2,
            columns=("loss", "gradient_norm", "learning_rate"),
            watch=lambda params: {},
            learning_rate=0.1,
            mesh=train_state.data_mesh(toys.one_device(), 1),
            key=getkey(),
            checkpoint=None,
            identity="",
            report=None,
        )

    with pytest.raises(fine_tuning.FineTuningDiverged, match=r"diverged at step 5: .* The 4 steps") as caught:
        run(values)
    kept = caught.value.trained
    assert kept.steps == 4 and list(kept.history["step"]) == [2, 4]
    values[5:] = 1
    whole = run(values)
    assert np.all(np.isfinite(kept.model)) and np.all(kept.model != whole.model)
    assert whole.history["loss"][:2] == pytest.approx(kept.history["loss"])
