"""Certificates over finite classes (public name of `edittheory.certify.certificates`)."""

from edittheory.certify.certificates import (
    AnytimeCertificates,
    Certificates,
    certify,
    cost,
    cost_betting,
    divergences,
    preference,
    preference_anytime,
)

__all__ = [
    "AnytimeCertificates",
    "Certificates",
    "certify",
    "cost",
    "cost_betting",
    "divergences",
    "preference",
    "preference_anytime",
]
