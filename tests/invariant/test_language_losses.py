"""Every preference loss in the training step of a language model is the loss of the exact setting, sums or means over tokens."""

import jax
import numpy as np
import pytest

from edittheory.language.train import fine_tuning
from edittheory.language.train.reference_cache import reference_log_probs, summed_log_probs
from tests import language_training_toys as toys
from tests.invariant.test_language_invariants import gradient
from tests.preference_formulas import CASES, FORMULAS

ROWS = np.array([5, 0, 12, 7])


@pytest.fixture
def given(getkey):
    model, reference, pairs = (
        toys.random_model(getkey()), toys.random_model(getkey()), toys.random_pairs(getkey()),
    )  # fmt: skip
    logps = reference_log_probs(reference, pairs, 4)
    columns = (*summed_log_probs(model, pairs, 4), logps.edit, logps.response)
    return model, reference, pairs, [column[ROWS].astype(float) for column in columns]


@pytest.mark.parametrize("name", CASES)
def test_the_step_is_the_formula(name, given):
    """Also beside the supervised loss, as TRL mixes it: weight times the NLL of the batch's mean token."""
    model, reference, pairs, logps = given
    edit_len, response_len = (np.asarray(lengths)[ROWS] for lengths in (pairs.edit_len, pairs.response_len))
    for per_token in (False, True):
        lengths = [edit_len, response_len, edit_len, response_len] if per_token else [1.0] * 4
        for scale, option in CASES[name]:
            expected = np.mean(
                [
                    FORMULAS[name](*pair, scale, option)
                    for pair in zip(*(a / b for a, b in zip(logps, lengths, strict=True)), strict=True)
                ]
            )
            for weight, mean_tokens in ((0.0, True), (0.7, True), (0.2, False)):
                count = edit_len.sum() if mean_tokens else len(ROWS)
                settings = fine_tuning.preferring(
                    name, scale=scale, option=option, per_token=per_token, supervised_weight=weight,
                    mean_tokens=mean_tokens, **toys.COMMON,
                )  # fmt: skip
                loss, slopes = gradient(model, reference, pairs, ROWS, settings)
                np.testing.assert_allclose(loss, expected - weight * logps[0].sum() / count, rtol=2e-5)
                assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))


def test_the_mix_learns_what_dpo_alone_lets_fall(getkey):
    """DPO + mean-token NLL keeps the edit's log-probability above that of DPO alone on the same pairs."""
    model, pairs, key = toys.random_model(getkey()), toys.random_pairs(getkey(), edited_every=2), getkey()
    drift = {}
    for weight in (0.0, 1.0):
        settings = fine_tuning.preferring(
            "sigmoid", 1e-2, supervised_weight=weight, **{**toys.COMMON, "epochs": 10}
        )
        trained = fine_tuning.train(model, pairs, settings, key, devices=toys.one_device())
        drift[weight] = trained.history["drift_edit"][-1]
    assert drift[1.0] > drift[0.0]
