"""Servers come and go while others work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.errors import UpstreamError
from gateway.upstream.address import parse_upstream_url
from gateway.upstream.balancer import Server
from gateway.upstream.health import HealthRules
from gateway.upstream.pool import Pool
from gateway.upstream.upstream import Backend, Slot, Upstream, UpstreamRules
from tests.fakes import RecordingBackend


class Request:
    """Takes what comes."""

    def __init__(self, key: str = "") -> None:
        self.key = key.encode()
        self.tried: list[Server] = []
        self.slot: Slot | None = None
        self.error = ""

    def proceed(self, slot: Slot) -> None:
        self.slot = slot

    def give_up(self, error: UpstreamError) -> None:
        self.error = error.reason.code


def backend(name: str, weight: int = 1) -> Backend:
    return Backend(Pool(parse_upstream_url(f"http://{name}")), weight)


def names(upstream: Upstream, count: int) -> list[str]:
    found = []
    for _ in range(count):
        slot = upstream.pick(Request())
        assert slot is not None
        found.append(slot.server.name.removeprefix("http://"))
        upstream.release(slot)
    return found


def test_one_server_without_limits_is_nothing_to_choose_from() -> None:
    upstream = Upstream("shop", [backend("a")])
    assert upstream.only is upstream.servers[0].pool
    assert Upstream("shop", [backend("a")], UpstreamRules(max_requests=1)).only is None
    assert Upstream("shop", [backend("a"), backend("b")]).only is None


def test_an_update_touches_nobody_who_stays() -> None:
    upstream = Upstream("shop", [backend("a"), backend("b")])
    first, second = upstream.servers
    slot = upstream.pick(Request())
    assert slot is not None
    assert slot.server is first
    upstream.update([backend("c"), backend("a", 3)])
    third, kept = upstream.servers
    assert (kept is first, kept.pool is first.pool, kept.weight, kept.in_flight) == (True, True, 3, 1)
    assert third.name == "http://c"
    upstream.release(slot)
    assert sorted(names(upstream, 4)) == ["a", "a", "a", "c"]
    assert second not in upstream.servers


def test_from_one_server_to_several_and_back() -> None:
    upstream = Upstream("shop", [backend("a")])
    upstream.update([backend("a"), backend("b")])
    assert upstream.only is None
    assert sorted(names(upstream, 4)) == ["a", "a", "b", "b"]
    upstream.update([backend("b")])
    assert upstream.only is upstream.servers[0].pool


async def test_a_new_server_serves_who_waits() -> None:
    upstream = Upstream("shop", [backend("a")], UpstreamRules(max_requests=1))
    assert upstream.pick(Request()) is not None
    waiting = Request()
    assert upstream.pick(waiting) is None
    upstream.start()
    upstream.update([backend("a"), backend("b")])
    await upstream.close()
    assert waiting.slot is not None
    assert waiting.slot.server.name == "http://b"


async def test_when_the_last_server_is_ejected_whoever_waits_hears_it() -> None:
    upstream = Upstream("shop", [backend("a"), backend("b")], UpstreamRules(max_requests=3))
    slots = [upstream.pick(Request()) for _ in range(6)]
    waiting = Request()
    assert upstream.pick(waiting) is None
    for slot in slots:
        assert slot is not None
        upstream.failed(slot)
    upstream.start()
    await upstream.close()
    assert (waiting.slot, waiting.error) == (None, "upstream_down")
    with pytest.raises(UpstreamError, match="upstream_down"):
        upstream.pick(Request())


async def test_the_connections_of_a_server_that_went_are_closed_when_their_exchange_is_over() -> None:
    server = RecordingBackend()
    await server.start()
    pool = Pool(parse_upstream_url(server.url))
    upstream = Upstream("shop", [Backend(pool), backend("b")])
    used, idle = await pool.connect(5), await pool.connect(5)
    for connection in (used, idle):
        connection.begin(_Deaf(), is_head=False)
    idle.answer.done = idle.answer.reusable = True
    pool.give_back(idle)
    upstream.update([backend("b")])
    assert pool.take_idle() is None
    used.answer.done = used.answer.reusable = True
    pool.give_back(used)
    assert pool.take_idle() is None
    await server.stop()


async def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    """A condition, looked at often."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.02)


async def test_checks_begin_with_a_server_and_end_with_it() -> None:
    servers = [RecordingBackend(), RecordingBackend()]
    for server in servers:
        await server.start()
    one, two = (Backend(Pool(parse_upstream_url(server.url))) for server in servers)
    upstream = Upstream("shop", [one], UpstreamRules(health=HealthRules("/h", interval=0.05, unhealthy=1)))
    upstream.start()
    await until(lambda: len(servers[0].requests) > 2)
    assert servers[1].requests == []
    servers[0].answer = b"HTTP/1.1 500 Ill\r\nContent-Length: 0\r\n\r\n"
    await until(lambda: not one.is_well)
    upstream.update([Backend(one.pool), two])
    assert upstream.servers == [one, two]
    await until(lambda: len(servers[1].requests) > 2)
    assert [slot.server for _ in range(3) if (slot := upstream.pick(Request()))] == [two] * 3
    upstream.update([two])
    await asyncio.sleep(0)  # the check under way is told
    seen, others = servers[0].connections, len(servers[1].requests)
    await until(lambda: len(servers[1].requests) > others + 5)
    assert servers[0].connections <= seen + 1
    await upstream.close()
    for server in servers:
        await server.stop()


class _Deaf:
    def answer_news(self) -> None:
        pass

    def upstream_slow(self, slow: bool) -> None:
        pass


async def test_a_connection_that_was_being_made_when_its_server_left_is_not_kept() -> None:
    backend = RecordingBackend()
    await backend.start()
    pool = Pool(parse_upstream_url(backend.url))
    before = await pool.connect(5)
    pool.retire()
    after = await pool.connect(5)
    assert (before.retired, after.retired) == (True, True)
    for connection in (before, after):
        connection.abort()
    await backend.stop()
