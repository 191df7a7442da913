"""Made-up rows of tiny_llm, and a tiny checkpoint, for tests of what reads them."""

import itertools
from pathlib import Path

import jax
import numpy as np
import polars as pl

from edittheory.language.evaluate import episodes, summaries
from edittheory.language.model.byte_bpe import ByteBPE
from edittheory.language.model.checkpoint_folder import save_folder
from edittheory.language.model.transformer import Transformer
from edittheory.language.train.agents import nano_architecture
from edittheory.language.world.grammar import NanoWorld
from experiments import keep_prob_study, tiny_llm

COSTS = {"base": 0.7, "SFT": 0.2, "DPO": 0.4, "Early": 0.25, "RL": 0.5, "Late": 0.22, "Late, theory": 0.3}
"""Mean costs on strong logs; on weak ones SFT costs .3 more and DPO .2 less."""


def cost_of(method: str, user: str) -> float:
    """Mean cost in the made-up rows."""
    return COSTS[method] + {"SFT": 0.3, "DPO": -0.2}.get(method, 0.0) * (user == "weak")


def made_up(
    methods=tuple(COSTS),
    settings=summaries.SETTINGS,
    rounds=8,
    seeds=3,
    sizes=(600,),
    test_users=("strong", "transfer"),
) -> pl.DataFrame:
    """Rows of every column, with costs that alternate by .1 around their mean and fall with n."""
    frames = []
    cases = itertools.product(sizes, settings, methods, test_users, range(seeds))
    for n, (task, user), method, test, seed in cases:
        mean = cost_of(method, user) + (600 - n) * 1e-4 + 0.01 * (seed - 1) + 0.05 * (test == "transfer")
        costs = mean + 0.1 * (-1.0) ** np.arange(rounds)
        kind = "ensemble" if method.startswith("Late") else "policy"
        names = ["posts", "papers", "reviews", "tweets"]
        frame = pl.DataFrame(
            {
                "round": range(rounds),
                "source": [names[t % 4] for t in range(rounds)],
                "cost": costs,
                "words": [3] * rounds,
                "accepted": [False] * rounds,
                "satisfied": ["brief:1 clean:0"] * rounds,
                "share": [0.5] * rounds,
                "recall": [0.9] * rounds,
                "loops": [False] * rounds,
                "length": [20] * rounds,
                "context": ["Summarize this: a text_with #marks & more."] * rounds,
                "response": [f"{method} says so. 🚀"] * rounds,
                "edit": [f"{method} says so!\nAnd how."] * rounds,
            },
            schema=episodes.COLUMNS,
        )
        numbers = {name: 0.1 + 0.1 * i + 0.01 * (user == "weak") for i, name in enumerate(tiny_llm.NUMBERS)}
        frames.append(
            frame.with_columns(
                pl.lit(0, pl.Int16).alias("base_seed"),
                pl.lit(0, pl.Int16).alias("train_seed"),
                pl.lit(task).alias("task"),
                pl.lit(user).alias("train_user"),
                pl.lit(n, pl.Int32).alias("n"),
                pl.lit(method).alias("method"),
                pl.lit(kind).alias("kind"),
                pl.lit(method).alias("played"),
                pl.lit(test).alias("test_user"),
                pl.lit(seed, pl.Int16).alias("seed"),
                pl.lit(True).alias("ended"),
                *(pl.lit(value, pl.Float32).alias(name) for name, value in numbers.items()),
            )
        )
    return pl.concat(frames)


MANIFEST = {"config": {"agent": "nano", "logs": 600, "rounds": 8}}


STRENGTHS = {"base": 0.7, "SFT": 0.2, "DPO": 0.4, "Mix": 0.3, "Early": 0.2, "Late": 0.22}


def made_up_strengths(keeps=(1.0, 0.4, 0.2), seeds=5) -> pl.DataFrame:
    """Rows of keep_prob_study: replicates differ by up to .5, SFT costs .4 more (DPO as much) on the weakest edits, and .1 more by loss."""
    rows = []
    cases = itertools.product(
        ("summarization", "email"), keeps, STRENGTHS, ("strong", "transfer"), range(seeds)
    )
    for task, keep, method, test_user, seed in cases:
        shift = {"SFT": 0.5, "Mix": 0.1}.get(method, 0.0) * (1 - keep)
        wobble = {"Early": 0.01, "DPO": 0.002}.get(method, 0.0) * (-1) ** seed
        cost = STRENGTHS[method] + shift + wobble + 0.25 * (seed - 2) / 2 + 0.05 * (test_user == "transfer")
        row = dict.fromkeys(keep_prob_study.SCHEMA) | {
            "kind": "ensemble" if method == "Late" else "policy", "rule": "cost", "keep_prob": keep,
            "train_user": "strong" if keep == 1 else "weak", "task": task, "replicate": seed, "method": method,
            "candidate": "" if method in ("base", "Late") else "rate 0.001, 2 epochs", "test_user": test_user, "cost": cost,
            "log_gamma": keep**5, "log_reach": keep**3, "log_reach_worst": keep**4, "log_edited": 0.9,
        }  # fmt: skip
        rows.append(row)
        if keep == 0.4 and method in ("SFT", "DPO"):
            rows.append(
                row
                | {
                    "rule": "loss",
                    "cost": cost + 0.1 * (method == "SFT") + 1e-4 * seed,
                    "candidate": "rate 0.003, 4 epochs",
                }
            )
    return pl.DataFrame(rows, schema=keep_prob_study.SCHEMA, orient="row")


def random_checkpoint(folder: Path) -> Path:
    """A random Llama-family checkpoint with a tokeniser of its own, as many tokens as the nano agent has."""
    world, rng = NanoWorld(), np.random.default_rng(0)
    examples = [world.base_example(rng) for _ in range(40)]
    texts = [text for context, response in examples for text in (context.text, response)]
    tokeniser = ByteBPE.train(texts, len(world.vocabulary()) + 5)
    shape = nano_architecture(tokeniser.size, 16, 1, 2, 32, 130)
    return save_folder(folder, Transformer.init(jax.random.key(0), shape), tokeniser)
