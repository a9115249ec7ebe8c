"""One connection to a backend: HTTP/1.1, one exchange at a time, bodies streamed in pieces with back-pressure both ways.

A backend's answer is distrusted like a client's request. What the parser (llhttp, strict) does not accept, a head without
end, an interim answer nobody asked for or bytes behind an answer (RFC 9112 §9.3: never another answer) end the connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import cast

import httptools

from gateway.core.headers import RawHeaderList
from gateway.errors import UpstreamError

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 200
MAX_INTERIM = 16
_HIGH_WATER = 64 * 1024  # bytes of a body that wait here at most before the backend is told to pause
_NO_BODY = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """Status line and headers as the backend sent them."""

    status: int
    reason: bytes
    headers: RawHeaderList


class _AnswerParser:
    """httptools' callbacks, turned into one answer: head, pieces, end."""

    def __init__(self, method: str) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._is_head = method == "HEAD"
        self._reason = b""
        self._headers: RawHeaderList = []
        self.head_bytes = 0
        self._interim = 0
        self.head: AnswerHead | None = None
        self.pieces: deque[bytes] = deque()
        self.waiting = 0
        self.done = False
        self.reusable = False
        self._until_close = False
        self._quiet = 0
        self._start = b""

    def feed(self, data: bytes) -> None:
        """:raises UpstreamError: the answer is no HTTP."""
        if self.done:
            self.reusable = False  # bytes behind an answer: nobody's
            return
        self._check_start(data)
        if self.head is None:
            self.head_bytes += len(data)
        waiting = self.waiting
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.done:
                raise UpstreamError("upstream_nonsense", f"not HTTP: {error}") from error
            self.reusable = False
        if self.head is None and self.head_bytes > MAX_HEAD_BYTES:
            raise UpstreamError("upstream_nonsense", f"a head of more than {MAX_HEAD_BYTES} bytes")
        self._quiet = 0 if self.waiting > waiting else self._quiet + len(data)
        if self.head is not None and self._quiet > MAX_HEAD_BYTES and not self.done:
            raise UpstreamError("upstream_nonsense", "a chunk extension or a trailer without end")

    def _check_start(self, data: bytes) -> None:
        """llhttp takes RTSP and others for HTTP."""
        self._start = (self._start + data[:5])[:5]
        if not b"HTTP/".startswith(self._start):
            raise UpstreamError("upstream_nonsense", "not HTTP")

    def closed(self) -> bool:
        """The backend closed. True: that was the end of the answer (RFC 9112 §6.3, rule 8)."""
        if self.head is not None and self._until_close:
            self.done = True
        return self.done

    # -- called by httptools
    def on_status(self, part: bytes) -> None:
        self._reason += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head is not None:
            return  # a trailer: discarded, never merged into the headers (RFC 9110 §6.5.1)
        if len(self._headers) >= MAX_HEADERS:
            raise UpstreamError("upstream_nonsense")
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.done:
            return
        status = self._parser.get_status_code()
        if status == 101 or status < 100:
            raise UpstreamError("upstream_nonsense")
        if status < 200:
            return
        names = {name.lower(): value for name, value in self._headers}
        coding = names.get(b"transfer-encoding", b"chunked").strip().lower()
        plain = all(byte >= 32 and byte != 127 for byte in self._reason)
        if coding != b"chunked" or not plain or self._parser.get_http_version() not in ("1.0", "1.1"):
            raise UpstreamError(
                "upstream_nonsense", "a version, transfer coding or reason phrase that HTTP/1.1 does not have"
            )
        self.head = AnswerHead(status, self._reason, self._headers)
        self._until_close = b"content-length" not in names and b"transfer-encoding" not in names
        self.reusable = self._parser.should_keep_alive()
        if self._is_head or status in _NO_BODY:
            self._finish()

    def on_body(self, piece: bytes) -> None:
        if not self.done:
            self.pieces.append(piece)
            self.waiting += len(piece)
        elif self._is_head:
            self.reusable = False  # a body behind the answer to HEAD

    def on_message_complete(self) -> None:
        if self.done:
            return
        if self.head is None:  # an interim answer (1xx): the real one follows
            self._interim += 1
            self._reason, self._headers = b"", []
            if self._interim > MAX_INTERIM:
                raise UpstreamError("upstream_nonsense")
        else:
            self._finish()

    def on_message_begin(self) -> None:
        if self.done:
            self.reusable = False

    def _finish(self) -> None:
        self.done = True


class Connection(asyncio.Protocol):
    """Made by the pool; :meth:`begin`, then :meth:`head`, then :meth:`piece` until it says None."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: _AnswerParser | None = None
        self._wake: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._closed = False
        self._read_paused = False
        self._may_write = asyncio.Event()
        self._may_write.set()

    # -- asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of asyncio's

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self.abort()  # bytes that answer nothing
            return
        try:
            self._answer.feed(data)
        except UpstreamError as error:
            self._fail(error)
        if self._answer.waiting > _HIGH_WATER and not self._read_paused and self._transport:
            self._read_paused = True
            self._transport.pause_reading()
        self._notify()

    def eof_received(self) -> bool:
        return False  # close: a backend that half-closes has nothing more to say

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._may_write.set()
        if self._answer is not None and not (exc is None and self._answer.closed()) and not self._answer.done:
            self._error = self._error or exc or ConnectionResetError("the backend closed the connection")
        self._notify()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    # -- for the exchange
    @property
    def is_usable(self) -> bool:
        """Open, and nothing of an earlier exchange hangs on it."""
        return (
            not self._closed
            and self._answer is None
            and self._transport is not None
            and not self._transport.is_closing()
        )

    @property
    def began(self) -> bool:
        """Has the backend said anything yet in this exchange?"""
        return self._answer is not None and self._answer.head_bytes > 0

    def begin(self, method: str, head: bytes) -> None:
        """Starts an exchange: sends the head (with its empty line)."""
        self._answer = _AnswerParser(method)
        self.write(head)

    def write(self, data: bytes) -> None:
        """Hands bytes to the transport; follow it with :meth:`drain`."""
        if self._transport is None or self._closed:
            raise self._error or ConnectionResetError("the backend closed the connection")
        self._transport.write(data)

    async def drain(self) -> None:
        """Waits while the backend does not take what was written.

        :raises ConnectionError: it closed the connection.
        """
        await self._may_write.wait()
        if self._closed:
            raise self._error if isinstance(self._error, ConnectionError) else ConnectionResetError("closed")

    async def head(self) -> AnswerHead:
        """:raises UpstreamError, OSError: no answer that can be used."""
        answer = self._require_answer()
        while answer.head is None:
            await self._more()
        return answer.head

    async def piece(self) -> bytes | None:
        """The next piece of the body, None at its end.

        :raises UpstreamError, OSError: it broke off.
        """
        answer = self._require_answer()
        while not answer.pieces:
            if answer.done:
                return None
            await self._more()
        data = answer.pieces.popleft() if len(answer.pieces) == 1 else b"".join(answer.pieces)
        answer.pieces.clear()
        answer.waiting = 0
        if self._read_paused and self._transport and not self._closed:
            self._read_paused = False
            self._transport.resume_reading()
        return data

    def finish(self) -> bool:
        """Ends the exchange. True: the connection can serve another one; else it is closed."""
        answer, self._answer = self._answer, None
        if answer is not None and answer.done and answer.reusable and not self._closed and not answer.pieces:
            return True
        self.abort()
        return False

    def abort(self) -> None:
        """Closes at once; what was not sent is lost."""
        if self._transport is not None:
            self._transport.abort()

    def _require_answer(self) -> _AnswerParser:
        assert self._answer is not None, "begin() comes first"
        return self._answer

    async def _more(self) -> None:
        if self._error is not None:
            raise self._error
        if self._closed:
            raise ConnectionResetError("the backend closed the connection")
        self._wake = asyncio.get_running_loop().create_future()
        try:
            await self._wake
        finally:
            self._wake = None

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _fail(self, error: UpstreamError) -> None:
        self._error = error
        self._notify()
        self.abort()
