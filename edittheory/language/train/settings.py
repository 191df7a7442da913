"""How a language model is fine-tuned on the pairs of a log: SFT, preference losses and EarlyEnsemble as settings of one loss.

Rule for unedited pairs (edit and response the same tokens): they give a preference loss no gradient, so training without a
supervised part drops them; with a supervised part they stay, an accepted response being its own label, and add the
constant log 2 to DPO's loss (other losses may pull on an accepted response: docs/losses.md).
"""

import dataclasses
from typing import Any

from edittheory.core.validation import check_in, check_int, check_non_negative, check_positive
from edittheory.language.train import train_state
from edittheory.learn.preference_losses import PREFERENCE_LOSSES

Number = float | int


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to train; `sft`, `dpo`, `early` and `preferring` have the defaults of each learner.

    learning_rate: peak, after a warm-up over the share `warmup` of the steps; then a cosine to `final` times the peak.
    epochs over the pairs in batches of `batch`, each taken in `accumulate` parts. clip: largest norm of a gradient.
    weight_decay: AdamW's, on every trained parameter. preference_weight and supervised_weight: of the two losses;
    loss: the preference loss, a name of `PREFERENCE_LOSSES`; scale: its s, TRL's beta; option: its further number (a margin,
    a rate of flipped labels ...; None for its default); per_token: it is given means over tokens instead of sums ("auto":
    as TRL does it, for ipo and simpo). mean_tokens: the supervised loss is the mean over the tokens of a batch (TRL's "sft"),
    not the mean over pairs of the sum over tokens. compute_dtype: of activations (trained parameters are float32). remat: what
    the backward pass recomputes, as in `transformer`. trim: widths of the texts are cut to what the pairs need, rounded up to
    a multiple of this (equal widths share a compilation). drop_unedited: "auto" is the rule above. chunk: steps between records
    and saves. probe: pairs on which drift and preference accuracy are measured at every record.
    """

    learning_rate: Number = 5e-4
    epochs: int = 3
    batch: int = 32
    accumulate: int = 1
    clip: Number = 1.0
    warmup: Number = 0.08
    final: Number = 0.1
    weight_decay: Number = 0.0
    preference_weight: Number = 1.0
    supervised_weight: Number = 0.0
    scale: Number = 1.0
    mean_tokens: bool = False
    compute_dtype: str = "float32"
    remat: bool | str = False
    drop_unedited: bool | str = "auto"
    chunk: int = 20
    probe: int = 64
    trim: int = 8
    loss: str = "sigmoid"
    option: Number | None = None
    per_token: bool | str = "auto"

    def __post_init__(self) -> None:
        train_state.check_settings(self)
        check_positive("scale", self.scale)
        for name in ("preference_weight", "supervised_weight"):
            check_non_negative(name, getattr(self, name))
        for name in ("epochs", "batch", "accumulate", "chunk", "probe", "trim"):
            check_int(name, getattr(self, name), 1)
        check_in("drop_unedited", self.drop_unedited, ("auto", True, False))
        if self.batch % self.accumulate:
            raise ValueError(
                f"accumulate must divide batch = {self.batch}, but it is {self.accumulate}: parts are of equal size"
            )
        if self.preference_weight == 0 and self.supervised_weight == 0:
            raise ValueError(
                "preference_weight and supervised_weight are both 0: there is nothing to learn from"
            )
        check_in("loss", self.loss, tuple(PREFERENCE_LOSSES))
        check_in("per_token", self.per_token, ("auto", True, False))
        PREFERENCE_LOSSES[self.loss].check(self.loss_option)

    @property
    def drops_unedited(self) -> bool:
        """Whether pairs with equal edit and response are left out."""
        return (
            self.supervised_weight == 0 if isinstance(self.drop_unedited, str) else bool(self.drop_unedited)
        )

    @property
    def loss_option(self) -> Number:
        """`option`, or the default of the loss."""
        return PREFERENCE_LOSSES[self.loss].default if self.option is None else self.option

    @property
    def takes_means(self) -> bool:
        """Whether the preference loss is given means over tokens."""
        auto = isinstance(self.per_token, str)
        return PREFERENCE_LOSSES[self.loss].per_token if auto else bool(self.per_token)


def sft(learning_rate: Number = 1e-3, *, mean_tokens: bool = True, **options: Any) -> Settings:
    """Supervised fine-tuning on the edits: mean token negative log-likelihood, or summed."""
    return Settings(
        learning_rate, preference_weight=0.0, supervised_weight=1.0, mean_tokens=mean_tokens, **options
    )


def dpo(learning_rate: Number = 5e-4, *, scale: Number = 1.0, **options: Any) -> Settings:
    """DPO: edits preferred to responses, with coefficient `scale` (s)."""
    return Settings(learning_rate, scale=scale, **options)


def early(
    learning_rate: Number = 5e-4, *, supervised_weight: Number = 0.05, scale: Number = 1.0, **options: Any
) -> Settings:
    """EarlyEnsemble: DPO plus `supervised_weight` (lambda) times the summed negative log-likelihood of the edit."""
    return Settings(learning_rate, supervised_weight=supervised_weight, scale=scale, **options)


def preferring(
    loss: str,
    learning_rate: Number = 5e-4,
    *,
    scale: Number = 1.0,
    supervised_weight: Number = 0.0,
    mean_tokens: bool = True,
    **options: Any,
) -> Settings:
    """Any loss of `PREFERENCE_LOSSES` plus `supervised_weight` times the mean token (or summed) NLL of the edit.

    preferring("sigmoid", scale=b, supervised_weight=w) is TRL's loss_type=["sigmoid", "sft"], beta=b, loss_weights=[1, w].
    """
    return Settings(
        learning_rate,
        loss=loss,
        scale=scale,
        supervised_weight=supervised_weight,
        mean_tokens=mean_tokens,
        **options,
    )
