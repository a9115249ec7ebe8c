"""Pages that are not ours may post to us, but change nothing (docs/http-api.md: ``cross_site``).

``http://localhost:PORT`` is another site than ``http://127.0.0.1:PORT``; another port is another origin of the same site,
so the browser sends it our cookies, ``SameSite`` or not.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.site import MANAGER, OtherSite, Site

FROM = ["other_origin", "other_site"]


def _form(action: str, /, **fields: str) -> str:
    inputs = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in fields.items())
    return f'<form method="post" action="{action}">{inputs}<button>Win a prize</button></form>'


def _press(page: Page, elsewhere: OtherSite, origin: str, form: str) -> int:
    """Opens a foreign page with this form, presses its button; the status of the answer."""
    elsewhere.pages["/trap"] = form
    page.goto(getattr(elsewhere, origin) + "/trap")
    with page.expect_response(lambda r: r.request.method == "POST") as answer:
        page.get_by_role("button", name="Win a prize").click()
    return answer.value.status


@pytest.mark.parametrize("origin", FROM)
@pytest.mark.parametrize("path", ["/auth/login", "/api/mgr/signin"])
def test_a_foreign_form_signs_nobody_in(page: Page, site: Site, elsewhere: OtherSite, origin: str, path: str) -> None:
    assert _press(page, elsewhere, origin, _form(site(path), **MANAGER)) == 403
    expect(page.get_by_role("heading", level=1)).to_have_text("Not allowed")
    assert site.cookie(page.context) == ""


@pytest.mark.parametrize("origin", FROM)
def test_a_foreign_form_changes_nobodys_session(page: Page, site: Site, elsewhere: OtherSite, origin: str) -> None:
    alices = site.sign_in(page.context)
    assert _press(page, elsewhere, origin, _form(site("/auth/login"), **MANAGER)) == 403
    assert site.cookie(page.context) == alices
    assert site.who(alices) == "alice"


@pytest.mark.parametrize("origin", FROM)
def test_a_foreign_form_signs_nobody_out(page: Page, site: Site, elsewhere: OtherSite, origin: str) -> None:
    cookie = site.sign_in(page.context)
    assert _press(page, elsewhere, origin, _form(site("/auth/logout"))) == 403
    assert site.cookie(page.context) == cookie
    assert site.is_alive(cookie)


FORMS: dict[str, dict[str, str]] = {
    "/auth/account": {"action": "revoke_all"},
    "/auth/password": {
        "old_password": "alice-demo",
        "new_password": "a secret of theirs",
        "again": "a secret of theirs",
    },
    "/auth/reset": {"token": "x", "new_password": "a secret of theirs", "again": "a secret of theirs"},
    "/auth/session/extend": {},
}


@pytest.mark.parametrize("origin", FROM)
@pytest.mark.parametrize("path", FORMS)
def test_a_foreign_form_changes_nothing_of_the_account(
    page: Page, site: Site, elsewhere: OtherSite, origin: str, path: str
) -> None:
    cookie, other = site.sign_in(page.context), site.sign_in(page.context)
    assert cookie != other
    assert _press(page, elsewhere, origin, _form(site(path), **FORMS[path])) == 403
    assert site.cookie(page.context) == other
    assert site.is_alive(other)
    assert site.sign_in(page.context), "with the same password as before"


@pytest.mark.parametrize("origin", FROM)
def test_a_foreign_script_signs_nobody_out(page: Page, site: Site, elsewhere: OtherSite, origin: str) -> None:
    cookie = site.sign_in(page.context)
    elsewhere.pages["/trap"] = "a trap"
    page.goto(getattr(elsewhere, origin) + "/trap")
    for body in ("undefined", "'{}'", "new URLSearchParams('a=b')", "new FormData()"):
        script = f"url => fetch(url, {{method: 'POST', mode: 'no-cors', credentials: 'include', body: {body}}})"
        with page.expect_response(site("/auth/logout")) as answer:
            page.evaluate(script + ".then(r => r.type)", site("/auth/logout"))
        assert answer.value.status == 403
    assert site.cookie(page.context) == cookie
    assert site.is_alive(cookie)


@pytest.mark.parametrize("origin", FROM)
def test_a_foreign_script_reads_no_answer_of_ours(page: Page, site: Site, elsewhere: OtherSite, origin: str) -> None:
    site.sign_in(page.context)
    elsewhere.pages["/trap"] = "a trap"
    page.goto(getattr(elsewhere, origin) + "/trap")
    read = "url => fetch(url, {credentials: 'include'}).then(r => r.text(), error => error.name)"
    for path in ("/auth/session", "/auth/login", "/orders"):
        assert page.evaluate(read, site(path)) == "TypeError"


@pytest.mark.parametrize("origin", FROM)
def test_a_foreign_page_cannot_frame_our_pages(page: Page, site: Site, elsewhere: OtherSite, origin: str) -> None:
    for path in ("/auth/login", "/auth/logout", "/auth/nothing"):
        elsewhere.pages["/trap"] = f'<iframe src="{site(path)}"></iframe>'
        with (
            page.expect_console_message(lambda m: "frame-ancestors" in m.text),
            page.expect_event("framenavigated", lambda frame: frame.url.startswith("chrome-error:")),
        ):
            page.goto(getattr(elsewhere, origin) + "/trap")


def test_a_link_from_another_site_finds_who_is_signed_in_signed_in(
    page: Page, site: Site, elsewhere: OtherSite
) -> None:
    site.sign_in(page.context)
    elsewhere.pages["/mail"] = f'<a href="{site("/orders")}">Your order</a>'
    page.goto(elsewhere.other_site + "/mail")
    page.get_by_role("link").click()
    expect(page).to_have_url(site("/orders"))


def test_a_link_from_another_site_brings_a_stranger_to_the_sign_in_page_and_on(
    page: Page, site: Site, elsewhere: OtherSite
) -> None:
    elsewhere.pages["/mail"] = f'<a href="{site("/orders")}">Your order</a>'
    page.goto(elsewhere.other_site + "/mail")
    page.get_by_role("link").click()
    expect(page).to_have_url(site("/auth/login?next=%2Forders"))
    page.fill("#username", "alice")
    page.fill("#password", "alice-demo")
    page.keyboard.press("Enter")
    expect(page).to_have_url(site("/orders"))
