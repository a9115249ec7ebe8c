"""Several servers behind one upstream: who gets what, and what becomes of requests when servers fail (docs/configuration.md)."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestServer

from gateway.app import build
from gateway.store.redis_server import RedisServer
from tests.conftest import MakeGateway
from tests.fakes import Recorded, RecordingBackend, read_request
from tests.harness import ALICE, MANAGER, Gateway, free_port, make_settings

PUBLIC: list[dict[str, Any]] = [{"path": "/", "access": "public"}]


class Server(RecordingBackend):
    """Says its name; can be stopped and started again at the same port."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.port = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.answer = self.say

    async def say(self, _: Recorded, writer: asyncio.StreamWriter) -> None:
        await self.gate.wait()
        body = self.name.encode()
        writer.write(b"HTTP/1.1 200 OK\r\nCache-Control: private\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async def reset(self, _: Recorded, writer: asyncio.StreamWriter) -> None:
        """No byte of an answer."""
        writer.transport.abort()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [request.target for request in self.requests]


@pytest.fixture
async def servers() -> AsyncIterator[list[Server]]:
    """Three of them."""
    made = [Server(name) for name in "abc"]
    for one in made:
        await one.start()
    yield made
    for one in made:
        one.gate.set()
        await one.stop()


def several(servers: list[Server], *weights: int, **options: Any) -> dict[str, Any]:
    """``upstreams`` of these."""
    rows = [{"url": one.url} for one in servers]
    for row, weight in zip(rows, weights, strict=False):
        row["weight"] = weight
    return {"demo": {"servers": rows, **options}}


Make = Callable[..., Awaitable[Gateway]]


@pytest.fixture
def balanced(make_gateway: MakeGateway) -> Make:
    """``await balanced(servers, *weights, **options)``: everything public."""

    async def make(servers: list[Server], *weights: int, **options: Any) -> Gateway:
        return await make_gateway("", upstreams=several(servers, *weights, **options), routes=PUBLIC)

    return make


async def told(gateway: Gateway, count: int, path: str = "/", **kwargs: Any) -> list[str]:
    """The answers to so many GETs, one after the other."""
    return [await (await gateway.get(path, **kwargs)).text() for _ in range(count)]


async def refused(response: ClientResponse) -> tuple[int, str, str | None]:
    """How a request was refused."""
    return response.status, (await response.json())["reason"], response.headers.get("Retry-After")


def waiting(gateway: Gateway) -> int:
    """How many requests wait for a server."""
    return gateway.parts.front._upstreams["demo"].waiting


async def until(holds: Callable[[], Any], seconds: float = 30) -> None:
    """A condition, looked at often."""
    async with asyncio.timeout(seconds):
        while True:
            found = holds()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.02)


# -- strategies
async def test_servers_have_their_turns_by_weight(balanced: Make, servers: list[Server]) -> None:
    gateway = await balanced(servers, 2, 1, 1)
    assert Counter(await told(gateway, 12)) == {"a": 6, "b": 3, "c": 3}


async def test_with_least_connections_a_server_that_is_slow_gets_nothing_more(
    balanced: Make, servers: list[Server]
) -> None:
    gateway = await balanced(servers[:2], balance="least_connections")
    servers[0].gate.clear()
    slow = asyncio.create_task(gateway.get("/slow"))
    await until(lambda: servers[0].requests)
    assert await told(gateway, 5) == ["b"] * 5
    servers[0].gate.set()
    assert await (await slow).text() == "a"


async def test_sticky_keeps_a_session_on_its_server_also_when_its_id_changes(
    make_gateway: MakeGateway, servers: list[Server]
) -> None:
    upstreams = several(servers, balance="sticky")
    gateway = await make_gateway("", upstreams=upstreams, session={"rotate_interval": 1, "rotate_grace": 1})
    cookie = await gateway.sign_in(ALICE)
    found, ids = set[str](), {cookie}
    while len(ids) < 3:
        response = await gateway.get("/orders", cookie=cookie)
        found.add(await response.text())
        for name, morsel in response.cookies.items():
            cookie = f"{name}={morsel.value}"
        ids.add(cookie)
        await asyncio.sleep(0.05)
    assert len(found) == 1


async def test_sticky_spreads_sessions_and_binds_strangers_by_address(
    make_gateway: MakeGateway, servers: list[Server]
) -> None:
    gateway = await make_gateway("", upstreams=several(servers, balance="sticky"))
    assert len(set(await told(gateway, 6, "/public/"))) == 1
    cookies = [await gateway.sign_in(user) for user in (ALICE, MANAGER) * 5]
    places = [(await told(gateway, 3, "/orders", cookie=cookie)) for cookie in cookies]
    assert all(len(set(place)) == 1 for place in places)
    assert len({place[0] for place in places}) > 1, "ten sessions on one of three servers: once in 20,000 runs"


# -- places and the line
async def test_more_than_max_requests_wait_and_are_served_in_their_order(balanced: Make, servers: list[Server]) -> None:
    gateway = await balanced(servers[:1], max_requests=1)
    (server,) = servers[:1]
    server.gate.clear()
    tasks = []
    for number in range(5):
        tasks.append(asyncio.create_task(gateway.get(f"/{number}")))
        await until(lambda number=number: len(server.requests) + waiting(gateway) == number + 1)
    assert server.paths == ["/0"]
    server.gate.set()
    assert [(await task).status for task in tasks] == [200] * 5
    assert server.paths == [f"/{number}" for number in range(5)]
    assert server.connections == 1


async def test_a_full_line_takes_nobody_and_who_waits_too_long_hears_it(balanced: Make, servers: list[Server]) -> None:
    gateway = await balanced(servers[:2], max_requests=1, queue={"size": 1, "timeout": 1})
    for server in servers:
        server.gate.clear()
    first, second = (asyncio.create_task(gateway.get("/")) for _ in range(2))
    await until(lambda: servers[0].requests and servers[1].requests)
    third, fourth = (asyncio.create_task(gateway.get("/late")) for _ in range(2))
    answers = [await refused(await task) for task in (third, fourth)]
    assert answers == [(503, "upstream_busy", "5")] * 2
    for server in servers:
        server.gate.set()
    assert [(await task).status for task in (first, second)] == [200, 200]
    assert [path for server in servers for path in server.paths] == ["/", "/"]


async def test_who_leaves_while_it_waits_is_not_served(balanced: Make, servers: list[Server]) -> None:
    gateway = await balanced(servers[:1], max_requests=1)
    (server,) = servers[:1]
    server.gate.clear()
    first = asyncio.create_task(gateway.get("/first"))
    await until(lambda: server.requests)
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /gone HTTP/1.1\r\nHost: a\r\n\r\n")
    await until(lambda: waiting(gateway) == 1)
    last = asyncio.create_task(gateway.get("/last"))
    await until(lambda: waiting(gateway) == 2)
    writer.close()
    await until(lambda: waiting(gateway) == 1)
    server.gate.set()
    assert [(await task).status for task in (first, last)] == [200, 200]
    assert server.paths == ["/first", "/last"]


async def test_a_body_that_waits_arrives_whole(balanced: Make, servers: list[Server]) -> None:
    gateway = await balanced(servers[:1], max_requests=1)
    (server,) = servers[:1]
    server.gate.clear()
    first = asyncio.create_task(gateway.get("/first"))
    await until(lambda: server.requests)
    body = b"x" * 300_000
    second = asyncio.create_task(gateway.post("/upload", data=body))
    await until(lambda: waiting(gateway) == 1)
    server.gate.set()
    assert [(await task).status for task in (first, second)] == [200, 200]
    assert server.last.body == body


async def test_a_websocket_has_its_place_until_it_is_closed(balanced: Make, servers: list[Server]) -> None:
    async def switch(request: Recorded, writer: asyncio.StreamWriter) -> None:
        if request.value("Upgrade") is None:
            await servers[0].say(request, writer)
            return
        accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        head = f"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        writer.write(head.encode())

    servers[0].answer = switch
    gateway = await balanced(servers[:1], max_requests=1, queue={"timeout": 30})
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    other = asyncio.create_task(gateway.get("/waits"))
    await until(lambda: waiting(gateway) == 1)
    done, _ = await asyncio.wait({other}, timeout=0.3)
    assert not done
    writer.close()
    assert (await other).status == 200


# -- failures
async def test_a_server_that_refuses_is_left_alone_and_comes_back(balanced: Make, servers: list[Server]) -> None:
    gateway = await balanced(servers, eject={"seconds": 1, "slow_start": 0})
    await servers[0].stop()
    assert "a" not in await told(gateway, 20)
    await servers[0].start()
    await until(lambda: _is_told(gateway, "a"))
    found = Counter(await told(gateway, 30))
    assert found == {"a": 10, "b": 10, "c": 10}


async def _is_told(gateway: Gateway, name: str) -> bool:
    return name in await told(gateway, 3)


async def test_an_ejected_server_gets_no_connection(balanced: Make, servers: list[Server]) -> None:
    servers[0].answer = servers[0].reset
    gateway = await balanced(servers, eject={"seconds": 600})
    assert set(await told(gateway, 40)) == {"b", "c"}
    assert servers[0].connections == 3


async def test_statuses_eject_when_asked_for(balanced: Make, servers: list[Server]) -> None:
    servers[0].answer = b"HTTP/1.1 503 Busy\r\nContent-Length: 1\r\n\r\na"
    gateway = await balanced(servers, eject={"failures": 2, "statuses": [503], "seconds": 600})
    assert (await told(gateway, 30)).count("a") == 2
    plain = await balanced(servers)
    assert (await told(plain, 30)).count("a") == 10


async def test_when_all_are_away_it_is_said_at_once_until_one_is_back(balanced: Make, servers: list[Server]) -> None:
    gateway = await balanced(servers[:2], eject={"failures": 2, "seconds": 1})
    for server in servers[:2]:
        await server.stop()
    answers = [await refused(await gateway.get("/")) for _ in range(6)]
    assert answers[:2] == [(502, "upstream_unreachable", None)] * 2
    assert answers[2:] == [(503, "upstream_down", "5")] * 4
    page = await gateway.get("/", headers={"Accept": "text/html"})
    assert (page.status, page.content_type, page.headers["Retry-After"]) == (503, "text/html", "5")
    await servers[0].start()
    await until(lambda: _is_told(gateway, "a"))


async def test_one_server_is_never_ejected(make_gateway: MakeGateway) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    for upstream in ({"url": url}, {"servers": [{"url": url}]}, {"url": url, "max_requests": 5}):
        gateway = await make_gateway("", upstreams={"demo": upstream}, routes=PUBLIC)
        answers = [await refused(await gateway.get("/")) for _ in range(8)]
        assert answers == [(502, "upstream_unreachable", None)] * 8


# -- repetitions
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_what_is_idempotent_and_has_no_body_is_repeated_on_another_server(
    balanced: Make, servers: list[Server], method: str
) -> None:
    servers[0].answer = servers[0].reset
    gateway = await balanced(servers)
    assert [(await gateway.request(method, "/")).status for _ in range(6)] == [200] * 6
    assert servers[0].requests


@pytest.mark.parametrize(
    ("method", "body"), [("POST", b""), ("POST", b"x"), ("PATCH", b"x"), ("PUT", b"x"), ("GET", b"x"), ("LOCK", b"")]
)
async def test_nothing_else_is_sent_twice(balanced: Make, servers: list[Server], method: str, body: bytes) -> None:
    for server in servers:
        server.answer = server.reset
    gateway = await balanced(servers)
    response = await gateway.request(method, "/", data=body)
    assert (await refused(response))[:2] == (502, "upstream_unreachable")
    assert sum(len(server.requests) for server in servers) == 1


async def test_a_post_on_a_kept_connection_that_dies_is_not_sent_twice(balanced: Make, servers: list[Server]) -> None:
    gateway = await balanced(servers[:2])
    await told(gateway, 2)
    for server in servers:
        server.answer = server.reset
    assert (await gateway.post("/pay", data=b"")).status == 502
    assert [path for server in servers for path in server.paths].count("/pay") == 1


async def test_what_was_never_sent_goes_elsewhere_whatever_it_is(balanced: Make, servers: list[Server]) -> None:
    gateway = await balanced(servers)
    await servers[0].stop()
    body = b"x" * 200_000
    assert [await (await gateway.post("/", data=body)).text() for _ in range(4)] == ["b", "c", "b", "c"]
    assert [request.body for request in servers[1].requests] == [body, body]


async def test_nonsense_is_not_repeated_and_ejects(balanced: Make, servers: list[Server]) -> None:
    servers[0].answer = b"SSH-2.0-OpenSSH_9.2\r\n"
    gateway = await balanced(servers[:2], eject={"seconds": 600})
    statuses = [(await gateway.get("/")).status for _ in range(12)]
    assert statuses.count(502) == 3
    assert set(statuses[6:]) == {200}


async def test_an_answer_that_has_begun_is_not_repeated(balanced: Make, servers: list[Server]) -> None:
    async def half(_: Recorded, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    for server in servers:
        server.answer = half
    gateway = await balanced(servers)
    received = await gateway.raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert received.endswith(b"half") or not received
    assert sum(len(server.requests) for server in servers) == 1


async def test_no_more_is_repeated_than_the_budget_allows(balanced: Make, servers: list[Server]) -> None:
    for server in servers:
        server.answer = server.reset
    gateway = await balanced(servers, eject={"failures": 1000}, retries={"budget": 0.5, "min_per_second": 0})
    for _ in range(10):
        assert (await gateway.get("/")).status == 502
    assert sum(len(server.requests) for server in servers) == 15


async def test_without_a_budget_nothing_is_repeated(balanced: Make, servers: list[Server]) -> None:
    for server in servers:
        server.answer = server.reset
    gateway = await balanced(servers, retries={"budget": 0, "min_per_second": 0})
    assert (await gateway.get("/")).status == 502
    assert sum(len(server.requests) for server in servers) == 1


async def test_a_server_that_takes_a_trial_and_is_silent_has_not_come_back(
    make_gateway: MakeGateway, servers: list[Server]
) -> None:
    routes = [{**PUBLIC[0], "timeouts": {"first_byte": 0.5}}]
    upstreams = several(servers[:2], balance="least_connections", eject={"failures": 1, "seconds": 1, "slow_start": 0})
    gateway = await make_gateway("", upstreams=upstreams, routes=routes)
    await servers[0].stop()
    assert set(await told(gateway, 3)) == {"b"}
    servers[0].gate.clear()
    await servers[0].start()
    await until(lambda: _times_out(gateway))
    seen = len(servers[0].requests)
    assert set(await told(gateway, 10)) == {"b"}, "it is out again, for two seconds"
    assert len(servers[0].requests) == seen


async def _times_out(gateway: Gateway) -> bool:
    return (await gateway.get("/")).status == 504


# -- active checks
HEALTH = {"path": "/healthz", "interval": 0.1, "timeout": 0.3, "healthy": 2, "unhealthy": 2}


def sick(server: Server, answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> None:
    """Answers the check like this, and everything else as usual."""

    async def choose(request: Recorded, writer: asyncio.StreamWriter) -> None:
        await (answer(writer) if request.target == "/healthz" else server.say(request, writer))

    server.answer = choose


async def says_500(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 500 Sick\r\nContent-Length: 0\r\n\r\n")


async def hangs(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def hangs_in_the_middle(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
    await asyncio.sleep(3600)


async def drips(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"x")
        await asyncio.sleep(0.05)


async def breaks_off(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
    await writer.drain()
    writer.close()


async def babbles(writer: asyncio.StreamWriter) -> None:
    writer.write(b"I am fine, thank you\r\n\r\n")


@pytest.mark.parametrize("answer", [says_500, hangs, hangs_in_the_middle, drips, breaks_off, babbles])
async def test_a_server_whose_check_fails_gets_nothing_until_it_is_well(
    balanced: Make, servers: list[Server], answer: Callable[[asyncio.StreamWriter], Awaitable[None]]
) -> None:
    sick(servers[0], answer)
    gateway = await balanced(servers[:2], health=HEALTH, eject={"slow_start": 0})
    await until(lambda: _only(gateway, "b"))
    assert set(await told(gateway, 10)) == {"b"}
    servers[0].answer = servers[0].say
    await until(lambda: _is_told(gateway, "a"))


async def _only(gateway: Gateway, name: str) -> bool:
    return set(await told(gateway, 4)) == {name}


async def test_a_check_reads_no_more_than_64_kib(balanced: Make, servers: list[Server]) -> None:
    written = 0

    async def talks(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        written = 0
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"x" * 65536)
                written += 65536
                await writer.drain()
                await asyncio.sleep(0)

    sick(servers[0], talks)
    gateway = await balanced(servers[:2], health={**HEALTH, "timeout": 20})
    await until(lambda: servers[0].connections > 4)
    assert written < 64 * 1024 * 1024
    assert {"a"} < set(await told(gateway, 10)), "what it said first was good"


async def test_a_check_that_flaps_changes_nothing(balanced: Make, servers: list[Server]) -> None:
    count = 0

    async def flaps(writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % (b"200 OK" if count % 2 else b"500 No"))

    sick(servers[0], flaps)
    gateway = await balanced(servers[:2], health=HEALTH)
    await until(lambda: count > 8)
    assert Counter(await told(gateway, 10)) == {"a": 5, "b": 5}


@pytest.mark.parametrize(("status", "is_well"), [("204", True), ("200-203", False), (["200", "204"], True)])
async def test_which_statuses_are_good_is_a_setting(
    balanced: Make, servers: list[Server], status: Any, is_well: bool
) -> None:
    async def nothing(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    sick(servers[0], nothing)
    gateway = await balanced(servers[:2], health={**HEALTH, "unhealthy": 1, "status": status})
    await until(lambda: servers[0].paths.count("/healthz") > 3)
    assert ("a" in await told(gateway, 4)) == is_well


async def test_checks_come_on_connections_of_their_own_and_tell_nobody(balanced: Make, servers: list[Server]) -> None:
    await balanced(servers[:1], health=HEALTH)
    await until(lambda: len(servers[0].requests) > 2)
    assert servers[0].connections >= len(servers[0].requests) - 1
    seen = {name for name, _ in servers[0].last.headers}
    assert seen == {"Host", "User-Agent", "Accept", "Connection"}
    assert servers[0].last.value("Host") == f"127.0.0.1:{servers[0].port}"


async def test_a_single_server_that_is_ill_is_503_until_it_is_well(balanced: Make, servers: list[Server]) -> None:
    sick(servers[0], says_500)
    gateway = await balanced(servers[:1], health=HEALTH)

    async def is_down() -> bool:
        return (await gateway.get("/")).status == 503

    await until(is_down)
    assert await refused(await gateway.get("/")) == (503, "upstream_down", "5")
    servers[0].answer = servers[0].say
    await until(lambda: _is_told(gateway, "a"))


# -- names, idle connections, readiness
@pytest.mark.parametrize(
    ("address", "host"), [("127.0.0.1", "localhost"), ("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")]
)
async def test_a_backend_has_a_name_or_an_address_of_either_family(
    make_gateway: MakeGateway, address: str, host: str
) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, address, 0)
    port = server.sockets[0].getsockname()[1]
    gateway = await make_gateway(f"http://{host}:{port}", routes=PUBLIC)
    assert await told(gateway, 3) == ["ok"] * 3
    server.close()


async def test_servers_may_be_unix_sockets(
    make_gateway: MakeGateway, servers: list[Server], short_folder: Path
) -> None:
    (tcp, *_) = servers
    socket = await asyncio.start_unix_server(tcp._connected, short_folder / "s")
    rows = [{"url": f"unix:{short_folder}/s"}, {"url": f"unix:{short_folder}/nobody"}, {"url": tcp.url}]
    gateway = await make_gateway("", upstreams={"demo": {"servers": rows}}, routes=PUBLIC)
    assert await told(gateway, 9) == ["a"] * 9
    assert tcp.connections == 2, "one each"
    socket.close()


async def test_idle_connections_are_closed_when_their_time_is_over_not_at_the_next_request(
    make_gateway: MakeGateway,
) -> None:
    closed = asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await reader.read()
        closed.set()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    gateway = await make_gateway("", upstreams={"demo": {"url": url, "keepalive_timeout": 0.5}}, routes=PUBLIC)
    assert await told(gateway, 1) == ["ok"]
    await asyncio.wait_for(closed.wait(), 20)
    server.close()


async def test_readyz_names_each_of_several_servers(
    aiohttp_client: Any, redis_server: RedisServer, servers: list[Server]
) -> None:
    gateway = build(make_settings(redis_server.url, "", upstreams=several(servers[:2])))
    gateway.phase.name = "serving"
    client = await aiohttp_client(TestServer(gateway.management))
    places = [f"upstream:demo/127.0.0.1:{server.port}" for server in servers[:2]]

    async def components() -> dict[str, str]:
        body = await (await client.get("/readyz")).json()
        return {name: state for name, state in body["components"].items() if name.startswith("upstream")}

    assert await components() == {"upstream:demo": "ok", places[0]: "ok", places[1]: "ok"}
    await servers[0].stop()
    assert await components() == {"upstream:demo": "ok", places[0]: "unavailable", places[1]: "ok"}
    await servers[1].stop()
    assert set((await components()).values()) == {"unavailable"}
