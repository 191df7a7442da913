"""Claims: every statement of docs/theory.md with both of its sides, verification, and the search for counterexamples.

`Claim`, `verify` and `falsify` are for claims of one's own.
"""

from typing import Any

__all__ = ["Claim", "Refutation", "falsify_claims", "verify"]


def __getattr__(name: str) -> Any:
    """The names for claims of one's own, imported when first asked for: they pull in the whole package."""
    if name not in __all__:
        raise AttributeError(f"module 'edittheory.claims' has no attribute {name!r}")
    from edittheory.claims import claim

    return getattr(claim, {"falsify_claims": "falsify"}.get(name, name))
