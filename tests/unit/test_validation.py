"""Checks return what is allowed and name argument, value and range of what is not."""

import numpy as np
import pytest

from edittheory.core import validation as v
from edittheory.core.errors import UnknownName
from edittheory.runs.progress import progress


@pytest.mark.parametrize(
    "check, arguments, good, bad, allowed",
    [
        (
            v.check_positive,
            (),
            [1, 0.5, np.float32(2)],
            [0, -1.0, np.inf, np.nan, "1", True, None, [1.0]],
            "a finite number > 0",
        ),
        (v.check_non_negative, (), [0, 0.5], [-1e-9, np.nan, "0"], "a finite number >= 0"),
        (v.check_probability, (), [0, 1, 0.5], [-0.1, 1.1, np.nan], "in [0, 1]"),
        (v.check_range, (-1, 2), [-1, 2, 0.5], [-1.1, 2.1, np.inf], "in [-1, 2]"),
        (v.check_int, (1,), [1, 5, np.int32(3)], [0, 1.0, True, "1"], "an integer >= 1"),
        (v.check_int, (1, 3), [1, 3], [4, 0], "an integer in [1, 3]"),
        (v.check_in, (("a", "b"),), ["a"], ["c"], "one of 'a', 'b'"),
    ],
)
def test_scalars(check, arguments, good, bad, allowed):
    for value in good:
        assert check("field", value, *arguments) is value
    for value in bad:
        with pytest.raises(ValueError) as caught:
            check("field", value, *arguments)
        assert str(caught.value) == f"field must be {allowed}, but it is {value!r}"


def test_open_ends():
    assert v.check_probability("p", 0.5, open_left=True, open_right=True) == 0.5
    for value in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"p must be in \(0, 1\), but it is"):
            v.check_probability("p", value, open_left=True, open_right=True)


def test_sequences_name_the_item():
    assert v.check_each("n", (1, 2), v.check_int, 1) == (1, 2)
    with pytest.raises(ValueError, match=r"n\[1\] must be an integer >= 1, but it is 0"):
        v.check_each("n", (1, 0), v.check_int, 1)
    with pytest.raises(ValueError, match="n must hold at least one item, but it is empty"):
        v.check_each("n", (), v.check_int, 1)


def test_arrays_name_the_entry():
    assert v.check_array("a", [[1, 2]], ndim=2).dtype == np.float64
    for values, ndim, message in (
        ([[1.0, np.nan]], None, r"a must be finite, but a\[0, 1\] is nan \(1 such of 2\)"),
        (np.inf, None, r"a must be finite, but a is inf"),
        ([], None, r"a must hold at least one number, but its shape is \(0,\)"),
        ([1.0], 2, r"a must have 2 axes, but its shape is \(1,\)"),
        (["x"], None, "a must be an array of numbers, but it is"),
    ):
        with pytest.raises(ValueError, match=message):
            v.check_array("a", values, ndim)


def test_unknown_names_suggest():
    assert (
        str(UnknownName("figure", "rats", ("rates", "map"))) == "unknown figure 'rats'; did you mean 'rates'?"
    )
    assert str(UnknownName("figure", "xyz", ("rates", "map"))) == "unknown figure 'xyz'; known: rates, map"


def test_progress_is_quiet_away_from_a_terminal(capsys, monkeypatch):
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr("edittheory.runs.progress.time.monotonic", lambda: next(clock))
    with progress("toy", 100, done=90) as advance:  # 20 s a step: a line after every second one
        for _ in range(4):
            advance()
    assert capsys.readouterr().err.splitlines() == [
        "toy: 92/100 cells, about 2 min 40 s left",
        "toy: 94/100 cells, about 2 min 00 s left",
    ]
