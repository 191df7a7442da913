"""Checks of arguments: each returns its value or raises ValueError naming argument, value and allowed range."""

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import jax
import numpy as np

Value = TypeVar("Value")


def _fail(name: str, value: object, allowed: str) -> ValueError:
    return ValueError(f"{name} must be {allowed}, but it is {value!r}")


def _number(name: str, value: Any, allowed: str) -> float:
    if isinstance(value, (bool, str)) or np.ndim(value) != 0:
        raise _fail(name, value, allowed)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise _fail(name, value, allowed) from None
    if not np.isfinite(number):
        raise _fail(name, value, allowed)
    return number


def check_positive(name: str, value: Value) -> Value:
    """A finite number above 0."""
    if _number(name, value, "a finite number > 0") <= 0:
        raise _fail(name, value, "a finite number > 0")
    return value


def check_non_negative(name: str, value: Value) -> Value:
    """A finite number of at least 0."""
    if _number(name, value, "a finite number >= 0") < 0:
        raise _fail(name, value, "a finite number >= 0")
    return value


def check_probability(name: str, value: Value, *, open_left: bool = False, open_right: bool = False) -> Value:
    """A number in [0, 1]; `open_left` and `open_right` exclude the ends."""
    allowed = f"in {'(' if open_left else '['}0, 1{')' if open_right else ']'}"
    number = _number(name, value, allowed)
    below = number <= 0 if open_left else number < 0
    above = number >= 1 if open_right else number > 1
    if below or above:
        raise _fail(name, value, allowed)
    return value


def check_range(name: str, value: Value, low: float | int, high: float | int) -> Value:
    """A finite number in [low, high]."""
    allowed = f"in [{low:g}, {high:g}]"
    if not low <= _number(name, value, allowed) <= high:
        raise _fail(name, value, allowed)
    return value


def check_int(name: str, value: Value, minimum: int, maximum: int | None = None) -> Value:
    """An integer (a NumPy one counts, a bool or a float does not) in [minimum, maximum]."""
    allowed = f"an integer >= {minimum}" if maximum is None else f"an integer in [{minimum}, {maximum}]"
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise _fail(name, value, allowed)
    if value < minimum or (maximum is not None and value > maximum):
        raise _fail(name, value, allowed)
    return value


def check_in(name: str, value: Value, allowed: Collection[Any]) -> Value:
    """One of a given set of values."""
    if value not in allowed:
        raise _fail(name, value, "one of " + ", ".join(repr(item) for item in allowed))
    return value


def check_not_empty(name: str, values: Sequence[Any]) -> Sequence[Any]:
    """A sequence with at least one item."""
    if len(values) == 0:
        raise ValueError(f"{name} must hold at least one item, but it is empty")
    return values


def check_each(name: str, values: Sequence[Any], check: Any, *args: Any, **kwargs: Any) -> Sequence[Any]:
    """Check every item of a non-empty sequence, naming the item: `check_each("n", ns, check_int, 1)`."""
    for index, value in enumerate(check_not_empty(name, values)):
        check(f"{name}[{index}]", value, *args, **kwargs)
    return values


def check_entries(name: str, values: Value, low: float, high: float = np.inf) -> Value:
    """A number or an array, every entry finite and in [low, high]; what JAX is tracing has no values yet and passes."""
    if isinstance(values, jax.core.Tracer):
        return values
    allowed = f"finite and in [{low:g}, {high:g}]" if np.isfinite(high) else f"finite and >= {low:g}"
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise _fail(name, values, f"real numbers, {allowed}") from None
    wrong = np.argwhere(~(np.isfinite(array) & (array >= low) & (array <= high)))
    if len(wrong):
        index = tuple(int(i) for i in wrong[0])
        where = f"{name}[{', '.join(map(str, index))}]" if index else name
        raise ValueError(f"{where} must be {allowed}, but it is {array[index]}")
    return values


def check_array(name: str, values: Any, ndim: int | None = None) -> np.ndarray:
    """Values as a float64 NumPy array: not empty, every entry finite, `ndim` axes if given.

    The message names the first offending entry by its index.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be an array of numbers, but it is {values!r}") from None
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} axes, but its shape is {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} must hold at least one number, but its shape is {array.shape}")
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        index = tuple(int(i) for i in wrong[0])
        where = f"{name}[{', '.join(map(str, index))}]" if index else name
        raise ValueError(
            f"{name} must be finite, but {where} is {array[index]} ({len(wrong)} such of {array.size})"
        )
    return array
