"""One agent, evaluated: its answers with simulated users, summarised with intervals, and its likelihood of a log of edits."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import polars as pl
from jaxtyping import Float, PRNGKeyArray

from edittheory.core.statistics import Interval, bootstrap, clopper_pearson
from edittheory.core.validation import check_not_empty
from edittheory.language.evaluate import episodes
from edittheory.language.train.agents import Agent
from edittheory.language.train.batches import Pairs
from edittheory.language.world.editors import Editor
from edittheory.language.world.tasks import Context

RESAMPLES = 2000


def answer_rows(
    agent: Agent,
    contexts: Mapping[str, Sequence[Context]],
    users: Mapping[str, Editor],
    seed: int,
    *,
    temperature: float | int = 0.0,
    key: PRNGKeyArray | None = None,
    texts: int = 0,
) -> pl.DataFrame:
    """A row for every task, user and context: task, test_user, those of `episodes.judge`, and whether the answer ended.

    contexts: those of each task; every user meets the same answers. A temperature above 0 needs a key. texts: of how many
    contexts the texts are kept. Raises ValueError if there is no context or no user.
    """
    check_not_empty("contexts", tuple(contexts))
    check_not_empty("users", tuple(users))
    frames = []
    for place, (task, asked) in enumerate(contexts.items()):
        check_not_empty(f"contexts[{task!r}]", asked)
        draw = None if key is None else jax.random.fold_in(key, place)
        answers = agent.respond([context.text for context in asked], temperature=temperature, key=draw)
        for name, user in users.items():
            rows = episodes.judge(asked, answers.texts, user, seed, texts)
            labels = [pl.lit(task).alias("task"), pl.lit(name).alias("test_user")]
            frames.append(
                rows.with_columns(*labels, pl.Series("ended", answers.ended, dtype=pl.Boolean)).select(
                    "task", "test_user", *episodes.COLUMNS, "ended"
                )
            )
    return pl.concat(frames)


def summary(rows: pl.DataFrame, level: float = 0.05) -> list[dict[str, Any]]:
    """For each task and user of `answer_rows`: n, mean cost and its bootstrap interval over contexts, the share of answers
    that were accepted with its exact interval, and means of what is wrong with answers that cost nothing: recall of facts,
    share with a loop, share without an end, words.

    The intervals are over contexts, for these weights: they say nothing of another training.
    """
    found = []
    for (task, user), part in rows.group_by("task", "test_user", maintain_order=True):
        costs = part["cost"].to_numpy().astype(float)
        mean = interval_of_mean(costs, level)
        accepted = int(part["accepted"].sum())
        low, high = clopper_pearson(accepted, len(costs), level)
        found.append(
            {
                "task": task,
                "test_user": user,
                "n": len(costs),
                "cost": [mean.estimate, mean.low, mean.high],
                "accepted": [accepted / len(costs), float(low), float(high)],
                "recall": float(part["recall"].cast(pl.Float64).mean()),  # type: ignore[arg-type]
                "loops": float(part["loops"].mean()),  # type: ignore[arg-type]
                "no_end": float((~part["ended"]).mean()),  # type: ignore[arg-type]
                "words": float(part["length"].mean()),  # type: ignore[arg-type]
            }
        )
    return found


def interval_of_mean(values: Float[np.ndarray, " N"], level: float = 0.05) -> Interval:
    """The mean with its bootstrap interval, drawn with a fixed seed; the mean alone where there is one value."""
    if len(values) == 1:
        return Interval(float(values[0]), float(values[0]), float(values[0]))
    return bootstrap(values, np.random.default_rng(0), level=level, resamples=RESAMPLES)


@dataclasses.dataclass(frozen=True)
class Likelihood:
    """What an agent makes of a log, in nats. A row is edited where response and edit are other tokens.

    rows, edited, cut: numbers of rows, of edited ones, and of those with a response or an edit that did not fit.
    token_nll: mean over the tokens of all edits; edit_minus_response: mean over edited rows of log pi(edit) - log
    pi(response), and its interval over rows; likelier: share of edited rows whose edit is likelier. With a reference
    agent, of the same tokeniser: drift_edit, drift_response (mean change of log pi from it, over edited rows) and accuracy
    (share of edited rows with the first above the second). None where nothing defines it.
    """

    rows: int
    edited: int
    cut: int
    token_nll: float
    edit_minus_response: tuple[float, float, float] | None
    likelier: float | None
    drift_edit: float | None = None
    drift_response: float | None = None
    accuracy: float | None = None


def likelihood(agent: Agent, pairs: Pairs, reference: Agent | None = None) -> Likelihood:
    """The agent's likelihood of a log's pairs. Raises ValueError if there are none, or tokens are not the agent's."""
    pairs.check(agent.model.architecture.vocab_size)
    edit, response = agent.log_probs(pairs)
    edited = np.asarray(pairs.edited)
    cut = 0 if pairs.cut is None else int(np.sum(np.asarray(pairs.cut)))
    counts = (pairs.size, int(edited.sum()), cut)
    token_nll = float(-np.sum(edit) / np.sum(np.asarray(pairs.edit_len)))
    if not edited.any():
        return Likelihood(*counts, token_nll, None, None)
    gap = (edit - response)[edited].astype(float)
    mean = interval_of_mean(gap)
    found = Likelihood(*counts, token_nll, (mean.estimate, mean.low, mean.high), float(np.mean(gap > 0)))
    if reference is None:
        return found
    its_edit, its_response = reference.log_probs(pairs)
    drifts = (edit - its_edit)[edited], (response - its_response)[edited]
    return dataclasses.replace(
        found,
        drift_edit=float(np.mean(drifts[0])),
        drift_response=float(np.mean(drifts[1])),
        accuracy=float(np.mean(drifts[0] > drifts[1])),
    )
