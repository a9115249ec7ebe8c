"""The list of a user's sessions, and ending them: ``/auth/sessions``, ``/auth/session/extend`` (docs/http-api.md)."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from aiohttp import ClientResponse

from gateway.core.tickets import COOKIES_TRIED
from gateway.store.redis_server import RedisServer
from tests.conftest import MakeGateway
from tests.core.tables import table
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MANAGER, Gateway, session_cookie
from tests.quick import make_gateway

__all__ = ["make_gateway"]

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"


async def sign_in(gateway: Gateway, agent: str = FIREFOX, user: dict[str, Any] = ALICE) -> str:
    response = await gateway.post("/auth/login", json=user, headers={"User-Agent": agent})
    assert response.status == 200
    return session_cookie(response)


async def rows(gateway: Gateway, cookie: str) -> list[dict[str, Any]]:
    response = await gateway.get("/auth/sessions", cookie=cookie)
    body = await response.json()
    assert (response.status, body["ret"]) == (200, 0), body
    assert response.headers["Cache-Control"] == "no-store"
    listed: list[dict[str, Any]] = body["sessions"]
    return listed


async def own_handle(gateway: Gateway, cookie: str) -> str:
    return str(next(row["handle"] for row in await rows(gateway, cookie) if row["this"]))


async def status(gateway: Gateway, cookie: str) -> int:
    return (await gateway.get("/orders", cookie=cookie)).status


async def ended(gateway: Gateway, cookie: str) -> str:
    """Why the session is over; its cookie is deleted."""
    response = await gateway.get("/orders", cookie=cookie)
    assert (response.status, response.cookies["gw_session"]["max-age"]) == (302, "0")
    return str((await response.json())["reason"])


# -- the list
async def test_the_list_shows_where_and_since_when_i_am_signed_in_and_which_is_this(gateway: Gateway) -> None:
    began = int(time.time())
    here = await sign_in(gateway)
    phone = await sign_in(gateway, PHONE)
    await sign_in(gateway, user=MANAGER)
    listed = await rows(gateway, here)
    assert [(row["device"], row["address"], row["this"]) for row in listed] == [
        ("Firefox on Linux", "127.0.0.1", True),
        ("Safari on iPhone", "127.0.0.1", False),
    ]
    for row in listed:
        assert set(row) == {"handle", "created", "last_seen", "address", "device", "this"}
        assert began <= row["created"] <= row["last_seen"] <= time.time()
    assert [row["this"] for row in await rows(gateway, phone)] == [False, True]
    assert [row["handle"] for row in await rows(gateway, phone)] == [row["handle"] for row in listed]


async def test_a_handle_is_no_part_of_a_cookie(gateway: Gateway) -> None:
    cookie = await sign_in(gateway)
    response = await gateway.get("/auth/sessions", cookie=cookie)
    text = await response.text()
    ticket = cookie.partition("=")[2]
    assert all(ticket[at : at + 10] not in text for at in range(len(ticket) - 10))
    assert await status(gateway, f"gw_session={await own_handle(gateway, cookie)}") == 302


async def test_last_seen_moves_with_use_and_with_nothing_else(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, session={"touch_interval": 1, "idle_timeout": 60})
    watching, used, idle = [await sign_in(gateway) for _ in range(3)]
    before = {row["handle"]: row for row in await rows(gateway, watching)}
    used_handle, idle_handle = await own_handle(gateway, used), list(before)[2]
    deadline = time.monotonic() + 8
    while True:
        assert await status(gateway, used) == 200
        after = {row["handle"]: row for row in await rows(gateway, watching)}
        if after[used_handle]["last_seen"] >= before[used_handle]["last_seen"] + 2:
            break
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    assert after[idle_handle]["last_seen"] == before[idle_handle]["last_seen"]
    assert {handle: row["created"] for handle, row in after.items()} == {
        handle: row["created"] for handle, row in before.items()
    }
    assert await status(gateway, idle) == 200


async def test_sessions_that_are_over_are_not_listed(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    gateway = await make_gateway(backend.url, session={"absolute_timeout": 2, "touch_interval": 1})
    await sign_in(gateway)
    await gateway.post("/auth/logout", cookie=await sign_in(gateway))
    assert len(await rows(gateway, await sign_in(gateway))) == 2
    await asyncio.sleep(2.5)
    fresh = await sign_in(gateway)
    deadline = time.monotonic() + 5
    while len(await rows(gateway, fresh)) > 1:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)
        fresh = fresh if await status(gateway, fresh) == 200 else await sign_in(gateway)


# -- ending them
async def test_one_session_is_ended_by_its_handle(gateway: Gateway) -> None:
    here, phone, tablet = [await sign_in(gateway) for _ in range(3)]
    for cookie in (here, phone, tablet):
        assert await status(gateway, cookie) == 200
    response = await gateway.request("DELETE", f"/auth/sessions/{await own_handle(gateway, phone)}", cookie=here)
    assert (response.status, await response.json()) == (200, {"ret": 0, "ended": 1})
    assert "Set-Cookie" not in response.headers
    assert await ended(gateway, phone) == "revoked"
    assert [await status(gateway, cookie) for cookie in (here, tablet)] == [200, 200]
    assert len(await rows(gateway, here)) == 2


async def test_all_the_others_are_ended_and_nobody_else_s(gateway: Gateway) -> None:
    here, phone, tablet = [await sign_in(gateway) for _ in range(3)]
    manager = await sign_in(gateway, user=MANAGER)
    response = await gateway.request("DELETE", "/auth/sessions", cookie=here)
    assert (response.status, await response.json()) == (200, {"ret": 0, "ended": 2})
    assert [await ended(gateway, cookie) for cookie in (phone, tablet)] == ["revoked", "revoked"]
    assert await status(gateway, here) == 200
    assert (await gateway.get("/mgr/x", cookie=manager)).status == 200
    again = await gateway.request("DELETE", "/auth/sessions", cookie=here)
    assert (await again.json())["ended"] == 0


async def test_ending_one_s_own_by_its_handle_is_signing_out(gateway: Gateway) -> None:
    here, other = await sign_in(gateway), await sign_in(gateway)
    response = await gateway.request("DELETE", f"/auth/sessions/{await own_handle(gateway, here)}", cookie=here)
    assert (response.status, await response.json()) == (200, {"ret": 0, "ended": 1})
    assert response.cookies["gw_session"]["max-age"] == "0"
    assert await ended(gateway, here) == "revoked"
    assert await status(gateway, other) == 200


async def test_the_handle_of_another_user_is_unknown_and_nothing_ends(gateway: Gateway) -> None:
    alice, manager = await sign_in(gateway), await sign_in(gateway, user=MANAGER)
    handle = await own_handle(gateway, alice)
    response = await gateway.request("DELETE", f"/auth/sessions/{handle}", cookie=manager)
    assert (response.status, (await response.json())["reason"]) == (404, "no_such_session")
    assert [await status(gateway, cookie) for cookie in (alice, manager)] == [200, 200]
    assert [row["handle"] for row in await rows(gateway, alice)] == [handle]


UNKNOWN = {
    "no such": "AAAAAAAAAAAA",
    "cut": "A",
    "a wildcard": "*",
    "longer": "A" * 500,
    "below": "a/b",
    "not ASCII": "%E5%AF%86",
    "blank": "%20",
}


async def test_an_unknown_handle_is_a_404_and_nothing_ends(gateway: Gateway) -> None:
    here, other = await sign_in(gateway), await sign_in(gateway)
    for name, handle in UNKNOWN.items():
        response = await gateway.request("DELETE", f"/auth/sessions/{handle}", cookie=here)
        assert (response.status, (await response.json())["ret"]) == (404, 404), name
    assert [await status(gateway, cookie) for cookie in (here, other)] == [200, 200]


async def test_a_part_of_a_handle_is_no_handle(gateway: Gateway) -> None:
    here, other = await sign_in(gateway), await sign_in(gateway)
    handle = await own_handle(gateway, other)
    for cut in range(1, len(handle)):
        response = await gateway.request("DELETE", f"/auth/sessions/{handle[:cut]}", cookie=here)
        assert response.status == 404
    assert [await status(gateway, cookie) for cookie in (here, other)] == [200, 200]


async def test_a_session_that_is_over_cannot_be_ended_again(gateway: Gateway) -> None:
    here, other = await sign_in(gateway), await sign_in(gateway)
    handle = await own_handle(gateway, other)
    answers = [await gateway.request("DELETE", f"/auth/sessions/{handle}", cookie=here) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 404]


# -- who may not, and what cannot be
CHANGES = {
    "one": ("DELETE", "/auth/sessions/AAAAAAAAAAAA"),
    "the others": ("DELETE", "/auth/sessions"),
    "extend": ("POST", "/auth/session/extend"),
}
READS = {"the list": ("GET", "/auth/sessions")}
ELSEWHERE = {
    "cross-site": {"Sec-Fetch-Site": "cross-site"},
    "same-site": {"Sec-Fetch-Site": "same-site"},
    "Origin": {"Origin": "https://evil.example"},
    "Origin null": {"Origin": "null"},
    "Referer": {"Referer": "https://evil.example/x"},
}


@pytest.mark.parametrize(("method", "path"), table(CHANGES))
async def test_another_site_ends_and_extends_nothing(gateway: Gateway, method: str, path: str) -> None:
    here, other = await sign_in(gateway), await sign_in(gateway)
    for name, headers in ELSEWHERE.items():
        response = await gateway.request(method, path, cookie=here, headers=headers)
        assert (response.status, (await response.json())["reason"]) == (403, "cross_site"), name
        assert "Set-Cookie" not in response.headers
    assert [await status(gateway, cookie) for cookie in (here, other)] == [200, 200]


async def test_another_site_cannot_end_one_by_its_handle(gateway: Gateway) -> None:
    here, other = await sign_in(gateway), await sign_in(gateway)
    path = f"/auth/sessions/{await own_handle(gateway, other)}"
    response = await gateway.request("DELETE", path, cookie=here, headers={"Sec-Fetch-Site": "cross-site"})
    assert response.status == 403
    assert await status(gateway, other) == 200


@pytest.mark.parametrize(("method", "path"), table({**CHANGES, **READS}))
async def test_a_stranger_gets_the_refusal_that_every_route_gives(gateway: Gateway, method: str, path: str) -> None:
    response = await gateway.request(method, path)
    body = await response.json()
    assert (response.status, body["ret"], body["reason"]) == (302, 302, "no_session")
    assert body["redirect"].startswith("/auth/login")
    assert "Set-Cookie" not in response.headers
    assert "Location" not in response.headers


@pytest.mark.parametrize(("method", "path"), table({**CHANGES, **READS}))
async def test_who_was_signed_out_is_told_why_and_the_cookie_goes(gateway: Gateway, method: str, path: str) -> None:
    cookie = await sign_in(gateway)
    await gateway.post("/auth/logout", cookie=cookie)
    response = await gateway.request(method, path, cookie=cookie)
    assert (response.status, (await response.json())["reason"]) == (302, "revoked")
    assert response.cookies["gw_session"]["max-age"] == "0"


@pytest.mark.parametrize(("method", "path"), table({**CHANGES, **READS}))
async def test_with_the_store_away_it_is_a_503_and_the_cookie_stays(
    make_gateway: MakeGateway, backend: RecordingBackend, own_redis: RedisServer, method: str, path: str
) -> None:
    gateway = await make_gateway(backend.url, redis_url=own_redis.url)
    cookie = await sign_in(gateway)
    own_redis.kill()
    deadline = time.monotonic() + 5
    while (response := await gateway.request(method, path, cookie=cookie)).status == 200:
        assert path == "/auth/session/extend", "only what is known in this process may be told for a moment"
        assert time.monotonic() < deadline
    assert (response.status, (await response.json())["reason"]) == (503, "store_unavailable")
    assert int(response.headers["Retry-After"]) > 0
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/auth/sessions", "DELETE, GET, HEAD"),
        ("PUT", "/auth/sessions", "DELETE, GET, HEAD"),
        ("GET", "/auth/sessions/AAAAAAAAAAAA", "DELETE"),
        ("POST", "/auth/sessions/AAAAAAAAAAAA", "DELETE"),
        ("GET", "/auth/session/extend", "POST"),
        ("DELETE", "/auth/session/extend", "POST"),
    ],
)
async def test_other_methods_are_405(gateway: Gateway, method: str, path: str, allow: str) -> None:
    cookie = await sign_in(gateway)
    response = await gateway.request(method, path, cookie=cookie)
    assert (response.status, response.headers["Allow"]) == (405, allow)
    assert (await response.json())["reason"] == "method_not_allowed"
    assert await status(gateway, cookie) == 200


@pytest.mark.parametrize(
    ("method", "path"), table({"the list": READS["the list"], "the others": CHANGES["the others"]})
)
async def test_an_engine_without_a_directory_says_so(
    make_gateway: MakeGateway, backend: RecordingBackend, method: str, path: str
) -> None:
    gateway = await make_gateway(backend.url, session={"engine": "memory"})
    here, other = await sign_in(gateway), await sign_in(gateway)
    response = await gateway.request(method, path, cookie=here)
    body = await response.json()
    assert (response.status, body["ret"], body["reason"]) == (501, 501, "not_possible")
    assert "list of a user's sessions" in body["msg"]
    assert [await status(gateway, cookie) for cookie in (here, other)] == [200, 200]


# -- extending
async def test_extending_counts_as_activity_and_answers_as_the_session_does(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, session={"idle_timeout": 3, "touch_interval": 60})
    cookie = await sign_in(gateway)
    asked = await (await gateway.get("/auth/session", cookie=cookie)).json()
    await asyncio.sleep(2.1)
    later = await (await gateway.get("/auth/session", cookie=cookie)).json()
    assert later["last_seen"] == asked["last_seen"]
    assert later["idle_left"] <= 1
    response = await gateway.post("/auth/session/extend", cookie=cookie)
    body = await response.json()
    assert (response.status, response.headers["Cache-Control"], set(body)) == (200, "no-store", set(asked))
    assert (body["user"], body["created"]) == (asked["user"], asked["created"])
    assert body["last_seen"] >= asked["last_seen"] + 2
    assert body["idle_left"] >= 2
    after = await (await gateway.get("/auth/session", cookie=cookie)).json()
    assert after["last_seen"] == body["last_seen"]


async def test_who_extends_stays_and_who_only_looks_does_not(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, session={"idle_timeout": 1, "touch_interval": 1})
    extends, looks = await sign_in(gateway), await sign_in(gateway)
    deadline = time.monotonic() + 10
    while (asked := await gateway.get("/auth/session", cookie=looks)).status == 200:
        assert time.monotonic() < deadline
        assert (await gateway.post("/auth/session/extend", cookie=extends)).status == 200
        await asyncio.sleep(0.3)
    assert (await asked.json())["reason"] == "expired_idle"
    assert (await gateway.post("/auth/session/extend", cookie=extends)).status == 200


FORMS = {
    "plain": "application/x-www-form-urlencoded",
    "with a charset": "application/x-www-form-urlencoded; charset=utf-8",
    "for files": "multipart/form-data; boundary=x",
    "text": "text/plain",
    "text in capitals, with parameters": "Text/Plain ;charset=UTF-8",
}


@pytest.mark.parametrize("kind", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("path", ["/auth/session/extend", "/auth/logout", "/auth/password"])
async def test_a_form_that_does_not_say_where_it_comes_from_changes_nothing(
    gateway: Gateway, path: str, kind: str
) -> None:
    cookie = await sign_in(gateway)
    for body in (b"", b"x=y", b'{"x": "y"}'):
        response = await gateway.post(path, data=body, headers={"Content-Type": kind}, cookie=cookie)
        unread = body and path != "/auth/session/extend" and not kind.startswith("application/")
        told = (415, "unsupported_type") if unread else (403, "cross_site")
        assert (response.status, (await response.json())["reason"]) == told, body
        assert "Set-Cookie" not in response.headers
    assert await status(gateway, cookie) == 200


@pytest.mark.parametrize("path", ["/auth/session/extend", "/auth/logout"])
async def test_json_or_nothing_passes_without_saying_where_it_comes_from(gateway: Gateway, path: str) -> None:
    for kind, body in (("application/json", b"{}"), ("application/json", b""), (None, b"")):
        said = {"skip_auto_headers": ["Content-Type"]} if kind is None else {"headers": {"Content-Type": kind}}
        assert (await gateway.post(path, data=body, cookie=await sign_in(gateway), **said)).status == 200, kind


async def test_a_form_of_any_kind_passes_when_it_says_that_it_comes_from_here(gateway: Gateway) -> None:
    for kind in FORMS.values():
        headers = {"Content-Type": kind, "Sec-Fetch-Site": "same-origin"}
        cookie = await sign_in(gateway)
        assert (await gateway.post("/auth/session/extend", data=b"", headers=headers, cookie=cookie)).status == 200
        assert (await gateway.post("/auth/logout", data=b"", headers=headers, cookie=cookie)).status == 200
        assert await status(gateway, cookie) == 302


async def test_of_cookies_of_our_name_only_so_many_are_tried(gateway: Gateway) -> None:
    cookie = await sign_in(gateway)
    for planted, wanted in ((0, 200), (COOKIES_TRIED - 1, 200), (COOKIES_TRIED, 302)):
        sent = "gw_session=planted; " * planted + cookie
        answers = [await gateway.get(path, cookie=sent) for path in ("/auth/session", "/orders")]
        assert [response.status for response in answers] == [wanted, wanted], planted
        assert all("Set-Cookie" not in response.headers for response in answers)


# -- never more than so many
async def test_one_session_too_many_ends_the_oldest(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    gateway = await make_gateway(backend.url, session={"max_per_user": 2})
    manager = await sign_in(gateway, user=MANAGER)
    first, second, third = [await sign_in(gateway) for _ in range(3)]
    assert await ended(gateway, first) == "revoked"
    assert [await status(gateway, cookie) for cookie in (second, third)] == [200, 200]
    assert (await gateway.get("/mgr/x", cookie=manager)).status == 200
    assert len(await rows(gateway, third)) == 2


async def test_one_session_too_many_is_refused(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    gateway = await make_gateway(backend.url, session={"max_per_user": 2, "on_limit": "refuse"})
    first, second = [await sign_in(gateway) for _ in range(2)]
    response = await gateway.post("/auth/login", json=ALICE)
    body = await response.json()
    assert (response.status, body["ret"], body["reason"]) == (403, 403, "too_many_sessions")
    assert "2" in body["msg"]
    assert "Set-Cookie" not in response.headers
    assert [await status(gateway, cookie) for cookie in (first, second)] == [200, 200]
    assert (await gateway.post("/auth/logout", cookie=first)).status == 200
    assert await status(gateway, await sign_in(gateway)) == 200


@pytest.mark.parametrize("on_limit", ["evict_oldest", "refuse"])
async def test_signing_in_again_on_the_same_browser_takes_no_place(
    make_gateway: MakeGateway, backend: RecordingBackend, on_limit: str
) -> None:
    gateway = await make_gateway(backend.url, session={"max_per_user": 2, "on_limit": on_limit})
    other, here = await sign_in(gateway), await sign_in(gateway)
    for _ in range(3):
        response = await gateway.post("/auth/login", json=ALICE, cookie=here)
        assert response.status == 200
        here = session_cookie(response)
    assert [await status(gateway, cookie) for cookie in (here, other)] == [200, 200]


async def test_many_sign_ins_at_once_are_never_more_than_the_cap(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, session={"max_per_user": 3, "on_limit": "refuse"})
    post = gateway.client.session.post

    async def one() -> ClientResponse:
        return await post(f"{gateway.url}/auth/login", json=ALICE, headers={"Cookie": "none=1"})

    answers = await asyncio.gather(*(one() for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [200] * 3 + [403] * 7
    gateway.client.session.cookie_jar.clear()
    won = [session_cookie(answer) for answer in answers if answer.status == 200]
    assert [await status(gateway, cookie) for cookie in won] == [200] * 3


# -- two gateways
async def test_what_is_ended_on_one_gateway_is_refused_on_the_other_within_a_second(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    one, two = await make_gateway(backend.url), await make_gateway(backend.url)
    here, others = await sign_in(one), [await sign_in(one) for _ in range(3)]
    for cookie in (here, *others):
        assert await status(two, cookie) == 200
    response = await one.request("DELETE", "/auth/sessions", cookie=here)
    started = time.monotonic()
    assert (await response.json())["ended"] == 3
    for cookie in others:
        while await status(two, cookie) == 200:
            assert time.monotonic() - started < 3
    print(f"refused everywhere after {(time.monotonic() - started) * 1000:.0f} ms (promised: 1000)")
    assert [await ended(two, cookie) for cookie in others] == ["revoked"] * 3
    assert await status(two, here) == 200
    assert len(await rows(two, here)) == 1
