"""Pages of docs/ read the same in the site as where CommonMark is shown: emphasis, lists, code, tables."""

import html as html_module
import re
from pathlib import Path

import pytest

from site_pages import links

markdown = pytest.importorskip("markdown")
pytest.importorskip("pymdownx")
import markdown_it  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["CHANGELOG.md", "benchmarks/README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))]


def told(html: str) -> dict[str, list[str]]:
    """Texts of what is emphasised or listed, without tags and spaces."""
    html = re.sub(r"<pre>.*?</pre>", "", html, flags=re.DOTALL)
    found = {}
    for tag in ("em", "strong", "td", "h2", "h3"):
        texts = re.findall(rf"<{tag}[ >].*?</{tag}>", html, re.DOTALL)
        found[tag] = [html_module.unescape(re.sub(r"<[^>]*>|\s", "", text)) for text in texts]
    found["li"] = [str(html.count("<li>"))]
    return found


@pytest.mark.parametrize("page", PAGES)
def test_a_page_reads_as_its_source(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    theirs = told(markdown_it.MarkdownIt("commonmark").enable("table").render(text))
    ours = told(
        markdown.markdown(
            links.lists(text),
            extensions=["tables", "pymdownx.betterem", "pymdownx.superfences", "attr_list", "md_in_html"],
            extension_configs={"pymdownx.betterem": {"smart_enable": "all"}},
        )
    )
    for tag, texts in theirs.items():
        assert ours[tag] == texts, tag
