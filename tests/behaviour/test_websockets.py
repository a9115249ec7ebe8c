"""WebSockets through the gateway (RFC 6455): what the ends agree on passes unchanged, what is no handshake passes nowhere."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import Gateway

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
HEADERS = (
    "Host: a",
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
)
PUBLIC = [{"path": "/", "access": "public"}]


@dataclass
class Echo:
    """A backend of the websockets library: sends back what comes, and remembers how it was closed."""

    url: str
    seen: list[ServerConnection] = field(default_factory=list)
    closes: list[tuple[int | None, str | None]] = field(default_factory=list)

    async def __call__(self, connection: ServerConnection) -> None:
        self.seen.append(connection)
        if connection.request is not None and connection.request.path == "/bye":
            await connection.close(4003, "enough 够了")
        with suppress(ConnectionClosed):
            async for message in connection:
                await connection.send(message)
        self.closes.append((connection.close_code, connection.close_reason))


def pick(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The one that this backend speaks, if it is offered."""
    return Subprotocol("v2") if "v2" in offered else None


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    backend = Echo("")
    server: Server
    async with serve(
        backend,
        "127.0.0.1",
        0,
        max_size=None,
        select_subprotocol=pick,
        ping_interval=None,
    ) as server:
        backend.url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        yield backend


def open_one(gateway: Gateway, path: str = "/ws", cookie: str | None = None, **options: Any) -> connect:
    headers = dict(options.pop("headers", {}))
    if cookie:
        headers["Cookie"] = cookie
    url = gateway.url.replace("http:", "ws:") + path
    return connect(url, additional_headers=headers, max_size=None, ping_interval=None, proxy=None, **options)


async def until(what: Any, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not what():
            await asyncio.sleep(0.01)


async def closed(client: ClientConnection, seconds: float = 10.0) -> tuple[int | None, str | None]:
    async with asyncio.timeout(seconds):
        with suppress(ConnectionClosed):
            while True:
                await client.recv()
    return client.close_code, client.close_reason


# -- what passes
async def test_messages_pass_both_ways_with_the_identity_in_the_handshake(
    make_gateway: MakeGateway, echo: Echo
) -> None:
    gateway = await make_gateway(echo.url)
    async with open_one(gateway, "/ws?room=1", await gateway.sign_in()) as client:
        for message in ("", "hello", "订单", b"", b"\x00\xff" * 100, "x" * 125, "x" * 126, "x" * 65535, "x" * 65536):
            await client.send(message)
            assert await client.recv() == message
    await until(lambda: echo.closes)
    assert echo.closes == [(1000, "")]
    request = echo.seen[0].request
    assert request is not None
    assert request.path == "/ws?room=1"
    assert request.headers["X-Forwarded-Preferred-Username"] == "alice"
    assert "gw_session" not in request.headers.get("Cookie", "")
    assert "Sec-WebSocket-Extensions" in request.headers


async def test_the_ends_negotiate_sub_protocol_and_compression_themselves(
    make_gateway: MakeGateway, echo: Echo
) -> None:
    gateway = await make_gateway(echo.url, routes=PUBLIC)
    async with open_one(gateway, subprotocols=[Subprotocol("soap"), Subprotocol("v2")]) as client:
        assert client.subprotocol == "v2"
        assert client.response is not None
        assert "permessage-deflate" in client.response.headers["Sec-WebSocket-Extensions"]
        await client.send("squeeze me " * 10_000)
        assert await client.recv() == "squeeze me " * 10_000
    async with open_one(gateway, compression=None) as client:
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers


async def test_pings_and_fragments_pass(make_gateway: MakeGateway, echo: Echo) -> None:
    gateway = await make_gateway(echo.url, routes=PUBLIC)
    async with open_one(gateway) as client:
        await asyncio.wait_for(await client.ping(b"are you there?"), 10)
        await asyncio.wait_for(await echo.seen[0].ping(b"and you?"), 10)
        await client.send(["one ", "two ", "three"])
        assert await client.recv() == "one two three"


async def test_close_codes_pass_both_ways(make_gateway: MakeGateway, echo: Echo) -> None:
    gateway = await make_gateway(echo.url, routes=PUBLIC)
    async with open_one(gateway, "/bye") as client:
        assert await closed(client) == (4003, "enough 够了")
    async with open_one(gateway) as client:
        await client.close(4009, "mine")
    await until(lambda: len(echo.closes) == 2)
    assert echo.closes[1] == (4009, "mine")


async def test_a_side_that_vanishes_takes_the_other_with_it(make_gateway: MakeGateway, echo: Echo) -> None:
    gateway = await make_gateway(echo.url, routes=PUBLIC)
    async with open_one(gateway) as client:
        client.transport.abort()
        await until(lambda: echo.closes)
    assert echo.closes[0][0] == 1006
    async with open_one(gateway) as client:
        await until(lambda: len(echo.seen) == 2)
        echo.seen[1].transport.abort()
        assert (await closed(client))[0] == 1006
    await until(lambda: not gateway.parts.front.clients)


@pytest.mark.slow
async def test_a_message_of_a_hundred_megabytes_passes_and_is_never_collected(
    make_gateway: MakeGateway, echo: Echo
) -> None:
    gateway = await make_gateway(echo.url, routes=PUBLIC)
    data = os.urandom(1 << 20) * 100
    async with open_one(gateway, compression=None) as client:
        sending = asyncio.create_task(client.send(data))
        assert await asyncio.wait_for(client.recv(), 60) == data
        await sending


async def test_what_the_backend_says_with_its_101_is_passed_on_at_once(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    backend.answer = (
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-More: 1\r\n"
        f"Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n\x81\x05hello"
    ).encode("latin-1")
    gateway = await make_gateway(backend.url, routes=PUBLIC)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(handshake())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"X-More: 1\r\n" in head
    assert head.count(b"Upgrade: websocket\r\n") == head.count(b"Connection: Upgrade\r\n") == 1
    assert await asyncio.wait_for(reader.readexactly(7), 10) == b"\x81\x05hello"
    writer.close()
    sent = [(name.lower(), value) for name, value in backend.last.headers]
    assert sent.count(("upgrade", "websocket")) == sent.count(("connection", "Upgrade")) == 1
    assert ("sec-websocket-key", KEY) in sent


# -- what is no handshake
def handshake(*changed: str, without: str = "", start: str = "GET /ws HTTP/1.1", body: str = "") -> bytes:
    names = {line.partition(":")[0].lower() for line in changed} | {without.lower()}
    lines = [line for line in HEADERS if line.partition(":")[0].lower() not in names]
    return "\r\n".join([start, *lines, *changed, "", body]).encode("latin-1")


NO_HANDSHAKES = {
    "POST": (handshake(start="POST /ws HTTP/1.1"), 400),
    "HTTP/1.0": (handshake(start="GET /ws HTTP/1.0"), 400),
    "a body": (handshake("Content-Length: 2", body="hi"), 400),
    "a body in chunks": (handshake("Transfer-Encoding: chunked", body="2\r\nhi\r\n0\r\n\r\n"), 400),
    "no version": (handshake(without="Sec-WebSocket-Version"), 426),
    "an old version": (handshake("Sec-WebSocket-Version: 8"), 426),
    "two versions": (handshake("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13"), 426),
    "no key": (handshake(without="Sec-WebSocket-Key"), 400),
    "two keys": (handshake(f"Sec-WebSocket-Key: {KEY}", f"Sec-WebSocket-Key: {KEY}"), 400),
    "a key that is none": (handshake("Sec-WebSocket-Key: x"), 400),
    "another site": (handshake("Origin: https://evil.test"), 403),
    "nobody's origin": (handshake("Origin: null"), 403),
}


@pytest.mark.parametrize("name", NO_HANDSHAKES)
async def test_a_handshake_that_breaks_a_rule_is_refused_before_the_backend_hears_of_it(
    make_gateway: MakeGateway, backend: RecordingBackend, name: str
) -> None:
    data, status = NO_HANDSHAKES[name]
    gateway = await make_gateway(backend.url, routes=PUBLIC)
    answer = await gateway.raw(data)
    assert answer.startswith((f"HTTP/1.1 {status} ".encode(), f"HTTP/1.0 {status} ".encode()))
    assert b"Connection: close" in answer
    if status == 426:
        assert b"Sec-WebSocket-Version: 13\r\n" in answer
        assert b"Upgrade: websocket\r\n" in answer
    assert backend.requests == []


@pytest.mark.parametrize("upgrade", ["h2c", "h2c, foo", "TLS/1.0", "websockets"])
async def test_no_other_protocol_is_passed_on(
    make_gateway: MakeGateway, backend: RecordingBackend, upgrade: str
) -> None:
    gateway = await make_gateway(backend.url, routes=PUBLIC)
    data = handshake(
        f"Upgrade: {upgrade}", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"
    )
    assert (await gateway.raw(data)).startswith(b"HTTP/1.1 200 ")
    names = {name.lower() for name, _ in backend.last.headers}
    assert not names & {"upgrade", "connection", "http2-settings"}


async def test_a_stranger_gets_the_json_302_and_the_backend_nothing(
    gateway: Gateway, backend: RecordingBackend
) -> None:
    with pytest.raises(InvalidStatus) as raised:
        await open_one(gateway)
    assert raised.value.response.status_code == 302
    assert b'"reason":"no_session"' in raised.value.response.body
    assert backend.requests == []


async def test_pages_of_the_site_and_of_those_that_are_named_may_open_one(
    make_gateway: MakeGateway, echo: Echo
) -> None:
    routes = [{"path": "/", "access": "public", "websocket": {"origins": ["https://app.test"]}}]
    gateway = await make_gateway(echo.url, routes=routes)
    for origin in (gateway.url, "https://app.test"):
        async with open_one(gateway, origin=origin) as client:
            await client.send("hello")
            assert await client.recv() == "hello"
    with pytest.raises(InvalidStatus) as raised:
        await open_one(gateway, origin="https://evil.test")
    assert raised.value.response.status_code == 403


BAD_ANSWERS = {
    "200": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"HTTP/1.1 200 OK"),
    "403": (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", b"HTTP/1.1 403 Forbidden"),
    "101 without accept": (
        b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", b"HTTP/1.1 502 "),
    "101 with another accept": (
        b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
        b"HTTP/1.1 502 "),
    "101 to another protocol": (
        b"HTTP/1.1 101 S\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + ACCEPT.encode() + b"\r\n\r\n",
        b"HTTP/1.1 502 "),
    "101 without Upgrade": (
        b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + ACCEPT.encode() + b"\r\n\r\n",
        b"HTTP/1.1 502 "),
    "frames before the 101": (b"\x81\x05helloHTTP/1.1 101 S\r\n\r\n", b"HTTP/1.1 502 "),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ANSWERS)
async def test_an_answer_that_is_no_101_to_this_handshake_opens_nothing(
    make_gateway: MakeGateway, backend: RecordingBackend, name: str
) -> None:
    backend.answer, start = BAD_ANSWERS[name]
    gateway = await make_gateway(backend.url, routes=PUBLIC)
    answer = await gateway.raw(handshake() + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.startswith(start)
    assert answer.count(b"HTTP/1.1 ") == 1, "what came behind the handshake was taken for a request"
    assert len(backend.requests) == 1


async def test_a_101_that_nobody_asked_for_is_no_answer(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    backend.answer = b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    gateway = await make_gateway(backend.url, routes=PUBLIC)
    assert (await gateway.get("/")).status == 502


async def test_what_comes_before_the_101_is_the_websocket_s(make_gateway: MakeGateway, echo: Echo) -> None:
    """A client may not send it yet (RFC 6455 §4.1); it must not be read as HTTP."""
    gateway = await make_gateway(echo.url, routes=PUBLIC)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(handshake() + b"\x81\x85abcd" + bytes(a ^ b for a, b in zip(b"hello", b"abcda", strict=True)))
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).startswith(b"HTTP/1.1 101 ")
    assert await asyncio.wait_for(reader.readexactly(7), 10) == b"\x81\x05hello"
    writer.close()


# -- time
async def test_one_that_is_silent_is_closed_and_says_so(make_gateway: MakeGateway, echo: Echo) -> None:
    routes = [{"path": "/", "access": "public", "websocket": {"idle_timeout": 1}}]
    gateway = await make_gateway(echo.url, routes=routes)
    async with open_one(gateway) as client:
        assert await closed(client) == (1001, "websocket_idle")
    await until(lambda: echo.closes)
    assert echo.closes[0][0] == 1001


async def test_the_end_of_the_process_is_told(make_gateway: MakeGateway, echo: Echo) -> None:
    gateway = await make_gateway(echo.url, routes=PUBLIC)
    async with open_one(gateway) as client:
        gateway.parts.front.drain()
        assert await closed(client) == (1001, "drain")
    await until(lambda: not gateway.parts.front.clients)


async def test_who_reads_nothing_stops_the_other_side(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    """Back-pressure: what one side does not take is not read from the other, in both directions."""
    sent = 0

    async def pour(_: Any, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        head = "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        frame = b"\x82\x7f" + (1 << 20).to_bytes(8, "big") + bytes(1 << 20)
        writer.write(f"{head}{ACCEPT}\r\n\r\n".encode() + frame)
        while sent < 200:
            writer.write(frame)
            await writer.drain()
            sent += 1

    backend.answer = pour
    routes = [{"path": "/", "access": "public", "timeouts": {"between_bytes": 3}}]
    gateway = await make_gateway(backend.url, routes=routes)
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
    writer.write(handshake())
    before = -1
    while before != sent or not sent:
        before = sent
        await asyncio.sleep(0.5)
    assert sent < 100
    await until(lambda: not gateway.parts.front.clients)  # who takes nothing is reset
    writer.transport.abort()
