"""Exact claims, stated once: the space of problems they are about, their sides, and the independent oracle."""
