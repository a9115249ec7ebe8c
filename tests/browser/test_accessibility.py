"""What a screen reader is told, from Chromium's own accessibility tree, and what a low-vision user gets."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import NewContext
from tests.browser.site import ALICE, Site, submit

WIDGETS = {"textbox", "checkbox", "button", "link", "combobox", "radio"}
LANGUAGES = {"en-GB": "en", "zh-CN": "zh-CN"}


def _wrong(page: Page, site: Site) -> None:
    page.goto(site("/auth/login"))
    submit(page, {**ALICE, "password": "wrong"})
    page.get_by_role("alert").wait_for()


def _signed_in(page: Page, site: Site) -> None:
    site.sign_in(page.context)
    page.goto(site("/auth/login"))


def _sign_out(page: Page, site: Site) -> None:
    site.sign_in(page.context)
    page.goto(site("/auth/logout"))


PAGES: dict[str, Any] = {
    "sign in": lambda page, site: page.goto(site("/auth/login")),
    "wrong password": _wrong,
    "signed in already": _signed_in,
    "sign out": _sign_out,
    "sign out, nobody": lambda page, site: page.goto(site("/auth/logout")),
    "nothing here": lambda page, site: page.goto(site("/auth/nothing")),
}


def tree(page: Page) -> list[dict[str, Any]]:
    """The accessible nodes: ``role``, ``name``, ``description`` and the properties (``level``, ``invalid`` …)."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    return [
        {
            "role": node["role"]["value"],
            "name": node.get("name", {}).get("value", ""),
            "description": node.get("description", {}).get("value", ""),
            **{p["name"]: p["value"].get("value") for p in node.get("properties", ())},
        }
        for node in nodes
        if not node["ignored"]
    ]


@pytest.mark.parametrize(
    ("name", "locale"), [*((name, "en-GB") for name in PAGES), ("wrong password", "zh-CN"), ("sign out", "zh-CN")]
)
def test_every_widget_has_a_name_and_the_page_one_heading_one_main_part_and_a_language(
    new_context: NewContext, site: Site, name: str, locale: str
) -> None:
    page = new_context(locale=locale).new_page()
    PAGES[name](page, site)
    nodes = tree(page)
    widgets = [node for node in nodes if node["role"] in WIDGETS]
    assert all(node["name"].strip() for node in widgets), widgets
    assert sum(node["role"] == "heading" and node.get("level") == 1 for node in nodes) == 1
    assert [node["role"] for node in nodes].count("main") == 1
    assert not [node for node in nodes if node["role"] == "image" and not node["name"]], "decoration is not announced"
    assert page.locator("html").get_attribute("lang") == LANGUAGES[locale]
    assert page.title().strip()


def test_the_fields_are_announced_as_what_they_are_and_as_wrong_when_they_are(page: Page, site: Site) -> None:
    page.goto(site("/auth/login"))
    fields = {n["name"]: n for n in tree(page) if n["role"] in WIDGETS}
    assert list(fields) == ["中文", "Username or email", "Password", "Keep me signed in", "Sign in"]
    assert fields["Password"]["required"] is True
    assert fields["Password"]["invalid"] == "false"
    submit(page, {**ALICE, "password": "wrong"})
    page.get_by_role("alert").wait_for()
    fields = {n["name"]: n for n in tree(page) if n["role"] in WIDGETS}
    for name in ("Username or email", "Password"):
        assert fields[name]["invalid"] == "true"
        assert fields[name]["description"] == "Wrong username or password"


def test_the_language_link_is_announced_in_its_own_language(page: Page, site: Site) -> None:
    page.goto(site("/auth/login"))
    assert page.get_by_role("link", name="中文").get_attribute("lang") == "zh-CN"


@pytest.mark.parametrize("name", ["sign in", "signed in already", "sign out"])
def test_everything_to_press_is_large_enough_for_a_finger(new_context: NewContext, site: Site, name: str) -> None:
    page = new_context(viewport={"width": 360, "height": 740}, has_touch=True).new_page()
    PAGES[name](page, site)
    heights = "e => [e.textContent.trim() || e.name, e.getBoundingClientRect().height]"
    for element in page.locator("a, button, input:not([type=hidden], [type=checkbox]), label:has(input)").all():
        what, height = element.evaluate(heights)
        assert height >= 44, what  # WCAG 2.2, 2.5.5


def test_the_form_is_still_there_with_forced_colours_and_large_text(new_context: NewContext, site: Site) -> None:
    page = new_context(viewport={"width": 360, "height": 740}, forced_colors="active").new_page()
    page.goto(site("/auth/login"))
    page.evaluate("document.documentElement.style.fontSize = '200%'")  # WCAG 2.2, 1.4.4
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    submit(page)
    page.wait_for_url(lambda url: "/auth/login" not in url)
