"""RFC 9112 §9: keep-alive, close, HTTP/1.0, pipelining, half-close, and who may speak when."""

from __future__ import annotations

import time

import pytest

from tests.conformance.backend import Exchange, Hold, Line, Reply
from tests.conformance.cases import GET, HOST, POST, TARGET, check_arrived, get, post, request
from tests.conformance.lab import Case
from tests.conformance.wire import Answer, Wire

OLD = GET.replace(b"1.1", b"1.0")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def numbered(number: int, *lines: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    return request(method + b" " + TARGET + b"/%d HTTP/1.1" % number, HOST, *lines, body=body)


def expect_closed(case: Case, wire: Wire, answer: Answer) -> None:
    case.expect(answer.status == 200, f"got {answer.status}")
    case.expect(answer.closes, "the answer does not say that the connection is closed (§9.6)")
    case.expect(wire.rest() == b"" and wire.end == "closed", f"something came behind it; {wire.end}")


# -- §9.3, §9.6: who asks for the end gets it
CLOSING = [b"close", b"CLOSE", b"Close", b" \tclose \t", b"close, X-Foo", b"X-Foo,close", b"keep-alive, close", b"close, keep-alive", b",close,", b", ,close"]  # fmt: skip


@pytest.mark.parametrize("value", CLOSING, ids=repr)
def test_a_client_that_wants_the_end_gets_it_after_the_answer(case: Case, value: bytes) -> None:
    wire = case.ask(get(b"Connection: " + value))
    expect_closed(case, wire, wire.answer())
    check_arrived(case, [get()])


def test_close_may_be_said_in_any_line_of_the_field(case: Case) -> None:
    wire = case.ask(get(b"Connection: X-Foo", b"X-Foo: 1", b"Connection: close", b"Connection: X-Bar"))
    expect_closed(case, wire, wire.answer())


@pytest.mark.parametrize("value", [b"keep-alive", b"Keep-Alive", b"", b"X-Foo", b"closed", b"close-not", b"not-close", b'"close"', b"close;x", b"close=1"], ids=repr)  # fmt: skip
def test_a_connection_stays_when_nobody_asks_for_its_end(case: Case, value: bytes) -> None:
    wire = case.ask(get(b"Connection: " + value))
    answer = wire.answer()
    case.expect(answer.status == 200 and not answer.closes, f"got {answer.status}, closes: {answer.closes}")
    case.expect(case.is_usable(wire), "the connection answers no other request")


def test_what_follows_a_request_that_closes_is_never_looked_at(case: Case) -> None:
    """§9.6: a server MUST NOT process any further request; llhttp calls the bytes an error, and that is not the answer."""
    for behind in (get(start=GET.replace(b" HTTP", b"/next HTTP")), b"\r\n", b"\0\1\2 noise\r\n\r\n", b"GET"):
        wire = case.ask(get(b"Connection: close") + behind)
        expect_closed(case, wire, wire.answer())
    check_arrived(case, [get()] * 4)


def test_what_comes_later_than_a_request_that_closes_is_never_looked_at(case: Case) -> None:
    case.reply(Reply((OK[:-1], b"k")))
    wire = case.ask(get(b"Connection: close"))
    exchange = case.arrived()[0]
    case.send(wire, numbered(2))
    case.send(wire, b"\0noise")
    exchange.may_go_on.set()
    answer = wire.answer()
    case.expect(
        answer.status == 200 and answer.whole and answer.closes, f"got {answer.status}, closes: {answer.closes}"
    )
    case.expect(wire.rest() == b"", "something came behind it")
    check_arrived(case, [get()])


@pytest.mark.parametrize("connection", [b"", b"Connection: keep-alive", b"Connection: close", b"Proxy-Connection: keep-alive", b"Keep-Alive: 300"])  # fmt: skip
def test_an_http_1_0_client_is_answered_once(case: Case, connection: bytes) -> None:
    """§9.3: a proxy MUST NOT keep a connection with an HTTP/1.0 client."""
    lines = [line for line in (HOST, connection) if line]
    wire = case.ask(request(OLD, *lines) + request(OLD.replace(b" HTTP", b"/2 HTTP"), *lines))
    expect_closed(case, wire, wire.answer())
    check_arrived(case, [get()])


def test_an_http_1_0_client_is_told_in_the_same_words(case: Case) -> None:
    wire = case.ask(request(OLD.replace(b"/public", b"/admin"), HOST))
    answer = wire.answer()
    case.expect((answer.status, answer.reason) == (302, "no_session"), f"got {answer.status} {answer.reason}")
    case.expect(answer.closes, "the answer does not say that the connection is closed")
    case.expect(wire.rest() == b"", "something came behind it")


def test_a_hundred_requests_on_one_connection(case: Case) -> None:
    wire = case.connect()
    for number in range(100):
        case.send(wire, numbered(number))
        answer = wire.answer()
        case.expect(answer.body == case.own(TARGET + b"/%d" % number), f"request {number} got {answer.body!r}")
    case.expect(len({exchange.connection for exchange in case.seen}) == 1, "the backend's connection was not kept")


# -- after errors nothing is read any more
def test_what_follows_a_broken_request_is_never_looked_at(case: Case) -> None:
    wire = case.ask(get(b"X : y") + numbered(2))
    case.expect(wire.answer().status == 400, "not refused")
    case.expect(wire.rest() == b"", "something came behind it")
    check_arrived(case, [])


def test_the_body_of_a_refused_request_is_no_request(case: Case) -> None:
    """RFC 9112 §9.3: read and thrown away, or the connection is closed."""
    for framing in (b"Content-Length: %d", b"Transfer-Encoding: chunked"):
        inner = case.own(numbered(1))
        body = inner if b"%d" in framing else b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner)
        line = framing % len(inner) if b"%d" in framing else framing
        wire = case.ask(post(line, body=body, start=POST.replace(b"/public", b"/admin")) + numbered(9))
        answer = wire.answer()
        case.expect(answer.status == 302, f"got {answer.status}")
        if not answer.closes:
            case.expect(wire.answer().body == case.own(TARGET + b"/9"), "the next request got another answer")
    case.expect(case.own(TARGET + b"/1") not in [one.target for one in case.seen], "the body was taken for a request")


def test_who_sends_much_to_a_gateway_that_refuses_still_hears_why(case: Case) -> None:
    """§9.6: a reset can take the answer from a client that still sends; servers close in stages."""
    data = bytes(1_000_000)
    wire = case.connect()
    wire.send(post(b"Content-Length: %d" % len(data), start=POST.replace(b"/public", b"/admin")) + data)
    answer = wire.answer()
    case.expect((answer.status, answer.reason) == (302, "no_session"), f"got {answer.status} {answer.reason}")
    case.expect(answer.whole, "the answer was cut off")


# -- half-close
def test_who_sends_a_request_and_a_fin_is_answered(case: Case) -> None:
    """Hazard A2: shutdown(SHUT_WR) behind a whole request is what netcat and some load balancers do."""
    for data, wanted in (
        (get(), get()),
        (post(b"Content-Length: 5", body=b"hello"), post(b"Content-Length: 5", body=b"hello")),
    ):
        wire = case.ask(data)
        wire.half_close()
        answer = wire.answer()
        case.expect(answer.status == 200 and answer.whole, f"got {answer.status or 'nothing'}")
        case.expect(wire.rest() == b"", "something came behind it")
        case.expect(case.plain()[-1:] == [wanted], "the backend got something else")


def test_pipelined_requests_before_a_fin_are_all_answered(case: Case) -> None:
    wire = case.ask(get() * 40)
    wire.half_close()
    for number in range(40):
        case.expect(wire.answer().status == 200, f"no answer to request {number}")
    case.expect(wire.rest() == b"", "something came behind them")


def test_who_sends_several_requests_and_a_fin_gets_at_least_the_first_answer(case: Case) -> None:
    wire = case.ask(numbered(0) + numbered(1))
    wire.half_close()
    answer = wire.answer()
    case.expect(answer.body == case.own(TARGET + b"/0"), f"got {answer.status} {answer.body!r}")
    second = wire.answer()
    case.expect(second.status in (0, 200), f"the second got {second.status}")


def test_a_fin_and_no_answer_within_a_second_is_a_client_that_is_gone(case: Case) -> None:
    case.reply(Hold())
    wire = case.ask(get())
    exchange = case.arrived()[0]
    wire.half_close()
    started = time.monotonic()
    case.expect(exchange.gone.wait(10), "the backend's request goes on")
    case.expect(time.monotonic() - started < 5, "the backend's request went on for long")


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("sent", [b"Content-Length: 10\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b"X: y\r\n\r\n"], ids=["mid body", "mid chunks", "whole"])  # fmt: skip
def test_a_client_that_goes_away_ends_the_backend_s_request(case: Case, sent: bytes, how: str) -> None:
    case.reply(Hold())
    wire = case.ask(POST + b"\r\n" + HOST + b"\r\n" + sent)
    exchange = case.arrived()[0]
    wire.reset() if how == "reset" else wire.close()
    case.expect(exchange.gone.wait(10), "the backend's request goes on")
    case.expect(exchange.whole is sent.startswith(b"X"), "a cut request came to the backend as a whole one")


def test_a_connection_without_a_word_disturbs_nobody(case: Case) -> None:
    silent = [case.connect() for _ in range(20)]
    silent[0].half_close()
    case.expect(silent[0].rest() == b"", "something was said to who said nothing")
    wire = case.ask(get())
    case.expect(wire.answer().status == 200, "not answered")


# -- the backend's side of §9.3.1
def test_a_kept_connection_that_died_is_replaced_for_what_may_be_repeated_alone(case: Case) -> None:
    def die(line: Line, exchange: Exchange) -> None:
        line.read_body(exchange)
        line.end("close")

    for method, body, again in (
        (b"GET", b"", True),
        (b"HEAD", b"", True),
        (b"POST", b"x", False),
        (b"PUT", b"x", False),
    ):
        before = len(case.seen)
        warm = case.ask(numbered(0))
        case.expect(warm.answer().status == 200, "not answered")
        case.reply(die)
        lines = [b"Content-Length: 1"] if body else []
        answer = case.ask(numbered(1, *lines, method=method, body=body)).answer(method)
        came = len(case.seen) - before - 1
        case.expect(answer.status == (200 if again else 502), f"{method!r} got {answer.status}")
        case.expect(came == (2 if again else 1), f"{method!r} was sent {came} times")


def test_a_connection_to_the_backend_is_shared_by_clients_one_after_the_other(case: Case) -> None:
    for number in range(10):
        wire = case.ask(numbered(number))
        case.expect(wire.answer().body == case.own(TARGET + b"/%d" % number), "another's answer")
    case.expect(len({one.connection for one in case.seen}) == 1, "the connection was not kept")
