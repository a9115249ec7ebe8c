"""RFC 9110 §7.6: what ends at the gateway (Connection and what it names), Via, Max-Forwards, the loop."""

from __future__ import annotations

import pytest

from tests.conformance.cases import (
    HOST,
    TARGET,
    Row,
    check,
    check_arrived,
    check_own,
    get,
    paces,
    passes,
    post,
    refused,
    request,
    rows,
)
from tests.conformance.lab import Case

CHUNKED = b"Transfer-Encoding: chunked"
HOP_BY_HOP = [  # §7.6.1
    *(passes(name.decode(), get(b"X-A: 1", name + b": x", b"X-B: 2"), get(b"X-A: 1", b"X-B: 2"))
      for name in (b"Keep-Alive", b"Proxy-Connection", b"TE", b"Trailer", b"Proxy-Authorization", b"Proxy-Authenticate")),
    passes("Upgrade", get(b"X-A: 1", b"Upgrade: x", b"X-B: 2"), get(b"X-A: 1", b"X-B: 2"), "as it says"),
    passes("TE and who names it", get(b"TE: trailers", b"Connection: TE"), get()),
    passes("in other letters", get(b"keep-ALIVE: x", b"tE: y", b"TRAILER: z"), get()),
    passes("in other spellings", get(b"keep_alive: x", b"proxy_connection: y", b"proxy.authorization: z"), get()),
]  # fmt: skip
NAMED = [  # what Connection names ends here, but nobody can name what is ours or what frames the message (P29, P30)
    passes("one", get(b"X-A: 1", b"Connection: X-A", b"X-B: 2"), get(b"X-B: 2")),
    passes("in other letters", get(b"X-A: 1", b"Connection: x-a"), get()),
    passes("with an underscore for a dash", get(b"X_A: 1", b"Connection: X-A"), get()),
    passes("several", get(b"X-A: 1", b"X-B: 2", b"X-C: 3", b"Connection: X-A, \t x-c"), get(b"X-B: 2")),
    passes("in several lines", get(b"Connection: X-A", b"X-A: 1", b"X-B: 2", b"connection: X-B"), get()),
    passes("repeated ones", get(b"X-A: 1", b"X-A: 2", b"Connection: X-A", b"X-A: 3"), get()),
    passes("one that is not there", get(b"Connection: X-A", b"X-B: 2"), get(b"X-B: 2")),
    passes("empty ones", get(b"X-A: 1", b"Connection: ,, X-A ,,"), get()),
    passes("behind close", get(b"X-A: 1", b"Connection: close, X-A"), get(), "closed"),
    passes("behind keep-alive", get(b"X-A: 1", b"Connection: keep-alive, X-A"), get()),
    passes("in quotes, which is no name", get(b"X-A: 1", b'Connection: "X-A"'), get(b"X-A: 1")),
    passes("a prefix of one", get(b"X-A: 1", b"X-AB: 2", b"Connection: X-A"), get(b"X-AB: 2")),
    passes("Connection itself", get(b"Connection: Connection, X-A", b"X-A: 1"), get()),
    passes("Host", get(b"Connection: Host"), get()),
    passes("Content-Length", post(b"Content-Length: 5", b"Connection: Content-Length", body=b"hello"), post(b"Content-Length: 5", body=b"hello")),
    passes("Transfer-Encoding", post(CHUNKED, b"Connection: Transfer-Encoding", body=b"5\r\nhello\r\n0\r\n\r\n"), post(CHUNKED, body=b"hello")),
    passes("Cookie", get(b"Cookie: a=b", b"Connection: Cookie"), get()),
    passes("what the gateway adds", get(b"Connection: X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Port, X-Request-Id, Via"), get()),
    passes("what the gateway adds, with dashes of another kind", get(b"Connection: x_forwarded_for, VIA, x.request.id"), get()),
    passes("a hundred", get(b"Connection: " + b", ".join(b"X-%d" % n for n in range(100)), b"X-99: 1", b"X-100: 2"), get(b"X-100: 2")),
]  # fmt: skip
FORGED = [  # a client's own statement about who and where it is
    passes(name.decode(), get(name + b": forged", b"X-A: 1"), get(b"X-A: 1"))
    for name in (
        b"X-Forwarded-User", b"x-forwarded-user", b"X_Forwarded_User", b"X-Forwarded-Email", b"X-Forwarded-Groups", b"X-Forwarded-For",
        b"X-Forwarded-Host", b"X-Forwarded-Prefix", b"X-Forwarded-Anything", b"Forwarded", b"X-Real-IP", b"X-Original-URL", b"X-Rewrite-URL",
        b"X-Request-Id", b"Remote-User", b"REMOTE_USER", b"Remote-Groups", b"X-Auth-Request-User", b"X-Gateway-Assertion",
        b"X-Session-Data", b"X-Session-Update", b"Proxy",
    )
]  # fmt: skip


@paces()
@rows(HOP_BY_HOP, FORGED, named=NAMED)
def test_what_ends_at_the_gateway_ends_there(case: Case, row: Row, pieces: int) -> None:
    check(case, row, pieces)


# -- §7.6.3 Via, and the loop
US = b"1.1 auth-gateway"
LOOPS = {
    "five lines": [b"Via: " + US] * 5,
    "one list": [b"Via: " + b", ".join([US] * 5)],
    "lists in lines": [b"Via: " + US + b"," + US, b"Via: 1.0 other", b"via: " + US + b" , " + US + b", 1.1 x", b"VIA: " + US],
    "with others between": [b"Via: 1.1 a, " + US + b", 1.1 b, " + US + b", 1.1 c, " + US, b"Via: " + US + b", " + US],
    "with protocol names, versions and comments": [b"Via: HTTP/1.1 auth-gateway, 1.0 auth-gateway, 2 auth-gateway (x), 1.1 auth-gateway (y), 1.1\tauth-gateway"],
    "more than five": [b"Via: " + b", ".join([US] * 20)],
}  # fmt: skip
NO_LOOPS = {
    "four lines": [b"Via: " + US] * 4,
    "one list of four": [b"Via: " + b", ".join([US] * 4)],
    "many others": [b"Via: " + b", ".join([b"1.1 other"] * 20)],
    "in another field": [b"X-Via: " + b", ".join([US] * 20)],
}


@pytest.mark.parametrize("lines", LOOPS.values(), ids=LOOPS)
def test_a_request_that_goes_round_is_stopped(case: Case, lines: list[bytes]) -> None:
    answer = case.ask(get(*lines)).answer()
    case.expect((answer.status, answer.reason) == (508, "loop_detected"), f"got {answer.status} {answer.reason}")
    check_own(case, answer)
    check_arrived(case, [])


@pytest.mark.parametrize("lines", NO_LOOPS.values(), ids=NO_LOOPS)
def test_a_request_that_has_come_a_long_way_passes(case: Case, lines: list[bytes]) -> None:
    answer = case.ask(get(*lines)).answer()
    case.expect(answer.status == 200, f"got {answer.status}")
    check_arrived(case, [get(*lines)])
    case.expect(case.seen[0].values(b"Via")[-1:] == [US], "Via does not end with us")


# -- §7.6.2 Max-Forwards
def options(*lines: bytes, method: bytes = b"OPTIONS") -> bytes:
    return request(method + b" " + TARGET + b" HTTP/1.1", HOST, *lines)


COUNTED = [
    passes("one is none to the next", options(b"Max-Forwards: 1"), options(b"Max-Forwards: 0")),
    passes("ten are nine", options(b"Max-Forwards: 10"), options(b"Max-Forwards: 9")),
    passes("in its place", options(b"X-A: 1", b"max-forwards: 5", b"X-B: 2"), options(b"X-A: 1", b"max-forwards: 4", b"X-B: 2")),
    passes("with blanks", options(b"Max-Forwards: \t 3 \t"), options(b"Max-Forwards: 2")),
    passes("TRACE", options(b"Max-Forwards: 3", method=b"TRACE"), options(b"Max-Forwards: 2", method=b"TRACE")),
    *(passes(f"{name} does not count", options(b"Max-Forwards: 0", method=name.encode())) for name in ("GET", "POST", "PUT", "DELETE", "PATCH", "PROPFIND")),
    *(passes(f"no number: {text!r}", options(b"Max-Forwards: " + text)) for text in (
        b"-1", b"+1", b"1.0", b"0x1", b"1_0", b"one", b"1, 2", b"1 2", b"1;", b"\xb2", "٣".encode(), "１".encode(), b'"1"')),
    passes("empty", options(b"Max-Forwards:"), options(b"Max-Forwards: ")),
    passes("none", options()),
    refused("a stranger is refused first", options(b"Max-Forwards: 0").replace(b"/public", b"/admin"), 302, "no_session", "as it says"),
]  # fmt: skip


@rows(COUNTED)
def test_max_forwards_counts_down(case: Case, row: Row) -> None:
    check(case, row)


@pytest.mark.parametrize("value", [b"0", b"00", b" 0 "])
def test_a_request_that_may_go_no_further_is_answered_here(case: Case, value: bytes) -> None:
    wire = case.ask(options(b"Max-Forwards: " + value))
    answer = wire.answer()
    case.expect(answer.status == 200 and answer.body == b"", f"OPTIONS got {answer.status} {answer.body!r}")
    case.expect(answer.values(b"Content-Length") == [b"0"], f"Content-Length: {answer.values(b'Content-Length')}")
    case.expect(b"GET" in b"".join(answer.values(b"Allow")), f"Allow: {answer.values(b'Allow')}")
    case.send(wire, options(b"Max-Forwards: " + value, method=b"TRACE"))
    traced = wire.answer()
    case.expect(traced.status == 405 and len(traced.values(b"Allow")) == 1, f"TRACE got {traced.status}")
    check_arrived(case, [])


@pytest.mark.parametrize("digits", [20, 100, 5000])
def test_a_number_as_large_as_one_likes_is_no_error(case: Case, digits: int) -> None:
    """§7.6.2: one less, or the largest that is supported; Python reads no number of more than 4,300 digits."""
    case.expect(case.ask(options(b"Max-Forwards: 1" + b"0" * digits)).answer().status == 200, "not answered")
    told = case.arrived()[0].values(b"Max-Forwards")
    case.expect(len(told) == 1 and told[0].isdigit() and told[0] >= b"1", f"Max-Forwards: {told}")
    case.expect(digits > 4000 or int(told[0]) < 10**digits, f"Max-Forwards: {told}")


def test_an_options_with_a_body_that_goes_no_further_leaves_the_connection_in_order(case: Case) -> None:
    wire = case.ask(options(b"Max-Forwards: 0", b"Content-Length: 5") + b"hello" + get())
    first = wire.answer()
    case.expect(first.status == 200, f"got {first.status}")
    if not first.closes:
        case.expect(wire.answer().status == 200, "the next request got no answer")
        check_arrived(case, [get()])
