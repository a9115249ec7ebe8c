"""What has to be true of every page of ours, in every state: for eyes, keyboards, screen readers and small screens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints, NewContext
from tests.browser.own_site import OwnSite
from tests.browser.site import ALICE, NAME, PASSWORD, REMEMBER, SIGN_IN, submit
from tests.browser.states import (
    ACCOUNT,
    AGAIN,
    CHANGE,
    LOGIN,
    NEW,
    OLD,
    PHONE,
    STATES,
    change_password,
    on_three_devices,
)

AXE = (Path(__file__).with_name("vendor") / "axe.min.js").read_text(encoding="utf-8")
BETTER = "a much better one"
LANGUAGES = {"en-GB": "en", "zh-CN": "zh-CN"}
SIZES = ({"width": 1280, "height": 800}, {"width": 360, "height": 740})

every_state = pytest.mark.parametrize("name", STATES)


def open_state(own: OwnSite, new_context: NewContext, name: str, **options: Any) -> Page:
    page = new_context(reduced_motion="reduce", **options).new_page()
    STATES[name].prepare(own, page)
    return page


def mistakes(page: Page) -> list[str]:
    """What axe-core finds: WCAG 2.2 A and AA, contrast as AAA wants it (7:1), and good practice."""
    found = page.evaluate(
        """async () => (await axe.run(document, {
          runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
          rules: {"color-contrast-enhanced": {enabled: true}},
          resultTypes: ["violations"],
        })).violations.map(v => v.id + ": " + v.nodes.map(n => n.html).join(" "))"""
    )
    return list(found)


# -- axe
@every_state
def test_axe_finds_no_mistake_in_any_size_and_scheme(own: OwnSite, new_context: NewContext, name: str) -> None:
    page = open_state(own, new_context, name)
    page.evaluate(AXE)
    for scheme in ("light", "dark"):
        for size in SIZES:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size(size)
            assert mistakes(page) == [], (scheme, size)


def test_axe_would_find_a_mistake(own: OwnSite, new_context: NewContext) -> None:
    page = open_state(own, new_context, "sign-in")
    page.evaluate(AXE)
    page.evaluate("document.querySelector('label').remove(); document.querySelector('h1').style.color = '#aaa'")
    assert {one.partition(":")[0] for one in mistakes(page)} >= {"label", "color-contrast"}


# -- what every page has
@every_state
@pytest.mark.parametrize("locale", LANGUAGES)
def test_every_page_speaks_one_language_has_one_heading_and_no_script_and_makes_nobody_complain(
    own: OwnSite, new_context: NewContext, name: str, locale: str
) -> None:
    page = new_context(locale=locale).new_page()
    complaints, answers, failed = Complaints(), [], []
    complaints.watch(page)
    page.on("response", lambda r: answers.append(r) if r.request.resource_type == "document" else None)
    page.on("requestfailed", lambda r: failed.append(r.url))
    STATES[name].prepare(own, page)
    assert answers[-1].status == STATES[name].status
    policy = answers[-1].headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.locator("html").get_attribute("lang") == LANGUAGES[locale]
    assert page.locator("h1").count() == page.locator("main").count() == 1
    assert page.locator("script, [style], style, [onclick]").count() == 0
    assert failed == []
    assert [text for text in complaints if "the server responded with a status of" not in text] == []
    assert page.locator("h1").inner_text() in page.title()


@every_state
def test_nothing_scrolls_sideways_at_320_pixels_nor_with_text_of_twice_the_size(
    own: OwnSite, new_context: NewContext, name: str
) -> None:
    page = open_state(own, new_context, name, viewport={"width": 320, "height": 640})  # 1280 at 400 % (WCAG 1.4.10)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.evaluate("document.documentElement.style.fontSize = '200%'")  # WCAG 1.4.4
    for width in (360, 1280):
        page.set_viewport_size({"width": width, "height": 640})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@every_state
def test_the_keyboard_reaches_everything_in_the_order_of_the_page_and_the_focus_is_seen(
    own: OwnSite, new_context: NewContext, name: str
) -> None:
    page = open_state(own, new_context, name)
    page.evaluate("""() => {  // begin at the top, wherever the focus is
      const first = Object.assign(document.createElement("span"), {tabIndex: -1});
      document.body.prepend(first);
      first.focus();
    }""")
    wanted = page.evaluate("""() => {
      const all = [...document.querySelectorAll("a[href], button, input:not([type=hidden], [hidden])")];
      all.forEach((element, index) => element.dataset.index = index);
      return all.length;
    }""")
    reached = []
    for _ in range(wanted):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("""() => {
              const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
              return [Number(e.dataset.index), style.outlineStyle, style.outlineWidth, box.width > 0 && box.height > 0];
            }""")
        )
    assert reached == [[index, "solid", "3px", True] for index in range(wanted)]


@every_state
def test_everything_to_press_is_large_enough_for_a_finger(own: OwnSite, new_context: NewContext, name: str) -> None:
    page = open_state(own, new_context, name, viewport={"width": 360, "height": 740}, has_touch=True)
    sizes = page.evaluate("""() =>
      [...document.querySelectorAll("a, button, input:not([type=hidden], [type=checkbox], [hidden]), label:has(input)")]
        .map(e => [e.textContent.trim() || e.name, e.getBoundingClientRect().height])""")
    assert sizes
    assert [what for what, height in sizes if height < 44] == []  # WCAG 2.2, 2.5.5


@pytest.mark.parametrize("name", ["account", "password", "denied"])
def test_it_is_all_there_with_forced_colours(own: OwnSite, new_context: NewContext, name: str) -> None:
    page = open_state(own, new_context, name, forced_colors="active")
    edges = page.locator(".button").evaluate_all("all => all.map(e => getComputedStyle(e).borderTopStyle)")
    assert set(edges) == {"solid"}


# -- my account
def test_a_device_is_signed_out_with_the_keyboard_alone_and_it_is_told(own: OwnSite, page: Page) -> None:
    on_three_devices(own, page)
    phone = own.sign_in_elsewhere(PHONE)
    own.visit(page, ACCOUNT)
    button = page.get_by_role("button", name="Sign out Safari on iPhone").first
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("That device was signed out.")
    expect(page.locator(".sessions li")).to_have_count(3)
    assert not own.is_alive(phone)
    assert own.is_alive(own.cookie(page.context))


def test_without_javascript_all_the_others_are_signed_out(own: OwnSite, new_context: NewContext) -> None:
    page = new_context(java_script_enabled=False).new_page()
    on_three_devices(own, page)
    page.get_by_role("button", name="Sign out all the others").click()
    expect(page.get_by_role("status")).to_have_text("All your other devices were signed out.")
    expect(page.locator(".sessions li")).to_have_count(1)
    expect(page.locator(".badge")).to_have_text("This device")


def test_signing_out_everywhere_ends_this_session_too(own: OwnSite, page: Page) -> None:
    on_three_devices(own, page)
    cookie = own.cookie(page.context)
    page.get_by_role("button", name="Sign out everywhere").click()
    page.wait_for_url(own(LOGIN + "?next=%2F"))
    assert own.cookie(page.context) == ""
    assert not own.is_alive(cookie)


def test_signing_out_is_one_press_and_a_stranger_comes_back_to_his_account(own: OwnSite, page: Page) -> None:
    STATES["account"].prepare(own, page)
    page.locator(".who").get_by_role("button", name="Sign out").click()
    page.wait_for_url(own(LOGIN + "?next=%2F"))
    page.goto(own(ACCOUNT))
    expect(page).to_have_url(own(LOGIN + "?next=%2Fauth%2Faccount"))
    submit(page)
    expect(page).to_have_url(own(ACCOUNT))


def test_the_language_goes_along_from_page_to_page(own: OwnSite, page: Page) -> None:
    STATES["account"].prepare(own, page)
    page.get_by_role("link", name="中文").click()
    expect(page.locator("h1")).to_have_text("我的账号")
    page.get_by_role("button", name="退出所有其他设备").click()
    expect(page.get_by_role("status")).to_have_text("您的其他设备均已退出登录。")
    page.get_by_role("link", name="修改密码").click()
    expect(page.locator("h1")).to_have_text("修改密码")
    page.get_by_role("link", name="返回我的账号").click()
    expect(page.locator("h1")).to_have_text("我的账号")


# -- not welcome there
def test_who_may_not_go_there_can_sign_in_as_somebody_else(own: OwnSite, page: Page) -> None:
    STATES["denied"].prepare(own, page)
    expect(page.locator("main")).to_contain_text("/mgr/index.html")
    expect(page.locator("main")).to_contain_text("Alice Archer")
    page.get_by_role("link", name="Sign in as somebody else").click()
    expect(page.locator(NAME)).to_be_visible()
    expect(page.get_by_role("link", name="Go on")).to_have_count(0)
    submit(page, {"username": "mgr", "password": "mgr-demo"})
    expect(page).to_have_url(own("/mgr/index.html"))


# -- cookies are off
def test_who_has_switched_cookies_on_again_comes_in(own: OwnSite, page: Page) -> None:
    page.goto(own("/orders?page=2"))
    page.fill(NAME, ALICE["username"])
    page.fill(PASSWORD, ALICE["password"])
    page.context.clear_cookies()
    page.press(PASSWORD, "Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Cookies are switched off")
    page.get_by_role("link", name="Try again").click()
    submit(page)
    expect(page).to_have_url(own("/orders?page=2"))


# -- passwords
def fields(page: Page) -> list[list[str]]:
    """Every form's fields for a password manager: name, type, autocomplete."""
    return list(
        page.evaluate("""() => [...document.forms].flatMap(form => [...form.elements]
          .filter(e => e.matches("input:not([type=hidden])")).map(e => [e.name, e.type, e.autocomplete]))""")
    )


def test_password_managers_see_whose_password_it_is_the_old_one_and_the_new_one_twice(
    own: OwnSite, new_context: NewContext
) -> None:
    twice = [["new_password", "password", "new-password"], ["again", "password", "new-password"]]
    whose = ["username", "text", "username"]
    page = open_state(own, new_context, "password")
    assert fields(page) == [whose, ["old_password", "password", "current-password"], *twice]
    assert page.locator("[name=username]").input_value() == "alice"
    assert fields(open_state(own, new_context, "reset")) == [whose, *twice]


@pytest.mark.parametrize(
    ("name", "wrong"), [("password-error", OLD), ("password-differs", AGAIN), ("reset-error", NEW)]
)
def test_an_error_is_announced_and_tied_to_its_field_which_has_the_focus(
    own: OwnSite, new_context: NewContext, name: str, wrong: str
) -> None:
    page = open_state(own, new_context, name)
    words = page.get_by_role("alert").inner_text()
    assert words
    expect(page.locator(wrong)).to_be_focused()
    assert page.locator("[aria-invalid=true]").count() == 1
    expect(page.locator(wrong)).to_have_attribute("aria-invalid", "true")
    assert (page.locator(wrong).get_attribute("aria-describedby") or "").split()[0] == "error"
    assert page.title().startswith("Error: ")
    assert (
        page.locator("[type=password]").evaluate_all("all => all.map(e => e.value)")
        == [""] * page.locator("[type=password]").count()
    )


@pytest.mark.parametrize("java_script", [True, False])
def test_a_new_password_is_set_and_the_other_devices_are_signed_out(
    own: OwnSite, new_context: NewContext, java_script: bool
) -> None:
    page = new_context(java_script_enabled=java_script).new_page()
    on_three_devices(own, page)
    phone = own.sign_in_elsewhere(PHONE)
    page.get_by_role("link", name="Change password").click()
    change_password(page, ALICE["password"], BETTER, BETTER)
    expect(page.get_by_role("status")).to_have_text("Your password was changed. Your other devices were signed out.")
    expect(page).to_have_url(own(ACCOUNT + "?said=password"))
    expect(page.locator(".sessions li")).to_have_count(1)
    assert not own.is_alive(phone)
    own.visit(page, CHANGE)
    change_password(page, BETTER, ALICE["password"], ALICE["password"])
    page.get_by_role("status").wait_for()


def test_a_link_sets_a_new_password_once(own: OwnSite, page: Page) -> None:
    path = own.reset_path("mgr")
    own.visit(page, path)
    page.fill(NEW, BETTER)
    page.fill(AGAIN, BETTER)
    page.press(AGAIN, "Enter")
    expect(page.get_by_role("status")).to_have_text("Your new password is set. Sign in with it.")
    submit(page, {"username": "mgr", "password": BETTER})
    page.wait_for_url(own("/"))
    own.visit(page, path)
    expect(page.locator("h1")).to_have_text("This link is not valid any more")
    own.visit(page, own.reset_path("mgr"))
    page.fill(NEW, "mgr-demo-again")
    page.fill(AGAIN, "mgr-demo-again")
    page.press(AGAIN, "Enter")
    page.get_by_role("status").wait_for()


def test_the_sign_in_form_is_walked_through_with_the_keyboard(own: OwnSite, page: Page) -> None:
    own.visit(page, LOGIN)
    expect(page.locator(NAME)).to_be_focused()
    for place in (PASSWORD, REMEMBER, SIGN_IN):
        page.keyboard.press("Tab")
        expect(page.locator(place)).to_be_focused()
