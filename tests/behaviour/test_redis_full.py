"""A Redis without room: sign-ins wait, nobody who is in is signed out, and signing out works (hazards R3, R9, R10)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from gateway.store.redis_server import RedisServer
from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MANAGER, Gateway, session_cookie
from tests.quick import make_gateway

__all__ = ["make_gateway"]

QUICK = {"touch_interval": 1, "idle_timeout": 60}


@pytest.fixture
def server(own_redis: RedisServer) -> Iterator[Redis]:
    with Redis(unix_socket_path=str(own_redis.socket)) as client:
        yield client


@pytest.fixture
async def gateway(make_gateway: MakeGateway, backend: RecordingBackend, own_redis: RedisServer) -> Gateway:
    """On a Redis of its own; activity is written every second."""
    return await make_gateway(backend.url, redis_url=own_redis.url, session=QUICK)


def is_full(server: Redis) -> None:
    server.config_set("maxmemory", "1")
    assert server.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"


async def reason(gateway: Gateway, cookie: str) -> str:
    response = await gateway.get("/orders", cookie=cookie)
    return "" if response.status == 200 else str((await response.json())["reason"])


async def last_seen(gateway: Gateway, cookie: str) -> int:
    body = await (await gateway.get("/auth/session", cookie=cookie)).json()
    assert body["ret"] == 0
    return int(body["last_seen"])


async def test_a_sign_in_is_a_503_and_works_when_there_is_room_again(gateway: Gateway, server: Redis) -> None:
    is_full(server)
    for _ in range(3):
        response = await gateway.post("/auth/login", json=ALICE)
        assert (response.status, (await response.json())["reason"]) == (503, "store_unavailable")
        assert int(response.headers["Retry-After"]) > 0
        assert "Set-Cookie" not in response.headers
    assert server.keys("gw:[st]:{*}") == []
    server.config_set("maxmemory", "0")
    assert await reason(gateway, await gateway.sign_in(ALICE)) == ""


async def test_who_is_in_stays_in_and_activity_is_noted(
    gateway: Gateway, make_gateway: MakeGateway, backend: RecordingBackend, own_redis: RedisServer, server: Redis
) -> None:
    cookie = await gateway.sign_in(ALICE)
    began = await last_seen(gateway, cookie)
    is_full(server)
    other = await make_gateway(backend.url, redis_url=own_redis.url, session=QUICK)
    deadline = time.monotonic() + 8
    while await last_seen(other, cookie) < began + 2:
        assert await reason(gateway, cookie) == ""
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)
    extended = await gateway.post("/auth/session/extend", cookie=cookie)
    assert extended.status == 200


@pytest.mark.slow
async def test_a_session_in_use_outlives_its_idle_timeout_on_a_full_redis(
    make_gateway: MakeGateway, backend: RecordingBackend, own_redis: RedisServer, server: Redis
) -> None:
    times = {"touch_interval": 1, "idle_timeout": 1}
    gateway = await make_gateway(backend.url, redis_url=own_redis.url, session=times)
    used, idle = await gateway.sign_in(ALICE), await gateway.sign_in(ALICE)
    is_full(server)
    until = time.monotonic() + 5
    while time.monotonic() < until:
        assert await reason(gateway, used) == ""
        await asyncio.sleep(0.2)
    assert await reason(gateway, idle) in ("expired_idle", "unknown_session")


async def test_a_rotation_that_finds_no_room_fails_nobody(
    make_gateway: MakeGateway, backend: RecordingBackend, own_redis: RedisServer, server: Redis
) -> None:
    times = {**QUICK, "rotate_interval": 1, "rotate_grace": 1}
    gateway = await make_gateway(backend.url, redis_url=own_redis.url, session=times)
    cookie = await gateway.sign_in(ALICE)
    is_full(server)
    await asyncio.sleep(1.1)
    for _ in range(3):
        response = await gateway.post("/orders", cookie=cookie)
        assert (response.status, "Set-Cookie" in response.headers) == (200, False)
    server.config_set("maxmemory", "0")
    renewed = session_cookie(await gateway.post("/orders", cookie=cookie))
    assert await reason(gateway, renewed) == ""


@pytest.mark.parametrize("cache_size", [10_000, 0], ids=["cached", "not cached"])
async def test_signing_out_works_here_and_elsewhere(
    make_gateway: MakeGateway, backend: RecordingBackend, own_redis: RedisServer, server: Redis, cache_size: int
) -> None:
    session = {**QUICK, "cache_size": cache_size}
    one, two = [await make_gateway(backend.url, redis_url=own_redis.url, session=session) for _ in range(2)]
    cookie, other = await one.sign_in(ALICE), await one.sign_in(ALICE)
    assert [await reason(gateway, cookie) for gateway in (one, two)] == ["", ""]
    is_full(server)
    response = await one.post("/auth/logout", cookie=cookie)
    assert (response.status, response.cookies["gw_session"]["max-age"]) == (200, "0")
    deadline = time.monotonic() + 3
    for gateway in (one, two):
        while not (why := await reason(gateway, cookie)):
            assert time.monotonic() < deadline
        assert why in ("revoked", "unknown_session")
        assert await reason(gateway, other) == ""


async def test_revocation_by_the_list_works(gateway: Gateway, server: Redis) -> None:
    here, phone, tablet = [await gateway.sign_in(ALICE) for _ in range(3)]
    manager = await gateway.sign_in(MANAGER)
    is_full(server)
    listed = (await (await gateway.get("/auth/sessions", cookie=here)).json())["sessions"]
    assert len(listed) == 3
    one = await gateway.request("DELETE", f"/auth/sessions/{listed[1]['handle']}", cookie=here)
    assert (one.status, (await one.json())["ended"]) == (200, 1)
    assert await reason(gateway, phone) in ("revoked", "unknown_session")
    rest = await gateway.request("DELETE", "/auth/sessions", cookie=here)
    assert (rest.status, (await rest.json())["ended"]) == (200, 1)
    assert await reason(gateway, tablet) in ("revoked", "unknown_session")
    assert await reason(gateway, here) == ""
    assert (await gateway.get("/auth/session", cookie=manager)).status == 200


async def test_signing_in_again_on_a_full_redis_leaves_the_session_that_was(gateway: Gateway, server: Redis) -> None:
    cookie = await gateway.sign_in(ALICE)
    is_full(server)
    response = await gateway.post("/auth/login", json=ALICE, cookie=cookie)
    assert (response.status, "Set-Cookie" in response.headers) == (503, False)
    assert await reason(gateway, cookie) == ""
    server.config_set("maxmemory", "0")
    listed = (await (await gateway.get("/auth/sessions", cookie=cookie)).json())["sessions"]
    assert [row["this"] for row in listed] == [True], "it is in the list as before"


# -- what is evicted
@pytest.mark.parametrize("warm", [True, False], ids=["known here", "not known here"])
async def test_a_session_whose_key_is_gone_is_unknown_and_its_cookie_deleted(
    gateway: Gateway, server: Redis, warm: bool
) -> None:
    cookie, other = await gateway.sign_in(ALICE), await gateway.sign_in(MANAGER)
    if warm:
        assert await reason(gateway, cookie) == ""
    before = set(server.keys("gw:s:{*}"))
    await gateway.sign_in(ALICE)
    for key in before:
        server.delete(key)
    deadline = time.monotonic() + 3
    while not (why := await reason(gateway, cookie)):
        assert time.monotonic() < deadline
    assert why == "unknown_session"
    response = await gateway.get("/orders", cookie=other)
    assert ((await response.json())["reason"], response.cookies["gw_session"]["max-age"]) == ("unknown_session", "0")


async def test_a_card_that_is_gone_signs_nobody_out(gateway: Gateway, server: Redis) -> None:
    """Only what is seen was evicted: who it is stands in the record."""
    cookie = await gateway.sign_in(ALICE)
    server.delete(*server.keys("gw:t:{*}"))
    assert await reason(gateway, cookie) == ""
    assert (await gateway.post("/auth/session/extend", cookie=cookie)).status == 200
    listed = (await (await gateway.get("/auth/sessions", cookie=cookie)).json())["sessions"]
    assert [row["this"] for row in listed] == [True]


async def test_sessions_evicted_by_redis_itself_are_unknown_and_new_ones_work(gateway: Gateway, server: Redis) -> None:
    cookie = await gateway.sign_in(ALICE)
    server.config_set("maxmemory-policy", "allkeys-lru")
    server.config_set("maxmemory", "1")
    deadline = time.monotonic() + 10
    while server.exists(*server.keys("gw:s:{*}") or ["-"]):
        assert time.monotonic() < deadline
        server.set("ballast", "x", px=1)
    while not (why := await reason(gateway, cookie)):
        assert time.monotonic() < deadline
    assert why == "unknown_session"
    server.config_set("maxmemory", "0")
    assert await reason(gateway, await gateway.sign_in(ALICE)) == ""


@pytest.mark.parametrize(
    ("policy", "warns"), [("noeviction", False), ("allkeys-lru", True), ("volatile-ttl", True), ("volatile-lru", True)]
)
async def test_a_redis_that_may_evict_sessions_is_told_of_at_the_start(
    make_gateway: MakeGateway,
    backend: RecordingBackend,
    own_redis: RedisServer,
    server: Redis,
    caplog: Any,
    policy: str,
    warns: bool,
) -> None:
    server.config_set("maxmemory-policy", policy)
    with caplog.at_level(logging.WARNING, logger="gateway"):
        gateway = await make_gateway(backend.url, redis_url=own_redis.url)
        await gateway.sign_in(ALICE)

        def told() -> list[Any]:
            fields = [getattr(record, "fields", {}) for record in caplog.records]
            return [given["maxmemory_policy"] for given in fields if "maxmemory_policy" in given]

        deadline = time.monotonic() + (5 if warns else 0.5)
        while not told() and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        assert told() == ([policy] if warns else [])
