"""A backend on a raw socket, for hundreds of cases at once: it records every byte and answers each case as the case says.

Which case a request belongs to says a token (``c0000001``) anywhere in its head. A case may leave replies for its
requests, in order; a request without one is answered with its own target, so that everybody can see whose answer it got.
Whatever arrives is judged, too: a request that the gateway should never have put together is a fault, also when no
test looks for it. Tested in ``test_lab.py``.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

TOKEN = re.compile(rb"c[0-9]{7}")
REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-\"$-~]+) HTTP/1\.1")
FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t\x20-\x7e\x80-\xff]*)")
CHUNK = re.compile(rb"([0-9A-Fa-f]+)\r\n")
ADDED = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"x-request-id", b"via")
NEVER = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"}
SECONDS = 30.0  # that a reply waits for its test


@dataclass(slots=True)
class Exchange:
    """One request as it came. ``gone`` is set when the gateway has closed the connection."""

    connection: int
    head: bytes
    gone: threading.Event
    body: bytes = b""
    chunked: bool = False
    whole: bool = False
    nobodys: bool = False
    is_over: bool = False
    may_go_on: threading.Event = field(default_factory=threading.Event)

    @property
    def lines(self) -> list[bytes]:
        """Request line and field lines."""
        return self.head[:-4].split(b"\r\n")

    @property
    def target(self) -> bytes:
        """Of the request line."""
        return self.lines[0].split(b" ")[1] if self.lines[0].count(b" ") == 2 else b""

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Names and values, in order."""
        found = [FIELD_LINE.fullmatch(line) for line in self.lines[1:]]
        return [(one[1], one[2].rstrip(b" \t")) for one in found if one]

    def values(self, name: bytes) -> list[bytes]:
        """All values of a field, in order."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def plain(self) -> bytes:
        """What the client's request became: without what the gateway added, Transfer-Encoding last, the body decoded."""
        coding = [(name, value) for name, value in self.fields if name.lower() == b"transfer-encoding"]
        kept = [one for one in self.fields if one not in coding][: -len(ADDED)]
        lines = [self.lines[0], *(name + b": " + value for name, value in [*kept, *coding])]
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body

    def faults(self) -> list[str]:
        """What no gateway may send, whatever it was sent (RFC 9112 §2 to §7, RFC 9110 §7.6)."""
        names = [name.lower() for name, _ in self.fields]
        lengths, codings = self.values(b"Content-Length"), self.values(b"Transfer-Encoding")
        found = {
            "no request line": not REQUEST_LINE.fullmatch(self.lines[0]),
            "a line that is no field": len(self.fields) != len(self.lines) - 1,
            "not exactly one Host": names.count(b"host") != 1,
            "two framings": len(lengths) + len(codings) > 1,
            "a length that is no number": not all(length.isdigit() for length in lengths),
            "another coding than chunked": codings not in ([], [b"chunked"]),
            "a field that ends at the gateway": not NEVER.isdisjoint(names),
            "not what the gateway adds, at the end": tuple(n for n in names if n != b"transfer-encoding")[-6:] != ADDED,
        }
        return [what for what, is_so in found.items() if is_so]


class Line:
    """The backend's end of one connection, for replies that do more than write."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self._sock = sock
        self.number = number
        self.gone = threading.Event()
        self.left = b""

    def fill(self) -> bool:
        """More bytes. False: the gateway has closed."""
        try:
            data = self._sock.recv(65536)
        except OSError:
            data = b""
        self.left += data
        if not data:
            self.gone.set()
        return bool(data)

    def read_head(self) -> Exchange | None:
        """The next head; None: there is none, and nothing of one."""
        while b"\r\n\r\n" not in self.left:
            if not self.fill():
                return Exchange(self.number, self.left, self.gone) if self.left else None
        end = self.left.index(b"\r\n\r\n") + 4
        head, self.left = self.left[:end], self.left[end:]
        exchange = Exchange(self.number, head, self.gone)
        exchange.chunked = bool(exchange.values(b"Transfer-Encoding"))
        return exchange

    def read_body(self, exchange: Exchange) -> None:
        """The rest of the request, as its framing says; not ``whole`` when it broke off or was no chunk."""
        if exchange.chunked:
            self._read_chunks(exchange)
            return
        length = int((exchange.values(b"Content-Length") or [b"0"])[0] or 0)
        while len(self.left) < length and self.fill():
            exchange.body = self.left[:length]
        exchange.body, self.left = self.left[:length], self.left[length:]
        exchange.whole = len(exchange.body) == length

    def _read_chunks(self, exchange: Exchange) -> None:
        while True:
            while not (found := CHUNK.match(self.left)):
                if len(self.left) > 18 or not self.fill():
                    return
            size = int(found[1], 16)
            while len(self.left) < found.end() + size + 2:
                if not self.fill():
                    return
            chunk, self.left = self.left[found.end() : found.end() + size + 2], self.left[found.end() + size + 2 :]
            exchange.body += chunk[:size]
            if chunk[size:] != b"\r\n":
                return
            if size == 0:
                exchange.whole = True
                return

    def write(self, data: bytes) -> None:
        """Sends as it is; that nobody listens any more is no error."""
        try:
            self._sock.sendall(data)
        except OSError:
            self.gone.set()

    def end(self, how: str) -> None:
        """``close`` (a FIN) or ``reset`` (an RST)."""
        with contextlib.suppress(OSError):
            if how == "reset":
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self._sock.close()


@dataclass(frozen=True, slots=True)
class Reply:
    """What to write, in pieces: the second and later ones when the test says so (``exchange.may_go_on``), or at once.

    ``early``: before the body was read. ``end``: keep, close or reset the connection afterwards.
    """

    pieces: tuple[bytes, ...]
    end: str = "keep"
    early: bool = False
    gated: bool = True

    def __call__(self, line: Line, exchange: Exchange) -> None:
        if not self.early:
            line.read_body(exchange)
        for number, piece in enumerate(self.pieces):
            if number and self.gated:
                exchange.may_go_on.wait(SECONDS)
                if exchange.is_over:
                    break
                exchange.may_go_on.clear()
            line.write(piece)
        if self.end != "keep":
            line.end(self.end)
        elif self.early:
            line.read_body(exchange)


@dataclass(frozen=True, slots=True)
class Hold:
    """Reads the request, writes this, and then says nothing until the gateway closes (``exchange.gone``)."""

    data: bytes = b""

    def __call__(self, line: Line, exchange: Exchange) -> None:
        line.read_body(exchange)
        line.write(self.data)
        while line.fill():
            pass


def echo(line: Line, exchange: Exchange) -> None:
    """The answer of whoever has no other: the target."""
    line.read_body(exchange)
    body = exchange.target
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body)
    line.write(head if exchange.head.startswith(b"HEAD ") else head + body)


Replying = Callable[[Line, Exchange], None]


def token_of(exchange: Exchange) -> bytes:
    """The case that a request belongs to; b'' when it names none."""
    found = TOKEN.search(exchange.head)
    return found[0] if found else b""


class Backend:
    """Listens on loopback, a thread for each connection."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.strays: list[bytes] = []
        self._seen: dict[bytes, list[Exchange]] = defaultdict(list)
        self._replies: dict[bytes, deque[Replying]] = defaultdict(deque)
        self._retired: set[bytes] = set()
        self._changed = threading.Condition()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._socks: set[socket.socket] = set()
        self._connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """For ``upstreams``."""
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def reply(self, token: bytes, *replies: Replying) -> None:
        """What the next requests of a case get."""
        self._replies[token].extend(replies)

    def seen(self, token: bytes) -> list[Exchange]:
        """The requests of a case so far."""
        return list(self._seen[token])

    def retire(self, token: bytes) -> None:
        """The case is over: what still comes of it is a stray, and nobody waits for it any more."""
        self._retired.add(token)
        for exchange in self._seen[token]:
            exchange.is_over = True
            exchange.may_go_on.set()

    def wait_for(self, token: bytes, count: int = 1, seconds: float = 6.0) -> list[Exchange]:
        """Waits until that many requests of a case have come."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self._seen[token]) >= count, seconds)
        assert came, f"{len(self._seen[token])} of {count} requests came to the backend within {seconds} s"
        return self.seen(token)

    def stop(self) -> None:
        """Closes everything."""
        for sock in (self._listening, *self._socks):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listening.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socks.add(sock)
                self._connections += 1
                threading.Thread(target=self._serve, args=(sock, self._connections), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        line = Line(sock, number)
        while not line.gone.is_set() and (exchange := line.read_head()):
            replying = self._note(exchange)
            if not exchange.head.endswith(b"\r\n\r\n"):
                break
            replying(line, exchange)
            if exchange.nobodys and exchange.whole:  # the beginning of one may well come when its client has its 400
                self.strays.append(exchange.head)
        line.gone.set()
        sock.close()
        self._socks.discard(sock)

    def _note(self, exchange: Exchange) -> Replying:
        token = token_of(exchange)
        exchange.nobodys = not token or token in self._retired
        if exchange.head.endswith(b"\r\n\r\n"):  # else it was given up in mid head: nobody reads that as a request
            self.faults += [f"{fault}: {exchange.head!r}" for fault in exchange.faults()]
        with self._changed:
            replies = self._replies[token]
            replying = replies.popleft() if replies else echo
            self._seen[token].append(exchange)
            self._changed.notify_all()
        return replying
