"""Does the rule of `edittheory log advise` carry over to texts? Logs of real sentences in made styles, read as a user's log is.

The rule was tuned on strings with features that hold the truth, prompts of their own. Here 16 style variants each of 24 sentences are
answered and edited, features are those of the texts, and prompts share one group, as in a log whose prompts hardly recur. The
learners are log-linear in the texts' features; their policies are scored exactly.
"""

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.core.logspace import log_normalise
from edittheory.core.validation import check_in, check_int
from edittheory.logs.advice import judging, proxies, samples, statistics
from edittheory.logs.advice.samples import Sample
from edittheory.problem import EditProblem, users
from edittheory.problem.kernels import balanced_kernel

from . import advice, advice_logs, spaces
from .experiment import Experiment

FAMILY = "texts"
OWN = 0.3
"""Spread of the part of a taste that belongs to one text; what is shared by all is SHARED for each style."""
SHARED = 1.2


@dataclasses.dataclass(frozen=True)
class Config(advice.Config):
    """As `advice.Config`, with `num_texts` sentences in 2^`num_switches` styles; `families` is not used."""

    families: tuple[str, ...] = ("finite",)
    num_switches: int = 4
    num_texts: int = 24
    text_source: str = "builtin"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("num_switches", self.num_switches, 1, 6)
        check_int("num_texts", self.num_texts, 1, 1000)
        check_in("text_source", self.text_source, ("builtin",))


def cells(config: Config) -> list[dict]:
    """One cell for each type of user that the finite family has."""
    return [{"family": FAMILY, "user": user} for user in advice_logs.FAMILIES["finite"]]


@partial(jax.jit, static_argnames=("most",))
def _draw(keys, distance, switches, beta, strength, habit, noise, *, most):
    """Problems, and contexts, responses, edits and costs of `most` interactions of each."""

    def one(key):
        keys = jax.random.split(key, 5)
        size = switches.shape[0]
        taste = jnp.asarray(switches, dtype=float) @ (
            SHARED * jax.random.normal(keys[0], (switches.shape[1],))
        )
        own = OWN * jax.random.normal(keys[1], (distance.shape[0], size))
        wanted = log_normalise(taste[None, :] + own)
        user = balanced_kernel(wanted, distance, strength, 2.0 / jnp.max(distance))
        reference = log_normalise(wanted + jnp.sum(user * distance, axis=-1) / beta)
        favoured = jax.nn.one_hot(jax.random.randint(keys[2], (), 0, size), size)
        law = jnp.full(distance.shape[0], 1.0 / distance.shape[0])
        problem = EditProblem(law, reference, users.habit(user, favoured, habit), distance, beta)
        data = problem.sample(keys[3], most)
        costs = data.costs + noise * problem.cost_max * jax.random.normal(keys[4], (most,))
        return problem, data.contexts, data.responses, data.edits, costs

    return jax.vmap(one)(keys)


def simulate(config: Config, user: str, key) -> Iterator[advice_logs.Log]:
    """The logs of one type of user, as texts that are read like a user's own."""
    space, _ = spaces._bank(config.text_source, config.num_switches, config.num_texts)
    texts = np.array(space.responses, dtype=object)
    table = samples.text_features(pl.Series(texts.reshape(-1).tolist())).reshape(*texts.shape, -1)
    distance, switches = jnp.asarray(space.distance), jnp.asarray(space.switches)
    for number in range(config.settings):
        share, knobs = advice_logs.setting(user, "test", number)
        beta = share * float(space.distance.max())  # strings have distances up to 1
        keys = jax.random.split(jax.random.fold_in(key, number), config.trials)
        knobs = {"habit": 0.0, "noise": 0.0, **knobs}
        problems, *logs = _draw(keys, distance, switches, beta, **knobs, most=max(config.sample_sizes))
        logs = [np.asarray(part) for part in logs]
        for seed in range(config.trials):
            problem = jax.tree.map(lambda leaf, seed=seed: leaf[seed], problems)
            for n in config.sample_sizes:
                x, y, edit, cost = (part[seed, :n] for part in logs)
                records = pl.DataFrame(
                    {
                        "prompt": x.astype(str),
                        "response": texts[x, y].tolist(),
                        "edit": texts[x, edit].tolist(),
                    }
                )
                raw = samples.sample_of_texts(records, cost)
                truth = scores(problem, raw, table, beta)
                yield advice_logs.Log(samples.standardised(raw), beta, truth, number, seed, n)


def scores(problem: EditProblem, raw: Sample, table: np.ndarray, beta: float) -> dict[str, float]:
    """Exact SubOpt of the learners, log-linear in features of the texts, trained on the whole log."""
    sample, spread = samples.standardised(raw), samples.spreads(raw)
    everything = np.ones(sample.size, dtype=bool)
    features = table[..., spread > 0] / spread[spread > 0]
    fits = [proxies.fit_features(name, sample, everything, beta).weights for name in proxies.LEARNERS]
    policies = jnp.stack(
        [log_normalise(problem.log_reference + jnp.asarray(features @ theta)) for theta in fits]
    )
    found = np.asarray(problem.suboptimality(jnp.concatenate([policies, problem.log_reference[None]])))
    return dict(zip((*proxies.LEARNERS, "reference"), found.tolist(), strict=True))


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows as those of `advice`, and shown: whether the held-out gain of the advised learner is shown to be above 0."""
    rows: list[dict[str, Any]] = []
    for log in simulate(config, cell["user"], key):
        judged = judging.judge(log.sample, log.beta)
        row = advice.row_of(log, cell, judged, statistics.measure(log.sample, judged, log.beta))
        rows.append({**row, "shown": judged.gain_shown(proxies.LEARNERS.index(row["advised"]))})
    return pl.DataFrame(rows, schema_overrides={"more": pl.Int64})


EXPERIMENT = Experiment(
    name="advice_texts",
    summary="does the rule of `edittheory log advise` carry over to logs of texts?",
    config_class=Config,
    presets={
        "quick": Config(settings=2, trials=2),
        "standard": Config(trials=4),
        "paper": Config(settings=30, trials=20),
    },
    times={
        "quick": "1 minute on 1 CPU core",
        "standard": "2 minutes on 1 CPU core",
        "paper": "half an hour on 1 CPU core",
    },
    cells=cells,
    run_cell=run_cell,
    report=advice.report,
)
