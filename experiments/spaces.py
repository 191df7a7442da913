"""The response spaces that experiments draw problems over: short strings, and style variants of real sentences."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from edittheory.problem import responses
from edittheory.problem.random_problems import Spaces
from edittheory.text import corpora


@functools.cache
def strings(num_letters: int, max_length: int) -> Spaces:
    """All strings of 1 to `max_length` letters, one distance matrix for all contexts."""
    space = responses.all_strings(num_letters, max_length, min_length=1)
    return Spaces(space.distance[None])


def resolve_source(source: str) -> str:
    """The source that "auto" stands for on this machine: news where its package is installed, else the built-in texts."""
    return str(corpora.load(source, limit=1).provenance["source"])


@functools.cache
def _bank(source: str, num_switches: int, size: int):
    """Variants of up to `size` texts, and where the texts come from; texts whose variants collide are left out."""
    loaded = corpora.load(source, limit=size)
    space = responses.style_variants(loaded.texts, responses.default_items(num_switches), on_collision="skip")
    return space, loaded.provenance | {"used": len(space.responses)}


def text_variants(source: str, num_switches: int, size: int) -> Spaces:
    """All 2^m style variants of each of up to `size` texts."""
    space, _ = _bank(source, num_switches, size)
    return Spaces(np.asarray(space.distance), np.asarray(space.switches))


def text_provenance(source: str, num_switches: int, size: int) -> Mapping[str, Any]:
    """Where the texts come from: package, version, hash, and how many gave distinct variants."""
    return _bank(source, num_switches, size)[1]
