"""Every bound against an independent NumPy formula, and what each refuses and why."""

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory import bounds
from edittheory.bounds import AssumptionError
from edittheory.problem import coverage
from edittheory.problem.random_problems import Instance
from tests.finite_toys import X, Y, instance, policies, unbalanced_instance

N, DELTA = 137, 0.07


@pytest.fixture(scope="module")
def given() -> Instance:
    return instance(jnp.asarray(11))


@pytest.fixture(scope="module")
def broken() -> Instance:
    """Realisable classes, but a user without balance."""
    return unbalanced_instance(jnp.asarray(4))


class Numbers:
    """The constants of theory.md B, by plain NumPy, of an instance and the policy that was learned."""

    def __init__(self, given: Instance, learned, learned_rl):
        problem = given.problem
        self.beta, self.law = float(problem.beta), np.asarray(problem.context_probs)
        self.reference, self.user = np.exp(problem.log_reference), np.asarray(problem.user)
        distance = np.broadcast_to(problem.distance, (X, Y, Y))
        self.cost, self.cost_max = np.einsum("xab,xab->xa", self.user, distance), distance.max()
        weights = self.reference * np.exp(-self.cost / self.beta)
        self.optimal = weights / weights.sum(-1, keepdims=True)
        self.edited = np.einsum("xa,xab->xb", self.reference, self.user)
        self.members, self.costs = np.exp(given.log_class), np.asarray(given.cost_class)
        self.learned, self.learned_rl = np.exp(learned), np.exp(learned_rl)
        self.L = np.log(len(self.members) / DELTA)
        self.L_F = np.log(len(self.costs) / DELTA)
        log_ratio = np.log(self.members) - np.log(self.reference)
        self.B = self.beta * np.abs(log_ratio).max()
        self.R = np.ptp(log_ratio, axis=-1).max()
        self.kappa = (1 + np.exp(self.R)) * (1 + np.exp(-self.R))  # = e^R + e^-R + 2
        self.M = (self.members / self.optimal).max()
        favourite = self.optimal.argmax(-1)
        self.gamma = np.array([self.user[x, :, favourite[x]].min() for x in range(X)])

    def tv(self, p, q):
        return 0.5 * np.abs(p - q).sum(-1)

    def deviation(self):
        return np.sqrt(2 * self.L / N)

    def paper_bias(self):
        start = self.law @ self.tv(self.reference, self.optimal)
        return min((1 - self.gamma).max() * start, np.sqrt(self.law @ (1 - self.gamma) ** 2) * np.sqrt(start))

    def hellinger_bias(self):
        return np.sqrt(self.law @ ((np.sqrt(self.edited) - np.sqrt(self.optimal)) ** 2).sum(-1))

    def pair_cover(self, policies):
        pairs = self.reference[..., None] * self.user
        pairs = pairs + np.swapaxes(pairs, -1, -2)
        worst = 0.0
        for pi in policies:
            for x in range(X):
                for a in range(Y):
                    for b in range(a):
                        top = pi[x, a] * self.optimal[x, b] + pi[x, b] * self.optimal[x, a]
                        worst = max(worst, top / pairs[x, a, b])
        return worst

    def path_pair_cover(self, policies):
        """On a dense grid of the path: from below, by less than 1e-4 of itself."""
        pairs = self.reference[..., None] * self.user
        pairs = pairs + np.swapaxes(pairs, -1, -2) + np.where(np.eye(Y, dtype=bool), np.inf, 0.0)
        worst = 0.0
        for pi in policies:
            for t in np.linspace(0, 1, 2001):
                step = self.optimal ** (1 - t) * pi**t
                step = step / step.sum(-1, keepdims=True)
                worst = max(worst, (2 * step[..., :, None] * step[..., None, :] / pairs).max())
        return worst

    def sensitivity(self):
        worst = np.zeros((X, Y))
        for f in self.costs:
            error = (f - self.cost) ** 2
            if error.max() > 1e-18:
                worst = np.maximum(worst, error / (self.law @ (self.reference * error).sum(-1)))
        return worst

    def cost_cover(self, pi):
        return self.law @ (pi * self.sensitivity()).sum(-1)

    def path_cost_cover(self, end):
        worst = 0.0
        for t in np.linspace(0, 1, 2001):
            step = self.optimal ** (1 - t) * end**t
            worst = max(worst, self.cost_cover(step / step.sum(-1, keepdims=True)))
        return worst


@pytest.fixture(scope="module")
def learned(given):
    """A member of the class, and the policy of a pessimistic cost."""
    bar = jnp.maximum(given.cost_class[0], given.problem.expected_cost)
    weights = given.problem.log_reference - bar / given.problem.beta
    return given.log_class[1], jax.nn.log_softmax(weights)


@pytest.fixture(scope="module")
def numbers(given, learned) -> Numbers:
    return Numbers(given, *learned)


# name: (the bound, the value by hand, the exact terms by hand)
EXACT = {
    "B1.a": (
        lambda g, at: bounds.supervised(g.problem, g.log_class, N, DELTA, "paper"),
        lambda k: (k.cost_max + k.B) * (k.paper_bias() + k.deviation()),
        lambda k: {
            "bias": k.paper_bias(), "deviation": k.deviation(), "B": k.B, "cost_max": k.cost_max, "L": k.L,
            "D": k.law @ k.tv(k.reference, k.optimal), "eta": (1 - k.gamma).max(), "eta_bar": np.sqrt(k.law @ (1 - k.gamma) ** 2),
        },
    ),
    "B1.b": (
        lambda g, at: bounds.supervised(g.problem, g.log_class, N, DELTA, "exact_bias"),
        lambda k: (k.cost_max + k.B) * (k.law @ k.tv(k.edited, k.optimal) + k.deviation()),
        lambda k: {"bias": k.law @ k.tv(k.edited, k.optimal), "deviation": k.deviation(), "B": k.B, "cost_max": k.cost_max, "L": k.L},
    ),
    "B1.c": (
        lambda g, at: bounds.supervised(g.problem, g.log_class, N, DELTA, "hellinger"),
        lambda k: k.beta * (2 + np.log(k.M)) * (k.deviation() + k.hellinger_bias()) ** 2,
        lambda k: {"bias": k.hellinger_bias(), "deviation": k.deviation(), "M": k.M, "L": k.L},
    ),
    "B2.a": (
        lambda g, at: bounds.preference(g.problem, g.log_class, N, DELTA, "paper"),
        lambda k: k.beta * k.kappa * np.sqrt(2 * k.pair_cover(k.members) * k.L / N),
        lambda k: {"C": k.pair_cover(k.members), "R": k.R, "kappa": k.kappa, "L": k.L},
    ),
    "B2.a*": (
        lambda g, at: bounds.preference(g.problem, g.log_class, N, DELTA, "paper", at[0]),
        lambda k: k.beta * k.kappa * np.sqrt(2 * k.pair_cover([k.learned]) * k.L / N),
        lambda k: {"C": k.pair_cover([k.learned]), "R": k.R, "kappa": k.kappa, "L": k.L},
    ),
    "B2.b": (
        lambda g, at: bounds.preference(g.problem, g.log_class, N, DELTA, "hellinger"),
        lambda k: k.beta * np.pi * np.sqrt(k.kappa * k.pair_cover(k.members) * k.L / N),
        lambda k: {"C": k.pair_cover(k.members), "R": k.R, "kappa": k.kappa, "L": k.L},
    ),
    "B3.a": (
        lambda g, at: bounds.cost(g.problem, g.cost_class, N, DELTA, "slow"),
        lambda k: 4 * k.cost_max * np.sqrt(k.cost_cover(k.optimal) * k.L_F / N),
        lambda k: {"C_F": k.cost_cover(k.optimal), "L_F": k.L_F, "cost_max": k.cost_max},
    ),
    "B3.error": (
        lambda g, at: bounds.cost_error(g.problem, g.cost_class, N, DELTA),
        lambda k: 16 * k.cost_max**2 * k.L_F / N,
        lambda k: {"L_F": k.L_F, "cost_max": k.cost_max},
    ),
    "B3.class": (
        lambda g, at: bounds.sampled_contexts(g.problem, g.log_class, N, DELTA),
        lambda k: 2 * (k.cost_max + k.B) * np.sqrt((k.L + np.log(2)) / (2 * N)),
        lambda k: {"B": k.B, "L": k.L + np.log(2)},
    ),
    "MLE": (
        lambda g, at: bounds.maximum_likelihood(len(g.log_class), N, DELTA),
        lambda k: 2 * k.L / N,
        lambda k: {"L": k.L},
    ),
    "L1.gamma": (
        lambda g, at: bounds.contraction(g.problem, at[0], "gamma"),
        lambda k: (1 - k.gamma) * k.tv(k.learned, k.optimal),
        lambda k: {"coefficient": 1 - k.gamma, "total_variation": k.tv(k.learned, k.optimal)},
    ),
    "L1.doeblin": (
        lambda g, at: bounds.contraction(g.problem, at[0], "doeblin"),
        lambda k: (1 - k.user.min(1).sum(-1)) * k.tv(k.learned, k.optimal),
        lambda k: {"coefficient": 1 - k.user.min(1).sum(-1), "total_variation": k.tv(k.learned, k.optimal)},
    ),
    "L1.dobrushin": (
        lambda g, at: bounds.contraction(g.problem, at[0], "dobrushin"),
        lambda k: k.tv(k.user[:, :, None], k.user[:, None]).max((1, 2)) * k.tv(k.learned, k.optimal),
        lambda k: {"coefficient": k.tv(k.user[:, :, None], k.user[:, None]).max((1, 2)), "total_variation": k.tv(k.learned, k.optimal)},
    ),
    "B0.range": (
        lambda g, at: bounds.distance_to_suboptimality(g.problem, at[0], "range"),
        lambda k: (k.cost_max + k.beta * np.abs(np.log(k.learned / k.reference)).max()) * (k.law @ k.tv(k.learned, k.optimal)),
        lambda k: {
            "cost_max": k.cost_max, "B": k.beta * np.abs(np.log(k.learned / k.reference)).max(), "D": k.law @ k.tv(k.learned, k.optimal),
        },
    ),
    "B0.chord": (
        lambda g, at: bounds.distance_to_suboptimality(g.problem, at[0], "chord"),
        lambda k: k.beta * k.law @ (chord(k) * k.tv(k.learned, k.optimal)),
        lambda k: {"phi": chord(k), "total_variation": k.tv(k.learned, k.optimal)},
    ),
}  # fmt: skip


def chord(k: Numbers) -> np.ndarray:
    """phi = M log M / (M - 1) - m log(1/m) / (1 - m), as printed."""
    ratio = k.learned / k.optimal
    high, low = ratio.max(-1), ratio.min(-1)
    return high * np.log(high) / (high - 1) - low * np.log(1 / low) / (1 - low)


@pytest.mark.parametrize("name", EXACT)
def test_value_and_terms_match_plain_numpy(given, learned, numbers, name):
    bound, value, terms = EXACT[name]
    found, expected = bound(given, learned), terms(numbers)
    assert np.all(np.isfinite(found.value)) and np.all(np.asarray(found.value) > 0)
    np.testing.assert_allclose(found.value, value(numbers), rtol=1e-9)
    assert set(found.terms) == set(expected)
    for term, by_hand in expected.items():
        np.testing.assert_allclose(found.terms[term], by_hand, rtol=1e-9, err_msg=term)


@pytest.mark.parametrize("at_learned", [False, True])
def test_fast_preference_bound(given, learned, numbers, at_learned):
    found = bounds.preference(
        given.problem, given.log_class, N, DELTA, "fast", learned[0] if at_learned else None
    )
    cover = float(found.terms["C_path"])
    exact = numbers.path_pair_cover([numbers.learned] if at_learned else numbers.members)
    assert exact * (1 - 1e-12) <= cover <= 1.25 * exact  # an upper bound, at its default number of steps
    by_hand = numbers.beta / 4 * np.pi**2 * numbers.kappa * cover * numbers.L / N
    np.testing.assert_allclose(found.value, by_hand, rtol=1e-12)
    for term in ("R", "kappa", "L"):
        np.testing.assert_allclose(found.terms[term], getattr(numbers, term), rtol=1e-9)


def test_fast_cost_bound(given, learned, numbers):
    at_learned = bounds.cost(given.problem, given.cost_class, N, DELTA, "fast", learned[1])
    worst = bounds.cost(given.problem, given.cost_class, N, DELTA, "fast")
    exact = numbers.path_cost_cover(numbers.learned_rl)
    assert exact * (1 - 1e-12) <= at_learned.terms["C_F_path"] <= 1.25 * exact
    assert exact * (1 - 1e-12) <= worst.terms["C_F_path"]
    for found in (at_learned, worst):
        cover = found.terms["C_F_path"]
        by_hand = 8 * numbers.cost_max**2 * cover * numbers.L_F / (numbers.beta * N)
        np.testing.assert_allclose(found.value, by_hand, rtol=1e-12)
        np.testing.assert_allclose(found.terms["L_F"], numbers.L_F, rtol=1e-12)


def test_chord_near_equal_ratios_and_at_extremes():
    """The printed form loses all digits near M = m = 1; the package's does not: phi -> (a + b) / 2 there."""
    a, b = 2e-9, 1e-9
    np.testing.assert_allclose(bounds.chord(jnp.asarray(a), jnp.asarray(-b)), (a + b) / 2, rtol=1e-6)
    assert bounds.chord(jnp.asarray(0.0), jnp.asarray(0.0)) == 0
    # M -> infinity: phi -> log M; m -> 0: the second term vanishes, M = 1 leaves phi = 1.
    np.testing.assert_allclose(bounds.chord(jnp.asarray(500.0), jnp.asarray(-900.0)), 500.0, rtol=1e-12)
    np.testing.assert_allclose(bounds.chord(jnp.asarray(0.0), jnp.asarray(-900.0)), 1.0, rtol=1e-12)


def test_bounds_shrink_with_n_as_they_say(given, learned):
    """Rates: the bound without its bias falls as n^-1/2 (slow) or n^-1 (fast)."""
    problem, log_class, cost_class = given.problem, given.log_class, given.cost_class

    def at(n):
        return {
            "B2.a": bounds.preference(problem, log_class, n, DELTA, "paper").value,
            "B2.b": bounds.preference(problem, log_class, n, DELTA, "hellinger").value,
            "B2.c": bounds.preference(problem, log_class, n, DELTA, "fast").value,
            "B3.a": bounds.cost(problem, cost_class, n, DELTA, "slow").value,
            "B3.b": bounds.cost(problem, cost_class, n, DELTA, "fast").value,
        }

    small, large = at(100), at(10_000)
    for name, factor in (("B2.a", 10), ("B2.b", 10), ("B2.c", 100), ("B3.a", 10), ("B3.b", 100)):
        np.testing.assert_allclose(small[name] / large[name], factor, rtol=1e-9)
    # The bias of SUP stays.
    form = "exact_bias"
    floor = bounds.supervised(problem, log_class, 10**12, DELTA, form)
    np.testing.assert_allclose(
        floor.value, (floor.terms["cost_max"] + floor.terms["B"]) * floor.terms["bias"], rtol=1e-3
    )
    assert floor.terms["bias"] > 1e-3


def test_pairs_that_are_never_logged_make_the_bound_infinite(given):
    """A user who never edits leaves all pairs of different responses unlogged; balance then holds of nothing and PREF learns nothing."""
    lonely = given.problem.with_user(jnp.broadcast_to(jnp.eye(Y), (X, Y, Y)))
    log_class = jnp.concatenate([given.log_class, lonely.log_optimal[None]])
    for form in ("paper", "hellinger", "fast"):
        assert bounds.preference(lonely, log_class, N, DELTA, form).value == np.inf


def test_batches_of_policies(given):
    log_policies = policies(2, 4).reshape(2, 2, X, Y)
    for form in ("range", "chord"):
        together = bounds.distance_to_suboptimality(given.problem, log_policies, form).value
        alone = bounds.distance_to_suboptimality(given.problem, log_policies[1, 0], form).value
        assert together.shape == (2, 2)
        np.testing.assert_allclose(together[1, 0], alone, rtol=1e-12)
    together = bounds.contraction(given.problem, log_policies).value
    assert together.shape == (2, 2, X)
    np.testing.assert_allclose(
        together[0, 1], bounds.contraction(given.problem, log_policies[0, 1]).value, rtol=1e-12
    )


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


def test_constants_against_plain_numpy(given, numbers):
    problem, log_class = given.problem, given.log_class
    np.testing.assert_allclose(coverage.log_ratio_bound(problem, log_class), numbers.B, rtol=1e-10)
    np.testing.assert_allclose(coverage.log_ratio_range(problem, log_class), numbers.R, rtol=1e-10)
    np.testing.assert_allclose(coverage.density_ratio(problem, log_class), numbers.M, rtol=1e-10)
    slope = jax.grad(jax.nn.sigmoid)(coverage.log_ratio_range(problem, log_class))
    np.testing.assert_allclose(coverage.sigmoid_curvature(jnp.asarray(numbers.R)), 1 / slope, rtol=1e-10)
    assert coverage.density_ratio(problem, problem.log_optimal[None]) == 1.0
