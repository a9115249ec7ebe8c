"""Bytes of a client become requests: a head as plain data, a body in pieces (RFC 9112 §2 to §7).

llhttp, strict, refuses what two readers could read in two ways. What it lets through is bounded and judged here: the
length of a target, of a head and of what is no body between the pieces of one; protocols that are not HTTP.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any

import httptools

from gateway.core.head import RequestHead
from gateway.core.websockets import asks_for_websocket
from gateway.errors import RequestError
from gateway.front.chunks import ChunkFollower
from gateway.front.incoming import HeadLimits, Incoming, KnownHeads

_QUIET = 16 * 1024  # bytes of chunk extensions or trailers without any body between them
_METHOD = re.compile(rb"[\r\n]*(?!PROX)[!#$%&'*+.^_`|~0-9A-Za-z-]+(?: \S| ?\Z)")
_OLD = (0, 9)
_WAITING = 16  # requests that are read before the first of them is answered
_VERSIONS = {"1.1": (1, 1), "1.0": (1, 0)}


class RequestParser:
    """Feeds ``ready`` with requests, in order. After an error nothing more is read."""

    def __init__(self, peer: str, limits: HeadLimits, known: KnownHeads) -> None:
        self._peer = peer
        self._limits = limits
        self._known = known
        self._parser: Any = httptools.HttpRequestParser(self)
        self.ready: deque[Incoming] = deque()
        self.broken = False
        self._goes_on = True
        self._holds = False
        """May what follows be no HTTP?"""
        self._current: Incoming | None = None
        self._url = b""
        self._raw: list[tuple[bytes, bytes]] = []
        self._head = b""
        """Of the head that is being read: all that has come."""
        self._rest = b""
        """Not looked at yet: enough requests wait."""
        self._chunks = ChunkFollower()
        self._resuming = False
        self._quiet = 0

    @property
    def in_head(self) -> bool:
        """Has a request begun whose head is not whole yet?"""
        return bool(self._head)

    @property
    def has_more(self) -> bool:
        """Is there something that was not looked at?"""
        return bool(self._rest) and not self.broken

    def feed(self, data: bytes) -> None:
        """Never raises: what is wrong is told by the request that it is wrong with. Stops when enough requests wait; goes on
        with the next call, which may bring nothing.

        llhttp gets the bytes in slices that end where a message can end: so it is known where each request begins, and what
        its line says is its own.
        """
        if self._rest:
            data, self._rest = self._rest + data, b""
        at, size = 0, len(data)
        while at < size and not self.broken:
            if (
                self._holds or len(self.ready) >= _WAITING
            ) and self._current is None:  # the last one's body is not held up
                self._rest = data[at:]
                return
            if self._current is None and not self._head:
                while at < size and data[at] in b"\r\n":  # RFC 9112 §2.2: empty lines before a request
                    at += 1
                if at == size:
                    return
            end = self._slice(data, at)
            part = data if at == 0 and end == size else data[at:end]
            if self._current is not None or self._head or not self._is_known(part):
                self._feed(part)
            at = end

    def _is_known(self, part: bytes) -> bool:
        """Was the same request here before, whole and without a body? Then it needs no parser."""
        request = self._known.find(part, self._peer) if self._goes_on else None
        if request is not None:
            self.ready.append(request)
        return request is not None

    def _slice(self, data: bytes, at: int) -> int:
        """Where the next slice ends: behind the next empty line, and not behind the end of a body of known length."""
        current = self._current
        if current is not None and not current.chunked:
            return min(len(data), at + current.length - current.received)
        if current is not None:
            return self._chunks.end(data, at)
        before = self._head[-3:]
        if before:
            found = (before + data[at : at + 3]).find(b"\r\n\r\n")
            if found >= 0:
                return at + found + 4 - len(before)
        found = data.find(b"\r\n\r\n", at)
        return len(data) if found < 0 else found + 4

    def _feed(self, data: bytes) -> None:
        current, received = self._current, self._current.received if self._current is not None else 0
        if current is None:
            self._head += data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._go_on()
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._fail(cause if isinstance(cause, RequestError) else _malformed())
        except httptools.HttpParserInvalidMethodError:
            self._fail(RequestError("unknown_method") if _METHOD.match(self._head) else _malformed())
        except httptools.HttpParserError:
            self._fail(self._too_long() or _malformed())
        self._bound(data, current, received)

    def _bound(self, data: bytes, current: Incoming | None, received: int) -> None:
        if current is None and self._head:
            size = len(self._head)
            if size > self._limits.head or (size > self._limits.line and not self._raw):
                self._fail(self._too_long() or RequestError("headers_too_large"))
        elif current is not None and current is self._current:
            self._quiet = 0 if current.received > received else self._quiet + len(data)
            if self._quiet > _QUIET:
                self._fail(_malformed())

    def _too_long(self) -> RequestError | None:
        return RequestError("target_too_long") if len(self._url) > self._limits.line else None

    def _go_on(self) -> None:
        """The client asked for another protocol, which we do not speak with it: its request is a plain one (RFC 9110 §7.8).
        llhttp reads no body then, so another parser does, which is told of the framing alone."""
        request = self.ready[-1]
        if not request.has_body or self.broken:
            return
        framing = b"Transfer-Encoding: chunked" if request.chunked else b"Content-Length: %d" % request.length
        self._resuming = True
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
        request.complete, self._current, self._resuming = False, request, False

    def rest(self) -> bytes:
        """What was not looked at; it is not this parser's any more."""
        rest, self._rest = self._rest, b""
        return rest

    def cut(self, error: RequestError) -> None:
        """The rest of the request is not waited for."""
        self._fail(error)

    def _fail(self, error: RequestError) -> None:
        if self.broken:
            return
        self.broken = True
        request, self._current = self._current, None
        if request is None:
            if not self._goes_on:
                return  # bytes behind the last request of a connection are nobody's
            request = Incoming(None)
            self.ready.append(request)
        request.error = error
        self._head = self._rest = b""
        if request.listen is not None:
            request.listen()

    # -- called by httptools
    def on_message_begin(self) -> None:
        if self._resuming:
            return
        if not self._head:  # it cannot begin inside of a slice: two readers would read two things
            raise _malformed()
        self._url, self._raw = b"", []

    def on_url(self, part: bytes) -> None:
        self._url += part
        if len(self._url) > self._limits.line:
            raise RequestError("target_too_long")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head and not self._resuming:  # else a trailer: discarded, never merged (RFC 9110 §6.5.1, hazard A8)
            self._raw.append((name, value.rstrip(b" \t")))  # llhttp takes the leading ones only (RFC 9112 §5.1)

    def _measure(self) -> int:
        """Bytes of all fields."""
        raw, limits = self._raw, self._limits
        size = 0
        for name, value in raw:
            size += len(name) + len(value)
        if len(raw) > limits.fields or size > limits.line:
            longest = max([len(name) + len(value) for name, value in raw], default=0)
            if len(raw) > limits.fields or longest > limits.line:
                raise RequestError("headers_too_large")
        return size

    def on_headers_complete(self) -> None:
        if self._resuming:
            return
        parser = self._parser
        version = _VERSIONS.get(parser.get_http_version(), _OLD)
        method = parser.get_method()
        if version != _OLD and b" HTTP/" not in self._head[: self._head.find(b"\r\n")]:
            raise _malformed()  # RTSP and ICE, says llhttp
        head = RequestHead(method.decode("ascii"), self._url.decode("latin-1"), version, self._raw, self._peer)
        request = Incoming(head)
        request.head_bytes = self._measure()
        by_name = head.by_name
        request.keep_alive = parser.should_keep_alive() and version == (1, 1)
        self._goes_on = request.keep_alive
        if b"upgrade" in by_name:
            request.upgrade, request.websocket = True, asks_for_websocket(head)
            self._holds = request.websocket
        if b"transfer-encoding" in by_name:
            request.chunked = True
        elif b"content-length" in by_name:
            request.length = int(by_name[b"content-length"])
        request.expects_continue = b"expect" in by_name and version == (1, 1)
        self._known.keep(self._head, request)
        self._head, self._chunks = b"", ChunkFollower()
        self._current, self._quiet = request, 0
        self.ready.append(request)

    def on_body(self, piece: bytes) -> None:
        request = self._current
        if request is not None:
            request.pieces.append(piece)
            request.waiting += len(piece)
            request.received += len(piece)

    def on_message_complete(self) -> None:
        request, self._current = self._current, None
        if request is not None:
            request.complete = True
            if request.chunked and self._goes_on and not self._parser.should_keep_alive():
                self._parser = httptools.HttpRequestParser(
                    self
                )  # a trailer says nothing about the connection (RFC 9110 §6.5.1)


def _malformed() -> RequestError:
    return RequestError("bad_request", what="it breaks the rules of HTTP")
