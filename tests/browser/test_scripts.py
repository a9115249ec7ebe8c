"""What scripts see of a refusal: the JSON 302 without Location is handed to them as it is (design, founding decision 2).

The table of ``docs/for-frontends.md`` is written down here, row by row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.site import Site

PAGE = "/orders?page=2"
BACK = "/auth/login?next=%2Forders%3Fpage%3D2"
FORGED = "AAAA" * 17
CALLS = [["GET", "/echo"], ["POST", "/echo"]]
FETCH = "([method, url]) => fetch(url, {method}).then(async r => [r.status, await r.json()])"
XHR = """([method, url]) => new Promise(done => {
  const request = new XMLHttpRequest();
  request.open(method, url);
  request.responseType = "json";
  request.onloadend = () => done([request.status, request.response]);
  request.send();
})"""
Ending = Callable[[Site, Page], None]


def _ended_elsewhere(site: Site, page: Page) -> None:
    site.end_session(site.cookie(page.context))


def _cookie_cleared(site: Site, page: Page) -> None:
    page.context.clear_cookies()


def _cookie_forged(site: Site, page: Page) -> None:
    site.set_cookie(page.context, FORGED)


def _cookie_changed(site: Site, page: Page) -> None:
    value = site.cookie(page.context)
    site.set_cookie(page.context, value[:-1] + ("A" if value[-1] != "A" else "Q"))


@pytest.fixture
def orders(page: Page, site: Site) -> Page:
    """Alice on a page of hers."""
    site.sign_in(page.context)
    page.goto(site(PAGE))
    return page


@pytest.fixture
def dead(orders: Page, site: Site) -> Page:
    """The same page; the session has just been ended elsewhere."""
    _ended_elsewhere(site, orders)
    return orders


# -- fetch and XHR, and every way in which a session can be gone
ENDINGS = [
    pytest.param(_ended_elsewhere, "revoked", id="ended elsewhere"),
    pytest.param(_cookie_cleared, "no_session", id="cookie cleared"),
    pytest.param(_cookie_forged, "no_session", id="cookie forged"),
    pytest.param(_cookie_changed, "no_session", id="cookie changed in its last character"),
]


@pytest.mark.parametrize(("end", "reason"), ENDINGS)
def test_fetch_and_xhr_read_status_302_and_the_body(orders: Page, site: Site, end: Ending, reason: str) -> None:
    assert [orders.evaluate(how, call)[0] for how in (FETCH, XHR) for call in CALLS] == [200] * 4
    for how in (FETCH, XHR):
        for call in CALLS:
            end(site, orders)
            status, body = orders.evaluate(how, call)
            assert status == 302
            assert body.pop("request_id")
            assert body.pop("msg")
            assert body == {"ret": 302, "redirect": BACK, "reason": reason}
            site.sign_in(orders.context)


def test_the_refusal_takes_a_dead_cookie_out_of_the_browser(dead: Page, site: Site) -> None:
    assert site.cookie(dead.context)
    dead.evaluate(FETCH, ["GET", "/echo"])
    assert site.cookie(dead.context) == ""


def test_a_script_that_goes_to_redirect_comes_back_to_its_page(dead: Page, site: Site) -> None:
    dead.evaluate("() => { fetch('/echo').then(r => r.json()).then(body => location.assign(body.redirect)); }")
    dead.wait_for_url(site(BACK))


def test_a_page_without_referrer_is_sent_to_the_start_page(page: Page, site: Site) -> None:
    site.sign_in(page.context)
    page.goto(site(PAGE))
    page.evaluate(
        "document.head.append(Object.assign(document.createElement('meta'), "
        "{name: 'referrer', content: 'no-referrer'}))"
    )
    _ended_elsewhere(site, page)
    body = page.evaluate("fetch('/echo').then(r => r.json())")
    assert body["redirect"] == "/auth/login?next=%2F"


# -- the other clients of the table
def test_fetch_with_redirect_manual_sees_an_opaque_answer(dead: Page) -> None:
    script = "fetch('/echo', {redirect: 'manual'}).then(async r => [r.status, r.type, await r.text()])"
    assert dead.evaluate(script) == [0, "opaqueredirect", ""]


def test_fetch_with_redirect_error_reads_the_body_in_chromium(dead: Page) -> None:
    script = "fetch('/echo', {redirect: 'error'}).then(async r => [r.status, (await r.json()).ret])"
    assert dead.evaluate(script) == [302, 302]


def test_an_event_source_is_closed_without_a_word(dead: Page) -> None:
    script = """() => new Promise(done => {
      const source = new EventSource("/events");
      source.onerror = event => done([source.readyState, event.data ?? null]);
    })"""
    assert dead.evaluate(script) == [2, None]


def test_a_web_socket_is_closed_with_1006_and_never_opened(dead: Page) -> None:
    script = """() => new Promise(done => {
      const opened = [], socket = new WebSocket(location.origin.replace("http", "ws") + "/ws");
      socket.onopen = () => opened.push(true);
      socket.onclose = event => done([event.code, event.reason, opened.length]);
    })"""
    assert dead.evaluate(script) == [1006, "", 0]


@pytest.mark.parametrize("tag", ["img", "script"])
def test_an_embedded_file_fires_error(dead: Page, tag: str) -> None:
    script = """tag => new Promise(done => {
      const element = document.createElement(tag);
      element.onload = () => done("load");
      element.onerror = () => done("error");
      element.src = "/download?bytes=10";
      document.body.append(element);
    })"""
    assert dead.evaluate(script, tag) == "error"


def test_a_frame_shows_the_sign_in_page(dead: Page, site: Site) -> None:
    dead.evaluate("document.body.append(Object.assign(document.createElement('iframe'), {src: '/echo'}))")
    heading = dead.frame_locator("iframe").get_by_role("heading", level=1)
    expect(heading).to_have_text("Sign in")
    assert dead.frames[1].url == site("/auth/login?next=%2Fecho")


# -- the gateway's own endpoints, from a script
def test_a_script_signs_in_asks_who_it_is_and_signs_out(page: Page, site: Site) -> None:
    page.goto(site("/public/about.html"))
    post = """([path, fields]) => fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(fields),
    }).then(async r => [r.status, await r.json()])"""
    alice: dict[str, Any] = {"username": "alice", "password": "alice-demo", "next": "/orders"}
    status, answer = page.evaluate(post, ["/auth/login", {**alice, "password": "wrong"}])
    assert (status, answer["ret"], answer["reason"]) == (401, 1, "bad_credentials")
    status, answer = page.evaluate(post, ["/auth/login", alice])
    assert (status, answer["ret"], answer["redirect"], answer["user"]["name"]) == (200, 0, "/orders", "Alice Archer")
    session = page.evaluate("fetch('/auth/session').then(r => r.json())")
    assert session["ret"] == 0
    assert session["idle_left"] > 0
    assert page.evaluate(post, ["/auth/logout", {}]) == [200, {"ret": 0, "redirect": "/"}]
    assert page.evaluate("fetch('/auth/session').then(r => r.json())")["ret"] == 302


def test_no_script_can_read_the_session_cookie(orders: Page, site: Site) -> None:
    assert site.cookie(orders.context)
    assert orders.evaluate("document.cookie") == ""
