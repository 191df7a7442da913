"""A page of what was written: contexts, responses of each policy, and what the user made of them."""

import textwrap

import matplotlib.figure
import polars as pl

from edittheory.language.evaluate import summaries

from . import style
from .figure import Figure

METHODS = ("base", "SFT", "DPO", "Early", "RL")
ON_PAGE = ("base", "SFT", "DPO")
WIDTH = 74


def samples(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with texts, of the full log and the strong test user, one context of each source (the first)."""
    found = summaries.full_log(rows).filter(
        pl.col("context").is_not_null() & (pl.col("test_user") == "strong") & pl.col("method").is_in(METHODS)
    )
    first = found.filter(
        (pl.col("base_seed") == pl.col("base_seed").min())
        & (pl.col("train_seed") == pl.col("train_seed").min())
    )
    rounds = first.group_by("task", "source", maintain_order=True).agg(pl.col("round").min())
    return first.join(rounds, on=["task", "source", "round"], how="semi")


def texts(rows, manifests) -> dict[str, str]:
    """All sources, policies and training users as Markdown."""
    data = samples(rows["tiny_llm"])
    lines = [
        "# Contexts, responses, edits",
        "The first test context of each source: what each policy (trained on the log of the user named) answers, and "
        "what a strong user makes of it. Cost 0 means accepted as it is.",
    ]
    for (task, source), part in data.group_by("task", "source", maintain_order=True):
        lines += [f"## {task}: {source}", f"Context: {part['context'][0]}"]
        for row in part.iter_rows(named=True):
            if row["method"] == "base" and row["train_user"] != part["train_user"][0]:
                continue
            who = "base" if row["method"] == "base" else f"{row['method']}, {row['train_user']} log"
            wrong = [
                item.split(":")[0].replace("_", " ")
                for item in row["satisfied"].split()
                if item.endswith(":0")
            ]
            lines.append(
                f"**{who}**: cost {row['cost']:.2f}"
                + (f"; lacks {', '.join(wrong)}" if wrong else "; accepted")
            )
            lines.append(_quoted(row["response"]))
            if row["edit"] != row["response"]:
                lines += ["edited to", _quoted(row["edit"])]
    return {".md": "\n\n".join(lines)}


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}  " if line else ">" for line in (text or "(nothing)").splitlines())


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """One context of each task: the reference's response, its edit, and the responses of SFT and DPO."""
    data = samples(rows["tiny_llm"])
    columns = []
    for task in data["task"].unique(maintain_order=True):
        part = data.filter(pl.col("task") == task)
        source = part["source"].unique(maintain_order=True)[0]
        part = part.filter(pl.col("source") == source)
        blocks = [(f"{task}: the context", part["context"][0], style.BLACK)]
        base = part.filter(pl.col("method") == "base").row(0, named=True)
        blocks.append((f"reference policy (cost {base['cost']:.2f})", base["response"], style.GREY))
        blocks.append(("what the strong user makes of it", base["edit"], style.BLACK))
        for name in ON_PAGE[1:]:
            for row in part.filter(pl.col("method") == name).iter_rows(named=True):
                colour = {"SFT": style.BLUE, "DPO": style.VERMILLION}[name]
                blocks.append(
                    (f"{name}, {row['train_user']} log (cost {row['cost']:.2f})", row["response"], colour)
                )
        columns.append(blocks)
    wrapped = [[(title, _wrap(text), colour) for title, text, colour in blocks] for blocks in columns]
    most = max(sum(1.9 + len(text) for _, text, _ in blocks) for blocks in wrapped)
    height = 0.125 * (most + 1)
    figure, axes = style.new_figure(1, len(wrapped), width=style.PAGE, height=height)
    for ax, blocks in zip(axes[0], wrapped, strict=True):
        ax.axis("off")
        ax.set_xlim(0, 1)
        ax.set_ylim(most + 1, 0)
        y = 0.5
        for title, text, colour in blocks:
            ax.text(0, y, title, fontsize=6.5, fontweight="bold", color=colour, va="center")
            for line in text:
                y += 1
                ax.text(0.01, y, line, fontsize=6, va="center")
            y += 1.9
    return figure


def _wrap(text: str) -> list[str]:
    shown = "".join(character if ord(character) < 0x2E80 else "☺" for character in text or "(nothing)")
    return [part for line in shown.splitlines() for part in (textwrap.wrap(line, WIDTH) or [""])]


FIGURE = Figure(
    name="llm_samples",
    needs=("tiny_llm",),
    draw=draw,
    summary="What the policies write, and what a strong user makes of it; all sources in the Markdown beside it.",
    texts=texts,
)
