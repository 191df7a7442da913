"""The trainer against the second-order oracle, early stopping, divergence, and messages."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from edittheory.certify.second_order import NotConverged, excess_loss, minimise
from edittheory.learn.objectives import EarlyEnsemble, LinearPreference, Preference, Supervised
from edittheory.learn.policies import LogLinear, NeuralPolicy, Tabular
from edittheory.learn.training import Settings, TrainingDiverged, train
from edittheory.problem import EditDataset, features
from edittheory.runs import device_memory
from tests.parts import part
from tests.problem_cases import on_a_line, spanning

X, Y, D, N = 3, 8, 4, 150


@pytest.fixture(scope="module")
def problem():
    return on_a_line(X, Y)


@pytest.fixture
def model(problem, getkey):
    return LogLinear(spanning(getkey(), problem.expected_cost[None], D), problem.log_reference)


START = Settings(steps=1, chunk=1, dtype="float64")
EXACT = Settings(steps=1500, chunk=500, dtype="float64")


def objectives(problem):
    return [
        Supervised(),
        Preference(),
        Preference(0.5),
        EarlyEnsemble(0.3),
    ]


def start_norm(model, objective, data):
    """Norm of the loss's gradient at theta = 0 (but for one vanishing step), where training starts."""
    once = train(model, objective, data, jax.random.key(0)[None], settings=START, learning_rate=1e-12)
    assert np.abs(once.params).max() < 1e-11
    return once.gradient_norm[0]


def test_trainer_reaches_the_oracle(problem, model, getkey):
    data = problem.sample(getkey(), N)
    for objective in objectives(problem):
        best = minimise(model, objective, data)
        assert best.gradient_norm < 1e-6
        trained = train(model, objective, data, getkey()[None], settings=EXACT, learning_rate=0.03)
        theta = np.asarray(trained.params[0])
        # Convexity: the loss is above its minimum by at most |g| |theta - theta_best|.
        slack = trained.gradient_norm[0] * np.linalg.norm(theta - best.theta) + 1e-12
        # Adam with a constant step ends in a small cycle about the optimum (its normalised steps do not vanish with the
        # gradient), so no absolute size of the last gradient follows from theory; it must have shrunk a hundredfold.
        assert trained.gradient_norm[0] < 1e-2 * start_norm(model, objective, data)
        assert -1e-12 <= trained.loss[0] - best.loss <= slack


def test_float32_training_is_as_good_as_its_precision(problem, model, getkey):
    data = problem.sample(getkey(), N)
    best = minimise(model, Preference(), data)
    trained = train(
        model, Preference(), data, getkey()[None], settings=Settings(steps=1000), learning_rate=0.03
    )
    assert trained.params.dtype == jnp.float32
    assert abs(trained.loss[0] - best.loss) < 1e-6


def test_oracle_within_a_radius(problem, model, getkey):
    data = problem.sample(getkey(), N)
    free = minimise(model, Preference(), data)
    radius = 0.5 * float(np.linalg.norm(free.theta))
    small = LogLinear(model.features, model.log_reference, radius)
    best = minimise(small, Preference(), data)
    assert np.linalg.norm(best.theta) <= radius * (1 + 1e-12)
    assert best.gradient_norm < 1e-6 and 0 <= best.excess < 1e-8 and best.loss > free.loss
    # Projected gradient descent gets there as well, and its proven excess covers its true one.
    descent = Settings(steps=2000, chunk=1000, dtype="float64", optimizer=optax.sgd)
    trained = train(small, Preference(), data, getkey()[None], settings=descent, learning_rate=1.0)
    theta = trained.params[0]
    gradient = jax.grad(lambda t: jnp.mean(Preference()(small, t, data)))(theta)
    assert -best.excess - 1e-12 < trained.loss[0] - best.loss <= excess_loss(theta, gradient, radius) + 1e-12
    assert trained.loss[0] - best.loss < 1e-9


def test_oracle_refuses_separable_edits(getkey):
    # One context, every edit goes from 0 to 1: the likelihood grows without end.
    data = EditDataset(jnp.zeros(5, int), jnp.zeros(5, int), jnp.ones(5, int), jnp.ones(5))
    model = LogLinear(jnp.array([[[0.0], [1.0]]]), jnp.log(jnp.full((1, 2), 0.5)))
    with pytest.raises(NotConverged, match="give the class a radius"):
        minimise(model, Preference(), data)
    bounded = LogLinear(model.features, model.log_reference, radius=3.0)
    np.testing.assert_allclose(minimise(bounded, Preference(), data).theta, [3.0], rtol=1e-7)


def test_mini_batches_approach_the_full_batch(problem, model, getkey):
    data = problem.sample(getkey(), N)
    best = minimise(model, Supervised(), data)
    settings = Settings(steps=2000, chunk=500, batch_size=32, dtype="float64")
    trained = train(model, Supervised(), data, getkey()[None], settings=settings, learning_rate=3e-3)
    assert trained.loss[0] - best.loss < 5e-3


def test_weights_are_a_sample_size(problem, model, getkey):
    data = problem.sample(getkey(), N)
    sizes = jnp.array([20, 60, N])
    weights = (jnp.arange(N) < sizes[:, None]).astype(float)
    keys = jax.random.split(getkey(), 3)
    trained = train(model, Preference(), data, keys, weights=weights, settings=EXACT, learning_rate=0.03)
    short = part(data, slice(60))
    alone = train(model, Preference(), short, keys[1][None], settings=EXACT, learning_rate=0.03)
    np.testing.assert_allclose(trained.params[1], alone.params[0], atol=1e-9)


def test_early_stopping_keeps_the_best_held_out_parameters(problem, getkey):
    model = Tabular(problem.log_reference)
    data, held = problem.sample(getkey(), 40), problem.sample(getkey(), 200)
    settings = Settings(steps=2000, chunk=20, patience=3, dtype="float64")
    trained = train(
        model, Supervised(), data, getkey()[None], held_out=held, settings=settings, learning_rate=0.1
    )
    assert trained.best_step[0] < trained.steps[0] < 2000
    assert trained.steps[0] - trained.best_step[0] == 3 * 20
    again = jnp.mean(Supervised()(model, trained.params[0], held))
    np.testing.assert_allclose(trained.held_out_loss[0], again, rtol=1e-12)


def test_networks_learn_what_they_can_hold(problem, getkey):
    inputs = features.context_and_response(jnp.eye(X), jnp.linspace(-1, 1, Y)[:, None])
    data = problem.sample(getkey(), 300)
    counts = np.zeros((X, Y))
    np.add.at(counts, (np.asarray(data.contexts), np.asarray(data.edits)), 1.0)
    frequency = counts / counts.sum(axis=1, keepdims=True)
    best = -np.sum(counts * np.log(np.where(counts > 0, frequency, 1.0))) / counts.sum()
    losses = []
    for width in (1, 12):
        network = NeuralPolicy(inputs, problem.log_reference, width=width, depth=2)
        trained = train(
            network,
            Supervised(),
            data,
            getkey()[None],
            settings=Settings(steps=600, chunk=600),
            learning_rate=0.02,
        )
        losses.append(trained.loss[0])
    start = jnp.mean(Supervised()(Tabular(problem.log_reference), problem.log_reference * 0, data))
    assert best - 1e-6 < losses[1] < losses[0] < start
    assert losses[1] - best < 0.3 * (start - best)


def test_divergence_is_named_and_other_runs_are_kept(problem, model, getkey):
    data = problem.sample(getkey(), N)
    settings = Settings(steps=60, chunk=20, optimizer=optax.sgd, dtype="float64")
    rates = jnp.array([0.5, 1e7, 0.5])
    labels = ["seed 0 of n=150", "seed 1 of n=150", "seed 2 of n=150"]
    keys = jax.random.split(getkey(), 3)
    with pytest.raises(TrainingDiverged, match=r"seed 1 of n=150 diverged at step .* now 1e\+07") as caught:
        train(model, Preference(), data, keys, learning_rate=rates, settings=settings, labels=labels)
    kept = caught.value.trained
    assert list(kept.diverged_step >= 0) == [False, True, False]
    assert np.isnan(kept.loss[1]) and np.isfinite(kept.loss[[0, 2]]).all()
    quiet = train(model, Preference(), data, keys, learning_rate=rates, settings=settings, keep_diverged=True)
    np.testing.assert_array_equal(quiet.diverged_step, kept.diverged_step)
    sound = train(model, Preference(), data, keys, learning_rate=0.5, settings=settings)
    np.testing.assert_array_equal(kept.params[::2], sound.params[::2])


def test_progress_is_reported(problem, model, getkey):
    seen = []
    settings = Settings(steps=50, chunk=20)
    train(
        model,
        Supervised(),
        problem.sample(getkey(), 20),
        jax.random.split(getkey(), 2),
        settings=settings,
        report=seen.append,
    )
    assert [event.step for event in seen] == [20, 40, 50]
    assert [event.active for event in seen] == [2, 2, 0]
    assert all(np.isfinite(event.mean_loss) for event in seen)


def test_bad_input_is_named(problem, model, getkey):
    data, keys = problem.sample(getkey(), 10), jax.random.split(getkey(), 2)
    labels = ["seed 0", "seed 1"]

    def fails(message, error=ValueError, data=data, **options):
        with pytest.raises(error, match=message):
            train(
                options.pop("model", model),
                options.pop("objective", Supervised()),
                data,
                keys,
                labels=labels,
                **options,
            )

    fails(r"learning_rate\[1\] \(seed 1\)", learning_rate=jnp.array([0.1, -1.0]))
    fails(r"learning_rate: shape \(3,\)", learning_rate=jnp.ones(3))
    fails(r"weights: shape \(3,\)", weights=jnp.ones(3))
    fails(
        r"weights, seed 1: all weights are 0, so data is empty", weights=jnp.array([[1.0] * 10, [0.0] * 10])
    )
    fails(
        r"held_out_weights, seed 0: all weights are 0, so held_out is empty",
        held_out=data,
        held_out_weights=jnp.zeros(10),
    )
    fails(r"weights, seed 0: must be finite", weights=-jnp.ones(10))
    fails(r"patience: got 3, but there is no held_out", settings=Settings(patience=3))
    fails(r"objective.scale: shape \(3,\)", objective=Preference(jnp.ones(3)))
    wrong = EditDataset(data.contexts, data.responses, data.edits.at[4].set(Y), data.costs)
    fails(rf"data.edits\[4\]: got {Y}, must lie in \[0, {Y - 1}\]", data=wrong)
    fails(
        r"needs about .* but the limit is 1 kB; set a smaller width",
        device_memory.TooLarge,
        settings=Settings(memory_limit=1000),
    )
    fails(r"per_run: a field has shape \(3, 8\)", per_run=lambda model: model.log_reference)
    empty = part(data, slice(0))
    fails("held_out: holds no examples", held_out=empty)
    with pytest.raises(ValueError, match="labels: got 1"):
        train(model, Supervised(), data, keys, labels=["one"])
    with pytest.raises(ValueError, match="dtype: got 'bfloat16'"):
        Settings(dtype="bfloat16")
    with pytest.raises(ValueError, match="steps"):
        Settings(steps=0)


@pytest.mark.parametrize("scale", [0.0, 1.0, 40.0])
def test_preference_from_differences_of_features(problem, model, getkey, scale):
    """Losses and gradients are those of `Preference`, at theta = 0 and at unedited pairs too, and no other class is taken."""
    data = problem.sample(getkey(), N)
    assert bool(jnp.any(data.edits == data.responses))
    for theta in (jnp.zeros(D), jax.random.normal(getkey(), (D,))):
        found, expected = (
            jax.jacobian(lambda t, o=objective: (o(model, t, data),) * 2, has_aux=True)(theta)
            for objective in (LinearPreference(scale), Preference(scale))
        )
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)
    with pytest.raises(ValueError, match="model: got Tabular, must be LogLinear"):
        LinearPreference()(Tabular(problem.log_reference), jnp.zeros((X, Y)), data)
