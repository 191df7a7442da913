"""The shape of a Llama-style decoder: every number that its weights and its arithmetic depend on."""

import dataclasses
from typing import Any

from edittheory.core.validation import check_in, check_int, check_positive


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """Llama 3's rescaling of rotary frequencies: long wavelengths are stretched by `factor`.

    Wavelengths above `original_length / low` are stretched in full, below `original_length / high` not at all, and in
    between smoothly.
    """

    factor: float | int
    low: float | int
    high: float | int
    original_length: int

    def __post_init__(self) -> None:
        check_positive("factor", self.factor)
        check_positive("low", self.low)
        check_positive("high", self.high)
        check_int("original_length", self.original_length, 1)
        if self.high <= self.low:
            raise ValueError(f"high must be above low = {self.low}, but it is {self.high}")


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A decoder of `layers` blocks: RMSNorm, rotary grouped-query attention, RMSNorm, SwiGLU.

    `heads` query heads share `kv_heads` key and value heads of `head_dim` numbers each. `tied`: the output layer is
    the embedding. `attention_bias`: the projections to queries, keys and values have a bias (Qwen2); `output_bias`: the one
    behind attention too (Llama's attention_bias). `qk_norm`: each head's queries and keys are normed before they are turned
    (Qwen3). Rotary pairs are the two halves of a head, or neighbours if `interleaved_rotary`. Raises ValueError naming what
    is out of range, or a combination that no family has.
    """

    vocab_size: int
    dim: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden_dim: int
    rope_theta: float | int = 10_000.0
    rms_eps: float | int = 1e-5
    tied: bool = True
    attention_bias: bool = False
    interleaved_rotary: bool = False
    max_length: int = 2048
    rope_scaling: RopeScaling | None = None
    output_bias: bool = False
    qk_norm: bool = False

    def __post_init__(self) -> None:
        for name in (
            "vocab_size",
            "dim",
            "layers",
            "heads",
            "kv_heads",
            "head_dim",
            "hidden_dim",
            "max_length",
        ):
            check_int(name, getattr(self, name), 1)
        check_positive("rope_theta", self.rope_theta)
        check_positive("rms_eps", self.rms_eps)
        for name in ("tied", "attention_bias", "interleaved_rotary", "output_bias", "qk_norm"):
            check_in(name, getattr(self, name), (True, False))
        if self.heads % self.kv_heads:
            raise ValueError(
                f"heads must be a multiple of kv_heads = {self.kv_heads}, but it is {self.heads}"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even for rotary pairs, but it is {self.head_dim}")
        if self.output_bias and not self.attention_bias:
            raise ValueError("output_bias must be False without attention_bias, but it is True")
        if self.qk_norm and self.attention_bias != self.output_bias:
            raise ValueError("output_bias must be attention_bias beside qk_norm, but they differ")

    @property
    def query_size(self) -> int:
        """Numbers in the queries of one token: heads * head_dim."""
        return self.heads * self.head_dim

    @property
    def key_size(self) -> int:
        """Numbers in the keys (or the values) of one token: kv_heads * head_dim."""
        return self.kv_heads * self.head_dim

    @property
    def layer_parameters(self) -> int:
        """Weights in the matrices of all layers: what a token is multiplied with between embedding and output."""
        attention = self.dim * (2 * self.query_size + 2 * self.key_size)
        return self.layers * (attention + 3 * self.dim * self.hidden_dim)

    @property
    def parameters(self) -> int:
        """All weights, embedding, norms and biases included; a tied embedding is counted once."""
        bias = self.layers * (self.query_size + 2 * self.key_size) * self.attention_bias
        bias += self.layers * self.dim * self.output_bias
        norms = self.dim * (2 * self.layers + 1) + 2 * self.layers * self.head_dim * self.qk_norm
        return self.layer_parameters + bias + norms + self.vocab_size * self.dim * (1 if self.tied else 2)

    def identity(self) -> dict[str, Any]:
        """A JSON-like description, to be stored beside weights and logs."""
        return dataclasses.asdict(self)


def training_flops(architecture: Architecture, sequences: int, prompt: int, response: int) -> int:
    """Floating-point operations of one training step on `sequences` of `prompt` + `response` tokens.

    Forward: 2 * (weights of the layers) * T, 2 * V * dim for each response token, and 2 * L * T^2 * heads * head_dim
    for attention (causal: half of the square), T = prompt + response; training is three forwards (performance.md).
    """
    tokens = prompt + response
    forward = 2 * architecture.layer_parameters * tokens
    forward += 2 * architecture.vocab_size * architecture.dim * response
    forward += 2 * architecture.layers * tokens**2 * architecture.query_size
    return 3 * forward * sequences
