"""A client on a raw socket: sends bytes as they are, and reads answers by the letter of RFC 9112.

What no client may ever get (two framings, a bare LF, a name that is no token) is an error here, whatever a test looks for.
Tested in ``test_lab.py``.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from dataclasses import dataclass, field
from typing import Any

PATIENCE = 6.0  # seconds; generous: only a failure takes that long
STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([0-9]{3}) ([\t\x20-\x7e\x80-\xff]*)")
FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t ]*([\t\x20-\x7e\x80-\xff]*)")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)\r\n")
Fields = tuple[tuple[bytes, bytes], ...]


def shown(data: bytes, limit: int = 700) -> str:
    """Bytes for a message: one HTTP line a line, the middle of something long left out."""
    if len(data) > limit:
        data = data[: limit // 2] + b"  [...%d bytes...]  " % (len(data) - limit) + data[-limit // 2 :]
    lines = data.split(b"\n")
    text = [repr(line + b"\n")[2:-1] for line in lines[:-1]] + ([repr(lines[-1])[2:-1]] if lines[-1] else [])
    return "\n              ".join(text) or "nothing"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it came. Status 0: there was none."""

    version: bytes = b""
    status: int = 0
    phrase: bytes = b""
    fields: Fields = ()
    body: bytes = b""
    whole: bool = False
    raw: bytes = b""
    interim: tuple[Answer, ...] = ()

    def values(self, name: bytes) -> list[bytes]:
        """All values of a field, in order."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    @property
    def closes(self) -> bool:
        """Does it say that no other answer follows?"""
        tokens = b",".join(self.values(b"Connection")).lower().split(b",")
        return b"close" in [token.strip() for token in tokens]

    @property
    def json(self) -> dict[str, Any]:
        """The body of an answer of the gateway's own; {} when it is none."""
        try:
            parsed = json.loads(self.body)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}

    @property
    def reason(self) -> str:
        """``reason`` of such a body, or ''."""
        return str(self.json.get("reason", ""))


@dataclass(slots=True)
class Wire:
    """One connection. ``end``: '' while it is open, then 'closed' (a FIN came) or 'reset' (an RST)."""

    port: int
    patience: float = PATIENCE
    end: str = ""
    received: bytes = b""
    _left: bytes = b""
    _sock: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._sock = socket.create_connection(("127.0.0.1", self.port), self.patience)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    # -- sending
    def send(self, data: bytes, *, pieces: int = 1) -> None:
        """Sends; in several pieces with a breath between them. A gateway that has closed already is no error: it has
        said why, and that is still there to read."""
        step = max(1, -(-len(data) // pieces))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for at in range(0, len(data), step):
                self._sock.settimeout(self.patience)
                self._sock.sendall(data[at : at + step])
                if pieces > 1:
                    time.sleep(0.00005)

    def half_close(self) -> None:
        """A FIN: nothing more will be sent, but an answer can still be read."""
        with contextlib.suppress(OSError):  # closed by the gateway already
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Goes away without a word."""
        self._sock.close()

    def reset(self) -> None:
        """Goes away with an RST."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._sock.close()

    # -- reading
    def _fill(self, seconds: float | None = None) -> bool:
        """More bytes. False: there are no more."""
        if self.end:
            return False
        self._sock.settimeout(self.patience if seconds is None else max(seconds, 0.001))
        try:
            data = self._sock.recv(65536)
        except ConnectionResetError:
            self.end = "reset"
            return False
        if not data:
            self.end = "closed"
            return False
        self.received += data
        self._left += data
        return True

    def _more(self, what: str) -> bool:
        try:
            return self._fill()
        except TimeoutError:
            raise AssertionError(
                f"no {what} within {self.patience} s, and no end either; so far:\n{shown(self.received)}"
            ) from None

    def silence(self, seconds: float) -> bytes:
        """What comes within a time in which nothing should (and nothing has to be waited for when something does)."""
        deadline = time.monotonic() + seconds
        with contextlib.suppress(TimeoutError):
            while time.monotonic() < deadline and self._fill(deadline - time.monotonic()):
                pass
        return self._left

    def is_answered(self, seconds: float) -> bool:
        """Does anything come, or the end, within a time?"""
        with contextlib.suppress(TimeoutError):
            return bool(self._left) or self._fill(seconds) or bool(self.end)
        return False

    def wait_for(self, wanted: bytes) -> None:
        """Until these bytes have come; they are still there to read."""
        while wanted not in self._left and self._more(repr(wanted)):
            pass
        assert wanted in self._left, f"{wanted!r} did not come; got {shown(self.received)}"

    def _take(self, count: int) -> bytes:
        taken, self._left = self._left[:count], self._left[count:]
        return taken

    def answer(self, method: bytes = b"GET") -> Answer:
        """The next final answer to a request with this method, with the interim ones before it."""
        interim: list[Answer] = []
        while True:
            head = self.head()
            if head.status == 101 or not 100 <= head.status < 200:
                break
            interim.append(head)
        if head.status == 0:
            return Answer(raw=head.raw, interim=tuple(interim))
        body, whole, raw = self._body(head, method)
        parts = (head.version, head.status, head.phrase, head.fields)
        return Answer(*parts, body, whole, head.raw + raw, tuple(interim))

    def head(self) -> Answer:
        """The next head, interim or final."""
        while b"\r\n\r\n" not in self._left:
            if not self._more("head of an answer"):
                return Answer(raw=self._take(len(self._left)))
        raw = self._take(self._left.index(b"\r\n\r\n") + 4)
        start, *lines = raw[:-4].split(b"\r\n")
        found = STATUS_LINE.fullmatch(start)
        assert found, f"no status line: {shown(raw)}"
        parsed = [FIELD_LINE.fullmatch(line) for line in lines]
        assert all(parsed), f"no HTTP: {shown(raw)}"
        fields = tuple((one[1], one[2].rstrip(b" \t")) for one in parsed if one)
        return Answer(found[1], int(found[2]), found[3], fields, whole=True, raw=raw)

    def _body(self, head: Answer, method: bytes) -> tuple[bytes, bool, bytes]:
        """RFC 9112 §6.3: the body, whether its end was seen, its bytes on the wire."""
        lengths, codings = head.values(b"Content-Length"), head.values(b"Transfer-Encoding")
        assert len(lengths) + len(codings) < 2, f"two framings: {shown(head.raw)}"
        assert all(length.isdigit() for length in lengths), f"no length: {shown(head.raw)}"
        assert not codings or head.version == b"HTTP/1.1", f"chunked to HTTP/1.0: {shown(head.raw)}"
        if method == b"HEAD" or head.status in (204, 304):
            return b"", True, b""
        if codings:
            assert codings[0].lower() == b"chunked", f"an unknown coding: {shown(head.raw)}"
            return self._chunks()
        if lengths:
            while len(self._left) < int(lengths[0]) and self._more("body of an answer"):
                pass
            body = self._take(int(lengths[0]))
            return body, len(body) == int(lengths[0]), body
        while self._more("end of a body that lasts until the end"):
            pass
        body = self._take(len(self._left))
        return body, self.end == "closed", body

    def _chunks(self) -> tuple[bytes, bool, bytes]:
        before, body = len(self.received) - len(self._left), b""
        while True:
            while not (found := CHUNK_LINE.match(self._left)):
                assert len(self._left) < 20, f"no chunk size: {shown(self._left)}"
                if not self._more("chunk"):
                    return body, False, self.received[before:]
            size = int(found[1], 16)
            while len(self._left) < found.end() + size + 2 and self._more("end of a chunk"):
                pass
            chunk = self._take(found.end() + size + 2)[found.end() :]
            body += chunk[:size]
            if len(chunk) < size + 2:
                return body, False, self.received[before:]
            assert chunk.endswith(b"\r\n"), f"a chunk with another end, or a trailer: {shown(chunk)}"
            if size == 0:
                return body, True, self.received[before : len(self.received) - len(self._left)]

    def rest(self) -> bytes:
        """What is left until the end, which has to come."""
        while self._more("end of the connection"):
            pass
        return self._take(len(self._left))
