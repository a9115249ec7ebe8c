"""The page of API keys: what axe and the keyboard find, and the way from the account to a key and back, without a script."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewContext
from tests.browser.own_site import OwnSite, own_site
from tests.browser.states import ACCOUNT
from tests.browser.test_pages import AXE, SIZES, mistakes

KEYS = "/auth/keys"
NAMED = [
    {"path": "/public/", "access": "public"},
    {"path": "/orders/", "access": "authenticated", "name": "orders"},
    {"path": "/", "access": "authenticated", "name": "everything else"},
]


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnSite]:
    """A gateway with API keys."""
    folder = tmp_path_factory.mktemp("keyed")
    with own_site(folder, session={"engine": "memory"}, api_keys={"enabled": True}, routes=NAMED) as site:
        yield site


def open_page(keyed: OwnSite, page: Page) -> None:
    keyed.sign_in(page.context)
    keyed.visit(page, ACCOUNT)
    page.locator("a[href^='/auth/keys']").click()
    page.wait_for_url(lambda url: KEYS in url)


def make_key(page: Page, name: str = "Nightly export", days: str = "30") -> None:
    page.fill("#name", name)
    page.fill("#expires_in", days)
    page.locator("form:has(#name) button").click()


def test_somebody_makes_a_key_sees_it_once_and_revokes_it_without_a_script(
    keyed: OwnSite, new_context: NewContext
) -> None:
    page = new_context(java_script_enabled=False).new_page()
    open_page(keyed, page)
    page.get_by_label("orders").check()
    make_key(page)
    expect(page.locator("code")).to_have_text(re.compile(r"gwk_[0-9A-Za-z]{60}"))
    expect(page.locator(".sessions li")).to_contain_text("Nightly export")
    expect(page.locator(".sessions li")).to_contain_text("never used")
    keyed.visit(page, KEYS)
    expect(page.locator("code")).to_have_count(0)
    page.get_by_role("button", name="Revoke Nightly export").click()
    expect(page.get_by_role("status")).to_have_text("That key was revoked.")
    expect(page.locator(".sessions li")).to_have_count(0)
    page.get_by_role("link", name="Back to my account").click()
    expect(page.locator("h1")).to_have_text("My account")


def test_what_is_wrong_is_said_and_the_field_has_the_focus(keyed: OwnSite, new_context: NewContext) -> None:
    page = new_context().new_page()
    open_page(keyed, page)
    make_key(page, days="4000")
    expect(page.get_by_role("alert")).to_contain_text("Days until it ends: must be a whole number of days")
    expect(page.locator("#expires_in")).to_be_focused()
    expect(page.locator("#name")).to_have_value("Nightly export")


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_axe_finds_no_mistake_and_nothing_is_cut_off(keyed: OwnSite, new_context: NewContext, locale: str) -> None:
    page = new_context(locale=locale, reduced_motion="reduce").new_page()
    open_page(keyed, page)
    for name, days in (("a" * 100, "4000"), ("a" * 100, "30")):
        make_key(page, name, days)
        page.evaluate(AXE)
        for scheme in ("light", "dark"):
            for size in SIZES:
                page.emulate_media(color_scheme=scheme)
                page.set_viewport_size({"width": size["width"], "height": size["height"]})
                assert mistakes(page) == [], (scheme, size)
                assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_everything_to_press_is_large_enough_for_a_finger(keyed: OwnSite, new_context: NewContext) -> None:
    page = new_context(viewport={"width": 360, "height": 740}, has_touch=True).new_page()
    open_page(keyed, page)
    make_key(page)
    size = "e => [e.textContent.trim() || e.name, e.getBoundingClientRect().height]"
    for element in page.locator("a, button, input:not([type=hidden], [type=checkbox]), label:has(input)").all():
        what, height = element.evaluate(size)
        assert height >= 44, what  # WCAG 2.2, 2.5.5
