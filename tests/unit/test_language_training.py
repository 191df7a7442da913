"""Fine-tuning of language models: batches, schedule, reference cache, what is learned, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from edittheory.language.evaluate import held_out
from edittheory.language.model import tokens
from edittheory.language.train import batches, fine_tuning, pair_objectives, train_state
from edittheory.language.train.reference_cache import (
    ReferenceCache,
    RefLogProbs,
    reference_log_probs,
    summed_log_probs,
)
from edittheory.language.world.logs import LogRow
from tests import language_training_toys as toys

COMMON = toys.COMMON


def train(model, pairs, settings, key, **options):
    return fine_tuning.train(model, pairs, settings, key, devices=toys.one_device(), **options)


@pytest.fixture
def model(getkey):
    return toys.random_model(getkey())


# -- pairs and batches -------------------------------------------------------------------------------------------------


def log_row(prompt, response, edit, cost):
    return LogRow("c", "email", "posts", prompt, response, edit, cost, {"clean": True}, 0, "m", {"user": "u"})


def test_pairs_of_log_rows():
    tokeniser = tokens.WordTokeniser(["a", "b", "c", "d"])
    rows = [
        log_row("a b", "c d", "c d", 0.0),
        log_row("a", "c", "d c b", 1.5),
        log_row("b", "a a a a a a a", "a", 1.0),
    ]
    pairs = batches.make_pairs(tokeniser, rows, 6, 5)
    np.testing.assert_array_equal(pairs.edited, [False, True, True])
    np.testing.assert_array_equal(pairs.cut, [False, False, True])
    np.testing.assert_array_equal(pairs.costs, np.float32([0.0, 1.5, 1.0]))
    np.testing.assert_array_equal(pairs.response_len, [3, 2, 5])
    np.testing.assert_array_equal(pairs.edit_len, [3, 4, 2])
    assert tokeniser.decode(pairs.edits[1].tolist()) == "d c b"
    assert pairs.only_edited().size == 2
    pairs.check(tokeniser.size)
    with pytest.raises(ValueError, match="rows must hold at least one item"):
        batches.make_pairs(tokeniser, [], 6, 5)


def test_trimming_changes_no_log_probability_and_no_identity(model, getkey):
    pairs = toys.random_pairs(getkey())
    wide = batches.Pairs(
        np.pad(np.asarray(pairs.prompts), ((0, 0), (3, 0)), constant_values=9),
        pairs.prompt_len,
        np.pad(np.asarray(pairs.edits), ((0, 0), (0, 2)), constant_values=9),
        pairs.edit_len,
        pairs.responses,
        pairs.response_len,
        pairs.edited,
        pairs.costs,
    )
    assert wide.text_identity() == pairs.text_identity()
    assert wide.trimmed(1).prompts.shape == pairs.trimmed(1).prompts.shape
    assert wide.trimmed(8).prompts.shape == (13, 8)
    for left, right in zip(summed_log_probs(model, wide, 5), summed_log_probs(model, pairs, 13), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)
    changed = pairs.select(np.arange(13)[::-1])
    assert changed.text_identity() != pairs.text_identity()


def test_every_epoch_takes_every_row_once_in_a_new_order(getkey):
    key = getkey()
    order = batches.Order(key, 11, 4)
    assert order.steps_per_epoch == 3
    epochs = [np.concatenate([order.rows(3 * epoch + step) for step in range(3)]) for epoch in range(3)]
    for rows in epochs:
        np.testing.assert_array_equal(np.sort(rows), np.arange(11))
    assert not np.array_equal(epochs[0], epochs[1])
    np.testing.assert_array_equal(batches.Order(key, 11, 4).rows(7), epochs[2][4:8])
    assert not np.array_equal(batches.Order(getkey(), 11, 4).rows(7), epochs[2][4:8])


@pytest.mark.parametrize("mean_tokens", [False, True])
def test_shares_sum_to_one_over_the_real_rows(mean_tokens, getkey):
    pairs = toys.random_pairs(getkey())
    columns = batches.Columns(*(np.asarray(getattr(pairs, name)) for name in batches.Columns._fields[:4]))
    rows = [np.array([2, 5, 7, 11]), np.array([3])]
    batch = batches.assemble(columns, rows, 4, 2, 3, mean_tokens)
    assert batch.edits.shape == (2, 2, 3, toys.R)  # microbatches of 2, filled up to a multiple of 3
    np.testing.assert_allclose(batch.preference_share.sum(axis=(1, 2)), 1.0, rtol=1e-6)
    measure = batch.supervised_share * (batch.edit_len if mean_tokens else 1)
    np.testing.assert_allclose(measure.sum(axis=(1, 2)), 1.0, rtol=1e-6)
    assert np.count_nonzero(batch.supervised_share[1]) == 1


def test_the_schedule(getkey):
    settings = fine_tuning.Settings(2e-3, warmup=0.1, final=0.1)
    hyper = train_state.Hyper.of(settings, 50)
    rates = [float(train_state.schedule(hyper, jnp.int32(step))) for step in range(50)]
    expected = optax.warmup_cosine_decay_schedule(0.0, 2e-3, 5, 50, 2e-4)
    np.testing.assert_allclose(rates, [float(expected(step + 1)) for step in range(50)], rtol=1e-5)
    one = train_state.Hyper.of(settings, 1)
    assert float(train_state.schedule(one, jnp.int32(0))) == pytest.approx(2e-3)


# -- reference ---------------------------------------------------------------------------------------------------------


def test_the_reference_is_computed_once_and_never_mistaken(model, getkey, tmp_path):
    pairs = toys.random_pairs(getkey())
    cache = ReferenceCache(tmp_path / "kept")
    first = cache.get(model, pairs, 4)
    assert cache.get(model, pairs, 5) is first and cache.computed == 1
    each = toys.token_log_probs(model, pairs.prompts, pairs.prompt_len, pairs.edits, pairs.edit_len)
    np.testing.assert_allclose(first.edit, each.sum(axis=1), atol=1e-5)
    from_disk = ReferenceCache(tmp_path / "kept")
    toys.leaves_equal(from_disk.get(model, pairs, 4)[:2], first[:2])
    assert from_disk.computed == 0
    other = jax.tree.map(lambda leaf: leaf.at[(0,) * leaf.ndim].add(1e-3), model)
    from_disk.get(other, pairs, 4)
    from_disk.get(model, pairs.select(np.arange(12)), 4)
    from_disk.get(model, pairs, 4, "bfloat16")
    assert from_disk.computed == 3
    for path in (tmp_path / "kept").iterdir():
        path.write_bytes(path.read_bytes()[:200])
    damaged = ReferenceCache(tmp_path / "kept")
    toys.leaves_equal(damaged.get(model, pairs, 4)[:2], first[:2])
    assert damaged.computed == 1


def test_a_reference_of_other_pairs_is_refused(model, getkey):
    pairs, other = toys.random_pairs(getkey()), toys.random_pairs(getkey())
    settings = fine_tuning.dpo(**COMMON)
    right = reference_log_probs(model, pairs, 4)
    with pytest.raises(ValueError, match="computed for others"):
        train(model, other, settings, getkey(), reference=right)
    with pytest.raises(ValueError, match=r"reference.edit must have one value for each of the 9 pairs"):
        train(model, pairs.select(np.arange(9)), settings, getkey(), reference=right)
    broken = RefLogProbs(right.edit, np.where(np.arange(13) == 3, np.nan, right.response), right.pairs)
    with pytest.raises(ValueError, match=r"reference.response\[3\]"):
        train(model, pairs, settings, getkey(), reference=broken)


# -- training ----------------------------------------------------------------------------------------------------------


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
        ({"mean_tokens": True}, "mean_tokens must be False"),
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
