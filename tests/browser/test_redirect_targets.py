"""``next`` through the real page: whatever it says, the browser stays on the site (tests/hazards.toml, P40 to P45; P40 to P42)."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.site import Site, submit

LEAVING = [
    "//evil.example",
    "//evil.example/%2e%2e",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "///evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https://evil.example",
    "HtTpS:\\\\evil.example",
    "javascript:document.title='evil'",
    "data:text/html,evil",
    "/\t/evil.example",
    "/\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "//\tevil.example",
    "/.//evil.example",
    "/x/..//evil.example",
    "//evil.example\\@127.0.0.1",
    "//127.0.0.1@evil.example",
    "http:///evil.example",
    "//[::1]/",
    "//evil。example",
    "/\u2028/evil.example",
    "/\r\nLocation: https://evil.example",
    "/\x00//evil.example",
    "%2f%2fevil.example",
    "/%09/evil.example",
    "/%5cevil.example",
    "/%2f%2fevil.example",
    "%252f%252fevil.example",
    "@evil.example",
    ".evil.example",
    "?//evil.example",
]


# Checking a password takes its time, on purpose: not all of them go all the way.
IN_THE_FORM = LEAVING[::4]
WHOLE_WAY = LEAVING[::12]


@pytest.fixture
def left(page: Page, site: Site) -> list[str]:
    """The addresses outside the site that the browser asks for (they are answered, so that none is missed)."""
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(body="<h1>evil</h1>", content_type="text/html")

    page.route(lambda url: not url.startswith(site.url + "/"), answer)
    return asked


def test_a_bad_next_in_a_link_never_reaches_the_form(page: Page, site: Site) -> None:
    leaving = {}
    for bad in LEAVING:
        page.goto(site("/auth/login?next=" + quote(bad, safe="")), wait_until="commit")
        value = page.locator("input[name=next]").evaluate("input => input.value")  # waits for it
        if page.evaluate("next => new URL(next, location).origin", value) != site.url or value.startswith("//"):
            leaving[bad] = value
    assert leaving == {}


def _sign_in(page: Page, site: Site) -> str:
    """Signs in on the page that is open; where that leads, as scheme, host and port."""
    submit(page)
    page.wait_for_url(lambda url: "/auth/login" not in url)
    return page.evaluate("location.origin")


def test_a_bad_next_put_into_the_form_leads_nowhere_else(page: Page, site: Site, left: list[str]) -> None:
    for bad in IN_THE_FORM:
        page.context.clear_cookies()
        page.goto(site("/auth/login"))
        page.locator("input[name=next]").evaluate("(input, next) => { input.value = next; }", bad)
        assert (_sign_in(page, site), left) == (site.url, []), ascii(bad)


def test_a_bad_next_in_a_link_leads_nowhere_else_after_signing_in(page: Page, site: Site, left: list[str]) -> None:
    for bad in WHOLE_WAY:
        page.context.clear_cookies()
        page.goto(site("/auth/login?next=" + quote(bad, safe="")))
        assert (_sign_in(page, site), left) == (site.url, []), ascii(bad)


def test_go_on_leads_nowhere_else(page: Page, site: Site, left: list[str]) -> None:
    site.sign_in(page.context)
    for bad in ("//evil.example", "/\\evil.example", "/\t/evil.example", "https:evil.example"):
        page.goto(site("/auth/login?next=" + quote(bad, safe="")))
        page.get_by_role("link", name="Go on").click()
        expect(page).to_have_url(site("/"))
        assert left == []


def test_a_next_that_is_not_escaped_in_the_link_leads_nowhere_else(page: Page, site: Site) -> None:
    for raw in ("//evil.example", "/\\evil.example", "/%09/evil.example", "%2f%2fevil.example"):
        page.goto(site("/auth/login?next=" + raw))
        value = page.locator("input[name=next]").evaluate("input => input.value")  # waits for it
        assert value == "/", raw


def test_the_watch_on_leaving_would_notice_it(page: Page, left: list[str]) -> None:
    page.goto("http://evil.example/")
    assert left == ["http://evil.example/"]


def test_the_sign_in_page_is_no_place_to_come_back_to(page: Page, site: Site) -> None:
    page.goto(site("/auth/login?next=/auth/logout"))
    submit(page)
    expect(page).to_have_url(site("/"))
