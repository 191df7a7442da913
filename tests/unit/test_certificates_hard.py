"""C18 of docs/theory-certificates.md: MaxCut as a certificate, and the bound by selections."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.certify import certificates_parametric as parametric
from edittheory.certify import parametric_maximum as maximum
from edittheory.learn.policies import LogLinear
from edittheory.problem import EditDataset, features
from tests.finite_toys import balanced

GRAPHS = {
    "square": (4, [(0, 1), (1, 2), (2, 3), (3, 0)], 4),
    "triangle": (3, [(0, 1), (1, 2), (2, 0)], 2),
    "five-cycle and a chord": (5, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (0, 2)], 5),
}
BETA = 0.5


def instance(vertices, edges):
    """C18's class: a context for each vertex, two answers, a feature for each edge; its radius; and a log without a change."""
    incidence = np.zeros((vertices, len(edges)))
    for place, (a, b) in enumerate(edges):
        incidence[a, place], incidence[b, place] = 1.0, -1.0
    phi = jnp.asarray(np.stack([incidence, -incidence], axis=1))
    reference = jnp.full((vertices, 2), -jnp.log(2.0))
    radius = vertices * np.sqrt(len(edges) + 1.0)
    alone = jnp.arange(2 * vertices) % 2
    data = EditDataset(jnp.arange(2 * vertices) // 2, alone, alone, jnp.zeros(2 * vertices))
    return incidence, LogLinear(phi, reference, float(radius)), data


@pytest.mark.parametrize("name", GRAPHS)
def test_a_certificate_tells_the_largest_cut(name):
    vertices, edges, largest = GRAPHS[name]
    incidence, model, data = instance(vertices, edges)
    cuts = [sum(side[a] != side[b] for a, b in edges) for side in itertools.product([0, 1], repeat=vertices)]
    assert max(cuts) == largest
    # The log leaves everything alone, so the set is the whole ball.
    found = parametric.preference_set(model, data, 0.1)
    rng = np.random.default_rng(0)
    ends = rng.normal(size=(200, len(edges)))
    ends *= found.radius / np.linalg.norm(ends, axis=1, keepdims=True)
    assert found.contains(ends).all()
    # The largest KL over the ball, at the best signs: s -> theta = radius N' s / ||N' s||, then climbed.
    signs = np.asarray(list(itertools.product([-1.0, 1.0], repeat=vertices))) @ incidence
    lengths = np.linalg.norm(signs, axis=1)
    starts = found.radius * signs[lengths > 0] / lengths[lengths > 0, None]
    divergence = maximum.Divergence(
        model.log_reference, model.features, model.log_reference, np.full(vertices, 1 / vertices), BETA
    )
    np.testing.assert_allclose(
        divergence.value(starts),
        BETA / vertices * (np.logaddexp(starts @ incidence.T, -starts @ incidence.T) - np.log(2)).sum(axis=1),
        rtol=1e-9,
        atol=1e-9,
    )
    best = float(divergence.value(starts).max())
    exact = 2.0 * np.sqrt(largest) * BETA * found.radius / vertices  # beta R ||N||_{2->1} / m
    assert exact - BETA * np.log(2.0) <= best <= exact
    # One cut less, or one more, is told from it.
    told = [2.0 * np.sqrt(k) * BETA * found.radius / vertices for k in (largest - 1, largest, largest + 1)]
    assert told[0] < best <= told[1] < told[2] - BETA * np.log(2.0)
    # The bound by selections meets the norm: each selection is a vector of signs.
    bound = maximum.selection_bound(divergence, found.outer, found.radius)
    assert bound <= exact * (1 + 1e-9)
    assert best <= bound


def test_the_bound_by_selections_is_above_what_the_set_holds():
    problem = balanced(3, beta=0.2, spread=0.8)
    ratio = problem.log_optimal - problem.log_reference
    phi = features.spanning(jax.random.key(0), ratio[None], 7)
    theta, _ = features.coefficients(phi, ratio)
    model = LogLinear(phi, problem.log_reference, float(2 * np.linalg.norm(theta)))
    gains = []
    for n in (30, 200):
        found = parametric.preference_set(model, problem.sample(jax.random.key(n), n), 0.1)
        divergence = maximum.Divergence(
            problem.log_reference, phi, problem.log_reference, problem.context_probs, float(problem.beta)
        )
        upper = maximum.selection_bound(divergence, found.outer, found.radius)
        rng = np.random.default_rng(1)
        ends = rng.normal(size=(4000, 7)) @ np.linalg.inv(np.linalg.cholesky(found.outer.shape))
        ends /= np.sqrt(np.einsum("nd,de,ne->n", ends, found.outer.shape, ends))[:, None]
        points = found.outer.centre + ends * rng.uniform(size=(len(ends), 1))
        points = points[np.linalg.norm(points, axis=1) <= found.radius]
        assert len(points) and float(divergence.value(points).max()) <= upper
        assert maximum.best_found(found, divergence) <= upper
        certificate = maximum.certify(found, divergence)
        old = maximum.ellipsoid_bound(divergence, found.outer)
        assert certificate.upper == min(upper, old) and certificate.method in ("selections", "ellipsoid")
        gains.append(old / certificate.upper)
    assert max(gains) > 1.2
    assert maximum.selection_bound(divergence, found.outer, found.radius, most=10) == np.inf
