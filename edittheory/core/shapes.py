"""Shapes of arguments, checked against their jaxtyping annotations where a user comes in, before JAX meets them.

`shaped` reads the annotations that are there anyway, so a function says its shapes once. A letter stands for one size in all
arguments of a call; equinox modules among them (a problem, a data set) bind the letters of their own fields. Shapes are
static: nothing is looked at inside of jit but the trace, and a compiled function pays nothing.
"""

import functools
import inspect
import typing
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import equinox as eqx
import jax
import jaxtyping
import numpy as np

P = ParamSpec("P")
R = TypeVar("R")
Sizes = dict[str, tuple[int, str]]
"""Letter -> its size, and the argument that said so."""


def shaped(function: Callable[P, R]) -> Callable[P, R]:
    """The function, raising ValueError for an array argument whose shape is not that of its annotation.

    The message names the argument, its shape, what it must be, and where another argument fixed a size. Leading axes
    (`*batch`, `...`) are free. Data sets whose indices lie outside of X contexts or Y responses are refused too.
    """
    signature = inspect.signature(function)

    @functools.cache
    def hints() -> dict[str, list[str]]:
        found = typing.get_type_hints(function, include_extras=True)
        return {name: dims for name in signature.parameters if name in found and (dims := _dims(found[name]))}

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs).arguments
        sizes: Sizes = {}
        modules = {name: value for name, value in bound.items() if isinstance(value, eqx.Module)}
        for name, value in modules.items():
            for field, dims in _field_dims(type(value)).items():
                _match(
                    f"{type(value).__name__ if name == 'self' else name}.{field}",
                    getattr(value, field),
                    dims,
                    sizes,
                )
        for name, dims in hints().items():
            if name in bound and bound[name] is not None:
                _match(name, bound[name], dims, sizes)
        if "X" in sizes and "Y" in sizes:
            for name, value in modules.items():
                if hasattr(value, "responses") and hasattr(value, "edits"):
                    check_indices(name, value, sizes["X"][0], sizes["Y"][0])
        return function(*args, **kwargs)

    return checked


def check_indices(name: str, data: Any, num_contexts: int, num_responses: int) -> None:
    """ValueError if a context or response of a concrete data set does not exist (JAX would take another one, silently)."""
    for field, size in (("contexts", num_contexts), ("responses", num_responses), ("edits", num_responses)):
        values = getattr(data, field)
        if isinstance(values, jax.core.Tracer) or np.size(values) == 0:
            continue
        array = np.asarray(values)
        outside = (array < 0) | (array >= size)
        if outside.any():
            place = tuple(int(i) for i in np.argwhere(outside)[0])
            where = f"{name}.{field}[{', '.join(map(str, place))}]"
            raise ValueError(f"{where} is {array[place]}, but it must lie in [0, {size - 1}]")


def _dims(annotation: Any) -> list[str]:
    """The shape string of the one array type in an annotation, as words; [] if there is none or more than one."""
    kinds = [annotation, *typing.get_args(annotation)]
    found = {
        kind.dim_str for kind in kinds if inspect.isclass(kind) and issubclass(kind, jaxtyping.AbstractArray)
    }
    return found.pop().split() if len(found) == 1 else []


@functools.cache
def _field_dims(module: type) -> dict[str, list[str]]:
    found = typing.get_type_hints(module, include_extras=True)
    return {name: dims for name, annotation in found.items() if (dims := _dims(annotation))}


def _fixed(dims: list[str]) -> tuple[list[str], bool]:
    """The named axes at the end of a shape, and whether any number of axes may come before them."""
    free = [place for place, word in enumerate(dims) if word.startswith("*") or word == "..."]
    return (dims[free[-1] + 1 :], True) if free else (dims, False)


def _match(name: str, value: Any, dims: list[str], sizes: Sizes) -> None:
    shape = getattr(value, "shape", None)
    if shape is None:
        return
    words, free = _fixed(dims)
    given = tuple(shape)[len(shape) - len(words) :] if free else tuple(shape)
    told = " ".join(dims)
    if len(given) != len(words):
        raise ValueError(
            f"{name} has shape {tuple(shape)}, but it must have the axes ({told.replace(' ', ', ')})"
        )
    for word, size in _named(words, given):
        if word not in sizes:
            sizes[word] = (size, name)
        elif sizes[word][0] != size:
            wanted, source = sizes[word]
            raise ValueError(
                f"{name} has shape {tuple(shape)}, axes ({told.replace(' ', ', ')}), but {word} = {wanted} by {source}"
            )


def _named(words: list[str], shape: tuple[int, ...]) -> Iterator[tuple[str, int]]:
    for word, size in zip(words, shape, strict=True):
        if word.startswith("#"):
            if size != 1:
                yield word[1:], size
        elif word.isidentifier() and word != "_":
            yield word, size
