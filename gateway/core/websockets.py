"""WebSockets (RFC 6455) as far as an intermediary has to know them: the handshake, and where a frame ends."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Collection

from gateway.core.head import RawHeaders, RequestHead
from gateway.core.redirects import origin_of, same_origin
from gateway.errors import RequestError

CLOSE_SESSION_ENDED = 4401
"""Close code (RFC 6455 §7.4.2: 4000 to 4999 are private): the session that opened the connection is over."""
CLOSE_GOING_AWAY = 1001
"""§7.4.1: a server going down."""
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\\\s]+")  # RFC 6454 §6.2: no path, nobody's name in it
_MAX_REASON = 123  # bytes: a control frame holds 125 (RFC 6455 §5.5)


def tokens(values: Collection[bytes]) -> set[bytes]:
    """The comma-separated words of a header's values, in lower case."""
    return {word.strip().lower() for value in values for word in value.split(b",")}


def _values(headers: RawHeaders, name: bytes) -> list[bytes]:
    return [value.strip() for key, value in headers if key.lower() == name]


def asks_for_websocket(head: RequestHead) -> bool:
    """Does the client want to change to the WebSocket protocol (RFC 6455 §4.1)?"""
    return b"websocket" in tokens(_values(head.raw, b"upgrade")) and b"upgrade" in tokens(
        _values(head.raw, b"connection")
    )


def check_handshake(head: RequestHead, *, has_body: bool) -> None:
    """RFC 6455 §4.2.1.

    :raises RequestError: 400 ``bad_request``; 426 ``websocket_version`` (§4.4).
    """
    if head.method != "GET" or head.version != (1, 1):
        raise RequestError("bad_request", what="a WebSocket begins with GET and HTTP/1.1")
    if has_body:
        raise RequestError("bad_request", what="a WebSocket handshake has no body")
    if _values(head.raw, b"sec-websocket-version") != [b"13"]:
        raise RequestError("websocket_version")
    keys = _values(head.raw, b"sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        raise RequestError("bad_request", what="its Sec-WebSocket-Key is none")


def check_origin(head: RequestHead, ours: str, others: Collection[str]) -> None:
    """A page of another site must not open one with this user's cookies (RFC 6455 §10.2). Who names no origin is no browser.

    :raises RequestError: 403 ``cross_site``.
    """
    said = head.values(b"origin")
    if not said or "*" in others:
        return
    if (
        len(said) > 1
        or not _ORIGIN.fullmatch(said[0])
        or not (same_origin(said[0], ours) or origin_of(said[0]) in others)
    ):
        raise RequestError("cross_site")


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def is_accepted(head: RequestHead, answer: RawHeaders) -> bool:
    """Is a 101 the answer to this handshake (RFC 6455 §4.1, the client's checks 1 to 6)?"""
    (key,) = _values(head.raw, b"sec-websocket-key")
    expected = base64.b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest())
    offered = tokens(_values(head.raw, b"sec-websocket-protocol"))
    chosen = [value.lower() for value in _values(answer, b"sec-websocket-protocol")]
    return (
        tokens(_values(answer, b"upgrade")) == {b"websocket"}
        and b"upgrade" in tokens(_values(answer, b"connection"))
        and _values(answer, b"sec-websocket-accept") == [expected]
        and (not chosen or (len(chosen) == 1 and chosen[0] in offered))
    )


class FrameFollower:
    """Counts through the frames of one direction (RFC 6455 §5.2): headers are read, payloads skipped, nothing is kept.

    ``ended``: frames that ended in what was fed last; ``has_data``: since it was set to False something came that was no
    control frame (§5.5); ``has_close``: a Close frame came.
    """

    __slots__ = ("_head", "_is_data", "_left", "ended", "has_close", "has_data")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self._is_data = False
        self.ended = 0
        self.has_data = self.has_close = False

    @property
    def at_boundary(self) -> bool:
        """Is the last frame whole?"""
        return not self._left and not self._head

    def feed(self, data: bytes) -> int:
        """What has passed. The offset in ``data`` behind the first frame that ends in it, -1 when none does.

        :raises ValueError: a length of more than 63 bits (§5.2).
        """
        at, size, first, ended = 0, len(data), -1, 0
        while at < size:
            left = self._left
            if left:
                step = min(left, size - at)
                self._left = left - step
                at += step
                self.has_data = self.has_data or self._is_data
            elif not self._head and size - at >= 6 and data[at + 1] & 0x7F < 126:
                second = data[at + 1]
                self._note(data[at])
                self._left = second & 0x7F
                at += 6 if second & 0x80 else 2
            else:
                at = self._read_head(data, at)
            if not self._left and not self._head:
                ended += 1
                if first < 0:
                    first = at
        self.ended = ended
        return first

    def _note(self, first: int) -> None:
        """A frame begins with this byte."""
        if first & 0x08:
            self._is_data = False
            self.has_close = self.has_close or first & 0x0F == 0x08
        else:
            self._is_data = self.has_data = True

    def _read_head(self, data: bytes, at: int) -> int:
        """A frame's header, or what has come of it; where it ends."""
        before = len(self._head)
        head = self._head + data[at : at + 14 - before]
        if len(head) < 2:
            self._head = head
            return at + len(head) - before
        length = head[1] & 0x7F
        extended = 8 if length == 127 else 2 if length == 126 else 0
        whole = 2 + extended + (4 if head[1] & 0x80 else 0)
        if len(head) < whole:
            self._head = head
            return at + len(head) - before
        if extended:
            (length,) = struct.unpack_from("!Q" if extended == 8 else "!H", head, 2)
            if length >= 1 << 63:
                raise ValueError("a frame of more than 2^63 bytes")
        self._head, self._left = b"", length
        self._note(head[0])
        return at + whole - before


def close_frame(code: int, reason: str, *, mask: bytes = b"") -> bytes:
    """A Close frame (§5.5.1). ``mask``: four bytes, for a frame towards a server (§5.3)."""
    text = reason.encode()[:_MAX_REASON].decode("utf-8", "ignore").encode()
    payload = struct.pack("!H", code) + text
    if mask:
        payload = bytes(byte ^ mask[number % 4] for number, byte in enumerate(payload))
    return bytes((0x88, len(payload) | (0x80 if mask else 0))) + mask + payload
