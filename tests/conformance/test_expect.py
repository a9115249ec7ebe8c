"""RFC 9110 §10.1.1: Expect, from end to end; a stranger who is refused is never invited (hazard D13)."""

from __future__ import annotations

import pytest

from tests.conformance.backend import Exchange, Line, Reply
from tests.conformance.cases import (
    HOST,
    POST,
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

EXPECT = b"Expect: 100-continue"
HEAD = post(EXPECT, b"Content-Length: 5")
CHUNKED = post(EXPECT, b"Transfer-Encoding: chunked")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

KNOWN = [
    passes("what is not waited for", HEAD + b"hello"),
    passes("what is not waited for, in chunks", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", CHUNKED + b"hello"),
    passes("in other letters", post(b"EXPECT: 100-CONTINUE", b"Content-Length: 5", body=b"hello")),
    passes("with blanks", post(b"Expect: \t 100-continue \t ", b"Content-Length: 5", body=b"hello"), HEAD + b"hello"),
    passes("named in Connection", post(EXPECT, b"Content-Length: 5", b"Connection: Expect", body=b"hello"), post(b"Content-Length: 5", body=b"hello")),
    *(refused(f"another: {text}", post(b"Expect: " + text.encode(), b"Content-Length: 5", body=b"hello"), 417, "expectation_failed", "as it says")
      for text in ("tea", "100", "100-continu", "100-continue;x", "100-continue, tea", "tea, 100-continue", '"100-continue"', "x 100-continue", "200-ok")),
    refused("another beside it", post(EXPECT, b"Expect: tea", b"Content-Length: 5", body=b"hello"), 417, "expectation_failed", "as it says"),
    refused("of a stranger", HEAD.replace(b"/public", b"/admin") + b"hello", 302, "no_session"),
]  # fmt: skip


@paces()
@rows(KNOWN)
def test_an_expectation_is_passed_on_or_refused(case: Case, row: Row, pieces: int) -> None:
    check(case, row, pieces)


@pytest.mark.parametrize("data", [get(EXPECT), post(EXPECT, b"Content-Length: 0")], ids=["none", "empty"])
def test_without_a_body_there_is_nothing_to_expect(case: Case, data: bytes) -> None:
    """RFC 9110 §10.1.1: no client may say so; it passes, with or without the word."""
    wire = case.ask(data)
    answer = wire.answer()
    case.expect(answer.status == 200 and not answer.interim, f"got {answer.status}, {len(answer.interim)} interim")
    if not answer.closes:
        case.expect(case.is_usable(wire), "the connection answers no other request")


def inviting(line: Line, exchange: Exchange) -> None:
    """As backends do: 100, the body, the answer."""
    line.write(CONTINUE)
    line.read_body(exchange)
    line.write(OK)


@pytest.mark.parametrize(
    ("head", "body"), [(HEAD, b"hello"), (CHUNKED, b"5\r\nhello\r\n0\r\n\r\n")], ids=["length", "chunks"]
)
def test_the_invitation_comes_from_the_backend(case: Case, head: bytes, body: bytes) -> None:
    case.reply(inviting)
    wire = case.ask(head)
    case.expect(case.arrived()[0].values(b"Expect") == [b"100-continue"], "the backend was not asked")
    invitation = wire.head()
    case.expect((invitation.status, invitation.phrase) == (100, b"Continue"), f"got {invitation.status}")
    case.send(wire, body)
    answer = wire.answer()
    case.expect(answer.status == 200 and not answer.interim, f"got {answer.status}, {len(answer.interim)} more interim")
    case.expect(case.seen[0].body == b"hello", "another body came to the backend")
    case.expect(case.is_usable(wire), "the connection answers no other request")


def test_nobody_is_invited_before_the_backend_invites(case: Case) -> None:
    """A gateway that invites by itself has a body on its hands that the backend may refuse."""
    case.reply(Reply((b"", CONTINUE, OK), early=True))
    wire = case.ask(HEAD)
    exchange = case.arrived()[0]
    case.expect(wire.silence(0.2) == b"", "the gateway invited by itself")
    exchange.may_go_on.set()
    case.expect(wire.head().status == 100, "not invited")
    case.send(wire, b"hello")
    exchange.may_go_on.set()
    case.expect(wire.answer().status == 200, "not answered")


def test_the_invitation_comes_with_its_fields(case: Case) -> None:
    case.reply(Reply((b"HTTP/1.1 100 Go On\r\nX-Hint: 1\r\nConnection: X-Gone\r\nX-Gone: 1\r\n\r\n" + OK,), early=True))
    wire = case.ask(HEAD)
    invitation = wire.head()
    case.expect((invitation.status, invitation.phrase) == (100, b"Go On"), f"got {invitation.status}")
    case.expect(invitation.fields == ((b"X-Hint", b"1"),), f"fields: {invitation.fields}")


REFUSALS = [
    b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig",
    b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbig\r\n0\r\n\r\n",
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=["length", "chunks"])
def test_a_final_answer_instead_of_the_invitation_is_passed_on_and_ends_the_connection(
    case: Case, refusal: bytes
) -> None:
    """What the client sends then could be the body or another request; nobody must have to guess."""
    case.reply(Reply((refusal,), early=True))
    wire = case.ask(HEAD)
    answer = wire.answer()
    case.expect(answer.status in (401, 413) and answer.body == b"big", f"got {answer.status} {answer.body!r}")
    case.expect(not answer.interim, "the client was invited")
    case.expect(answer.closes, "the answer does not say that the connection is closed")
    case.send(wire, request(b"GET " + TARGET + b"/smuggled HTTP/1.1", HOST))
    case.expect(wire.rest() == b"", "something came behind it")
    case.expect(len(case.seen) == 1, "the body was taken for a request")
    case.expect(case.seen[0].gone.wait(5), "the backend still waits for the body")


def test_a_final_answer_while_the_body_comes_is_passed_on_and_ends_the_connection(case: Case) -> None:
    case.reply(Reply((REFUSALS[0],), early=True))
    wire = case.ask(post(b"Content-Length: 100000000", body=b"a" * 100_000))
    answer = wire.answer()
    case.expect(answer.status == 413 and answer.body == b"big", f"got {answer.status} {answer.body!r}")
    case.expect(answer.closes, "the answer does not say that the connection is closed")
    case.expect(wire.rest() == b"", "something came behind it")
    case.expect(case.seen[0].gone.wait(5), "the backend still waits for the body")
    case.sent.clear()


STRANGERS = [POST, POST.replace(b"POST", b"PUT")]


@pytest.mark.parametrize("framing", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"], ids=repr)
def test_a_stranger_is_refused_at_once_and_never_invited(case: Case, framing: bytes) -> None:
    for start in STRANGERS:
        wire = case.ask(post(EXPECT, framing, start=start.replace(b"/public", b"/admin")))
        answer = wire.answer()
        case.expect((answer.status, answer.reason) == (302, "no_session"), f"got {answer.status} {answer.reason}")
        case.expect(not answer.interim, "a stranger was invited")
        case.expect(answer.closes, "the answer does not say that the connection is closed")
        check_own(case, answer)
        case.expect(wire.rest() == b"", "something came behind it")
    check_arrived(case, [])


def test_an_http_1_0_client_is_never_sent_an_interim_answer(case: Case) -> None:
    """RFC 9110 §15.2: a MUST NOT; and §10.1.1: its expectation MUST be ignored."""
    case.reply(inviting)
    wire = case.ask(request(POST.replace(b"1.1", b"1.0"), HOST, EXPECT, b"Content-Length: 5", body=b"hello"))
    answer = wire.answer()
    case.expect(answer.status == 200 and not answer.interim, f"got {answer.status}, {len(answer.interim)} interim")
    case.expect(case.seen[0].body == b"hello", "another body came to the backend")


def test_a_backend_that_never_invites_gets_the_body_of_who_sends_it_anyway(case: Case) -> None:
    """RFC 9110 §10.1.1: a client that waits for 100 need not wait for ever."""
    wire = case.ask(HEAD)
    exchange = case.arrived()[0]
    case.send(wire, b"hello")
    answer = wire.answer()
    case.expect(answer.status == 200 and exchange.body == b"hello", f"got {answer.status}, {exchange.body!r}")
    case.expect(case.is_usable(wire), "the connection answers no other request")


def test_a_pipelined_request_that_expects_is_not_invited_before_its_turn(case: Case) -> None:
    case.reply(Reply((OK[:10], OK[10:])), inviting)
    wire = case.ask(get() + HEAD)
    first = case.arrived()[0]
    case.expect(wire.silence(0.2) == b"", "the second request was invited before the first was answered")
    first.may_go_on.set()
    case.expect(wire.answer().body == b"ok", "the first got another answer")
    case.expect(wire.head().status == 100, "the second was not invited")
    case.send(wire, b"hello")
    case.expect(wire.answer().body == b"ok", "the second got another answer")
