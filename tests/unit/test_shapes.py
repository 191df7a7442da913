"""Shapes and indices that do not fit are refused by name before JAX meets them; float32 rows and counts make problems."""

import jax.numpy as jnp
import numpy as np
import pytest

from edittheory import bounds, certificates, learners
from edittheory.problem import EditDataset, EditProblem, cost_classes
from tests.finite_toys import K, X, Y, balanced, policies

BAD_CALLS = {
    "policy of other responses": (lambda p, c, d: p.suboptimality(c[..., :-1]), "log_policy has shape"),
    "policy without contexts": (lambda p, c, d: p.value(c[0, 0]), "log_policy has shape"),
    "policy of other contexts": (lambda p, c, d: p.edited(c[:, :-1]), f"X = {X} by EditProblem"),
    "one policy for a class": (lambda p, c, d: bounds.preference(p, c[0], 9, 0.1), "axes (K, X, Y)"),
    "class of other contexts": (
        lambda p, c, d: bounds.supervised(p, c[:, 1:], 9, 0.1),
        "log_class has shape",
    ),
    "costs of other responses": (lambda p, c, d: bounds.cost(p, c[..., 1:], 9, 0.1), "cost_class has shape"),
    "reference of other contexts": (
        lambda p, c, d: learners.preference(c, p.log_reference[1:], d),
        "log_reference has",
    ),
    "class without members": (lambda p, c, d: learners.supervised(c[0], d), "log_class has shape"),
    "law of other contexts": (
        lambda p, c, d: certificates.preference(c, p.log_reference, d, jnp.ones(X + 1) / (X + 1), 0.3, 0.1),
        "context_probs has shape",
    ),
    "data of other contexts": (lambda p, c, d: learners.supervised(c[:, :1], d), "it must lie in [0, 0]"),
    "data of other responses": (
        lambda p, c, d: cost_classes.predictions(c[..., :1], d),
        "it must lie in [0, 0]",
    ),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_what_does_not_fit_is_refused_by_name(name):
    call, message = BAD_CALLS[name]
    problem = balanced()
    log_class = policies(count=K)
    # Every context and response is in the log, so that a smaller class cannot hold it.
    cells = np.stack(np.meshgrid(np.arange(X), np.arange(Y), indexing="ij"), -1).reshape(-1, 2)
    data = EditDataset(
        jnp.asarray(cells[:, 0]), jnp.asarray(cells[:, 1]), jnp.asarray(cells[:, 1]), jnp.zeros(len(cells))
    )
    with pytest.raises(ValueError, match=r".") as error:
        call(problem, log_class, data)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_rows_rounded_to_float32_become_a_problem_when_normalised():
    exact = balanced()
    rounded = EditProblem(
        *(
            np.asarray(part, dtype=np.float32)
            for part in (exact.context_probs, exact.log_reference, exact.user)
        ),
        exact.distance,
        exact.beta,
    )
    with pytest.raises(
        ValueError, match=r"sums to .* must sum to 1 within 1e-08; EditProblem.normalised\(\)"
    ):
        rounded.check()
    mended = rounded.normalised().check()
    np.testing.assert_allclose(mended.user, exact.user, rtol=0, atol=1e-6)
    broken = EditProblem(
        rounded.context_probs, rounded.log_reference, rounded.user * 0.99, exact.distance, exact.beta
    )
    with pytest.raises(ValueError, match=r"user: row \(0, 0\) sums to 0\.9.*within 1e-05"):
        broken.normalised()


def test_a_problem_from_counts_is_the_law_of_the_counts():
    responses = np.array([[3, 1], [4, 0]])
    edits = np.array([[[2, 1], [0, 0]], [[1, 3], [0, 0]]])
    problem = EditProblem.from_counts(responses, edits, 1.0 - np.eye(2), 0.2, smoothing=0.5)
    np.testing.assert_allclose(problem.context_probs, [0.5, 0.5])
    np.testing.assert_allclose(np.exp(problem.log_reference), [[3.5 / 5, 1.5 / 5], [4.5 / 5, 0.5 / 5]])
    np.testing.assert_allclose(problem.user, [[[2 / 3, 1 / 3], [0, 1]], [[1 / 4, 3 / 4], [0, 1]]])
    for bad, message in (
        ((responses * -1, edits), r"responses\[0, 0\]: got -3.0, must be a count"),
        ((responses, edits[:, :1]), r"edits: shape \(2, 1, 2\), must be"),
        ((np.array([[0, 0], [1, 1]]), edits), "must hold at least one response"),
    ):
        with pytest.raises(ValueError, match=message):
            EditProblem.from_counts(*bad, 1.0 - np.eye(2), 0.2)
