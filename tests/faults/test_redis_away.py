"""Redis gone: 503, nobody signed out, and everything as before when it is back (docs/http-api.md; founding decision 1)."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest
from redis import Redis

from gateway.store.redis_server import RedisServer
from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import ALICE, Gateway


async def assert_unavailable(gateway: Gateway, cookie: str) -> float:
    started = time.monotonic()
    response = await gateway.get("/orders", cookie=cookie)
    took = time.monotonic() - started
    body = await response.json()
    assert (response.status, body["ret"], body["reason"]) == (503, 503, "store_unavailable")
    assert int(response.headers["Retry-After"]) > 0
    assert "Set-Cookie" not in response.headers
    return took


async def until_refused(gateway: Gateway, cookie: str) -> None:
    """What this process has heard less than half a second ago it may still believe."""
    until = time.monotonic() + 3
    while (await gateway.get("/orders", cookie=cookie)).status == 200:
        assert time.monotonic() < until


async def until_served(gateway: Gateway, cookie: str, seconds: float = 10.0) -> float:
    started = time.monotonic()
    while (response := await gateway.get("/orders", cookie=cookie)).status != 200:
        assert response.status == 503, "an outage must never end as a sign-out"
        assert time.monotonic() - started < seconds
        await asyncio.sleep(0.05)
    return time.monotonic() - started


@pytest.fixture
async def gateway(make_gateway: MakeGateway, backend: RecordingBackend, own_redis: RedisServer) -> Gateway:
    """On a Redis that may be killed."""
    return await make_gateway(backend.url, redis_url=own_redis.url)


async def test_a_killed_redis_signs_nobody_out_and_the_same_cookie_works_afterwards(
    gateway: Gateway, own_redis: RedisServer
) -> None:
    cookie = await gateway.sign_in(ALICE)
    assert (await gateway.get("/orders", cookie=cookie)).status == 200
    own_redis.kill()
    await until_refused(gateway, cookie)
    for _ in range(5):
        await assert_unavailable(gateway, cookie)
    own_redis.start()
    await until_served(gateway, cookie)


async def test_many_kept_connections_that_died_fail_nobody_once_redis_is_back(
    gateway: Gateway, own_redis: RedisServer
) -> None:
    """Hazard R5."""
    cookie = await gateway.sign_in(ALICE)

    async def ask() -> int:
        async with gateway.client.session.get(f"{gateway.url}/orders", headers={"Cookie": cookie}) as response:
            return response.status

    assert set(await asyncio.gather(*(ask() for _ in range(30)))) == {200}
    own_redis.kill()
    own_redis.start()
    assert set(await asyncio.gather(*(ask() for _ in range(30)))) == {200}


async def test_a_frozen_redis_is_a_503_within_a_second_and_a_half(gateway: Gateway, own_redis: RedisServer) -> None:
    cookie = await gateway.sign_in(ALICE)
    assert own_redis.pid is not None
    os.kill(own_redis.pid, signal.SIGSTOP)
    try:
        took = [await assert_unavailable(gateway, cookie) for _ in range(2)]
    finally:
        os.kill(own_redis.pid, signal.SIGCONT)
    print(f"refused after {max(took):.2f} s (promised: 1.5)")
    assert max(took) < 3 * 1.5
    await until_served(gateway, cookie)


async def test_the_gateway_starts_while_redis_is_away(
    make_gateway: MakeGateway, backend: RecordingBackend, own_redis: RedisServer
) -> None:
    before = await make_gateway(backend.url, redis_url=own_redis.url)
    cookie = await before.sign_in(ALICE)
    own_redis.kill()
    gateway = await make_gateway(backend.url, redis_url=own_redis.url)
    await assert_unavailable(gateway, cookie)
    own_redis.start()
    await until_served(gateway, cookie)


async def test_strangers_and_public_pages_notice_nothing(gateway: Gateway, own_redis: RedisServer) -> None:
    own_redis.kill()
    assert (await gateway.get("/public/about.html")).status == 200
    assert (await gateway.get("/orders")).status == 302
    assert (await gateway.get("/auth/login")).status == 200


async def test_an_optional_route_serves_the_signed_in_as_nobody(
    make_gateway: MakeGateway, backend: RecordingBackend, own_redis: RedisServer
) -> None:
    routes = [{"path": "/", "access": "public", "identity": "optional"}]
    gateway = await make_gateway(backend.url, redis_url=own_redis.url, routes=routes)
    cookie = await gateway.sign_in(ALICE)
    own_redis.kill()
    response = await gateway.get("/", cookie=cookie)
    assert (response.status, backend.last.value("X-Forwarded-User")) == (200, None)
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/auth/login"), ("POST", "/auth/logout"), ("GET", "/auth/session"), ("GET", "/auth/login")],
)
async def test_our_own_endpoints_say_503_and_touch_no_cookie(
    gateway: Gateway, own_redis: RedisServer, method: str, path: str
) -> None:
    cookie = await gateway.sign_in(ALICE)
    own_redis.kill()
    response = await gateway.request(method, path, cookie=cookie, json=ALICE if path == "/auth/login" else None)
    assert (response.status, (await response.json())["reason"]) == (503, "store_unavailable")
    assert "Set-Cookie" not in response.headers


async def test_a_page_load_gets_a_small_page(gateway: Gateway, own_redis: RedisServer) -> None:
    cookie = await gateway.sign_in(ALICE)
    own_redis.kill()
    headers = {"Sec-Fetch-Mode": "navigate", "Accept-Language": "zh-CN"}
    response = await gateway.get("/orders", cookie=cookie, headers=headers)
    assert (response.status, response.content_type) == (503, "text/html")
    assert "Location" not in response.headers
    assert "请稍后" in await response.text()


async def test_a_redis_out_of_memory_refuses_sign_ins_but_serves_who_is_in_and_signs_out(
    make_gateway: MakeGateway, backend: RecordingBackend, own_redis: RedisServer
) -> None:
    """Hazards R3 and R9: reads work, writes fail, DEL works."""
    gateway = await make_gateway(
        backend.url, redis_url=own_redis.url, session={"touch_interval": 1, "idle_timeout": 60}
    )
    cookie = await gateway.sign_in(ALICE)
    with Redis(unix_socket_path=str(own_redis.socket)) as client:
        client.config_set("maxmemory", "1")
    await asyncio.sleep(1.1)
    for _ in range(3):
        assert (await gateway.get("/orders", cookie=cookie)).status == 200
    response = await gateway.post("/auth/login", json=ALICE)
    assert (response.status, (await response.json())["reason"]) == (503, "store_unavailable")
    assert "Set-Cookie" not in response.headers
    assert (await gateway.post("/auth/logout", cookie=cookie)).status == 200
    assert (await gateway.get("/orders", cookie=cookie)).status == 302


@pytest.mark.parametrize("password", ["wrong", None])
async def test_a_wrong_redis_password_is_an_outage_and_nobody_s_sign_out(
    make_gateway: MakeGateway, backend: RecordingBackend, own_redis: RedisServer, password: str | None
) -> None:
    before = await make_gateway(backend.url, redis_url=own_redis.url)
    cookie = await before.sign_in(ALICE)
    with Redis(unix_socket_path=str(own_redis.socket)) as client:
        client.config_set("requirepass", "right")
    redis = {"url": own_redis.url, **({"password": password} if password else {})}
    gateway = await make_gateway(backend.url, redis=redis)
    await assert_unavailable(gateway, cookie)
    right = await make_gateway(backend.url, redis={"url": own_redis.url, "password": "right"})
    assert (await right.get("/orders", cookie=cookie)).status == 200
