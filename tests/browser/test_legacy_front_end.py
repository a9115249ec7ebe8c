"""The legacy front end behind the gateway: its own sign-in page, its scripts, its customer list."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints
from tests.browser.site import ALICE, MANAGER, NAME, PASSWORD, SIGN_IN, Site, submit

HOME, SIGN = "/mgr/index.html", "/mgr/sign.html"


@pytest.fixture
def customers(page: Page, site: Site) -> Page:
    """The customer manager, signed in, its list loaded."""
    site.sign_in(page.context, MANAGER)
    page.goto(site(HOME))
    page.locator("#rows tr").first.wait_for()
    return page


def test_the_manager_signs_in_on_the_legacy_page_and_gets_the_customers(
    page: Page, site: Site, complaints: Complaints
) -> None:
    page.goto(site(HOME))
    expect(page).to_have_url(site(SIGN))
    submit(page, MANAGER)
    expect(page).to_have_url(site(HOME))
    expect(page.locator("#user")).to_have_text("mgr")
    expect(page.get_by_role("row", name="小王文具店")).to_be_visible()
    assert complaints == []


def test_customers_are_added_edited_and_deleted_in_the_page(customers: Page, complaints: Complaints) -> None:
    page = customers
    page.get_by_label("Name", exact=True).fill("Örtliche <b>Bäckerei</b>")
    page.get_by_label("Phone").fill("0551 1234")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("status")).to_have_text("Örtliche <b>Bäckerei</b> is added.")
    row = page.get_by_role("row", name="Örtliche <b>Bäckerei</b>")
    expect(row).to_contain_text("0551 1234")

    row.get_by_role("button", name="Edit").click()
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    page.get_by_label("Address").fill("Markt 1")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("is saved.")
    expect(row).to_contain_text("Markt 1")

    page.on("dialog", lambda dialog: dialog.accept())
    row.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_contain_text("is deleted.")
    expect(row).to_have_count(0)
    page.reload()
    page.locator("#rows tr").first.wait_for()
    expect(row).to_have_count(0)
    assert complaints == []


def test_the_legacy_page_shows_the_gateways_words_for_a_wrong_password(page: Page, site: Site) -> None:
    page.goto(site(SIGN))
    submit(page, {**MANAGER, "password": "wrong"})
    expect(page.get_by_role("alert")).to_have_text("Wrong username or password")
    expect(page.locator(NAME)).to_have_value("mgr")
    expect(page.locator(PASSWORD)).to_be_focused()
    page.keyboard.type(MANAGER["password"])
    page.keyboard.press("Enter")
    expect(page).to_have_url(site(HOME))


def test_alice_is_sent_from_the_managers_page_to_the_managers_sign_in(page: Page, site: Site) -> None:
    cookie = site.sign_in(page.context, ALICE)
    page.goto(site(HOME))
    expect(page).to_have_url(site(SIGN))
    assert site.cookie(page.context) == cookie, "refused, not signed out"
    page.goto(site("/orders"))
    expect(page).to_have_url(site("/orders"))


def test_alices_script_reads_why_the_managers_list_is_not_for_her(page: Page, site: Site) -> None:
    site.sign_in(page.context, ALICE)
    page.goto(site("/orders"))
    status, body = page.evaluate("fetch('/api/mgr/customers').then(async r => [r.status, await r.json()])")
    assert status == 302
    assert body.pop("request_id")
    assert body == {
        "ret": 302,
        "msg": "Only users of type mgr may go there",
        "redirect": SIGN,
        "reason": "wrong_usertype",
    }


@pytest.mark.parametrize("button", ["Add", "Delete Harbour Books"])
def test_the_script_goes_to_the_sign_in_page_when_the_session_is_over_and_comes_back(
    customers: Page, site: Site, button: str
) -> None:
    page = customers
    page.on("dialog", lambda dialog: dialog.accept())
    site.end_session(site.cookie(page.context))
    page.get_by_label("Name", exact=True).fill("Nobody")
    page.get_by_role("button", name=button).click()
    page.wait_for_url(site(f"{SIGN}?next={HOME}"))
    submit(page, MANAGER)
    expect(page).to_have_url(site(HOME))
    expect(page.get_by_role("row", name="Harbour Books")).to_be_visible()
    expect(page.get_by_role("row", name="Nobody")).to_have_count(0)


def test_signing_out_in_one_tab_sends_the_other_to_the_sign_in_page_at_its_next_step(
    customers: Page, site: Site
) -> None:
    other = customers.context.new_page()
    other.goto(site(HOME))
    other.get_by_role("button", name="Sign out").click()
    other.wait_for_url(site(SIGN))
    customers.get_by_label("Name", exact=True).fill("Nobody")
    customers.get_by_role("button", name="Add").click()
    customers.wait_for_url(re.compile(re.escape(site(SIGN))))


def test_the_sign_out_button_of_the_legacy_page_kills_the_cookie(customers: Page, site: Site) -> None:
    cookie = site.cookie(customers.context)
    customers.get_by_role("button", name="Sign out").click()
    customers.wait_for_url(site(SIGN))
    assert site.cookie(customers.context) == ""
    assert not site.is_alive(cookie)


@pytest.mark.parametrize("bad", ["//evil.example", "/\\evil.example", "/\t/evil.example", "https:evil", "javascript:1"])
def test_the_legacy_page_goes_nowhere_else_after_signing_in(page: Page, site: Site, bad: str) -> None:
    page.goto(site(SIGN))
    page.evaluate("next => history.replaceState(null, '', '?next=' + encodeURIComponent(next))", bad)
    page.fill(NAME, MANAGER["username"])
    page.fill(PASSWORD, MANAGER["password"])
    page.click(SIGN_IN)
    expect(page).to_have_url(site(HOME))
