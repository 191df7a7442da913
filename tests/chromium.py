"""A headless Chromium for tests, driven by chromedriver's HTTP alone: pictures, console lines, and every request a page makes."""

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars"
).split()


def found() -> bool:
    """Whether this machine has Chromium and its driver."""
    return shutil.which("chromium") is not None and shutil.which("chromedriver") is not None


class Page:
    """An open browser; `call` is a WebDriver command of its session."""

    def __init__(self, address: str):
        self.address = address

    def call(self, command: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
        """The value that the driver answers."""
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(f"{self.address}{command}", data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def devtools(self, command: str, **parameters: Any) -> Any:
        """A DevTools command."""
        return self.call("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, path: Path, *, width: int = 1200, dark: bool = False) -> None:
        """Load a file at a width, in light or dark."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.devtools("Emulation.setDeviceMetricsOverride", **size)
        self.call("/url", {"url": path.resolve().as_uri()})

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self.call("/execute/sync", {"script": f"return {expression}", "args": []})

    def picture(self, out: Path) -> None:
        """The whole page as a PNG."""
        size = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 12_000), "scale": 1}
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        out.write_bytes(base64.b64decode(shot["data"]))

    def console(self) -> list[str]:
        """Lines of the console since the last look: errors, warnings, refusals of the content policy."""
        return [line["message"] for line in self.call("/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Addresses of all requests since the last look, but those that the browser answers itself (chrome:, data:)."""
        lines = [
            json.loads(line["message"])["message"] for line in self.call("/se/log", {"type": "performance"})
        ]
        sent = [
            line["params"]["request"]["url"]
            for line in lines
            if line["method"] == "Network.requestWillBeSent"
        ]
        return [address for address in sent if not address.startswith(("chrome:", "data:"))]


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A browser with a fresh profile in the folder; it and its driver are ended afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    page = Page(f"http://127.0.0.1:{port}")
    options = {"args": [*FLAGS, f"--user-data-dir={profile}"], "binary": shutil.which("chromium")}
    wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
    session = None
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                if page.call("/status", method="GET")["ready"]:
                    break
            time.sleep(0.05)
        session = page.call("/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        page.address += f"/session/{session}"
        yield page
    finally:
        if session is not None:
            with contextlib.suppress(OSError):
                page.call("", method="DELETE")
        driver.terminate()
        driver.wait(timeout=20)
