"""The stages of `tiny_llm`: world, reference policy, logs, trained policies and what they answered; each made once.

Reference policies, sampled logs, answers and measures are kept in the folder that cells share, under the hash of all
that they depend on, and made again where they are missing. Trained weights are not kept unless asked for.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from edittheory.language.model.tokens import WordTokeniser
from edittheory.language.model.transformer import Transformer
from edittheory.language.train import batches, cost_net, fine_tuning, reference_cache, reinforcement
from edittheory.language.train.agents import Agent, nano_architecture, pretrain
from edittheory.language.train.batches import Pairs
from edittheory.language.train.reference_cache import RefLogProbs
from edittheory.language.train.train_state import Trained
from edittheory.language.world.editors import Editor
from edittheory.language.world.logs import LogRow, make_rows
from edittheory.language.world.tasks import Context
from edittheory.runs.artefacts import Store
from edittheory.runs.identity import run_key, stable_hash

from . import tiny_llm_pretrained
from .tiny_llm_config import TEST_USERS, Candidate, Config, epochs


class Place(NamedTuple):
    """Which log: base seed, training seed, task, training user."""

    base_seed: int
    train_seed: int
    task: str
    train_user: str


@dataclasses.dataclass(frozen=True)
class Log:
    """A log: rows, their token pairs, and the reference's log-probabilities."""

    rows: list[LogRow]
    pairs: Pairs
    reference: RefLogProbs

    def first(self, size: int) -> "Log":
        """The first `size` interactions."""
        if size >= len(self.rows):
            return self
        pairs = self.pairs.select(np.arange(size))
        reference = RefLogProbs(
            self.reference.edit[:size], self.reference.response[:size], pairs.text_identity()
        )
        return Log(self.rows[:size], pairs, reference)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a policy did: answers to the contexts of each deployment and to the held-out ones, and measures of it.

    tests: (texts, ended) for each online seed; held: the same on held-out contexts. measures: held_cost (of the held-out
    answers with the training user), held_unended, held_loss (nats a token of held-out edits), held_accuracy, drifts, steps;
    held_log_probs (N,): log-probability of the held-out log's responses; held_edit_log_probs (N,): of its edits.
    """

    tests: list[tuple[list[str], list[bool]]]
    held: tuple[list[str], list[bool]]
    measures: dict[str, float | None]
    held_log_probs: Float[np.ndarray, " N"]
    held_edit_log_probs: Float[np.ndarray, " N"]


class Stages:
    """The stages of one configuration, with what was made last kept in memory."""

    def __init__(self, config: Config, folder: Path):
        self.config = config
        self.store = Store(folder)
        self.folder = folder
        self._memory: dict[tuple[Any, ...], Any] = {}
        self._place: Place | None = None

    def once(self, name: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What was made under that name, or is made now. Names that hold a Place are forgotten when another one comes."""
        places = [part for part in name if isinstance(part, Place)]
        if places and places[0] != self._place:
            kept = {n: v for n, v in self._memory.items() if not any(isinstance(part, Place) for part in n)}
            self._memory, self._place = kept, places[0]
        if name not in self._memory:
            self._memory[name] = make()
        return self._memory[name]

    def _key(self, **identity: Any) -> Any:
        return run_key(self.config.seed, {"experiment": "tiny_llm", **identity})

    def _seed(self, **identity: Any) -> int:
        return int(stable_hash({"seed": self.config.seed, **identity})[:8], 16)

    @functools.cached_property
    def world(self) -> Any:
        """Where contexts come from."""
        return tiny_llm_pretrained.world_of(self.config.world)

    # -- the reference policy --------------------------------------------------------------------------------------------

    def base(self, base_seed: int) -> Agent:
        """The reference policy of a base seed."""
        return self.once(("base", base_seed), lambda: self._make_base(base_seed))

    def base_identity(self, base_seed: int) -> dict[str, Any]:
        """What the reference policy depends on."""
        c = self.config
        shape = {"prompt": c.prompt_length, "response": c.response_length, "dtype": c.compute_dtype}
        same = {"seed": c.seed, "base_seed": base_seed, "world": self.world.identity(), **shape}
        if c.agent == "nano":
            size = {"dim": c.dim, "layers": c.layers, "heads": c.heads, "hidden": c.hidden_dim}
            return {**same, **size, "steps": c.base_steps, "batch": c.base_batch, "rate": c.base_rate}
        warm = {"examples": c.warm_examples, "rate": c.warm_rate, "batch": c.batch, "tasks": list(c.tasks)}
        return {**same, **warm, "agent": tiny_llm_pretrained.identity(c.agent)}

    def _make_base(self, base_seed: int) -> Agent:
        c = self.config
        identity = self.base_identity(base_seed)
        key = self._key(stage="base", base_seed=base_seed)
        if c.agent != "nano":
            raw = self.once(("pretrained",), lambda: tiny_llm_pretrained.load(c))
            model = self.store.tree(
                "base", identity, raw.model, lambda: tiny_llm_pretrained.warm(raw, self.world, c, key).model
            )
            return raw.with_model(model)
        tokeniser = WordTokeniser(self.world.vocabulary())
        shape = nano_architecture(
            tokeniser.size, c.dim, c.layers, c.heads, c.hidden_dim, c.prompt_length + c.response_length
        )
        start_key, train_key = jax.random.split(key)
        agent = Agent(
            Transformer.init(start_key, shape),
            tokeniser,
            c.prompt_length,
            c.response_length,
            c.batch_answers,
            c.compute_dtype,
        )
        model = self.store.tree(
            "base",
            identity,
            agent.model,
            lambda: pretrain(agent, self.world, c.base_steps, c.base_batch, c.base_rate, train_key).model,
        )
        return agent.with_model(model)

    # -- logs ------------------------------------------------------------------------------------------------------------

    def _split(self, place: Place, split: str) -> tuple[list[Context], list[str]]:
        """Contexts of a split and the reference's responses at temperature 1: the same whoever edits them."""
        c = self.config
        size = c.logs if split == "train" else c.held_out
        who = {"split": split, "train_seed": place.train_seed, "task": place.task}

        def make() -> tuple[list[Context], list[str]]:
            contexts = self.world.contexts(place.task, size, self._seed(**who), split)
            identity = {"base": self.base_identity(place.base_seed), **who, "size": size}

            def respond() -> list[str]:
                key = self._key(stage="log", base_seed=place.base_seed, **who)
                prompts = [context.text for context in contexts]
                return self.base(place.base_seed).respond(prompts, temperature=1.0, key=key).texts

            return contexts, self.store.json("responses", identity, respond)

        return self.once(("split", *place[:3], split), make)

    def log(self, place: Place, split: str = "train") -> Log:
        """The log of a training user on the sampled responses of a split."""

        def make() -> Log:
            c = self.config
            contexts, responses = self._split(place, split)
            model_id = stable_hash(self.base_identity(place.base_seed))
            seed = self._seed(edits=split, train_seed=place.train_seed, task=place.task)
            rows = make_rows(contexts, responses, TEST_USERS[place.train_user], seed, model_id)
            base = self.base(place.base_seed)
            pairs = batches.make_pairs(base.tokeniser, rows, c.prompt_length, c.response_length)
            reference = reference_cache.reference_log_probs(
                base.model,
                pairs,
                min(64, c.batch_answers, pairs.size),
                self.folder / "reference",
                compute_dtype=c.compute_dtype,
            )
            return Log(rows, pairs, reference)

        return self.once(("log", place, split), make)

    # -- policies --------------------------------------------------------------------------------------------------------

    def train(self, place: Place, candidate: Candidate, size: int) -> Trained:
        """The policy of a candidate on the first `size` interactions of a log."""
        c = self.config
        base = self.base(place.base_seed)
        log = self.log(place).first(size)
        key = self._key(
            stage="train", place=list(place), n=size
        )  # the same order of batches for every learner
        if candidate.family == "RL":
            fit_key, train_key = jax.random.split(key)
            ensemble = cost_net.fit_ensemble(
                base.model, log.pairs, fit_key, multiple=c.rl_pessimism, compute_dtype=c.compute_dtype
            )
            rl = reinforcement.Settings(
                c.response_length,
                candidate.learning_rate,
                steps=c.rl_steps,
                batch=min(c.batch, log.pairs.size),
                beta=c.rl_beta,
                compute_dtype=c.compute_dtype,
            )
            return reinforcement.train(
                base.model,
                log.pairs.prompts,
                log.pairs.prompt_len,
                ensemble,
                rl,
                train_key,
                eos_id=base.tokeniser.eos_id,
            )
        learnable = log.pairs.size
        if candidate.family == "DPO":
            learnable = int(np.sum(np.asarray(log.pairs.edited)))
            if learnable == 0:
                return Trained(base.model, {}, 0)  # no preference to learn from
        options: dict[str, Any] = {
            "epochs": epochs(c, size),
            "batch": min(c.batch, learnable),
            "compute_dtype": c.compute_dtype,
        }
        rate = candidate.learning_rate
        if candidate.family == "SFT":
            settings = fine_tuning.sft(rate, **options)
        elif candidate.family == "DPO":
            settings = fine_tuning.dpo(rate, scale=candidate.scale, **options)
        else:
            settings = fine_tuning.early(
                rate, supervised_weight=candidate.weight, scale=candidate.scale, **options
            )
        return fine_tuning.train(base.model, log.pairs, settings, key, reference=log.reference)

    def tests(self, task: str, seed: int) -> list[Context]:
        """The contexts of one deployment, the same for every policy."""
        name = {"split": "test", "online": seed, "task": task}
        return self.once(
            ("test", task, seed),
            lambda: self.world.contexts(task, self.config.rounds, self._seed(**name), "test"),
        )

    def outcome(self, place: Place, candidate: Candidate | None, size: int) -> Outcome:
        """What a candidate (None: the reference itself) answers, and its measures; trained only if not known yet."""
        c = self.config
        identity = {"base": self.base_identity(place.base_seed), "place": list(place), "logs": c.logs}
        identity |= {"held_out": c.held_out, "rounds": c.rounds, "online_seeds": c.online_seeds}
        identity |= {"test_seed": c.seed}
        if candidate is not None:
            identity |= {"candidate": dataclasses.asdict(candidate), "n": size, "epochs": epochs(c, size)}
            identity |= {"batch": c.batch}
            if candidate.family == "RL":
                identity |= {"rl": [c.rl_steps, c.rl_beta, c.rl_pessimism]}
        data = self.store.json("outcome", identity, lambda: self._make_outcome(place, candidate, size))
        return Outcome(
            [(texts, ended) for texts, ended in data["tests"]],
            (data["held"][0], data["held"][1]),
            data["measures"],
            np.asarray(data["held_log_probs"], dtype=float),
            np.asarray(data["held_edit_log_probs"], dtype=float),
        )

    def _make_outcome(self, place: Place, candidate: Candidate | None, size: int) -> dict[str, Any]:
        c, base, held = self.config, self.base(place.base_seed), self.log(place, "validation")
        trained = None if candidate is None else self.train(place, candidate, size)
        agent = base if trained is None else base.with_model(trained.model)
        if trained is not None and candidate is not None and c.keep_models:
            tiny_llm_pretrained.keep(self.folder / "models", agent, place, candidate.label, size)
        deployments = [self.tests(place.task, seed) for seed in range(c.online_seeds)]
        contexts, _ = self._split(place, "validation")
        prompts = [context.text for part in (*deployments, contexts) for context in part]
        answers = agent.respond(prompts)
        parts, start = [], 0
        for part in (*deployments, contexts):
            stop = start + len(part)
            parts.append((answers.texts[start:stop], answers.ended[start:stop].tolist()))
            start = stop
        texts, ended = parts[-1]
        user: Editor = TEST_USERS[place.train_user]
        again = make_rows(contexts, texts, user, self._seed(replayed=place.task), "policy")
        if trained is None:
            edit, response = held.reference.edit, held.reference.response
        else:
            edit, response = agent.log_probs(held.pairs)
        edited = np.asarray(held.pairs.edited)
        gap = (edit - held.reference.edit) - (response - held.reference.response)
        measures: dict[str, float | None] = {
            "held_cost": float(np.mean([row.cost for row in again])),
            "held_unended": float(np.mean(~np.asarray(ended))),
            "held_loss": float(-np.sum(edit) / np.sum(np.asarray(held.pairs.edit_len))),
            "held_accuracy": float(np.mean(gap[edited] > 0)) if edited.any() else None,
            "drift_edit": float(np.mean((edit - held.reference.edit)[edited])) if edited.any() else None,
            "drift_response": float(np.mean((response - held.reference.response)[edited]))
            if edited.any()
            else None,
            "steps": 0 if trained is None else int(trained.steps),
        }
        return {
            "tests": parts[:-1],
            "held": parts[-1],
            "measures": measures,
            "held_log_probs": [round(float(value), 4) for value in response],
            "held_edit_log_probs": [round(float(value), 4) for value in edit],
        }


@functools.lru_cache(maxsize=1)
def stages(config: Config, folder: Path) -> Stages:
    """The stages of a configuration in a folder; the last ones asked for stay in memory."""
    return Stages(config, folder)
