"""Pivots of networks (C19): the player, redraws, candidates, refusals; the experiment's rows and report; truths lie in the class."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

from edittheory.certify import certificates_exact as exact
from edittheory.certify.networks import pivots
from edittheory.core.logspace import kl
from experiments import pivot_certificates as study

TINY = study.Config(
    classes=("network, 4 units",), sizes=(20, 60), problems=1, logs=2, quantile_logs=10, draws=39, steps=20, max_length=2
)  # fmt: skip


@pytest.fixture(scope="module")
def case():
    problem, model = study.draw_model(TINY, "network, 4 units", jax.random.key(2))
    player = pivots.Player(model, model.init(jax.random.key(3)), 20, 0.05)
    return problem, player, problem.sample(jax.random.key(4), 60)


@pytest.mark.parametrize("name", tuple(study.CLASSES))
def test_the_truth_lies_in_the_class(name):
    problem, model = study.draw_model(study.Config(), name, jax.random.key(1))
    ratio = np.asarray(problem.log_optimal - problem.log_reference)
    ratio = ratio - ratio.mean(axis=-1, keepdims=True)
    inputs = np.asarray(model.inputs)
    if model.depth == 0:
        flat = (inputs - inputs.mean(axis=1, keepdims=True)).reshape(-1, inputs.shape[-1])
        left = np.linalg.lstsq(flat, ratio.ravel(), rcond=None)[0] @ flat.T
    else:
        left = 1.25 * np.abs(ratio).max() * np.tanh(0.3 * inputs[..., :-1].sum(-1) + inputs[..., -1]).ravel()
    np.testing.assert_allclose(left, ratio.ravel(), atol=1e-8)


def test_the_loss_of_directions_is_that_of_the_examples(case):
    _, player, data = case
    log = exact.directions_of(data, *player.model.table_shape)
    params = eqx.tree_at(lambda layers: layers[-1].weight, player.start, replace_fn=lambda w: w + 0.7)
    scores = np.asarray(player.model.scores(params))
    x, y, edit = (np.asarray(part) for part in (data.contexts, data.responses, data.edits))
    moved = y != edit
    each = np.logaddexp(0.0, scores[x, y] - scores[x, edit])[moved]
    np.testing.assert_allclose(
        player.loss(params, *(jnp.asarray(part) for part in log)), each.sum(), rtol=1e-9
    )
    assert log.total.sum() == moved.sum() and np.all(log.forward <= log.total)


def test_a_pivot_is_the_largest_quantile_of_its_members(case):
    problem, player, data = case
    law, beta = problem.context_probs, problem.beta
    found = pivots.pivot(player, data, law, beta, 0.2, np.random.default_rng(0), 39)
    assert found.members[0] and found.p_values[0] > 0.5
    np.testing.assert_array_equal(found.members, found.p_values > 0.05)
    assert found.certificate == found.quantiles[found.members].max() >= found.smaller
    log = exact.directions_of(data, *player.model.table_shape)
    own = player.model.log_policy(pivots.play(player, log))
    np.testing.assert_allclose(own, found.log_policy, rtol=1e-9)
    # Candidate 0 is the network that was trained for longer, candidate 1 the same with half of its output layer.
    longer = pivots.Player(player.model, player.start, player.steps * pivots.LONGER, player.learning_rate)
    best = pivots.play(longer, log)
    for place, factor in enumerate((1.0, pivots.SCALES[0])):
        other = player.model.log_policy(pivots._scaled(best, factor))
        np.testing.assert_allclose(found.losses[place], beta * (kl(found.log_policy, other) @ law), rtol=1e-6)
    again = pivots.pivot(player, data, law, beta, 0.2, np.random.default_rng(0), 39)
    np.testing.assert_array_equal(again.quantiles, found.quantiles)
    with pytest.raises(ValueError, match="draws must be an integer >= 19"):
        pivots.pivot(player, data, law, beta, 0.2, np.random.default_rng(0), 18)
    with pytest.raises(ValueError, match="delta"):
        pivots.pivot(player, data, law, beta, 0.0, np.random.default_rng(0))


def test_candidates_stay_within_the_radius(case):
    problem, player, data = case
    log = exact.directions_of(data, *player.model.table_shape)
    fitted = pivots.play(player, log)
    size = float(pivots.reach(player.model, fitted))
    for radius in (0.3 * size, 3.0 * size):
        kept = float(pivots.reach(player.model, pivots._within(player.model, fitted, radius)))
        assert kept == pytest.approx(min(size, radius))
    found = pivots.pivot(
        player, data, problem.context_probs, problem.beta, 0.2, np.random.default_rng(0), 39, 1e-9
    )
    np.testing.assert_allclose(found.losses, found.losses[0], rtol=1e-5)


def test_rows_and_report():
    rows = study.EXPERIMENT.run(TINY)
    assert rows.height == 12 * 2 and rows.drop_nulls("certificate").height == 2 * 2
    kept = rows.drop_nulls("certificate")
    assert (kept["smaller"] <= kept["certificate"]).all() and (kept["spread"] >= 1).all()
    found = study.report(rows, TINY)
    records = found.summary["records"]
    assert [one["n"] for one in records] == [20, 60] and all(one["of"] == 2 for one in records)
    wrong = pl.concat(
        [
            rows.with_columns(certificate=pl.col("certificate") * 0, seed=pl.col("seed") + 20 * k)
            for k in range(20)
        ]
    )
    assert not study.report(wrong, TINY).ok


@pytest.mark.parametrize(
    ("field", "value"), [("classes", ("tree",)), ("draws", 10), ("delta", 1.0), ("logs", 1)]
)
def test_bad_configurations_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        study.Config(**{field: value})
