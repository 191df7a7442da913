"""The stages of `tiny_llm`: reference policy, responses, log, trained policy, outcome; each made of its recipe, once.

Reference policies, sampled responses and outcomes are kept in the folder that cells share, under the hash of their recipe,
and made again where they are missing. Trained weights are not kept unless asked for.
"""

import collections
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jaxtyping import Float

from edittheory.language.evaluate import held_out
from edittheory.language.evaluate.text_measures import has_loop
from edittheory.language.model.tokens import WordTokeniser
from edittheory.language.model.transformer import Transformer
from edittheory.language.train import batches, reference_cache
from edittheory.language.train.agents import Agent, nano_architecture, pretrain
from edittheory.language.train.batches import Pairs
from edittheory.language.train.reference_cache import RefLogProbs
from edittheory.language.train.train_state import Trained
from edittheory.language.world.logs import LogRow, make_rows
from edittheory.language.world.tasks import Context, fact_recall
from edittheory.runs.artefacts import Store
from edittheory.runs.identity import run_key, stable_hash

from . import tiny_llm_pretrained
from .tiny_llm_pretrained import Warmed
from .tiny_llm_recipes import Edits, Reference, Responses, Training, Trial, identity
from .tiny_llm_training import trained

Made = TypeVar("Made")


def _key(reference: Reference, **what: Any) -> Any:
    return run_key(reference.seed, {"experiment": "tiny_llm", **what})


def _seed(reference: Reference, **what: Any) -> int:
    return int(stable_hash({"seed": reference.seed, **what})[:8], 16)


class Log(NamedTuple):
    """A log: rows, their token pairs, and the reference's log-probabilities."""

    rows: list[LogRow]
    pairs: Pairs
    reference: RefLogProbs

    def first(self, size: int) -> "Log":
        """The first `size` interactions."""
        if size >= len(self.rows):
            return self
        pairs = self.pairs.select(np.arange(size))
        edit, response = self.reference.edit[:size], self.reference.response[:size]
        return Log(self.rows[:size], pairs, RefLogProbs(edit, response, pairs.text_identity()))


class Outcome(NamedTuple):
    """What a policy did: (texts, ended) for each deployment and for the held-out contexts, and measures of it.

    measures: held_cost (of the held-out answers with the training user), held_unended, held_recall (of facts), held_loops,
    held_loss (nats a token of held-out edits), held_accuracy, drifts, steps; None where there is none. held_log_probs
    (N,): log-probability of the held-out log's responses; held_edit_log_probs (N,): of its edits.
    """

    tests: list[tuple[list[str], list[bool]]]
    held: tuple[list[str], list[bool]]
    measures: dict[str, Any]
    held_log_probs: Float[np.ndarray, " N"]
    held_edit_log_probs: Float[np.ndarray, " N"]


class Workshop:
    """Makes recipes, each once: from memory (the last ones), from the folder, or anew."""

    remembered = 64

    def __init__(self, folder: Path):
        self.folder = folder
        self.store = Store(folder)
        self._memory: collections.OrderedDict[Any, Any] = collections.OrderedDict()

    def once(self, recipe: Any, make: Callable[[], Made]) -> Made:
        """What was made of that recipe, or is made now."""
        if recipe not in self._memory:
            self._memory[recipe] = make()
        self._memory.move_to_end(recipe)
        while len(self._memory) > self.remembered:
            self._memory.popitem(last=False)
        return self._memory[recipe]

    def reference(self, recipe: Reference) -> Agent:
        """The agent with the reference policy's weights."""
        return self.once(recipe, lambda: self._reference(recipe))

    def _reference(self, recipe: Reference) -> Agent:
        key = _key(recipe, stage="base", base_seed=recipe.base_seed)
        lengths = (recipe.prompt_length, recipe.response_length)
        options = (*lengths, recipe.batch_answers, recipe.compute_dtype)
        start, world = recipe.start, recipe.world
        if isinstance(start, Warmed):
            agent = self.once(
                ("as it comes", start.checkpoint, *options), lambda: start.checkpoint.load(*options)
            )
            model = self.store.tree(
                "base",
                identity(recipe),
                agent.model,
                lambda: tiny_llm_pretrained.warm(agent, world, start, key).model,
            )
            return agent.with_model(model)
        tokeniser = WordTokeniser(world.vocabulary())
        shape = nano_architecture(
            tokeniser.size, start.dim, start.layers, start.heads, start.hidden_dim, sum(lengths)
        )
        start_key, train_key = jax.random.split(key)
        agent = Agent(Transformer.init(start_key, shape), tokeniser, *options)
        model = self.store.tree(
            "base",
            identity(recipe),
            agent.model,
            lambda: pretrain(agent, world, start.steps, start.batch, start.rate, train_key).model,
        )
        return agent.with_model(model)

    def responses(self, recipe: Responses) -> tuple[list[Context], list[str]]:
        """Contexts and responses."""
        who = {"split": recipe.split, "train_seed": recipe.train_seed, "task": recipe.task}
        base = recipe.reference

        def make() -> tuple[list[Context], list[str]]:
            contexts = base.world.contexts(recipe.task, recipe.size, _seed(base, **who), recipe.split)

            def respond() -> list[str]:
                key = _key(base, stage="log", base_seed=base.base_seed, **who)
                prompts = [context.text for context in contexts]
                return self.reference(base).respond(prompts, temperature=1.0, key=key).texts

            return contexts, self.store.json("responses", identity(recipe), respond)

        return self.once(recipe, make)

    def rows(self, recipe: Edits) -> list[LogRow]:
        """What a user made of responses, without the model that wrote them."""
        asked = recipe.responses
        seed = _seed(asked.reference, edits=asked.split, train_seed=asked.train_seed, task=asked.task)
        return make_rows(*self.responses(asked), recipe.user, seed, stable_hash(identity(asked.reference)))

    def log(self, recipe: Edits) -> Log:
        """The log of a user."""

        def make() -> Log:
            base, rows = self.reference(recipe.responses.reference), self.rows(recipe)
            pairs = batches.make_pairs(base.tokeniser, rows, base.prompt_length, base.response_length)
            reference = reference_cache.reference_log_probs(
                base.model,
                pairs,
                min(64, base.batch, pairs.size),
                self.folder / "reference",
                compute_dtype=base.compute_dtype,
            )
            return Log(rows, pairs, reference)

        return self.once(recipe, make)

    def train(self, log: Edits, training: Training, **options: Any) -> Trained:
        """The policy of a candidate; the order of batches is the same for every learner. options: of `trained`."""
        made, asked = self.log(log).first(training.size), log.responses
        place = [asked.reference.base_seed, asked.train_seed, asked.task, log.name]
        key = _key(asked.reference, stage="train", place=place, n=training.size)
        base = self.reference(asked.reference)
        return trained(base, made.pairs, made.reference, training, key, **options)

    def tests(self, recipe: Trial, deployment: int) -> list[Context]:
        """The contexts of one deployment, the same for every policy."""
        base, task = recipe.log.responses.reference, recipe.log.responses.task
        seed = _seed(base, split="test", online=deployment, task=task)
        name = ("tests", base.world, task, recipe.rounds, seed)
        return self.once(name, lambda: base.world.contexts(task, recipe.rounds, seed, "test"))

    def outcome(self, recipe: Trial) -> Outcome:
        """What a policy answers, and its measures; trained only if that is not known yet."""

        def make() -> Outcome:
            data = self.store.json("outcome", identity(recipe), lambda: self._outcome(recipe)._asdict())
            found = Outcome(**data)
            return found._replace(
                held_log_probs=np.asarray(found.held_log_probs, dtype=float),
                held_edit_log_probs=np.asarray(found.held_edit_log_probs, dtype=float),
            )

        return self.once(recipe, make)

    def _outcome(self, recipe: Trial) -> Outcome:
        agent, steps = self.reference(recipe.log.responses.reference), 0
        held = self.log(recipe.held)
        log_probs = held.reference.edit, held.reference.response
        if recipe.training is not None:
            found = self.train(recipe.log, recipe.training)
            agent, steps = agent.with_model(found.model), int(found.steps)
            log_probs = agent.log_probs(held.pairs)
            if recipe.keep_model:
                tiny_llm_pretrained.keep(self.folder / "models", agent, _name(recipe))
        contexts, _ = self.responses(recipe.held.responses)
        parts = [*(self.tests(recipe, seed) for seed in range(recipe.deployments)), contexts]
        *tests, answers = _answers(agent, parts, recipe)
        measures = self._measures(recipe, contexts, answers) | {"steps": steps}
        beside = held_out.evaluate(log_probs, held.pairs, held.reference)
        measures |= {"held_loss": beside.token_nll, "held_accuracy": beside.preference_accuracy}
        measures |= {"drift_edit": beside.drift_edit, "drift_response": beside.drift_response}
        known = {name: value if np.isfinite(value) else None for name, value in measures.items()}
        edit, response = (np.array([round(float(value), 4) for value in each]) for each in log_probs)
        return Outcome(tests, answers, known, response, edit)

    def _measures(
        self, recipe: Trial, contexts: Sequence[Context], answers: tuple[list[str], list[bool]]
    ) -> dict[str, float]:
        """Of the held-out answers: their cost with the training user, and what is wrong with them beside it."""
        texts, ended = answers
        seed = _seed(recipe.held.responses.reference, replayed=recipe.held.responses.task)
        again = make_rows(contexts, texts, recipe.held.user, seed, "policy")
        recall = [fact_recall(context, text) for context, text in zip(contexts, texts, strict=True)]
        return {
            "held_cost": float(np.mean([row.cost for row in again])),
            "held_unended": float(np.mean(~np.asarray(ended))),
            "held_recall": float(np.mean(recall)),
            "held_loops": float(np.mean([has_loop(text) for text in texts])),
        }


def _answers(
    agent: Agent, parts: Sequence[Sequence[Context]], recipe: Trial
) -> list[tuple[list[str], list[bool]]]:
    """Answers to several lists of contexts, all generated in one call: (texts, ended) of each list.

    At a temperature above 0 all policies of a reference draw with the same key.
    """
    asked = recipe.held.responses
    key = None
    if recipe.temperature > 0:
        key = _key(asked.reference, stage="answers", train_seed=asked.train_seed, task=asked.task)
    prompts = [context.text for part in parts for context in part]
    found = agent.respond(prompts, temperature=recipe.temperature, key=key)
    stops = np.cumsum([len(part) for part in parts]).tolist()
    starts = [0, *stops[:-1]]
    return [
        (found.texts[first:last], found.ended[first:last].tolist())
        for first, last in zip(starts, stops, strict=True)
    ]


def _name(recipe: Trial) -> str:
    """The name of a kept model: its candidate, and where it was trained."""
    assert recipe.training is not None
    asked = recipe.log.responses
    place = (asked.reference.base_seed, asked.train_seed, asked.task, recipe.log.name)
    return " ".join(map(str, (recipe.training.candidate.label, *place, recipe.training.size)))


@functools.lru_cache(maxsize=1)
def workshop(folder: Path) -> Workshop:
    """The workshop of a folder; the last one asked for stays in memory."""
    return Workshop(folder)
