"""Rings of keys that differ between gateways on one store (founding decision 3; docs/keys.md): *unavailable*, never
*invalid*. In the tests K1 is the old key and K2 the new one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from redis import Redis

from gateway.core.keys import parse_ring
from gateway.core.tickets import session_tickets
from gateway.scripting import open_store
from gateway.store.values import name_of
from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MASTER, OTHER_MASTER, Gateway, session_cookie
from tests.quick import make_gateway

__all__ = ["make_gateway"]

K1, K2 = MASTER, OTHER_MASTER
THIRD = "QAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
OLD, DISTRIBUTED, PROMOTED, NEW = K1, f"{K1}\n{K2}", f"{K2}\n{K1}", K2


def id_of(key: str) -> bytes:
    return parse_ring(key).active.id


@dataclass(frozen=True, slots=True)
class Replica:
    """A gateway that serves, with its management listener."""

    gateway: Gateway
    management: TestClient[Any, Any]

    async def readiness(self) -> dict[str, Any]:
        response = await self.management.get("/readyz")
        assert response.status == 200
        body: dict[str, Any] = await response.json()
        return body

    async def status(self, cookie: str) -> int:
        """Nothing is done to the cookie unless it is definitely dead."""
        response = await self.gateway.get("/orders", cookie=cookie)
        ends = response.status == 302 and (await response.json())["reason"] != "no_session"
        assert ends == any(not morsel.value for morsel in response.cookies.values())
        return response.status

    async def until_status_is(self, wanted: int, cookie: str) -> None:
        """The news of keys come a moment later."""
        deadline = time.monotonic() + 8
        while await self.status(cookie) != wanted:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)

    async def until_keys_are(self, state: str) -> None:
        deadline = time.monotonic() + 8
        while (await self.readiness())["components"]["keys"] != state:
            assert time.monotonic() < deadline, f"keys are not {state}"
            await asyncio.sleep(0.05)


Start = Callable[..., Awaitable[Replica]]


@pytest.fixture
def start(make_gateway: MakeGateway, backend: RecordingBackend, aiohttp_client: Any) -> Start:
    """``await start(ring, **settings)``: a replica, which has told the others of its keys."""

    async def started(ring: str, **over: Any) -> Replica:
        gateway = await make_gateway(backend.url, keys={"master": ring}, **over)
        gateway.parts.phase.name = "serving"
        return Replica(gateway, await aiohttp_client(TestServer(gateway.parts.management)))

    return started


async def assert_unavailable(gateway: Gateway, cookie: str) -> None:
    for method, path in (
        ("GET", "/orders"),
        ("GET", "/auth/session"),
        ("POST", "/auth/logout"),
        ("GET", "/auth/login"),
    ):
        response = await gateway.request(method, path, cookie=cookie)
        assert (response.status, (await response.json())["reason"]) == (503, "store_unavailable"), path
        assert int(response.headers["Retry-After"]) > 0
        assert "Set-Cookie" not in response.headers


# -- a replica one step behind
async def test_a_gateway_without_the_key_of_a_cookie_says_503_and_names_it_and_nobody_is_signed_out(
    start: Start,
) -> None:
    behind = await start(OLD)
    mine = await behind.gateway.sign_in(ALICE)
    assert await behind.status(mine) == 200
    ahead = await start(PROMOTED)
    cookie = await ahead.gateway.sign_in(ALICE)
    await behind.until_status_is(503, cookie)
    await assert_unavailable(behind.gateway, cookie)
    told = await behind.readiness()
    assert (told["status"], told["components"]["keys"]) == ("degraded", "unavailable")
    assert (await ahead.readiness())["components"]["keys"] == "ok"
    assert [
        await behind.status(mine),
        await ahead.status(mine),
        await ahead.status(cookie),
    ] == [200, 200, 200]


async def test_with_the_ring_handed_out_the_same_cookie_works(start: Start) -> None:
    behind = await start(OLD)
    ahead = await start(PROMOTED)
    cookie = await ahead.gateway.sign_in(ALICE)
    await behind.until_keys_are("unavailable")
    assert await behind.status(cookie) == 503
    restarted = await start(DISTRIBUTED)
    assert await restarted.status(cookie) == 200
    assert await ahead.status(await restarted.gateway.sign_in(ALICE)) == 200
    assert (await restarted.readiness())["components"]["keys"] == "ok"


async def test_a_rotation_in_two_steps_is_noticed_by_nobody(start: Start) -> None:
    """Handed out to every replica first, promoted then: at no moment does one of them not know a cookie."""
    cookies = []
    for rings in (
        (OLD, OLD),
        (DISTRIBUTED, OLD),
        (DISTRIBUTED, DISTRIBUTED),
        (PROMOTED, DISTRIBUTED),
        (PROMOTED, PROMOTED),
    ):
        replicas = [await start(ring) for ring in rings]
        cookies += [await one.gateway.sign_in(ALICE) for one in replicas]
        assert {await one.status(cookie) for one in replicas for cookie in cookies} == {200}


async def test_a_gateway_that_was_just_started_does_not_know_yet_what_is_in_use(start: Start, redis: Redis) -> None:
    ahead = await start(PROMOTED)
    cookie = await ahead.gateway.sign_in(ALICE)
    redis.execute_command("CLIENT", "PAUSE", 700)
    behind = await start(OLD)
    assert await behind.status(cookie) == 503
    await behind.until_keys_are("unavailable")
    assert await behind.status(cookie) == 503


async def test_a_record_that_is_sealed_under_a_key_in_use_elsewhere_is_a_503_and_opens_where_the_key_is(
    start: Start, redis: Redis
) -> None:
    """Its cookie is under the old key still, the record is re-sealed already."""
    behind = await start(OLD)
    cookie = await behind.gateway.sign_in(ALICE)
    ahead = await start(PROMOTED, session={"rotate_interval": 1, "rotate_grace": 1})
    resealed = await reseal(ahead.gateway, redis, cookie)
    assert resealed[1:5] == id_of(K2)
    await behind.until_keys_are("unavailable")
    response = await behind.gateway.get("/orders", cookie=cookie)
    assert (response.status, "Set-Cookie" in response.headers) == (503, False)
    assert await ahead.status(cookie) == 200


async def reseal(gateway: Gateway, redis: Redis, cookie: str) -> bytes:
    """Makes the gateway write the record of an old cookie once more: in a rotation of ids."""
    await asyncio.sleep(1.1)
    response = await gateway.post("/orders", cookie=cookie)
    assert response.status == 200
    assert session_cookie(response) != cookie
    return record_of(redis, cookie)


def record_of(redis: Redis, cookie: str) -> bytes:
    session_id = session_tickets(parse_ring(PROMOTED)).open(cookie.partition("=")[2])
    assert session_id is not None
    value = redis.get(b"gw:s:{%s}" % name_of(session_id))
    assert isinstance(value, bytes)
    return value


# -- after the rotation
async def test_old_sessions_open_after_a_rotation_and_are_sealed_anew_at_the_next_write(
    start: Start, redis: Redis
) -> None:
    before = await start(OLD)
    cookie = await before.gateway.sign_in(ALICE)
    assert record_of(redis, cookie)[1:5] == id_of(K1)
    after = await start(PROMOTED, session={"rotate_interval": 1, "rotate_grace": 1})
    assert await after.status(cookie) == 200
    assert record_of(redis, cookie)[1:5] == id_of(K1), "reading writes nothing"
    await asyncio.sleep(1.1)
    renewed = session_cookie(await after.gateway.post("/orders", cookie=cookie))
    assert record_of(redis, renewed)[1:5] == id_of(K2)
    listed = (await (await after.gateway.get("/auth/sessions", cookie=renewed)).json())["sessions"]
    assert [row["this"] for row in listed] == [True]
    retired = await start(NEW)
    assert await retired.status(renewed) == 200


async def test_the_list_and_the_cap_count_sessions_of_both_keys(start: Start) -> None:
    before = await start(OLD)
    old = [await before.gateway.sign_in(ALICE) for _ in range(2)]
    after = await start(PROMOTED, session={"max_per_user": 2})
    response = await after.gateway.get("/auth/sessions", cookie=old[0])
    assert len((await response.json())["sessions"]) == 2
    fresh = await after.gateway.sign_in(ALICE)
    assert [await after.status(cookie) for cookie in (*old, fresh)] == [302, 200, 200]
    ended = await after.gateway.request("DELETE", "/auth/sessions", cookie=fresh)
    assert (await ended.json())["ended"] == 1
    assert [await after.status(cookie) for cookie in (*old, fresh)] == [302, 302, 200]


# -- keys of others
@pytest.mark.parametrize("path", ["/orders", "/auth/session", "/auth/sessions"])
async def test_a_cookie_under_a_key_that_nobody_uses_here_is_as_none(start: Start, path: str) -> None:
    replica = await start(OLD)
    foreign = session_tickets(parse_ring(THIRD)).sign(bytes(32))
    await replica.until_status_is(302, f"gw_session={foreign}")
    response = await replica.gateway.get(path, cookie=f"gw_session={foreign}")
    assert (response.status, (await response.json())["reason"]) == (302, "no_session")
    assert "Set-Cookie" not in response.headers
    assert (await replica.readiness())["components"]["keys"] == "ok"


async def test_of_a_foreign_cookie_and_ours_ours_counts_in_any_order(start: Start) -> None:
    replica = await start(OLD)
    await start(PROMOTED)
    await replica.until_keys_are("unavailable")
    cookie = await replica.gateway.sign_in(ALICE)
    unknown = f"gw_session={session_tickets(parse_ring(K2)).sign(bytes(32))}"
    foreign = f"gw_session={session_tickets(parse_ring(THIRD)).sign(bytes(32))}"
    for crowd in (f"{unknown}; {cookie}", f"{cookie}; {unknown}", f"{foreign}; {unknown}; {cookie}"):
        assert await replica.status(crowd) == 200
    assert await replica.status(f"{foreign}; {unknown}") == 503
    assert await replica.status(foreign) == 302


async def test_a_sign_in_with_a_cookie_that_cannot_be_judged_is_put_off(start: Start) -> None:
    """Whose session it is cannot be told: it might have to be ended."""
    behind = await start(OLD)
    ahead = await start(PROMOTED)
    cookie = await ahead.gateway.sign_in(ALICE)
    await behind.until_keys_are("unavailable")
    response = await behind.gateway.post("/auth/login", json=ALICE, cookie=cookie)
    assert (response.status, "Set-Cookie" in response.headers) == (503, False)
    assert await ahead.status(cookie) == 200
    assert await behind.status(await behind.gateway.sign_in(ALICE)) == 200


async def test_a_key_that_was_retired_and_withdrawn_is_not_ours_any_more(start: Start, redis: Redis) -> None:
    before = await start(OLD)
    cookie = await before.gateway.sign_in(ALICE)
    await before.gateway.client.close()
    after = await start(NEW)
    await after.until_keys_are("unavailable")
    assert await after.status(cookie) == 503
    async with open_store(after.gateway.settings) as store:
        await store.sessions.withdraw(id_of(K1).hex())
    await after.until_keys_are("ok")
    assert await after.status(cookie) == 302
    assert redis.hkeys("gw:s:=keys") == [id_of(K2).hex().encode()]
