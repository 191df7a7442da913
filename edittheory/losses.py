"""Per-example losses (public name of `edittheory.learn.losses`)."""

from edittheory.learn.losses import (
    cost,
    early_ensemble,
    preference,
    preference_logit,
    supervised,
    weighted,
)

__all__ = ["cost", "early_ensemble", "preference", "preference_logit", "supervised", "weighted"]
