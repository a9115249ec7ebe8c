"""RFC 9112 §9.3.2: requests before the answers to those before them; each answer in its turn, each body with its request."""

from __future__ import annotations

import threading

import pytest

from tests.conformance.backend import Reply
from tests.conformance.cases import HOST, TARGET, get, post, request
from tests.conformance.lab import Case
from tests.conformance.wire import Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def numbered(number: int, *lines: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    return request(method + b" " + TARGET + b"/%d HTTP/1.1" % number, HOST, *lines, body=body)


def expect_in_order(case: Case, wire: Wire, count: int) -> None:
    for number in range(count):
        answer = wire.answer()
        wanted = case.own(TARGET + b"/%d" % number)
        assert (answer.status, answer.body) == (200, wanted), f"answer {number}: {answer.status} {answer.body!r}"
    case.expect(
        [one.target for one in case.seen] == [case.own(TARGET + b"/%d" % n) for n in range(count)], "another order"
    )


@pytest.mark.parametrize("pieces", [1, 7, 300], ids=["at once", "in a few pieces", "in many pieces"])
def test_pipelined_requests_are_answered_in_order(case: Case, pieces: int) -> None:
    kinds = [
        lambda number: numbered(number),
        lambda number: numbered(number, b"Content-Length: 5", method=b"POST", body=b"hello"),
        lambda number: numbered(number, b"Transfer-Encoding: chunked", method=b"PUT", body=b"3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"),
        lambda number: b"\r\n" + numbered(number, method=b"DELETE"),
        lambda number: numbered(number, b"Content-Length: 5", body=b"hello") + b"\r\n",
    ]  # fmt: skip
    wire = case.ask(b"".join(kinds[number % 5](number) for number in range(25)), pieces=pieces)
    expect_in_order(case, wire, 25)
    bodies = [b"", b"hello", b"abc", b"", b"hello"] * 5
    case.expect([one.body for one in case.seen] == bodies, "a body came with another request")
    names = {name.lower() for one in case.seen for name, _ in one.fields}
    case.expect(b"x-t" not in names, "a trailer became a header")
    case.expect(case.is_usable(wire), "the connection answers no other request")


@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("number", range(14, 20))
def test_whichever_of_many_requests_has_a_body_it_is_read(case: Case, number: int, framing: str) -> None:
    """Some requests are read ahead: the last of them, too, gets its body (a 408 was the answer once)."""
    lines, body = (
        ([b"Content-Length: 5"], b"hello")
        if framing == "length"
        else ([b"Transfer-Encoding: chunked"], b"5\r\nhello\r\n0\r\n\r\n")
    )
    before = [numbered(one) for one in range(number)]
    wire = case.ask(b"".join([*before, numbered(number, *lines, method=b"POST", body=body), numbered(number + 1)]))
    expect_in_order(case, wire, number + 2)
    case.expect([one.body for one in case.seen] == [*[b""] * number, b"hello", b""], "a body came with another request")


@pytest.mark.parametrize("count", [30, 100, 3000])
def test_many_refused_requests_and_a_closed_half_are_all_answered(case: Case, count: int) -> None:
    wire = case.connect()
    one = b"GET /nothing-is-here HTTP/1.1\r\nHost: a\r\n\r\n"
    writer = threading.Thread(target=lambda: (wire.send(one * count), wire.half_close()))
    writer.start()
    statuses = [wire.answer().status for _ in range(count)]
    writer.join(10)
    case.expect(statuses == [404] * count, f"{statuses.count(404)} of {count}")
    case.expect(wire.rest() == b"", "more came")


def test_a_slow_answer_is_not_overtaken(case: Case) -> None:
    case.reply(Reply((OK[:10], OK[10:])))
    wire = case.ask(numbered(0) + numbered(1) + numbered(2))
    first = case.arrived()[0]
    case.expect(wire.silence(0.2) == b"", "a later request was answered before the first")
    case.expect(len(case.seen) == 1, "a later request came to the backend before the first was answered")
    first.may_go_on.set()
    case.expect(
        [wire.answer().body for _ in range(3)] == [b"ok", *(case.own(TARGET + b"/%d" % n) for n in (1, 2))],
        "another order",
    )


def test_a_thousand_pipelined_requests_are_all_answered(case: Case) -> None:
    wire = case.connect()
    data = case.own(b"".join(numbered(number) for number in range(1000)))
    writer = threading.Thread(target=wire.send, args=(data,))
    writer.start()
    expect_in_order(case, wire, 1000)
    writer.join(10)


@pytest.mark.parametrize("size", [100_000, 1_000_000])
def test_a_large_body_leaves_the_next_head_its_own_room(case: Case, size: int) -> None:
    """They come in one segment; no limit of the second request may count the first one's bytes."""
    data = numbered(0, b"Content-Length: %d" % size, method=b"POST", body=bytes(size)) + numbered(1)
    wire = case.connect()
    wire.send(case.own(data[:-30]))
    case.expect(wire.answer().status == 200, "the first got no answer")
    wire.send(case.own(data[-30:]))
    answer = wire.answer()
    case.expect(answer.body == case.own(TARGET + b"/1"), f"the second got {answer.status} {answer.reason}")


def test_head_get_and_head_in_one_segment(case: Case) -> None:
    """What says how long a body would be must not be waited for (RFC 9110 §9.3.2)."""
    wire = case.ask(numbered(0, method=b"HEAD") + numbered(1) + numbered(2, method=b"HEAD") + numbered(3))
    for number, method in enumerate((b"HEAD", b"GET", b"HEAD", b"GET")):
        answer = wire.answer(method)
        wanted = case.own(TARGET + b"/%d" % number)
        case.expect(answer.values(b"Content-Length") == [b"%d" % len(wanted)], f"answer {number} has another length")
        case.expect(answer.body == (b"" if method == b"HEAD" else wanted), f"answer {number} has another body")


BROKEN = [b"GET /public/x HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", b"\0\0\0", b"GET /x HTTP/9.9\r\n\r\n", b"FOO / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN, ids=repr)
def test_what_is_broken_behind_good_requests_is_told_after_their_answers(case: Case, broken: bytes) -> None:
    case.reply(Reply((OK[:-1], b"k")))
    wire = case.ask(numbered(0) + numbered(1) + broken)
    case.arrived()[0].may_go_on.set()
    first, second = wire.answer(), wire.answer()
    case.expect((first.status, first.body, first.whole) == (200, b"ok", True), f"the first got {first.status}")
    case.expect(second.status == 200, f"the second got {second.status}")
    last = wire.answer()
    case.expect(last.status in (400, 501, 505), f"the third got {last.status}")
    case.expect(wire.rest() == b"", "something came behind it")


def test_noise_while_an_answer_is_on_its_way_does_not_get_into_it(case: Case) -> None:
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"a" * 50_000
    case.reply(Reply((long, b"b" * 50_000)))
    wire = case.ask(get())
    exchange = case.arrived()[0]
    case.send(wire, b"\0noise\r\n\r\n")
    exchange.may_go_on.set()
    answer = wire.answer()
    case.expect(answer.body == b"a" * 50_000 + b"b" * 50_000, "the answer is another")
    case.expect(wire.answer().status in (400, 501), "the noise got no answer of its own")


def test_a_chunk_that_breaks_while_the_answer_is_on_its_way_gets_no_answer_of_its_own(case: Case) -> None:
    """A 400 can be put neither into the middle of the answer nor behind it: it would be taken for the next one's."""
    case.reply(Reply((b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", b"world"), early=True))
    wire = case.ask(post(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"))
    wire.wait_for(b"\r\n\r\nhello")
    case.send(wire, b"zz\r\n" + numbered(2))
    case.seen[0].may_go_on.set()
    answer = wire.answer()
    case.expect(answer.body in (b"hello", b"helloworld"), f"got {answer.body!r}")
    case.expect(wire.rest() == b"", "something came behind it")
    case.expect(len(case.seen) == 1 and not case.seen[0].whole, "the backend got a whole request")
    case.expect(case.seen[0].gone.wait(5), "the connection to the backend stays open")


LAST = {
    "of HTTP/1.0": (numbered(1).replace(b"HTTP/1.1", b"HTTP/1.0"), 200, b""),
    "that closes": (numbered(1, b"Connection: close"), 200, b""),
    "that upgrades": (numbered(1, b"Connection: Upgrade", b"Upgrade: x"), 200, b""),
    "that upgrades, with a body": (
        numbered(1, b"Connection: Upgrade", b"Upgrade: x", b"Content-Length: 5", method=b"POST", body=b"hello"),
        200,
        b"hello",
    ),
    "that upgrades, with chunks": (
        numbered(1, b"Connection: Upgrade", b"Upgrade: x", b"Transfer-Encoding: chunked", method=b"POST", body=b"5\r\nhello\r\n0\r\n\r\n"),
        200,
        b"hello",
    ),
    "for a tunnel": (request(b"CONNECT a.example:80 HTTP/1.1", HOST), 405, b""),
    "of another version": (request(b"GET /public/CASE0000/1 HTTP/2.0", HOST), 505, b""),
    "that is refused": (numbered(1, b"Expect: 100-continue", b"Content-Length: 5", method=b"POST").replace(b"/public", b"/admin"), 302, b""),
    "with two framings": (numbered(1, b"Content-Length: 0", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400, b""),
}  # fmt: skip


@pytest.mark.parametrize("pieces", [1, 300], ids=["at once", "in pieces"])
@pytest.mark.parametrize("last", LAST)
def test_a_request_that_ends_the_connection_is_answered_in_its_turn_and_is_the_last(
    case: Case, last: str, pieces: int
) -> None:
    data, status, body = LAST[last]
    wire = case.ask(numbered(0) + data + numbered(2) + numbered(3), pieces=pieces)
    first, second = wire.answer(), wire.answer()
    case.expect(first.body == case.own(TARGET + b"/0"), f"the first got {first.status}")
    case.expect(second.status == status, f"the second got {second.status} {second.reason}")
    case.expect(second.closes, "the last answer does not say so")
    case.expect(wire.rest() == b"", "something came behind it")
    case.expect(
        [one.body for one in case.seen] == [b"", body][: 1 + (status == 200)], "something else came to the backend"
    )


@pytest.mark.parametrize("start", [b"GET /public/CASE0000/smuggled HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n" * 20, b"\0" * 30], ids=["a request", "line ends", "noise"])  # fmt: skip
def test_the_rest_of_a_refused_body_is_thrown_away_however_late_it_comes(case: Case, start: bytes) -> None:
    start = case.own(start)
    stranger = numbered(1, b"Content-Length: %d" % len(start), method=b"POST").replace(b"/public", b"/admin")
    wire = case.ask(stranger + start[:10])
    refusal = wire.answer()
    case.expect(refusal.status == 302, f"got {refusal.status}")
    for at in range(10, len(start)):
        wire.send(start[at : at + 1])
    case.send(wire, numbered(2))
    if refusal.closes:
        case.expect(wire.rest() == b"", "something came behind an answer that closes")
    else:
        case.expect(wire.answer().body == case.own(TARGET + b"/2"), "the next request got another answer")
    case.expect(
        case.own(TARGET + b"/smuggled") not in [one.target for one in case.seen], "the body was taken for a request"
    )
