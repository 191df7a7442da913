"""Pictures of a page as HTML and CSS alone: they keep their type size on a phone, follow light and dark, and need no script."""

import html
from collections.abc import Sequence
from typing import Any


def percent(part: float | int, whole: float | int) -> str:
    """A share of a width, as CSS writes it."""
    return f"{100.0 * min(max(part / whole if whole > 0 else 0.0, 0.0), 1.0):.2f}%"


def ticks(top: float | int, unit: str = "") -> str:
    """A line of five evenly spaced numbers from 0 to `top`."""
    marks = "".join(f"<span>{_number(top * step / 4)}{unit}</span>" for step in range(5))
    return f'<div class="ticks" aria-hidden="true">{marks}</div>'


def _number(value: float | int) -> str:
    return f"{value:.3g}"


def intervals(
    rows: Sequence[tuple[str, Sequence[float | None], int]], title: str, top: float | None = None
) -> str:
    """A dot with its interval on a line for each (label, (middle, low, high), edits); low and high may be None.

    The axis goes from 0 to `top`, by default the largest end.
    """
    ends = [value for _, values, _ in rows for value in values if value is not None]
    top = max([*ends, 1e-9]) if top is None else top
    parts = []
    for label, (middle, low, high), size in rows:
        assert middle is not None
        whisker = ""
        if low is not None and high is not None:
            start, width = percent(low, top), percent(min(high, top) - max(low, 0.0), top)
            whisker = f'<i class="whisker" style="left:{start};width:{width}"></i>'
        said = f"{_number(middle)}" + (
            f" [{_number(low)}, {_number(high)}]" if low is not None and high is not None else ""
        )
        parts.append(
            f'<div class="row"><span class="label" dir="auto">{html.escape(label)} <small>{size:,}</small></span>'
            f'<span class="track">{whisker}<b class="dot" style="left:{percent(middle, top)}"></b></span>'
            f'<span class="value">{said}</span></div>'
        )
    axis = f'<div class="row axis"><span class="label"></span>{ticks(top)}<span class="value"></span></div>'
    return _figure(title, f'<div class="rows">{"".join(parts)}{axis}</div>')


def histogram(sizes: dict[str, Any], title: str) -> str:
    """Bars of `gather.histogram`: unchanged texts, the bins, and what lies above them."""
    edges, counts = sizes["edges"], sizes["counts"]
    step = edges[1] - edges[0]
    bars = [("unchanged", sizes["unchanged"], "same")]
    bars += [(f"{edges[k]:.3g} to {edges[k] + step:.3g}", n, "bin") for k, n in enumerate(counts)]
    if sizes["above"]:
        bars.append((f"above {edges[-1]:.3g}", sizes["above"], "above"))
    most = max([n for _, n, _ in bars] + [1])
    drawn = "".join(
        f'<span class="bar {kind}" style="height:{percent(n, most)}" title="{html.escape(label)}: {n:,}"></span>'
        for label, n, kind in bars
    )
    legend = (
        '<span class="key same"></span> left as it was <span class="key bin"></span> changed, from 0 to '
        + _number(edges[-1])
    )
    legend += f' <span class="key above"></span> above: {sizes["above"]:,}' if sizes["above"] else ""
    body = f'<div class="columns" aria-hidden="true"><span class="most">{most:,}</span>{drawn}</div>'
    return _figure(title, f'{body}<p class="legend">{legend}</p>')


def directions(tests: Sequence[dict[str, Any]], title: str) -> str:
    """For each feature, edits that lowered it to the left and edits that raised it to the right of one line."""
    most = max([max(one["raised"], one["changed"] - one["raised"]) for one in tests] + [1])
    parts = []
    for one in tests:
        down, up = one["changed"] - one["raised"], one["raised"]
        kind = " shown" if one["rejected"] else ""
        parts.append(
            f'<div class="row"><span class="label">{html.escape(one["feature"])}</span>'
            f'<span class="track two{kind}"><i class="down" style="width:{percent(down, 2 * most)}"></i>'
            f'<i class="up" style="width:{percent(up, 2 * most)}"></i></span>'
            f'<span class="value">{down:,} down, {up:,} up</span></div>'
        )
    return _figure(title, f'<div class="rows">{"".join(parts)}</div>')


def _figure(title: str, body: str) -> str:
    return f"<figure><figcaption>{html.escape(title)}</figcaption>{body}</figure>"
