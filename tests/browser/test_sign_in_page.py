"""The sign-in page in a real browser: the way there, in, and back."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Complaints, NewContext
from tests.browser.site import ALICE, MANAGER, NAME, PASSWORD, REMEMBER, SIGN_IN, Site, fill_in, submit

LOGIN = "/auth/login"


# -- there and back
@pytest.mark.parametrize(
    "path", ["/orders", "/orders?page=2&q=a%26b%20c&q=%E4%B8%AD", "/echo/a%20b?next=//x", "/"], ids=repr
)
def test_a_page_load_goes_to_the_sign_in_page_and_comes_back_after_signing_in(
    page: Page, site: Site, path: str
) -> None:
    page.goto(site(path))
    expect(page).to_have_url(re.compile(re.escape(site(LOGIN)) + r"\?next=[^&]+$"))
    with page.expect_response(site(path)) as answer:
        submit(page)
    assert answer.value.status == 200
    expect(page).to_have_url(site(path))


def test_the_backend_greets_who_signed_in(page: Page, site: Site) -> None:
    page.goto(site("/orders"))
    submit(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Hello, alice")


def test_an_e_mail_address_signs_in_like_the_name(page: Page, site: Site) -> None:
    page.goto(site("/orders"))
    submit(page, {**ALICE, "username": "alice@example.org"})
    expect(page).to_have_url(site("/orders"))


def test_a_fragment_in_next_is_kept(page: Page, site: Site) -> None:
    page.goto(site(LOGIN + "?next=%2Forders%23row-2"))
    submit(page)
    expect(page).to_have_url(site("/orders#row-2"))


def test_sign_in_pages_in_two_tabs_both_work(context: BrowserContext, site: Site) -> None:
    first, second = context.new_page(), context.new_page()
    first.goto(site("/orders"))
    second.goto(site("/echo"))
    submit(first)
    expect(first).to_have_url(site("/orders"))
    submit(second)
    expect(second).to_have_url(site("/echo"))


# -- a wrong password
def test_a_wrong_password_is_told_and_the_name_is_kept_and_the_password_has_the_focus(page: Page, site: Site) -> None:
    page.goto(site("/orders?page=2"))
    submit(page, {**ALICE, "password": "wrong"})
    expect(page.get_by_role("alert")).to_have_text("Wrong username or password")
    expect(page).to_have_title(re.compile("^Error: Sign in"))
    expect(page.locator(NAME)).to_have_value("alice")
    expect(page.locator(PASSWORD)).to_have_value("")
    expect(page.locator(PASSWORD)).to_be_focused()
    expect(page.locator(PASSWORD)).to_have_accessible_description("Wrong username or password")
    page.keyboard.type(ALICE["password"])
    page.keyboard.press("Enter")
    expect(page).to_have_url(site("/orders?page=2"))


def test_an_unknown_user_reads_the_same_as_a_wrong_password(page: Page, site: Site) -> None:
    page.goto(site(LOGIN))
    submit(page, {"username": '<b onclick="x">&amp;', "password": "wrong"})
    expect(page.get_by_role("alert")).to_have_text("Wrong username or password")
    expect(page.locator(NAME)).to_have_value('<b onclick="x">&amp;')
    expect(page.locator("main b")).to_have_count(0)


def test_an_empty_form_is_not_even_sent(page: Page, site: Site) -> None:
    page.goto(site(LOGIN))
    page.click(SIGN_IN)
    assert page.eval_on_selector(NAME, "input => input.validity.valueMissing")
    expect(page.locator(NAME)).to_be_focused()
    expect(page).to_have_url(site(LOGIN))


def test_a_name_of_blanks_gets_the_page_again_in_plain_words(page: Page, site: Site) -> None:
    page.goto(site(LOGIN))
    submit(page, {"username": "  ", "password": "x"})
    expect(page.get_by_role("alert")).to_have_text("Please enter a username and a password")


# -- without JavaScript, without a mouse, without cookies
@pytest.mark.parametrize("remember", [True, False])
def test_without_javascript_signing_in_works_with_remember_and_next(
    new_context: NewContext, site: Site, remember: bool
) -> None:
    context = new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site("/orders?page=2"))
    page.set_checked(REMEMBER, remember)
    submit(page, {**ALICE, "password": "wrong"})
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator(REMEMBER)).to_be_checked(checked=remember)
    submit(page)
    page.wait_for_url(site("/orders?page=2"))
    (expires,) = [c["expires"] for c in context.cookies() if c["name"] == "gw_session"]
    if remember:
        assert expires > time.time() + 3600, "a remembered session outlives the browser"
    else:
        assert expires == -1, "without the tick the cookie goes with the browser"


def test_the_keyboard_alone_signs_in(page: Page, site: Site) -> None:
    page.goto(site("/orders"))
    expect(page.locator(NAME)).to_be_focused()
    page.keyboard.type(ALICE["username"])
    for place in (PASSWORD, REMEMBER, SIGN_IN):
        page.keyboard.press("Tab")
        expect(page.locator(place)).to_be_focused()
        ring = page.eval_on_selector(place, "e => [getComputedStyle(e).outlineStyle, getComputedStyle(e).outlineWidth]")
        assert ring == ["solid", "3px"], "the focus is seen"
        if place == PASSWORD:
            page.keyboard.type(ALICE["password"])
        if place == REMEMBER:
            page.keyboard.press("Space")
            expect(page.locator(REMEMBER)).to_be_checked()
    page.keyboard.press("Enter")
    expect(page).to_have_url(site("/orders"))


def test_enter_in_the_password_signs_in(page: Page, site: Site) -> None:
    page.goto(site("/orders"))
    fill_in(page)
    page.press(PASSWORD, "Enter")
    expect(page).to_have_url(site("/orders"))


def test_a_browser_that_keeps_no_cookies_is_told_so(page_without_cookies: Page, site: Site) -> None:
    page = page_without_cookies
    page.goto(site("/orders"))
    assert page.context.cookies() == []
    submit(page)
    expect(page.get_by_role("alert")).to_have_text("Your browser keeps no cookies, and signing in needs one")
    expect(page).to_have_url(re.compile(re.escape(site(LOGIN))))


def test_the_diagnosis_without_cookies_is_in_chinese_too(page_without_cookies: Page, site: Site) -> None:
    page = page_without_cookies
    page.goto(site(LOGIN + "?lang=zh"))
    submit(page)
    expect(page.get_by_role("alert")).to_have_text("浏览器未启用 Cookie，无法登录")


# -- password managers
def test_password_managers_find_one_form_with_one_name_and_one_current_password(page: Page, site: Site) -> None:
    page.goto(site("/orders"))
    described = """() => [...document.forms].map(form => ({
      method: form.method, action: form.action,
      fields: [...form.elements].filter(e => e.matches("input:not([type=hidden])"))
                                .map(e => [e.name, e.type, e.autocomplete, e.disabled, e.readOnly]),
      submits: [...form.elements].filter(e => e.type === "submit").length,
    }))"""
    assert page.evaluate(described) == [
        {
            "method": "post",
            "action": site(LOGIN),
            "fields": [
                ["username", "text", "username", False, False],
                ["password", "password", "current-password", False, False],
                ["remember", "checkbox", "", False, False],
            ],
            "submits": 1,
        }
    ]
    assert page.locator(NAME).get_attribute("autocapitalize") == "none"


# -- signed in already
def test_who_is_signed_in_already_sees_as_whom_and_may_go_on(page: Page, site: Site) -> None:
    cookie = site.sign_in(page.context)
    page.goto(site(LOGIN + "?next=/orders%3Fpage=2"))
    expect(page.locator("main")).to_contain_text("You are signed in as Alice Archer")
    expect(page.locator(NAME)).not_to_be_focused()
    page.get_by_role("link", name="Go on").click()
    expect(page).to_have_url(site("/orders?page=2"))
    assert site.cookie(page.context) == cookie


def test_signing_in_as_somebody_else_ends_the_first_session(page: Page, site: Site) -> None:
    alices = site.sign_in(page.context)
    page.goto(site(LOGIN + "?next=/mgr/index.html"))
    page.get_by_role("link", name="Sign in as somebody else").click()
    submit(page, MANAGER)
    expect(page.locator("#user")).to_have_text("mgr")
    assert site.who(site.cookie(page.context)) == "mgr"
    assert not site.is_alive(alices)


def test_a_wrong_password_while_signed_in_leaves_the_session_alone(page: Page, site: Site) -> None:
    cookie = site.sign_in(page.context)
    page.goto(site(LOGIN))
    submit(page, {**MANAGER, "password": "wrong"})
    expect(page.get_by_role("alert")).to_have_text("Wrong username or password")
    assert site.cookie(page.context) == cookie
    assert site.is_alive(cookie)


# -- signing out
def test_signing_out_asks_first_then_ends_the_session_and_goes_on(page: Page, site: Site) -> None:
    cookie = site.sign_in(page.context)
    page.goto(site("/orders"))
    page.get_by_role("link", name="Sign out").click()
    expect(page).to_have_url(site("/auth/logout"))
    assert site.is_alive(cookie), "GET shows a button and changes nothing"
    with page.expect_response(lambda r: r.request.method == "POST") as posted:
        page.get_by_role("button", name="Sign out").click()
    assert (posted.value.status, posted.value.headers["location"]) == (303, "/")
    expect(page).to_have_url(site(LOGIN + "?next=%2F"))
    assert site.cookie(page.context) == ""
    assert not site.is_alive(cookie), "the old cookie is dead, whoever kept a copy"


def test_the_back_button_after_signing_out_shows_no_orders(page: Page, site: Site) -> None:
    site.sign_in(page.context)
    page.goto(site("/orders"))
    page.goto(site("/auth/logout"))
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(site(LOGIN + "?next=%2F"))
    page.go_back()
    page.go_back()
    expect(page).to_have_url(site(LOGIN + "?next=%2Forders"))


def test_the_sign_out_page_tells_a_stranger_that_nobody_is_signed_in(page: Page, site: Site) -> None:
    page.goto(site("/auth/logout"))
    expect(page.locator("main")).to_contain_text("Nobody is signed in here.")
    expect(page.locator("form")).to_have_count(0)
    page.get_by_role("link", name="Sign in").click()
    expect(page).to_have_url(site(LOGIN))


def test_signing_out_works_without_javascript(new_context: NewContext, site: Site) -> None:
    context = new_context(java_script_enabled=False)
    cookie = site.sign_in(context)
    page = context.new_page()
    page.goto(site("/auth/logout"))
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(site(LOGIN + "?next=%2F"))
    assert not site.is_alive(cookie)


# -- a session that ended elsewhere
def test_a_page_load_with_an_ended_session_goes_to_the_sign_in_page_and_drops_the_cookie(
    page: Page, site: Site
) -> None:
    cookie = site.sign_in(page.context)
    page.goto(site("/orders"))
    site.end_session(cookie)
    page.reload()
    expect(page).to_have_url(site(LOGIN + "?next=%2Forders"))
    assert site.cookie(page.context) == ""


def test_a_form_posted_on_an_ended_session_leads_back_to_the_page_it_was_on(page: Page, site: Site) -> None:
    cookie = site.sign_in(page.context)
    page.goto(site("/orders?page=2"))
    site.end_session(cookie)
    page.evaluate("""() => {
      const form = Object.assign(document.createElement("form"), { method: "post", action: "/echo" });
      document.body.append(form);
      form.submit();
    }""")
    page.wait_for_url(site(LOGIN + "?next=%2Forders%3Fpage%3D2"))
    submit(page)
    expect(page).to_have_url(site("/orders?page=2"))


# -- languages
def test_the_language_link_switches_the_page_and_keeps_where_to_go(page: Page, site: Site) -> None:
    page.goto(site("/orders?page=2"))
    page.get_by_role("link", name="中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.get_by_role("heading", level=1)).to_have_text("登录")
    submit(page, {**ALICE, "password": "wrong"})
    expect(page.get_by_role("alert")).to_have_text("用户名或密码错误")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    page.get_by_role("link", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    submit(page)
    expect(page).to_have_url(site("/orders?page=2"))


def test_a_chinese_browser_gets_the_chinese_page(new_context: NewContext, site: Site) -> None:
    page = new_context(locale="zh-CN").new_page()
    page.goto(site("/orders"))
    expect(page.get_by_role("button")).to_have_text("登录")
    submit(page)
    page.goto(site("/auth/logout"))
    expect(page.get_by_role("button")).to_have_text("退出登录")


# -- a policy that holds
OWN_PAGES: dict[str, tuple[str, bool]] = {
    "sign in": (LOGIN, False),
    "sign in, Chinese": (LOGIN + "?lang=zh", False),
    "sign in, signed in": (LOGIN, True),
    "sign out": ("/auth/logout", True),
    "sign out, nobody": ("/auth/logout", False),
    "nothing here": ("/auth/nothing", False),
    "malformed": ("/a%2f%2e%2e%2fb", False),
}


@pytest.mark.parametrize("name", OWN_PAGES)
def test_no_page_of_ours_makes_the_browser_complain(page: Page, site: Site, complaints: Complaints, name: str) -> None:
    path, signed_in = OWN_PAGES[name]
    if signed_in:
        site.sign_in(page.context)
    failed: list[str] = []
    page.on(
        "response", lambda r: failed.append(r.url) if r.status >= 400 and r.request.resource_type != "document" else 0
    )
    page.on("requestfailed", lambda r: failed.append(r.url))
    answer = page.goto(site(path), wait_until="networkidle")
    assert answer is not None
    page.locator("h1").wait_for()
    said = [text for text in complaints if not _is_about_the_status(text, answer.status)]
    assert said == []
    assert failed == []
    assert page.locator("script, [style], style, [onclick]").count() == 0
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_page_after_a_wrong_password_makes_the_browser_complain_about_the_status_only(
    page: Page, site: Site, complaints: Complaints
) -> None:
    page.goto(site(LOGIN))
    submit(page, {**ALICE, "password": "wrong"})
    page.get_by_role("alert").wait_for()
    assert [text for text in complaints if not _is_about_the_status(text, 401)] == []


def test_the_watch_on_complaints_would_notice_an_inline_script(page: Page, site: Site, complaints: Complaints) -> None:
    page.goto(site(LOGIN))
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {textContent: '1'}))")
    page.wait_for_function("() => true")
    assert [text for text in complaints if "Content Security Policy" in text]


def _is_about_the_status(text: str, status: int) -> bool:
    """Chromium logs every page with a status from 400 on as an error of its own."""
    return status >= 400 and f"the server responded with a status of {status}" in text


@pytest.mark.parametrize("path", [LOGIN, "/auth/logout", "/auth/nothing"])
def test_no_page_of_ours_scrolls_sideways_on_a_phone_or_at_400_percent(
    new_context: NewContext, site: Site, path: str
) -> None:
    page = new_context().new_page()
    for width in (320, 360, 1280):  # 1280 px at 400 % is 320 px (WCAG 2.2, 1.4.10 Reflow)
        page.set_viewport_size({"width": width, "height": 640})
        page.goto(site(path))
        assert page.evaluate("document.documentElement.scrollWidth") <= width
