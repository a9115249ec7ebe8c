"""A gateway that does not wait for long, and clocks for how long it waits."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

from tests.conformance.cases import HOST, check_own, request
from tests.conformance.lab import Case
from tests.conformance.wire import Wire

HEAD = 0.7  # seconds: server.head_timeout
SHORT = 0.5  # the time-out that a route of that name has
TOTAL = 0.7
EARLY = 0.3  # the clock ticks every 0.25 s
LATE = 5.0  # nobody promises more on a loaded machine
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
ROUTES: list[dict[str, Any]] = [
    {"path": "/public/", "access": "public", "upstream": "backend"},
    {"path": "/first/", "access": "public", "upstream": "backend", "timeouts": {"first_byte": SHORT}},
    {"path": "/between/", "access": "public", "upstream": "backend", "timeouts": {"between_bytes": SHORT}},
    {
        "path": "/total/",
        "access": "public",
        "upstream": "backend",
        "timeouts": {"total": TOTAL, "between_bytes": SHORT},
    },
    {"path": "/connect/", "access": "public", "upstream": "full", "timeouts": {"connect": SHORT}},
    {"path": "/nobody/", "access": "public", "upstream": "nobody"},
]


@contextlib.contextmanager
def full_port() -> Iterator[str]:
    """A port whose queue of connections is full: who connects waits."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextlib.contextmanager
def dead_port() -> Iterator[str]:
    """A port on which nobody listens, and nobody else will while it is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def ask(path: bytes, *lines: bytes, body: bytes = b"", method: bytes = b"GET", version: bytes = b"HTTP/1.1") -> bytes:
    """A request to one of the routes."""
    return request(method + b" " + path + b"CASE0000 " + version, HOST, *lines, body=body)


class Clock:
    """How long something takes from here."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def expect(self, case: Case, seconds: float) -> None:
        """About as long as it should: not earlier than the clock ticks, and within any reason later."""
        took = time.monotonic() - self._started
        case.expect(seconds - EARLY <= took <= seconds + LATE, f"expected {seconds} s; it took {took:.2f} s")


def expect_refused(case: Case, wire: Wire, status: int, reason: str) -> None:
    """An answer of the gateway's own."""
    answer = wire.answer()
    case.expect((answer.status, answer.reason) == (status, reason), f"got {answer.status} {answer.reason}")
    check_own(case, answer)


def expect_cut(case: Case, wire: Wire) -> None:
    """The beginning of an answer, and a reset."""
    answer = wire.answer()
    case.expect(answer.status == 200 and not answer.whole, f"got {answer.status}, whole: {answer.whole}")
    case.expect(wire.end == "reset", f"expected a reset; the connection is {wire.end or 'open'}")
