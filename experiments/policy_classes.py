"""Finite, log-linear and neural classes, right and wrong, trained on the edits of the same users."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.core import statistics
from edittheory.core.validation import check_each, check_int
from edittheory.learn.objectives import EarlyEnsemble, Objective, Preference, Supervised
from edittheory.learn.policies import LogLinear, NeuralPolicy, Tabular
from edittheory.problem import features

from . import worlds
from .columns import Column, table, text
from .experiment import Experiment, Report
from .frames import frame, seeds
from .world_configs import WorldConfig

# user: (strength, habit)
USERS = {"strong": (0.9, 0.0), "weak": (0.05, 0.0), "habit": (0.05, 0.3)}
LEARNERS: dict[str, Callable[[], Objective]] = {
    "SUP": Supervised,
    "PREF": Preference,
    "Early": lambda: EarlyEnsemble(jnp.asarray(0.1)),
}
"""Makers of the objectives."""
CLASSES = (
    "finite, right",
    "finite, wrong",
    "log-linear, right",
    "log-linear, wrong",
    "network, wide",
    "network, narrow",
    "tabular",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(WorldConfig):
    """One cell for each user; every class sees the same worlds and logs.

    The finite class holds `members` draws around a common centre, one of which is pi* and one q o reference
    when it is right; both are missing when it is wrong. The log-linear class has `num_features` features, or
    half of them. The networks see one-hot contexts and the letters of the response.
    """

    sample_sizes: tuple[int, ...] = (30, 100, 300, 1000, 3000)
    trials: int = 40
    members: int = 64
    wide: int = 32
    narrow: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_each("sample_sizes", self.sample_sizes, check_int, 10, 10**7)
        for name, least in (("members", 3), ("wide", 1), ("narrow", 1)):
            check_int(name, getattr(self, name), least, 10**6)


def cells(config: Config) -> list[dict]:
    """One cell for each user."""
    return [{"user": user} for user in USERS]


@jax.jit
def choose_member(logs, log_class, log_reference, learner):
    """Index of the member of least loss, (T, M), for a finite class (T, K, X, Y) and the learner's
    objective."""

    class Member:
        def __init__(self, log_policy, reference):
            self.log_reference, self.table = reference, log_policy

        def log_policy(self, params):
            return self.table

        def scores(self, params):
            return self.table - self.log_reference

    def one(members, reference, counts):
        data = worlds.all_cells(*reference.shape)

        def loss(log_policy):
            values = learner(Member(log_policy, reference), None, data)
            return jnp.sum(jnp.where(counts > 0, counts * values, 0.0))

        return jnp.argmin(jax.vmap(loss)(members))

    over_sizes = jax.vmap(one, in_axes=(None, None, 0))
    return jax.vmap(over_sizes)(log_class, log_reference, logs.counts + logs.held_out)


@jax.jit
def finite_class(key, drawn, like):
    """Members (T, K, X, Y) scattered as pi* is about the reference, none of them the truth; `like` (K,) gives
    their number."""

    def one(key, world):
        reference, target = world.problem.log_reference, world.problem.log_optimal
        size = jnp.std(target - reference)
        noise = jax.random.normal(key, (*like.shape, *reference.shape))
        return jax.nn.log_softmax(reference + size * noise, axis=-1)

    return jax.vmap(one)(jax.random.split(key, drawn.features.shape[0]), drawn)


def response_inputs(config: Config) -> jax.Array:
    """What a network sees: the context, one-hot, and for each position of the string which letter stands
    there."""
    from edittheory.problem import responses

    space = responses.all_strings(config.num_letters, config.max_length, min_length=1)
    letters = np.asarray(space.tokens)
    present = np.arange(letters.shape[1])[None, :] < np.asarray(space.lengths)[:, None]
    encoded = np.eye(config.num_letters)[np.clip(letters, 0, config.num_letters - 1)] * present[..., None]
    of_response = jnp.asarray(encoded.reshape(len(letters), -1))
    return features.context_and_response(jnp.eye(config.num_contexts), of_response)


def models(config: Config, drawn: worlds.World) -> dict:
    """The trained classes, each with a leading axis of worlds."""
    reference = drawn.problem.log_reference
    trials = reference.shape[0]
    unbounded = jnp.full(trials, jnp.inf)
    inputs = jnp.broadcast_to(response_inputs(config), (trials, *response_inputs(config).shape))
    return {
        "log-linear, right": LogLinear(drawn.features, reference, unbounded),
        "log-linear, wrong": LogLinear(drawn.features[..., : config.num_features // 2], reference, unbounded),
        "network, wide": NeuralPolicy(inputs, reference, width=config.wide, depth=2),
        "network, narrow": NeuralPolicy(inputs, reference, width=config.narrow, depth=1),
        "tabular": Tabular(reference),
    }


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: user, class, learner, n, seed, suboptimality."""
    strength, habit = USERS[cell["user"]]
    world_key, class_key, train_key = jax.random.split(key, 3)
    knobs = worlds.Knobs(strength=strength, habit=habit)
    drawn, logs = worlds.simulated(config, world_key, knobs, config.sample_sizes)
    reference = drawn.problem.log_reference
    wrong = finite_class(class_key, drawn, jnp.zeros(config.members))
    truths = jax.vmap(lambda p: jnp.stack([p.log_optimal, p.edited(p.log_reference)]))(drawn.problem)
    right = jnp.concatenate([truths, wrong[:, 2:]], axis=1)
    frames = []

    def add(name, learner, policies):
        loss = np.asarray(worlds.suboptimality(drawn, policies), dtype=np.float32)
        n, seed = np.asarray(config.sample_sizes, dtype=np.int32), seeds(config.trials)[:, None]
        labels = {"user": cell["user"], "class": name, "learner": learner}
        frames.append(frame(**labels, n=n, seed=seed, suboptimality=loss))

    for learner, make in LEARNERS.items():
        objective = make()
        for name, members in (("finite, right", right), ("finite, wrong", wrong)):
            chosen = choose_member(logs, members, reference, objective)
            add(name, learner, jax.vmap(lambda table, index: table[index])(members, chosen))
        for name, model in models(config, drawn).items():
            add(name, learner, worlds.fit(drawn, logs, objective, train_key, model))
    for name, policies in worlds.ridge_policies(drawn, logs).items():
        add("log-linear, right", name, policies)
    return pl.concat(frames)


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Mean SubOpt by user, class, learner and n."""
    statistics.check_level(config.level)
    means = rows.group_by("user", "class", "learner", "n", maintain_order=True).agg(
        pl.col("suboptimality").mean()
    )
    records = []
    for (user, name, learner), part in means.group_by(["user", "class", "learner"], maintain_order=True):
        values = dict(part.select("n", "suboptimality").iter_rows())
        records.append(
            {
                "user": user,
                "class": name,
                "learner": learner,
                "means": {str(n): values[n] for n in config.sample_sizes},
            }
        )
    columns = [
        *text("user", "class", "learner"),
        *(Column(f"n = {n:,}", ("means", str(n)), ".4f") for n in config.sample_sizes),
    ]
    shown = table(f"Mean SubOpt over {config.trials} worlds", columns, records)
    most = str(max(config.sample_sizes))
    best = {
        user: min((r for r in records if r["user"] == user), key=lambda r: r["means"][most]) for user in USERS
    }
    closing = (
        f"Best at n = {most}: "
        + "; ".join(f"{user}: {r['class']} with {r['learner']}" for user, r in best.items())
        + "."
    )
    return Report((shown, closing), True, {"means": records})


EXPERIMENT = Experiment(
    name="policy_classes",
    summary="finite, log-linear and neural classes, right and wrong, on the same users",
    config_class=Config,
    presets={"quick": Config(trials=20), "standard": Config(trials=50), "paper": Config(trials=2000)},
    times={
        "quick": "1 minute 10 s on one CPU core",
        "standard": "2 minutes 22 s on one CPU core",
        "paper": "for a GPU, not run",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)
