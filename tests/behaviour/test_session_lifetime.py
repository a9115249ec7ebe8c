"""How long a session lives, and what is no session at all (docs/http-api.md)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from redis import Redis

from gateway.core.keys import parse_ring
from gateway.core.sessions import SessionRecord
from gateway.core.tickets import session_tickets
from gateway.store.serializers import serializer_named
from gateway.store.values import Values, name_of
from tests.behaviour.test_quiet_redis import commands, quiet
from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MASTER, OTHER_MASTER, Gateway
from tests.quick import keys_are_known

VALUES = Values(parse_ring(MASTER), serializer_named("json"))


def aged(redis: Redis, cookie: str, seconds: float) -> None:
    """Makes the session one that was last used so long ago."""
    session_id = session_tickets(parse_ring(MASTER)).open(cookie.partition("=")[2])
    assert session_id is not None
    name = name_of(session_id)
    key, touched = (b"gw:%s:{%s}" % (kind, name) for kind in (b"s", b"t"))
    value, then = redis.get(key), time.time() - seconds
    assert isinstance(value, bytes)
    record, card = VALUES.open(session_id, name, value), VALUES.open_card(name, redis.get(touched))
    assert isinstance(record, SessionRecord)
    assert card is not None
    redis.set(touched, VALUES.card(name, replace(card, last_seen=then)), keepttl=True)
    redis.set(key, VALUES.record(session_id, name, replace(record, modified=then)), keepttl=True)


async def reason(gateway: Gateway, cookie: str) -> str:
    response = await gateway.get("/orders", cookie=cookie)
    return "" if response.status == 200 else str((await response.json())["reason"])


# -- dead and foreign cookies
async def test_an_unknown_session_is_refused_and_its_cookie_deleted(gateway: Gateway, redis: Redis) -> None:
    cookie = await gateway.sign_in(ALICE)
    redis.delete(*redis.keys("gw:s:{*}"))
    response = await gateway.get("/orders", cookie=cookie)
    assert (await response.json())["reason"] == "unknown_session"
    morsel = response.cookies["gw_session"]
    assert (morsel.value, morsel["max-age"]) == ("", "0")


def broken_cookies() -> list[str]:
    good = session_tickets(parse_ring(MASTER)).sign(bytes(32))
    shapes = [good[:cut] for cut in range(len(good))]
    shapes += [good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1 :] for at in range(len(good))]
    shapes += [
        good + "A",
        good + "=",
        good + "==",
        " " + good + "x",
        f'"{good}"',
        good.swapcase(),
        "é" * 70,
        "%00" * 20,
        "A" * 70,
    ]
    return [*shapes, "", "=", ";", ",", "null", "undefined", "../../etc/passwd", "{}", "-1", "A" * 4000]


async def test_two_hundred_shapes_of_broken_cookie_are_nobody(gateway: Gateway, redis: Redis) -> None:
    shapes = broken_cookies()
    assert len(shapes) > 150
    await keys_are_known(gateway)
    await quiet(redis)
    for shape in shapes:
        head = f"GET /orders HTTP/1.1\r\nHost: a\r\nCookie: gw_session={shape}\r\nConnection: close\r\n\r\n"
        received = await gateway.raw(head.encode("utf-8", "surrogateescape"))
        assert received.startswith(b"HTTP/1.1 302 "), shape
        assert b"no_session" in received
        assert b"Set-Cookie" not in received
    assert commands(redis) == 0


async def test_a_hundred_cookies_do_no_harm_and_the_first_authentic_one_counts(gateway: Gateway) -> None:
    cookie = await gateway.sign_in(ALICE)
    crowd = "; ".join(f"c{n}=v" for n in range(100))
    rivals = "; ".join(f"gw_session=evil{n}" for n in range(50))
    assert (await gateway.get("/orders", cookie=f"{crowd}; {rivals}; {cookie}")).status == 200
    assert (await gateway.get("/orders", cookie=f"{crowd}; {rivals}")).status == 302


async def test_the_cookie_of_another_key_is_left_alone(gateway: Gateway) -> None:
    foreign = session_tickets(parse_ring(OTHER_MASTER)).sign(bytes(32))
    await keys_are_known(gateway)
    response = await gateway.get("/orders", cookie=f"gw_session={foreign}")
    assert ((await response.json())["reason"], "Set-Cookie" in response.headers) == ("no_session", False)


async def test_a_new_key_in_front_keeps_the_sessions_of_the_old_one(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    before = await make_gateway(backend.url)
    cookie = await before.sign_in(ALICE)
    after = await make_gateway(backend.url, keys={"master": f"{OTHER_MASTER}\n{MASTER}"})
    assert await reason(after, cookie) == ""
    assert await reason(before, await after.sign_in(ALICE)) == "store_unavailable", "it has the key no more than we do"


# -- what is in Redis
async def test_redis_sees_neither_the_id_nor_who_it_is(gateway: Gateway, redis: Redis) -> None:
    cookie = await gateway.sign_in(ALICE)
    ticket = cookie.partition("=")[2]
    opened = session_tickets(parse_ring(MASTER)).open(ticket)
    assert opened is not None
    announced, *keys = sorted(redis.keys(), key=lambda key: key != b"gw:s:=keys")
    assert announced == b"gw:s:=keys"
    listed = [key for key in keys if redis.type(key) == b"zset"]
    everything = b"".join([*keys, *(redis.dump(key) or b"" for key in keys)])
    assert (len(keys), len(listed)) == (3, 1)
    for secret in (ticket.encode(), opened, opened.hex().encode(), b"alice", b"Archer"):
        assert secret not in everything
    assert all(0 < redis.pttl(key) <= (1800 + 120 + 1800) * 1000 for key in keys if key not in listed)
    assert 0 < redis.pttl(listed[0]) <= (12 * 3600 + 120) * 1000


async def test_a_changed_swapped_or_truncated_record_is_no_session(
    make_gateway: MakeGateway, backend: RecordingBackend, redis: Redis
) -> None:
    gateway = await make_gateway(backend.url, session={"cache_size": 0})
    cookies = [await gateway.sign_in(ALICE), await gateway.sign_in(ALICE)]
    keys = sorted(redis.keys("gw:s:{*}"))
    values = [redis.get(key) for key in keys]
    assert None not in values
    first, second = (value or b"" for value in values)
    for value in (second, first[:-1], first[:20], b"", b"x", first[:50] + bytes([first[50] ^ 1]) + first[51:], b"{}"):
        redis.set(keys[0], value)
        redis.set(keys[1], second)
        answers = {await reason(gateway, cookie) for cookie in cookies}
        assert answers == {"", "unknown_session"}, value[:10]
    redis.set(keys[0], first)
    elsewhere = await make_gateway(backend.url)
    assert [await reason(elsewhere, cookie) for cookie in cookies] == ["", ""]


# -- time
async def test_a_session_in_use_stays_and_an_idle_one_ends(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, session={"idle_timeout": 3, "touch_interval": 1})
    used, idle = await gateway.sign_in(ALICE), await gateway.sign_in(ALICE)
    for _ in range(10):
        await asyncio.sleep(0.5)
        assert await reason(gateway, used) == ""
    assert await reason(gateway, idle) in ("expired_idle", "unknown_session")


async def test_an_idle_session_is_told_why_while_its_record_is_there(
    make_gateway: MakeGateway, backend: RecordingBackend, redis: Redis
) -> None:
    gateway = await make_gateway(backend.url)
    cookie = await gateway.sign_in(ALICE)
    aged(redis, cookie, 1800 + 61)
    response = await gateway.get("/orders", cookie=cookie)
    assert (await response.json())["reason"] == "expired_idle"
    assert response.cookies["gw_session"]["max-age"] == "0"


async def test_a_session_in_use_ends_at_its_absolute_limit(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, session={"absolute_timeout": 2, "touch_interval": 5})
    response = await gateway.post("/auth/login", json=ALICE)
    assert int(response.cookies["gw_session"]["max-age"]) <= 2
    cookie = f"gw_session={response.cookies['gw_session'].value}"
    deadline = time.monotonic() + 10
    while (answer := await reason(gateway, cookie)) == "":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)
    assert answer == "expired_absolute"


async def test_use_is_written_at_most_once_per_interval(
    make_gateway: MakeGateway, backend: RecordingBackend, redis: Redis
) -> None:
    gateway = await make_gateway(backend.url, session={"touch_interval": 2, "idle_timeout": 60})
    cookie = await gateway.sign_in(ALICE)
    touched = redis.keys("gw:t:*")[0]
    started, seen = time.monotonic(), {redis.get(touched)}
    while (lasted := time.monotonic() - started) < 5:
        assert await reason(gateway, cookie) == ""
        seen.add(redis.get(touched))
    assert 2 <= len(seen) <= 1 + lasted // 2 + 1


async def test_a_touch_cannot_bring_a_deleted_session_back(
    make_gateway: MakeGateway, backend: RecordingBackend, redis: Redis
) -> None:
    gateway = await make_gateway(backend.url, session={"touch_interval": 1, "idle_timeout": 60})
    cookie = await gateway.sign_in(ALICE)
    await asyncio.sleep(1.1)
    asked = [
        asyncio.create_task(gateway.client.session.get(f"{gateway.url}/x", headers={"Cookie": cookie}))
        for _ in range(20)
    ]
    await asyncio.sleep(0)
    await gateway.post("/auth/logout", cookie=cookie)
    for task in asked:
        (await task).release()
    assert await reason(gateway, cookie) == "revoked"
    assert redis.keys("gw:[st]:{*}") == []


# -- /auth/session
async def test_the_session_endpoint_tells_who_and_how_long_and_is_no_activity(gateway: Gateway, redis: Redis) -> None:
    cookie = await gateway.sign_in(ALICE)
    aged(redis, cookie, 600)
    body = await (await gateway.get("/auth/session", cookie=cookie)).json()
    assert (body["ret"], body["user"]["username"]) == (0, "alice")
    assert 1190 <= body["idle_left"] <= 1200
    assert 12 * 3600 - 5 <= body["absolute_left"] <= 12 * 3600
    assert abs(body["created"] - time.time()) < 5
    assert abs(body["last_seen"] - (time.time() - 600)) < 5
    again = await (await gateway.get("/auth/session", cookie=cookie)).json()
    assert again["last_seen"] == body["last_seen"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_the_session_endpoint_is_only_read(gateway: Gateway, method: str) -> None:
    response = await gateway.request(method, "/auth/session")
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


async def test_a_stranger_gets_the_refusal_from_the_session_endpoint(gateway: Gateway) -> None:
    response = await gateway.get("/auth/session")
    body = await response.json()
    assert (response.status, body["ret"], body["reason"]) == (302, 302, "no_session")
    assert body["redirect"] == "/auth/login?next=%2F"
