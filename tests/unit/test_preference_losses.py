"""Preference losses against their papers' formulas in plain NumPy, and against TRL where it is installed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.learn import losses, preference_losses
from edittheory.learn.preference_losses import NUMBERS, PREFERENCE_LOSSES
from tests.preference_formulas import CASES, FORMULAS

CELLS = [(name, *numbers) for name, cases in CASES.items() for numbers in cases]


def logps(seed, size=50):
    """Log-probabilities of edits and responses, and the reference's: some pairs moved much, the first unedited."""
    rng = np.random.default_rng(seed)
    reference = -rng.exponential(4.0, (2, size))
    policy = np.minimum(reference + rng.normal(0, 2.0, (2, size)), -1e-3)
    policy[1, 0], reference[1, 0] = policy[0, 0], reference[0, 0]
    return *policy, *reference


def test_every_loss_is_written_out_once_more():
    assert set(FORMULAS) == set(PREFERENCE_LOSSES) == set(CASES)


@pytest.mark.parametrize("name, scale, option", CELLS)
def test_losses_are_their_papers_formulas(name, scale, option):
    given = logps(7)
    expected = [FORMULAS[name](*pair, scale, option) for pair in zip(*given, strict=True)]
    arrays = [jnp.asarray(values) for values in given]
    found = PREFERENCE_LOSSES[name].function(*arrays, scale, option)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    number = jnp.asarray(NUMBERS[name])
    by_number = jax.jit(preference_losses.by_number)(number, *arrays, jnp.asarray(scale), jnp.asarray(option))
    np.testing.assert_allclose(by_number, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name, scale, option", CELLS)
def test_gradients_are_finite_differences(name, scale, option):
    given = [jnp.asarray(values) for values in logps(11)]
    number = jnp.asarray(NUMBERS[name])

    def total(edit, response):
        return jnp.sum(preference_losses.by_number(number, edit, response, *given[2:], scale, option))

    slopes, step = jax.grad(total, argnums=(0, 1))(*given[:2]), 1e-6
    for side in (0, 1):
        expected = []
        for pair in zip(*map(np.asarray, given), strict=True):
            ends = [
                FORMULAS[name](*(v + sign * step * (k == side) for k, v in enumerate(pair)), scale, option)
                for sign in (1, -1)
            ]
            expected.append((ends[0] - ends[1]) / (2 * step))
        # DPO-positive has a kink where the edit has not moved and chi-PO one at its clip; no pair is at either.
        np.testing.assert_allclose(slopes[side], expected, rtol=1e-5, atol=1e-7)


def test_losses_that_meet():
    """No margin, no smoothing, no weight of the fall: DPO. KTO at reference point 0 is half of APO-zero."""
    given = [jnp.asarray(values) for values in logps(3)]
    dpo = losses.preference(*given, 0.7)
    for name in ("sigmoid", "conservative", "robust", "dpo_positive"):
        np.testing.assert_array_equal(PREFERENCE_LOSSES[name].function(*given, 0.7, 0.0), dpo)
    none = jnp.zeros_like(given[0])
    np.testing.assert_array_equal(
        preference_losses.simpo(*given, 0.7, 0.0), losses.preference(*given[:2], none, none, 0.7)
    )
    np.testing.assert_allclose(
        2 * preference_losses.kto(*given, 0.7, 0.0), preference_losses.apo_zero(*given, 0.7), rtol=1e-12
    )


def test_a_policy_that_excludes_both_is_indifferent():
    """-inf for edit and response alike is an unedited pair to every loss of their difference, without NaN in the slopes."""
    never, reference = jnp.asarray(-jnp.inf), jnp.asarray(-1.5)
    for name in ("sigmoid", "ipo", "conservative", "robust"):
        loss, slope = jax.value_and_grad(
            lambda logp, name=name: PREFERENCE_LOSSES[name].function(logp, never, reference, reference, 1.0)
        )(never)
        np.testing.assert_allclose(loss, 0.25 if name == "ipo" else np.log(2), rtol=1e-12)
        assert slope == 0.0


def test_flipped_labels_leave_the_robust_loss_right_on_average():
    given, e = [jnp.asarray(values) for values in logps(5)], 0.2
    swapped = [given[1], given[0], given[3], given[2]]
    average = (1 - e) * preference_losses.robust(*given, 0.8, e) + e * preference_losses.robust(
        *swapped, 0.8, e
    )
    np.testing.assert_allclose(average, losses.preference(*given, 0.8), rtol=1e-10)


def test_chi_po_stays_finite_in_float32():
    far = jnp.float32(200.0)
    zero = jnp.float32(0.0)
    loss, slope = jax.value_and_grad(preference_losses.chi_po)(-zero, -far, -far, zero, 1.0)
    assert np.isfinite(loss) and np.isfinite(slope)


def test_options_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"option \(label smoothing\) must be in \[0, 0.5\], but it is 0.6"):
        PREFERENCE_LOSSES["conservative"].check(0.6)
    for loss in PREFERENCE_LOSSES.values():
        loss.check(loss.default)
