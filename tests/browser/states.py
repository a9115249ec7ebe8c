"""Every page of ours in every state: how a browser gets there. For the pictures and for what has to be true of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page

from tests.browser.own_site import OwnSite
from tests.browser.site import ALICE, PASSWORD, fill_in, submit

Prepare = Callable[[OwnSite, Page], None]
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.0 Mobile/15E148 Safari/604.1"
)
TABLET = "Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/144.0.0.0 Safari/537.36"
OLD, NEW, AGAIN = "#old_password", "#new_password", "#again"
LOGIN, ACCOUNT, CHANGE = "/auth/login", "/auth/account", "/auth/password"


@dataclass(frozen=True, slots=True)
class State:
    """``status`` is the page's; ``heights`` of its pictures, by width, where a screen is not enough."""

    prepare: Prepare
    status: int = 200
    heights: tuple[tuple[int, int], ...] = ()


def _goes_to(path: str) -> Prepare:
    return lambda site, page: site.visit(page, path)


def _signed_in(path: str) -> Prepare:
    def prepare(site: OwnSite, page: Page) -> None:
        site.sign_in(page.context)
        site.visit(page, path)

    return prepare


def _wrong_password(site: OwnSite, page: Page) -> None:
    site.visit(page, LOGIN)
    submit(page, {**ALICE, "password": "wrong"})
    page.get_by_role("alert").wait_for()


def _without_cookies(site: OwnSite, page: Page) -> None:
    site.visit(page, LOGIN)
    fill_in(page)
    page.context.clear_cookies()
    page.press(PASSWORD, "Enter")
    page.get_by_role("alert").wait_for()


def on_three_devices(site: OwnSite, page: Page) -> None:
    """Alice is signed in here and on two other devices, and on no more."""
    cookie = site.sign_in(page.context)
    site.ask("DELETE", "/auth/sessions", cookie)
    for agent in (PHONE, TABLET):
        site.sign_in_elsewhere(agent)
    site.visit(page, ACCOUNT)


def _signed_out_elsewhere(site: OwnSite, page: Page) -> None:
    on_three_devices(site, page)
    page.locator(".sessions button").first.click()
    page.get_by_role("status").wait_for()


def change_password(page: Page, old: str, new: str, again: str) -> None:
    """Fills in the form that is open, and sends it."""
    page.fill(OLD, old)
    page.fill(NEW, new)
    page.fill(AGAIN, again)
    page.press(AGAIN, "Enter")


def _wrong_old_password(site: OwnSite, page: Page) -> None:
    _signed_in(CHANGE)(site, page)
    change_password(page, "wrong", "a much better one", "a much better one")
    page.get_by_role("alert").wait_for()


def _not_the_same(site: OwnSite, page: Page) -> None:
    _signed_in(CHANGE)(site, page)
    change_password(page, ALICE["password"], "a much better one", "a much worse one")
    page.get_by_role("alert").wait_for()


def _reset(site: OwnSite, page: Page) -> None:
    site.visit(page, site.reset_path())


def _reset_wrong(site: OwnSite, page: Page) -> None:
    _reset(site, page)
    page.fill(NEW, "short")
    page.fill(AGAIN, "short")
    page.press(AGAIN, "Enter")
    page.get_by_role("alert").wait_for()


TALL = ((360, 1180), (1280, 960))
STATES: dict[str, State] = {
    "sign-in": State(_goes_to(LOGIN)),
    "sign-in-error": State(_wrong_password, 401),
    "sign-in-signed-in": State(_signed_in(LOGIN)),
    "denied": State(_signed_in(LOGIN + "?next=/mgr/index.html")),
    "somebody-else": State(_signed_in(LOGIN + "?next=/mgr/index.html&other=1")),
    "cookies-off": State(_without_cookies, 400),
    "account": State(on_three_devices, heights=TALL),
    "account-done": State(_signed_out_elsewhere, heights=TALL),
    "password": State(_signed_in(CHANGE), heights=((360, 740), (1280, 860))),
    "password-error": State(_wrong_old_password, 401),
    "password-differs": State(_not_the_same, 400),
    "reset": State(_reset),
    "reset-error": State(_reset_wrong, 400),
    "reset-over": State(_goes_to("/auth/reset?token=x"), 410),
    "sign-out": State(_signed_in("/auth/logout")),
    "sign-out-nobody": State(_goes_to("/auth/logout")),
    "not-found": State(_goes_to("/auth/nothing"), 404),
    "malformed": State(_goes_to("/a%2f%2e%2e%2fb"), 400),
    "no-backend": State(_signed_in("/orders"), 502),
}
