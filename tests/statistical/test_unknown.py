"""What users do not know: the law of the contexts, and logs whose policy changed while they were written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.certify import evidence
from edittheory.certify.unknown_contexts import largest_mean, slack
from edittheory.core import statistics
from edittheory.core.logspace import log_normalise
from edittheory.problem import EditDataset
from tests.finite_toys import X, Y, balanced, policies

LEVEL = 1e-4


@pytest.mark.parametrize("counts", [[3, 5, 2], [0, 4, 9], [0, 0, 7], [1, 0, 0], [400, 300, 300]])
def test_largest_mean_is_the_maximum_over_the_set(counts):
    counts = np.array(counts, dtype=float)
    rng = np.random.default_rng(int(counts.sum()))
    laws = rng.dirichlet([0.3, 0.3, 0.3], size=200_000)
    laws = np.concatenate([laws, rng.dirichlet(counts + 0.5, size=200_000)])
    shares = counts / counts.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.where(shares > 0, shares * np.log(shares / laws), 0.0).sum(axis=1) * counts.sum()
    inside = laws[apart <= slack(counts, 0.1)]
    for values in ([1.0, 0.2, 0.0], [0.0, 0.5, 2.0], [0.3, 0.3, 0.3]):
        found, tried = largest_mean(counts, np.array(values), 0.1), (inside @ values).max()
        assert tried <= found + 1e-9
        assert found - tried < 0.02 * (1 + max(values))


@pytest.mark.statistical
def test_the_true_law_is_inside_at_every_n_at_once():
    rng = np.random.default_rng(0)
    law, delta, runs, bad = np.array([0.6, 0.3, 0.08, 0.02]), 0.2, 400, 0
    for _ in range(runs):
        counts, lost = np.zeros(4), False
        for x in rng.choice(4, size=120, p=law):
            counts[x] += 1
            shares = counts / counts.sum()
            seen = shares > 0
            lost |= np.sum(counts[seen] * np.log(shares[seen] / law[seen])) > slack(counts, delta)
        bad += lost
    assert not statistics.violation_check(bad, runs, delta, LEVEL).violated


@pytest.mark.parametrize("change, message", [
    ({"counts": np.array([1.5, 2.0])}, "counts must be whole numbers"),
    ({"counts": np.array([-1.0, 2.0])}, "counts must be whole numbers"),
    ({"values": np.array([np.nan, 1.0])}, "values must not be NaN"),
    ({"values": np.ones(3)}, "values has shape"),
    ({"delta": 0.0}, r"delta must be in \(0, 1\)"),
])  # fmt: skip
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        largest_mean(
            **{"counts": np.array([1.0, 2.0]), "values": np.array([1.0, 0.0]), "delta": 0.1, **change}
        )


def test_edges_of_largest_mean():
    assert largest_mean(np.array([1.0, 0.0]), np.array([0.0, np.inf]), 0.1) == np.inf
    assert largest_mean(np.zeros(2), np.array([0.0, 2.0]), 0.1) == 2.0
    many = largest_mean(np.array([5e5, 5e5]), np.array([0.0, 1.0]), 0.1)
    assert 0.5 < many < 0.505


K, N, LOGS, DELTA = 6, 60, 300, 0.2


@pytest.fixture(scope="module")
def adaptive():
    """Logs in which each answer comes from a policy that the edit before it chose."""
    problem = balanced(3, beta=0.3, strength=0.5)
    base = log_normalise(2.0 * jax.random.normal(jax.random.key(8), (X, Y)))
    players = log_normalise(base + jax.random.normal(jax.random.key(9), (Y, X, Y)))
    # The member that looks true to whoever takes the answers for the reference's.
    lure = log_normalise(problem.log_reference + problem.log_optimal - base)
    others = log_normalise(problem.log_optimal + policies(4, K - 2, 1.0))
    log_class = jnp.concatenate([others, lure[None], problem.log_optimal[None]])

    def log(key):
        def step(last, own):
            data = problem.sample(own, 1, players[last])
            x, y, edit = data.contexts[0], data.responses[0], data.edits[0]
            return edit, (x, y, edit, data.costs[0], players[last, x])

        _, (x, y, edit, cost, behaviour) = jax.lax.scan(step, jnp.asarray(0), jax.random.split(key, N))
        data = EditDataset(x, y, edit, cost)
        right = evidence.preference_log_likelihood(log_class, problem.log_reference, data, behaviour)
        wrong = evidence.preference_log_likelihood(log_class, problem.log_reference, data)
        return [evidence.mixture_evidence(values)[:, -1] for values in (right, wrong)]

    return jax.jit(jax.vmap(log))(jax.random.split(jax.random.key(0), LOGS))


@pytest.mark.statistical
def test_evidence_keeps_its_level_when_the_policy_changes_while_it_logs(adaptive):
    right, wrong = (np.asarray(values).max(axis=1) >= np.log(1 / DELTA) for values in adaptive)
    assert not statistics.violation_check(int(right.sum()), LOGS, DELTA, LEVEL).violated
    assert statistics.violation_check(int(wrong.sum()), LOGS, DELTA, LEVEL).violated, (
        "the reference in its place must fail"
    )


@pytest.mark.statistical
def test_and_has_mean_one_under_the_truth(adaptive):
    final = np.exp(np.asarray(adaptive[0])[:, 4])
    error = final.std(ddof=1) / np.sqrt(LOGS)
    assert abs(final.mean() - 1.0) < 4.5 * error
