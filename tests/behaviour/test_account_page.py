"""My account, ``/auth/account``: who I am, where I am signed in, and ending it (docs/http-api.md)."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from aiohttp import ClientResponse

from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MANAGER, Gateway, session_cookie
from tests.quick import make_gateway

__all__ = ["make_gateway"]

ACCOUNT = "/auth/account"
PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"


async def sign_in(gateway: Gateway, agent: str = FIREFOX, user: dict[str, Any] = ALICE) -> str:
    response = await gateway.post("/auth/login", json=user, headers={"User-Agent": agent})
    assert response.status == 200
    return session_cookie(response)


async def page(gateway: Gateway, cookie: str, path: str = ACCOUNT, **headers: str) -> str:
    response = await gateway.get(path, cookie=cookie, headers={**PAGE, **headers})
    assert (response.status, response.content_type) == (200, "text/html")
    assert response.headers["Cache-Control"] == "no-store"
    return unescape(await response.text())


def handles(html: str) -> list[str]:
    return re.findall(r'name="handle" value="([^"]+)"', html)


async def press(gateway: Gateway, cookie: str, action: str, **fields: str) -> ClientResponse:
    return await gateway.post(ACCOUNT, cookie=cookie, data={"action": action, **fields}, headers=PAGE)


async def lives(gateway: Gateway, cookie: str) -> bool:
    return (await gateway.get("/orders", cookie=cookie)).status == 200


# -- the page
async def test_the_page_says_who_i_am_and_where_i_am_signed_in(gateway: Gateway) -> None:
    here, _, _ = await sign_in(gateway), await sign_in(gateway, PHONE), await sign_in(gateway, user=MANAGER)
    html = await page(gateway, here)
    for text in ("Alice Archer", "alice@example.org", "Firefox on Linux", "Safari on iPhone", "127.0.0.1", "just now"):
        assert text in html
    assert html.count("This device") == 1
    assert len(handles(html)) == 1, "this device has no button of its own, and the manager's is not shown"
    assert "Sign out all the others" in html


async def test_this_device_comes_first(gateway: Gateway) -> None:
    await sign_in(gateway, PHONE)
    here = await sign_in(gateway)
    html = await page(gateway, here)
    assert html.index("Firefox on Linux") < html.index("Safari on iPhone")


async def test_alone_there_is_nobody_else_to_sign_out(gateway: Gateway) -> None:
    html = await page(gateway, await sign_in(gateway))
    assert "Sign out all the others" not in html
    assert "Sign out everywhere" in html


async def test_a_session_without_a_browser_is_an_unknown_device_or_its_program(gateway: Gateway) -> None:
    here = await sign_in(gateway, "")
    await sign_in(gateway, "<script>alert(1)</script>/1.0")
    response = await gateway.get(ACCOUNT, cookie=here, headers=PAGE)
    html = await response.text()
    assert "Unknown device" in html
    assert "<script>" not in html


async def test_the_page_is_in_chinese_too(gateway: Gateway) -> None:
    here = await sign_in(gateway)
    html = await page(gateway, here, ACCOUNT + "?lang=zh")
    for text in ("我的账号", "Linux 上的 Firefox", "当前设备", "刚刚"):
        assert text in html
    assert 'action="/auth/account?lang=zh"' in html
    assert 'href="/auth/password?lang=zh"' in html


async def test_a_stranger_is_sent_to_the_sign_in_page_and_comes_back(gateway: Gateway) -> None:
    response = await gateway.get(ACCOUNT, headers=PAGE)
    assert (response.status, response.headers["Location"]) == (302, "/auth/login?next=%2Fauth%2Faccount")
    assert (await response.json())["reason"] == "no_session"
    signed_in = await gateway.post("/auth/login", json={**ALICE, "next": ACCOUNT})
    assert (await signed_in.json())["redirect"] == ACCOUNT
    script = await gateway.get(ACCOUNT)
    assert (script.status, "Location" in script.headers) == (302, False)
    posted = await press(gateway, "", "revoke_all")
    assert (posted.status, (await posted.json())["reason"]) == (302, "no_session")


async def test_a_cookie_of_a_session_that_is_over_is_deleted(gateway: Gateway) -> None:
    here = await sign_in(gateway)
    await gateway.post("/auth/logout", cookie=here)
    response = await gateway.get(ACCOUNT, cookie=here, headers=PAGE)
    assert (response.status, response.cookies["gw_session"]["max-age"]) == (302, "0")


# -- ending sessions
async def test_a_press_on_its_button_ends_that_session_alone(gateway: Gateway) -> None:
    here, phone, tablet = [await sign_in(gateway, agent) for agent in (FIREFOX, PHONE, "")]
    html = await page(gateway, here)
    (of_phone,) = re.findall(r'Safari on iPhone.*?name="handle" value="([^"]+)"', html, re.DOTALL)
    done = await press(gateway, here, "revoke", handle=of_phone)
    assert (done.status, done.headers["Location"]) == (303, ACCOUNT + "?said=revoked")
    assert [await lives(gateway, one) for one in (here, phone, tablet)] == [True, False, True]
    again = await press(gateway, here, "revoke", handle=of_phone)
    assert (again.status, again.headers["Location"]) == (303, ACCOUNT), "it is over already: nothing to boast of"


async def test_all_the_others_are_ended_and_this_one_stays(gateway: Gateway) -> None:
    here, phone, tablet = [await sign_in(gateway, agent) for agent in (FIREFOX, PHONE, "")]
    done = await press(gateway, here, "revoke_others")
    assert (done.status, done.headers["Location"]) == (303, ACCOUNT + "?said=others")
    assert [await lives(gateway, one) for one in (here, phone, tablet)] == [True, False, False]


async def test_signing_out_everywhere_ends_this_one_too_and_leaves_as_signing_out_does(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    leaving = {"redirect": "/bye", "clear_cookies": ["legacy"], "clear_site_data": ["cache"]}
    gateway = await make_gateway(backend.url, logout=leaving)
    here, phone = await sign_in(gateway), await sign_in(gateway, PHONE)
    manager = await sign_in(gateway, user=MANAGER)
    done = await press(gateway, here, "revoke_all")
    assert (done.status, done.headers["Location"]) == (303, "/bye")
    assert done.headers["Clear-Site-Data"] == '"cache"'
    assert {name: morsel["max-age"] for name, morsel in done.cookies.items()} == {"gw_session": "0", "legacy": "0"}
    assert not await lives(gateway, here)
    assert not await lives(gateway, phone)
    assert (await gateway.get("/orders", cookie=manager)).status == 200


async def test_its_own_handle_signs_this_one_out(gateway: Gateway) -> None:
    here = await sign_in(gateway)
    listed = await (await gateway.get("/auth/sessions", cookie=here)).json()
    done = await press(gateway, here, "revoke", handle=listed["sessions"][0]["handle"])
    assert (done.status, done.headers["Location"]) == (303, "/")
    assert not await lives(gateway, here)


async def test_a_program_gets_json(gateway: Gateway) -> None:
    here, phone = await sign_in(gateway), await sign_in(gateway, PHONE)
    others = await gateway.post(ACCOUNT, cookie=here, json={"action": "revoke_others"})
    assert (others.status, await others.json()) == (200, {"ret": 0, "ended": 1})
    assert not await lives(gateway, phone)
    unknown = await gateway.post(ACCOUNT, cookie=here, json={"action": "revoke", "handle": "nothing"})
    assert (unknown.status, (await unknown.json())["reason"]) == (404, "no_such_session")
    everything = await gateway.post(ACCOUNT, cookie=here, json={"action": "revoke_all"})
    assert await everything.json() == {"ret": 0, "ended": 1, "redirect": "/"}


@pytest.mark.parametrize("handle", ["", "x", "../x", "x" * 101, "\x00"])
async def test_a_handle_of_nobody_ends_nothing(gateway: Gateway, handle: str) -> None:
    here, phone = await sign_in(gateway), await sign_in(gateway, PHONE)
    await press(gateway, here, "revoke", handle=handle)
    assert await lives(gateway, here)
    assert await lives(gateway, phone)


async def test_somebody_elses_handle_ends_nothing(gateway: Gateway) -> None:
    alice, manager = await sign_in(gateway), await sign_in(gateway, user=MANAGER)
    listed = await (await gateway.get("/auth/sessions", cookie=manager)).json()
    response = await gateway.post(
        ACCOUNT, cookie=alice, json={"action": "revoke", "handle": listed["sessions"][0]["handle"]}
    )
    assert response.status == 404
    assert await lives(gateway, manager)


@pytest.mark.parametrize(
    "fields", [{}, {"action": "everything"}, {"action": ["revoke_all"]}, {"action": None}], ids=repr
)
async def test_an_unknown_action_does_nothing(gateway: Gateway, fields: dict[str, Any]) -> None:
    here = await sign_in(gateway)
    response = await gateway.post(ACCOUNT, cookie=here, json=fields)
    assert (response.status, (await response.json())["reason"]) == (400, "bad_field")
    assert await lives(gateway, here)


# -- other sites
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"},
        {"Origin": "https://evil.example"},
        {"Referer": "https://evil.example/auth/account"},
        {},
    ],
    ids=repr,
)
async def test_another_sites_form_ends_nothing(gateway: Gateway, headers: dict[str, str]) -> None:
    here, phone = await sign_in(gateway), await sign_in(gateway, PHONE)
    response = await gateway.post(
        ACCOUNT, cookie=here, data={"action": "revoke_all"}, headers={"Accept": "text/html", **headers}
    )
    assert response.status == 403
    assert await lives(gateway, here)
    assert await lives(gateway, phone)


async def test_a_form_without_any_origin_works_with_the_pages_token(gateway: Gateway) -> None:
    here, phone = await sign_in(gateway), await sign_in(gateway, PHONE)
    response = await gateway.get(ACCOUNT, cookie=here, headers={"Accept": "text/html"})
    token = re.findall(r'name="csrf" value="([^"]+)"', await response.text())[0]
    cookie = f"{here}; gw_form={response.cookies['gw_form'].value}"
    fields = {"action": "revoke_others", "csrf": token}
    done = await gateway.post(ACCOUNT, cookie=cookie, data=fields, headers={"Accept": "text/html"})
    assert (done.status, done.headers["Location"]) == (303, ACCOUNT + "?said=others")
    assert not await lives(gateway, phone)


SAID = ACCOUNT + "?said=password"


@pytest.mark.parametrize(
    ("path", "is_told"), [("/auth/account", True), ("/auth/password", True), ("/auth/login", False)]
)
async def test_what_was_done_is_told_when_our_own_page_led_here(gateway: Gateway, path: str, is_told: bool) -> None:
    html = await page(gateway, await sign_in(gateway), SAID, Referer=gateway.url + path)
    assert ("Your password was changed" in html) == is_told


@pytest.mark.parametrize("headers", [{}, {"Referer": "https://evil.example/auth/account"}], ids=repr)
async def test_nobodys_link_makes_the_page_say_what_was_not_done(gateway: Gateway, headers: dict[str, str]) -> None:
    assert "Your password was changed" not in await page(gateway, await sign_in(gateway), SAID, **headers)


# -- without a directory
@pytest.mark.parametrize("engine", ["cookie", "memory"])
async def test_an_engine_without_a_list_says_so(
    make_gateway: MakeGateway, backend: RecordingBackend, engine: str
) -> None:
    gateway = await make_gateway(backend.url, session={"engine": engine})
    here = await sign_in(gateway)
    html = await page(gateway, here)
    assert "This site keeps no list of your devices." in html
    assert "revoke" not in html
    refused = await gateway.post(ACCOUNT, cookie=here, json={"action": "revoke_others"})
    assert (refused.status, (await refused.json())["reason"]) == (501, "not_possible")
    assert await lives(gateway, here)


async def test_only_get_and_post_are_possible(gateway: Gateway) -> None:
    response = await gateway.request("DELETE", ACCOUNT, cookie=await sign_in(gateway))
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD, POST")
