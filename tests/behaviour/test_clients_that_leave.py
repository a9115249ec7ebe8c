"""Clients that leave, or do not read, while nothing is read from them: nobody works for them, and nothing piles up."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import Gateway

PUBLIC = [{"path": "/", "access": "public"}]
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"


class Hanging:
    """A backend that reads a little and never answers; ``open`` counts its connections."""

    def __init__(self) -> None:
        self.open = 0
        self.seen = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        await reader.read(100)
        self.seen.set()
        while is_open(writer):
            await asyncio.sleep(0.05)
        self.open -= 1
        writer.close()


def is_open(writer: asyncio.StreamWriter) -> bool:
    """Without reading."""
    if writer.is_closing():
        return False
    try:
        return bool(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1)
    except OSError:
        return False


@pytest.fixture
async def hanging() -> AsyncIterator[tuple[Hanging, str]]:
    backend = Hanging()
    server = await asyncio.start_server(backend, "127.0.0.1", 0, limit=1024)
    async with server:
        yield backend, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("sent", [GET * 2, GET * 200], ids=["two requests", "two hundred"])
async def test_a_client_that_leaves_behind_pipelined_requests_ends_the_backend_s_request(
    make_gateway: MakeGateway, hanging: tuple[Hanging, str], sent: bytes, how: str
) -> None:
    backend, url = hanging
    gateway = await make_gateway(url, routes=PUBLIC)
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(sent)
    await asyncio.wait_for(backend.seen.wait(), 10)
    await leave(writer, how)
    async with asyncio.timeout(10):  # promised: a second, and a look four times a second
        while backend.open:
            await asyncio.sleep(0.05)


async def test_a_client_that_resets_an_upload_nobody_reads_ends_the_backend_s_request(
    make_gateway: MakeGateway, hanging: tuple[Hanging, str]
) -> None:
    backend, url = hanging
    gateway = await make_gateway(url, routes=PUBLIC)
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n" + bytes(16_000_000))
    await asyncio.wait_for(backend.seen.wait(), 10)
    await asyncio.sleep(0.5)  # until everything in between is full
    await leave(writer, "reset")
    async with asyncio.timeout(10):
        while backend.open:
            await asyncio.sleep(0.05)


async def leave(writer: asyncio.StreamWriter, how: str) -> None:
    if how == "reset":
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    await asyncio.sleep(0)


@pytest.mark.parametrize("path", ["/public/x", "/secret"], ids=["answers of a backend", "refusals"])
async def test_answers_that_a_client_does_not_read_stop_the_reading_of_its_requests(
    make_gateway: MakeGateway, backend: RecordingBackend, path: str
) -> None:
    backend.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + bytes(2000)
    gateway: Gateway = await make_gateway(backend.url, routes=[{"path": "/public/", "access": "public"}, {"path": "/"}])
    sock = socket.create_connection(("127.0.0.1", gateway.port))
    sock.setblocking(False)
    data = f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 1000
    sent, last = 0, time.monotonic()
    deadline = last + 60
    while time.monotonic() - last < 2 and time.monotonic() < deadline:  # it takes no more for two seconds
        try:
            sent += sock.send(data)
            last = time.monotonic()
        except BlockingIOError:
            pass
        await asyncio.sleep(0.001)
    sock.close()
    assert time.monotonic() < deadline, f"{sent} bytes of requests were taken, and more would be"
    assert sent < 30_000_000


async def test_a_client_that_closes_in_mid_upload_ends_the_backend_s_request_though_nothing_is_read(
    make_gateway: MakeGateway, hanging: tuple[Hanging, str]
) -> None:
    backend, url = hanging
    gateway = await make_gateway(url, routes=PUBLIC)
    sock = socket.create_connection(("127.0.0.1", gateway.port))
    sock.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
    await asyncio.wait_for(backend.seen.wait(), 10)
    sock.setblocking(False)
    async with asyncio.timeout(30):
        while not any(client.is_deaf for client in gateway.parts.front.clients):
            with suppress(BlockingIOError):
                sock.send(bytes(100_000))
            await asyncio.sleep(0.01)
    sock.close()
    async with asyncio.timeout(10):
        while backend.open:
            await asyncio.sleep(0.05)


async def test_a_large_answer_of_our_own_that_nobody_reads_ends_with_a_reset(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.web.hosting.FLUSH", 0.5)
    cookie = await gateway.sign_in()
    for _ in range(60):  # a list of sessions of more than 16 KiB
        await gateway.sign_in()
    page = await (await gateway.get("/auth/sessions", cookie=cookie)).read()
    sock = socket.create_connection(("127.0.0.1", gateway.port))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(30)
    asked = f"GET /auth/sessions HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n".encode() * (8_000_000 // len(page))
    await asyncio.to_thread(sock.sendall, asked)
    async with asyncio.timeout(20):
        while any(client.request is not None for client in gateway.parts.front.clients):
            await asyncio.sleep(0.05)
    sock.close()


async def test_what_the_end_of_the_drain_cuts_off_is_logged(
    make_gateway: MakeGateway, hanging: tuple[Hanging, str], caplog: pytest.LogCaptureFixture
) -> None:
    backend, url = hanging
    gateway = await make_gateway(url, routes=PUBLIC)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(GET)
    await asyncio.wait_for(backend.seen.wait(), 10)
    with caplog.at_level("INFO", logger="gateway.access"):
        gateway.parts.front.drain()
        await gateway.parts.front.close(0.1)
    fields = [record.fields for record in caplog.records if record.name == "gateway.access"]
    assert [(one["status"], one["reason"]) for one in fields] == [(499, "drain_timeout")]
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 10)
    writer.close()
    async with asyncio.timeout(10):
        while backend.open:
            await asyncio.sleep(0.05)
