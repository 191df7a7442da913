"""Ten preference losses and their mixes with SFT on the same logs: which scale, how much NLL, how many pairs, and who wins.

And why the chosen log-probability falls: where training takes edit and response, by learning rate, scale, mix and loss.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.core.validation import check_each, check_in, check_int, check_positive, check_probability

from . import worlds
from .experiment import Experiment
from .preference_learners import (
    RECIPES,
    USERS,
    chosen_members,
    finite_class,
    objective,
    shifts,
    simulate,
    trained,
)
from .preference_losses_report import report
from .world_configs import WorldConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(WorldConfig):
    """One cell for each (user, class, loss), and one for each of two users on where training takes edit and response.

    Each loss has one number to tune, five values each: `scales`, or for the mixes `weights` of the NLL. The finite class has
    `candidates` log-ratios, h* and others of its size, each at TEMPERATURES, and the law of the edits. The log-linear class is
    trained on `trained_trials` worlds of its own for at most `steps` steps of Adam at `rate`, stopped early on a fifth of the
    log. flips_known: option of conservative and robust. The displacement part takes `displaced_trials` worlds with
    `displaced_n` pairs, and `displaced_steps` steps at each of `rates`.
    """

    trials: int = 200
    trained_trials: int = 50
    sample_sizes: tuple[int, ...] = (30, 100, 300, 1000)
    users: tuple[str, ...] = tuple(USERS)
    losses: tuple[str, ...] = tuple(RECIPES)
    scales: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0)
    weights: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)
    flips_known: float = 0.1
    candidates: int = 12
    steps: int = 100
    rate: float = 0.1
    rates: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3)
    displaced_n: int = 300
    displaced_steps: int = 100
    displaced_trials: int = 40

    def __post_init__(self) -> None:
        super().__post_init__()
        check_each("sample_sizes", self.sample_sizes, check_int, 10, 10**7)
        check_each("users", self.users, check_in, tuple(USERS))
        check_each("losses", self.losses, check_in, tuple(RECIPES))
        for name in ("scales", "weights", "rates"):
            check_each(name, getattr(self, name), check_positive)
        check_positive("rate", self.rate)
        check_probability("flips_known", self.flips_known)
        for name in (
            "trained_trials",
            "candidates",
            "steps",
            "displaced_n",
            "displaced_steps",
            "displaced_trials",
        ):
            check_int(name, getattr(self, name), 2)


def cells(config: Config) -> list[dict[str, Any]]:
    """The study's cells, then those on displacement."""
    study = [
        {"part": "study", "user": user, "class": kind, "loss": loss}
        for user in config.users
        for kind in ("finite", "log-linear")
        for loss in (*config.losses, "others")
    ]
    return study + [
        {"part": "displacement", "user": user, "class": "log-linear", "loss": ""}
        for user in ("strong", "weak")
    ]


def _frame(cell: dict, config_sizes, trials: int, **columns) -> pl.DataFrame:
    """Rows of one setting: trials x sizes values as float32."""
    count = trials * len(config_sizes)
    shared = {name: [cell[name]] * count for name in ("part", "user", "class", "loss")}
    empty = dict.fromkeys(("value", "rate", "chosen", "rejected"), np.nan)
    numbers = {
        name: np.broadcast_to(np.asarray(value, dtype=np.float32).reshape(-1), count)
        for name, value in (empty | columns).items()
    }
    return pl.DataFrame(
        shared
        | {
            "n": np.tile(np.asarray(config_sizes, dtype=np.int32), trials),
            "seed": np.repeat(np.arange(trials, dtype=np.int32), len(config_sizes)),
        }
        | numbers
    )


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: part, user, class, loss, value (of the tuned number), n, seed, suboptimality; rate, chosen, rejected of displacement.

    chosen and rejected: mean of log(pi / reference) over the edits and the responses of the log's edited pairs.
    """
    if cell["part"] == "displacement":
        return _displacement(config, cell, key)
    sizes = config.sample_sizes
    trials = config.trials if cell["class"] == "finite" else config.trained_trials
    drawn, logs = simulate(config, cell["user"], sizes, trials)
    reference = drawn.problem.log_reference
    if cell["loss"] == "others":
        others = {"reference": jnp.broadcast_to(reference[:, None], logs.plug_in.shape)}
        if cell["class"] == "log-linear":
            others["RL plug-in"] = worlds.ridge_policies(drawn, logs)["RL plug-in"]
        wanted: dict[Any, Any] = {"SFT": objective(config, "sigmoid + NLL", 1e4)}
    else:
        others, recipe = {}, RECIPES[cell["loss"]]
        values = config.scales if recipe.tunes == "scale" else config.weights
        wanted = {value: objective(config, cell["loss"], value) for value in values}
    if cell["class"] == "finite":
        member_key = jax.random.fold_in(jax.random.key(config.seed), 10**6)
        members = finite_class(drawn, member_key, jnp.zeros(config.candidates - 1))
        policies: dict[Any, Any] = {
            value: chosen_members(members, drawn, logs.counts + logs.held_out, each)
            for value, each in wanted.items()
        }
    else:
        policies = {value: trained(config, drawn, logs, each, key) for value, each in wanted.items()}
    return pl.concat(
        _frame(
            cell | ({"loss": value} if isinstance(value, str) else {}),
            sizes,
            trials,
            value=np.nan if isinstance(value, str) else value,
            suboptimality=worlds.suboptimality(drawn, policy),
        )
        for value, policy in (policies | others).items()
    )


def _displacement(config: Config, cell: dict, key) -> pl.DataFrame:
    """Every loss at scale 1, sigmoid at every scale and mixed with every weight, at every rate, without early stopping; and pi*."""
    sizes, trials = (config.displaced_n,), config.displaced_trials
    drawn, logs = simulate(config, cell["user"], sizes, trials)
    counts = logs.counts + logs.held_out
    settings = [("sigmoid", scale) for scale in config.scales]
    settings += [("sigmoid + NLL", weight) for weight in config.weights]
    settings += [
        (name, 1.0) for name in config.losses if name != "sigmoid" and RECIPES[name].tunes == "scale"
    ]
    frames = []

    def add(name, value, rate, policies):
        chosen, rejected = shifts(drawn, counts, policies)
        loss = worlds.suboptimality(drawn, policies)
        numbers = {
            "value": value,
            "rate": rate,
            "chosen": chosen,
            "rejected": rejected,
            "suboptimality": loss,
        }
        frames.append(_frame(cell | {"loss": name}, sizes, trials, **numbers))

    for name, value in settings:
        wanted = objective(config, name, value)
        for rate in config.rates:
            policies = trained(config, drawn, logs, wanted, key, rate=rate, steps=config.displaced_steps)
            add(name, value, rate, policies)
    add("pi*", np.nan, np.nan, jax.vmap(lambda problem: problem.log_optimal)(drawn.problem)[:, None])
    return pl.concat(frames)


EXPERIMENT = Experiment(
    name="preference_losses",
    summary="DPO, IPO, KTO and seven more losses and their mixes with SFT: which scale, how much NLL, how many pairs, who wins?",
    config_class=Config,
    presets={
        "quick": Config(trials=30, trained_trials=6, displaced_trials=6, sample_sizes=(30, 300)),
        "standard": Config(),
        "paper": Config(
            trials=2000, trained_trials=2000, displaced_trials=1000, sample_sizes=(30, 100, 300, 1000, 3000)
        ),
    },
    times={
        "quick": "about 2 minutes of processor time, most of it compilation, not measured",
        "standard": "about 5 minutes of processor time (measured)",
        "paper": "for a GPU, not run",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)
