"""How long a session lives, and what is no session at all (docs/http-api.md)."""

from __future__ import annotations

import asyncio
import time

import pytest
from redis import Redis

from gateway.core.keys import parse_ring
from gateway.core.tickets import session_tickets
from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MASTER, OTHER_MASTER, Gateway


def commands(redis: Redis) -> int:
    """How many commands gateways have sent since the last ``config_resetstat``."""
    housekeeping = {"config", "info", "client", "hello", "select", "ping"}
    stats = {name.removeprefix("cmdstat_").partition("|")[0]: stat for name, stat in redis.info("commandstats").items()}
    return sum(stat["calls"] for name, stat in stats.items() if name not in housekeeping)


async def reason(gateway: Gateway, cookie: str) -> str:
    response = await gateway.get("/orders", cookie=cookie)
    return "" if response.status == 200 else str((await response.json())["reason"])


# -- dead and foreign cookies
async def test_an_unknown_session_is_refused_and_its_cookie_deleted(gateway: Gateway) -> None:
    cookie = await gateway.sign_in(ALICE)
    await gateway.post("/auth/logout", cookie=cookie)
    response = await gateway.get("/orders", cookie=cookie)
    assert (await response.json())["reason"] == "unknown_session"
    morsel = response.cookies["gw_session"]
    assert (morsel.value, morsel["max-age"]) == ("", "0")


async def test_strangers_and_ten_thousand_invented_cookies_cost_redis_nothing(gateway: Gateway, redis: Redis) -> None:
    ring = parse_ring(OTHER_MASTER)
    forged = [session_tickets(ring).sign(n.to_bytes(32, "big")) for n in range(300)]
    redis.config_resetstat()
    for cookie in [None, "gw_session=x", *(f"gw_session={ticket}" for ticket in forged)]:
        response = await gateway.get("/orders", cookie=cookie)
        assert response.status == 302
        assert "Set-Cookie" not in response.headers
    await gateway.get("/auth/login")
    await gateway.get("/auth/session")
    assert commands(redis) == 0


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
    redis.config_resetstat()
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
    response = await gateway.get("/orders", cookie=f"gw_session={foreign}")
    assert ((await response.json())["reason"], "Set-Cookie" in response.headers) == ("no_session", False)


async def test_a_new_key_in_front_keeps_the_sessions_of_the_old_one(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    before = await make_gateway(backend.url)
    cookie = await before.sign_in(ALICE)
    after = await make_gateway(backend.url, keys={"master": f"{OTHER_MASTER}\n{MASTER}"})
    assert await reason(after, cookie) == ""
    assert await reason(before, await after.sign_in(ALICE)) == "no_session"


# -- what is in Redis
async def test_redis_sees_neither_the_id_nor_who_it_is(gateway: Gateway, redis: Redis) -> None:
    cookie = await gateway.sign_in(ALICE)
    ticket = cookie.partition("=")[2]
    opened = session_tickets(parse_ring(MASTER)).open(ticket)
    assert opened is not None
    keys = redis.keys()
    everything = b"".join(key + (redis.get(key) or b"") for key in keys)
    assert len(keys) == 2
    for secret in (ticket.encode(), opened, opened.hex().encode(), b"alice", b"Archer"):
        assert secret not in everything
    assert all(0 < redis.pttl(key) <= (1800 + 120) * 1000 for key in keys)


async def test_a_changed_swapped_or_truncated_record_is_no_session(gateway: Gateway, redis: Redis) -> None:
    cookies = [await gateway.sign_in(ALICE), await gateway.sign_in(ALICE)]
    keys = sorted(redis.keys("gw:s:*"))
    values = [redis.get(key) for key in keys]
    assert None not in values
    first, second = (value or b"" for value in values)
    for value in (second, first[:-1], first[:20], b"", b"x", first[:50] + bytes([first[50] ^ 1]) + first[51:], b"{}"):
        redis.set(keys[0], value)
        redis.set(keys[1], second)
        answers = {await reason(gateway, cookie) for cookie in cookies}
        assert answers == {"", "unknown_session"}, value[:10]
    redis.set(keys[0], first)
    assert [await reason(gateway, cookie) for cookie in cookies] == ["", ""]


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
    touched = redis.keys("gw:t:*")[0]
    redis.set(touched, int((time.time() - 1800 - 61) * 1000))
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


async def test_use_is_written_at_most_once_per_interval(gateway: Gateway, redis: Redis) -> None:
    cookie = await gateway.sign_in(ALICE)
    redis.config_resetstat()
    for _ in range(20):
        assert await reason(gateway, cookie) == ""
    assert commands(redis) == redis.info("commandstats")["cmdstat_mget"]["calls"] == 20


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
    assert await reason(gateway, cookie) == "unknown_session"
    assert redis.dbsize() == 0


# -- /auth/session
async def test_the_session_endpoint_tells_who_and_how_long_and_is_no_activity(gateway: Gateway, redis: Redis) -> None:
    cookie = await gateway.sign_in(ALICE)
    touched = redis.keys("gw:t:*")[0]
    redis.set(touched, int((time.time() - 600) * 1000))
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
