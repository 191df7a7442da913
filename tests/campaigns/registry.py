"""The campaigns by name; each is built when it is asked for, since some need extras or the system's help."""

from collections.abc import Callable

from tests.campaigns.campaign import KILLS, Campaign


def _kills() -> Campaign:
    from tests.campaigns import kills
    from tests.campaigns.cases import CASES

    benches: dict = {}

    def run(cell, folder):
        bench = benches.setdefault(folder, kills.Bench(folder))
        return [kills.trial(bench, CASES[cell["number"] % len(CASES)], cell["number"])]

    config = {"seed": 0, "kills": 50, "cases": {case.name: case.words for case in CASES}}
    cells = [{"number": number} for number in range(50)]
    summary = "SIGKILL to the whole process group; the same command ends with the same bytes"
    return Campaign("campaign_kills", summary, config, cells, run, KILLS)


BUILT: dict[str, Callable[[], Campaign]] = {"campaign_kills": _kills}
NAMES = tuple(BUILT)


def get(name: str) -> Campaign:
    """The campaign of that name."""
    return BUILT[name]()
