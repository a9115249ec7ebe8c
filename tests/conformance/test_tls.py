"""The same over TLS as without: requests well-formed and not, one at a time and in a row, in one piece and byte by byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.listener_lab import addresses, certificates, port_of, serving, tls_of, trusting
from tests.conformance.backend import Backend, Reply
from tests.conformance.lab import PLACE, Case, Lab
from tests.conformance.tls import TlsCase, tls_case
from tests.conformance.wire import Answer, Wire
from tests.core.tables import table

TARGET = b"/public/" + PLACE
HOST = b" HTTP/1.1\r\nHost: a.example\r\n"
GET = b"GET " + TARGET + HOST + b"\r\n"
CHUNKS = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"
REQUESTS: dict[str, tuple[bytes, list[bytes]]] = {
    "GET": (GET, [b"GET"]),
    "HEAD": (GET.replace(b"GET", b"HEAD", 1), [b"HEAD"]),
    "a body": (b"POST " + TARGET + HOST + b"Content-Length: 5\r\n\r\nhello", [b"POST"]),
    "chunks": (b"POST " + TARGET + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS, [b"POST"]),
    "HTTP/1.0": (GET.replace(b"HTTP/1.1", b"HTTP/1.0"), [b"GET"]),
    "close": (b"GET " + TARGET + HOST + b"Connection: close\r\n\r\n", [b"GET"]),
    "three in a row": (GET * 3, [b"GET"] * 3),
    "with a body, then without": (
        b"POST " + TARGET + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS + GET,
        [b"POST", b"GET"],
    ),
    "refused": (b"GET /" + PLACE + HOST + b"\r\n", [b"GET"]),
    "our own": (b"GET /auth/session" + HOST + b"\r\n", [b"GET"]),
    "two lengths": (b"POST " + TARGET + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", [b"POST"]),
    "both framings": (
        b"POST " + TARGET + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
        [b"POST"],
    ),
    "a bare LF": (GET.replace(b"\r\n", b"\n"), [b"GET"]),
    "no Host": (b"GET " + TARGET + b" HTTP/1.1\r\n\r\n", [b"GET"]),
    "a line too long": (b"GET " + TARGET + b"x" * 20000 + HOST + b"\r\n", [b"GET"]),
    "another version": (GET.replace(b"HTTP/1.1", b"HTTP/3.0"), [b"GET"]),
    "no chunk": (b"POST " + TARGET + HOST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", [b"POST"]),
}
FIXED = {b"date", b"x-request-id", b"strict-transport-security", b"vary"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    certificates(made, "localhost")
    return made


@pytest.fixture(scope="module")
def both(folder: Path, wide_backend: Backend) -> Iterator[Lab]:
    """TLS first, and a plain listener."""
    more = [{"port": 0, "tls": False}]
    with serving(folder, wide_backend, server={"tls": tls_of(folder, "localhost"), "more_listeners": more}) as made:
        yield made


@pytest.fixture
def case(both: Lab, folder: Path) -> TlsCase:
    return tls_case(both, trusting(folder))


def _told(answer: Answer) -> tuple[object, ...]:
    """What does not change from one request to the next."""
    fields = [(name, value) for name, value in answer.fields if name.lower() not in FIXED]
    reason = answer.reason or answer.body
    return answer.version, answer.status, answer.phrase, fields, reason, answer.whole


def _all(case: Case, wire: Wire, methods: list[bytes]) -> list[object]:
    answers = [wire.answer(method) for method in methods]
    found: list[object] = [_told(answer) for answer in answers]
    closes = answers[-1].closes
    if closes:
        case.expect(wire.rest() == b"" and wire.end == "closed", f"something came behind it; {wire.end}")
    else:
        case.expect(case.is_usable(wire), "open, but of no use")
    return [*found, closes]


@pytest.mark.parametrize("pieces", [1, 7, 100_000], ids=["whole", "pieces", "bytes"])
@pytest.mark.parametrize(("sent", "methods"), table(REQUESTS))
def test_an_answer_over_tls_is_the_one_without(case: TlsCase, sent: bytes, methods: list[bytes], pieces: int) -> None:
    if pieces > len(sent) and len(sent) > 5000:
        pieces = 500
    over = case.ask(sent, pieces=pieces)
    with Wire(port_of(addresses(case.lab)[1])) as plain:
        plain.send(case.own(sent), pieces=pieces)
        wanted, got = _all(case, plain, methods), _all(case, over, methods)
    case.expect(got == wanted, f"without TLS: {wanted}; with: {got}")


def test_pieces_of_an_answer_are_passed_on_as_they_come(case: TlsCase) -> None:
    case.reply(Reply((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b"0\r\n\r\n")))
    wire = case.ask(GET)
    wire.wait_for(b"hello")
    case.arrived()[0].may_go_on.set()
    case.expect(wire.answer().body == b"hello", "not whole")


def test_an_invitation_to_send_a_body_is_passed_on(case: TlsCase) -> None:
    case.reply(Reply((b"HTTP/1.1 100 Continue\r\n\r\n",), early=True), Reply((b"",)))
    wire = case.ask(b"POST " + TARGET + HOST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    wire.wait_for(b"100 Continue")
    case.close()
