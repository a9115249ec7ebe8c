"""Messages off the wire. The reader shares no code with the gateway and takes strict HTTP alone: a bare line feed, a second
Content-Length or a wrong chunk size on either side is an error, never a matter of opinion.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace

Field = tuple[bytes, bytes]
SECONDS = 10.0
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]+)(;.*)?")


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer as it came. ``fields`` keep order, case and the blanks around their values; those that only
    frame the message on this connection (Transfer-Encoding, and ``Connection: close`` of an answer) are told apart."""

    start: tuple[bytes, bytes, bytes]
    fields: tuple[Field, ...] = ()
    body: bytes = b""
    framing: str = "none"
    """``none``, ``length``, ``chunked``, or ``close``: until the end of the connection."""
    chunks: tuple[int, ...] = ()
    extensions: tuple[bytes, ...] = ()
    trailers: tuple[Field, ...] = ()
    empty_lines: int = 0
    stays: bool = True
    interim: tuple[Message, ...] = ()

    def values(self, name: bytes) -> list[bytes]:
        """All values of a field (its name in lower case), without the blanks around them."""
        return [value.strip(b" \t") for key, value in self.fields if key.lower() == name]

    def lines(self) -> list[str]:
        """For a readable difference."""
        told = [line for message in self.interim for line in message.lines()]
        told += [f"{'empty lines ahead':20}{self.empty_lines}", f"{'start':20}{self.start}"]
        told += [f"{'field':20}{pair}" for pair in self.fields]
        told += [
            f"{'framing':20}{self.framing} {self.chunks}",
            *(f"{'extension':20}{one!r}" for one in self.extensions),
        ]
        told += [f"{'body':20}{self.body!r}", *(f"{'trailer':20}{pair}" for pair in self.trailers)]
        return [*told, f"{'connection stays':20}{self.stays}"]


# -- the reader
class Wire:
    """A socket with what was read from it and not used yet."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(SECONDS)
        self.sock = sock
        self._data = b""

    def _more(self) -> bool:
        piece = self.sock.recv(65536)
        self._data += piece
        return bool(piece)

    def line(self) -> bytes:
        """Up to CR LF, without it."""
        while b"\r\n" not in self._data:
            assert self._more(), f"the connection ended in a line: {self._data!r}"
        line, _, self._data = self._data.partition(b"\r\n")
        assert b"\n" not in line, f"a bare line feed: {line!r}"
        return line

    def exactly(self, size: int) -> bytes:
        """So many bytes."""
        while len(self._data) < size:
            assert self._more(), f"the connection ended {size - len(self._data)} bytes too early"
        data, self._data = self._data[:size], self._data[size:]
        return data

    def rest(self) -> bytes:
        """Everything until the end of the connection."""
        while self._more():
            pass
        data, self._data = self._data, b""
        return data

    @property
    def is_read(self) -> bool:
        """Has all that came been used?"""
        return not self._data

    def send(self, pieces: Iterable[bytes]) -> None:
        """Each in a write of its own."""
        for piece in pieces:
            self.sock.sendall(piece)


def read_request(wire: Wire) -> Message:
    """The next request."""
    empty = 0
    while not (line := wire.line()):
        empty += 1
    message = _head(line, wire)
    lengths, codings = message.values(b"content-length"), message.values(b"transfer-encoding")
    framing = "chunked" if codings else "length" if lengths else "none"
    return replace(_body(message, framing, wire), empty_lines=empty)


def read_answer(wire: Wire, method: bytes) -> Message:
    """The next answer, with the interim ones before it."""
    interim: list[Message] = []
    while (message := _head(wire.line(), wire)).start[1].startswith(b"1"):
        interim.append(message)
    lengths, codings = message.values(b"content-length"), message.values(b"transfer-encoding")
    framing = "chunked" if codings else "length" if lengths else "close"
    if method == b"HEAD" or message.start[1] in (b"204", b"304"):
        framing = "none"
    says_close = [value.lower() for value in message.values(b"connection")] == [b"close"]
    kept = tuple(pair for pair in message.fields if not says_close or pair[0].lower() != b"connection")
    message = _body(replace(message, fields=kept, interim=tuple(interim)), framing, wire)
    return replace(message, stays=not says_close and framing != "close")


def _head(line: bytes, wire: Wire) -> Message:
    first, second, third = line.split(b" ", 2)
    fields = tuple(_fields(wire))
    return Message((first, second, third), fields)


def _fields(wire: Wire) -> Iterable[Field]:
    while line := wire.line():
        name, colon, value = line.partition(b":")
        assert colon, f"a line that is no field: {line!r}"
        assert _TOKEN.fullmatch(name), f"no name of a field: {line!r}"
        assert _VALUE.fullmatch(value), f"no value of a field: {line!r}"
        yield name, value


def _body(message: Message, framing: str, wire: Wire) -> Message:
    """RFC 9112 §6.3."""
    lengths, codings = message.values(b"content-length"), message.values(b"transfer-encoding")
    assert len(lengths) + len(codings) <= 1, f"framed in two ways: {message.fields}"
    assert all(coding.lower() == b"chunked" for coding in codings), codings
    fields = tuple(pair for pair in message.fields if pair[0].lower() != b"transfer-encoding")
    message = replace(message, fields=fields, framing=framing)
    if framing == "chunked":
        return _chunked(message, wire)
    if framing == "none":
        return message
    return replace(message, body=wire.exactly(int(lengths[0])) if framing == "length" else wire.rest())


def _chunked(message: Message, wire: Wire) -> Message:
    pieces: list[bytes] = []
    extensions: list[bytes] = []
    size = -1
    while size:
        line = wire.line()
        found = _CHUNK.fullmatch(line)
        assert found, f"no size of a chunk: {line!r}"
        size = int(found[1], 16)
        extensions += [found[2]] if found[2] else []
        if size:
            pieces.append(wire.exactly(size))
            assert wire.exactly(2) == b"\r\n", "a chunk that is longer than it says"
    chunks, trailers = tuple(map(len, pieces)), tuple(_fields(wire))
    return replace(message, body=b"".join(pieces), chunks=chunks, extensions=tuple(extensions), trailers=trailers)
