"""What happens while a language model learns from edits: loss, drift, and what its answers become, record by record.

The policies are those of `tiny_llm`. Every few steps the loss is recorded, how far log pi of edits and of responses has moved
from the reference policy (on a probe of the training pairs), and what the policy would answer to held-out contexts: the cost
of these answers, their recall of facts, loops, missing ends and length. So likelihood displacement (both log-probabilities
falling) and degeneration are seen when they begin, not only when they are over.
"""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from edittheory.core.validation import (
    check_each,
    check_in,
    check_int,
    check_non_negative,
    check_positive,
    check_probability,
)
from edittheory.language.evaluate.text_measures import has_loop
from edittheory.language.train.agents import Agent
from edittheory.language.train.fine_tuning import Measures
from edittheory.language.world.edit_costs import num_words
from edittheory.language.world.editors import Editor
from edittheory.language.world.logs import make_rows
from edittheory.language.world.tasks import TASKS, Context, fact_recall

from . import tiny_llm_config, tiny_llm_plan, tiny_llm_recipes
from .columns import blank
from .experiment import Experiment, Report
from .tiny_llm_config import Candidate
from .tiny_llm_recipes import Place, Training
from .tiny_llm_stages import workshop

TRAINING = ("loss", "gradient_norm", "learning_rate", "drift_edit", "drift_response", "preference_accuracy")
ANSWERS = ("cost", "own_cost", "recall", "loops", "no_end", "length")
LEARNERS = ("SFT", "DPO", "Mix", "Early")
_SAME = "agent world tasks train_users logs epochs batch keep_prob lora_rank prompt_length response_length warm_examples"


@dataclasses.dataclass(frozen=True)
class Config:
    """One training for each replicate, task, training user and learner.

    Replicate r of `seeds` is what `tiny_llm` makes with seed + r: a reference policy, a log and an order of training of its
    own. agent, world and the fields up to warm_examples: as in `tiny_llm`. Of each learner its peak rate; dpo_scale: s, of
    DPO alone; mix_weight: of the mean token NLL beside DPO's loss; early_weight: of the summed one. every: steps between
    records; probe: training pairs on which drift is measured; contexts: held-out contexts that are answered at each record.
    """

    agent: str = "nano"
    world: str = "auto"
    tasks: tuple[str, ...] = ("summarization",)
    train_users: tuple[str, ...] = ("strong", "weak")
    seeds: int = 5
    logs: int = 400
    epochs: int = 3
    batch: int = 16
    keep_prob: float = 0.4
    lora_rank: int = 0
    prompt_length: int = 0
    response_length: int = 0
    warm_examples: int = 3000
    sft_rate: float = 1e-3
    dpo_rate: float = 5e-4
    dpo_scale: float = 1.0
    mix_rate: float = 5e-4
    mix_weight: float = 1.0
    early_rate: float = 5e-4
    early_weight: float = 0.05
    every: int = 10
    probe: int = 32
    contexts: int = 40
    dim: int = 64
    layers: int = 2
    heads: int = 4
    hidden_dim: int = 192
    base_steps: int = 600
    base_batch: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        check_each("tasks", self.tasks, check_in, tuple(TASKS))
        check_each("train_users", self.train_users, check_in, tiny_llm_config.TRAIN_USERS)
        for name in (
            "seeds",
            "logs",
            "epochs",
            "batch",
            "every",
            "probe",
            "contexts",
            "base_steps",
            "base_batch",
        ):
            check_int(name, getattr(self, name), 1)
        check_int("logs", self.logs, self.batch)
        for name in ("sft_rate", "dpo_rate", "dpo_scale", "mix_rate", "early_rate"):
            check_positive(name, getattr(self, name))
        for name in ("mix_weight", "early_weight"):
            check_non_negative(name, getattr(self, name))
        check_probability("keep_prob", self.keep_prob)


def underlying(config: Config, replicate: int) -> tiny_llm_config.Config:
    """The configuration of `tiny_llm` with this replicate's reference policy, logs and order of training."""
    same = f"{_SAME} dim layers heads hidden_dim base_steps base_batch"
    return tiny_llm_config.Config(
        seed=config.seed + replicate, **{name: getattr(config, name) for name in same.split()}
    )


def resolve(config: Config) -> Config:
    """With nothing left to "auto" or 0, as `tiny_llm` does it."""
    found = tiny_llm_plan.resolve(underlying(config, 0))
    names = ("agent", "world", "prompt_length", "response_length")
    return dataclasses.replace(config, **{name: getattr(found, name) for name in names})


def learners(config: Config) -> dict[str, Candidate]:
    """What is trained, by name."""
    c = config
    numbers = {
        "SFT": (c.sft_rate, 1.0, 1.0),
        "DPO": (c.dpo_rate, c.dpo_scale, 0.0),
        "Mix": (c.mix_rate, 1.0, c.mix_weight),
        "Early": (c.early_rate, 1.0, c.early_weight),
    }
    return {name: Candidate(name, name, *numbers[name]) for name in LEARNERS}


def cells(config: Config) -> list[dict[str, Any]]:
    """Replicate after replicate, so that what is there when a run is stopped is complete for some of them."""
    places = itertools.product(range(config.seeds), config.tasks, config.train_users, LEARNERS)
    return [dict(zip(("replicate", "task", "train_user", "method"), place, strict=True)) for place in places]


def run_cell(config: Config, cell: dict[str, Any], key: Any, folder: Path) -> pl.DataFrame:
    """One row a record: replicate, task, train_user, method, step, steps, TRAINING (null at step 0 but for the drifts) and
    ANSWERS. loss, gradient_norm and learning_rate are means over the steps since the last record; losses of different
    learners are different losses."""
    made = workshop(folder)
    settled = underlying(config, cell["replicate"])
    place = Place(0, 0, cell["task"], cell["train_user"])
    log = tiny_llm_recipes.log(settled, place)
    base = log.responses.reference
    contexts = base.world.contexts(cell["task"], config.contexts, settled.seed, "validation")
    agent = made.reference(base)

    def measure(model: Any) -> dict[str, float]:
        return answers(agent.with_model(model), contexts, log.user, settled.seed)

    training = Training(
        learners(config)[cell["method"]], config.logs, config.epochs, config.batch, None, config.lora_rank
    )
    found = made.train(
        log, training, measures=Measures(ANSWERS, measure), chunk=config.every, probe=config.probe
    )
    start = {"step": 0.0, "drift_edit": 0.0, "drift_response": 0.0, **measure(agent.model)}
    columns = ("step", *TRAINING, *ANSWERS)
    later = [
        {name: float(found.history[name][place]) for name in columns}
        for place in range(len(found.history.get("step", ())))
    ]
    types = {name: pl.Int32 if name == "step" else pl.Float32 for name in columns}
    rows = pl.DataFrame(
        [{name: one.get(name) for name in columns} for one in [start, *later]],
        schema={name: pl.Float64 for name in columns},
    ).cast(types)  # type: ignore[arg-type]
    names = ("replicate", "task", "train_user", "method")
    fixed = [pl.lit(cell[name], pl.Int16 if name == "replicate" else pl.String).alias(name) for name in names]
    steps = pl.lit(found.steps, pl.Int32).alias("steps")
    return rows.select(*fixed, pl.col("step"), steps, *(pl.col(name) for name in columns[1:]))


def answers(agent: Agent, contexts: list[Context], user: Editor, seed: int) -> dict[str, float]:
    """ANSWERS of greedy answers to the contexts: mean cost with the strong user and with the training user, and the rest."""
    found = agent.respond([context.text for context in contexts])

    def cost(editor: Editor) -> float:
        return float(np.mean([row.cost for row in make_rows(contexts, found.texts, editor, seed, "policy")]))

    return {
        "cost": cost(Editor("strong")),
        "own_cost": cost(user),
        "recall": float(np.mean([fact_recall(c, t) for c, t in zip(contexts, found.texts, strict=True)])),
        "loops": float(np.mean([has_loop(text) for text in found.texts])),
        "no_end": float(np.mean(~np.asarray(found.ended))),
        "length": float(np.mean([num_words(text) for text in found.texts])),
    }


def report(rows: pl.DataFrame, config: Config) -> Report:
    """The last record of each learner, mean over replicates, and the lowest that log pi of the edits fell."""
    seeds = rows["replicate"].n_unique()
    title = f"The last record, mean over {seeds} replicate{'s' * (seeds > 1)}; drifts in nats; lowest: of edits, on the way"
    names = (
        "drift_edit",
        "drift_response",
        "preference_accuracy",
        "cost",
        "recall",
        "loops",
        "no_end",
        "length",
    )
    table = blank(title, ("task", "log", "learner"), ("edits", "lowest", "responses", "accuracy", *names[3:]))
    where = ("task", "train_user", "method")
    lowest = rows.group_by("replicate", *where, maintain_order=True).agg(
        pl.col("drift_edit").min().alias("lowest"), pl.col(names).last()
    )
    means = lowest.group_by(*where, maintain_order=True).agg(pl.col("lowest", *names).mean())
    for row in means.iter_rows(named=True):
        numbers = [row[name] for name in ("drift_edit", "lowest", *names[1:])]
        forms = ("+.1f", "+.1f", "+.1f", ".2f", ".3f", ".2f", ".2f", ".2f", ".0f")
        shown = ["" if n is None else f"{n:{form}}" for n, form in zip(numbers, forms, strict=True)]
        table.add_row(*(row[name] for name in where), *shown)
    return Report((table,), True, {"last": means.to_dicts()})


EXPERIMENT = Experiment(
    name="training_histories",
    summary="loss, drift of edits and responses, cost, recall, loops and length while SFT, DPO, their mix and Early are trained",
    config_class=Config,
    presets={
        "smoke": Config(
            tasks=("email",), train_users=("weak",), seeds=1, logs=32, epochs=1, batch=16, every=1, probe=4, contexts=4,
            dim=16, layers=1, heads=2, hidden_dim=32, base_steps=10, base_batch=8,
        ),
        "quick": Config(seeds=1, train_users=("weak",)),
        "standard": Config(),
        "paper": Config(tasks=("summarization", "email"), seeds=10, every=5, contexts=100),
    },
    times={
        "smoke": "30 s on 2 CPU cores",
        "quick": "3 minutes on 2 CPU cores",
        "standard": "15 minutes on 2 CPU cores",
        "paper": "2 hours on 2 CPU cores, not measured",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
    resolve=resolve,
    shares=True,
)  # fmt: skip
