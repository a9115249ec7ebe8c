"""The demo's shop keeps its cart in the gateway's session: with two gateways on one Redis, and without JavaScript."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewContext
from tests.browser.site import ALICE, MANAGER, Site, submit

ROUTES = [{"path": "/shop/", "session_data": {"enabled": True}}, {"path": "/"}]


@pytest.fixture(scope="package")
def two(make_site: Callable[..., Site]) -> tuple[Site, Site]:
    return make_site(ROUTES), make_site(ROUTES)


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without JavaScript"])
def page(new_context: NewContext, request: pytest.FixtureRequest) -> Page:
    return new_context(java_script_enabled=request.param).new_page()


def put(page: Page, what: str) -> None:
    with page.expect_navigation():
        page.get_by_role("button", name=f"Put {what} into the cart").click()


def cart(page: Page) -> list[str]:
    """Words and number of each line."""
    rows = page.locator("#cart tbody tr").all()
    return [" ".join(row.locator("td").nth(n).inner_text() for n in (0, 1)) for row in rows]


def test_a_cart_filled_on_two_gateways_is_one_cart(two: tuple[Site, Site], page: Page) -> None:
    one, other = two
    page.goto(one("/shop"))
    submit(page)
    expect(page.locator("#visits")).to_have_text("1")
    expect(page.locator("#empty")).to_be_visible()
    put(page, "Fountain pen")
    put(page, "Fountain pen")
    page.goto(other("/shop"))  # cookies know no ports: the same session
    expect(page.locator("#visits")).to_have_text("4")
    put(page, "Bottle of ink")
    page.goto(one("/shop"))
    assert cart(page) == ["Fountain pen 2", "Bottle of ink 1"]
    expect(page.locator("#total")).to_have_text("£57.90")
    page.get_by_role("button", name="Remove Fountain pen").click()
    expect(page.locator("#total")).to_have_text("£8.90")
    page.get_by_role("button", name="Empty the cart").click()
    expect(page.locator("#empty")).to_be_visible()


def test_the_cart_is_the_users_own_and_ends_with_his_session(two: tuple[Site, Site], page: Page) -> None:
    one, other = two
    page.goto(one("/shop"))
    submit(page, ALICE)
    put(page, "Ream of paper")
    assert cart(page) == ["Ream of paper 1"]
    other.end_session(one.cookie(page.context))
    page.goto(one("/shop"))
    expect(page).to_have_url(re.compile("/auth/login"))
    submit(page, MANAGER)
    expect(page.locator("#empty")).to_be_visible()


def test_the_demo_has_it_too(site: Site, page: Page) -> None:
    page.goto(site("/shop"))
    submit(page)
    put(page, "Bottle of ink")
    assert cart(page) == ["Bottle of ink 1"]
