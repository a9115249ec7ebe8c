"""Signing out over HTTP (docs/http-api.md)."""

from __future__ import annotations

import asyncio

import pytest
from redis import Redis

from tests.behaviour.test_sign_in import RECORDS, field
from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MANAGER, Gateway, session_cookie

NAVIGATE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin", "Accept": "text/html"}


async def test_signing_out_ends_the_session_and_deletes_the_cookie(gateway: Gateway, redis: Redis) -> None:
    cookie = await gateway.sign_in(ALICE)
    response = await gateway.post("/auth/logout", cookie=cookie)
    assert (response.status, (await response.json())["ret"]) == (200, 0)
    morsel = response.cookies["gw_session"]
    assert (morsel.value, morsel["max-age"], morsel["path"]) == ("", "0", "/")
    assert redis.keys(RECORDS) == []
    body = await (await gateway.get("/orders", cookie=cookie)).json()
    assert body["reason"] == "revoked"


async def test_a_stranger_signs_out_too(gateway: Gateway) -> None:
    response = await gateway.post("/auth/logout")
    assert (response.status, (await response.json())["ret"]) == (200, 0)
    assert "Set-Cookie" not in response.headers


async def test_a_page_load_goes_where_the_operator_says(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    gateway = await make_gateway(backend.url, logout={"redirect": "/public/bye.html"})
    cookie = await gateway.sign_in(ALICE)
    response = await gateway.post("/auth/logout", data={"x": "y"}, cookie=cookie, headers=NAVIGATE)
    assert (response.status, response.headers["Location"]) == (303, "/public/bye.html")


async def test_get_shows_a_button_and_changes_nothing(gateway: Gateway) -> None:
    cookie = await gateway.sign_in(ALICE)
    response = await gateway.get("/auth/logout", cookie=cookie, headers=NAVIGATE)
    html = await response.text()
    assert response.status == 200
    assert "Alice Archer" in html
    assert (await gateway.get("/orders", cookie=cookie)).status == 200
    form = f"{response.cookies['gw_form'].key}={response.cookies['gw_form'].value}"
    pressed = await gateway.post("/auth/logout", data={"csrf": field(html, "csrf")}, cookie=f"{cookie}; {form}")
    assert pressed.status == 200
    assert (await gateway.get("/orders", cookie=cookie)).status == 302


async def test_a_sign_out_is_carried_out_also_when_the_tab_is_closed_meanwhile(gateway: Gateway, redis: Redis) -> None:
    cookies = [await gateway.sign_in(ALICE) for _ in range(5)]
    redis.execute_command("CLIENT", "PAUSE", 400)
    for cookie in cookies:
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(f"POST /auth/logout HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\nContent-Length: 0\r\n\r\n".encode())
        await asyncio.sleep(0.02)
        writer.transport.abort()
    async with asyncio.timeout(10):
        while await asyncio.to_thread(redis.keys, RECORDS):
            await asyncio.sleep(0.05)
    for cookie in cookies:
        assert (await gateway.get("/orders", cookie=cookie)).status == 302


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
async def test_another_site_signs_nobody_out(gateway: Gateway, headers: dict[str, str]) -> None:
    cookie = await gateway.sign_in(ALICE)
    response = await gateway.post("/auth/logout", cookie=cookie, headers=headers)
    assert (response.status, (await response.json())["reason"]) == (403, "cross_site")
    assert (await gateway.get("/orders", cookie=cookie)).status == 200


async def test_the_cookies_of_backends_go_too_and_an_alias_works(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    logout = {
        "aliases": ["/api/mgr/signout"],
        "clear_cookies": ["sessionid", "PHPSESSID"],
        "clear_site_data": ["cache", "storage"],
    }
    gateway = await make_gateway(backend.url, logout=logout)
    cookie = await gateway.sign_in(ALICE)
    response = await gateway.post("/api/mgr/signout", cookie=cookie)
    assert {name for name, morsel in response.cookies.items() if morsel["max-age"] == "0"} == {
        "gw_session",
        "sessionid",
        "PHPSESSID",
    }
    assert response.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert (await gateway.get("/orders", cookie=cookie)).status == 302


async def test_another_user_s_sign_in_clears_the_cookies_of_backends_the_same_user_s_does_not(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, logout={"clear_cookies": ["sessionid"]})
    alice = await gateway.sign_in(ALICE)
    same = await gateway.post("/auth/login", json=ALICE, cookie=alice)
    assert "sessionid" not in same.cookies
    other = await gateway.post("/auth/login", json=MANAGER, cookie=session_cookie(same))
    assert other.cookies["sessionid"]["max-age"] == "0"
    await gateway.post("/auth/logout", cookie=session_cookie(other))
    after_an_end = await gateway.post("/auth/login", json=ALICE, cookie=session_cookie(other))
    assert after_an_end.cookies["sessionid"]["max-age"] == "0"


async def test_a_deleted_host_cookie_is_deleted_with_its_attributes(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    """P52: a browser ignores the deletion of a __Host- cookie without Secure and Path=/."""
    gateway = await make_gateway(backend.url, site={"url": "https://www.example.org"})
    cookie = await gateway.sign_in(ALICE)
    response = await gateway.post("/auth/logout", cookie=cookie)
    morsel = response.cookies["__Host-gw_session"]
    assert (morsel["secure"], morsel["path"], morsel["domain"], morsel["max-age"]) == (True, "/", "", "0")
