"""What bounds refuse: users off balance, truths outside the class, sizes, unknown forms."""

import inspect

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory import bounds
from edittheory.bounds import AssumptionError
from edittheory.problem.random_problems import Instance
from tests.bound_cases import DELTA, N
from tests.finite_toys import instance, policies, unbalanced_instance


@pytest.fixture(scope="module")
def given() -> Instance:
    return instance(jnp.asarray(11))


@pytest.fixture(scope="module")
def broken() -> Instance:
    """Realisable classes, but a user without balance."""
    return unbalanced_instance(jnp.asarray(4))


# -- refusals -----------------------------------------------------------------------------------------------------------------


BALANCE = r"balance \(Assumption 1\) fails: some pair's preference is off by 0\.\d+, allowed 1e-09"


NEEDS_BALANCE = {
    "L1.gamma": lambda g: bounds.contraction(g.problem, g.log_class[0], "gamma"),
    "L1.doeblin": lambda g: bounds.contraction(g.problem, g.log_class[0], "doeblin"),
    "L1.dobrushin": lambda g: bounds.contraction(g.problem, g.log_class[0], "dobrushin"),
    "B1.a": lambda g: bounds.supervised(g.problem, g.log_class, N, DELTA, "paper"),
    "B2.a": lambda g: bounds.preference(g.problem, g.log_class, N, DELTA, "paper"),
    "B2.b": lambda g: bounds.preference(g.problem, g.log_class, N, DELTA, "hellinger"),
    "B2.c": lambda g: bounds.preference(g.problem, g.log_class, N, DELTA, "fast"),
}


NEEDS_NO_BALANCE = {
    "B0.range": lambda g: bounds.distance_to_suboptimality(g.problem, g.log_class[0], "range"),
    "B0.chord": lambda g: bounds.distance_to_suboptimality(g.problem, g.log_class[0], "chord"),
    "B1.b": lambda g: bounds.supervised(g.problem, g.log_class, N, DELTA, "exact_bias"),
    "B1.c": lambda g: bounds.supervised(g.problem, g.log_class, N, DELTA, "hellinger"),
    "B3.a": lambda g: bounds.cost(g.problem, g.cost_class, N, DELTA, "slow"),
    "B3.b": lambda g: bounds.cost(g.problem, g.cost_class, N, DELTA, "fast"),
    "B3.error": lambda g: bounds.cost_error(g.problem, g.cost_class, N, DELTA),
    "B3.class": lambda g: bounds.sampled_contexts(g.problem, g.log_class, N, DELTA),
}


@pytest.mark.parametrize("name", NEEDS_BALANCE)
def test_what_needs_balance_refuses_users_without(broken, name):
    with pytest.raises(AssumptionError, match=BALANCE):
        NEEDS_BALANCE[name](broken)


@pytest.mark.parametrize("name", NEEDS_NO_BALANCE)
def test_what_needs_no_balance_takes_every_user(broken, name):
    found = NEEDS_NO_BALANCE[name](broken)
    assert np.all(np.isfinite(found.value)) and np.all(np.asarray(found.value) > 0)


def test_balance_is_asked_of_contexts_that_occur_only(given, broken):
    mixed = eqx.tree_at(lambda p: p.user, given.problem, given.problem.user.at[1].set(broken.problem.user[1]))
    assert not bounds.assume_balance(mixed)
    hidden = eqx.tree_at(lambda p: p.context_probs, mixed, jnp.asarray([0.5, 0.0, 0.5]))
    assert bounds.assume_balance(hidden)
    assert bounds.assume_balance(given.problem)


def without(log_class, log_policy, problem):
    """The members that are not the given policy."""
    distance = problem.total_variation(log_class, log_policy)
    assert np.sum(np.asarray(distance) < 1e-9) >= 1
    return log_class[np.asarray(distance) >= 1e-9]


@pytest.mark.parametrize("form", ["paper", "exact_bias", "hellinger"])
def test_supervised_needs_the_law_of_the_edits(given, form):
    problem = given.problem
    edited = problem.edited(problem.log_reference)
    lacking = without(given.log_class, edited, problem)
    message = r"realisability .* q o reference, the law of the edits, is not in the class \(nearest member at TV 0\.\d+\)"
    with pytest.raises(AssumptionError, match=message):
        bounds.supervised(problem, lacking, N, DELTA, form)
    # Without pi* it is content.
    bounds.supervised(problem, without(given.log_class, problem.log_optimal, problem), N, DELTA, form)


@pytest.mark.parametrize("form", ["paper", "hellinger", "fast"])
def test_preference_needs_the_optimum(given, form):
    problem = given.problem
    lacking = without(given.log_class, problem.log_optimal, problem)
    with pytest.raises(
        AssumptionError, match=r"realisability \(Assumption 2\) fails: pi\* is not in the class"
    ):
        bounds.preference(problem, lacking, N, DELTA, form)
    edited = problem.edited(problem.log_reference)
    bounds.preference(problem, without(given.log_class, edited, problem), N, DELTA, form)


@pytest.mark.parametrize("form", ["slow", "fast", "error"])
def test_cost_needs_the_cost_and_its_range(given, form):
    problem, cost_class = given.problem, given.cost_class

    def run(cost_class):
        if form == "error":
            return bounds.cost_error(problem, cost_class, N, DELTA)
        return bounds.cost(problem, cost_class, N, DELTA, form)

    others = jnp.delete(cost_class, given.truth, axis=0)
    with pytest.raises(AssumptionError, match="the expected cost is not in the cost class"):
        run(others)
    for wrong in (-0.25, 2.0):
        place = (given.truth + 1) % given.num_candidates
        with pytest.raises(
            AssumptionError, match=rf"costs range from .*{abs(wrong)}.*, must lie in \[0, 1.0\]"
        ):
            run(cost_class.at[place, 0, 0].set(wrong))
    run(cost_class)


def test_assumptions_as_arrays_inside_jit(given, broken):
    @eqx.filter_jit
    def hold(g):
        edited = g.problem.edited(g.problem.log_reference)
        return jnp.stack(
            [
                bounds.assume_balance(g.problem),
                bounds.assume_contains(g.problem, g.log_class, g.problem.log_optimal),
                bounds.assume_contains(g.problem, g.log_class, edited),
                bounds.assume_cost(g.problem, g.cost_class),
                bounds.assume_contains(g.problem, policies(0, 2), edited),
            ]
        )

    assert hold(given).tolist() == [True, True, True, True, False]
    assert hold(broken).tolist() == [False, True, True, True, False]


SIZED = {
    "B1": lambda g, n, delta, **kw: bounds.supervised(g.problem, g.log_class, n, delta, "exact_bias", **kw),
    "B2": lambda g, n, delta, **kw: bounds.preference(g.problem, g.log_class, n, delta, "hellinger", **kw),
    "B3": lambda g, n, delta, **kw: bounds.cost(g.problem, g.cost_class, n, delta, "slow", **kw),
    "B3.error": lambda g, n, delta, **kw: bounds.cost_error(g.problem, g.cost_class, n, delta, **kw),
    "B3.class": lambda g, n, delta: bounds.sampled_contexts(g.problem, g.log_class, n, delta),
    "MLE": lambda g, n, delta: bounds.maximum_likelihood(4, n, delta),
}


@pytest.mark.parametrize("name", SIZED)
def test_sample_sizes_and_levels_out_of_range(given, name):
    for n in (0, -3, jnp.asarray(0), jnp.asarray(float("nan"))):
        with pytest.raises(ValueError, match=r"n: got .*, must be at least 1"):
            SIZED[name](given, n, DELTA)
    for delta in (0.0, 1.0, -0.1, 1.5, float("nan"), jnp.asarray(1.0)):
        with pytest.raises(ValueError, match=r"delta: got .*, must lie in \(0, 1\)"):
            SIZED[name](given, N, delta)


@pytest.mark.parametrize("name", ["B1", "B2", "B3", "B3.error"])
def test_inside_jit_the_check_is_a_type_error_and_can_be_left_out(given, name):
    with pytest.raises(TypeError, match="assumptions cannot be checked inside jit or vmap: pass check=False"):
        eqx.filter_jit(lambda g: SIZED[name](g, N, DELTA).value)(given)
    inside = eqx.filter_jit(lambda g, n: SIZED[name](g, n, DELTA, check=False).value)(given, jnp.asarray(N))
    np.testing.assert_allclose(inside, SIZED[name](given, N, DELTA).value, rtol=1e-12)


def test_lemma_1_inside_jit(given):
    with pytest.raises(TypeError, match="pass check=False"):
        eqx.filter_jit(lambda g: bounds.contraction(g.problem, g.log_class[0]).value)(given)
    inside = eqx.filter_jit(lambda g: bounds.contraction(g.problem, g.log_class[0], check=False).value)(given)
    np.testing.assert_allclose(
        inside, bounds.contraction(given.problem, given.log_class[0]).value, rtol=1e-12
    )


@pytest.mark.parametrize(
    "call, allowed",
    [
        (lambda f, g: f(bounds.supervised)(g.problem, g.log_class, N, DELTA, "slow"), "'paper', 'exact_bias' or 'hellinger'"),
        (lambda f, g: f(bounds.preference)(g.problem, g.log_class, N, DELTA, "slow"), "'paper', 'hellinger' or 'fast'"),
        (lambda f, g: f(bounds.cost)(g.problem, g.cost_class, N, DELTA, "paper"), "'slow' or 'fast'"),
        (lambda f, g: f(bounds.contraction)(g.problem, g.log_class[0], "slow"), "'gamma', 'doeblin' or 'dobrushin'"),
        (lambda f, g: f(bounds.distance_to_suboptimality)(g.problem, g.log_class[0], "slow"), "'range' or 'chord'"),
    ],
    ids=["B1", "B2", "B3", "L1", "B0"],
)  # fmt: skip
def test_unknown_forms_are_named(given, call, allowed):
    """Past the type checker of the tests, which would refuse the literal first."""
    with pytest.raises(ValueError, match=f"form: got '(slow|paper)', must be {allowed}"):
        call(inspect.unwrap, given)
