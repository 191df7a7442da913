"""What happens while a language model learns from edits: loss, drift, cost, and what its answers become, against the step."""

import matplotlib.figure
import numpy as np
import polars as pl

from edittheory.core.statistics import student_half

from . import style
from .figure import Figure
from .table_main import SHORT

LOOKS = {
    "SFT": style.look("sup"),
    "DPO": style.look("pref"),
    "Mix": style.Look("Mix", style.ORANGE, "P"),
    "Early": style.look("early"),
}
PANELS = {
    "loss": "loss (own)",
    "drift_edit": "drift of edits",
    "drift_response": "drift of responses",
    "cost": "edit cost",
    "recall": "recall of facts",
    "loops": "share with a loop",
    "length": "words an answer",
}
COLUMNS, LEVEL = 4, 0.05


def curve(rows: pl.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Steps, and the mean of a measure over replicates with its t interval (the mean alone where there is one).

    Steps that not every replicate recorded are left out: DPO's last one depends on how many pairs were edited.
    """
    found, replicates = [], rows["replicate"].n_unique()
    for (step,), part in rows.drop_nulls(name).sort("step").group_by("step", maintain_order=True):
        if len(part) < replicates:
            continue
        values = part[name].to_numpy().astype(float)
        half = student_half(values, LEVEL) if len(values) > 1 else 0.0
        found.append((step, values.mean(), values.mean() - half, values.mean() + half))
    step, mean, low, high = np.array(found).T
    return step, mean, low, high


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Two rows of panels for each task and log; bands are 95% t intervals over replicates."""
    data = rows["training_histories"]
    settings = data.select("task", "train_user").unique(maintain_order=True).rows()
    figure, axes = style.new_figure(2 * len(settings), COLUMNS, height=3.1 * len(settings), sharex=True)
    for block, (task, user) in enumerate(settings):
        mine = data.filter(task=task, train_user=user)
        panels = axes[2 * block : 2 * block + 2].ravel()
        for ax, (name, title) in zip(panels, PANELS.items(), strict=False):
            for method, look in LOOKS.items():
                part = mine.filter(pl.col("method") == method)
                step, mean, low, high = curve(part, name)
                if name in ("recall", "loops", "cost"):
                    low, high = np.maximum(low, 0), np.minimum(high, 2 if name == "cost" else 1)
                style.line(ax, step, mean, look, low, high, markersize=style.pt(2.5))
            if name.startswith("drift"):
                ax.axhline(0, color=style.GREY, linewidth=style.pt(0.6))
            ax.set_title(title)
        panels[0].set_title(f"{SHORT[task]}, {user} log\n{PANELS['loss']}")
        panels[3].tick_params(labelbottom=True)  # nothing is drawn below it
        panels[3].set_xlabel("step")
        legend = panels[len(PANELS)]
        legend.axis("off")
        if block == 0:
            handles = panels[0].get_lines()[: len(LOOKS)]
            legend.legend(handles, list(LOOKS), loc="center left", borderaxespad=0)
    for ax in axes[-1]:
        ax.set_xlabel("step")
    style.key(
        figure,
        f"Means over {data['replicate'].n_unique()} replicates (reference policy, log and order of training) with 95% t-intervals as "
        "bands. Loss: each learner's own. Drift: of log π since the start, on pairs of the training. The last four: greedy answers to "
        "held-out contexts; cost with the strong user. Mix: DPO + token-mean NLL; Early: DPO + summed NLL.",
    )
    return figure


FIGURE = Figure(
    name="llm_histories",
    needs=("training_histories",),
    draw=draw,
    summary="Loss, drift of edits and responses, cost, recall, loops and length while language models learn from edits.",
)
