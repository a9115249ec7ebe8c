"""Backends that take too long: a route's ``timeouts``. They are looked at four times a second."""

from __future__ import annotations

import contextlib
import time

import pytest

from tests.conformance.backend import Exchange, Hold, Line
from tests.conformance.lab import Case, Lab
from tests.conformance.patience import OK, SHORT, TOTAL, Clock, ask, expect_cut, expect_refused
from tests.conformance.wire import PATIENCE


@pytest.fixture
def lab(impatient_lab: Lab) -> Lab:
    """The one that does not wait for long."""
    return impatient_lab


def test_a_backend_that_takes_no_connection_is_a_504(case: Case) -> None:
    clock = Clock()
    expect_refused(case, case.ask(ask(b"/connect/")), 504, "upstream_timeout")
    clock.expect(case, SHORT)


def test_a_backend_that_is_not_there_is_a_502_at_once(case: Case) -> None:
    clock = Clock()
    wire = case.ask(ask(b"/nobody/"))
    expect_refused(case, wire, 502, "upstream_unreachable")
    clock.expect(case, 0.0)
    case.expect(case.is_usable(wire), "the connection answers no other request")


def test_a_backend_that_does_not_answer_is_a_504_and_its_request_ends(case: Case) -> None:
    for method, lines, body in ((b"GET", (), b""), (b"POST", (b"Content-Length: 5",), b"hello")):
        case.reply(Hold())
        clock = Clock()
        wire = case.ask(ask(b"/first/", *lines, method=method, body=body))
        expect_refused(case, wire, 504, "upstream_timeout")
        clock.expect(case, SHORT)
        case.expect(case.seen[-1].gone.wait(PATIENCE), "the backend's request goes on")
        case.expect(case.is_usable(wire), "the connection answers no other request")
    case.expect(len([one for one in case.seen if not one.target.endswith(b"again")]) == 2, "a request was sent twice")


BEGINNINGS = [b"H", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nX: y\r\n", b"HTTP/1.1 103 X\r\n\r\n"]


def test_a_beginning_of_a_head_is_no_answer(case: Case) -> None:
    case.reply(*map(Hold, BEGINNINGS))
    for wire in [case.ask(ask(b"/first/")) for _ in BEGINNINGS]:
        expect_refused(case, wire, 504, "upstream_timeout")


def test_a_slow_upload_is_no_slow_backend(case: Case) -> None:
    """The time to the first byte is counted from the end of the request."""
    wire = case.ask(ask(b"/first/", b"Content-Length: 15", method=b"POST"))
    for byte in b"hello big world":
        case.expect(not wire.is_answered(0.05), f"answered in mid upload: {wire.received!r}")
        wire.send(bytes([byte]))
    case.expect(wire.answer().status == 200, "not answered")


STOPPED = [OK, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]


def test_a_backend_that_stops_in_mid_answer_ends_it_with_a_reset(case: Case) -> None:
    """Of a known length, in chunks, until the end; to clients of both versions."""
    clock, wires = Clock(), []
    for version in (b"HTTP/1.1", b"HTTP/1.0"):
        for head in STOPPED:
            case.reply(Hold(head + b"hello"))
            wires.append(case.ask(ask(b"/between/", version=version)))
            case.arrived(len(wires))
    for wire in wires:
        expect_cut(case, wire)
        clock.expect(case, SHORT)
    case.expect(all(exchange.gone.wait(PATIENCE) for exchange in case.seen), "a backend's request goes on")


def test_a_slow_answer_that_goes_on_is_not_cut(case: Case) -> None:
    def trickle(line: Line, exchange: Exchange) -> None:
        line.read_body(exchange)
        line.write(OK.replace(b"10", b"15"))
        for byte in b"hello big world":
            time.sleep(0.05)
            line.write(bytes([byte]))

    case.reply(trickle)
    case.expect(case.ask(ask(b"/between/")).answer().body == b"hello big world", "it was cut off")


def test_an_answer_that_takes_too_long_in_all_is_a_504_or_a_reset(case: Case) -> None:
    case.reply(Hold())
    clock = Clock()
    expect_refused(case, case.ask(ask(b"/total/")), 504, "upstream_timeout")
    clock.expect(case, TOTAL)

    def trickle(line: Line, exchange: Exchange) -> None:
        line.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not line.gone.is_set() and not exchange.is_over:
            time.sleep(0.1)
            line.write(b"x")

    case.reply(trickle)
    clock = Clock()
    expect_cut(case, case.ask(ask(b"/total/")))
    clock.expect(case, TOTAL)


def test_a_backend_that_does_not_read_is_given_up(case: Case) -> None:
    def deaf(line: Line, exchange: Exchange) -> None:
        exchange.may_go_on.wait(30)

    case.reply(deaf)
    wire = case.connect()
    wire.patience = 3.0
    head = case.own(ask(b"/between/", b"Content-Length: 1000000000", method=b"POST"))
    with contextlib.suppress(TimeoutError):
        wire.send(head + bytes(50_000_000))
    wire.patience = PATIENCE
    answer = wire.answer()
    case.expect(answer.status in (0, 504), f"got {answer.status} {answer.reason}")
    case.expect(wire.end != "" or answer.closes, "the connection stays open")
