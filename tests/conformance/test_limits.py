"""The limits of a route: ``limits.target``, ``headers``, ``header_bytes``, ``body`` (414, 431, 413)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance import lab as parts
from tests.conformance.backend import Backend, Reply
from tests.conformance.cases import HOST, check_arrived, check_own, request
from tests.conformance.lab import Case, Lab
from tests.conformance.wire import PATIENCE, Answer, Wire
from tests.quick import cheap_users

SMALL = {"target": 100, "headers": 10, "header_bytes": 1000, "body": 1000}
ROUTES: list[dict[str, Any]] = [
    {"path": "/public/", "access": "public"},
    {"path": "/small/", "access": "public", "limits": SMALL},
    {"path": "/wide/", "access": "public", "limits": {"target": 16000, "headers": 200, "header_bytes": 65536}},
    {"path": "/admin/", "limits": {"body": 1000}},
]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, wide_backend: Backend) -> Iterator[Lab]:
    """A gateway of which some routes have limits of their own."""
    folder = tmp_path_factory.mktemp("limits")
    cheap_users(folder / "users.yaml")
    lab = parts.start(folder, wide_backend, ROUTES)
    yield lab
    lab.process.stop()


def ask(path: bytes, *lines: bytes, body: bytes = b"", method: bytes = b"GET") -> bytes:
    return request(method + b" " + path + b" HTTP/1.1", HOST, *lines, body=body)


def expect_refused(case: Case, wire: Wire, status: int, reason: str, method: bytes = b"GET") -> Answer:
    answer = wire.answer(method)
    case.expect((answer.status, answer.reason) == (status, reason), f"got {answer.status} {answer.reason}")
    check_own(case, answer)
    if answer.closes or answer.version == b"HTTP/1.0":
        case.expect(wire.rest() == b"", "something came behind it")
    else:
        case.expect(case.is_usable(wire), "the connection is neither closed nor usable")
    return answer


def expect_passed(case: Case, wire: Wire, arrived: bytes) -> None:
    answer = wire.answer()
    case.expect(answer.status == 200, f"got {answer.status} {answer.reason}")
    check_arrived(case, [arrived])
    case.expect(case.is_usable(wire), "the connection answers no other request")


# -- the target, as it was sent
def long_target(length: int, prefix: bytes) -> bytes:
    return prefix + b"CASE0000/" + b"a" * (length - len(prefix) - 9)


@pytest.mark.parametrize(("prefix", "limit"), [(b"/public/", 8192), (b"/small/", 100), (b"/wide/", 16000)], ids=["default", "small", "wide"])  # fmt: skip
def test_a_target_may_be_as_long_as_the_limit_and_no_longer(case: Case, prefix: bytes, limit: int) -> None:
    good = ask(long_target(limit, prefix))
    expect_passed(case, case.ask(good), good)
    for longer in (1, 100, 1000):
        expect_refused(case, case.ask(ask(long_target(limit + longer, prefix))), 414, "target_too_long")
    query = prefix + b"CASE0000?" + b"x" * limit
    expect_refused(case, case.ask(ask(query)), 414, "target_too_long")
    check_arrived(case, [good])
    case.sent.clear()


@pytest.mark.parametrize("length", [20_000, 70_000, 500_000])
def test_a_target_without_end_is_refused_before_it_ends(case: Case, length: int) -> None:
    """414 while it still comes: the route is not known yet, so there must be a limit for all."""
    wire = case.connect()
    wire.send(b"GET /public/" + case.token + b"a" * length)
    expect_refused(case, wire, 414, "target_too_long")


# -- the fields
def test_there_may_be_as_many_fields_as_the_limit_and_no_more(case: Case) -> None:
    passed = []
    for prefix, limit in ((b"/public/", 100), (b"/small/", 10), (b"/wide/", 200)):
        lines = [b"X: y"] * (limit - 1)  # Host is one, too
        good = ask(prefix + b"CASE0000", *lines)
        passed.append(good)
        answer = case.ask(good).answer()
        case.expect(answer.status == 200, f"{limit} on {prefix!r}: got {answer.status} {answer.reason}")
        expect_refused(case, case.ask(ask(prefix + b"CASE0000", *lines, b"X: y")), 431, "headers_too_large")
    check_arrived(case, passed)
    case.sent.clear()


def test_the_fields_may_have_as_many_bytes_as_the_limit_and_no_more(case: Case) -> None:
    """Names and values, all together; what is between them is a matter of taste, so the limit is met with a margin."""
    passed = []
    for prefix, limit in ((b"/public/", 32768), (b"/small/", 1000), (b"/wide/", 65536)):
        for share in (5, 8):
            good = [b"X: " + b"y" * ((limit - 100) // share - 10)] * share
            passed.append(ask(prefix + b"CASE0000", *good))
            answer = case.ask(passed[-1]).answer()
            case.expect(answer.status == 200, f"{limit} on {prefix!r} in {share}: got {answer.status} {answer.reason}")
            bad = [b"X: " + b"y" * ((limit + 100) // share)] * share
            expect_refused(case, case.ask(ask(prefix + b"CASE0000", *bad)), 431, "headers_too_large")
    check_arrived(case, passed)
    case.sent.clear()


@pytest.mark.parametrize("endless", [b"X" * 1000, b"X: " + b"y" * 1000, b"X: y\r\n" * 200], ids=["name", "value", "fields"])  # fmt: skip
def test_a_head_without_end_is_refused_before_it_ends(case: Case, endless: bytes) -> None:
    wire = case.connect()
    wire.send(b"GET /public/" + case.token + b" HTTP/1.1\r\n" + HOST + b"\r\n" + endless)
    for _ in range(1000):
        if wire.is_answered(0.001):
            break
        wire.send(endless if endless.endswith(b"\n") else endless.removeprefix(b"X: "))
    expect_refused(case, wire, 431, "headers_too_large")


def test_one_field_may_be_as_large_as_the_server_takes(case: Case) -> None:
    """``server.max_header_bytes`` is for one field, ``limits.header_bytes`` for all of them."""
    good = ask(b"/public/CASE0000", b"Cookie: a=" + b"b" * 16_000)
    expect_passed(case, case.ask(good), good)
    expect_refused(case, case.ask(ask(b"/public/CASE0000", b"Cookie: a=" + b"b" * 17_000)), 431, "headers_too_large")
    case.sent.clear()


# -- the body
def chunked(body: bytes, size: int = 100) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


SMALL_POST = b"/small/CASE0000"


def test_a_body_may_be_as_large_as_the_limit(case: Case) -> None:
    body = bytes(1000)
    good = ask(SMALL_POST, b"Content-Length: 1000", method=b"POST", body=body)
    expect_passed(case, case.ask(good), good)
    wire = case.ask(ask(SMALL_POST, b"Transfer-Encoding: chunked", method=b"POST", body=chunked(body) + b"0\r\n\r\n"))
    case.expect(wire.answer().status == 200, "refused in chunks")
    case.expect(case.arrived(3)[-1].body == body, "another body came to the backend")
    case.sent.clear()


@pytest.mark.parametrize("length", [1001, 2000, 10**9, 10**18])
def test_a_length_above_the_limit_is_refused_before_the_backend_hears_of_it(case: Case, length: int) -> None:
    wire = case.ask(ask(SMALL_POST, b"Content-Length: %d" % length, method=b"POST"))
    answer = expect_refused(case, wire, 413, "too_large")
    case.expect(answer.closes, "the body is still to come: the connection must end (RFC 9110 §15.5.14)")
    check_arrived(case, [])


def test_the_default_is_a_gibibyte(case: Case) -> None:
    case.reply(Reply((OK,), early=True))
    wire = case.ask(ask(b"/public/CASE0000", b"Content-Length: 1073741824", method=b"POST"))
    case.expect(wire.answer().status == 200, "a gibibyte is refused")
    wire = case.ask(ask(b"/public/CASE0000", b"Content-Length: 1073741825", method=b"POST"))
    expect_refused(case, wire, 413, "too_large")


def test_a_length_above_the_limit_is_refused_without_an_invitation(case: Case) -> None:
    wire = case.ask(ask(SMALL_POST, b"Expect: 100-continue", b"Content-Length: 1001", method=b"POST"))
    answer = expect_refused(case, wire, 413, "too_large")
    case.expect(not answer.interim, "the client was invited")
    check_arrived(case, [])


@pytest.mark.parametrize("size", [1, 100, 1001, 5000])
def test_chunks_above_the_limit_are_refused_and_the_backend_s_request_ends(case: Case, size: int) -> None:
    """P89: a policy on bodies holds for chunks, too."""
    body = chunked(bytes(5000), size) + b"0\r\n\r\n"
    wire = case.ask(ask(SMALL_POST, b"Transfer-Encoding: chunked", method=b"POST", body=body))
    answer = expect_refused(case, wire, 413, "too_large")
    case.expect(answer.closes, "the answer does not say that the connection is closed")
    for exchange in case.seen:
        case.expect(not exchange.whole and exchange.gone.wait(PATIENCE), "the backend's request goes on")
        case.expect(len(exchange.body) <= 1000, f"{len(exchange.body)} bytes came to the backend")
    case.sent.clear()


def test_chunks_above_the_limit_behind_the_beginning_of_an_answer_end_both(case: Case) -> None:
    case.reply(Reply((b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", b""), early=True))
    wire = case.ask(ask(SMALL_POST, b"Transfer-Encoding: chunked", method=b"POST", body=chunked(bytes(500))))
    wire.wait_for(b"hello")
    case.send(wire, chunked(bytes(5000)))
    answer = wire.answer()
    case.expect(answer.status == 200 and not answer.whole, f"got {answer.status}, whole: {answer.whole}")
    case.expect(b"413" not in wire.received, "a second answer was put into the first")
    case.expect(not case.seen[0].whole, "the backend takes it for a whole request")
    case.sent.clear()


def test_a_stranger_with_a_large_body_is_told_who_he_is_not(case: Case) -> None:
    """The order of the gate: who may pass comes before what may pass."""
    wire = case.ask(ask(b"/admin/CASE0000", b"Content-Length: 5000", method=b"POST"))
    answer = wire.answer()
    case.expect((answer.status, answer.reason) in ((302, "no_session"), (413, "too_large")), f"got {answer.status}")
    check_arrived(case, [])
