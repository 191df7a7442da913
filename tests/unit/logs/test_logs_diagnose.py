"""The page of `edittheory log diagnose`: what it says, what hostile texts can do in it (nothing), and how a browser takes it."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edittheory.logs import reading
from edittheory.logs.command import main
from edittheory.logs.report import diffs, gather, page
from tests import chromium

FIXTURES = Path(__file__).parents[2] / "fixtures" / "logs"
MAP = ["--map", "source=domain"]
HOSTILE = (
    "</p></style></title><script>alert(1)</script><img src=http://example.org/x onerror=alert(2)>\"'><b>&amp;"
)


def hostile_log(path: Path) -> Path:
    rows = [
        {"prompt": HOSTILE, "response": f"a {HOSTILE}", "edit": f"b {HOSTILE} c", "source": HOSTILE, "user": f"u{HOSTILE}"},
        {"prompt": "p", "response": "שלום x", "edit": "שלום y", "source": "rtl", "editor": "e\n<i>"},
        {"prompt": "p", "response": "שלום x", "edit": "x", "source": "rtl", "editor": "f"},
        {"prompt": "w" * 3000, "response": "w" * 3000, "edit": "v" * 3000, "source": "s" * 300},
        {"prompt": HOSTILE, "response": ""},
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def written(tmp_path: Path, log: Path, *options: str) -> str:
    assert main(["diagnose", str(log), "--out", str(tmp_path / "page.html"), *options]) == 0
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_page_says_what_the_other_commands_say(tmp_path, capsys):
    log = str(FIXTURES / "edits.jsonl")
    said = html.unescape(re.sub(r"<[^>]+>", " ", written(tmp_path, Path(log), *MAP)))
    capsys.readouterr()
    assert main(["costs", log, *MAP, "--by", "source", "--json"]) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    for group in groups:
        assert page.interval(group["words"]["mean"], ".3f") in said
        assert page.interval(group["accepted"], ".1%") in said
    assert "skipped: response is missing 1 lines 7" in re.sub(r"\s+", " ", said)
    for words in (
        "mail",
        "news",
        "no direction shown",
        "1 responses have two editors",
        "Write to Ann about Friday.",
    ):
        assert words in said
    assert "2026-11-01 to 2026-11-06" in said


def test_the_page_is_the_same_every_time_and_never_written_over(tmp_path, capsys):
    first = written(tmp_path, FIXTURES / "edits.jsonl", *MAP)
    assert main(["diagnose", str(FIXTURES / "edits.jsonl"), *MAP, "--out", str(tmp_path / "page.html")]) == 2
    assert "page.html exists; choose another --out, or write over it with --force" in capsys.readouterr().err
    assert written(tmp_path, FIXTURES / "edits.jsonl", *MAP, "--force") == first


@pytest.mark.parametrize("options, message", [
    (["--out", "page.pdf"], "--out must end in .html"),
    (["--out", "page.html", "--by", "mood"], "--by must be one of source"),
    (["--out", "page.html", "--level", "0"], "--level must be in (0, 0.5]"),
    (["--out", "page.html", "--samples", "-1"], "--samples must be in [0, 1000]"),
    (["--out", "no/such/page.html"], "cannot write no/such/page.html"),
    ([], "the following arguments are required: --out"),
])  # fmt: skip
def test_mistakes(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    assert main(["diagnose", str(FIXTURES / "edits.jsonl"), *MAP, *options]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note: ")]
    assert len(said) == 1 and message in said[0] and not list(tmp_path.iterdir())


def test_no_text_of_a_log_becomes_markup(tmp_path):
    made = written(tmp_path, hostile_log(tmp_path / "log.jsonl"))
    assert "<script" not in made and "<img" not in made and "<b>&amp;amp;" not in made and "<i>" not in made
    assert made.count("</style>") == made.count("</title>") == 1 and "&lt;script&gt;alert(1)" in made
    seen = Seen()
    seen.feed(made)
    assert page.POLICY in made and seen.tags <= ALLOWED and seen.names <= ATTRIBUTES
    assert set(seen.links) == {"data:,"}


ALLOWED = set(
    "html head meta link title style body main header section article h1 h2 p div span i b small em ul li figure".split()
)
ALLOWED |= set("figcaption table thead tbody tr th td ins del".split())
ATTRIBUTES = set(
    "lang charset http-equiv content name rel href class style dir title tabindex scope aria-hidden".split()
)


class Seen(HTMLParser):
    """Tags, names of attributes, and addresses in a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.names, self.links = set(), set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name in ("href", "src")]


TEXT = st.text(alphabet="ab <>&\"'\n.é\U0001f642", max_size=30)


@settings(max_examples=200, deadline=None)
@given(TEXT, TEXT)
def test_both_texts_can_be_read_off_a_difference(before, after):
    made = diffs.marked(before, after)
    old = html.unescape(re.sub(r"<ins>.*?</ins>|</?del>", "", made, flags=re.DOTALL))
    new = html.unescape(re.sub(r"<del>.*?</del>|</?ins>", "", made, flags=re.DOTALL))
    assert (old, new) == (before, after)


def test_long_texts_are_cut_and_it_is_said():
    assert diffs.marked("a " * 5000, "b " * 5000).endswith("(cut here)</em>")
    assert "(cut here)" not in diffs.marked("a " * 100, "b " * 100)


def test_samples_are_spread_over_the_sizes_and_bins_hold_every_edit():
    found = gather.everything(FIXTURES / "edits.jsonl", reading.Options({"source": "domain"}), samples=3)
    sizes = [one["words"] for one in found["samples"]]
    assert sizes == sorted(sizes) and sizes[0] == 0.375 and sizes[-1] == 1.0
    bins = found["sizes"]
    assert bins["unchanged"] + sum(bins["counts"]) + bins["above"] == found["used"]
    flat = gather.histogram(np.zeros(3), np.ones(3, bool))
    assert flat["unchanged"] == 3 and sum(flat["counts"]) == 0


def test_advice_is_shown_or_its_refusal(monkeypatch):
    learners = [
        {"learner": "SFT", "score": 1.0, "gain": 0.1, "gain_error": 0.0},
        {"learner": "DPO", "score": 2.0, "gain": 0.2, "gain_error": 0.05},
    ]
    told = {"source": "<mail>", "records": 6, "refused": None, "advice": "DPO", "assumes": "balance & luck", "not_separated_from": ["SFT"],
            "more_edits": 70, "beyond_the_rule": [], "learners": learners}  # fmt: skip
    seen = []

    class Advice:
        GENERAL = ("nothing",)
        Options = staticmethod(lambda *numbers: numbers)

        @staticmethod
        def advise(records, cost, given, options):
            seen.append((records.height, len(cost), given, options))
            return [told, {"source": "news", "records": 3, "refused": "too few"}]

    real = gather.importlib.import_module
    monkeypatch.setattr(
        gather.importlib, "import_module", lambda name: Advice if "advice" in name else real(name)
    )
    found = gather.everything(FIXTURES / "edits.jsonl", reading.Options({"source": "domain"}), level=0.02)
    assert seen == [(6, 6, None, (gather.BETA, 0.02, None))]
    made = page.render(found)
    for part in ("&lt;mail&gt;: 6 records", "<b>DPO</b>", "not separated from SFT. About 70 more", "No advice: too few.", "0.200 ± 0.098",
                 "balance &amp; luck", "It is assumed that nothing."):  # fmt: skip
        assert part in made
    assert "None is given: too few &amp; far." in page.render(
        found | {"advice": {"why_not": "no advice: too few & far"}}
    )


@pytest.mark.skipif(not chromium.found(), reason="needs chromium and chromedriver")
def test_a_browser_shows_it_without_errors_and_asks_nobody_for_anything(tmp_path):
    path = tmp_path / "page.html"
    written(tmp_path, hostile_log(tmp_path / "log.jsonl"))
    with chromium.browser(tmp_path / "profile") as page_:
        page_.requests()
        grounds = {}
        for width, dark in ((1200, False), (1200, True), (360, False), (360, True)):
            page_.open(path, width=width, dark=dark)
            assert page_.console() == [] and page_.requests() == [path.resolve().as_uri()]
            assert page_.evaluate("document.documentElement.scrollWidth") <= width
            assert page_.evaluate("document.scripts.length + document.images.length") == 0
            assert page_.evaluate("document.querySelectorAll('article del, article ins').length") >= 4
            grounds[dark] = page_.evaluate("getComputedStyle(document.body).backgroundColor")
        assert grounds[False] == "rgb(255, 255, 255)" != grounds[True]
