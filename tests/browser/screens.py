"""``python -m tests.browser.screens docs/screens``: pictures of the sign-in page for the documentation (``make screens``)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.chromium import MISSING, TIMEOUT, find_chromium, launch
from tests.browser.site import ALICE, Site, submit
from tests.harness import GatewayProcess

MAX_BYTES = 150_000
HEIGHTS = {360: 740, 1280: 800}  # a phone, a laptop
LOCALES = {"en": "en-GB", "zh": "zh-CN"}


def _empty(_: Site, __: Page) -> None:
    pass


def _wrong_password(_: Site, page: Page) -> None:
    submit(page, {**ALICE, "password": "wrong"})
    page.get_by_role("alert").wait_for()


def _signed_in(site: Site, page: Page) -> None:
    site.sign_in(page.context)
    page.reload()


@dataclass(frozen=True, slots=True)
class Screen:
    """One picture: what is on it, how wide (CSS pixels), in which colours and language."""

    what: str
    width: int
    scheme: str
    language: str
    prepare: Callable[[Site, Page], None] = _empty

    @property
    def file(self) -> str:
        """Its name."""
        return f"{self.what}-{self.language}-{self.scheme}-{self.width}.png"


SCREENS = (
    *(Screen("sign-in", *each) for each in product(HEIGHTS, ("light", "dark"), LOCALES)),
    Screen("sign-in-error", 360, "light", "en", _wrong_password),
    Screen("sign-in-signed-in", 1280, "light", "en", _signed_in),
)


def take(browser: Browser, site: Site, folder: Path, screens: Iterable[Screen] = SCREENS) -> Iterator[Path]:
    """Takes them; yields each file when it is written."""
    folder.mkdir(parents=True, exist_ok=True)
    for screen in screens:
        yield _take(browser, site, screen, folder / screen.file)


def _take(browser: Browser, site: Site, screen: Screen, path: Path) -> Path:
    options: dict[str, Any] = {
        "viewport": {"width": screen.width, "height": HEIGHTS[screen.width]},
        "color_scheme": screen.scheme,
        "locale": LOCALES[screen.language],
        "reduced_motion": "reduce",
    }
    context = browser.new_context(**options)
    context.set_default_timeout(TIMEOUT)
    try:
        page = context.new_page()
        page.goto(site("/orders"))
        screen.prepare(site, page)
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
    with GatewayProcess("demo", "--port", "0") as process, sync_playwright() as playwright:
        browser = launch(playwright)
        for path in take(browser, Site(process.url), Path(sys.argv[1])):
            print(f"{path}  {path.stat().st_size:,} bytes")
        browser.close()


if __name__ == "__main__":
    main()
