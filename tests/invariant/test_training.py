"""However the runs are grouped, sharded or interrupted, each comes out the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.learn.objectives import EarlyEnsemble, Preference
from edittheory.learn.policies import LogLinear, NeuralPolicy
from edittheory.learn.training import Settings, train
from edittheory.problem import features
from edittheory.runs import checkpoints
from tests.parts import part
from tests.problem_cases import on_a_line, spanning

X, Y, D, N, RUNS = 3, 6, 4, 60, 6
SETTINGS = Settings(steps=60, chunk=20, width=2)


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def problem():
    return on_a_line(X, Y)


@pytest.fixture
def job(problem, getkey):
    """Every numeric parameter of a sweep differs from run to run."""
    table = spanning(getkey(), problem.expected_cost[None], D)
    keys = jax.random.split(getkey(), RUNS)
    data = jax.vmap(lambda key: problem.sample(key, N))(keys)
    return dict(
        model=LogLinear(table, problem.log_reference),
        objective=EarlyEnsemble(jnp.linspace(0.0, 1.0, RUNS), jnp.linspace(0.5, 1.5, RUNS)),
        data=data,
        keys=keys,
        weights=(jnp.arange(N) < jnp.linspace(20, N, RUNS)[:, None]).astype(float),
        learning_rate=jnp.linspace(0.01, 0.05, RUNS),
        held_out=jax.vmap(lambda key: problem.sample(jax.random.fold_in(key, 1), 30))(keys),
    )


def same(a, b):
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("batch_size", [None, 16])
def test_vmapped_runs_equal_runs_one_by_one(job, batch_size):
    settings = Settings(steps=60, chunk=20, batch_size=batch_size, dtype="float64")
    together = train(**job, settings=settings)
    for run in range(RUNS):
        one = {name: part(value, slice(run, run + 1)) for name, value in job.items() if name != "model"}
        alone = train(model=job["model"], **one, settings=settings)
        np.testing.assert_allclose(together.params[run], alone.params[0], atol=1e-10)
        np.testing.assert_allclose(together.held_out_loss[run], alone.held_out_loss[0], rtol=1e-10)
        assert together.best_step[run] == alone.best_step[0]


def test_one_and_two_devices_give_the_same_rows(job):
    devices = jax.local_devices()
    assert len(devices) >= 2
    one, two = (train(**job, settings=SETTINGS, devices=devices[:count]) for count in (1, 2))
    same(one, two)


def test_width_does_not_matter(job):
    exact = [
        train(**job, settings=Settings(steps=60, chunk=20, width=width, dtype="float64"))
        for width in (1, 4, None)
    ]
    for other in exact[1:]:
        np.testing.assert_allclose(exact[0].params, other.params, atol=1e-10)


def test_chunks_do_not_matter(job):
    job.pop("held_out")
    by_ten, at_once = (train(**job, settings=Settings(steps=60, chunk=chunk, width=2)) for chunk in (10, 60))
    same(by_ten.params, at_once.params)


@pytest.mark.parametrize("batch_size", [None, 16])
def test_resumed_equals_uninterrupted_bit_for_bit(job, tmp_path, batch_size):
    settings = Settings(steps=60, chunk=20, width=2, batch_size=batch_size)
    whole = train(**job, settings=settings)

    def stop(progress):
        if progress.step >= 40:
            raise Stopped

    with pytest.raises(Stopped):
        train(**job, settings=settings, checkpoint=tmp_path / "a.npz", report=stop)
    steps = []
    resumed = train(
        **job, settings=settings, checkpoint=tmp_path / "a.npz", report=lambda p: steps.append(p.step)
    )
    assert steps == [60]
    same(whole, resumed)
    # A finished training is only read back.
    same(whole, train(**job, settings=settings, checkpoint=tmp_path / "a.npz", report=stop))


def test_a_checkpoint_of_another_job_is_refused(job, tmp_path):
    path = tmp_path / "a.npz"
    train(**job, settings=SETTINGS, checkpoint=path)
    job["learning_rate"] = 2 * job["learning_rate"]
    with pytest.raises(checkpoints.CheckpointError, match="belongs to another training"):
        train(**job, settings=SETTINGS, checkpoint=path)
    path.write_bytes(b"cut short")
    with pytest.raises(checkpoints.CheckpointError, match="not a readable checkpoint"):
        train(**job, settings=SETTINGS, checkpoint=path)


def test_models_that_differ_from_run_to_run(job, problem, getkey):
    references = jax.nn.log_softmax(jax.random.normal(getkey(), (RUNS, X, Y)))
    job["model"] = LogLinear(job["model"].features, references)
    settings = Settings(steps=40, chunk=20, dtype="float64")
    together = train(**job, settings=settings, per_run=lambda model: model.log_reference)
    run = 4
    one = {name: part(value, slice(run, run + 1)) for name, value in job.items() if name != "model"}
    alone = train(model=LogLinear(job["model"].features, references[run]), **one, settings=settings)
    np.testing.assert_allclose(together.params[run], alone.params[0], atol=1e-10)


def test_the_loop_is_compiled_once_for_all_values(job):
    from edittheory.learn.training_loop import advance

    job.pop("held_out")
    train(**job, settings=SETTINGS)
    before = advance._cache_size()
    job["learning_rate"] = 3 * job["learning_rate"]
    job["weights"] = job["weights"].at[:, :5].set(0.5)
    job["objective"] = EarlyEnsemble(0.2, 0.7)
    train(**job, settings=Settings(steps=33, chunk=20, width=2))
    assert advance._cache_size() == before


def test_networks_train_like_the_rest(job, problem, getkey):
    inputs = features.context_and_response(jnp.eye(X), jnp.linspace(-1, 1, Y)[:, None])
    model = NeuralPolicy(inputs, problem.log_reference, width=4, depth=1)
    settings = Settings(steps=20, chunk=20, width=2, dtype="float64")
    devices = jax.local_devices()
    one, two = (
        train(model, Preference(), job["data"], job["keys"], settings=settings, devices=devices[:count])
        for count in (1, 2)
    )
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-9)
    assert np.all(one.loss < np.log(2))
