"""Explore: charts that answer to the reader. A still picture of each stands first; Vega-Lite replaces it where scripts run."""

import functools
import json
import tomllib

import vl_convert
from altair import SCHEMA_VERSION

from site_pages import charts
from site_pages.links import ROOT

VEGA_LITE = ".".join(SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def pages() -> dict[str, str | bytes]:
    """explore.md, the charts as stills and as scripts, and the one script that draws them."""
    made: dict[str, str | bytes] = {"explore.md": "", "assets/vega.js": bundle()}
    lines = [
        "# Explore", "",
        "Choose what is shown in the menus under each chart; point at a mark for its numbers. All numbers are from committed rows. "
        "Without scripts, or in print, the still pictures stand.", "",
    ]  # fmt: skip
    texts = tomllib.loads((ROOT / "site_pages" / "texts" / "charts.toml").read_text(encoding="utf-8"))
    for name, make in charts.CHARTS.items():
        title, text = texts[name]["title"], texts[name]["text"]
        spec = make().to_dict()
        made[f"figures/explore_{name}.png"] = vl_convert.vegalite_to_png(
            json.dumps(spec), vl_version=VEGA_LITE, scale=2
        )
        made[f"assets/chart_{name}.js"] = (
            f"(window.charts = window.charts || {{}}).{name} = {json.dumps(spec)};\n"
        )
        lines += [
            f"## {title}", "", text, "",
            f'<figure class="chart" data-chart="{name}" markdown>', "", f"![{title}](figures/explore_{name}.png)", "", "</figure>",
            f'<script src="assets/chart_{name}.js"></script>', "",
        ]  # fmt: skip
    lines += ['<script src="assets/vega.js"></script>', '<script src="assets/explore.js"></script>', ""]
    made["explore.md"] = "\n".join(lines)
    return made


@functools.cache
def bundle() -> str:
    """Vega, Vega-Lite and vega-embed in one script, from the Python package that also draws the stills."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
