"""Do edits push texts one way? A sequential test for each feature of a text, valid at every n, and how far editors agree.

Null hypothesis of a feature: given everything before, the next edit that changes the feature is as likely to raise it as to lower
it. Evidence against it is the e-process of a coin with a Beta(1/2, 1/2) mixture over its bias; by Ville's inequality it exceeds
1 / level at any n with chance at most `level` if the null is true. Features share the level (Bonferroni).

What this says: texts alone show that edits have a direction (a taste, a house style, a habit). They cannot show whether that
direction is a habit that breaks balance or the preference that the costs reflect: that needs responses seen more than once, or
the log-probabilities of candidate policies.
"""

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from rapidfuzz.distance import Levenshtein
from scipy.special import betaln

from edittheory.core.statistics import clopper_pearson
from edittheory.core.validation import check_probability
from edittheory.text.distance import word_tokens

GREETING = re.compile(r"^\s*(hi|hello|hey|dear|good (morning|afternoon|evening))\b", re.IGNORECASE)
CLOSING = re.compile(
    r"\b(best|regards|sincerely|cheers|thanks|thank you|yours)\b[^\n]{0,30}\s*$", re.IGNORECASE
)
FEATURES: Mapping[str, Callable[[str], float]] = {
    "words": lambda text: float(len(word_tokens(text))),
    "sentences": lambda text: float(len(re.findall(r"[.!?。！？]+", text))),
    "lines": lambda text: float(text.count("\n")),
    "bullets": lambda text: float(len(re.findall(r"^\s*(?:[-*•]|\d+[.)])\s", text, re.MULTILINE))),
    "question marks": lambda text: float(text.count("?") + text.count("？")),
    "exclamation marks": lambda text: float(text.count("!") + text.count("！")),
    "greeting": lambda text: float(bool(GREETING.search(text))),
    "closing": lambda text: float(bool(CLOSING.search(text))),
    "capitals": lambda text: float(sum(letter.isupper() for letter in text)),
    "digits": lambda text: float(sum(letter.isdigit() for letter in text)),
}
"""What is measured of a text; another feature is another line."""


MOST_PAIRS = 20
"""Pairs of editors that are listed, those with most texts in common."""


class Direction(NamedTuple):
    """One feature of one group of edits.

    changed: edits that changed it; raised: of those, raised it; log_e: the largest log-evidence so far against "as often up as
    down"; rejected: it reached log(1 / level); needed: how many edits of the group had been read by then, or None.
    """

    feature: str
    group: str
    edits: int
    changed: int
    raised: int
    log_e: float
    rejected: bool
    needed: int | None


def log_evidence(raised: np.ndarray) -> np.ndarray:
    """log of the mixture e-process after each of a sequence of ups (True) and downs, (n,): Beta(1/2, 1/2) against a fair coin."""
    ups = np.cumsum(raised)
    count = np.arange(1, len(raised) + 1)
    return betaln(ups + 0.5, count - ups + 0.5) - betaln(0.5, 0.5) + count * math.log(2.0)


def directions(records: pl.DataFrame, by: str | None = None, level: float = 0.05) -> list[Direction]:
    """The test of every feature for all edits, or for each value of the column `by`; the level is divided over all of them.

    Records are read in the order of their time where all have one, else of their lines.
    """
    check_probability("level", level, open_left=True, open_right=True)
    ordered = records.sort("time" if records["time"].null_count() == 0 else "line", maintain_order=True)
    groups = [("all", ordered)]
    if by is not None:
        groups = [
            (str(key[0] if key[0] is not None else "(none)"), rows)
            for key, rows in ordered.group_by(by, maintain_order=True)
        ]
    threshold = math.log(len(FEATURES) * len(groups) / level)
    return [_one(name, of, group, rows, threshold) for group, rows in groups for name, of in FEATURES.items()]


def _one(
    name: str, of: Callable[[str], float], group: str, rows: pl.DataFrame, threshold: float
) -> Direction:
    change = np.array(
        [of(edit) - of(response) for response, edit in rows.select("response", "edit").iter_rows()]
    )
    moved = np.flatnonzero(change != 0)
    raised = change[moved] > 0
    if not len(moved):
        return Direction(name, group, len(change), 0, 0, 0.0, False, None)
    evidence = log_evidence(raised)
    crossed = np.flatnonzero(evidence >= threshold)
    needed = int(moved[crossed[0]]) + 1 if len(crossed) else None
    top = float(max(evidence.max(), 0.0))
    return Direction(name, group, len(change), len(moved), int(raised.sum()), top, needed is not None, needed)


class Agreement(NamedTuple):
    """Where several people edited one response: how far their edits are from each other, and from the response.

    texts: responses with two or more editors; between: mean word distance of two editors' edits over the words of the response;
    from_response: mean cost of those edits; same: share of pairs that are equal. Editors who agree have between well below
    from_response; with none in common the two would be of one size. closer: share of texts whose edits are nearer to each other
    than to the response, of those where the two differ, with an exact 95% interval (texts taken as independent); by_pair: of each two
    editors with texts in common (the 20 with most), how many, between, and same.
    """

    texts: int
    pairs: int
    between: float | None
    from_response: float | None
    same: float | None
    closer: tuple[float, float, float] | None = None
    by_pair: Sequence[Mapping[str, Any]] = ()


def agreement(records: pl.DataFrame) -> Agreement:
    """Over all (prompt, response) that different editors (or users, where no editor is named) edited."""
    who = "editor" if records["editor"].is_not_null().any() else "user"
    texts, between, own, same, nearer = 0, [], [], [], []
    pairs: dict[tuple[str, str], list[tuple[float, bool]]] = {}
    for _, rows in records.filter(pl.col(who).is_not_null()).group_by(
        "prompt", "response", maintain_order=True
    ):
        firsts = rows.unique(who, keep="first", maintain_order=True).sort(who)
        edits, names = firsts["edit"].to_list(), firsts[who].to_list()
        if len(edits) < 2:
            continue
        texts += 1
        response = word_tokens(rows["response"][0])
        tokens = [word_tokens(edit) for edit in edits]
        mine = [Levenshtein.distance(response, one) / max(len(response), 1) for one in tokens]
        apart = []
        for (first, a), (second, b) in itertools.combinations(zip(tokens, names, strict=True), 2):
            apart.append(Levenshtein.distance(first, second) / max(len(response), 1))
            same.append(first == second)
            pairs.setdefault((a, b), []).append((apart[-1], same[-1]))
        own += mine
        between += apart
        nearer += [np.mean(apart) < np.mean(mine)] if np.mean(apart) != np.mean(mine) else []
    if not texts:
        return Agreement(0, 0, None, None, None)
    closer = None
    if nearer:
        low, high = clopper_pearson(sum(nearer), len(nearer))
        closer = (float(np.mean(nearer)), float(low), float(high))
    most = sorted(pairs.items(), key=lambda item: (-len(item[1]), item[0]))[:MOST_PAIRS]
    by_pair = [
        {"editors": list(names), "texts": len(found), "between": float(np.mean([d for d, _ in found])),
         "same": float(np.mean([equal for _, equal in found]))}
        for names, found in most
    ]  # fmt: skip
    means = [float(np.mean(values)) for values in (between, own, same)]
    return Agreement(texts, len(between), means[0], means[1], means[2], closer, by_pair)


def summary(records: pl.DataFrame, by: str | None, level: float) -> dict[str, Any]:
    """Both, as a JSON-like dict."""
    found: Sequence[Direction] = directions(records, by, level)
    return {
        "hypothesis": "given the past, an edit that changes the feature raises it with chance 1/2",
        "level": level,
        "tests": len(found),
        "directions": [one._asdict() for one in found],
        "agreement": agreement(records)._asdict(),
    }
