"""Tables of answers: what a backend writes, what the client must see of it; and the one check for all of them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conformance.backend import Exchange, Line
from tests.conformance.cases import HOST, TARGET, check_own, request
from tests.conformance.lab import Case
from tests.conformance.wire import FIELD_LINE, PATIENCE, STATUS_LINE, Answer, Wire, shown

DATE = re.compile(rb"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")


@dataclass(frozen=True, slots=True)
class Said:
    """One case of a table. ``seen`` None: a 502; else the answer as the client must see it, its body decoded.

    ``cut``: or the beginning of an answer whose end never comes. ``kept``: what becomes of the backend's connection
    (None: as it likes). ``end``: what the backend does behind what it wrote.
    """

    id: str
    written: bytes
    seen: bytes | None = None
    end: str = "keep"
    method: bytes = b"GET"
    version: bytes = b"HTTP/1.1"
    reason: str = "upstream_nonsense"
    kept: bool | None = None
    cut: bool = False

    @property
    def request(self) -> bytes:
        """What the client asks."""
        lines = [b"Content-Length: 0"] if self.method == b"POST" else []
        return request(self.method + b" " + TARGET + b" " + self.version, HOST, *lines)


def says(id: str, written: bytes, seen: bytes | None = None, **more: Any) -> Said:
    """It passes; by default byte for byte."""
    more.setdefault("kept", more.get("end", "keep") == "keep")
    return Said(id, written, written if seen is None else seen, **more)


def nonsense(id: str, written: bytes, **more: Any) -> Said:
    """Nothing of it is passed on: 502. POST, so that nobody tries again."""
    more.setdefault("method", b"POST")
    return Said(id, written, kept=False, **more)


def breaks_off(id: str, written: bytes, **more: Any) -> Said:
    """The head is in order, the body is not: a 502, or an answer whose end never comes."""
    more.setdefault("method", b"POST")
    return Said(id, written, kept=False, cut=True, **more)


def table(*tables: Iterable[Said], **named: Iterable[Said]) -> pytest.MarkDecorator:
    """For ``@pytest.mark.parametrize("said", …)``; a table given by name has it before the names of its cases."""
    cases = [(said.id, said) for one in tables for said in one]
    cases += [(f"{name.replace('_', ' ')} {said.id}", said) for name, one in named.items() for said in one]
    names = [name for name, _ in cases]
    assert len(set(names)) == len(names), f"named twice: {sorted(name for name in names if names.count(name) > 1)}"
    return pytest.mark.parametrize("said", [said for _, said in cases], ids=names)


def parsed(data: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """Status line without the version, fields, body."""
    head, _, body = data.partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    found = STATUS_LINE.fullmatch(start)
    assert found, start
    fields = [one for one in map(FIELD_LINE.fullmatch, lines) if one]
    assert len(fields) == len(lines), lines
    return found[2] + b" " + found[3], [(one[1], one[2].rstrip(b" \t")) for one in fields], body


def writer(said: Said, pieces: int) -> Any:
    """The reply that writes it, in so many pieces."""

    def write(line: Line, exchange: Exchange) -> None:
        line.read_body(exchange)
        step = max(1, -(-len(said.written) // pieces))
        for at in range(0, len(said.written), step):
            line.write(said.written[at : at + step])
            if pieces > 1:
                time.sleep(0.00005)
        if said.end != "keep":
            line.end(said.end)

    return write


def check_said(case: Case, said: Said, pieces: int = 1) -> Answer:
    """Lets the backend say it and notes all that the client should not see."""
    case.reply(writer(said, pieces))
    wire = case.ask(said.request)
    answer = wire.answer(said.method)
    if said.seen is not None and not said.cut:
        check_seen(case, answer, said)
    elif not (said.cut and answer.status != 502):
        case.expect((answer.status, answer.reason) == (502, said.reason), f"got {answer.status} {answer.reason}")
        check_own(case, answer)
        case.expect(b"127.0.0.1" not in answer.body, "it tells where the backend is")
    else:
        check_broken_off(case, wire, answer)
        return answer
    check_client(case, wire, answer, said)
    check_backend(case, said)
    return answer


def check_seen(case: Case, answer: Answer, said: Said) -> None:
    """Status, phrase, fields in order, body; framing fields are the wire's business."""
    assert said.seen is not None
    status, fields, body = parsed(said.seen)
    framing = (b"transfer-encoding", b"connection")
    got = [one for one in answer.fields if one[0].lower() not in framing]
    if not any(name.lower() == b"date" for name, _ in fields):  # RFC 9110 §6.6.1: one is added
        added = [value for name, value in got if name == b"Date"]
        case.expect(len(added) == 1 and DATE.fullmatch(added[0]) is not None, f"expected one Date; got {added}")
        got = [one for one in got if one[0] != b"Date"]
    case.expect(b"%d %b" % (answer.status, answer.phrase) == status, f"expected {status!r}; got {answer.raw[:60]!r}")
    case.expect(got == fields, f"expected the fields {fields}; got {got}")
    case.expect(answer.body == body, f"expected the body {shown(body)}; got {shown(answer.body)}")
    case.expect(answer.whole, "the answer has no end")
    case.expect(answer.version in (b"HTTP/1.1", said.version), f"the version is {answer.version!r}")


def check_broken_off(case: Case, wire: Wire, answer: Answer) -> None:
    """No client may take it for whole."""
    case.expect(not answer.whole, "a cut answer passes for a whole one")
    case.expect(wire.end != "", "the connection stays open")
    case.expect(case.seen[0].gone.wait(PATIENCE), "the connection to the backend stays open")


def check_client(case: Case, wire: Wire, answer: Answer, said: Said) -> None:
    """Nothing comes behind it, and the connection is what the answer says."""
    if answer.closes or said.version == b"HTTP/1.0":
        case.expect(answer.closes, "the answer does not say that the connection is closed")
        case.expect(wire.rest() == b"", "something came behind it")
        case.expect(wire.end == "closed", f"the connection was {wire.end}")
    else:
        case.expect(case.is_usable(wire), "the connection does not answer another request as it should")


def check_backend(case: Case, said: Said) -> None:
    """A connection on which something was wrong, or left over, serves nobody else."""
    exchange = case.seen[0]
    if said.kept is False:
        case.expect(exchange.gone.wait(PATIENCE), "the connection to the backend stays open")
    elif said.kept:
        case.expect(not exchange.gone.is_set(), "the connection to the backend was not kept")
