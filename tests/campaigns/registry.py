"""The campaigns by name; each is built when it is asked for."""

import functools
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.campaigns.campaign import KILLS, Campaign

KILL_COUNT, FLIPS, EXAMPLES, LOGS, LOST = 50, 30, 500, 200, 12


@functools.lru_cache(maxsize=1)
def bench_of(folder: Path) -> Any:
    """The bench in that folder, the same for all campaigns that use it."""
    from tests.campaigns.kills import Bench

    return Bench(folder)


def _kills() -> Campaign:
    from tests.campaigns import kills
    from tests.campaigns.cases import CASES

    def run(cell: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
        return [kills.trial(bench_of(folder), CASES[cell["number"] % len(CASES)], cell["number"])]

    config = {"seed": 0, "kills": KILL_COUNT, "cases": {case.name: case.words for case in CASES}}
    cells = [{"number": number} for number in range(KILL_COUNT)]
    summary = "SIGKILL to the whole process group; the same command ends with the same bytes"
    return Campaign("campaign_kills", summary, config, cells, run, KILLS)


def _listed(
    name: str, summary: str, found: Sequence[tuple[str, str, Any]], config: Mapping[str, Any]
) -> Campaign:
    """A campaign of (case, kind, trial), a cell each."""

    def run(cell: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
        case, kind, trial = found[cell["number"]]
        said = trial(bench_of(folder), folder / name / str(cell["number"]))
        return [
            {
                "campaign": name,
                "case": case,
                "kind": kind,
                "number": cell["number"],
                "ok": not said,
                "said": said,
            }
        ]

    cells = [{"number": number, "case": case, "kind": kind} for number, (case, kind, _) in enumerate(found)]
    return Campaign(name, summary, config, cells, run)


def _faults() -> Campaign:
    from tests.campaigns import faults

    summary = "signals, full and read-only disks, two processes, other configurations and code, damaged files"
    return _listed(
        "campaign_faults", summary, faults.trials(flips=FLIPS), {"flips": FLIPS, "mounts": faults.can_mount()}
    )


def _malformed() -> Campaign:
    from tests.campaigns import malformed_inputs, malformed_logs

    def run(cell: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
        if cell["family"] != "any log":
            return malformed_inputs.rows(cell["family"], folder)
        row = {
            "campaign": "malformed",
            "case": "any log",
            "kind": "refused, or its bad lines counted",
            "said": "",
        }
        return [
            row | {"number": number, "ok": said == "", "said": said}
            for number, said in malformed_logs.judged(LOGS)
        ]

    cells = [{"family": family} for family in (*malformed_inputs.NAMES, "any log")]
    summary = "malformed inputs over library, files and command lines: refused by name, nothing written"
    return Campaign("campaign_malformed", summary, {"logs": LOGS}, cells, run)


def _fuzzed(target: Callable[..., None], bench: Any, folder: Path) -> str:
    from tests.campaigns import fuzz

    return fuzz.attack(target, EXAMPLES)


def _fuzz() -> Campaign:
    from tests.campaigns import fuzz

    found = [
        (
            target.__name__,
            f"{EXAMPLES} examples",
            lambda bench, folder, target=target: fuzz.attack(target, EXAMPLES),
        )
        for target in fuzz.TARGETS
    ]
    summary = "random numbers into public entry points: a named refusal or a number that keeps its promise"
    return _listed("campaign_fuzz", summary, found, {"examples": EXAMPLES})


def _determinism() -> Campaign:
    from tests.campaigns import determinism

    summary = "1, 2 and 4 devices, batch widths, several processes: the same rows"
    return _listed(
        "campaign_determinism", summary, determinism.trials(), {"tolerance": determinism.TOLERANCE}
    )


def _pythons() -> Campaign:
    from tests.campaigns import determinism

    found = determinism.pythons()
    config = {"pythons": [kind for _, kind, _ in found], "tests": list(determinism.SMOKE)}
    return _listed(
        "campaign_pythons", "a fresh clone installed and tried with every Python that is here", found, config
    )


def _nodes() -> Campaign:
    from tests.slurm import lost_nodes

    whole: dict[str, str] = {}

    def run(cell: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
        if not whole:
            whole.update(lost_nodes.undisturbed(folder / "nodes-whole"))
        return [lost_nodes.trial(folder, cell["number"], whole)]

    config = {"seed": 0, "trials": LOST, "sweep": list(lost_nodes.SWEEP), "cell_seconds": lost_nodes.SLEEP}
    cells = [{"number": number} for number in range(LOST)]
    summary = "a node of a real Slurm dies in the middle of a sweep; the others finish it with the same bytes"
    return Campaign("campaign_nodes", summary, config, cells, run, lost_nodes.NODES)


def lacking(name: str) -> str | None:
    """What this machine lacks for a campaign, in one line; None if it can be run."""
    if name != "campaign_nodes":
        return None
    from tests.slurm.nodes import Missing, check

    try:
        check()
    except Missing as error:
        return str(error)
    return (
        None
        if importlib.util.find_spec("submitit")
        else "submitit is missing; install it: pip install 'submitit>=1.5'"
    )


BUILT: dict[str, Callable[[], Campaign]] = {
    "campaign_kills": _kills,
    "campaign_faults": _faults,
    "campaign_malformed": _malformed,
    "campaign_fuzz": _fuzz,
    "campaign_determinism": _determinism,
    "campaign_pythons": _pythons,
    "campaign_nodes": _nodes,
}
NAMES = tuple(BUILT)


def get(name: str) -> Campaign:
    """The campaign of that name."""
    return BUILT[name]()
