"""What held-out costs prove of a learned policy: that it is better than named rivals, or by how much it may be worse (C17).

Networks and log-linear policies of eight features are trained on half of a log and certified on the other half against each other and
the reference, with no class, for users who are balanced and one who is not.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.core import statistics
from edittheory.core.validation import check_each, check_in, check_int, check_probability
from edittheory.learn.objectives import Preference, Supervised
from edittheory.learn.policies import NeuralPolicy
from edittheory.medley import held_out

from . import worlds
from .columns import blank
from .experiment import Experiment, Report
from .frames import frame, seeds
from .medley_rival_learners import EVERY, logs_of
from .world_configs import WorldConfig

USERS = {"strong": (0.9, 0.0), "weak": (0.05, 0.0), "habit": (0.3, 0.3)}
"""Strength and habit."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(WorldConfig):
    """One cell for each user, `trials` worlds each with one log; `network`: units of the networks; sizes: of the whole log."""

    trials: int = 40
    sizes: tuple[int, ...] = (30, 300, 3000)
    users: tuple[str, ...] = tuple(USERS)
    network: int = 16
    delta: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_each("sizes", self.sizes, check_int, 10, 10**6)
        check_each("users", self.users, check_in, tuple(USERS))
        check_int("network", self.network, 1, 4096)
        check_probability("delta", self.delta, open_left=True, open_right=True)


def cells(config: Config) -> list[dict]:
    """One for each user."""
    return [{"user": name} for name in config.users]


@eqx.filter_jit
def _draw(key, bank, knobs, config: Config, most: int):
    return worlds.logged(
        key, bank, knobs, config.beta, config.trials, config.num_contexts, config.num_features, most
    )


@eqx.filter_jit
def _certify(drawn, data, policies, guess, n: int, delta):
    """upper, estimate, realised (T, K, K) of each of K policies (T, K, X, Y) against each, on the second half of the first n."""

    def one(world, log, policies, guess):
        problem = world.problem
        part = jax.tree.map(lambda leaf: leaf[n // 2 : n], log)

        def against(policy):
            found = held_out.against_rivals(
                policy, policies, problem.log_reference, part, problem.context_probs, problem.beta,
                problem.cost_max, delta, guess,
            )  # fmt: skip
            return found.upper, found.estimate

        upper, estimate = jax.vmap(against)(policies)
        lost = problem.suboptimality(policies)
        return upper, estimate, lost[:, None] - lost[None]

    return jax.vmap(one)(drawn, data, policies, guess)


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: user, n, seed, policy, rival, upper, estimate, realised (SubOpt of the policy less that of the rival)."""
    strength, habit = USERS[cell["user"]]
    knobs = jax.tree.map(jnp.float64, worlds.Knobs(strength=strength, habit=habit))
    bank = jnp.asarray(worlds.bank_of(config))
    world_key, *train_keys = jax.random.split(key, 3)
    most = max(config.sizes)
    drawn, data = _draw(world_key, bank, knobs, config, most)
    place = np.arange(most)
    whole = (place[None] < np.asarray(config.sizes)[:, None] // 2).astype(float)
    kept = (place + 1) % EVERY == 0
    logs = logs_of(drawn, data, (whole * ~kept, whole * kept, whole), config.delta)
    model: Any = NeuralPolicy(drawn.features, drawn.problem.log_reference, width=config.network, depth=1)
    found = {
        "network, SUP": worlds.fit(drawn, logs, Supervised(), train_keys[0], model),
        "network, PREF": worlds.fit(drawn, logs, Preference(), train_keys[1], model),
        "log-linear, RL plug-in": worlds.ridge_policies(drawn, logs)["RL plug-in"],
    }
    found["reference"] = jnp.broadcast_to(drawn.problem.log_reference[:, None], logs.plug_in.shape)
    names = list(found)
    table = jnp.stack(list(found.values()), axis=2)
    frames = []
    for i, n in enumerate(config.sizes):
        sides = _certify(drawn, data, table[:, i], logs.plug_in[:, i], n, config.delta)
        for a, policy in enumerate(names[:-1]):
            for b, rival in enumerate(names):
                if a != b:
                    values = {
                        label: np.asarray(side[:, a, b], dtype=np.float32)
                        for label, side in zip(("upper", "estimate", "realised"), sides, strict=True)
                    }
                    labels = {"user": cell["user"], "policy": policy, "rival": rival}
                    frames.append(frame(seed=seeds(config.trials), **values, n=n, **labels))
    return pl.concat(frames)


def report(rows: pl.DataFrame, config: Config) -> Report:
    """How often a bound was wrong for some rival, against delta; what is proved against the reference. Not ok where delta is refuted."""
    columns = (
        "n",
        "wrong",
        "proved better than the reference",
        "is better",
        "bound less truth",
        "gain over the reference",
    )
    table = blank("Held-out bounds of a policy against all rivals at once", ("user", "policy"), columns)
    records = []
    groups = rows.group_by("user", "policy", "n", maintain_order=True)
    level = config.level / max(rows.select("user", "policy", "n").n_unique(), 1)
    for (user, policy, n), mine in groups:
        wrong = mine.group_by("seed").agg((pl.col("realised") > pl.col("upper") + 1e-6).any())["realised"]
        check = statistics.violation_check(int(wrong.sum()), len(wrong), config.delta, level)
        own = mine.filter(pl.col("rival") == "reference")
        records.append(
            {
                "user": user, "policy": policy, "n": n, "wrong": int(wrong.sum()), "logs": len(wrong), "refuted": check.violated,
                "proved": float((own["upper"] < 0).to_numpy().mean()), "better": float((own["realised"] < 0).to_numpy().mean()),
                "slack": float(np.median((own["upper"] - own["realised"]).to_numpy())),
                "gain": float(np.median(-own["realised"].to_numpy())),
            }
        )  # fmt: skip
        last = records[-1]
        shares = f"{last['wrong']} of {last['logs']}", f"{last['proved']:.1%}", f"{last['better']:.1%}"
        table.add_row(
            str(user), str(policy), f"{n:,}", *shares, f"{last['slack']:.4f}", f"{last['gain']:.4f}"
        )
    ok = not any(record["refuted"] for record in records)
    closing = (
        f"Promised: wrong for any rival in at most {config.delta:.0%}. {'Nothing' if ok else 'SOME'} refuted."
    )
    return Report((table, closing), ok, {"records": records})


EXPERIMENT = Experiment(
    name="held_out_certificates",
    summary="what held-out costs prove of networks and of log-linear policies against named rivals, without any class (C17)",
    config_class=Config,
    presets={"quick": Config(trials=10), "standard": Config(trials=40), "paper": Config(trials=5000)},
    times={
        "quick": "not measured",
        "standard": "about 2 minutes of processor time",
        "paper": "for a GPU, not run",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)
