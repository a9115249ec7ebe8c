"""The real Chromium of this machine, driven by Playwright's Python package: no browser is downloaded."""

from __future__ import annotations

import shutil

from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MISSING = "no Chromium on the PATH; Debian: apt-get install chromium; the browser tests were not run"
TIMEOUT = 30_000  # milliseconds; waits end as soon as what they wait for is there
ARGUMENTS = (
    "--no-sandbox",  # containers run the tests as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str | None:
    """Its path, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def launch(playwright: Playwright) -> Browser:
    """A headless browser; the caller closes it. Raises LookupError without Chromium."""
    path = find_chromium()
    if path is None:
        raise LookupError(MISSING)
    return playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS), timeout=TIMEOUT)
