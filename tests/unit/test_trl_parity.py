"""On equal log-probabilities TRL's trainers give the values of these losses; runs where `trl` (with torch) is installed.

TRL computes its losses inside of its trainers, so the method is called with a stand-in for the trainer and for the model,
which gives back chosen token log-probabilities. Checked against TRL 1.16.
"""

from collections import defaultdict
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.learn import losses
from edittheory.learn.preference_losses import PREFERENCE_LOSSES

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl")

PAIRS, TOKENS = 6, 9
SETTINGS = {
    "sigmoid": ("sigmoid", 0.3, None),
    "ipo": ("ipo", 0.2, None),
    "robust": ("robust", 0.5, 0.2),
    "apo_zero": ("apo_zero", 0.1, None),
    "apo_down": ("apo_down", 0.1, None),
}
"""TRL's loss_type, its beta, its label_smoothing."""


class Texts:
    """Token log-probabilities of PAIRS chosen texts, then as many rejected ones, of several lengths, and the reference's sums."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.length = rng.integers(2, TOKENS + 1, 2 * PAIRS)
        self.mask = np.arange(TOKENS) < self.length[:, None]
        self.logps = -rng.exponential(1.0, (2 * PAIRS, TOKENS)) * self.mask
        self.reference = self.logps.sum(axis=1) + rng.normal(0, 1.5, 2 * PAIRS)

    def arguments(self, per_token=False):
        """Edit, response, and the reference's, as the losses here take them."""
        length = self.length if per_token else 1
        sums, reference = self.logps.sum(axis=1) / length, self.reference / length
        return [jnp.asarray(v) for v in (sums[:PAIRS], sums[PAIRS:], reference[:PAIRS], reference[PAIRS:])]

    def inputs(self):
        prompt = np.zeros((2 * PAIRS, 1), dtype=int)
        mask = torch.tensor(np.concatenate([prompt, self.mask], axis=1).astype(int))
        reference = torch.tensor(self.reference)
        return {
            "input_ids": torch.zeros_like(mask), "attention_mask": torch.ones_like(mask), "completion_mask": mask,
            "ref_chosen_logps": reference[:PAIRS], "ref_rejected_logps": reference[PAIRS:],
        }  # fmt: skip


def trainer(texts, **fields):
    """What the trainer's method reads of its trainer: one process, no adapters, references computed before."""

    def same(value):
        return value

    def model(**_):
        shape = (2 * PAIRS, TOKENS)
        return SimpleNamespace(
            log_probs=torch.tensor(texts.logps), entropy=torch.zeros(shape), mean_logits=torch.zeros(shape),
            is_top1=torch.zeros(shape, dtype=bool),
        )  # fmt: skip

    model.training = False
    accelerator = SimpleNamespace(device=torch.device("cpu"), gather=same, gather_for_metrics=same)
    common = {
        "model": model, "accelerator": accelerator, "aux_loss_enabled": False, "ld_alpha": None, "use_weighting": False,
        "precompute_ref_logps": True, "f_divergence_type": "reverse_kl", "label_smoothing": 0.0,
        "_metrics": defaultdict(lambda: defaultdict(list)), "_total_train_tokens": 0,
    }  # fmt: skip
    return SimpleNamespace(**(common | fields))


def dpo_value(texts, **fields):
    stand_in = trainer(texts, **fields)
    found = trl.DPOTrainer._compute_loss(stand_in, stand_in.model, texts.inputs(), False)
    return float(found)


@pytest.mark.parametrize("name", SETTINGS)
def test_dpo_trainer(name):
    loss_type, beta, smoothing = SETTINGS[name]
    texts, loss = Texts(3), PREFERENCE_LOSSES[name]
    expected = dpo_value(
        texts, loss_types=[loss_type], loss_weights=[1.0], beta=beta, label_smoothing=smoothing or 0.0
    )
    option = loss.default if smoothing is None else smoothing
    found = jnp.mean(loss.function(*texts.arguments(loss.per_token), beta, option))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_dpo_trainer_of_means_over_tokens():
    texts = Texts(4)
    expected = dpo_value(texts, loss_types=["sigmoid_norm"], loss_weights=[1.0], beta=2.0)
    np.testing.assert_allclose(
        jnp.mean(losses.preference(*texts.arguments(per_token=True), 2.0)), expected, rtol=1e-6
    )


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_dpo_trainer_of_a_mix(weight):
    """["sigmoid", "sft"] with weights [1, w] is DPO + w * NLL of the batch's mean token = Early at w / mean length."""
    texts = Texts(5)
    expected = dpo_value(texts, loss_types=["sigmoid", "sft"], loss_weights=[1.0, weight], beta=0.2)
    given = texts.arguments()
    mean_token = jnp.sum(losses.supervised(given[0])) / texts.length[:PAIRS].sum()
    np.testing.assert_allclose(
        jnp.mean(losses.preference(*given, 0.2)) + weight * mean_token, expected, rtol=1e-6
    )
    early = losses.early_ensemble(*given, weight / texts.length[:PAIRS].mean(), 0.2)
    np.testing.assert_allclose(jnp.mean(early), expected, rtol=1e-6)


@pytest.mark.parametrize("kl", [0.4, -0.3])
def test_kto_trainer(kl):
    """TRL's reference point is an estimate by mismatched texts, at least 0."""
    texts = Texts(6)
    inputs = texts.inputs() | {
        "label": torch.tensor([True] * PAIRS + [False] * PAIRS),
        "ref_logps": torch.tensor(texts.reference),
        "ref_KL_logps": torch.zeros(2 * PAIRS),
    }
    stand_in = trainer(
        texts, beta=0.4, loss_type="kto", calculate_KL=True, desirable_weight=1.0, undesirable_weight=1.0,
        _compute_kl_logps=lambda model, batch: torch.full((2 * PAIRS,), kl),
    )  # fmt: skip
    expected = float(trl.KTOTrainer._compute_loss(stand_in, stand_in.model, inputs, False))
    found = PREFERENCE_LOSSES["kto"].function(*texts.arguments(), 0.4, max(kl, 0.0))
    np.testing.assert_allclose(jnp.mean(found), expected, rtol=1e-6)


def test_cpo_trainer():
    """SimPO; and label smoothing, which TRL's DPO trainer no longer has, on log-ratios."""
    cpo = pytest.importorskip("trl.experimental.cpo")
    texts = Texts(7)
    common = {"alpha": 0.0, "simpo_gamma": 0.7}
    edit, response, *reference = texts.arguments(per_token=True)
    stand_in = trainer(texts, loss_type="simpo", beta=2.0, **common)
    tensors = [torch.tensor(np.asarray(value)) for value in (edit, response)]
    expected = cpo.CPOTrainer.cpo_loss(stand_in, *tensors)[0]
    found = PREFERENCE_LOSSES["simpo"].function(edit, response, *reference, 2.0, 0.7)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    given = texts.arguments()
    stand_in = trainer(texts, loss_type="sigmoid", beta=0.5, **common)
    stand_in.label_smoothing = 0.2
    ratios = [torch.tensor(np.asarray(a - b)) for a, b in zip(given[:2], given[2:], strict=True)]
    expected = cpo.CPOTrainer.cpo_loss(stand_in, *ratios)[0]
    np.testing.assert_allclose(
        PREFERENCE_LOSSES["conservative"].function(*given, 0.5, 0.2), expected, rtol=1e-6
    )
