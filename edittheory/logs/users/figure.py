"""The map of who wins for a fitted user, drawn."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import matplotlib.figure
import matplotlib.patches

from edittheory.logs.users.phase import LEARNERS, Cell
from edittheory.runs.files import write_atomically

DARK = ("SUP", "PREF", "RL")
COLORS = dict(zip(LEARNERS, ("#0072B2", "#D55E00", "#CC79A7", "#009E73", "#E69F00"), strict=True))


def draw(cells: Sequence[Cell], out: Path) -> None:
    """One panel a knob: its values upwards, edits to the right; a cell has the winner's colour, pale where it is not separated."""
    knobs = list(dict.fromkeys(cell.knob for cell in cells))
    sizes = list(dict.fromkeys(cell.n for cell in cells))
    with matplotlib.rc_context({"font.size": 9, "pdf.fonttype": 42}):
        picture = matplotlib.figure.Figure(figsize=(3.6 * len(knobs), 3.4), layout="constrained")
        for ax, knob in zip(picture.subplots(1, len(knobs), squeeze=False)[0], knobs, strict=True):
            mine = [cell for cell in cells if cell.knob == knob]
            rows = list(
                dict.fromkeys((cell.value, cell.fitted) for cell in sorted(mine, key=lambda c: c.value))
            )
            for cell in mine:
                x, y = sizes.index(cell.n), rows.index((cell.value, cell.fitted))
                strong = 0.95 if cell.separated else 0.35
                ax.add_patch(
                    matplotlib.patches.Rectangle(
                        (x, y), 1, 1, facecolor=COLORS[cell.best], alpha=strong, edgecolor="white"
                    )
                )
                label = cell.best.replace("RL plug-in", "RL\nplug-in")
                ax.text(
                    x + 0.5,
                    y + 0.5,
                    label,
                    ha="center",
                    va="center",
                    fontsize=7.5,
                    color="white" if cell.separated and cell.best in DARK else "black",
                )
            at = next(place for place, (_, fitted) in enumerate(rows) if fitted)
            ax.add_patch(
                matplotlib.patches.Rectangle(
                    (0, at), len(sizes), 1, fill=False, edgecolor="black", linewidth=2
                )
            )
            ax.set(
                xlim=(0, len(sizes)),
                ylim=(0, len(rows)),
                xlabel="edits to learn from",
                ylabel=f"{knob} of the user",
            )
            ax.set_xticks([k + 0.5 for k in range(len(sizes))], [f"{n:,}" for n in sizes])
            ax.set_yticks(
                [k + 0.5 for k in range(len(rows))],
                [f"{v:.2g}" + (" (fitted)" if f else "") for v, f in rows],
            )
            ax.tick_params(length=0)
            for spine in ax.spines.values():
                spine.set_visible(False)
        picture.suptitle(
            "Learner of least mean SubOpt; pale: not separated from another; frame: your users", fontsize=9
        )
        kind = "pdf" if out.suffix == ".pdf" else "png"
        write_atomically(out, lambda temporary: picture.savefig(temporary, format=kind, dpi=150))
