"""Strategies of problems and policies."""

import equinox as eqx
from hypothesis import strategies as st

from tests.finite_toys import arbitrary, balanced, policies

seeds = st.integers(0, 2**31 - 1)


betas = st.floats(0.05, 5.0)


shares = st.floats(0.0, 1.0)


localities = st.floats(0.0, 10.0)


spreads = st.floats(0.0, 3.0)


balanced_problems = st.builds(balanced, seeds, betas, shares, localities, spreads)


arbitrary_problems = st.builds(arbitrary, seeds, betas, st.floats(0.0, 0.8))


problems = st.one_of(balanced_problems, arbitrary_problems)


some_policies = st.builds(lambda seed, spread: policies(seed, 16, spread), seeds, st.floats(0.0, 6.0))


@eqx.filter_jit
def _edited(problem, log_policies):
    return problem.edited(log_policies)
