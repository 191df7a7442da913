"""The medley against its rivals: cross-validated choice, preference losses with a tuned scale, and M4's mixture of the plain learners.

The cells are those of `medley`: finite classes, and the log-linear worlds on strings and on real sentences; besides them networks on
strings. Every rule sees the same log, and choice by cross-validation refits on all of it.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.core.trials import map_trials
from edittheory.core.validation import check_each, check_in, check_int, check_positive
from edittheory.learn.preference_losses import PREFERENCE_LOSSES
from edittheory.medley import linear
from edittheory.problem import EditDataset, random_problems
from edittheory.runs.identity import execution_field

from . import medley, spaces, worlds
from . import medley_rival_learners as learn
from .experiment import Experiment
from .frames import frame, seeds
from .medley_rival_rules import rivals, tally
from .medley_rivals_report import report
from .world_configs import provenance, resolve


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(medley.Config):
    """Fields of `medley`, and: folds of the cross-validation; finite_losses, trained_losses: preference losses, each at every one of
    `scales`; network_trials worlds of each cell for networks of `network` units; `values` of each knob of the trained tracks.
    """

    folds: int = 4
    finite_losses: tuple[str, ...] = ("ipo", "kto", "apo_zero", "chi_po")
    trained_losses: tuple[str, ...] = ("ipo", "chi_po")
    scales: tuple[float, ...] = (0.3, 1.0, 3.0)
    network: int = 16
    network_trials: int = 10
    world_width: int = execution_field(10)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("folds", self.folds, 2, 20)
        for name in ("finite_losses", "trained_losses"):
            check_each(name, getattr(self, name), check_in, tuple(PREFERENCE_LOSSES))
        check_each("scales", self.scales, check_positive)
        check_int("network", self.network, 1, 4096)
        check_int("network_trials", self.network_trials, 2, 10**6)
        check_int("world_width", self.world_width, 1, 10**6)


def cells(config: Config) -> list[dict]:
    """The grid and the worlds of `medley`, and those on strings again for networks."""
    found = [cell for cell in medley.cells(config) if cell["panel"] != "prototype"]
    return found + [
        cell | {"track": "network"}
        for cell in found
        if cell["track"] == "linear" and cell["space"] == "strings"
    ]


def _finite_trial(key, strength, habit, noise, config: Config):
    problem_key, data_key, noise_key = jax.random.split(key, 3)
    space = spaces.strings(config.num_letters, config.max_length)
    instance = random_problems.balanced_backwards(
        problem_key, space, config.num_contexts, config.num_candidates, beta=config.beta, strength=strength, habit=habit
    )  # fmt: skip
    problem = instance.problem
    clean = problem.sample(data_key, config.sample_sizes[-1])
    reach = jnp.sqrt(3.0) * noise * problem.cost_max
    noisy = clean.costs + reach * jax.random.uniform(noise_key, clean.costs.shape, minval=-1.0, maxval=1.0)
    data = EditDataset(clean.contexts, clean.responses, clean.edits, noisy)
    shape = problem.log_reference.shape
    tallies = tally(data, jnp.asarray(config.sample_sizes), config.folds, *shape)
    plain, tuned, fitted = learn.of_finite_class(
        instance, tallies, config.finite_losses, config.scales, config.supervised_weight, config.delta
    )
    played = {name: policy[:, config.folds] for name, policy in plain.items()}
    played |= rivals(problem, plain, tuned, fitted, tallies)
    played["medley"] = learn.finite_medley(instance, tallies)
    return {name: problem.suboptimality(policy) for name, policy in played.items()}


def _trained(config: Config, cell: dict, key, trials: int):
    """Losses of every rule on the worlds of one cell, (trials, sizes) each."""
    knobs = worlds.Knobs(
        **{name: jnp.float64(cell.get(name, value)) for name, value in worlds.Knobs()._asdict().items()}
    )
    bank = worlds.bank_of(config, cell["space"])
    world_key, train_key = jax.random.split(key)
    sizes = config.linear_sizes
    drawn, data = _worlds(
        world_key, jnp.asarray(bank), knobs, config.beta, trials, config.num_contexts, config.num_features, max(sizes)
    )  # fmt: skip
    units = config.network if cell["track"] == "network" else 0
    plain, tuned, fitted = learn.of_trained_class(
        drawn, data, sizes, config.folds, units, config.trained_losses, config.scales,
        config.supervised_weight, config.delta, train_key,
    )  # fmt: skip
    played = {name: policy[:, :, config.folds] for name, policy in plain.items()}
    played |= _rules(drawn, data, plain, tuned, fitted, sizes, config.folds)
    whole = [*plain.values(), *(each for loss in tuned.values() for each in loss)]
    if units:
        played["medley"] = _candidates(
            drawn, data, jnp.stack([each[:, :, config.folds] for each in whole], 2), sizes
        )
    else:
        played["medley"] = _linear(drawn, data, sizes, linear.DEFAULT)
        played["medley by risk"] = _linear(drawn, data, sizes, linear.BY_RISK)
    return {name: np.asarray(worlds.suboptimality(drawn, policy)) for name, policy in played.items()}


_worlds = jax.jit(worlds.logged, static_argnames=("trials", "num_contexts", "num_features", "most"))


@jax.jit(static_argnames=("sizes", "folds"))
def _rules(drawn, data, plain, tuned, fitted, sizes, folds):
    def one(world, log, plain, tuned, fitted):
        tallies = tally(log, jnp.asarray(sizes), folds, *fitted.shape[-2:])
        return rivals(world.problem, plain, tuned, fitted, tallies)

    return jax.vmap(one)(drawn, data, plain, tuned, fitted)


@jax.jit(static_argnames=("sizes", "config"))
def _linear(drawn, data, sizes, config):
    def one(world, log):
        tallies = tally(log, jnp.asarray(sizes), 1, *world.problem.log_reference.shape)
        return learn.linear_medley(world, tallies, config)

    return jax.vmap(one)(drawn, data)


@jax.jit(static_argnames=("sizes",))
def _candidates(drawn, data, tables, sizes):
    def one(world, log, tables):
        return jnp.stack(
            [learn.candidate_medley(world.problem, tables[i], log, n) for i, n in enumerate(sizes)]
        )

    return jax.vmap(one)(drawn, data, tables)


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: the cell's fields, n, seed, learner, suboptimality."""
    if cell["track"] == "finite":
        knobs = (jnp.float64(cell[name]) for name in ("strength", "habit", "noise"))
        sizes = config.sample_sizes
        losses = map_trials(_finite_trial, key, config.trials, config.width, *knobs, config)
    else:
        sizes = config.linear_sizes
        trials = config.network_trials if cell["track"] == "network" else config.linear_trials
        losses = _trained(config, cell, key, trials)
    return pl.concat(
        frame(
            **cell,
            n=np.asarray(sizes, dtype=np.int32),
            seed=seeds(len(values))[:, None],
            learner=name,
            suboptimality=np.asarray(values, dtype=np.float32),
        )
        for name, values in losses.items()
    )


EXPERIMENT = Experiment(
    name="medley_rivals",
    summary="the medley against cross-validated choice, tuned preference losses and M4's mixture, in its own cells and for networks",
    config_class=Config,
    presets={
        "quick": Config(
            trials=10, spaces=("strings",), strengths=(0.05, 0.9), habits=(0.0, 0.3), noises=(0.0, 1.0),
            sample_sizes=(30, 300), linear_sizes=(30, 300), linear_trials=5, network_trials=5, values=2,
        ),
        "standard": Config(
            trials=60, sample_sizes=(30, 100, 300, 1000), linear_sizes=(30, 300, 3000), linear_trials=20, values=3,
        ),
        "paper": Config(
            trials=1000, sample_sizes=(30, 100, 300, 1000, 3000), linear_sizes=(30, 100, 300, 1000, 3000, 10000),
            linear_trials=400, network_trials=400, values=10, width=100,
            finite_losses=("ipo", "conservative", "robust", "dpo_positive", "kto", "apo_zero", "apo_down", "chi_po"),
            trained_losses=("ipo", "kto", "apo_zero", "chi_po"), scales=(0.1, 0.3, 1.0, 3.0, 10.0),
        ),
    },
    times={
        "quick": "not measured",
        "standard": "about 6 minutes of processor time, much of it compilation",
        "paper": "for a GPU, not run",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
    provenance=provenance,
    resolve=resolve,
)  # fmt: skip
