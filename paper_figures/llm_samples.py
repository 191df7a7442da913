"""A page of what was written: contexts, responses of each policy, and what the user made of them."""

import polars as pl

from edittheory.language.evaluate import summaries

from .figure import Figure

METHODS = ("base", "SFT", "DPO", "Early", "RL")


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


FIGURE = Figure(
    name="llm_samples",
    needs=("tiny_llm",),
    summary="What the policies write, and what a strong user makes of it",
    texts=texts,
)
