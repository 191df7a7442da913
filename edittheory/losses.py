"""Per-example losses (public name of `edittheory.learn.losses`)."""

from edittheory.learn.losses import (
    cost,
    early_ensemble,
    preference,
    preference_logit,
    supervised,
    weighted,
)
from edittheory.learn.preference_losses import (
    PREFERENCE_LOSSES,
    apo_down,
    apo_zero,
    chi_po,
    conservative,
    dpo_positive,
    ipo,
    kto,
    robust,
    sigmoid,
    simpo,
)

__all__ = [
    "PREFERENCE_LOSSES", "apo_down", "apo_zero", "chi_po", "conservative", "cost", "dpo_positive", "early_ensemble", "ipo", "kto",
    "preference", "preference_logit", "robust", "sigmoid", "simpo", "supervised", "weighted",
]  # fmt: skip
