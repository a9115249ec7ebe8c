"""Refusals over HTTP: the JSON 302 and its kin (docs/http-api.md)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MANAGER, ROUTES, Gateway

NAVIGATE = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
PAGE = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


async def test_a_script_without_a_session_gets_a_302_it_can_read(gateway: Gateway, backend: RecordingBackend) -> None:
    response = await gateway.get("/api/mgr/customers")
    body = await response.json()
    assert response.status == 302
    assert "Location" not in response.headers
    assert "Set-Cookie" not in response.headers
    assert (body["ret"], body["redirect"], body["reason"]) == (302, "/mgr/sign.html", "no_session")
    assert body["msg"] == "You are not signed in"
    assert body["request_id"] == response.headers["X-Request-Id"]
    assert response.headers["Cache-Control"] == "no-store"
    assert backend.requests == []


async def test_the_message_is_chinese_for_a_chinese_browser(gateway: Gateway) -> None:
    response = await gateway.get("/api/mgr/customers", headers={"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"})
    assert (await response.json())["msg"] == "未登录"
    assert "Accept-Language" in response.headers["Vary"]


async def test_somebody_of_another_usertype_is_told_so(gateway: Gateway, backend: RecordingBackend) -> None:
    cookie = await gateway.sign_in(ALICE)
    response = await gateway.get("/api/mgr/customers", cookie=cookie, headers={"Accept-Language": "zh-CN"})
    body = await response.json()
    assert (response.status, body["msg"], body["reason"]) == (302, "用户非mgr类型", "wrong_usertype")
    assert "Set-Cookie" not in response.headers
    assert backend.requests == []


async def test_the_right_usertype_passes(gateway: Gateway, backend: RecordingBackend) -> None:
    response = await gateway.get("/api/mgr/customers", cookie=await gateway.sign_in(MANAGER))
    assert response.status == 200
    assert backend.last.target == "/api/mgr/customers"


@pytest.mark.parametrize("headers", [NAVIGATE, PAGE], ids=["navigate", "accept"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_page_load_is_redirected_to_sign_in_and_back(
    gateway: Gateway, method: str, headers: dict[str, str]
) -> None:
    response = await gateway.request(method, "/orders?page=2&q=a%20b", headers=headers)
    assert response.status == 302
    assert response.headers["Location"] == "/auth/login?next=%2Forders%3Fpage%3D2%26q%3Da%2520b"
    body = await response.read()
    assert (body == b"") is (method == "HEAD")


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept": "*/*"},
        {"Accept": "application/json"},
        {"Accept": "text/html", "X-Requested-With": "XMLHttpRequest"},
        {"Accept": "text/html", "Sec-Fetch-Mode": "cors"},
        {"Accept": "text/event-stream", "Sec-Fetch-Mode": "cors"},
        {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-Fetch-Mode": "websocket"},
    ],
    ids=["any", "json", "xhr", "fetch", "event-stream", "websocket"],
)
async def test_anything_else_gets_no_location(gateway: Gateway, headers: dict[str, str]) -> None:
    response = await gateway.get("/orders", headers=headers)
    assert (response.status, "Location" in response.headers) == (302, False)


async def test_a_script_is_sent_back_to_the_page_it_stands_on(gateway: Gateway) -> None:
    headers = {"Referer": f"{gateway.url}/orders?page=3", "Sec-Fetch-Mode": "cors"}
    body = await (await gateway.post("/data", headers=headers)).json()
    assert body["redirect"] == "/auth/login?next=%2Forders%3Fpage%3D3"


async def test_a_foreign_referer_is_no_place_to_come_back_to(gateway: Gateway) -> None:
    body = await (await gateway.get("/data", headers={"Referer": "https://evil.example/orders"})).json()
    assert body["redirect"] == "/auth/login?next=%2F"


def _with(route: dict[str, Any]) -> list[dict[str, Any]]:
    return [route, *[known for known in ROUTES if known["path"] != route["path"]]]


async def test_a_route_may_say_401_with_a_challenge_no_browser_opens_a_dialog_for(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, routes=_with({"path": "/api/", "refuse": {"status": 401}}))
    response = await gateway.get("/api/x", headers=NAVIGATE)
    body = await response.json()
    assert (response.status, body["ret"], body["reason"]) == (401, 401, "no_session")
    assert response.headers["WWW-Authenticate"].split()[0].lower() not in ("basic", "digest", "negotiate", "ntlm")
    assert "Location" not in response.headers


async def test_a_route_may_say_403_to_the_wrong_user(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    route = {"path": "/mgr/", "access": {"usertype": "mgr"}, "refuse": {"forbidden": 403}}
    gateway = await make_gateway(backend.url, routes=_with(route))
    response = await gateway.get("/mgr/", cookie=await gateway.sign_in(ALICE), headers=NAVIGATE)
    assert (response.status, (await response.json())["ret"]) == (403, 403)
    assert "Location" not in response.headers


async def test_next_is_filled_into_a_route_s_own_redirect(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    route = {"path": "/app/", "refuse": {"redirect": "/app-login?to={next}"}}
    gateway = await make_gateway(backend.url, routes=_with(route))
    response = await gateway.get("/app/a?b=c", headers=NAVIGATE)
    assert response.headers["Location"] == "/app-login?to=%2Fapp%2Fa%3Fb%3Dc"


async def test_a_group_that_is_missing_is_named(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    gateway = await make_gateway(backend.url, routes=[{"path": "/", "access": {"groups": ["finance", "audit"]}}])
    body = await (await gateway.get("/", cookie=await gateway.sign_in(ALICE))).json()
    assert (body["reason"], body["msg"]) == ("wrong_group", "Only members of audit/finance may go there")


async def test_a_path_no_rule_covers_is_404_for_everybody(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    gateway = await make_gateway(backend.url, routes=[{"path": "/app/", "access": "public"}])
    for path in ("/", "/other", "/apple", "/auth/other", "/auth"):
        response = await gateway.get(path)
        assert (response.status, (await response.json())["reason"]) == (404, "no_route"), path
    assert backend.requests == []


async def test_an_error_is_a_page_for_a_page_load(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    gateway = await make_gateway(backend.url, routes=[{"path": "/app/", "access": "public"}])
    response = await gateway.get("/other", headers=NAVIGATE)
    text = await response.text()
    assert (response.status, response.content_type) == (404, "text/html")
    assert response.headers["X-Request-Id"] in text
    assert "script" not in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/orders", "/auth/session", "/auth/login", "/nowhere"])
async def test_our_own_answers_carry_no_version_and_are_hardened(gateway: Gateway, path: str) -> None:
    response = await gateway.get(path)
    assert response.headers["Server"] == "auth-gateway"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"]
    assert "Strict-Transport-Security" not in response.headers


async def test_an_https_site_says_so_for_a_year(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    gateway = await make_gateway(backend.url, site={"url": "https://www.example.org"})
    response = await gateway.get("/orders")
    assert response.headers["Strict-Transport-Security"] == "max-age=31536000"


async def test_a_fixed_language_is_spoken_to_everybody(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    gateway = await make_gateway(backend.url, site={"language": "zh"})
    response = await gateway.get("/orders", headers={"Accept-Language": "en"})
    assert (await response.json())["msg"] == "未登录"
    assert "Accept-Language" not in response.headers["Vary"]
