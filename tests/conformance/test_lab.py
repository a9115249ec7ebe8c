"""The raw client, the raw backend and the tables are tools: these are their own tests."""

from __future__ import annotations

import socket
import threading

import pytest

from tests.conformance.answers import parsed
from tests.conformance.backend import Backend, Exchange
from tests.conformance.wire import Wire, shown

ADDED = (
    b"X-Forwarded-For: a\r\nX-Forwarded-Proto: b\r\nX-Forwarded-Host: c\r\nX-Forwarded-Port: 1\r\nX-Request-Id: d\r\n"
    b"Via: e\r\n\r\n"
)
GOOD = b"POST /c0000001 HTTP/1.1\r\nHost: a\r\n"


def served(data: bytes, *, reset: bool = False) -> Wire:
    """A client of a server that says this and ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        wire = Wire(listening.getsockname()[1], 5)
        sock, _ = listening.accept()
        sock.sendall(data)
        if reset:
            wire.wait_for(data[-4:])
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
    return wire


@pytest.mark.parametrize(
    ("data", "body", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", b"ok", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n", b"ok", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok", b"ok", False),
        (b"HTTP/1.1 200 OK\r\n\r\nok", b"ok", True),
        (b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n", b"", True),
        (b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", b"", True),
    ],
)
def test_the_client_knows_a_whole_answer_from_a_cut_one(data: bytes, body: bytes, whole: bool) -> None:
    with served(data) as wire:
        answer = wire.answer()
        assert (answer.body, answer.whole) == (body, whole)
        assert wire.rest() == b""
        assert wire.end == "closed"


def test_the_client_knows_a_reset_from_an_end() -> None:
    with served(b"HTTP/1.1 200 OK\r\n\r\nok", reset=True) as wire:
        answer = wire.answer()
        assert (answer.body, answer.whole, wire.end) == (b"ok", False, "reset")


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokXX0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n this is no chunk",
    ],
)
def test_the_client_takes_nothing_that_no_client_may_get(data: bytes) -> None:
    with served(data) as wire, pytest.raises(AssertionError):
        wire.answer()


@pytest.mark.parametrize(
    ("head", "fault"),
    [
        (GOOD + ADDED, None),
        (GOOD + b"Content-Length: 5\r\n" + ADDED, None),
        (GOOD + ADDED[:-2] + b"Transfer-Encoding: chunked\r\n\r\n", None),
        (GOOD.replace(b"1.1", b"1.0") + ADDED, "no request line"),
        (GOOD.replace(b"/", b"/ ", 1) + ADDED, "no request line"),
        (GOOD + b"Host: b\r\n" + ADDED, "not exactly one Host"),
        (GOOD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + ADDED, "two framings"),
        (GOOD + b"Content-Length: +5\r\n" + ADDED, "a length that is no number"),
        (GOOD + b"Transfer-Encoding: gzip\r\n" + ADDED, "another coding than chunked"),
        (GOOD + b"Connection: close\r\n" + ADDED, "a field that ends at the gateway"),
        (GOOD + b"X : y\r\n" + ADDED, "a line that is no field"),
        (GOOD + ADDED[:-2] + b"X: y\r\n\r\n", "not what the gateway adds, at the end"),
        (GOOD + b"\r\n", "not what the gateway adds, at the end"),
    ],
)
def test_the_backend_knows_what_no_gateway_may_send(head: bytes, fault: str | None) -> None:
    assert Exchange(1, head, threading.Event()).faults() == ([fault] if fault else [])


def test_the_backend_tells_cases_apart_and_answers_each_as_it_says() -> None:
    backend = Backend()
    backend.reply(b"c0000002", lambda line, exchange: line.write(b"HTTP/1.1 201 X\r\nContent-Length: 0\r\n\r\n"))
    port = int(backend.url.rpartition(":")[2])
    with Wire(port, 5) as wire:
        for token, status in ((b"c0000001", 200), (b"c0000002", 201), (b"c0000002", 200)):
            wire.send(b"GET /" + token + b" HTTP/1.1\r\nHost: a\r\n" + ADDED)
            assert wire.answer().status == status
        backend.retire(b"c0000001")
        wire.send(b"POST /c0000001 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n" + ADDED + b"ok")
        assert wire.answer().body == b"/c0000001"
    seen = backend.wait_for(b"c0000001", 2)
    assert [exchange.body for exchange in seen] == [b"", b"ok"]
    assert seen[1].plain() == b"POST /c0000001 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok"
    assert seen[1].gone.wait(5)
    assert [stray[:14] for stray in backend.strays] == [b"POST /c0000001"]
    assert len(backend.seen(b"c0000002")) == 2
    backend.stop()


def test_a_message_shows_what_was_sent_line_by_line() -> None:
    assert shown(b"a\r\nb\0").split() == ["a\\r\\n", "b\\x00"]
    assert "[...9000 bytes...]" in shown(bytes(9700))
    assert parsed(b"HTTP/1.1 200 O K\r\nX: y \r\n\r\nbody") == (b"200 O K", [(b"X", b"y")], b"body")
