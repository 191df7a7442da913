"""Token pairs of a log, the batches that training takes from them, the schedule, and the reference's log-probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from edittheory.language.model import tokens
from edittheory.language.train import batches, fine_tuning, train_state
from edittheory.language.train.reference_cache import (
    ReferenceCache,
    RefLogProbs,
    reference_log_probs,
    summed_log_probs,
)
from edittheory.language.world.logs import LogRow
from tests import language_training_toys as toys

COMMON, train = toys.COMMON, toys.train


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
    assert pairs.select(pairs.edited).size == 2
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
