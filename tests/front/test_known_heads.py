"""Requests that were here before, byte for byte: nothing is parsed or asked twice (hazard A12), and nothing is mixed up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.front.client import ClientConnection
from gateway.front.incoming import HeadLimits, Incoming, KnownHeads
from gateway.front.parser import RequestParser
from gateway.front.roles import NOBODY, Answering

GET = b"GET /orders?page=1 HTTP/1.1\r\nHost: a\r\nCookie: x=1; y=2\r\n\r\n"


def parse(data: bytes, known: KnownHeads, *, peer: str = "192.0.2.1", size: int = 0) -> list[Incoming]:
    """All requests in ``data``, fed in pieces of ``size`` bytes (0: at once)."""
    parser = RequestParser(peer, HeadLimits(), known)
    found: list[Incoming] = []
    for at in range(0, len(data), size or len(data)):
        parser.feed(data[at : at + (size or len(data))])
        while parser.ready or parser.has_more:
            found += parser.ready
            parser.ready.clear()
            parser.feed(b"")
    return found


def test_the_same_bytes_are_parsed_once() -> None:
    known = KnownHeads()
    first, second = parse(GET * 2, known)
    (third,) = parse(GET, known)
    assert first.head is second.head is third.head
    assert third.complete
    assert third.keep_alive
    assert third.head_bytes == first.head_bytes == len(b"HostaCookiex=1; y=2")


def test_another_address_is_told_apart() -> None:
    known = KnownHeads()
    parse(GET, known)
    (other,) = parse(GET, known, peer="192.0.2.2")
    assert other.head is not None
    assert (other.head.peer, other.head.target) == ("192.0.2.2", "/orders?page=1")


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
        b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 3000 + b"\r\n\r\n",
    ],
    ids=["post", "length", "chunked", "upgrade", "expect", "options", "long"],
)
def test_what_is_special_is_parsed_each_time(data: bytes) -> None:
    known = KnownHeads()
    (first,), (second,) = parse(data, known), parse(data, known)
    assert first.head == second.head
    assert first.head is not second.head


@pytest.mark.parametrize("ends", [b"Connection: close\r\n", b""], ids=["close", "http/1.0"])
def test_nothing_is_known_behind_the_last_request_of_a_connection(ends: bytes) -> None:
    known = KnownHeads()
    parse(GET, known)
    version = b"HTTP/1.1" if ends else b"HTTP/1.0"
    assert len(parse(b"GET / " + version + b"\r\nHost: a\r\n" + ends + b"\r\n" + GET, known)) == 1


@pytest.mark.parametrize("size", [0, 1, 7])
def test_known_ones_and_others_come_in_order(size: int) -> None:
    known = KnownHeads()
    parse(GET, known)
    post = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(GET) + GET
    chunks = b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    found = parse(GET + post + GET + chunks + GET, known, size=size)
    assert [one.head.target if one.head else "" for one in found] == [
        "/orders?page=1", "/p", "/orders?page=1", "/c", "/orders?page=1",
    ]  # fmt: skip
    assert [one.take() for one in found] == [b"", GET, b"", b"abc", b""]


def test_a_crowd_of_heads_is_forgotten_not_kept() -> None:
    known = KnownHeads()
    for number in range(5000):
        parse(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number, known)
    assert len(known._heads) <= 2048


class _Wire(asyncio.Transport):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        self.asked.append(name)
        return ("192.0.2.1", 1) if name == "peername" else default

    def write(self, data: Any) -> None: ...
    def is_closing(self) -> bool:
        return False


class _Door:
    """Answers everything at once."""

    limits, head_timeout, idle_timeout, draining = HeadLimits(), 15.0, 75.0, False

    def __init__(self) -> None:
        self.known_heads = KnownHeads()
        self.peers: list[str] = []

    def came(self, client: ClientConnection) -> None: ...
    def left(self, client: ClientConnection) -> None: ...

    def begin(self, client: ClientConnection, request: Incoming) -> Answering:
        assert request.head is not None
        self.peers.append(request.head.peer)
        client.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        client.finish()
        return NOBODY


async def test_the_peer_s_address_is_asked_for_once_a_connection() -> None:
    door, wire = _Door(), _Wire()
    client = ClientConnection(door)  # type: ignore[arg-type]
    client.connection_made(wire)
    for _ in range(10):
        client.data_received(GET)
    await asyncio.sleep(0)
    assert door.peers == ["192.0.2.1"] * 10
    assert wire.asked.count("peername") == 1
