"""Deployments of agents that learn in words, alone or as arms of a late ensemble that also has trained policies."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import polars as pl

from edittheory.core.validation import check_not_empty
from edittheory.deploy.ensembles import Bandit
from edittheory.language.evaluate.episodes import luck
from edittheory.language.words.learners import Learner
from edittheory.language.words.preferences import overlap, recognised
from edittheory.language.world.edit_costs import normalised_cost
from edittheory.language.world.editors import Editor
from edittheory.language.world.logs import LogRow
from edittheory.language.world.tasks import Context, fact_recall

COLUMNS: dict[str, Any] = {
    "round": pl.Int16,
    "source": pl.String,
    "arm": pl.String,
    "cost": pl.Float64,
    "strong_cost": pl.Float64,
    "accepted": pl.Boolean,
    "overlap": pl.Float64,
    "recognised": pl.Float64,
    "tokens": pl.Int64,
    "recall": pl.Float64,
}
"""Columns of `deploy` and their types."""

STRONG = Editor("strong")


def deploy(
    learners: Mapping[str, Learner],
    contexts: Sequence[Context],
    user: Editor,
    seed: int,
    bandit: Bandit | None = None,
) -> pl.DataFrame:
    """One row a round: who answered, what the user's edit cost, and how good the preference was.

    In every round one of the learners answers, the one that the bandit picks (without a bandit the only one). Its answer alone
    is seen and edited; every learner is then told the pair of response and edit, and learns from it if it can.

    Columns (COLUMNS): arm; cost, what the user's edit cost; strong_cost, what the edit of a strong user of the same source would
    have cost, which nobody sees; accepted; overlap and recognised of the preference that the answer was written with, null
    where it has none in words; tokens, spent in that round by all learners; recall of facts. The user's luck in round t depends
    on (user, seed, t) alone.

    Raises ValueError without a learner, for several without a bandit, or for a bandit over another number.
    """
    check_not_empty("learners", tuple(learners))
    if bandit is None and len(learners) > 1:
        raise ValueError(f"bandit must be given to choose among {len(learners)} learners")
    if bandit is not None and bandit.num_policies != len(learners):
        raise ValueError(f"bandit is over {bandit.num_policies} policies, must be over {len(learners)}")
    names, rows = list(learners), []
    choose, tell = _steps(bandit)
    who = repr(sorted(user.identity().items()))
    for t, context in enumerate(contexts):
        arm = names[choose()]
        answer = learners[arm].answer(context, t)
        edited = user.edit(answer.text, context, luck("edit", who, seed, t), t)
        cost = normalised_cost(answer.text, edited.text)
        strong = STRONG.edit(answer.text, context, luck("edit", "strong", seed, t), t).text
        spent = sum(
            each.learn(context, answer.text, edited.text, answer.words, t) for each in learners.values()
        )
        tell(names.index(arm), cost)
        known: tuple[float | None, float | None] = (None, None)
        if answer.words is not None:
            known = (overlap(answer.words, context), recognised(answer.words, context))
        rows.append(
            (
                t, context.source, arm, cost, normalised_cost(answer.text, strong), edited.accepted, *known,
                answer.tokens + spent, fact_recall(context, answer.text),
            )
        )  # fmt: skip
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


@eqx.filter_jit
def _pick(bandit: Bandit, state: Any) -> Any:
    return bandit.select(state)


@eqx.filter_jit
def _update(bandit: Bandit, state: Any, arm: Any, cost: Any) -> Any:
    return bandit.update(state, arm, cost)


def _steps(bandit: Bandit | None) -> tuple[Callable[[], int], Callable[[int, float], None]]:
    """Functions that pick an arm, and that tell what it cost; without a bandit always the first."""
    if bandit is None:
        return (lambda: 0), (lambda arm, cost: None)
    state = [bandit.init()]

    def tell(arm: int, cost: float) -> None:
        state[0] = _update(bandit, state[0], jnp.asarray(arm), jnp.asarray(cost, dtype=float))

    return (lambda: int(_pick(bandit, state[0]))), tell


def read_log(learner: Learner, contexts: Sequence[Context], rows: Sequence[LogRow]) -> int:
    """Let a learner read N logged edits before it is deployed; returns the tokens spent. Row i is round -N + i for its luck.

    Raises ValueError if there is not one context a row.
    """
    if len(contexts) != len(rows):
        raise ValueError(f"contexts: {len(contexts)} for {len(rows)} rows, must be one for each")
    pairs = zip(contexts, rows, strict=True)
    return sum(
        learner.learn(context, row.response, row.edit, None, place - len(rows))
        for place, (context, row) in enumerate(pairs)
    )
