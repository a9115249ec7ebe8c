"""A small HTTP/1.1 client that knows how long an answer was on the wire: for sign-ins, for checks and for own loads."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass

_AT_ONCE = 1 << 18


class BadAnswer(Exception):
    """What came was no answer, or not a whole one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, fields (names in lower case), body, and the bytes that all of it took."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    size: int

    def field(self, name: str) -> str:
        """The first of that name, or nothing."""
        return next((value for key, value in self.fields if key == name), "")

    def cookies(self) -> str:
        """All that it sets, as a browser would send them back."""
        pairs = (value.partition(";")[0] for name, value in self.fields if name == "set-cookie")
        return "; ".join(pair for pair in pairs if pair.partition("=")[2])


def request(
    method: str, path: str, host: str, fields: Sequence[tuple[str, str]] = (), body: bytes | None = None
) -> bytes:
    """As bytes, without the body; its length is in it."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in fields)]
    lines += [] if body is None else [f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


class Client:
    """One connection. ``with Client(port) as client: client.ask("GET", "/")``."""

    def __init__(self, port: int, seconds: float = 30.0) -> None:
        self.host = f"127.0.0.1:{port}"
        self.socket = socket.create_connection(("127.0.0.1", port), seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The connection."""
        with contextlib.suppress(OSError):
            self.socket.close()

    def ask(self, method: str, path: str, fields: Sequence[tuple[str, str]] = (), body: bytes | None = None) -> Answer:
        """One request and its answer.

        :raises BadAnswer: it came not, or not whole.
        """
        return self.exchange(request(method, path, self.host, fields, body), body or b"")

    def exchange(self, head: bytes, body: bytes = b"") -> Answer:
        """The same with a head made before."""
        try:
            self.socket.sendall(head)
            if body:
                self.socket.sendall(body)
            return self._answer()
        except OSError as error:
            raise BadAnswer(f"{type(error).__name__}: {error}") from error

    def _answer(self) -> Answer:
        head = self._until(b"\r\n\r\n")
        first, *lines = head.decode("latin1").removesuffix("\r\n\r\n").split("\r\n")
        fields = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
        try:
            status = int(first.split(" ")[1])
        except (IndexError, ValueError):
            raise BadAnswer(f"no status line: {first!r}") from None
        body, size = self._body(status, dict(fields))
        return Answer(status, fields, body, len(head) + size)

    def _body(self, status: int, fields: dict[str, str]) -> tuple[bytes, int]:
        """The body and what it took on the wire: a chunked one takes more."""
        if status in (204, 304):
            return b"", 0
        if fields.get("transfer-encoding", "").lower() == "chunked":
            return self._chunks()
        length = fields.get("content-length", "")
        if not length.isdigit():
            raise BadAnswer("an answer without a length")
        body = self._exactly(int(length))
        return body, len(body)

    def _chunks(self) -> tuple[bytes, int]:
        pieces, size = list[bytes](), 0
        while True:
            line = self._until(b"\r\n")
            piece = self._exactly(int(line.partition(b";")[0], 16) + 2)
            size += len(line) + len(piece)
            if len(piece) == 2:
                return b"".join(pieces), size
            pieces.append(piece[:-2])

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._read:
            self._more()
        end = self._read.index(mark) + len(mark)
        found, self._read = self._read[:end], self._read[end:]
        return found

    def _exactly(self, length: int) -> bytes:
        while len(self._read) < length:
            self._more()
        found, self._read = self._read[:length], self._read[length:]
        return found

    def _more(self) -> None:
        piece = self.socket.recv(_AT_ONCE)
        if not piece:
            raise BadAnswer("the connection was closed before the answer was whole")
        self._read += piece
