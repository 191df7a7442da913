"""The notebooks run as plain scripts, and what they print is what their texts say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.py"))


def printed(name: str) -> str:
    done = subprocess.run(
        [sys.executable, f"docs/notebooks/{name}.py"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_notebooks_are_text_with_a_title():
    assert len(NOTEBOOKS) >= 4
    for path in NOTEBOOKS:
        assert path.read_text(encoding="utf-8").startswith("# %% [markdown]\n# # "), path


@pytest.mark.slow
def test_first_problem():
    text = printed("first_problem")
    means = {
        n: [float(value) for value in re.findall(r"\d\.\d{4}", line)]
        for n, line in re.findall(r"n = +([\d,]+)(.*)", text)
    }
    sup, pref, plugin = means["1,000"]
    assert sup > 0.01 > max(pref, plugin)  # SUP keeps its bias
    assert means["100"][0] < means["20"][1]  # with few edits labels beat preferences


@pytest.mark.slow
def test_own_learner_and_claim():
    text = printed("own_learner_and_claim")
    assert re.search(r"pinsker: 0 of \d+ violated", text) and "pinsker: stands" in text
    assert "hopeful: refuted in float64" in text
    assert len(re.findall(r"mean SubOpt \d\.\d{4} \+- \d\.\d{4}", text)) == 2


@pytest.mark.slow
def test_certificates():
    balanced, habit = (float(share) for share in re.findall(r"wrong in ([\d.]+)%", printed("certificates")))
    assert balanced <= 10 < habit
    certificate, realised = re.search(
        r"certificate ([\d.]+), true SubOpt ([\d.]+)", printed("certificates")
    ).groups()
    assert float(realised) < float(certificate)


def test_own_log():
    text = printed("own_log")
    assert "61 lines read, 60 used" in text and "response is missing" in text
    assert re.search(r"greeting: changed by 40 edits, raised by 40: a direction", text)
    assert '"chosen": "Dear all' in text
