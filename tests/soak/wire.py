"""The client's end of a connection: HTTP/1.1 off the wire, strictly, so that a cut answer can't pass for a whole one here."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.soak.backend import PIECE, reset
from tests.soak.ledger import Pattern

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9]) ([^\x00-\x08\x0a-\x1f\x7f]*)")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([^\x00-\x08\x0a-\x1f\x7f]*)")
_KEPT = 4096
_LINE = 256 * 1024  # bytes: longer than any head that may come
_ESTABLISHED = 1  # TCP_ESTABLISHED of Linux' tcp_states.h
GONE = (OSError, asyncio.IncompleteReadError)
"""How the end of a connection shows."""


class NotHttp(Exception):
    """The gateway sent what is no HTTP."""


@dataclass(slots=True)
class Answer:
    """One answer, or what came of it. ``start``: the first bytes of the body."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    interim: list[Answer] = field(default_factory=list)
    start: bytes = b""
    size: int = 0
    is_pattern: bool = True
    """Is every byte of the body the one that was agreed?"""
    is_whole: bool = False
    has_begun: bool = False

    def value(self, name: bytes) -> bytes:
        """The first value of a header; nothing when there is none."""
        return next((value for key, value in self.headers if key.lower() == name), b"")

    @property
    def closes(self) -> bool:
        """Is it the last one on its connection?"""
        return self.value(b"connection").lower() == b"close"


class Link:
    """A connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, port: int, *, receive_buffer: int = 0) -> Link:
        """Opens one; a small ``receive_buffer`` (bytes) makes a slow reader felt sooner."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
            return cls(*await asyncio.open_connection(sock=sock, limit=receive_buffer or _LINE))
        except BaseException:
            sock.close()
            raise

    async def send(self, data: bytes) -> None:
        """All of it."""
        self._writer.write(data)
        await self._writer.drain()

    @property
    def is_open(self) -> bool:
        """Does the system think that the other side is there? Known without reading."""
        sock = self._writer.get_extra_info("socket")
        try:
            return int(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]) == _ESTABLISHED
        except OSError:
            return False

    def half_close(self) -> None:
        """FIN; the answer can still come."""
        self._writer.write_eof()

    def close(self) -> None:
        """FIN."""
        self._writer.close()

    def reset(self) -> None:
        """RST."""
        reset(self._writer)

    async def answer(self, method: str, pattern: Pattern, into: Answer | None = None) -> Answer:
        """The next answer. When it breaks off, ``is_whole`` is false; ``into`` is filled as it comes.

        :raises NotHttp: what came is no HTTP.
        """
        answer = into if into is not None else Answer()
        try:
            while (status := await self._head(answer)) < 200:
                answer.interim.append(Answer(status, answer.headers))
                answer.headers = []
            if method != "HEAD" and status not in (204, 304):
                await self._take(answer, pattern)
            answer.is_whole = True
        except GONE as error:
            partial = error.partial if isinstance(error, asyncio.IncompleteReadError) else b""
            answer.has_begun = answer.has_begun or bool(partial)
        except (asyncio.LimitOverrunError, ValueError) as error:
            raise NotHttp(f"a line without end: {error}") from error
        return answer

    async def _head(self, answer: Answer) -> int:
        head = await self.reader.readuntil(b"\r\n\r\n")
        answer.has_begun = True
        start, *lines = head[:-4].split(b"\r\n")
        first, fields = _STATUS.fullmatch(start), [_FIELD.fullmatch(line) for line in lines]
        if first is None or None in fields:
            raise NotHttp(f"a head: {head[:300]!r}")
        answer.status = int(first[1])
        answer.headers = [(part[1], part[2]) for part in fields if part]
        return answer.status

    async def _take(self, answer: Answer, pattern: Pattern) -> None:
        async for piece in self._body(answer):
            if answer.is_pattern and piece != pattern.at(answer.size, len(piece)):
                answer.is_pattern = False
            if len(answer.start) < _KEPT:
                answer.start += piece[: _KEPT - len(answer.start)]
            answer.size += len(piece)

    async def _body(self, answer: Answer) -> AsyncIterator[bytes]:
        """RFC 9112 §6.3."""
        length = answer.value(b"content-length")
        if answer.value(b"transfer-encoding") == b"chunked":
            if length:
                raise NotHttp("a length beside chunks")
            async for piece in self._chunks():
                yield piece
        elif length:
            left = int(length)
            while left:
                piece = await self.reader.read(min(left, PIECE))
                if not piece:
                    raise asyncio.IncompleteReadError(b"", left)
                left -= len(piece)
                yield piece
        else:
            while piece := await self.reader.read(PIECE):
                yield piece

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := await self._chunk_size():
            yield await self.reader.readexactly(size)
            if await self.reader.readexactly(2) != b"\r\n":
                raise NotHttp("a chunk that is longer than it says")
        if await self.reader.readexactly(2) != b"\r\n":
            raise NotHttp("something behind the last chunk")

    async def _chunk_size(self) -> int:
        line = await self.reader.readuntil(b"\r\n")
        if not re.fullmatch(rb"[0-9a-fA-F]{1,8}\r\n", line):
            raise NotHttp(f"a chunk size: {line[:50]!r}")
        return int(line, 16)
