"""``python -m tests.browser.screens docs/screens``: pictures of our pages for the documentation (``make screens``)."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from tests.browser.chromium import MISSING, TIMEOUT, find_chromium, launch
from tests.browser.own_site import OwnSite, own_site
from tests.browser.states import STATES

MAX_BYTES = 150_000
HEIGHTS = {360: 740, 1280: 800}  # a phone, a laptop
LOCALES = {"en": "en-GB", "zh": "zh-CN"}
BRAND = {"title": "Harbour office", "colour": "#1d4ed8", "support": "mailto:help@example.org"}
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/144.0.0.0 Safari/537.36"
IN_FULL = ("sign-in", "account", "password", "reset", "denied", "cookies-off", "sign-out", "not-found")


@dataclass(frozen=True, slots=True)
class Screen:
    """One picture: what is on it, how wide (CSS pixels), in which colours and language, and whose look it has."""

    state: str
    width: int
    scheme: str
    language: str
    branded: bool = False

    @property
    def height(self) -> int:
        """CSS pixels: what fits on a screen, or the whole page where that says more."""
        return dict(STATES[self.state].heights).get(self.width, HEIGHTS[self.width])

    @property
    def file(self) -> str:
        """Its name."""
        look = "-branded" if self.branded else ""
        return f"{self.state}{look}-{self.language}-{self.scheme}-{self.width}.png"


SCREENS = (
    *(Screen(*each) for each in product(IN_FULL, HEIGHTS, ("light", "dark"), LOCALES)),
    Screen("sign-in-error", 360, "light", "en"),
    Screen("sign-in-signed-in", 1280, "light", "en"),
    Screen("account-done", 360, "dark", "zh"),
    Screen("password-differs", 1280, "light", "en"),
    Screen("reset-over", 360, "light", "en"),
    Screen("no-backend", 1280, "light", "en"),
    Screen("sign-in", 1280, "light", "en", branded=True),
    Screen("account", 1280, "dark", "en", branded=True),
)


@dataclass(frozen=True, slots=True)
class Sites:
    """The same gateway twice: in our own look, and in somebody's."""

    plain: OwnSite
    branded: OwnSite


def take(browser: Browser, sites: Sites, folder: Path, screens: Iterable[Screen] = SCREENS) -> Iterator[Path]:
    """Takes them; yields each file when it is written."""
    folder.mkdir(parents=True, exist_ok=True)
    for screen in screens:
        yield _take(browser, sites.branded if screen.branded else sites.plain, screen, folder / screen.file)


def _take(browser: Browser, site: OwnSite, screen: Screen, path: Path) -> Path:
    options: dict[str, Any] = {
        "viewport": {"width": screen.width, "height": screen.height},
        "color_scheme": screen.scheme,
        "locale": LOCALES[screen.language],
        "reduced_motion": "reduce",
        "user_agent": AGENT,
    }
    context = browser.new_context(**options)
    context.set_default_timeout(TIMEOUT)
    try:
        page = context.new_page()
        STATES[screen.state].prepare(site, page)
        page.wait_for_load_state("networkidle")
        page.screenshot(path=path, caret="hide", animations="disabled", timeout=TIMEOUT)
    finally:
        context.close()
    return path


def main() -> None:
    """For the terminal."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.browser.screens FOLDER")
    if find_chromium() is None:
        sys.exit(MISSING)
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        plain, branded = own_site(folders[0]), own_site(folders[1], site=BRAND)
        sites = Sites(stack.enter_context(plain), stack.enter_context(branded))
        browser = launch(stack.enter_context(sync_playwright()))
        for path in take(browser, sites, Path(sys.argv[1])):
            print(f"{path}  {path.stat().st_size:,} bytes")
        browser.close()


if __name__ == "__main__":
    main()
