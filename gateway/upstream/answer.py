"""Bytes of a backend become an answer: interim heads, a head, a body in pieces (RFC 9112 §4 to §7).

A backend's answer is distrusted like a client's request. What the parser (llhttp, strict) does not accept, a head without
end, or bytes behind an answer (RFC 9112 §9.3: never another answer) make the connection useless.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httptools

from gateway.core.headers import RawHeaderList
from gateway.errors import UpstreamError

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 200
MAX_INTERIM = 16
_UNPARSED = 64 * 1024  # a body of a known length above this is counted, not parsed
_BODILESS = frozenset({204, 304})
_CL, _TE = len("content-length"), len("transfer-encoding")


@dataclass(slots=True)
class AnswerHead:
    """Status line and headers as the backend sent them. ``length``: of the body in bytes, None: not told."""

    status: int
    reason: bytes
    headers: RawHeaderList
    length: int | None = None


class Answer:
    """One answer after the other on a connection: :meth:`begin`, :meth:`feed`, and look."""

    def __init__(self) -> None:
        self._parser: Any = None
        self._is_clean = False
        self.begin(is_head=False)

    def begin(self, *, is_head: bool, may_switch: bool = False) -> None:
        """The next answer is one to ``HEAD``, or not; it ``may_switch`` protocols (101). A parser that ended the last one in
        order goes on (llhttp)."""
        if not self._is_clean:
            self._parser = httptools.HttpResponseParser(self)
        self._is_clean = False
        self._is_head = is_head
        self._may_switch = may_switch
        self.rest = b""
        self._reason = b""
        self._headers: RawHeaderList = []
        self._seen = b""
        self._interims = 0
        self._until_close = False
        self._quiet = 0
        self._left = 0
        self._is_long = False
        self.head: AnswerHead | None = None
        self.interim: list[AnswerHead] = []
        self.pieces: list[bytes] = []
        self.began = False
        self.done = False
        self.reusable = False

    def take(self) -> bytes:
        """What has come of the body since the last time."""
        pieces = self.pieces
        if not pieces:
            return b""
        self.pieces = []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def feed(self, data: bytes) -> None:
        """:raises UpstreamError: the answer is no HTTP."""
        if self.done:
            self.reusable = False  # bytes behind an answer: nobody's, or another protocol's
            self._keep_rest(data)
        elif self._left:
            self._count(data)
        else:
            self._parse(data)

    def _keep_rest(self, data: bytes) -> None:
        if self.head is not None and self.head.status == 101:
            self.rest += data

    def _count(self, data: bytes) -> None:
        """A body whose length is known needs no parser."""
        if len(data) > self._left:
            data, self.reusable = data[: self._left], False
        self._left -= len(data)
        self.pieces.append(data)
        self.done = not self._left

    def _parse(self, data: bytes) -> None:
        self.began = True
        if self.head is None:
            data = data[self._parse_heads(data) :]
        if data and self.head is not None and self.head.status == 101:
            self._keep_rest(data)
        elif data:
            pieces = len(self.pieces)
            self._feed(data)
            self._bound(data, len(self.pieces) > pieces)
        if self._is_long and not self.done:  # asked once, when the head has just come
            self._is_long = False
            assert self.head is not None
            self._left = (self.head.length or 0) - sum(map(len, self.pieces))

    def _parse_heads(self, data: bytes) -> int:
        """Reads interim heads and the head, each from where it begins (llhttp takes RTSP for HTTP). How far it got."""
        at, size = 0, len(data)
        while at < size and self.head is None:
            found = (self._seen[-3:] + data[at:]).find(b"\r\n\r\n") if self._seen else data.find(b"\r\n\r\n", at) - at
            end = size if found < 0 else at + found + 4 - len(self._seen[-3:])
            part = data[at:end]
            self._seen += part
            if not b"HTTP/".startswith(self._seen[:5]):
                raise UpstreamError("upstream_nonsense", "not HTTP")
            if len(self._seen) > MAX_HEAD_BYTES:
                raise UpstreamError("upstream_nonsense", f"a head of more than {MAX_HEAD_BYTES} bytes")
            self._feed(part)
            if found >= 0:
                self._seen = b""
            at = end
        return at

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.done:
                raise UpstreamError("upstream_nonsense", f"not HTTP: {error}") from error
            self.reusable = self._is_clean = False

    def _bound(self, data: bytes, has_body: bool) -> None:
        if not self.done:
            self._quiet = 0 if has_body else self._quiet + len(data)
            if self._quiet > MAX_HEAD_BYTES:
                raise UpstreamError("upstream_nonsense", "a chunk extension or a trailer without end")

    def closed(self) -> bool:
        """The backend closed. True: that was the end of the answer (RFC 9112 §6.3, rule 8)."""
        if self.head is not None and self._until_close:
            self.done = True
        return self.done

    # -- called by httptools
    def on_message_begin(self) -> None:
        if self.done:
            self.reusable = False

    def on_status(self, part: bytes) -> None:
        self._reason += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head is None:  # else a trailer: discarded, never merged into the headers (RFC 9110 §6.5.1)
            self._headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        if self.done:
            return
        status = self._parser.get_status_code()
        if len(self._headers) > MAX_HEADERS:
            raise UpstreamError("upstream_nonsense", f"more than {MAX_HEADERS} header fields")
        switches = status == 101 and self._may_switch
        if (
            (status == 101 and not switches)
            or not 100 <= status <= 999
            or self._parser.get_http_version() not in ("1.1", "1.0")
        ):
            raise UpstreamError("upstream_nonsense")
        if self._reason and not (
            self._reason.isalnum() or all(byte == 9 or (byte >= 32 and byte != 127) for byte in self._reason)
        ):
            raise UpstreamError("upstream_nonsense")
        if status < 200 and not switches:
            self._interims += 1
            if self._interims > MAX_INTERIM:
                raise UpstreamError("upstream_nonsense", f"more than {MAX_INTERIM} interim answers")
            self.interim.append(AnswerHead(status, self._reason, self._headers))
            return
        self._final(status)

    def _final(self, status: int) -> None:
        length = coding = None
        for name, value in self._headers:
            size = len(name)
            if size == _CL and name.lower() == b"content-length":
                if length is not None:
                    raise UpstreamError("upstream_nonsense", "two lengths")
                length = int(value)
            elif size == _TE and name.lower() == b"transfer-encoding":
                if coding is not None or value.strip().lower() != b"chunked":
                    raise UpstreamError("upstream_nonsense", "a transfer coding that cannot be passed on")
                coding = value
        if coding is not None and length is not None:
            raise UpstreamError("upstream_nonsense", "a length and a transfer coding")
        self.head = AnswerHead(status, self._reason, self._headers, length)
        self._until_close = length is None and coding is None
        self._is_long = length is not None and length > _UNPARSED
        self.reusable = self._parser.should_keep_alive()
        if self._is_head or status in _BODILESS or status == 101:
            self.done = True

    def on_body(self, piece: bytes) -> None:
        if not self.done:
            self.pieces.append(piece)
        else:
            self.reusable = False  # a body behind an answer that has none

    def on_message_complete(self) -> None:
        if self.head is None:  # an interim answer: the real one follows
            self._reason, self._headers = b"", []
            return
        self._is_clean = self._parser.should_keep_alive()  # a trailer may have spoilt it
        self.done = True
