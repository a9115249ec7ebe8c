"""New ids now and then, over HTTP: nobody is signed out by it, and nobody else gets the cookie (docs/http-api.md)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from redis import Redis

from gateway.core.keys import parse_ring
from gateway.core.sessions import SessionRecord
from gateway.core.tickets import session_tickets
from gateway.store.redis_server import RedisServer
from gateway.store.serializers import serializer_named
from gateway.store.values import Values, name_of
from tests.conftest import MakeGateway
from tests.core.tables import table
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MASTER, Gateway, session_cookie
from tests.quick import cheap_users, make_gateway

__all__ = ["make_gateway"]

TIMES = {"rotate_interval": 600, "touch_interval": 1, "idle_timeout": 60}
VALUES = Values(parse_ring(MASTER), serializer_named("json"))


async def make_due(gateway: Gateway, cookie: str) -> None:
    """As if the session had had its id for long."""
    session_id = session_tickets(parse_ring(MASTER)).open(cookie.partition("=")[2])
    assert session_id is not None
    name = name_of(session_id)
    with Redis.from_url(gateway.settings.redis.url) as redis:
        for _ in range(200):
            value = redis.get(b"gw:s:{%s}" % name)
            assert isinstance(value, bytes)
            record = VALUES.open(session_id, name, value)
            assert isinstance(record, SessionRecord)
            if not record.before:
                break
            await asyncio.sleep(0.01)  # the new id was presented a moment ago: that is written behind the answer
        older = replace(record, issued=record.issued - TIMES["rotate_interval"])
        redis.set(b"gw:s:{%s}" % name, VALUES.record(session_id, name, older), keepttl=True)
    await asyncio.sleep(0.05)  # until the gateways have been told


def answer(*headers: str, status: str = "200 OK", body: str = "ok") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", body]).encode()


PRIVATE = answer("Cache-Control: private")


def new_cookie(response: ClientResponse) -> str | None:
    """The cookie that the answer brings, if it brings one; it must not delete."""
    brought = response.headers.getall("Set-Cookie", [])
    assert len(brought) <= 1, brought
    return session_cookie(response) if brought else None


@pytest.fixture
async def gateway(make_gateway: MakeGateway, backend: RecordingBackend) -> Gateway:
    """Answers are private."""
    backend.answer = PRIVATE
    return await make_gateway(backend.url, session=TIMES)


async def rotated(gateway: Gateway, cookie: str) -> str:
    """Asks when a new id is due; the new cookie."""
    await make_due(gateway, cookie)
    response = await gateway.get("/orders", cookie=cookie)
    renewed = new_cookie(response)
    assert (response.status, renewed is None) == (200, False)
    assert renewed != cookie
    return str(renewed)


async def status(gateway: Gateway, cookie: str) -> int:
    return (await gateway.get("/orders", cookie=cookie)).status


async def reason(gateway: Gateway, cookie: str) -> str:
    response = await gateway.get("/orders", cookie=cookie)
    return "" if response.status == 200 else str((await response.json())["reason"])


async def at_once(gateway: Gateway, cookie: str, number: int) -> list[ClientResponse]:
    session, urls = gateway.client.session, [f"{gateway.url}/orders/{one}" for one in range(number)]
    asked = [session.get(url, headers={"Cookie": cookie}, allow_redirects=False) for url in urls]
    answers = await asyncio.gather(*asked)
    session.cookie_jar.clear()
    return list(answers)


# -- nobody is signed out by it
async def test_twenty_requests_at_once_across_a_rotation_all_succeed_and_get_the_same_new_id(
    gateway: Gateway,
) -> None:
    cookie = await gateway.sign_in()
    await make_due(gateway, cookie)
    answers = await at_once(gateway, cookie, 20)
    assert {one.status for one in answers} == {200}
    brought = {new_cookie(one) for one in answers} - {None}
    assert len(brought) == 1
    renewed = str(brought.pop())
    assert renewed != cookie
    later = await at_once(gateway, cookie, 10) + await at_once(gateway, renewed, 10)
    assert {one.status for one in later} == {200}
    listed = (await (await gateway.get("/auth/sessions", cookie=renewed)).json())["sessions"]
    assert [row["this"] for row in listed] == [True]


async def test_the_next_request_after_a_rotation_whose_answer_was_lost_succeeds_and_brings_the_cookie_again(
    gateway: Gateway,
) -> None:
    cookie = await gateway.sign_in()
    renewed = await rotated(gateway, cookie)  # the browser never sees this
    again = await gateway.get("/orders", cookie=cookie)
    assert (again.status, new_cookie(again)) == (200, renewed)
    assert await status(gateway, renewed) == 200


async def test_an_answer_that_the_browser_cuts_off_in_the_middle_of_a_rotation_costs_nothing(gateway: Gateway) -> None:
    cookie = await gateway.sign_in()
    await make_due(gateway, cookie)
    for _ in range(10):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(f"GET /orders HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n".encode())
        await asyncio.sleep(0.002)
        writer.transport.abort()
    response = await gateway.get("/orders", cookie=cookie)
    assert response.status == 200
    assert await status(gateway, str(new_cookie(response))) == 200


@pytest.mark.slow
async def test_a_client_that_ignores_set_cookie_is_not_signed_out(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    backend.answer = PRIVATE
    times = {"rotate_interval": 1, "rotate_grace": 1, "touch_interval": 1, "idle_timeout": 2}
    gateway = await make_gateway(backend.url, session=times)
    cookie = await gateway.sign_in()
    until = time.monotonic() + 7
    brought = set()
    while time.monotonic() < until:
        response = await gateway.get("/orders", cookie=cookie)
        assert response.status == 200, await response.text()
        brought.add(new_cookie(response))
        await asyncio.sleep(0.1)
    assert len(brought - {None}) == 1


async def test_the_session_stays_what_it_was(gateway: Gateway, backend: RecordingBackend) -> None:
    cookie = await gateway.sign_in()
    before = await (await gateway.get("/auth/session", cookie=cookie)).json()
    listed = (await (await gateway.get("/auth/sessions", cookie=cookie)).json())["sessions"]
    renewed = cookie
    for _ in range(3):
        renewed = await rotated(gateway, renewed)
        assert await status(gateway, renewed) == 200
        assert backend.last.value("X-Forwarded-Preferred-Username") == "alice"
    after = await (await gateway.get("/auth/session", cookie=renewed)).json()
    assert (after["user"], after["created"]) == (before["user"], before["created"])
    still = (await (await gateway.get("/auth/sessions", cookie=renewed)).json())["sessions"]
    assert [(row["handle"], row["created"], row["device"]) for row in still] == [
        (row["handle"], row["created"], row["device"]) for row in listed
    ]


async def test_another_gateway_follows(gateway: Gateway, make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    other = await make_gateway(backend.url, session=TIMES)
    cookie = await gateway.sign_in()
    assert await status(other, cookie) == 200
    renewed = await rotated(gateway, cookie)
    followed = await other.get("/orders", cookie=cookie)
    assert (followed.status, new_cookie(followed)) == (200, renewed)
    assert await status(other, renewed) == 200


async def test_with_the_store_away_a_rotation_waits_and_the_answer_goes_out(
    make_gateway: MakeGateway, backend: RecordingBackend, own_redis: RedisServer
) -> None:
    backend.answer = PRIVATE
    gateway = await make_gateway(backend.url, redis_url=own_redis.url, session=TIMES)
    cookie = await gateway.sign_in()
    assert await status(gateway, cookie) == 200
    await make_due(gateway, cookie)
    own_redis.kill()
    until = time.monotonic() + 1
    while time.monotonic() < until:
        response = await gateway.get("/orders", cookie=cookie)
        assert (response.status in (200, 503), "Set-Cookie" in response.headers) == (True, False)
    own_redis.start()
    until = time.monotonic() + 10
    while (response := await gateway.get("/orders", cookie=cookie)).status == 503:
        assert time.monotonic() < until
    assert await status(gateway, str(new_cookie(response))) == 200


# -- the old id
async def test_the_old_id_is_over_some_time_after_the_new_one_was_presented_also_when_it_is_in_use(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    backend.answer = PRIVATE
    gateway = await make_gateway(backend.url, session={**TIMES, "rotate_grace": 2})
    cookie = await gateway.sign_in()
    renewed = await rotated(gateway, cookie)
    assert await status(gateway, renewed) == 200
    presented = time.monotonic()
    while not (why := await reason(gateway, cookie)):
        assert time.monotonic() - presented < 8
        await asyncio.sleep(0.1)
    assert time.monotonic() - presented > 1.5, "parallel requests may still be under way"
    assert why == "unknown_session"
    assert await status(gateway, renewed) == 200


async def test_a_sign_out_with_the_old_cookie_ends_the_new_one_too(gateway: Gateway) -> None:
    cookie = await gateway.sign_in()
    renewed = await rotated(gateway, cookie)
    assert (await gateway.post("/auth/logout", cookie=cookie)).status == 200
    assert [await reason(gateway, one) for one in (renewed, cookie)] == ["revoked", "revoked"]


async def test_a_sign_out_with_the_new_cookie_ends_the_old_one_too(gateway: Gateway) -> None:
    cookie = await gateway.sign_in()
    renewed = await rotated(gateway, cookie)
    assert (await gateway.post("/auth/logout", cookie=renewed)).status == 200
    assert [await reason(gateway, one) for one in (renewed, cookie)] == ["revoked", "revoked"]


async def test_a_sign_out_by_a_gateway_that_does_not_know_of_the_rotation_ends_it(
    gateway: Gateway, make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    other = await make_gateway(backend.url, session=TIMES)
    cookie = await gateway.sign_in()
    assert await status(other, cookie) == 200
    await make_due(gateway, cookie)
    answers, signed_out = await asyncio.gather(
        at_once(gateway, cookie, 5),
        other.client.session.post(f"{other.url}/auth/logout", headers={"Cookie": cookie}),
    )
    assert signed_out.status == 200
    ids = {one for one in map(new_cookie_if_any, answers) if one} | {cookie}
    until = time.monotonic() + 3
    while any([await reason(one, given) == "" for one in (gateway, other) for given in ids]):
        assert time.monotonic() < until


def new_cookie_if_any(response: ClientResponse) -> str | None:
    morsel = response.cookies.get("gw_session")
    return f"gw_session={morsel.value}" if morsel is not None and morsel.value else None


async def test_ending_it_from_the_list_ends_it_under_both_ids(gateway: Gateway) -> None:
    elsewhere, cookie = await gateway.sign_in(), await gateway.sign_in()
    renewed = await rotated(gateway, cookie)
    response = await gateway.request("DELETE", "/auth/sessions", cookie=elsewhere)
    assert (await response.json())["ended"] == 1
    assert [await reason(gateway, one) for one in (renewed, cookie)] == ["revoked", "revoked"]


async def test_at_a_sign_in_every_older_id_is_dead_at_once(gateway: Gateway) -> None:
    cookie = await gateway.sign_in()
    renewed = await rotated(gateway, cookie)
    response = await gateway.post("/auth/login", json=ALICE, cookie=cookie)
    fresh = session_cookie(response)
    assert [await reason(gateway, one) for one in (cookie, renewed)] == ["replaced", "replaced"]
    assert await status(gateway, fresh) == 200


async def test_at_a_change_of_the_password_every_older_id_is_dead_at_once(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    backend.answer = PRIVATE
    users = cheap_users(tmp_path / "changing.yaml")
    source = [{"source": "file", "path": str(users)}]
    gateway = await make_gateway(backend.url, session=TIMES, users=source)
    cookie = await gateway.sign_in()
    renewed = await rotated(gateway, cookie)
    change = {"old_password": ALICE["password"], "new_password": "another secret"}
    response = await gateway.post("/auth/password", json=change, cookie=cookie)
    assert response.status == 200
    fresh = session_cookie(response)
    assert [await reason(gateway, one) for one in (cookie, renewed)] == ["replaced", "replaced"]
    assert await status(gateway, fresh) == 200


# -- which answers carry it
FOR_ALL: dict[str, bytes] = {
    "nothing said": answer(),
    "public": answer("Cache-Control: public"),
    "max-age": answer("Cache-Control: max-age=60"),
    "no-cache": answer("Cache-Control: no-cache"),
    "s-maxage on a redirect": answer("Cache-Control: s-maxage=60", "Location: /x", status="302 Found"),
    "Expires": answer("Expires: Wed, 21 Oct 2099 07:28:00 GMT"),
    "404": answer(status="404 Not Found"),
    "304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "private, but a CDN may": answer("Cache-Control: private", "CDN-Cache-Control: max-age=60"),
    "private fields only": answer('Cache-Control: private="x"'),
    "private as a hint to others": answer("X-Cache-Control: private", "Cache-Control: max-age=1"),
}
FOR_ONE: dict[str, bytes] = {
    "private": answer("Cache-Control: private"),
    "private in capitals": answer("cache-control: PRIVATE, max-age=60"),
    "private in a second field": answer("Cache-Control: max-age=60", "Cache-Control: private"),
    "no-store": answer("Cache-Control: no-store"),
    "a redirect": answer("Location: /x", status="302 Found"),
    "an error": answer(status="500 Oops"),
    "a private 304": b"HTTP/1.1 304 Not Modified\r\nCache-Control: private\r\n\r\n",
    "in chunks": b"HTTP/1.1 200 OK\r\nCache-Control: private\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
}


@pytest.fixture
def told(backend: RecordingBackend) -> dict[str, bytes]:
    """What the backend answers to each path."""
    answers = {f"/{number}": given for number, given in enumerate([*FOR_ALL.values(), *FOR_ONE.values()])}

    async def tell(request: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(answers[request.target])

    backend.answer = tell
    return answers


async def test_an_answer_that_a_shared_cache_may_store_carries_no_cookie_and_one_for_this_user_does(
    make_gateway: MakeGateway, backend: RecordingBackend, told: dict[str, bytes]
) -> None:
    gateway = await make_gateway(backend.url, session=TIMES)
    cookies = dict(zip(FOR_ONE, [await gateway.sign_in() for _ in FOR_ONE], strict=True))
    waiting = next(iter(cookies.values()))
    for cookie in cookies.values():
        await make_due(gateway, cookie)
    paths = dict(zip([*FOR_ALL, *FOR_ONE], told, strict=True))
    for name in FOR_ALL:
        for method in ("GET", "HEAD"):
            response = await gateway.request(method, paths[name], cookie=waiting)
            assert response.headers.getall("Set-Cookie", []) == [], (name, method)
    for name, cookie in cookies.items():
        assert new_cookie(await gateway.get(paths[name], cookie=cookie)) not in (None, cookie), name


async def test_the_cache_headers_of_the_backend_stay_as_they_are(gateway: Gateway, backend: RecordingBackend) -> None:
    backend.answer = answer(
        "Cache-Control: private, max-age=60", "Vary: Accept", "Set-Cookie: sessionid=theirs; Path=/"
    )
    cookie = await gateway.sign_in()
    await make_due(gateway, cookie)
    response = await gateway.get("/orders", cookie=cookie)
    assert response.headers.getall("Cache-Control") == ["private, max-age=60"]
    assert response.headers.getall("Vary") == ["Accept"]
    assert response.cookies["sessionid"].value == "theirs"
    assert response.cookies["gw_session"].value not in ("", cookie.partition("=")[2])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_what_is_no_reading_carries_it_without_further_ado(
    gateway: Gateway, backend: RecordingBackend, method: str
) -> None:
    backend.answer = answer()
    cookie = await gateway.sign_in()
    await make_due(gateway, cookie)
    assert new_cookie(await gateway.request(method, "/orders", cookie=cookie)) not in (None, cookie)


async def test_our_own_answers_carry_it_and_looking_at_the_session_does_not(gateway: Gateway) -> None:
    cookie = await gateway.sign_in()
    await make_due(gateway, cookie)
    assert new_cookie(await gateway.get("/auth/session", cookie=cookie)) is None
    renewed = new_cookie(await gateway.post("/auth/session/extend", cookie=cookie))
    assert renewed not in (None, cookie)
    assert new_cookie(await gateway.get("/auth/session", cookie=cookie)) == renewed, "the last answer was lost"


async def test_a_route_that_hides_its_answers_from_caches_carries_it(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    backend.answer = answer("Cache-Control: public, max-age=60")
    routes = [{"path": "/", "access": "authenticated", "cache": "private"}]
    gateway = await make_gateway(backend.url, session=TIMES, routes=routes)
    cookie = await gateway.sign_in()
    await make_due(gateway, cookie)
    response = await gateway.get("/orders", cookie=cookie)
    assert new_cookie(response) not in (None, cookie)
    assert response.headers["Cache-Control"].startswith("private")


SITES: dict[str, tuple[dict[str, Any], dict[str, Any], str, dict[str, Any]]] = {
    "http": ({}, {}, "gw_session", {"secure": "", "path": "/", "domain": "", "httponly": True, "samesite": "Lax"}),
    "https": (
        {"url": "https://www.example.org"},
        {},
        "__Host-gw_session",
        {"secure": True, "path": "/", "domain": "", "httponly": True, "samesite": "Lax"},
    ),
    "of its own": (
        {"url": "https://www.example.org"},
        {"name": "sid", "domain": "example.org", "path": "/app", "samesite": "Strict", "httponly": False},
        "__Secure-sid",
        {"secure": True, "path": "/app", "domain": "example.org", "httponly": "", "samesite": "Strict"},
    ),
}


@pytest.mark.parametrize(("site", "cookie", "name", "attributes"), table(SITES))
async def test_the_new_cookie_has_the_attributes_of_the_first_and_the_time_that_is_left(
    make_gateway: MakeGateway,
    backend: RecordingBackend,
    site: dict[str, Any],
    cookie: dict[str, Any],
    name: str,
    attributes: dict[str, Any],
) -> None:
    backend.answer = PRIVATE
    session = {**TIMES, "absolute_timeout": 600, "cookie": cookie}
    gateway = await make_gateway(backend.url, session=session, site=site)
    first = (await gateway.post("/auth/login", json=ALICE)).cookies[name]
    await make_due(gateway, f"{name}={first.value}")
    second = (await gateway.get("/orders", cookie=f"{name}={first.value}")).cookies[name]
    for attribute, value in attributes.items():
        assert first[attribute] == second[attribute] == value, attribute
    assert int(first["max-age"]) - 10 < int(second["max-age"]) <= int(first["max-age"])
    assert second["expires"]


async def test_a_cookie_that_ends_with_the_browser_goes_on_ending_with_it(gateway: Gateway) -> None:
    response = await gateway.post("/auth/login", json={**ALICE, "remember": False})
    cookie = session_cookie(response)
    await make_due(gateway, cookie)
    morsel = (await gateway.get("/orders", cookie=cookie)).cookies["gw_session"]
    assert (morsel["max-age"], morsel["expires"]) == ("", "")


async def test_with_an_interval_of_zero_ids_stay(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    backend.answer = PRIVATE
    gateway = await make_gateway(backend.url, session={**TIMES, "rotate_interval": 0})
    cookie = await gateway.sign_in()
    await make_due(gateway, cookie)
    assert new_cookie(await gateway.get("/orders", cookie=cookie)) is None
    assert new_cookie(await gateway.post("/orders", cookie=cookie)) is None
