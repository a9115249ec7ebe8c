"""API keys over HTTP: making, listing and revoking them with a session, and what a script does with one."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from gateway.store.redis_server import RedisServer
from tests.fakes import Recorded, RecordingBackend
from tests.harness import ALICE, MANAGER, ROUTES, Gateway
from tests.quick import cheap_users

KEYS = "/auth/keys"
ON = {"enabled": True}
NAMED = [
    {"path": "/public/", "access": "public", "name": "open"},
    {"path": "/mgr/", "access": {"usertype": "mgr"}, "name": "managers"},
    {"path": "/orders/", "access": "authenticated", "name": "orders"},
    {"path": "/", "access": "authenticated", "name": "rest"},
]
MakeGateway = Callable[..., Any]


def bearing(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def make(gateway: Gateway, cookie: str, **fields: Any) -> dict[str, Any]:
    response = await gateway.post(KEYS, cookie=cookie, json={"name": "backup", **fields})
    body: dict[str, Any] = await response.json()
    assert response.status == 200, body
    assert response.headers["Cache-Control"] == "no-store"
    return body


async def listed(gateway: Gateway, cookie: str) -> list[dict[str, Any]]:
    body = await (await gateway.get(KEYS, cookie=cookie)).json()
    keys: list[dict[str, Any]] = body["keys"]
    return keys


@pytest.fixture
def make_gateway(make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path) -> MakeGateway:
    """In front of the recording backend; signing in costs next to nothing."""
    users = [{"source": "file", "path": str(cheap_users(tmp_path / "cheap.yaml"))}]

    async def make(**over: Any) -> Gateway:
        made: Gateway = await make_gateway(backend.url, **{"users": users, **over})
        return made

    return make


@pytest.fixture(params=["redis", "memory"])
async def gateway(request: pytest.FixtureRequest, make_gateway: MakeGateway) -> Gateway:
    """With keys, by the engine that has Redis and the one that needs none."""
    made: Gateway = await make_gateway(api_keys=ON, session={"engine": request.param}, routes=NAMED)
    return made


# -- making, listing, revoking
async def test_a_key_is_shown_once_and_opens_what_its_user_may(gateway: Gateway, backend: RecordingBackend) -> None:
    cookie = await gateway.sign_in()
    before = int(time.time())
    made = await make(gateway, cookie, expires_in=7)
    assert re.fullmatch(r"gwk_[0-9A-Za-z]{60}", made["api_key"])
    key = made["key"]
    assert before <= key.pop("created") <= time.time()
    assert abs(key.pop("expires") - before - 7 * 86400) < 60
    assert key == {"id": key["id"], "name": "backup", "routes": [], "last_used": None, "expired": False}
    response = await gateway.get("/orders/1", headers=bearing(made["api_key"]))
    assert response.status == 200
    assert backend.last.value("X-Forwarded-Preferred-Username") == "alice"
    assert backend.last.values("Authorization") == []
    assert "gwk_" not in await (await gateway.get(KEYS, cookie=cookie)).text()


async def test_a_list_tells_when_a_key_was_used_last(gateway: Gateway) -> None:
    cookie = await gateway.sign_in()
    made = await make(gateway, cookie)
    assert [key["last_used"] for key in await listed(gateway, cookie)] == [None]
    assert (await gateway.get("/orders/", headers=bearing(made["api_key"]))).status == 200
    async with asyncio.timeout(10):
        while (await listed(gateway, cookie))[0]["last_used"] is None:
            await asyncio.sleep(0.02)


async def test_a_revoked_key_opens_nothing(gateway: Gateway) -> None:
    cookie = await gateway.sign_in()
    made = await make(gateway, cookie)
    response = await gateway.request("DELETE", f"{KEYS}/{made['key']['id']}", cookie=cookie)
    assert (response.status, await response.json()) == (200, {"ret": 0, "revoked": 1})
    refused = await gateway.get("/orders/", headers=bearing(made["api_key"]))
    assert refused.status == 401
    assert (await refused.json())["reason"] == "bad_token"
    assert await listed(gateway, cookie) == []
    again = await gateway.request("DELETE", f"{KEYS}/{made['key']['id']}", cookie=cookie)
    assert (again.status, (await again.json())["reason"]) == (404, "no_such_key")


async def test_a_key_is_for_the_routes_it_names(gateway: Gateway) -> None:
    cookie = await gateway.sign_in()
    made = await make(gateway, cookie, routes=["orders"])
    assert (await gateway.get("/orders/", headers=bearing(made["api_key"]))).status == 200
    elsewhere = await gateway.get("/", headers=bearing(made["api_key"]))
    assert (elsewhere.status, (await elsewhere.json())["reason"]) == (403, "insufficient_scope")


async def test_a_key_gives_no_right_that_its_user_does_not_have(gateway: Gateway) -> None:
    made = await make(gateway, await gateway.sign_in())
    assert (await gateway.get("/mgr/", headers=bearing(made["api_key"]))).status in (302, 403)
    his = await make(gateway, await gateway.sign_in(MANAGER), routes=["managers"])
    assert (await gateway.get("/mgr/", headers=bearing(his["api_key"]))).status == 200


async def test_nobody_sees_or_revokes_anothers_keys(gateway: Gateway) -> None:
    hers = await make(gateway, await gateway.sign_in())
    his = await gateway.sign_in(MANAGER)
    assert await listed(gateway, his) == []
    response = await gateway.request("DELETE", f"{KEYS}/{hers['key']['id']}", cookie=his)
    assert response.status == 404
    assert (await gateway.get("/orders/", headers=bearing(hers["api_key"]))).status == 200


async def test_a_key_makes_lists_and_revokes_no_keys(gateway: Gateway) -> None:
    cookie = await gateway.sign_in()
    made = await make(gateway, cookie)
    headers = bearing(made["api_key"])
    asked = [
        await gateway.get(KEYS, headers=headers),
        await gateway.post(KEYS, headers=headers, json={"name": "more"}),
        await gateway.request("DELETE", f"{KEYS}/{made['key']['id']}", headers=headers),
    ]
    assert [response.status in (302, 401) for response in asked] == [True] * 3
    assert len(await listed(gateway, cookie)) == 1


async def test_a_key_survives_signing_out(gateway: Gateway) -> None:
    cookie = await gateway.sign_in()
    made = await make(gateway, cookie)
    assert (await gateway.post("/auth/logout", cookie=cookie)).status == 200
    assert (await gateway.get("/orders/", headers=bearing(made["api_key"]))).status == 200


# -- bad input
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": None}, "name"),
    ({"name": ""}, "name"),
    ({"name": "   "}, "name"),
    ({"name": 1}, "name"),
    ({"name": "a" * 101}, "name"),
    ({"name": "a\nb"}, "name"),
    ({"name": "\x1b[2J"}, "name"),
    ({"name": "\ud800"}, "name"),
    ({"expires_in": 0}, "expires_in"),
    ({"expires_in": -1}, "expires_in"),
    ({"expires_in": 366}, "expires_in"),
    ({"expires_in": 1e300}, "expires_in"),
    ({"expires_in": 1.5}, "expires_in"),
    ({"expires_in": True}, "expires_in"),
    ({"expires_in": "soon"}, "expires_in"),
    ({"expires_in": "٣"}, "expires_in"),
    ({"expires_in": [1]}, "expires_in"),
    ({"expires_in": "9" * 5000}, "expires_in"),
    ({"routes": "orders"}, "routes"),
    ({"routes": [1]}, "routes"),
    ({"routes": {"orders": 1}}, "routes"),
    ({"routes": ["nothing"]}, "routes"),
    ({"routes": ["managers"]}, "routes"),
    ({"routes": ["open"]}, "routes"),
    ({"action": "destroy"}, "action"),
    ({"action": ["create"]}, "action"),
]


async def test_a_wrong_field_is_named_and_makes_no_key(make_gateway: MakeGateway) -> None:
    gateway = await make_gateway(api_keys=ON, session={"engine": "memory"}, routes=NAMED)
    cookie = await gateway.sign_in()
    for fields, field in WRONG:
        given = {name: value for name, value in {"name": "backup", **fields}.items() if value is not None}
        response = await gateway.post(KEYS, cookie=cookie, json=given)
        body = await response.json()
        assert (response.status, body["reason"]) == (400, "bad_field"), fields
        assert body["msg"].startswith(field + ": "), fields
    assert await listed(gateway, cookie) == []


async def test_what_is_no_key_cannot_be_revoked(gateway: Gateway) -> None:
    cookie = await gateway.sign_in()
    for below in ("x", "all", "*", "a" * 11, "a" * 2000, "%2a", "é"):
        assert (await gateway.request("DELETE", f"{KEYS}/{below}", cookie=cookie)).status == 404, below
        assert (await gateway.get(f"{KEYS}/{below}", cookie=cookie)).status == 405, below


async def test_a_stranger_is_refused_as_everywhere(gateway: Gateway) -> None:
    for response in (
        await gateway.get(KEYS),
        await gateway.post(KEYS, json={"name": "x"}),
        await gateway.request("DELETE", f"{KEYS}/{'a' * 11}"),
    ):
        assert (response.status, (await response.json())["reason"]) == (302, "no_session")


async def test_another_site_makes_and_revokes_no_keys(make_gateway: MakeGateway) -> None:
    gateway = await make_gateway(api_keys=ON, session={"engine": "memory"})
    cookie = await gateway.sign_in()
    made = await make(gateway, cookie)
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
    ):
        posted = await gateway.post(KEYS, cookie=cookie, headers=headers, json={"name": "x"})
        deleted = await gateway.request("DELETE", f"{KEYS}/{made['key']['id']}", cookie=cookie, headers=headers)
        for response in (posted, deleted):
            assert (response.status, (await response.json())["reason"]) == (403, "cross_site")
    form = await gateway.post(KEYS, cookie=cookie, data={"name": "x"})
    assert form.status == 403, "a form without its token"
    assert len(await listed(gateway, cookie)) == 1


async def test_what_only_looks_like_a_key_is_refused(gateway: Gateway) -> None:
    for bad in ("gwk_", "gwk_x", "gwk_" + "0" * 60, "gwk_" + "z" * 60, "gwk_" + "0" * 5000):
        response = await gateway.get("/orders/", headers=bearing(bad))
        assert (response.status, (await response.json())["reason"]) == (401, "bad_token"), bad
        assert "invalid_token" in response.headers["WWW-Authenticate"]


# -- the operator's limits
async def test_more_keys_than_allowed_are_refused(make_gateway: MakeGateway) -> None:
    gateway = await make_gateway(api_keys={**ON, "max_per_user": 1}, session={"engine": "memory"})
    cookie = await gateway.sign_in()
    await make(gateway, cookie)
    response = await gateway.post(KEYS, cookie=cookie, json={"name": "one more"})
    body = await response.json()
    assert (response.status, body["reason"]) == (403, "too_many_keys")
    assert "1 API keys" in body["msg"]


async def test_a_key_lives_as_long_as_the_operator_allows(make_gateway: MakeGateway) -> None:
    short = await make_gateway(api_keys={**ON, "longest": 3}, session={"engine": "memory"})
    cookie = await short.sign_in()
    assert (await make(short, cookie))["key"]["expires"] < time.time() + 3 * 86400 + 60, "when nothing is said, too"
    assert (await short.post(KEYS, cookie=cookie, json={"name": "x", "expires_in": 4})).status == 400
    ever = await make_gateway(api_keys={**ON, "longest": 0}, session={"engine": "memory"})
    cookie = await ever.sign_in()
    assert (await make(ever, cookie, expires_in=0))["key"]["expires"] is None
    assert (await make(ever, cookie))["key"]["expires"] is not None, "only for who asks for it"


async def test_only_who_may_has_keys(make_gateway: MakeGateway) -> None:
    access = {"usertype": "mgr"}
    gateway = await make_gateway(api_keys={**ON, "access": access}, session={"engine": "memory"})
    response = await gateway.post(KEYS, cookie=await gateway.sign_in(), json={"name": "x"})
    assert (response.status, (await response.json())["reason"]) == (403, "keys_not_allowed")
    assert (await gateway.post(KEYS, cookie=await gateway.sign_in(MANAGER), json={"name": "x"})).status == 200


async def test_without_the_setting_there_are_no_keys(make_gateway: MakeGateway) -> None:
    gateway = await make_gateway()
    cookie = await gateway.sign_in()
    assert (await gateway.get(KEYS, cookie=cookie)).status == 404
    assert (await gateway.post(KEYS, cookie=cookie, json={"name": "x"})).status == 404
    account = await gateway.get("/auth/account", cookie=cookie, headers={"Accept": "text/html"})
    assert KEYS not in await account.text()


# -- whose it is, later
@asynccontextmanager
async def with_users(make_gateway: MakeGateway, folder: Path) -> AsyncIterator[tuple[Gateway, Path]]:
    file = cheap_users(folder / "users.yaml")
    users = [{"source": "file", "path": str(file)}]
    yield await make_gateway(api_keys=ON, users=users, routes=ROUTES), file


async def until_status(gateway: Gateway, key: str, status: int) -> None:
    async with asyncio.timeout(15):
        while (await gateway.get("/orders/", headers=bearing(key))).status != status:
            await asyncio.sleep(0.05)


async def test_a_key_survives_a_new_password_and_ends_with_its_user(make_gateway: MakeGateway, tmp_path: Path) -> None:
    async with with_users(make_gateway, tmp_path) as (gateway, file):
        cookie = await gateway.sign_in()
        key = (await make(gateway, cookie))["api_key"]
        fields = {"old_password": ALICE["password"], "new_password": "a much better one"}
        changed = await gateway.post("/auth/password", cookie=cookie, json=fields)
        assert changed.status == 200
        assert (await gateway.get("/orders/", headers=bearing(key))).status == 200
        text = file.read_text()
        file.write_text(text.replace("username: alice\n", "username: alice\n  disabled: true\n"))
        await until_status(gateway, key, 401)
        file.write_text(text)
        await until_status(gateway, key, 200)


# -- the page
PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}


def csrf_of(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found is not None
    return unescape(found[1])


async def test_the_page_makes_shows_and_revokes_a_key_without_a_script(make_gateway: MakeGateway) -> None:
    gateway = await make_gateway(api_keys=ON, session={"engine": "memory"}, routes=NAMED)
    cookie = await gateway.sign_in()
    account = await gateway.get("/auth/account", cookie=cookie, headers=PAGE)
    assert 'href="/auth/keys"' in await account.text()
    opened = await gateway.get(KEYS, cookie=cookie, headers=PAGE)
    page = await opened.text()
    assert 'name="route:orders"' in page
    assert "managers" not in page, "a part of the site that she may not open"
    form = {"csrf": csrf_of(page), "action": "create", "name": "<b>", "expires_in": "10", "route:orders": "1"}
    cookie += "; " + opened.headers["Set-Cookie"].partition(";")[0]
    made = await gateway.post(KEYS, cookie=cookie, headers=PAGE, data=form)
    assert made.headers["Cache-Control"] == "no-store"
    page = await made.text()
    shown = re.findall(r"gwk_[0-9A-Za-z]{60}", page)
    assert len(shown) == 1
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert (await gateway.get("/orders/", headers=bearing(shown[0]))).status == 200
    again = await (await gateway.get(KEYS, cookie=cookie, headers=PAGE)).text()
    assert "gwk_" not in again
    (key,) = await listed(gateway, cookie)
    assert key["routes"] == ["orders"]
    form = {"csrf": csrf_of(again), "action": "revoke", "id": key["id"]}
    revoked = await gateway.post(KEYS, cookie=cookie, headers=PAGE, data=form)
    assert (revoked.status, revoked.headers["Location"]) == (303, "/auth/keys?said=revoked")
    twice = await gateway.post(KEYS, cookie=cookie, headers=PAGE, data=form)
    assert (twice.status, twice.headers["Location"]) == (303, "/auth/keys"), "the page as it is now"
    assert await listed(gateway, cookie) == []


WRONG_FORMS = (
    ({"name": ""}, "Name: is missing"),
    ({"expires_in": "1000"}, "must be a whole number of days, from 1 to 365"),
    ({"route:managers": "1"}, "is no route that you may use"),
)


async def test_a_wrong_form_is_shown_again_with_what_was_typed(make_gateway: MakeGateway) -> None:
    gateway = await make_gateway(api_keys=ON, session={"engine": "memory"}, routes=NAMED)
    cookie = await gateway.sign_in()
    for fields, words in WRONG_FORMS:
        form = {"action": "create", "name": "nightly", "expires_in": "10", "route:orders": "1", **fields}
        response = await gateway.post(KEYS, cookie=cookie, headers=PAGE, data=form)
        page = await response.text()
        assert response.status == 400
        assert words in page
        assert 'name="route:orders" value="1" checked' in page
        assert ("nightly" in page) == ("name" not in fields)
        assert "gwk_" not in page


async def test_the_page_speaks_chinese(make_gateway: MakeGateway) -> None:
    gateway = await make_gateway(api_keys=ON, session={"engine": "memory"})
    page = await gateway.get(KEYS + "?lang=zh", cookie=await gateway.sign_in(), headers=PAGE)
    assert "访问密钥" in await page.text()


# -- the audit log
async def test_keys_that_are_made_and_revoked_are_in_the_audit_log(make_gateway: MakeGateway, tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    gateway = await make_gateway(api_keys=ON, session={"engine": "memory"}, log={"audit": str(file)})
    cookie = await gateway.sign_in()
    made = await make(gateway, cookie)
    await gateway.request("DELETE", f"{KEYS}/{made['key']['id']}", cookie=cookie)
    async with asyncio.timeout(10):
        while not file.exists() or file.read_text().count("api_key_") < 2:
            await asyncio.sleep(0.02)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    about = {line["event"]: line for line in lines if "api_key" in line["event"]}
    assert {name: line["key"] for name, line in about.items()} == dict.fromkeys(
        ("api_key_created", "api_key_revoked"), made["key"]["id"]
    )
    assert {line["username"] for line in about.values()} == {"alice"}
    assert made["api_key"][15:] not in file.read_text()


# -- what it holds open
async def test_what_a_key_has_opened_ends_when_it_is_revoked(gateway: Gateway, backend: RecordingBackend) -> None:
    over = asyncio.Event()

    async def stream(_: Recorded, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
        )
        await over.wait()

    backend.answer = stream
    cookie = await gateway.sign_in()
    made, other = await make(gateway, cookie), await make(gateway, cookie)
    opened = await gateway.get("/orders/feed", headers=bearing(made["api_key"]))
    stays = await gateway.get("/orders/feed", headers=bearing(other["api_key"]))
    assert [await one.content.readany() for one in (opened, stays)] == [b"one", b"one"]
    began = time.monotonic()
    await gateway.request("DELETE", f"{KEYS}/{made['key']['id']}", cookie=cookie)
    assert await asyncio.wait_for(opened.content.read(), 10) == b""
    assert time.monotonic() - began < 3.0
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stays.content.read(), 0.2)
    over.set()


# -- two gateways
async def test_a_key_works_on_every_gateway_and_is_gone_on_all_of_them(
    make_gateway: MakeGateway, redis_server: RedisServer
) -> None:
    one, two = await make_gateway(api_keys=ON), await make_gateway(api_keys=ON)
    cookie = await one.sign_in()
    made = await make(one, cookie)
    for _ in range(3):
        assert (await two.get("/orders/", headers=bearing(made["api_key"]))).status == 200
    await one.request("DELETE", f"{KEYS}/{made['key']['id']}", cookie=cookie)
    began = time.monotonic()
    await until_status(two, made["api_key"], 401)
    assert time.monotonic() - began < 1.0
