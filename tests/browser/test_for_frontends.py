"""Every snippet of ``docs/for-frontends.md`` is run as it stands there, on a living session and on a dead one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from ruamel.yaml import YAML

from tests.browser.site import ALICE, Site, submit
from tests.harness import ROOT

DOCUMENT = (ROOT / "docs/for-frontends.md").read_text(encoding="utf-8")
VENDOR = Path(__file__).with_name("vendor")
SNIPPETS = dict(re.findall(r"<!-- snippet: (.+?) -->\n```js\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE))
LIBRARIES = {"axios": "axios.min.js", "jQuery": "jquery.min.js"}

# For each snippet, how a page uses it: `done` gets what it brought, "failed: …" included.
USES = {
    "fetch": "gatewayFetch('/echo').then(r => r.json()).then(answer => done(answer.target))",
    "XHR": "gatewayXhr('GET', '/echo', (status, answer) => done(answer.target))",
    "axios": "axios.get('/echo').then(answer => done(answer.data.target), error => done('failed: ' + error))",
    "jQuery": "$.get('/echo').done(answer => done(answer.target))",
    "EventSource": "openEvents('/events', message => done(JSON.parse(message.data).user))",
}
BRINGS = dict.fromkeys(USES, "/echo") | {"EventSource": "alice"}
# An answer that is not the gateway's 302 and has to reach the page as ever: the backend's status 418, and its own 302.
OTHERS = {
    "fetch": "gatewayFetch('/status/CODE').then(async r => done([r.status, (await r.json()).status]))",
    "XHR": "gatewayXhr('GET', '/status/CODE', (status, answer) => done([status, answer.status]))",
    "axios": "axios.get('/status/CODE').catch(({response: r}) => done([r.status, r.data.status]))",
    "jQuery": "$.get('/status/CODE').fail(r => done([r.status, r.responseJSON.status]))",
}
OTHER_SNIPPETS = {"come back", "sign in", "sign out"}  # tested below by themselves

PAGE = "/orders?page=2#row-1"
SIGN_IN = "/auth/login?next=%2Forders%3Fpage%3D2"


def load(page: Page, name: str, change: Callable[[str], str] = str) -> None:
    """The snippet into the page, as a script of its own, after the library it is for."""
    if name in LIBRARIES:
        page.add_script_tag(path=VENDOR / LIBRARIES[name])
    page.add_script_tag(content=change(SNIPPETS[name]))


def use(page: Page, code: str) -> Any:
    """What the code hands to ``done``."""
    return page.evaluate(f"() => new Promise(done => {{ {code} }})")


def start(page: Page, code: str) -> None:
    """Runs the code without waiting; what it brings, if anything, is in ``window.brought``."""
    page.evaluate(f"() => {{ const done = value => {{ window.brought = value; }}; setTimeout(() => {{ {code} }}); }}")


@pytest.fixture
def orders(page: Page, site: Site) -> Page:
    site.sign_in(page.context)
    page.goto(site(PAGE))
    return page


# -- the document itself
def test_every_snippet_of_the_document_has_a_test() -> None:
    assert set(SNIPPETS) == USES.keys() | OTHER_SNIPPETS
    assert DOCUMENT.count("```js\n") == len(SNIPPETS), "a js block without <!-- snippet: NAME --> above it"


def test_the_libraries_are_the_files_that_their_readme_names() -> None:
    named = dict(
        re.findall(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", (VENDOR / "README.md").read_text(), re.MULTILINE)
    )
    files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.iterdir()
        if path.name != "README.md"
    }
    assert files == named


# -- the helpers
@pytest.mark.parametrize("name", USES)
def test_on_a_living_session_the_snippet_brings_the_answer(orders: Page, site: Site, name: str) -> None:
    load(orders, name)
    assert use(orders, USES[name]) == BRINGS[name]
    expect(orders).to_have_url(site(PAGE))


@pytest.mark.parametrize("name", USES)
def test_on_a_dead_session_the_snippet_goes_to_the_sign_in_page_and_comes_back(
    orders: Page, site: Site, name: str
) -> None:
    load(orders, name)
    site.end_session(site.cookie(orders.context))
    start(orders, USES[name])
    orders.wait_for_url(site(SIGN_IN))
    submit(orders)
    expect(orders).to_have_url(site("/orders?page=2"))


@pytest.mark.parametrize("name", OTHERS)
def test_the_snippet_leaves_every_other_answer_alone(orders: Page, site: Site, name: str) -> None:
    load(orders, name)
    for code in (418, 302, 500):
        assert use(orders, OTHERS[name].replace("CODE", str(code))) == [code, code]
    expect(orders).to_have_url(site(PAGE))


def test_an_event_stream_that_loses_its_session_on_the_way_goes_to_the_sign_in_page(orders: Page, site: Site) -> None:
    load(orders, "EventSource")
    assert use(orders, "openEvents('/events?count=1', message => done(JSON.parse(message.data).n))") == 1
    site.end_session(site.cookie(orders.context))
    orders.wait_for_url(site(SIGN_IN))  # the stream is over, and the browser connects again after a while


def test_with_jquery_the_failure_of_the_request_itself_is_called_too(orders: Page, site: Site) -> None:
    load(orders, "jQuery")
    site.end_session(site.cookie(orders.context))
    # Kept where the next page finds it: the snippet leaves this one at the same moment.
    start(orders, "$.get('/echo').fail(r => { sessionStorage.failed = `${r.status} ${r.responseJSON.ret}`; })")
    orders.wait_for_url(site(SIGN_IN))
    assert orders.evaluate("sessionStorage.failed") == "302 302"


def test_with_axios_and_without_the_snippet_the_refusal_is_in_the_error(orders: Page, site: Site) -> None:
    orders.add_script_tag(path=VENDOR / LIBRARIES["axios"])
    site.end_session(site.cookie(orders.context))
    assert use(orders, "axios.get('/echo').catch(({response: r}) => done([r.status, r.data.ret]))") == [302, 302]


# -- refuse.status: 401
@pytest.fixture(scope="module")
def site_401(make_site: Callable[..., Site]) -> Site:
    """A gateway with the routes that the document shows, and the pages beside them."""
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    (route,) = YAML(typ="safe").load(block)["routes"]
    # The demo's backend has no /api/ for everybody: the same rule where it answers.
    return make_site([{**route, "path": "/echo"}, {"path": "/"}])


@pytest.mark.parametrize("name", ["fetch", "XHR", "axios", "jQuery"])
def test_with_401_in_its_place_the_snippet_serves_a_route_that_says_401(page: Page, site_401: Site, name: str) -> None:
    site_401.sign_in(page.context)
    page.goto(site_401(PAGE))
    load(page, name, lambda code: code.replace("302", "401"))
    assert use(page, USES[name]) == "/echo"
    site_401.end_session(site_401.cookie(page.context))
    start(page, USES[name])
    page.wait_for_url(site_401(SIGN_IN))


def test_a_route_that_says_401_is_read_with_redirect_manual_too(page: Page, site_401: Site) -> None:
    page.goto(site_401("/auth/static/gateway.css"))
    assert page.evaluate("fetch('/echo', {redirect: 'manual'}).then(async r => [r.status, (await r.json()).ret])") == [
        401,
        401,
    ]
    answer = page.goto(site_401("/echo"))
    assert answer is not None
    assert answer.status == 401, "a page load gets it as well"
    assert "location" not in answer.headers


# -- signing in and out
def test_come_back_goes_to_the_sign_in_page_and_back_to_the_very_place(page: Page, site: Site) -> None:
    page.goto(site("/public/about.html?a=1&b=%26#hours"))
    load(page, "come back")
    start(page, "signInAndComeBack()")
    page.wait_for_url(re.compile("/auth/login"))
    submit(page)
    expect(page).to_have_url(site("/public/about.html?a=1&b=%26#hours"))


def test_sign_in_signs_in_and_returns_the_words_for_a_wrong_password(page: Page, site: Site) -> None:
    page.goto(site("/public/about.html?a=1"))
    load(page, "sign in")
    assert page.evaluate("signIn('alice', 'wrong')") == "Wrong username or password"
    expect(page).to_have_url(site("/public/about.html?a=1"))
    with page.expect_navigation(url=site("/public/about.html?a=1")):
        start(page, f"signIn('alice', '{ALICE['password']}')")
    assert site.who(site.cookie(page.context)) == "alice"


def test_sign_out_ends_the_session(orders: Page, site: Site) -> None:
    cookie = site.cookie(orders.context)
    load(orders, "sign out")
    start(orders, "signOut()")
    orders.wait_for_url(site("/auth/login?next=%2F"))
    assert not site.is_alive(cookie)
