"""RFC 9110 §15.2: interim answers. A proxy MUST forward them, to HTTP/1.1 clients only, in order, with their fields."""

from __future__ import annotations

import pytest

from tests.conformance.backend import Reply
from tests.conformance.cases import HOST, TARGET, check_own, get, request
from tests.conformance.lab import Case
from tests.conformance.wire import PATIENCE

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\nX-Latin: caf\xe9\r\n\r\n"
Interim = list[tuple[int, bytes, list[tuple[bytes, bytes]]]]
LISTS: dict[str, Interim] = {
    "100": [(100, b"Continue", [])],
    "102": [(102, b"Processing", [])],
    "103": [(103, b"Early Hints", [(b"Link", b"</a>"), (b"Link", b"</b>"), (b"X-Latin", b"caf\xe9")])],
    "one that nobody knows": [(199, b"What", [(b"X", b"y")])],
    "100 and 103": [(100, b"Continue", []), (103, b"Early Hints", [(b"Link", b"</a>")])],
    "103 and 100": [(103, b"", [(b"x-a", b"1")]), (100, b"", [])],
    "several": [(102, b"P", [(b"N", b"%d" % number)]) for number in range(16)],
}


def written(interim: Interim) -> bytes:
    heads = []
    for status, phrase, fields in interim:
        lines = [b"HTTP/1.1 %d %b" % (status, phrase), *(name + b": " + value for name, value in fields)]
        heads.append(b"\r\n".join([*lines, b"", b""]))
    return b"".join(heads)


@pytest.mark.parametrize("gated", [False, True], ids=["at once", "one after the other"])
@pytest.mark.parametrize("name", LISTS)
def test_interim_answers_are_passed_on_in_order_with_their_fields(case: Case, name: str, gated: bool) -> None:
    pieces = (written(LISTS[name]), OK) if gated else (written(LISTS[name]) + OK,)
    case.reply(Reply(pieces))
    wire = case.ask(get())
    got = [wire.head() for _ in LISTS[name]]
    case.seen[0].may_go_on.set()
    seen = [(one.status, one.phrase, list(one.fields)) for one in got]
    case.expect(seen == LISTS[name], f"expected {LISTS[name]}; got {seen}")
    answer = wire.answer()
    case.expect(answer.body == b"ok" and not answer.interim, f"got {answer.status}, {len(answer.interim)} more interim")
    case.expect(case.is_usable(wire), "the connection answers no other request")


@pytest.mark.parametrize("name", LISTS)
def test_an_http_1_0_client_never_sees_them(case: Case, name: str) -> None:
    case.reply(Reply((written(LISTS[name]) + OK,)))
    wire = case.ask(request(b"GET " + TARGET + b" HTTP/1.0", HOST))
    answer = wire.answer()
    case.expect(answer.body == b"ok" and not answer.interim, f"got {answer.status}, {len(answer.interim)} interim")
    case.expect(wire.rest() == b"", "something came behind it")


def test_what_ends_at_the_gateway_ends_there_in_them_too(case: Case) -> None:
    hop = b"Connection: X-A\r\nX-A: 1\r\nKeep-Alive: x\r\nTrailer: y\r\nSet-Cookie: gw_session=z\r\nX-B: 2\r\n\r\n"
    case.reply(Reply((b"HTTP/1.1 103 Early Hints\r\n" + hop + OK,)))
    wire = case.ask(get())
    case.expect(wire.head().fields == ((b"X-B", b"2"),), f"got {wire.received!r}")
    case.expect(wire.answer().body == b"ok", "another answer")


def test_an_interim_answer_has_no_body_whatever_it_says(case: Case) -> None:
    """RFC 9112 §6.3, rule 1. Neither length nor coding MUST go with it (RFC 9110 §8.6, RFC 9112 §6.1)."""
    for framing in (b"Content-Length: 2\r\n", b"Transfer-Encoding: chunked\r\n"):
        case.reply(Reply((b"HTTP/1.1 103 X\r\n" + framing + b"\r\n" + OK,)))
        answer = case.ask(get()).answer()
        case.expect(answer.status == 200 and answer.body == b"ok", f"got {answer.status} {answer.body!r}")
        fields = [name.lower() for one in answer.interim for name, _ in one.fields]
        case.expect(not {b"transfer-encoding", b"content-length"} & set(fields), f"passed on with {fields}")


def test_interim_answers_to_head_and_to_pipelined_requests_go_where_they_belong(case: Case) -> None:
    case.reply(Reply((HINTS + OK[:-2],)), Reply((OK,)), Reply((HINTS + HINTS + OK,)))
    wire = case.ask(request(b"HEAD " + TARGET + b" HTTP/1.1", HOST) + get() + get())
    counts = [len(wire.answer(method).interim) for method in (b"HEAD", b"GET", b"GET")]
    case.expect(counts == [1, 0, 2], f"interim answers: {counts}")


TOO_MANY = {
    "more than sixteen": b"HTTP/1.1 102 P\r\n\r\n" * 17 + OK,
    "without end": b"HTTP/1.1 102 P\r\n\r\n" * 2000,
    "101 behind one": b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "nonsense behind one": b"HTTP/1.1 103 X\r\n\r\nnonsense\r\n\r\n",
    "a bad head behind one": b"HTTP/1.1 103 X\r\n\r\nHTTP/1.1 200 OK\r\nX : y\r\n\r\n",
    "another protocol behind one": b"HTTP/1.1 103 X\r\n\r\nRTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "another protocol in one": b"RTSP/1.1 103 X\r\n\r\n" + OK,
    "another version in one": b"HTTP/2.0 103 X\r\n\r\n" + OK,
    "a bad field in one": b"HTTP/1.1 103 X\r\nX: \0\r\n\r\n" + OK,
    "too many fields in one": b"HTTP/1.1 103 X\r\n" + b"X: y\r\n" * 300 + b"\r\n" + OK,
    "too large a one": b"HTTP/1.1 103 X\r\nX: " + b"y" * 100_000 + b"\r\n\r\n" + OK,
}


@pytest.mark.parametrize("name", TOO_MANY)
def test_interim_answers_that_are_nonsense_are_a_502(case: Case, name: str) -> None:
    case.reply(Reply((TOO_MANY[name],)))
    wire = case.ask(request(b"POST " + TARGET + b" HTTP/1.1", HOST, b"Content-Length: 0"))
    answer = wire.answer()
    case.expect((answer.status, answer.reason) == (502, "upstream_nonsense"), f"got {answer.status} {answer.reason}")
    check_own(case, answer)
    case.expect(len(answer.interim) <= 16, f"{len(answer.interim)} interim answers were passed on")
    case.expect(case.seen[0].gone.wait(PATIENCE), "the connection to the backend stays open")


def test_a_backend_that_ends_behind_an_interim_answer_is_a_502(case: Case) -> None:
    for end in ("close", "reset"):
        case.reply(Reply((HINTS,), end=end))
        wire = case.ask(request(b"POST " + TARGET + b" HTTP/1.1", HOST, b"Content-Length: 0"))
        case.expect(wire.answer().status == 502, f"{end}: got {wire.received!r}")


def test_the_invitation_nobody_asked_for_is_passed_on(case: Case) -> None:
    """RFC 9110 §15.2: a proxy MUST forward 1xx unless it asked for them itself."""
    case.reply(Reply((b"HTTP/1.1 100 Continue\r\n\r\n" + OK,)))
    answer = case.ask(get()).answer()
    case.expect([one.status for one in answer.interim] == [100], f"interim: {answer.interim}")
    case.expect(answer.body == b"ok", "another answer")
