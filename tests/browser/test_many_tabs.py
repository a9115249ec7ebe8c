"""Several tabs of one browser at the sign-in page: all of them succeed, and they share one cookie of the form."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, expect

from tests.browser.site import ALICE, SIGN_IN, Site, fill_in

TABS = 5
PLACES = [f"/orders?tab={number}" for number in range(TABS)]


def test_tabs_that_sign_in_at_once_all_succeed(site: Site, context: BrowserContext) -> None:
    tabs = [context.new_page() for _ in PLACES]
    for tab, place in zip(tabs, PLACES, strict=True):
        tab.goto(site(place))  # each is sent to the sign-in page with its own way back
        fill_in(tab)
    names = [cookie["name"] for cookie in context.cookies(site("/auth/login"))]
    assert names.count("gw_form") == len(names) == 1, names
    for tab in tabs:
        tab.evaluate(f"document.querySelector('{SIGN_IN}').click()")  # no waiting for the one before
    for tab, place in zip(tabs, PLACES, strict=True):
        expect(tab).to_have_url(site(place))
    assert site.who(site.cookie(context)) == ALICE["username"]
    for tab, place in zip(tabs, PLACES, strict=True):
        tab.reload()
        expect(tab).to_have_url(site(place))


def test_a_tab_left_open_while_another_one_signed_in_succeeds_too(site: Site, context: BrowserContext) -> None:
    early, late = context.new_page(), context.new_page()
    for tab in (early, late):
        tab.goto(site("/orders"))
        fill_in(tab)
    early.click(SIGN_IN)
    expect(early).to_have_url(site("/orders"))
    first = site.cookie(context)
    late.click(SIGN_IN)
    expect(late).to_have_url(site("/orders"))
    assert site.cookie(context) != first, "signing in always begins anew"
    early.reload()
    expect(early).to_have_url(site("/orders"))
