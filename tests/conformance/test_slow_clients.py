"""Clients that take too long: ``server.head_timeout``, and a route's ``timeouts.between_bytes``."""

from __future__ import annotations

import pytest

from tests.conformance.backend import Exchange, Line, Reply
from tests.conformance.cases import check_arrived
from tests.conformance.lab import Case, Lab
from tests.conformance.patience import HEAD, OK, SHORT, Clock, ask, expect_refused
from tests.conformance.wire import PATIENCE


@pytest.fixture
def lab(impatient_lab: Lab) -> Lab:
    """The one that does not wait for long."""
    return impatient_lab


# -- the client's head
CUT_HEADS = [b"G", b"GET", b"GET /public/CASE0000", b"GET /public/CASE0000 HTTP/1.1\r\n", b"GET /public/CASE0000 HTTP/1.1\r\nHost: a\r\n", b"GET /public/CASE0000 HTTP/1.1\r\nHost: a\r\nX: y"]  # fmt: skip


def test_a_head_that_does_not_end_is_told_408(case: Case) -> None:
    """Hazard A9. All at once, each on a connection of its own."""
    clock = Clock()
    for wire in [case.ask(cut) for cut in CUT_HEADS]:
        expect_refused(case, wire, 408, "slow_request")
        clock.expect(case, HEAD)
        case.expect(wire.rest() == b"", "something came behind it")
    check_arrived(case, [])


def test_a_head_that_trickles_gets_no_more_time_for_it(case: Case) -> None:
    """Slowloris: a byte now and then."""
    clock = Clock()
    wire = case.ask(b"GET /public/CASE0000 HTTP/1.1\r\nHost: a\r\nX: ")
    for _ in range(100):
        if wire.is_answered(0.1):
            break
        wire.send(b"y")
    expect_refused(case, wire, 408, "slow_request")
    clock.expect(case, HEAD)


def test_line_ends_before_a_head_buy_no_time_for_it(case: Case) -> None:
    """RFC 9112 §2.2 has them ignored; the head begins behind them."""
    wire = case.ask(b"\r\n\r\n")
    case.expect(not wire.is_answered(0.3), "line ends were taken for a request")
    clock = Clock()
    case.send(wire, b"\r\nGET /public/CASE0000")
    expect_refused(case, wire, 408, "slow_request")
    clock.expect(case, HEAD)


def test_a_second_head_that_does_not_end_is_told_408_and_a_pause_between_two_is_none(case: Case) -> None:
    wire = case.ask(ask(b"/public/"))
    case.expect(wire.answer().status == 200, "not answered")
    case.expect(not wire.is_answered(HEAD + 0.5), "a kept connection was closed as if it were slow")
    clock = Clock()
    case.send(wire, b"GET /public/CASE0000/second HTTP/1.1\r\n")
    expect_refused(case, wire, 408, "slow_request")
    clock.expect(case, HEAD)


def test_a_slow_answer_is_no_slow_head(case: Case) -> None:
    case.reply(Reply((OK, b"helloworld")))
    wire = case.ask(ask(b"/public/"))
    case.expect(wire.silence(HEAD + 0.5).endswith(b"\r\n\r\n"), "the connection ended")
    case.seen[0].may_go_on.set()
    case.expect(wire.answer().body == b"helloworld", "another answer")


# -- the client's body, and its reading
STOPS = [
    (b"Content-Length: 10", b"hello"),
    (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n"),
    (b"Content-Length: 10", b""),
]


def test_a_client_that_stops_in_mid_body_is_told_408_and_the_backend_s_request_ends(case: Case) -> None:
    """P87."""
    clock = Clock()
    wires = [case.ask(ask(b"/between/", framing, method=b"POST", body=body)) for framing, body in STOPS]
    for wire in wires:
        expect_refused(case, wire, 408, "slow_request")
        clock.expect(case, SHORT)
        case.expect(wire.rest() == b"", "something came behind it")
    for exchange in case.seen:
        case.expect(not exchange.whole and exchange.gone.wait(PATIENCE), "the backend's request goes on")


def test_a_client_that_sends_slowly_is_not_cut_off(case: Case) -> None:
    wire = case.ask(ask(b"/between/", b"Content-Length: 15", method=b"POST"))
    for byte in b"hello big world":
        case.expect(not wire.is_answered(0.05), f"answered in mid body: {wire.received!r}")
        wire.send(bytes([byte]))
    case.expect(wire.answer().status == 200, "not answered")


def test_a_client_that_does_not_read_is_reset_and_the_backend_s_request_ends(case: Case) -> None:
    def flood(line: Line, exchange: Exchange) -> None:
        line.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while not line.gone.is_set() and not exchange.is_over:
            line.write(bytes(65536))

    case.reply(flood)
    wire = case.ask(ask(b"/between/"))
    clock = Clock()
    exchange = case.arrived()[0]
    assert exchange.gone.wait(PATIENCE), "the backend's request goes on"
    clock.expect(case, SHORT)
    answer = wire.answer()
    case.expect(not answer.whole and wire.end == "reset", f"expected a reset; the connection is {wire.end or 'open'}")
