"""What a request costs Redis: nothing for strangers, next to nothing for who is known (docs/http-api.md; founding
decisions 5 and 6)."""

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
from tests.quick import keys_are_known, make_gateway

__all__ = ["make_gateway"]

_HOUSEKEEPING = {"config", "info", "client", "hello", "select", "ping", "auth"}


def commands(redis: Redis) -> int:
    """How many commands gateways have sent since the last ``config_resetstat``, without PING."""
    stats = {name.removeprefix("cmdstat_").partition("|")[0]: stat for name, stat in redis.info("commandstats").items()}
    return sum(stat["calls"] for name, stat in stats.items() if name not in _HOUSEKEEPING)


async def quiet(redis: Redis) -> None:
    """Waits until the gateways have told which keys they use and nothing more comes, and counts from there."""
    deadline, before = time.monotonic() + 10, -1
    while not redis.exists("gw:s:=keys") or commands(redis) - before > 1:
        assert time.monotonic() < deadline
        before = commands(redis)
        await asyncio.sleep(0.1)
    redis.config_resetstat()


async def refused(gateway: Gateway, cookie: str | None, path: str = "/orders") -> str:
    """The reason why a stranger is refused; nothing is done to the cookie he has."""
    response = await gateway.get(path, cookie=cookie)
    assert (response.status, "Set-Cookie" in response.headers) == (302, False)
    return str((await response.json())["reason"])


async def test_strangers_the_sign_in_page_and_garbage_cost_nothing(gateway: Gateway, redis: Redis) -> None:
    await keys_are_known(gateway)
    await quiet(redis)
    for cookie in (None, "gw_session=", "gw_session=x", f"gw_session={'A' * 70}", "gw_session=%00", "other=1"):
        assert await refused(gateway, cookie) == "no_session"
        assert await refused(gateway, cookie, "/auth/session") == "no_session"
        assert await refused(gateway, cookie, "/auth/sessions") == "no_session"
        assert (await gateway.get("/auth/login", cookie=cookie)).status == 200
        assert (await gateway.get("/auth/logout", cookie=cookie)).status == 200
        assert (await gateway.get("/public/x", cookie=cookie)).status == 200
        assert (await gateway.post("/auth/logout", cookie=cookie)).status == 200
        assert (await gateway.post("/auth/session/extend", cookie=cookie)).status == 302
    assert commands(redis) == 0


async def test_guesses_cost_two_commands_each_as_long_as_they_are_let_through(gateway: Gateway, redis: Redis) -> None:
    """They are counted before the password is looked at; that is what limits them."""
    await keys_are_known(gateway)
    await quiet(redis)
    for _ in range(5):
        assert (await gateway.post("/auth/login", json={**ALICE, "password": "wrong"})).status == 401
    assert redis.info("commandstats")["cmdstat_eval"]["calls"] == 10


async def test_ten_thousand_different_well_formed_cookies_of_nobody_cost_nothing(
    gateway: Gateway, redis: Redis
) -> None:
    """Under a key that nobody uses, and under ours with a wrong MAC."""
    theirs = session_tickets(parse_ring(OTHER_MASTER))
    ours = session_tickets(parse_ring(MASTER))
    key_id = ours.sign(bytes(32))[:5]
    await keys_are_known(gateway)
    await quiet(redis)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    for start in range(0, 10_000, 100):
        tickets = [theirs.sign(number.to_bytes(32, "big")) for number in range(start, start + 100)]
        tickets[50:] = [key_id + ticket[5:] for ticket in tickets[50:]]
        heads = [f"GET /orders HTTP/1.1\r\nHost: a\r\nCookie: gw_session={ticket}\r\n\r\n" for ticket in tickets]
        writer.write("".join(heads).encode())
        for _ in heads:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
            assert head.startswith(b"HTTP/1.1 302 "), head
            assert b'"no_session"' in body, body
            assert b"set-cookie" not in head.lower()
    writer.close()
    assert commands(redis) == 0


async def test_five_hundred_requests_of_a_known_session_cost_next_to_nothing(gateway: Gateway, redis: Redis) -> None:
    cookie = await gateway.sign_in(ALICE)
    await quiet(redis)
    for _ in range(500):
        assert (await gateway.get("/orders", cookie=cookie)).status == 200
    sent = commands(redis)
    print(f"500 requests of a known session: {sent} commands without PING")
    assert sent < 25


async def test_an_id_that_is_gone_is_asked_for_once_in_a_while(gateway: Gateway, redis: Redis) -> None:
    cookie = await gateway.sign_in(ALICE)
    assert (await gateway.get("/orders", cookie=cookie)).status == 200
    redis.delete(*redis.keys("gw:s:{*}"))
    await quiet(redis)
    for _ in range(200):
        response = await gateway.get("/orders", cookie=cookie)
        assert (response.status, (await response.json())["reason"]) == (302, "unknown_session")
    assert commands(redis) < 25


async def test_without_a_cache_each_request_is_one_question(
    make_gateway: MakeGateway, backend: RecordingBackend, redis: Redis
) -> None:
    gateway = await make_gateway(backend.url, session={"cache_size": 0})
    cookie = await gateway.sign_in(ALICE)
    await quiet(redis)
    for _ in range(20):
        assert (await gateway.get("/orders", cookie=cookie)).status == 200
    assert commands(redis) == redis.info("commandstats")["cmdstat_mget"]["calls"] == 20


@pytest.mark.parametrize("number", [50])
async def test_requests_that_come_together_ask_together(
    make_gateway: MakeGateway, backend: RecordingBackend, redis: Redis, number: int
) -> None:
    gateway = await make_gateway(backend.url, session={"cache_size": 0})
    cookie = await gateway.sign_in(ALICE)
    await quiet(redis)
    urls = [f"{gateway.url}/orders/{one}" for one in range(number)]
    answers = await asyncio.gather(*(gateway.client.session.get(url, headers={"Cookie": cookie}) for url in urls))
    assert {answer.status for answer in answers} == {200}
    assert commands(redis) < number
