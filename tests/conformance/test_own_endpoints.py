"""The gateway's own endpoints and the backends on one connection: two programs read it, and must agree on every end."""

from __future__ import annotations

import pytest

from tests.conformance.cases import HOST, TARGET, check_arrived, check_own, get, paces, request
from tests.conformance.lab import Case

SESSION = request(b"GET /auth/session HTTP/1.1", HOST)
LOGIN = b"POST /auth/login HTTP/1.1"
LOGOUT = b"POST /auth/logout HTTP/1.1"
JSON = b"Content-Type: application/json"
WRONG = b'{"username":"alice","password":"wrong"}'
CHUNKED = b"Transfer-Encoding: chunked"


def numbered(number: int) -> bytes:
    return request(b"GET " + TARGET + b"/%d HTTP/1.1" % number, HOST)


def chunks(body: bytes, trailers: bytes = b"") -> bytes:
    return b"%x\r\n%b\r\n0\r\n" % (len(body), body) + trailers + b"\r\n"


OWN = {
    "session": (SESSION, 302),
    "login with a length": (request(LOGIN, HOST, JSON, b"Content-Length: %d" % len(WRONG), body=WRONG), 401),
    "login with chunks": (request(LOGIN, HOST, JSON, CHUNKED, body=chunks(WRONG)), 401),
    "login with trailers": (request(LOGIN, HOST, JSON, CHUNKED, body=chunks(WRONG, b"X-Late: 1\r\n")), 401),
    "logout": (request(LOGOUT, HOST, JSON, b"Content-Length: 2", body=b"{}"), 200),
    "logout without a body": (request(LOGOUT, HOST, b"Content-Length: 0"), 200),
    "nothing there": (request(b"GET /auth/nothing HTTP/1.1", HOST), 404),
    "refused": (request(b"GET /admin/CASE0000 HTTP/1.1", HOST), 302),
    "refused with a body": (request(b"POST /admin/CASE0000 HTTP/1.1", HOST, b"Content-Length: 5", body=b"hello"), 302),
    "ambiguous": (request(b"GET /public//CASE0000 HTTP/1.1", HOST), 400),
}


@paces()
@pytest.mark.parametrize("own", OWN)
def test_own_answers_and_the_backend_s_come_in_order(case: Case, own: str, pieces: int) -> None:
    data, status = OWN[own]
    wire = case.ask(numbered(0) + data + numbered(1) + data + numbered(2), pieces=pieces)
    wanted = [numbered(0)]
    for number, expected in enumerate((200, status, 200, status, 200)):
        answer = wire.answer()
        case.expect(answer.status == expected, f"answer {number}: expected {expected}, got {answer.status}")
        if expected == 200 and number % 2 == 0 and number:
            wanted.append(numbered(number // 2))
            case.expect(answer.body == case.own(TARGET + b"/%d" % (number // 2)), f"answer {number}: {answer.body!r}")
        if answer.closes:
            case.expect(wire.rest() == b"", "something came behind the last answer")
            break
    check_arrived(case, wanted)


BODIES = {
    "read": request(LOGIN, HOST, JSON, b"Content-Length: %d", body=b"%b"),
    "of another type": request(LOGIN, HOST, b"Content-Type: text/csv", b"Content-Length: %d", body=b"%b"),
    "nobody reads": request(b"GET /auth/session HTTP/1.1", HOST, b"Content-Length: %d", body=b"%b"),
    "of a method that is not possible": request(b"PUT /auth/login HTTP/1.1", HOST, b"Content-Length: %d", body=b"%b"),
    "where nothing is": request(b"POST /auth/nothing HTTP/1.1", HOST, b"Content-Length: %d", body=b"%b"),
    "of a static file": request(b"GET /auth/static/x.css HTTP/1.1", HOST, b"Content-Length: %d", body=b"%b"),
    "with an expectation": request(LOGIN, HOST, JSON, b"Expect: 100-continue", b"Content-Length: %d", body=b"%b"),
    "with an upgrade": request(
        LOGIN, HOST, JSON, b"Connection: Upgrade", b"Upgrade: x", b"Content-Length: %d", body=b"%b"
    ),
}


@paces()
@pytest.mark.parametrize("body", BODIES)
def test_a_body_for_an_own_endpoint_is_no_request(case: Case, body: str, pieces: int) -> None:
    inner = request(b"GET " + TARGET + b"/smuggled HTTP/1.1", HOST)
    wire = case.ask(BODIES[body] % (len(inner), inner) + numbered(9), pieces=pieces)
    first = wire.answer()
    case.expect(first.status >= 200, f"got {first.status}")
    if first.closes:
        case.expect(wire.rest() == b"", "something came behind an answer that closes")
        check_arrived(case, [])
        return
    case.expect(wire.answer().body == case.own(TARGET + b"/9"), "the next request got another answer")
    check_arrived(case, [numbered(9)])


BROKEN = {
    "two framings": request(LOGIN, HOST, JSON, b"Content-Length: 15", CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"),
    "two lengths": request(LOGIN, HOST, JSON, b"Content-Length: 5", b"Content-Length: 6", body=b"hello!"),
    "a length with a sign": request(LOGIN, HOST, JSON, b"Content-Length: +5", body=b"hello"),
    "an unknown coding": request(LOGIN, HOST, JSON, b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "two codings": request(LOGIN, HOST, JSON, CHUNKED, CHUNKED, body=b"0\r\n\r\n"),
    "an empty coding": request(LOGIN, HOST, JSON, b"Transfer-Encoding:", b"Content-Length: 5", body=b"hello"),
    "a coding on HTTP/1.0": request(LOGIN.replace(b"1.1", b"1.0"), HOST, JSON, CHUNKED, body=b"0\r\n\r\n"),
    "a bad chunk": request(LOGIN, HOST, JSON, CHUNKED, body=b"5\r\nhelloX\r\n0\r\n\r\n"),
    "a bare LF behind a size": request(LOGIN, HOST, JSON, CHUNKED, body=b"5\nhello\r\n0\r\n\r\n"),
    "a blank before a colon": request(b"GET /auth/session HTTP/1.1", HOST, b"X : y"),
    "a bare LF": request(b"GET /auth/session HTTP/1.1", HOST, b"X: y\nZ: a"),
    "a fold": request(b"GET /auth/session HTTP/1.1", HOST, b"X: y\r\n z"),
    "a NUL": request(b"GET /auth/session HTTP/1.1", HOST, b"X: \0"),
    "no Host": request(b"GET /auth/session HTTP/1.1", b"X: y"),
    "two Hosts": request(b"GET /auth/session HTTP/1.1", HOST, HOST),
    "another version": request(b"GET /auth/session HTTP/2.0", HOST),
    "another protocol": request(b"GET /auth/session RTSP/1.0", HOST),
    "a tunnel": request(b"CONNECT /auth/session HTTP/1.1", HOST),
    "another expectation": request(LOGIN, HOST, JSON, b"Expect: tea", b"Content-Length: 5", body=b"hello"),
}


@paces()
@pytest.mark.parametrize("broken", BROKEN)
def test_what_no_backend_may_see_no_own_endpoint_sees_either(case: Case, broken: str, pieces: int) -> None:
    wire = case.ask(BROKEN[broken] + numbered(9), pieces=pieces)
    answer = wire.answer()
    case.expect(answer.status in (400, 405, 417, 501, 505), f"got {answer.status} {answer.reason}")
    check_own(case, answer)
    if broken != "another expectation":
        case.expect(answer.closes or answer.version == b"HTTP/1.0", "the answer does not say that it closes")
        case.expect(wire.rest() == b"", "something came behind it")
        check_arrived(case, [])


def test_an_http_1_0_client_is_answered_once_by_an_own_endpoint(case: Case) -> None:
    for connection in (b"X: y", b"Connection: keep-alive"):
        wire = case.ask(request(b"GET /auth/session HTTP/1.0", HOST, connection) + numbered(2))
        case.expect(wire.answer().status == 302, "another answer")
        case.expect(wire.rest() == b"", "something came behind it")
    check_arrived(case, [])


def test_a_client_that_wants_the_end_gets_it_from_an_own_endpoint(case: Case) -> None:
    wire = case.ask(request(b"GET /auth/session HTTP/1.1", HOST, b"Connection: close") + numbered(2))
    answer = wire.answer()
    case.expect(answer.status == 302 and answer.closes, f"got {answer.status}, closes: {answer.closes}")
    case.expect(wire.rest() == b"", "something came behind it")
    check_arrived(case, [])


def test_an_own_endpoint_invites_a_body_only_to_read_it(case: Case) -> None:
    head = request(LOGIN, HOST, JSON, b"Expect: 100-continue", b"Content-Length: %d" % len(WRONG))
    wire = case.ask(head)
    case.expect(wire.head().status == 100, "not invited")
    case.send(wire, WRONG + get())
    case.expect(wire.answer().status == 401, "another answer")
    case.expect(wire.answer().status == 200, "the next request got no answer")


def test_trailers_for_an_own_endpoint_are_no_headers_of_the_next_request(case: Case) -> None:
    late = request(LOGIN, HOST, JSON, CHUNKED, body=chunks(WRONG, b"X-Late: 1\r\nCookie: gw_session=x\r\n"))
    wire = case.ask(late + get())
    case.expect(wire.answer().status == 401, "another answer")
    case.expect(wire.answer().status == 200, "the next request got no answer")
    check_arrived(case, [get()])


def test_a_refusal_that_is_given_again_is_the_refusal_of_its_own_request(case: Case) -> None:
    """What is remembered of the last one must be neither its id nor its body's presence nor its end."""
    stranger = request(b"GET /admin/CASE0000 HTTP/1.1", HOST)
    wire, ids = case.connect(), set()
    for number in range(9):
        method = (b"GET", b"HEAD", b"GET")[number % 3]
        case.send(wire, stranger.replace(b"GET", method))
        answer = wire.answer(method)
        case.expect(answer.status == 302 and not answer.closes, f"answer {number}: {answer.status}")
        ids.update(answer.values(b"X-Request-Id"))
        if method == b"GET":
            check_own(case, answer)
    case.expect(len(ids) == 9, f"{len(ids)} different ids in 9 answers")
    for last in (b"Connection: close", b"Expect: 100-continue\r\nContent-Length: 5"):
        wire = case.ask(stranger + request(b"POST /admin/CASE0000 HTTP/1.1", HOST, last))
        first, second = wire.answer(), wire.answer()
        case.expect((first.closes, second.closes) == (False, True), f"closes: {first.closes}, {second.closes}")
        case.expect(wire.rest() == b"", "something came behind the last")
    check_arrived(case, [])
