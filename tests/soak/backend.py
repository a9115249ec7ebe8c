"""The backend: raw asyncio, its conduct agreed with the client in the ledger, and strict about what it is sent.

It says itself what must never happen on its side: a request that nobody made, a cut upload that looks whole, a POST that
comes twice, another user's name, our cookie.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from tests.soak.ledger import Entry, Ledger, Pattern

PIECE = 64 * 1024
_START = re.compile(rb"([A-Z]+) ([!-~]+) HTTP/1\.1")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_FRAMING = (b"content-length", b"transfer-encoding")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request's head; names in lower case."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a header."""
        return [value for key, value in self.headers if key == name]

    def first(self, name: bytes) -> bytes:
        """The first value of a header, or nothing."""
        return next(iter(self.all(name)), b"")


def parse(head: bytes) -> Asked | None:
    """None: no gateway may send this."""
    start, *lines = head[:-4].split(b"\r\n")
    first, fields = _START.fullmatch(start), [_FIELD.fullmatch(line) for line in lines]
    if first is None or None in fields:
        return None
    asked = Asked(first[1].decode(), first[2].decode(), [(part[1].lower(), part[2]) for part in fields if part])
    framing = [value for name in _FRAMING for value in asked.all(name)]
    is_framed = not framing or (len(framing) == 1 and (framing[0] == b"chunked" or framing[0].isdigit()))
    return asked if is_framed and len(asked.all(b"host")) == 1 else None


Act = Callable[["Line"], Awaitable[None]]


class Line:
    """One connection from the gateway, and what an act can do on it."""

    def __init__(self, backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._backend = backend
        self._ledger = backend.ledger
        self._reader = reader
        self._writer = writer
        self.busy = False
        self.asked = Asked("", "", [])
        self.entry = Entry("none", "none", "", "")
        self.dice = random.Random()
        self._received = 0
        self._is_read = False

    async def serve(self) -> None:
        """Request after request, until one side ends it."""
        try:
            while not self._writer.is_closing():
                self.busy = False
                head = await self._reader.readuntil(b"\r\n\r\n")
                self.busy = True
                await self._answer(head)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass
        finally:
            self._writer.transport.abort()

    async def _answer(self, head: bytes) -> None:
        asked = parse(head)
        if asked is None:
            self._ledger.breach(f"the backend was sent a malformed request: {head[:300]!r}")
            return self.reset()
        if b"/never" in head:
            self._ledger.breach(f"the backend was sent what had to be refused: {head[:300]!r}")
        entry = self._ledger.find(asked.target)
        self.asked, self._received, self._is_read = asked, 0, False
        if entry is None:
            await self.discard()
            return await self.send(b"HTTP/1.1 404 Not Found\r\nX-Marker: none\r\nContent-Length: 0\r\n\r\n")
        self.entry = entry
        self.dice = random.Random(entry.seed)
        self._check(head)
        await self._backend.acts[entry.plan](self)
        return None

    def _check(self, head: bytes) -> None:
        entry, asked, ledger = self.entry, self.asked, self._ledger
        entry.attempts += 1
        if entry.attempts > (2 if entry.may_repeat else 1):
            ledger.breach(f"{entry}: {entry.method} came {entry.attempts} times")
        if asked.method != entry.method:
            ledger.breach(f"{entry}: the method was {entry.method} and came as {asked.method}")
        told = asked.first(b"x-forwarded-preferred-username").decode()
        if told != entry.user:
            ledger.breach(f"{entry}: of {entry.user or 'nobody'}, but the backend was told {told or 'nobody'}")
        if b"gw_session" in head:
            ledger.breach(f"{entry}: the gateway's cookie reached the backend")
        if entry.has_body != any(asked.first(name) for name in _FRAMING):
            ledger.breach(f"{entry}: a body came or went on the way")

    # -- the request's body
    async def upload(self, pace: float = 0.0) -> None:
        """Reads it to its end and checks it, ``pace`` seconds between pieces. Whoever waits for an invitation gets one."""
        if asked_to := self.asked.first(b"expect"):
            assert asked_to.lower() == b"100-continue"
            await self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        entry, pattern, is_good = self.entry, Pattern(self.entry.marker + "-up"), True
        async for piece in self.pieces():
            is_good = is_good and piece == pattern.at(self._received, len(piece))
            self._received += len(piece)
            if pace:
                await asyncio.sleep(pace)
        self._is_read = True
        if not entry.is_complete:
            self._ledger.breach(f"{entry}: a cut upload passed for a whole one")
        elif not is_good or self._received != entry.upload:
            self._ledger.breach(f"{entry}: an upload came as {self._received} bytes, or changed")

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        if self.asked.first(b"transfer-encoding"):
            while size := int((await self._reader.readuntil(b"\r\n")).rstrip(), 16):
                yield await self._reader.readexactly(size)
                await self._reader.readexactly(2)
            await self._reader.readexactly(2)
            return
        left = int(self.asked.first(b"content-length") or 0)
        while left:
            piece = await self._reader.readexactly(min(left, PIECE))
            left -= len(piece)
            yield piece

    async def discard(self) -> None:
        """Reads the body and forgets it."""
        async for _ in self.pieces():
            pass

    # -- the answer
    @property
    def pattern(self) -> Pattern:
        """The body that belongs to this request."""
        return Pattern(self.entry.marker)

    def head(self, *fields: bytes, status: bytes = b"200 OK") -> bytes:
        """An answer's head with all that the client checks."""
        marks = [
            b"X-Marker: " + self.entry.marker.encode(),
            b"X-Got: %d" % self._received,
            b"X-Order: 1",
            b"x-ORDER: 2",
        ]
        return b"\r\n".join([b"HTTP/1.1 " + status, *marks, *fields, b"", b""])

    def sized(self, *fields: bytes) -> bytes:
        """A head with the agreed length."""
        return self.head(b"Content-Length: %d" % self.entry.size, *fields)

    async def send(self, data: bytes) -> None:
        """All of it; waits while the gateway does not take it."""
        self._writer.write(data)
        await self._writer.drain()

    async def stream(self, end: int, start: int = 0) -> None:
        """The agreed body from ``start`` to ``end``."""
        pattern = self.pattern
        for at in range(start, end, PIECE):
            await self.send(pattern.at(at, min(PIECE, end - at)))

    async def gone(self) -> None:
        """Returns when the gateway has ended the connection. Once its request is over, nothing may come on it."""
        while piece := await self._reader.read(PIECE):
            if self._is_read:
                self._ledger.breach(f"{self.entry}: then the gateway sent on the same connection {piece[:100]!r}")
                return self.reset()
        return None

    async def deaf(self, seconds: float) -> None:
        """Takes no more than a buffer for so long, and then reads until the gateway has ended the connection."""
        await asyncio.sleep(seconds)
        await self.gone()

    async def flood(self, piece: bytes, limit: int = 32 * 1024 * 1024) -> None:
        """Sends the same until the gateway has had enough."""
        for _ in range(limit // len(piece)):
            await self.send(piece)
        self._ledger.breach(f"{self.entry}: the gateway took {limit} bytes of what has no end")

    def close(self) -> None:
        """FIN."""
        self._writer.close()

    def reset(self) -> None:
        """RST; what was not delivered is lost."""
        reset(self._writer)


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection with RST, at once."""
    sock = writer.get_extra_info("socket")
    with suppress(OSError):  # it may have ended by itself
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Backend:
    """Listens on loopback; ``acts``: plan → how it is carried out."""

    def __init__(self, ledger: Ledger, acts: Mapping[str, Act]) -> None:
        self.ledger = ledger
        self.acts = acts
        self._lines: dict[Line, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Of the listener."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """For ``upstreams``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """Connections that the gateway holds."""
        return len(self._lines)

    @property
    def busy(self) -> list[str]:
        """Plans of the requests that are not over."""
        return [line.entry.plan for line in self._lines if line.busy]

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=PIECE)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        tasks = list(self._lines.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(self, reader, writer)
        task = asyncio.current_task()
        assert task is not None
        task.set_name("soak: backend")
        self._lines[line] = task
        try:
            await line.serve()
        finally:
            del self._lines[line]
