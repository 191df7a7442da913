"""Malformed arguments of library functions: problems, counts, users, learners, distances, ensembles, statistics.

Recipes: every field of a problem with a fault of every kind that its type can have; every argument of a function outside of each
end of its range, of another type and of another shape.
"""
# ruff: noqa: E501  (tables of faults)

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from edittheory.bounds import offline, online
from edittheory.core import statistics
from edittheory.deploy import deployment, ensembles
from edittheory.learn import policies, training
from edittheory.problem import users
from edittheory.problem.edit_problem import EditProblem
from edittheory.problem.kernels import balanced_kernel
from edittheory.problem.responses import all_strings
from edittheory.runs.identity import run_key, stable_hash
from tests.campaigns.attempts import Attempt

FIELDS: dict[str, Any] = {
    "context_probs": np.array([0.5, 0.5]),
    "log_reference": np.log(np.full((2, 3), 1 / 3)),
    "user": np.full((2, 3, 3), 1 / 3),
    "distance": 1.0 - np.eye(3),
    "beta": 0.1,
}
"""A sound problem of two contexts and three responses."""


def _entry(value: float) -> Any:
    def spoil(array: Any) -> Any:
        spoilt = np.array(array, dtype=float)
        spoilt.flat[-2 if spoilt.size > 1 else 0] = value
        return spoilt

    return spoil


FAULTS: dict[str, Any] = {
    "NaN": _entry(np.nan),
    "infinity": _entry(np.inf),
    "minus infinity": _entry(-np.inf),
    "negative": _entry(-0.25),
    "too large": _entry(7.0),
    "an axis less": lambda array: np.asarray(array)[0],
    "an axis more": lambda array: np.asarray(array)[None, None],
    "a row more": lambda array: np.concatenate([np.atleast_1d(array)] * 2),
    "empty": lambda array: np.zeros((0, *np.shape(array)[1:])),
    "text": lambda array: "many",
    "nothing": lambda array: None,
    "complex": lambda array: np.asarray(array) + 1j,
}
SOUND = {
    ("beta", "too large"), ("beta", "an axis less"), ("beta", "a row more"), ("beta", "empty"), ("log_reference", "negative"),
    ("distance", "too large"), ("distance", "an axis more"),
}  # fmt: skip
"""Faults that are none: any positive beta, ... a negative log-probability is refused by its sum below."""


def problems() -> Iterator[Attempt]:
    """Every field of a problem with every fault."""
    for field in FIELDS:
        for fault, spoil in FAULTS.items():
            if (field, fault) not in SOUND:
                yield Attempt(
                    "problem", f"{field}: {fault}", field,
                    lambda folder, field=field, spoil=spoil: EditProblem(**FIELDS | {field: spoil(FIELDS[field])}).check(),
                )  # fmt: skip


def arguments() -> Iterator[Attempt]:
    """Arguments of functions outside of their ranges."""
    sound = EditProblem(**FIELDS)
    key, counts, moves = jax.random.key(0), np.ones((2, 3)), np.ones((2, 3, 3))
    user = jnp.asarray(FIELDS["user"])
    flat = {"num_policies": 8, "n": 100, "delta": 0.1}
    calls: list[tuple[str, Any, list[tuple[str, Any]]]] = [
        ("from_counts", partial(EditProblem.from_counts, counts, moves, FIELDS["distance"], 0.1), [("smoothing", 0.0), ("smoothing", -1.0), ("smoothing", float("nan"))]),
        ("from_counts", lambda responses: EditProblem.from_counts(responses, moves, FIELDS["distance"], 0.1),
         [("responses", -counts), ("responses", counts * np.nan), ("responses", counts * [[0.0], [1.0]])]),
        ("from_counts", lambda edits: EditProblem.from_counts(counts, edits, FIELDS["distance"], 0.1), [("edits", -moves), ("edits", moves[0]), ("edits", moves * np.inf)]),
        ("sample", lambda n: sound.sample(key, n), [("n", 0), ("n", -3)]),
        ("normalised", lambda user: EditProblem(**FIELDS | {"user": user}).normalised(), [("user", user * 1.01), ("user", user * np.nan)]),
        ("balanced_kernel", lambda strength: balanced_kernel(np.log(np.full((3,), 1 / 3)), FIELDS["distance"], strength, 1.0),
         [("strength", -0.1), ("strength", 1.5), ("strength", float("nan"))]),
        ("lazy", lambda edit_prob: users.lazy(user, edit_prob), [("edit_prob", -0.1), ("edit_prob", 1.1), ("edit_prob", float("nan"))]),
        ("habit", lambda share: users.habit(user, jnp.full((3,), 1 / 3), share), [("share", -0.1), ("share", 2.0), ("share", float("nan"))]),
        ("mixture", lambda weights: users.mixture(jnp.stack([user, user]), weights), [("weights", jnp.array([0.7, 0.7])), ("weights", jnp.array([-0.5, 1.5])), ("weights", jnp.array([jnp.nan, 1.0]))]),
        ("all_strings", lambda num_letters: all_strings(num_letters, 2), [("num_letters", 0), ("num_letters", -1)]),
        ("all_strings", lambda max_length: all_strings(2, max_length), [("max_length", -1), ("max_length", 60)]),
        ("LateEnsemble", lambda num_policies: ensembles.LateEnsemble(num_policies, 1.0), [("num_policies", 0), ("num_policies", -2), ("num_policies", 2.5)]),
        ("LateEnsemble", lambda exploration: ensembles.LateEnsemble(3, exploration), [("exploration", -1.0), ("exploration", float("nan"))]),
        ("EpsilonGreedy", lambda rate: ensembles.EpsilonGreedy(3, rate), [("rate", -0.1), ("rate", float("nan"))]),
        ("FixedArm", lambda arm: ensembles.FixedArm(3, arm), [("arm", 3), ("arm", -1)]),
        ("replay_table", lambda costs: deployment.replay_table(costs, 1.0), [("costs", np.full((2, 5, 3), np.nan)), ("costs", np.full((2, 5, 3), -1.0)), ("costs", np.full((2, 5, 3), 2.0)), ("costs", np.zeros((4,)))]),
        ("maximum_likelihood", lambda **given: offline.maximum_likelihood(**flat | given), [("num_policies", 0), ("n", 0), ("delta", 0.0), ("delta", 1.0), ("delta", float("nan"))]),
        ("epoch_lengths", lambda first: online.epoch_lengths(first, 2.0, 100), [("first", 0), ("first", -5)]),
        ("epoch_lengths", lambda growth: online.epoch_lengths(10, growth, 100), [("growth", 0.5), ("growth", float("nan"))]),
        ("clopper_pearson", lambda successes: statistics.clopper_pearson(successes, 10, 0.05), [("successes", -1), ("successes", 11), ("successes", 2.5), ("successes", float("nan"))]),
        ("clopper_pearson", lambda level: statistics.clopper_pearson(3, 10, level), [("level", 0.0), ("level", 1.0), ("level", float("nan"))]),
        ("bonferroni", lambda family: statistics.bonferroni(0.05, family), [("family", 0), ("family", [])]),
        ("holm", lambda p_values: statistics.holm(p_values, 0.05), [("p_values", [0.1, 1.2]), ("p_values", [0.1, float("nan")]), ("p_values", [-0.1])]),
        ("run_key", lambda seed: run_key(seed, {}), [("seed", -1), ("seed", 2**32), ("seed", True)]),
        ("stable_hash", lambda identity: stable_hash(identity), [("identity", {"a": float("inf")}), ("identity", {1: 2}), ("identity", {"a": {1, 2}})]),
        ("Settings", lambda **given: training.Settings(**given), [("steps", 0), ("steps", 1.5), ("batch_size", 0), ("dtype", "float8")]),
        ("LogLinear", lambda features: policies.LogLinear(jnp.asarray(FIELDS["log_reference"]), features), [("features", np.full((2, 3, 4), np.nan)), ("features", np.zeros((3, 4)))]),
    ]  # fmt: skip
    for function, call, faults in calls:
        for argument, value in faults:

            def attempt(folder: Any, call: Any = call, argument: str = argument, value: Any = value) -> Any:
                return call(**{argument: value})

            shown = str(value).replace("\n", "")[:30]
            yield Attempt("argument", f"{function}: {argument} = {shown}", argument, attempt)
