"""Bytes of a client become requests: a head as plain data, a body in pieces (RFC 9112 §2 to §7).

llhttp, strict, refuses what two readers could read in two ways. What it lets through is bounded and judged here: the
length of a target, of a head and of what is no body between the pieces of one; protocols that are not HTTP.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httptools

from gateway.core.head import RequestHead
from gateway.errors import RequestError

_QUIET = 16 * 1024  # bytes of chunk extensions or trailers without any body between them
_METHOD = re.compile(rb"[\r\n]*[!#$%&'*+.^_`|~0-9A-Za-z-]+(?: \S| ?\Z)")
_VERSIONS = {"1.1": (1, 1), "1.0": (1, 0)}


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Bytes of the request line and of one field, number of fields, bytes of a whole head: the most that is read."""

    line: int = 16 * 1024
    fields: int = 100
    head: int = 64 * 1024


class Incoming:
    """One request. ``error``: it is none, or its body went wrong; ``listen`` is called when there is news of the body."""

    __slots__ = (
        "chunked",
        "complete",
        "error",
        "expects_continue",
        "head",
        "head_bytes",
        "keep_alive",
        "length",
        "listen",
        "pieces",
        "received",
        "started",
        "upgrade",
        "waiting",
    )

    def __init__(self, head: RequestHead | None) -> None:
        self.head = head
        self.head_bytes = 0
        self.error: RequestError | None = None
        self.pieces: deque[bytes] = deque()
        self.waiting = 0
        self.received = 0
        self.complete = False
        self.keep_alive = False
        self.chunked = False
        self.length = 0
        self.expects_continue = False
        self.upgrade = False
        self.started = 0.0
        self.listen: Callable[[], None] | None = None

    @property
    def has_body(self) -> bool:
        """Does it say that a body follows, be it an empty one?"""
        return self.chunked or self.length > 0

    def take(self) -> bytes:
        """What has come of the body since the last time."""
        pieces = self.pieces
        if not pieces:
            return b""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.waiting = 0
        return data


class RequestParser:
    """Feeds ``ready`` with requests, in order. After an error nothing more is read."""

    def __init__(self, peer: str, limits: HeadLimits) -> None:
        self._peer = peer
        self._limits = limits
        self._parser: Any = httptools.HttpRequestParser(self)
        self.ready: deque[Incoming] = deque()
        self.broken = False
        self._goes_on = True
        self._reset()
        self._current: Incoming | None = None
        self._data = b""
        self._alike: list[bytes] = []
        self._head_bytes = 0
        """Of a head that is not whole, without what came in one segment with the end of a request before it."""
        self._resuming = False
        self._quiet = 0

    def _reset(self) -> None:
        self._url = b""
        self._raw: list[tuple[bytes, bytes]] = []
        self._in_head = False

    @property
    def in_head(self) -> bool:
        """Has a request begun whose head is not whole yet?"""
        return self._in_head

    def feed(self, data: bytes) -> None:
        """Never raises: what is wrong is told by the request that it is wrong with."""
        if self.broken:
            return
        if self._in_head:
            self._data += data
            self._head_bytes += len(data)
        else:
            self._data, self._alike, self._head_bytes = data, [], 0
        current, received = self._current, self._current.received if self._current is not None else 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._fail(cause if isinstance(cause, RequestError) else _malformed())
        except httptools.HttpParserInvalidMethodError:
            self._fail(RequestError("unknown_method") if _METHOD.match(self._data) else _malformed())
        except httptools.HttpParserError:
            self._fail(self._too_long() or _malformed())
        if self._in_head and not self._head_bytes and current is None and not self.ready:
            self._head_bytes = len(data)
        self._bound(data, current, received)

    def _bound(self, data: bytes, current: Incoming | None, received: int) -> None:
        if self._in_head:
            size = self._head_bytes
            if size > self._limits.head or (size > self._limits.line and not self._raw):
                self._fail(self._too_long() or RequestError("headers_too_large"))
        elif current is not None and current is self._current:
            self._quiet = 0 if current.received > received else self._quiet + len(data)
            if self._quiet > _QUIET:
                self._fail(_malformed())

    def _too_long(self) -> RequestError | None:
        return RequestError("target_too_long") if len(self._url) > self._limits.line else None

    def _go_on(self, rest: bytes) -> None:
        """The client asked for another protocol, which we do not speak with it: its request is a plain one (RFC 9110 §7.8).
        llhttp reads no body then, so another parser does, which is told of the framing alone."""
        request = self.ready[-1] if self.ready else self._current
        if request is None or not request.has_body or self.broken:
            return
        framing = b"Transfer-Encoding: chunked" if request.chunked else b"Content-Length: %d" % request.length
        request.complete, self._current, self._resuming = False, request, True
        self._parser = httptools.HttpRequestParser(self)
        self.feed(b"POST / HTTP/1.1\r\n%b\r\n\r\n%b" % (framing, rest))

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
        self._in_head = False
        if request.listen is not None:
            request.listen()

    # -- called by httptools
    def on_message_begin(self) -> None:
        if not self._resuming:
            self._reset()
            self._in_head = True

    def on_url(self, part: bytes) -> None:
        self._url += part
        if len(self._url) > self._limits.line:
            raise RequestError("target_too_long")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else a trailer: discarded, never merged into the headers (RFC 9110 §6.5.1, hazard A8)
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
        version = _VERSIONS.get(parser.get_http_version(), (0, 9))
        method = parser.get_method()
        if (b" RTSP/" in self._data or b" ICE/" in self._data) and not self._is_http(method):
            raise _malformed()
        head = RequestHead(method.decode("ascii"), self._url.decode("latin-1"), version, self._raw, self._peer)
        request = Incoming(head)
        request.head_bytes = self._measure()
        by_name = head.by_name
        request.keep_alive = parser.should_keep_alive() and version == (1, 1)
        self._goes_on = request.keep_alive
        request.upgrade = b"upgrade" in by_name
        if b"transfer-encoding" in by_name:
            request.chunked = True
        elif b"content-length" in by_name:
            request.length = int(by_name[b"content-length"])
        request.expects_continue = b"expect" in by_name and version == (1, 1)
        self._in_head = False
        self._current, self._quiet = request, 0
        self.ready.append(request)

    def _is_http(self, method: bytes) -> bool:
        """llhttp takes RTSP and ICE for HTTP. Of equal requests in one segment, which line is this one's?"""
        start = method + b" " + self._url
        lines: list[bytes] = re.findall(rb"(?:\A|\n)%b (HTTP|RTSP|ICE)/" % re.escape(start), self._data)
        earlier = self._alike.count(start)
        self._alike.append(start)
        return earlier < len(lines) and lines[earlier] == b"HTTP"

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
        self._resuming = False


def _malformed() -> RequestError:
    return RequestError("bad_request", what="it breaks the rules of HTTP")
