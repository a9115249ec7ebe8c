"""The load of :mod:`bench.open_connections`, in a process of its own: ``python -m bench.open_client KIND PORT COUNT SECONDS``.

The Cookie header comes on standard input. It prints ``ready`` when all connections are open, counts from the line that it
is sent then, and prints how many it counted: messages, events, handshakes, bytes, or nothing (``idle``).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import time

import uvloop

from bench.open_backend import LARGE, SIZE

_MESSAGE = b"\x82" + bytes([SIZE | 0x80]) + b"abcd" + bytes(SIZE)
_UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
_KEY = f"{_UPGRADE}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
_AT_ONCE = 200


class Client(asyncio.Protocol):
    """One connection. ``kind``: ``messages`` (one after the other), ``idle`` (none), ``events``."""

    counted = 0
    counts = False

    def __init__(self, kind: str, head: bytes, opened: asyncio.Future[None]) -> None:
        self._kind = kind
        self._ask = head
        self._opened = opened
        self._received = b""
        self._left = SIZE + 2
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        assert self._transport is not None
        self._transport.write(self._ask)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._opened.done():
            self._opened.set_exception(ConnectionError(f"not opened: {self._received[:200]!r}"))

    def data_received(self, data: bytes) -> None:
        if self._opened.done():
            self._more(data)
            return
        self._received += data
        if b"\r\n\r\n" in self._received:
            if self._received.split(b" ", 2)[1] not in (b"101", b"200"):
                self._opened.set_exception(ConnectionError(f"not opened: {self._received[:200]!r}"))
                return
            self._opened.set_result(None)

    def start(self) -> None:
        """The first message."""
        if self._kind == "messages" and self._transport is not None:
            self._transport.write(_MESSAGE)

    def _more(self, data: bytes) -> None:
        if self._kind == "events":
            Client.counted += data.count(b"data: ") if Client.counts else 0
            return
        self._left -= len(data)
        if self._left <= 0 and self._transport is not None:
            self._left += SIZE + 2
            Client.counted += Client.counts
            self._transport.write(_MESSAGE)


async def _open(kind: str, port: int, count: int, cookie: str) -> list[Client]:
    loop = asyncio.get_running_loop()
    path, more = ("/events", "") if kind == "events" else ("/ws", _KEY)
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\n{more}\r\n".encode()
    clients: list[Client] = []

    async def one() -> None:
        opened: asyncio.Future[None] = loop.create_future()
        _, client = await loop.create_connection(lambda: Client(kind, head, opened), "127.0.0.1", port)
        await asyncio.wait_for(opened, 30)
        clients.append(client)

    for at in range(0, count, _AT_ONCE):
        await asyncio.gather(*[one() for _ in range(min(_AT_ONCE, count - at))])
    return clients


async def _run(kind: str, port: int, count: int, seconds: float, cookie: str) -> int:
    clients = await _open(kind, port, count, cookie)
    for client in clients:
        client.start()
    print("ready", flush=True)
    sys.stdin.readline()
    Client.counts = True
    await asyncio.sleep(seconds)
    Client.counts = False
    return Client.counted


def _tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _handshakes(port: int, seconds: float) -> int:
    """New ones, one after the other, none resumed."""
    context, count, end = _tls(), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain):
            count += 1
    return count


def _downloads(port: int, seconds: float, cookie: str) -> int:
    """Bytes of large answers over one connection."""
    head = f"GET /large HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\n\r\n".encode()
    received, end = 0, time.monotonic() + seconds
    with socket.create_connection(("127.0.0.1", port)) as plain, _tls().wrap_socket(plain) as sock:
        while time.monotonic() < end:
            sock.sendall(head)
            left = 0
            data = sock.recv(1 << 18)
            start = data.index(b"\r\n\r\n") + 4
            left = LARGE - (len(data) - start)
            while left:
                data = sock.recv(1 << 18)
                if not data:
                    raise ConnectionError("the answer broke off")
                left -= len(data)
            received += LARGE
    return received


def main() -> None:
    """As the module says."""
    kind, port, count, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    cookie = sys.stdin.readline().strip()
    if kind in ("messages", "idle", "events"):
        print(uvloop.run(_run(kind, port, count, seconds, cookie)), flush=True)
        sys.stdin.readline()
        return
    print("ready", flush=True)
    sys.stdin.readline()
    print(_handshakes(port, seconds) if kind == "handshakes" else _downloads(port, seconds, cookie), flush=True)


if __name__ == "__main__":
    main()
