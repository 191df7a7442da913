"""A user's own claims, true and false, without editing the package."""

import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.claims import Claim, falsify_claims, verify
from edittheory.core.logspace import total_variation


def _distance(view):
    problem = view.problem
    return problem.context_probs @ total_variation(view.probe, problem.log_optimal)


TRUE = Claim(
    "own.pinsker",
    "D^2 <= SubOpt / (2 beta)",
    lambda v: (_distance(v) ** 2, v.problem.suboptimality(v.probe) / (2 * v.problem.beta)),
)
FALSE = Claim(
    "own.false",
    "SubOpt <= c_max D",
    lambda v: (v.problem.suboptimality(v.probe), v.problem.cost_max * _distance(v)),
)
LEARNED = Claim(
    "own.learned",
    "SUP is no worse than the reference / 50",
    lambda t: (t.problem.suboptimality(t.sup), t.problem.suboptimality(t.problem.log_reference) / 50),
    failures=1,
)


def test_verify_counts_violations_of_claims_of_ones_own():
    true, false, learned = verify(
        (TRUE, FALSE, LEARNED), trials=60, sizes=(20,), num_contexts=2, num_candidates=4
    )
    assert not true.violated and true.violations == 0 and true.trials == 180 and true.tightness >= 1
    assert learned.violated and learned.worst > 0.1 and learned.upper > learned.worst
    assert false.claim == "own.false" and false.allowed == 0


def test_falsify_finds_the_counterexample_and_says_that_nobody_confirmed_it():
    stands, falls = falsify_claims((TRUE, FALSE), starts=6, steps=100)
    assert stands.verdict == "stands" and stands.ratio <= 1 + 1e-9
    assert falls.verdict == "refuted in float64, not confirmed" and falls.ratio > 1.01
    problem = falls.problem.check()
    probe = jnp.asarray(falls.probe)
    gap = problem.context_probs @ total_variation(probe, problem.log_optimal)
    assert problem.suboptimality(probe) > problem.cost_max * gap
    np.testing.assert_allclose(falls.left, problem.suboptimality(probe), rtol=1e-6)


def test_falsify_judges_claims_on_logs_by_fresh_data():
    (found,) = falsify_claims((LEARNED,), n=5, population=8, generations=1)
    assert found.verdict == "refuted" and found.claim == "own.learned"


@pytest.mark.parametrize("call, message", [
    (lambda: verify(()), "claims must hold at least one item"),
    (lambda: verify((TRUE,), sizes=(0,)), r"sizes\[0\] must be an integer >= 1"),
    (lambda: verify((TRUE,), delta=1.5), r"delta must be in \(0, 1\)"),
    (lambda: falsify_claims((TRUE,), n=0), "n must be an integer >= 1"),
])  # fmt: skip
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_claim_that_is_not_a_number_is_named():
    bad = Claim("own.nan", "NaN", lambda v: (jnp.nan * v.problem.beta, v.problem.beta))
    with pytest.raises(FloatingPointError, match=r"own\.nan is NaN at trial 0"):
        verify((bad,), trials=5, sizes=(5,), num_contexts=2, num_candidates=4)
