"""The falsifier: two evaluations of every statement, the guard against rounding, the climb, instance files, the report."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.claims import statements
from edittheory.claims.exact import attackable, plain_oracle
from edittheory.claims.exact.attack_space import starting_vectors
from edittheory.claims.hunt import attackable_random, falsify, falsify_bandits
from edittheory.claims.statement import Attack
from experiments import falsification_report
from tests.attack_cases import ATTACKS, SPACES

WITH_A_PATH = {"B2.transfer.fast", "B2.path", "B3.transfer.fast", "B3.path", "mutant.B2.transfer.fast",
               "mutant.B3.transfer.fast"}  # fmt: skip


@pytest.fixture(scope="module")
def points() -> dict[bool, list]:
    """Three random points of each space."""
    return {
        balanced: falsify.points_of(space, np.asarray(starting_vectors(jax.random.key(5), space, 3)))
        for balanced, space in SPACES.items()
    }


# -- the registry -----------------------------------------------------------------------------------------------------------


def test_every_statement_of_the_package_is_attacked():
    """Deterministic ones by gradients, statistical ones by evolution; each with an oracle."""
    assert set(plain_oracle.ORACLES) == set(ATTACKS) and len(ATTACKS) == len(attackable.ATTACKS)
    deterministic = {s.name for s in statements.STATEMENTS if not s.failures}
    parts = {"L1.chain": {"L1.chain.doeblin", "L1.chain.gamma"}}
    for name in deterministic:
        assert parts.get(name, {name}) <= {attack.name for attack in attackable.TRUE}
    statistical = {s.name for s in statements.STATEMENTS if s.failures}
    assert statistical <= {attack.name for attack in attackable_random.TRUE}
    everything = [*attackable.ATTACKS, *attackable_random.ATTACKS, *falsify_bandits.ATTACKS]
    for attack in everything:
        assert attack.mutant == attack.name.startswith("mutant.")
    assert len({attack.name for attack in everything}) == len(everything)
    assert sorted(falsification_report.names()) == sorted(attack.name for attack in everything)
    grouped = [attack for balanced in (True, False) for group in attackable_random.groups(balanced).values()
               for attack in group]  # fmt: skip
    assert len(grouped) == len(attackable_random.ATTACKS)


@pytest.mark.parametrize("balanced", [True, False])
def test_package_and_plain_numpy_agree(points, balanced):
    """Every side of every statement, at random points; a maximum over a path is from above here, from below there."""
    attacks = tuple(attack for attack in attackable.ATTACKS if attack.balanced == balanced)
    for point in points[balanced]:
        case = plain_oracle.Case(falsify.arrays_of(point))
        found = falsify._sides_of[False](attacks, [point] * len(attacks))
        for attack, (left, right, scale) in zip(attacks, found, strict=True):
            again = plain_oracle.ORACLES[attack.name](case)
            allowance = 1e-9 * float(np.max(scale))
            np.testing.assert_allclose(left, np.asarray(again[0], float), rtol=1e-7, atol=allowance,
                                       err_msg=attack.name)  # fmt: skip
            if attack.name in WITH_A_PATH:
                assert float(again[1]) * (1 - 1e-9) <= float(right) <= 1.2 * float(again[1]), attack.name
            else:
                np.testing.assert_allclose(right, np.asarray(again[1], float), rtol=1e-7, atol=allowance,
                                           err_msg=attack.name)  # fmt: skip


# -- refutations ----------------------------------------------------------------------------------------------------------------


def test_a_refutation_has_to_pass_the_oracle(points, monkeypatch):
    """A left side that is too large in float64 only is no refutation; one that is too large in both is."""
    sharp = ATTACKS["D.h2.tv"]
    point = points[False][0]
    assert not falsify.check(sharp, point).refuted

    def broken(point):
        left, right, scale = sharp.sides(point)
        return 10.0 * left + right, right, scale

    wrong = Attack("D.h2.tv", "", "", broken)
    found = falsify.check(wrong, point)
    assert found.left > found.right and not found.refuted
    oracle = plain_oracle.ORACLES["D.h2.tv"]
    monkeypatch.setitem(
        plain_oracle.ORACLES,
        "D.h2.tv",
        lambda case: (10 * oracle(case)[0] + oracle(case)[1], oracle(case)[1]),
    )
    assert falsify.check(wrong, point).refuted


def test_rounding_alone_does_not_refute(points, monkeypatch):
    """An equality perturbed by less than the allowance stands, by ten times as much it falls."""
    point = points[True][0]
    for factor, refuted in ((0.5, False), (10.0, True)):
        shift = factor * falsify.rounding()
        attack = Attack("shifted", "", "", lambda point, shift=shift: (1.0 + shift, 1.0, 1.0), True)
        monkeypatch.setitem(
            plain_oracle.ORACLES, "shifted", lambda case, shift=shift: (1 + plain_oracle.Real(shift), 1)
        )
        assert falsify.check(attack, point).refuted is refuted
    assert falsify.rounding(np.float32) > 1e6 * falsify.rounding()


def test_the_climb_refutes_mutants_and_no_true_statement():
    """Few starts and steps suffice for five mutants; what is found is refuted by an evaluation from the vector alone."""
    names = ("L1.gamma", "B2.slope", "mutant.A.dpo.beta", "mutant.L1.squared", "mutant.B1.gamma",
             "mutant.B2.halfR", "mutant.B1.bias.mean")  # fmt: skip
    attacks = [ATTACKS[name] for name in names]
    found = falsify.falsify(attacks, SPACES[True], jax.random.key(0), starts=6, steps=60, chunk=30)
    points = falsify.points_of(SPACES[True], np.stack([one.theta for one in found]))
    for attack, one, point in zip(attacks, found, points, strict=True):
        assert one.check.refuted == attack.mutant, one
        assert falsify.check(attack, point).refuted == attack.mutant
        assert one.starts == 6 and one.steps == 60
    ratios = {one.name: one.check.ratio for one in found}
    assert 0.9 < ratios["L1.gamma"] <= 1.0 and 0.9 < ratios["B2.slope"] <= 1.0  # both are sharp
    # Climbing is what found them: the starts alone are not enough for the bounds that are nearly reached.
    first = falsify.falsify(attacks, SPACES[True], jax.random.key(0), starts=6, steps=30, rate=1e-9, chunk=30)
    assert all(
        one.check.ratio >= start.check.ratio * (1 - 1e-9) for one, start in zip(found, first, strict=True)
    )
    assert (
        sum(one.check.ratio > 1.05 * start.check.ratio for one, start in zip(found, first, strict=True)) >= 3
    )


def test_arguments_are_checked():
    attack = ATTACKS["B0.range"]
    with pytest.raises(ValueError, match=r"attacks: B0\.range needs a space with balanced = False"):
        falsify.falsify([attack], SPACES[True], jax.random.key(0))
    for name in ("starts", "steps", "chunk"):
        with pytest.raises(ValueError, match=name):
            falsify.falsify([attack], SPACES[False], jax.random.key(0), **{name: 0})
    nothing = Attack("B0.range", "", "", lambda point: (jnp.nan, 1.0, 1.0))
    with pytest.raises(FloatingPointError, match=r"B0\.range: not a number"):
        falsify.falsify([nothing], SPACES[False], jax.random.key(0), starts=2, steps=1, chunk=1)


# -- bandits ----------------------------------------------------------------------------------------------------------------------


def test_regret_of_late_ensemble_is_between_zero_and_the_worst():
    means = jnp.array([[0.2, 0.5, 0.9], [0.3, 0.3, 0.3]])
    keys = jnp.broadcast_to(jax.random.split(jax.random.key(1), 8), (2, 8))
    paid = np.asarray(falsify_bandits.regrets(means, keys, 60))
    assert np.all(paid[0] >= 0.3 + 0.7 - 1e-9) and np.all(paid[0] <= 60 * 0.7)  # each policy is played once
    np.testing.assert_array_equal(paid[1], 0.0)


def test_bandit_verdicts():
    attacks = {attack.name: attack for attack in falsify_bandits.ATTACKS}
    means, key = np.array([0.2, 0.5, 0.6]), jax.random.key(2)
    best = falsify_bandits.judge(attacks["mutant.B4.best"], means, 100, key, 400, 1e-3)
    paper = falsify_bandits.judge(attacks["B4.paper"], means, 100, key, 400, 1e-3)
    assert best.refuted and not paper.refuted
    assert best.left == paper.left and 0 < paper.ratio < 1 and 0 < best.lower < best.left


def test_shared_feedback_is_judged_by_its_own_ensemble():
    """O8's worst means of a small search: the prior's bound stands, the uniform prior's falls."""
    attacks = {attack.name: attack for attack in falsify_bandits.ATTACKS}
    means, key = np.array([0.02, 0.9, 0.93]), jax.random.key(3)
    right = falsify_bandits.judge(attacks["O8"], means, 600, key, 300, 1e-3)
    wrong = falsify_bandits.judge(attacks["mutant.O8"], means, 600, key, 300, 1e-3)
    assert wrong.refuted and not right.refuted and right.left == wrong.left
    assert right.ratio > 0.6 and wrong.ratio > 1.5


@pytest.mark.statistical
def test_the_lower_bound_on_an_expectation_is_valid():
    """Wrong in at most 5% of samples of a skewed law (p < 1e-6 otherwise), and tight in a large sample."""
    rng = np.random.default_rng(3)
    lows = [falsify_bandits.lower_bound((rng.random(60) < 0.03) * 1.0, 1.0, 0.05) for _ in range(2000)]
    assert np.mean(np.array(lows) > 0.03) <= 0.05 + 5 * np.sqrt(0.05 * 0.95 / 2000)
    large = falsify_bandits.lower_bound(rng.random(10**5), 1.0, 0.05)
    assert 0.49 < large < 0.5
