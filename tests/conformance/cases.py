"""Tables of requests: what is sent, what the client must get, what the backend must have got, what becomes of the
connection; and the one check for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pytest

from tests.conformance.lab import PLACE, Case
from tests.conformance.wire import PATIENCE, Answer, Wire, shown

HOST = b"Host: a.example"
TARGET = b"/public/CASE0000"
GET = b"GET /public/CASE0000 HTTP/1.1"
POST = b"POST /public/CASE0000 HTTP/1.1"
INNER = b"GET /public/CASE0000/smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n"
After = Literal["open", "closed", "as it says"]
PACES = (1, 150)  # sent at once; in up to so many pieces: for most of these, byte by byte


@dataclass(frozen=True, slots=True)
class Row:
    """One case of a table. ``arrived`` None: the backend gets nothing. Several statuses: all are right."""

    id: str
    sent: bytes
    status: tuple[int, ...]
    reason: str = ""
    arrived: bytes | None = None
    after: After = "closed"
    partly: bool = False
    """The head was in order, so the backend may have got a part; never the whole."""

    @property
    def method(self) -> bytes:
        """Of the request."""
        return self.sent.lstrip(b"\r\n").partition(b" ")[0]


def request(start: bytes, *lines: bytes, body: bytes = b"") -> bytes:
    """A head of these lines and a body."""
    return b"\r\n".join([start, *lines, b"", b""]) + body


def get(*lines: bytes, start: bytes = GET) -> bytes:
    """GET with a Host and these lines."""
    return request(start, HOST, *lines)


def post(*lines: bytes, body: bytes = b"", start: bytes = POST) -> bytes:
    """POST with a Host, these lines and this body."""
    return request(start, HOST, *lines, body=body)


def refused(id: str, sent: bytes, status: int = 400, reason: str = "bad_request", after: After = "closed") -> Row:
    """The gateway answers, in its words; the backend hears nothing of it."""
    return Row(id, sent, (status,), reason, None, after)


def breaks(id: str, sent: bytes, status: int = 400, reason: str = "bad_request") -> Row:
    """The head is in order, the body is not: what of it came to the backend is recognisably cut off."""
    return Row(id, sent, (status,), reason, partly=True)


def no_request(id: str, sent: bytes) -> Row:
    """Refused, and it is a matter of taste what exactly is wrong with it: its form, its method or its version."""
    return Row(id, sent, (400, 501, 505), "", None, "closed")


def passes(id: str, sent: bytes, arrived: bytes | None = None, after: After = "open") -> Row:
    """The backend gets ``arrived`` (by default what was sent), the client its answer."""
    return Row(id, sent, (200,), "", sent if arrived is None else arrived, after)


def either(id: str, sent: bytes, arrived: bytes, reason: str = "bad_request", status: int = 400) -> Row:
    """The RFC leaves it open: refused and closed, or understood as ``arrived``; nothing in between."""
    return Row(id, sent, (200, status), reason, arrived, "as it says")


def rows(*tables: Iterable[Row], **named: Iterable[Row]) -> pytest.MarkDecorator:
    """For ``@pytest.mark.parametrize("row", …)``; a table given by name has it before the names of its cases."""
    table = [(row.id, row) for one in tables for row in one]
    table += [(f"{name.replace('_', ' ')} {row.id}", row) for name, one in named.items() for row in one]
    names = [name for name, _ in table]
    assert len(set(names)) == len(names), f"named twice: {sorted(name for name in names if names.count(name) > 1)}"
    return pytest.mark.parametrize("row", [row for _, row in table], ids=names)


def paces() -> pytest.MarkDecorator:
    """For tests that are run twice: how a message is cut into segments means nothing."""
    return pytest.mark.parametrize("pieces", PACES, ids=("at once", "in pieces"))


def check(case: Case, row: Row, pieces: int = 1) -> Answer:
    """Sends one row and notes all that is not as it says."""
    wire = case.ask(row.sent, pieces=pieces)
    answer = wire.answer(row.method)
    if row.method == b"HEAD":  # RFC 9110 §9.3.2: no content, also when something is wrong
        row = replace(row, reason="")
    check_status(case, answer, row.status, row.reason)
    if row.method != b"HEAD" and answer.status in row.status and answer.status != 200:
        check_own(case, answer)
    if answer.status != 200:
        row = replace(row, arrived=None)
    check_after(case, wire, answer, row.after)
    if row.partly:
        check_cut(case)
    else:
        check_arrived(case, [] if row.arrived is None else [row.arrived])
    return answer


def check_status(case: Case, answer: Answer, status: Sequence[int], reason: str = "") -> None:
    """Status and, of an answer of the gateway's own, its body."""
    wanted = " or ".join(map(str, status)) + (f" {reason}" if reason else "")
    if answer.status not in status:
        case.expect(False, f"expected {wanted}; got {answer.status or 'no answer'} {answer.reason}")
    elif reason and answer.status != 200:
        case.expect(answer.reason == reason, f"expected {wanted}; got {answer.status} {answer.reason}")


def check_own(case: Case, answer: Answer) -> None:
    """An answer of the gateway's own says who, why and which (docs/http-api.md), and nothing about what it runs on."""
    said = answer.json
    case.expect(said.get("ret") == answer.status, f"ret is not the status: {said}")
    case.expect(bool(said.get("msg")), "there are no words for people")
    ids = answer.values(b"X-Request-Id")
    case.expect(ids == [str(said.get("request_id")).encode()], f"the ids differ: {ids} and {said.get('request_id')}")
    case.expect(b"aiohttp" not in answer.raw and b"Python" not in answer.raw, "it says what it runs on")


def check_after(case: Case, wire: Wire, answer: Answer, after: After) -> None:
    """Is the connection what it should be, and what the answer says?"""
    if answer.status == 0:
        return
    if after == "as it says":
        after = "closed" if answer.closes or answer.version == b"HTTP/1.0" else "open"
    if after == "open":
        case.expect(not answer.closes, "the answer says that the connection is closed; it should stay")
        case.expect(case.is_usable(wire), "the connection does not answer another request as it should")
        return
    says_so = answer.closes or answer.version == b"HTTP/1.0"
    case.expect(says_so, "the answer does not say that the connection is closed (RFC 9112 §9.6)")
    wire.patience = PATIENCE if says_so else 1.0
    extra = wire.rest()
    case.expect(not extra, f"something came behind the answer: {shown(extra)}")


def check_arrived(case: Case, wanted: Sequence[bytes]) -> None:
    """Did the backend get these requests, whole, in this order, and nothing else but what proved the connection?"""
    again = b"/public/" + case.token + b"/again"
    seen = [exchange for exchange in case.seen if exchange.target != again]
    plain = [exchange.plain().replace(case.token, PLACE) for exchange in seen]
    proof = case.own(request(b"GET " + TARGET + b"/again HTTP/1.1", HOST))
    odd = [exchange.plain() for exchange in case.seen if exchange.target == again and exchange.plain() != proof]
    case.expect(not odd, f"something of one request stuck to the next on the connection: {odd}")
    texts = [shown(text) for text in wanted]
    case.expect(plain == list(wanted), f"expected at the backend: {texts or 'nothing'}")
    case.expect(all(exchange.whole for exchange in seen), "a request came to the backend, but not its end")


def check_cut(case: Case) -> None:
    """Did the backend get at most the beginning of one request, and the end of its connection?"""
    case.expect(len(case.seen) < 2, "expected at the backend: at most the beginning of one request")
    for exchange in case.seen:
        case.expect(not exchange.whole, "the backend takes what it got for a whole request")
        case.expect(exchange.gone.wait(PATIENCE), "the connection to the backend stays open")
