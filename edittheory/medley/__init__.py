"""The medley: one posterior over policies from costs, preferences and edits, with a certificate."""

from edittheory.medley.finite import (
    DEFAULT,
    MODELS,
    Medley,
    MedleyResult,
    Posterior,
    combine,
    fit,
    fit_path,
    posterior,
)

__all__ = [
    "DEFAULT",
    "MODELS",
    "Medley",
    "MedleyResult",
    "Posterior",
    "combine",
    "fit",
    "fit_path",
    "posterior",
]
