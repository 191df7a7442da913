"""The one list of studies: each experiment with the figures that are drawn from its rows first of all, and what it needs.

The modules lie in experiments/ and paper_figures/ of a checkout, and in edittheory.experiments and edittheory.paper_figures
of an installed package, so that the latter claims no other top-level name.
"""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from edittheory.core.errors import RunError, UnknownName


class Study(NamedTuple):
    """figures: those that show its rows; extra: the optional dependencies it needs; verified: `edittheory verify` runs it;
    timed: its manifest's time is that of the whole run.
    """

    figures: tuple[str, ...] = ()
    extra: str | None = None
    verified: bool = False
    timed: bool = True


STUDIES: Mapping[str, Study] = {
    "bound_verification": Study(("bound_tightness",), verified=True),
    "falsification": Study(("falsification",), verified=True),
    "corners": Study(verified=True),
    "looseness": Study(("looseness",)),
    "linear_bounds": Study(("linear_bounds",)),
    "contraction": Study(("contraction",), verified=True),
    "rates": Study(("rates",)),
    "preference_scale": Study(("preference_scale",), verified=True),
    "preference_losses": Study(("preference_losses",)),
    "separation": Study(("separation",)),
    "phase_diagram": Study(("phase_diagram", "tradeoffs")),
    "coverage": Study(("coverage",)),
    "policy_classes": Study(("policy_classes",)),
    "user_shift": Study(("user_shift",)),
    "early_weight": Study(("early_weight",)),
    "late_ensemble": Study(("late_ensemble",), verified=True),
    "warm_start": Study(("warm_start",)),
    "contextual_ensemble": Study(("contextual_ensemble",)),
    "drift": Study(("drift",)),
    "online_learning": Study(("online_learning",), verified=True),
    "ensemble_robustness": Study(("ensemble_robustness",)),
    "balance_test": Study(("balance_test",)),
    "certificates": Study(("certificates",)),
    "exact_certificates": Study(("exact_certificates",)),
    "linear_certificates": Study(("linear_certificates",)),
    "pivot_certificates": Study(("pivot_certificates",)),
    "feedback_bounds": Study(("feedback_bounds",)),
    "robust_certificates": Study(("robust_certificates",)),
    "medley": Study(("medley",)),
    "medley_rivals": Study(("medley_rivals",)),
    "medley_limits": Study(("medley_limits",)),
    "held_out_certificates": Study(),
    "shared_confidence": Study(),
    "log_tests": Study(("log_tests",)),
    "advice_tuning": Study(),
    "advice": Study(("advice",)),
    "advice_texts": Study(),
    "tiny_llm": Study(("llm_rivals", "llm_online", "llm_samples", "llm_estimates"), "language"),
    "keep_prob_study": Study(("keep_prob", "table_main", "table_transfer"), "language", timed=False),
    "tiny_llm_curve": Study(("llm_tradeoffs",), "language"),
    "tiny_llm_smollm": Study(("llm_pretrained",), "language", timed=False),
    "training_histories": Study(("llm_histories",), "language"),
    "words": Study(("words",), "language"),
    "people": Study(("people",), "language"),
}
OTHERS: Mapping[str, tuple[str, ...]] = {
    "campaigns": ("make campaigns",),
    "bounds_by_n": (
        "edittheory run bound_verification --preset paper --out results",
        "python -m experiments.verification_counts results --out results",
    ),
}
"""Figures of rows that no experiment leaves as they are, with the commands that make them."""
FIGURES = {figure: name for name, study in STUDIES.items() for figure in study.figures} | {
    name: name for name in OTHERS
}
"""The study that each figure belongs to."""
VERIFIED = tuple(name for name, study in STUDIES.items() if study.verified)


def package(name: str) -> ModuleType:
    """`experiments` or `paper_figures`, of the checkout or of the installed package. Raises RunError where neither is."""
    for place in (f"edittheory.{name}", name):
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name not in (place, "edittheory"):
                raise
    raise RunError(f"the folder {name} is neither installed nor in this checkout; reinstall edittheory")


def load(folder: str, kind: str, name: str, names: tuple[str, ...], attribute: str) -> Any:
    """The declaration `attribute` in the module of that name in the package `folder`; it is imported now.

    Raises UnknownName, or RunError naming the extra that a study needs and this machine lacks.
    """
    if name not in names:
        raise UnknownName(kind, name, names)
    study = STUDIES.get(name if folder.endswith("experiments") else FIGURES[name], Study())
    try:
        return getattr(importlib.import_module(f"{folder}.{name}"), attribute)
    except ModuleNotFoundError as error:
        if study.extra is None:
            raise
        raise RunError(f"{kind} {name} needs {error.name}: pip install 'edittheory[{study.extra}]'") from None


def measured(name: str) -> dict[str, str]:
    """Times of presets as the manifests of committed rows have them: {preset: "44 s, 1 CPU core"}; empty where there are none."""
    if name in STUDIES and not STUDIES[name].timed:
        return {}
    folder = Path(str(package("paper_figures").__file__)).parent / "rows"
    try:
        manifest = json.loads((folder / name / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    hardware = manifest["sessions"][-1]["hardware"]
    cores = f"{hardware['cpu_count']} CPU core{'s' if hardware['cpu_count'] > 1 else ''}"
    machine = f"{hardware['processor']}, {cores}" if hardware["platform"] == "cpu" else hardware["device"]
    return {manifest["label"]: f"{_duration(manifest['wall_seconds'])} on {machine} (from its manifest)"}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
