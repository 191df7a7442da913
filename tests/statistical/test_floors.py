"""O11 of docs/theory-online.md: a warm start with a radius, where the radius holds and where it is false."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from edittheory.bounds import adaptation
from edittheory.bounds import online as bounds_online
from edittheory.deploy import deployment, ensembles, floors, online
from tests import online_toys as toys

pytestmark = pytest.mark.statistical
LEVEL, HORIZON, SEEDS = 1e-3, 1500, 60


def coins(means, horizon=HORIZON):
    """A table of Bernoulli costs as an environment."""
    luck = np.random.default_rng(0).random((SEEDS, horizon, len(means)))
    return [deployment.replay_table(row.astype(float), 1.0) for row in luck < np.asarray(means)]


def played(ensemble, means, horizon=HORIZON):
    """Counts of each policy (SEEDS, K) and regrets (SEEDS,)."""
    counts = np.asarray(
        [
            online.simulate(ensemble, met, jax.random.key(1), 1, horizon).counts[0]
            for met in coins(means, horizon)
        ]
    )
    return counts, counts @ (np.asarray(means) - min(means))


def ensemble_with(low, high=None, tested=False, count=None):
    low = jnp.asarray(low, dtype=float)
    high = jnp.full_like(low, jnp.inf) if high is None else jnp.asarray(high, dtype=float)
    return floors.FlooredEnsemble(
        len(low), ensembles.theory_exploration(1.0), floors.Floors(low, high), tested=tested
    )


def below(values, limit):
    """Whether a mean is not clearly above a limit."""
    return values.mean() - scipy.stats.norm.isf(LEVEL) * values.std(ddof=1) / np.sqrt(len(values)) <= limit


def test_without_floors_it_is_the_late_ensemble():
    problem = toys.toy_problem(3)
    met = deployment.deploy(problem, toys.toy_policies(problem, 4))
    plain = ensembles.LateEnsemble(4, ensembles.theory_exploration(1.0))
    ours = ensemble_with(jnp.full(4, -jnp.inf))
    one, two = (online.trace(bandit, met, jax.random.key(0), 3, 200) for bandit in (plain, ours))
    np.testing.assert_array_equal(one.arms, two.arms)


def test_blocked_policies_are_hardly_ever_played_and_regret_is_below_the_bound():
    means = np.asarray([0.2, 0.35, 0.6, 0.7])
    found = floors.floors_from_log(
        jnp.asarray(means + np.asarray([0.02, -0.02, 0.0, 0.02])), jnp.full(4, 0.05), 0.1
    )
    counts, regret = played(ensemble_with(found.low), means)
    blocked = np.asarray(found.low) > means.min()
    assert blocked.tolist() == [False, False, True, True]
    assert below(counts[:, 2], bounds_online.LATE_FAILURES) and below(
        counts[:, 3], bounds_online.LATE_FAILURES
    )
    bound = bounds_online.floored(jnp.asarray(means - 0.2), jnp.asarray(blocked), 1.0, HORIZON)
    plain = bounds_online.late_ensemble(jnp.asarray(means - 0.2), 1.0, HORIZON, form="sharp")
    assert below(regret, float(bound.value))
    assert float(bound.terms["gap_dependent"]) < float(plain.terms["gap_dependent"])
    tested = bounds_online.floored(jnp.asarray(means - 0.2), jnp.asarray(blocked), 1.0, HORIZON, tested=True)
    counts, regret = played(ensemble_with(found.low, found.high, tested=True), means)
    assert below(regret, float(tested.value)) and below(counts[:, 3], 0.2 + 2 * 4 * 0.12)


def test_a_common_shift_leaves_only_what_differences_prove():
    log = jnp.asarray([0.2, 0.25, 0.6])
    found = floors.floors_from_log(log, jnp.full(3, 0.05), 0.05, shifted=True)
    assert np.asarray(found.low).tolist() == [-np.inf, -np.inf, np.inf]
    same = floors.floors_from_log(log + 0.3, jnp.full(3, 0.05), 0.05, shifted=True)
    np.testing.assert_array_equal(found.low, same.low)
    counts, _ = played(ensemble_with(found.low), [0.5, 0.6, 0.9])
    assert counts[:, 2].max() == 0


def test_a_false_floor_costs_a_share_of_all_rounds():
    """(iii): floor just above the other policy's value: linear regret; and the bound with its excess holds."""
    means = [0.2, 0.5]
    counts, regret = played(ensemble_with([0.51, 0.0]), means)
    assert np.mean(counts[:, 0] == 0) >= 1 - bounds_online.LATE_FAILURES - 0.1
    assert regret.mean() > 0.85 * 0.3 * HORIZON
    gaps = jnp.asarray([0.0, 0.3])
    wide = bounds_online.floored(gaps, jnp.zeros(2, dtype=bool), 1.0, HORIZON, excess=0.31)
    assert below(regret, float(wide.value))
    # The test sees nothing: the one policy that is played is as the log says.
    counts, regret = played(ensemble_with([0.51, 0.0], [0.7, 0.6], tested=True), means)
    assert regret.mean() > 0.85 * 0.3 * HORIZON


def test_the_test_mends_floors_that_all_are_too_high():
    means = np.asarray([0.1, 0.3, 0.3])
    log = jnp.asarray([0.9, 0.75, 0.95])
    found = floors.floors_from_log(log, jnp.full(3, 0.02), 0.05)
    _, blind = played(ensemble_with(found.low, found.high), means)
    _, seeing = played(ensemble_with(found.low, found.high, tested=True), means)
    _, cold = played(ensembles.LateEnsemble(3, ensembles.theory_exploration(1.0)), means)
    assert blind.mean() > 0.95 * 0.2 * HORIZON
    assert seeing.mean() < cold.mean() + 30


def test_nobody_trusts_for_nothing():
    """(iv) at two users: FlooredEnsemble's own plays of the blocked policy, and what it pays where the floor is false."""
    good, bad = [0.7, 0.5], [0.2, 0.5]
    ensemble = ensemble_with([0.6, 0.0])
    plays = played(ensemble, good)[0][:, 0].mean()
    assert plays <= bounds_online.LATE_FAILURES
    divergence = float(0.7 * np.log(0.7 / 0.2) + 0.3 * np.log(0.3 / 0.8))
    low = adaptation.price_of_trust(bounds_online.LATE_FAILURES, divergence, 0.3, HORIZON)
    assert 0.2 * 0.3 * HORIZON < low <= played(ensemble, bad)[1].mean()
    # LateEnsemble, which trusts nobody, plays it often enough for the bound to say nothing.
    cold = played(ensembles.LateEnsemble(2, ensembles.theory_exploration(1.0)), good)[0][:, 0].mean()
    assert adaptation.price_of_trust(cold, divergence, 0.3, HORIZON) < 0


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="errors, radius"):
        floors.floors_from_log(jnp.zeros(2), jnp.zeros(2), -0.1)
    with pytest.raises(ValueError, match="plays, divergence, gap"):
        adaptation.price_of_trust(-1.0, 0.0, 0.1, 10)
