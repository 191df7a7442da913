"""The built site in a browser: quiet, self-contained, searchable, alive; and its links lead somewhere."""

import html.parser
import urllib.parse
from pathlib import Path

import pytest

from tests.site.conftest import ROOT, SITE, Browser

SHOTS = ROOT / "build" / "screenshots"
LOOKED_AT = ("index.html", "start/index.html", "gallery/index.html", "explore.html", "statements.html", "statements/b2-b.html",
             "findings.html", "theory.html", "notebooks/first_problem.html", "reference/glossary.html")  # fmt: skip


class Links(html.parser.HTMLParser):
    """ids: what can be linked to; links: targets of a elements; needs: what the page loads."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.needs: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids |= {value for name in ("id", "name") if (value := found.get(name))}
        if tag == "a" and found.get("href"):
            self.links.append(str(found["href"]))
        elif tag == "link" and found.get("rel") not in ("canonical", "prev", "next"):
            self.needs.append(str(found.get("href") or ""))
        elif found.get("src"):
            self.needs.append(str(found["src"]))


def test_links_lead_somewhere_and_nothing_is_loaded_from_elsewhere(pages):
    parsed = {page: Links((SITE / page).read_text(encoding="utf-8")) for page in pages}
    faults = []
    for page, found in parsed.items():
        for target in found.needs:
            if urllib.parse.urlsplit(target).scheme not in ("", "data"):
                faults.append(f"{page} loads {target}")
        for target in (*found.links, *found.needs):
            parts = urllib.parse.urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            path = (SITE / page).parent / urllib.parse.unquote(parts.path) if parts.path else SITE / page
            path = path / "index.html" if path.is_dir() else path
            other = (
                parsed.get(str(Path(path).resolve().relative_to(SITE.resolve()))) if path.exists() else None
            )
            if not path.exists():
                faults.append(f"{page}: no {target}")
            elif parts.fragment and other and urllib.parse.unquote(parts.fragment) not in other.ids:
                faults.append(f"{page}: no place {target}")
    assert faults == []
    assert len(pages) > 100


def test_every_page_opens_without_complaint_and_asks_no_other_machine(browser: Browser, pages):
    browser.complaints()
    faults = {}
    for page in pages:
        browser.open(page)
        if said := browser.complaints():
            faults[page] = said
    assert faults == {}


@pytest.mark.parametrize(
    "words, page", [("B2(b)", "statements/b2-b.html"), ("nobody expected", "findings.html")]
)
def test_search_finds(browser: Browser, words, page):
    browser.open("index.html")
    box = browser.wait("return document.querySelector('[data-md-component=search-query]')")
    box.click()
    box.send_keys(words)
    found = browser.wait(
        "const links = [...document.querySelectorAll('.md-search-result__link')].map(one => one.href);"
        "return links.length ? links : null"
    )
    assert any(page in link for link in found), found


def test_the_filter_of_statements_filters(browser: Browser):
    browser.open("statements.html")
    count = "return [...document.querySelectorAll('#statements tbody tr')].filter(row => !row.hidden).length"
    before = browser.run(count)
    browser.driver.find_element("css selector", "input.filter").send_keys("PREF fast")
    after = browser.run(count)
    assert before > 50 and 1 <= after < 10


def test_charts_replace_their_stills_and_react(browser: Browser):
    browser.open("explore.html")
    browser.wait(
        "const all = [...document.querySelectorAll('figure[data-chart]')];"
        "return all.length > 3 && all.every(one => one.dataset.state === 'drawn')"
    )
    assert browser.run(
        "return [...document.querySelectorAll('figure[data-chart] img')].every(one => !one.offsetHeight)"
    )
    for chart in ("phase_map", "late_regret", "medley_cells"):
        marks = f"return document.querySelector('figure[data-chart={chart}] svg').outerHTML"
        before = browser.run(marks)
        choose = (
            f"const menu = document.querySelectorAll('figure[data-chart={chart}] select')[0];"
            "menu.selectedIndex = menu.options.length - 1; menu.dispatchEvent(new Event('change', {bubbles: true}));"
            "menu.dispatchEvent(new Event('input', {bubbles: true})); return menu.value"
        )
        chosen = browser.run(choose)
        assert chosen is not None
        browser.wait(
            f"return document.querySelector('figure[data-chart={chart}] svg').outerHTML !== arguments[0]",
            before,
        )
    assert browser.complaints() == []


def test_without_scripts_the_stills_stand(browser: Browser):
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open("explore.html")
        stills = browser.driver.find_elements("css selector", "figure[data-chart] img")
        assert len(stills) > 3 and all(still.size["height"] > 100 for still in stills)
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize(
    "look, width, dark", [("light", 1280, False), ("dark", 1280, True), ("phone", 390, False)]
)
def test_pages_fit_their_screen(browser: Browser, look, width, dark):
    """Pictures of the main pages are left in build/screenshots, to be looked at."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    wide = {}
    for page in LOOKED_AT:
        browser.open(page, width, 1500, dark)
        browser.run("localStorage.clear()")  # the scheme of an earlier visit
        browser.open(page, width, 1500, dark)
        if page == "explore.html":
            browser.wait("return document.querySelectorAll('figure[data-state=drawn]').length > 3")
        assert browser.run("return document.body.dataset.mdColorScheme") == ("slate" if dark else "default")
        if (over := browser.run("return document.documentElement.scrollWidth")) > width:
            wide[page] = over
        browser.driver.save_screenshot(
            str(SHOTS / f"{look}_{page.replace('/', '_').removesuffix('.html')}.png")
        )
    assert wide == {}
