"""What the tests of the site share: the built pages, and a browser that reports what it asks for."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "site"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
LOCAL = ("file:", "data:", "blob:", "about:", "chrome:")


class Browser:
    """Headless Chromium on the pages of the built site, opened from the disk."""

    def __init__(self, driver: Any):
        self.driver = driver

    def open(self, page: str, width: int = 1280, height: int = 1500, dark: bool = False) -> None:
        """Open a page at a width in pixels and in a colour scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get((SITE / page).as_uri())

    def complaints(self) -> list[str]:
        """What the console says, and what was asked of other machines, since the last call."""
        found = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                found += [] if url.startswith(LOCAL) else [f"asked for {url}"]
        return found

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a script in the page."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str, *arguments: Any, seconds: float = 30) -> Any:
        """The value of a script once it is true. Raises TimeoutException."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, seconds).until(
            lambda driver: driver.execute_script(script, *arguments)
        )


@pytest.fixture(scope="session")
def pages() -> list[str]:
    """Every page of the built site."""
    if not (SITE / "index.html").exists():
        pytest.skip("there is no site; make site builds it")
    found = (str(path.relative_to(SITE)) for path in SITE.rglob("*.html"))
    return sorted(page for page in found if page != "404.html")  # a server shows that one, at any address


@pytest.fixture(scope="session")
def browser(pages: list[str]) -> Iterator[Browser]:
    """A browser; skipped where selenium, chromium or its driver is not installed."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, service = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not service:
        pytest.skip("needs the system's chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for flag in (*FLAGS, f"--user-data-dir={folder}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(service))
        driver.set_page_load_timeout(60)
        yield Browser(driver)
        driver.quit()
