"""Certificates keep their level, and mutants of them do not: planted errors must be refuted at the declared level."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

from edittheory.certify import balance_test, evidence
from edittheory.core import statistics
from edittheory.problem import cost_classes
from experiments import balance_test as balance_experiment
from experiments import certificates as experiment
from tests.certificate_toys import K, backwards, on_a_line

LEVEL = 1e-3
"""Chance, over all tests of this file, that a true claim is called broken; keys are fixed."""
DELTA = 0.1
TRIALS = 1500


@eqx.filter_jit
def _truths(keys):
    """Evidence against the truth, the most by the end of the log, of each e-process and of mutants of them; name -> (T,)."""

    def one(key):
        instance, data = backwards(key)
        problem, truth = instance.problem, instance.truth
        log_class = cost_classes.tilted(problem.log_reference, instance.cost_class, problem.beta)
        likelihood = evidence.preference_log_likelihood(log_class, problem.log_reference, data)
        betting = evidence.betting_evidence(instance.cost_class, data, problem.cost_max)
        mixture = evidence.mixture_evidence(likelihood)
        # Mutant: the bet looks at the cost it bets on.
        values = cost_classes.predictions(instance.cost_class, data).T
        peeked = jnp.cumsum(jnp.log1p(0.5 * jnp.abs(data.costs[:, None] - values) / problem.cost_max), axis=0)
        # Mutant: the best member's likelihood as if it had been chosen in advance.
        chosen = jnp.max(jnp.cumsum(likelihood, axis=0), axis=-1, keepdims=True) - jnp.cumsum(
            likelihood, axis=0
        )
        found = {
            "mixture": mixture,
            "betting": betting,
            "squares": evidence.squares_evidence(instance.cost_class, data, problem.cost_max),
            "joint": evidence.joint_evidence(likelihood, betting),
            "average": evidence.average_evidence(mixture, betting),
            "free": evidence.plug_in_evidence(
                balance_test.rich_predictor(log_class, problem.log_reference, data), likelihood
            ),
            "mutant: peeking": peeked,
            "mutant: no price for choosing": chosen,
        }
        worst = {name: jnp.max(log_e[:, truth]) for name, log_e in found.items()}
        total = jnp.sum(likelihood, axis=0)
        dense, dense_data = on_a_line(key)
        log_class = cost_classes.tilted(dense.problem.log_reference, dense.cost_class, dense.problem.beta)
        likelihood = evidence.preference_log_likelihood(log_class, dense.problem.log_reference, dense_data)
        close = jnp.sum(likelihood, axis=0)
        return worst | {
            "ratio": jnp.max(total) - total[truth],
            "ratio on a line": jnp.max(close) - close[dense.truth],
        }

    return jax.vmap(one)(keys)


@pytest.fixture(scope="module")
def worst():
    keys = jax.random.split(jax.random.key(20), TRIALS)
    return {name: np.asarray(value) for name, value in _truths(keys).items()}


THRESHOLD = np.log(1 / DELTA)
CLAIMS = {
    "mixture": ("mixture", THRESHOLD),
    "betting": ("betting", THRESHOLD),
    "squares": ("squares", THRESHOLD),
    "joint": ("joint", THRESHOLD),
    "average": ("average", THRESHOLD),
    "free": ("free", THRESHOLD),
    "ratio": ("ratio", np.log(K / DELTA)),
    "ratio on a line": ("ratio on a line", np.log(K / DELTA)),
}
MUTANTS = {
    "a quarter of the threshold": ("mixture", THRESHOLD / 4),
    "a quarter of the threshold, joint": ("joint", THRESHOLD / 4),
    "bets that see the cost": ("mutant: peeking", THRESHOLD),
    "the best of K without log K": ("mutant: no price for choosing", THRESHOLD),
    "the likelihood ratio at log(1 / delta) / 4": ("ratio on a line", THRESHOLD / 4),
}


@pytest.mark.statistical
@pytest.mark.parametrize("name", CLAIMS)
def test_the_truth_meets_evidence_1_over_delta_with_chance_delta_at_most(worst, name):
    form, threshold = CLAIMS[name]
    level = statistics.bonferroni(LEVEL, len(CLAIMS) + 1)
    missed = int(np.sum(worst[form] >= threshold))
    assert not statistics.violation_check(missed, TRIALS, DELTA, level).violated


@pytest.mark.statistical
@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_refuted(worst, name):
    form, threshold = MUTANTS[name]
    missed = int(np.sum(worst[form] >= threshold))
    assert statistics.violation_check(missed, TRIALS, DELTA, LEVEL).violated


@pytest.mark.statistical
def test_evidence_has_mean_one_at_most(worst):
    """Not only its tail: by Ville E_n >= 1/d has chance d at most for every d at once."""
    for name in ("mixture", "betting", "joint", "free"):
        for chance in (0.5, 0.2, 0.02):
            missed = int(np.sum(worst[name] >= np.log(1 / chance)))
            assert not statistics.violation_check(missed, TRIALS, chance, LEVEL / 24).violated, (name, chance)


def _report(module, config):
    rows = pl.concat(
        [
            module.EXPERIMENT.run_cell(config, cell, module.EXPERIMENT.key(config, cell, seed=0))
            for cell in module.EXPERIMENT.cells(config)
        ],
        how="vertical_relaxed",
    )
    return rows, module.EXPERIMENT.report(rows, config)


@pytest.mark.statistical
def test_the_experiment_calls_promised_coverage_and_shows_what_faults_break():
    config = experiment.Config(
        families=("backwards",),
        faults=("none", "habit .3"),
        sizes=(120,),
        trials=120,
        num_contexts=2,
        num_candidates=8,
        max_length=2,
        level=LEVEL / (len(CLAIMS) + 1),
        width=120,
    )
    rows, report = _report(experiment, config)
    assert report.ok
    records = {(r["fault"], r["form"], r["n"]): r for r in report.summary["coverage"]}
    assert (
        not records["habit .3", "mixture", 120]["promised"]
        and records["habit .3", "betting", 120]["promised"]
    )
    # Preferences of a user with a habit mislead; costs do not.
    assert (
        records["habit .3", "mixture", 120]["missed"] > DELTA > records["habit .3", "betting", 120]["missed"]
    )
    # A certificate holds wherever its set holds the truth, whatever the player.
    covered = rows.filter(pl.col("covers"))
    assert covered["holds"].all() and len(covered) > 1000
    # Intersections are no smaller than averages, nor mixtures larger than likelihood ratios.
    wide = rows.filter(pl.col("player") == "posterior").pivot(
        "form", index=["fault", "seed", "n"], values="size"
    )
    assert (wide["average"] <= wide["intersection"]).all() and (
        wide["mixture"] <= wide["likelihood ratio"]
    ).all()
    # The centre's certificate is the least, up to its tolerance.
    least = rows.filter(pl.col("form") == "mixture").pivot(
        "player", index=["fault", "seed", "n"], values="value"
    )
    assert (least["centre"] <= np.minimum(least["posterior"], least["PREF"]) * 1.011 + 1e-12).all()


@pytest.mark.statistical
def test_the_balance_test_finds_users_the_class_cannot_describe():
    config = balance_experiment.Config(
        kinds=("style editor",),
        sizes=(150,),
        trials=150,
        num_contexts=2,
        num_candidates=6,
        max_length=2,
        num_texts=6,
        resamples=19,
        width=150,
    )
    _, report = _report(balance_experiment, config)
    rate = {r["test"]: r["rate"] for r in report.summary["rates"]}
    # One member is nearest in preferences and in costs: a class alone never refutes, a free alternative does.
    assert rate["rich"] > 0.9 > 0.1 > rate["union"]
    assert rate["union"] <= rate["average"]
