"""Agents from pretrained weights: SmolLM2 of an installed package, a Llama-family folder, or one that `save_folder` wrote."""

import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from edittheory.core.errors import InputError
from edittheory.language.model import tokens
from edittheory.language.model.byte_bpe import CHATML, ByteBPE
from edittheory.language.model.checkpoint_folder import load_folder, special_ids
from edittheory.language.model.gguf_weights import load_gguf
from edittheory.language.train.agents import Agent, smollm_file
from edittheory.runs.files import sha256_file

WORDS = "words.json"
"""The file that stands in place of a tokeniser's beside a decoder of a closed vocabulary."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Pretrained weights with their tokeniser: "smollm", or a folder."""

    agent: str

    def identity(self) -> dict[str, Any]:
        """What tells a checkpoint from others: digests of its files, wherever they lie."""
        if self.agent == "smollm":
            return {"file": sha256_file(smollm_file())}
        names = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", WORDS]
        names += ["*.jinja", "*.safetensors"]
        files = sorted(path for name in names for path in Path(self.agent).glob(name))
        return {"files": {path.name: sha256_file(path) for path in files}}

    @property
    def closed(self) -> bool:
        """Whether the vocabulary is one of words: what the nano agent leaves behind."""
        folder = Path(self.agent)
        return (
            self.agent != "smollm"
            and (folder / WORDS).is_file()
            and not (folder / "tokenizer.json").is_file()
        )

    def tokeniser(self, parts: Any = None) -> tokens.Tokeniser:
        """Framed as its own chat template says; without one as ChatML where it has the tokens of that format."""
        if self.agent == "smollm":
            return ByteBPE.from_parts(parts or load_gguf(smollm_file())[1])
        folder = Path(self.agent)
        if self.closed:
            return tokens.WordTokeniser.load(folder / WORDS)
        plain = ByteBPE.load(folder)
        known = plain.tokenizer.get_vocab(with_added_tokens=True)
        bare = (plain.before, plain.after) == ((plain.bos_id,), (plain.sep_id,))
        chat = bare and {"<|im_start|>", "<|im_end|>"} <= set(known)
        return ByteBPE.load(folder, eos="<|im_end|>", frame=CHATML) if chat else plain

    def load(self, prompt_length: int, response_length: int, batch: int, compute_dtype: str) -> Agent:
        """The agent as it comes. Raises InputError for a tokeniser with more tokens than the model has."""
        if self.agent == "smollm":
            model, parts = load_gguf(smollm_file(), jnp.float32)
            ends: tuple[int, ...] = ()
        else:
            model, parts = load_folder(self.agent, jnp.float32)[0], None
            ends = special_ids(self.agent)["eos"]
        tokeniser = self.tokeniser(parts)
        most = model.architecture.vocab_size
        if tokeniser.size > most:
            raise InputError(f"agent: the tokeniser has {tokeniser.size} tokens, but the model has {most}")
        return Agent(model, tokeniser, prompt_length, response_length, batch, compute_dtype, ends)
