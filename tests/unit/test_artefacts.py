"""The store of things that cost time: made once, made again when missing or damaged."""

import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.runs.artefacts import Store


def test_made_once_and_again_when_damaged(tmp_path):
    said, made = [], []
    store = Store(tmp_path / "deep", said.append)

    def make():
        made.append(1)
        return {"a": [1, 2.5, None], "text": "é"}

    assert store.json("thing", {"n": 1}, make) == store.json("thing", {"n": 1}, make)
    assert len(made) == 1 and said == []
    (path,) = (tmp_path / "deep").iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    assert store.json("thing", {"n": 1}, make)["text"] == "é"
    assert len(made) == 2 and said == [f"{path} is damaged; making it again"]
    assert len(list((tmp_path / "deep").iterdir())) == 1
    store.json("thing", {"n": 2}, make)
    assert len(made) == 3 and len(list((tmp_path / "deep").iterdir())) == 2


def test_nothing_is_left_of_a_making_that_failed(tmp_path):
    store = Store(tmp_path)

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.json("thing", {}, fail)
    assert list(tmp_path.iterdir()) == []


def test_trees_come_back_bit_for_bit(tmp_path):
    tree = {"a": jnp.arange(3, dtype=jnp.float32) / 3, "b": (jnp.ones((2, 2), jnp.bfloat16),)}
    store = Store(tmp_path)
    store.tree("model", {}, tree, lambda: tree)
    found = Store(tmp_path).tree("model", {}, tree, lambda: pytest.fail("made again"))
    np.testing.assert_array_equal(found["a"], tree["a"])
    assert found["b"][0].dtype == jnp.bfloat16
