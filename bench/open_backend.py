"""The backend of :mod:`bench.open_connections`: WebSockets that answer, streams of events, and a large answer.

``python -m bench.open_backend`` prints its port.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import sys

import uvloop

SIZE = 64
"""Bytes of a message."""
TICK = 0.1
"""Seconds between two events of a stream."""
LARGE = 1 << 20
_MASKED = SIZE + 6
_ANSWER = b"\x82" + bytes([SIZE]) + bytes(SIZE)
_EVENT = b"data: " + b"x" * 50 + b"\n\n"
_CHUNK = b"%x\r\n%b\r\n" % (len(_EVENT), _EVENT)
_KEY = re.compile(rb"(?i)sec-websocket-key: *(\S+)")
_LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE + bytes(LARGE)


class Backend(asyncio.Protocol):
    """One connection. A WebSocket gets a message of :data:`SIZE` bytes for each that it sends."""

    streams: set[asyncio.Transport] = set()  # noqa: RUF012  of all connections

    def __init__(self) -> None:
        self._head = b""
        self._got = -1
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self.streams.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if self._got >= 0:
            self._got += len(data)
            whole, self._got = divmod(self._got, _MASKED)
            if whole:
                self._transport.write(_ANSWER * whole)
            return
        self._head += data
        if not self._head.endswith(b"\r\n\r\n"):
            return
        head, self._head = self._head, b""
        if (key := _KEY.search(head)) is not None:
            self._got = 0
            accept = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324
            fields = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept
            self._transport.write(b"HTTP/1.1 101 Switching Protocols\r\n" + fields + b"\r\n\r\n")
        elif head.startswith(b"GET /events "):
            kind = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked"
            self._transport.write(b"HTTP/1.1 200 OK\r\n" + kind + b"\r\n\r\n")
            self.streams.add(self._transport)
        else:
            self._transport.write(_LARGE)


async def _main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Backend, "127.0.0.1", 0, backlog=16384)
    print(server.sockets[0].getsockname()[1], flush=True)
    while True:
        await asyncio.sleep(TICK)
        for transport in list(Backend.streams):
            transport.write(_CHUNK)


if __name__ == "__main__":
    sys.exit(uvloop.run(_main()))
