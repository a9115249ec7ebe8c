"""One Chromium and one demo for the whole folder, a fresh browser profile for each test.

Playwright's sync API keeps an event loop running in its thread, in which pytest-asyncio could start none for the tests of
other folders. So the fixtures are package-scoped: Playwright is stopped as soon as the last browser test is done.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from gateway.store.redis_server import RedisServer, find_redis_server
from tests.browser.chromium import ARGUMENTS, MISSING, TIMEOUT, find_chromium, launch
from tests.browser.own_site import OwnSite, own_site
from tests.browser.site import OtherSite, Site, other_site
from tests.harness import MASTER, ROOT, GatewayProcess

FOLDER = Path(__file__).parent
NewContext = Callable[..., BrowserContext]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.browser)


# -- the site
@pytest.fixture(scope="package")
def site() -> Iterator[Site]:
    """``gateway demo`` as a process."""
    if find_redis_server() is None:
        pytest.skip("no redis-server; on this platform install one (Debian: apt-get install redis-server)")
    unhurried = {"GATEWAY__LOGIN__THROTTLE__ENABLED": "false"}  # tests sign in wrongly more often than people do
    with GatewayProcess("demo", "--port", "0", environment=unhurried) as process:
        backend = re.search(r"The backend behind it:\s+(http://\S+)", process.output)
        assert backend is not None, process.output
        yield Site(process.url, backend[1])


@pytest.fixture(scope="package")
def make_site(
    site: Site, shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Site]]:
    """``make_site(routes)``: another gateway in front of the same backend, with these routes."""
    running: list[GatewayProcess] = []

    def make(routes: list[dict[str, Any]]) -> Site:
        config = {
            "server": {"port": 0},
            "management": {"port": 0},
            "redis": {"url": shared_redis.url, "prefix": "gw-browser:"},
            "keys": {"master": MASTER},
            "users": [{"source": "file", "path": str(ROOT / "config/users.yaml")}],
            "login": {"throttle": {"enabled": False}},
            "upstreams": {"demo": {"url": site.backend}},
            "routes": routes,
        }
        file = tmp_path_factory.mktemp("gateway") / "gateway.yaml"
        file.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
        running.append(process := GatewayProcess("serve", "--config", str(file)))
        process.start()
        return Site(process.url, site.backend)

    yield make
    for process in running:
        process.stop()


@pytest.fixture(scope="package")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnSite]:
    """A gateway for its pages, whose users may be changed."""
    with own_site(tmp_path_factory.mktemp("own")) as site:
        yield site


@pytest.fixture
def elsewhere() -> Iterator[OtherSite]:
    """A web server that is not ours."""
    with other_site() as server:
        yield server


# -- the browser
@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    if find_chromium() is None:
        pytest.skip(MISSING)
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = launch(playwright)
    yield browser
    browser.close()


@pytest.fixture
def new_context(browser: Browser) -> Iterator[NewContext]:
    """``new_context(locale=…, java_script_enabled=…)``: a browser profile of its own, in English unless told otherwise."""
    contexts: list[BrowserContext] = []

    def make(**options: Any) -> BrowserContext:
        context = browser.new_context(**{"locale": "en-GB", **options})
        context.set_default_timeout(TIMEOUT)
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def context(new_context: NewContext) -> BrowserContext:
    return new_context()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def page_without_cookies(playwright: Playwright, browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """A browser whose user has switched cookies off in the settings (2 is "block")."""
    preferences = tmp_path / "profile/Default/Preferences"
    preferences.parent.mkdir(parents=True)
    settings = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    preferences.write_text(json.dumps(settings), encoding="utf-8")
    context = playwright.chromium.launch_persistent_context(
        preferences.parent.parent,
        executable_path=find_chromium(),
        args=list(ARGUMENTS),
        locale="en-GB",
        timeout=TIMEOUT,
    )
    context.set_default_timeout(TIMEOUT)
    yield context.new_page()
    context.close()


class Complaints(list[str]):
    """What Chromium's console and scripts complained about on a page: errors, warnings, violations of a policy."""

    def watch(self, page: Page) -> None:
        page.on("console", lambda m: self.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.append(str(error)))


@pytest.fixture
def complaints(page: Page) -> Complaints:
    """Those of ``page``."""
    found = Complaints()
    found.watch(page)
    return found
