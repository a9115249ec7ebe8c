"""Who waits for a server."""

from __future__ import annotations

from collections.abc import Collection

from gateway.errors import UpstreamError
from gateway.upstream.balancer import Server
from gateway.upstream.waiting import WaitingLine


class Guest:
    """Notes what it hears."""

    def __init__(self, name: str, tried: Collection[Server] = ()) -> None:
        self.key = name.encode()
        self.tried = tried
        self.found: list[str] = []

    def proceed(self, found: str) -> None:
        self.found.append(found)

    def give_up(self, error: UpstreamError) -> None:
        self.found.append(error.reason.code)


def test_the_first_is_served_first_and_a_full_line_takes_nobody() -> None:
    line: WaitingLine[str] = WaitingLine(2)
    first, second, third = map(Guest, "abc")
    assert [line.join(guest) for guest in (first, second, third)] == [True, True, False]
    places = ["place"]
    line.serve(lambda _: places.pop() if places else None)
    assert (first.found, second.found, len(line)) == (["place"], [], 1)
    assert line.join(third)


def test_who_leaves_is_not_served() -> None:
    line: WaitingLine[str] = WaitingLine(2)
    first, second = map(Guest, "ab")
    line.join(first)
    line.join(second)
    line.leave(first)
    line.leave(first)
    line.serve(lambda _: "place")
    assert (first.found, second.found, len(line)) == ([], ["place"], 0)


def test_who_cannot_take_every_place_holds_up_nobody() -> None:
    line: WaitingLine[str] = WaitingLine(3)
    picky, other, last = Guest("a", [Server("x")]), Guest("b"), Guest("c")
    for guest in (picky, other, last):
        line.join(guest)
    places = ["x"]
    line.serve(lambda guest: None if guest is picky or not places else places.pop())
    assert (picky.found, other.found, last.found) == ([], ["x"], [])


def test_when_there_is_no_server_everybody_hears_it() -> None:
    line: WaitingLine[str] = WaitingLine(2)
    guests = [Guest("a"), Guest("b")]
    for guest in guests:
        line.join(guest)
    line.dissolve(lambda: UpstreamError("upstream_down"))
    assert ([guest.found for guest in guests], len(line)) == ([["upstream_down"]] * 2, 0)


def test_only_who_would_take_any_server_is_in_the_way_of_others() -> None:
    line: WaitingLine[str] = WaitingLine(10)
    assert not line.is_in_order
    picky, plain = Guest("picky", [Server("a")]), Guest("plain")
    line.join(picky)
    assert not line.is_in_order
    line.join(plain)
    assert line.is_in_order
    line.leave(plain)
    assert not line.is_in_order
