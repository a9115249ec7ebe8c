"""RFC 9112 §6.3, §7, §8: where the body of an answer ends; and that a cut answer never passes for a whole one."""

from __future__ import annotations

import pytest

from tests.conformance.answers import Said, breaks_off, check_said, nonsense, says, table
from tests.conformance.backend import Reply
from tests.conformance.cases import HOST, TARGET, get, paces, request
from tests.conformance.lab import Case
from tests.conformance.wire import PATIENCE

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HELLO = b"5\r\nhello\r\n"
END = b"0\r\n\r\n"
PLAIN = OK + b"\r\nhello"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


def length(value: bytes, body: bytes = b"hello") -> bytes:
    return OK + b"Content-Length: " + value + b"\r\n\r\n" + body


def chunks(id: str, body: bytes) -> Said:
    return says(id, CHUNKED + body, PLAIN, kept=None if b"Connection" in body else True)


def bad(id: str, body: bytes) -> Said:
    return breaks_off(id, CHUNKED + body)


LENGTHS = [
    says("a length", length(b"5")),
    says("zero", length(b"0", b"")),
    says("blanks around it", length(b" \t5 \t"), length(b"5")),
    says("a megabyte", length(b"1048576", bytes(1_048_576))),
    *(nonsense(f"Content-Length {text}", length(text.encode("latin-1"))) for text in (
        "+5", "-5", "0x5", "5.0", "5,", ",5", "5,6", "5;", "5 5", "5_0", "five", "'5'", "5\xb2", "18446744073709551616", "18446744073709551621", "9" * 60)),
    nonsense("an empty one", length(b"")),
    nonsense("two equal ones in a list", length(b"5, 5")),
    nonsense("two", OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
    nonsense("two equal ones", OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    nonsense("two in other letters", OK + b"Content-Length: 5\r\ncontent-length: 6\r\n\r\nhello!"),
    nonsense("two, far apart", OK + b"Content-Length: 5\r\n" + b"X: y\r\n" * 20 + b"Content-Length: 6\r\n\r\nhello!"),
    nonsense("and chunks", OK + b"Content-Length: 15\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO + END),
    nonsense("behind chunks", OK + b"Transfer-Encoding: chunked\r\nContent-Length: 15\r\n\r\n" + HELLO + END),
    nonsense("of nothing, and chunks", OK + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO + END),
    nonsense("and identity", OK + b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n\r\nhello"),
    nonsense("and an empty coding", OK + b"Content-Length: 5\r\nTransfer-Encoding:\r\n\r\nhello"),
]  # fmt: skip
CODINGS = [
    chunks("one chunk", HELLO + END),
    chunks("five chunks", b"".join(b"1\r\n%c\r\n" % byte for byte in b"hello") + END),
    says("none but the last", CHUNKED + END, OK + b"\r\n"),
    says("a chunk of all bytes", CHUNKED + b"100\r\n" + bytes(range(256)) + b"\r\n" + END, OK + b"\r\n" + bytes(range(256))),
    says("a chunk that looks like an end", CHUNKED + b"5\r\n0\r\n\r\n\r\n" + END, OK + b"\r\n0\r\n\r\n"),
    chunks("leading zeros", b"0005\r\nhello\r\n0000\r\n\r\n"),
    chunks("extensions", b'5;a;b=c;d="e\\"f"\r\nhello\r\n0;x=y\r\n\r\n'),
    chunks("a trailer", HELLO + b"0\r\nX-Late: 1\r\n\r\n"),
    chunks("trailers that would matter", HELLO + b"0\r\nSet-Cookie: a=1\r\nContent-Type: x\r\nLocation: /x\r\nStatus: 500\r\n\r\n"),
    chunks("a trailer that closes", HELLO + b"0\r\nConnection: close\r\n\r\n"),
    chunks("a trailer that upgrades", HELLO + b"0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
    says("a trailer that is announced", OK + b"Trailer: X-Late\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO + b"0\r\nX-Late: 1\r\n\r\n", PLAIN),
    says("in capitals", OK + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n" + HELLO + END, PLAIN),
    says("a megabyte", CHUNKED + (b"1000\r\n" + bytes(4096) + b"\r\n") * 256 + END, OK + b"\r\n" + bytes(1_048_576)),
    *(nonsense(f"Transfer-Encoding {text}", OK + b"Transfer-Encoding: " + text.encode() + b"\r\n\r\n" + HELLO + END) for text in (
        "gzip", "identity", "x", "gzip, chunked", "chunked, gzip", "chunked, chunked", "chunkedx", "xchunked", "chunked;q=1", '"chunked"', ",chunked", "chunked,", "", ",")),
    nonsense("two codings", OK + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO + END),
    nonsense("two codings, the other way round", OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n" + HELLO + END),
    nonsense("chunked twice", OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO + END),
    nonsense("a form feed before it", OK + b"Transfer-Encoding: \x0cchunked\r\n\r\n" + HELLO + END),
    nonsense("a fold before it", OK + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + HELLO + END),
]  # fmt: skip
BAD_CHUNKS = [
    *(bad(f"the size {text!r}", text + b"\r\nhello\r\n" + END) for text in (
        b"0x5", b"+5", b"-5", b"5.", b"g", b"x", b"5,5", b"5_0", b"'5'", b"5\xb2", b"10000000000000000", b"10000000000000005", b"f" * 40, b" 5", b"\t5", b"\n5", b"\0" + b"5", b"5\0")),
    bad("no size", b"\r\nhello\r\n" + END),
    bad("bare LF behind the size", b"5\nhello\r\n" + END),
    bad("bare CR behind the size", b"5\rhello\r\n" + END),
    bad("bare LF behind the data", b"5\r\nhello\n" + END),
    bad("nothing behind the data", b"5\r\nhello" + END),
    bad("letters behind the data", b"5\r\nhelloXX" + END),
    bad("one byte too many", b"5\r\nhelloX\r\n" + END),
    bad("one byte too few", b"6\r\nhello\r\n" + END),
    bad("bare LF behind the last size", HELLO + b"0\n\r\n"),
    bad("bare LF at the very end", HELLO + b"0\r\n\n"),
    bad("bare LF in an extension", b"5;x\nhello\r\n" + END),
    bad("bare LF in a quoted extension", b'5;x="\n"\r\nhello\r\n' + END),
    bad("a NUL in an extension", b"5;x\0\r\nhello\r\n" + END),
    bad("a bad trailer", HELLO + b"0\r\nX : y\r\n\r\n"),
    bad("a trailer that is no field", HELLO + b"0\r\nX\r\n\r\n"),
    bad("a trailer with a NUL", HELLO + b"0\r\nX: \0\r\n\r\n"),
    bad("a trailer with a bare LF", HELLO + b"0\r\nX: y\nZ: a\r\n\r\n"),
    bad("an answer instead of a chunk", HELLO + EVIL),
]  # fmt: skip
UNTIL_CLOSE = [  # RFC 9112 §6.3, rule 8: chunks for HTTP/1.1 clients, which then can tell a cut from an end
    says("until the end", OK + b"\r\nhello", PLAIN, end="close"),
    says("until the end, of nothing", OK + b"\r\n", OK + b"\r\n", end="close"),
    says("until the end in HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\nhello", PLAIN, end="close"),
    says("until the end, said so", OK + b"Connection: close\r\n\r\nhello", PLAIN, end="close"),
    says("until the end, a megabyte", OK + b"\r\n" + bytes(1_048_576), OK + b"\r\n" + bytes(1_048_576), end="close"),
    says("until the end, looks like an answer", OK + b"\r\n" + EVIL, OK + b"\r\n" + EVIL, end="close"),
    breaks_off("until a reset", OK + b"\r\nhello", end="reset"),
]
OLD = {"version": b"HTTP/1.0"}
OLD_CLIENTS = [  # RFC 9112 §7.1: never chunks; the end of the connection is the end of what has no length
    says("a length", length(b"5"), **OLD),
    says("chunks", CHUNKED + HELLO + END, PLAIN, **OLD),
    says("chunks and trailers", CHUNKED + HELLO + b"0\r\nX-Late: 1\r\n\r\n", PLAIN, **OLD),
    says("no chunk but the last", CHUNKED + END, OK + b"\r\n", **OLD),
    says("until the end", OK + b"\r\nhello", PLAIN, end="close", **OLD),
    says("204", b"HTTP/1.1 204 No Content\r\n\r\n", **OLD),
    says("304", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", **OLD),
    says("HEAD", length(b"5", b""), method=b"HEAD", **OLD),
    says("HEAD of chunks", CHUNKED, OK + b"\r\n", method=b"HEAD", **OLD),
    says("interim answers before it", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + length(b"5"), length(b"5"), **OLD),
    nonsense("nonsense", b"HTTP/2.0 200 OK\r\n\r\n", **OLD),
]  # fmt: skip
BODILESS = [  # §6.3, rule 1: whatever the fields say
    says("HEAD with a length", length(b"5", b""), method=b"HEAD"),
    says("HEAD with a large length", length(b"5000000000", b""), method=b"HEAD"),
    says("HEAD with a coding", CHUNKED, OK + b"\r\n", method=b"HEAD"),
    says("HEAD with nothing", OK + b"\r\n", method=b"HEAD", kept=None),
    says("HEAD with an error", b"HTTP/1.1 404 X\r\nContent-Length: 5\r\n\r\n", method=b"HEAD"),
    says("204", b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n"),
    says("204 with a length", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),  # §8.6: no length
    says("204 with a length of nothing", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
    says("204 with a coding", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n", kept=None),
    says("304", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"),
    says("304 with a length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
    says("304 with a coding", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\n\r\n", kept=None),
    says("205 with a length of nothing", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
    says("the answer to a POST of nothing", length(b"5"), method=b"POST"),
]  # fmt: skip
LEFT_OVER = [  # hazard D5: bytes behind an answer are nobody's, least of all the next client's
    says(f"behind {name}, {what}", written + more, seen, method=method, kept=None if more == b"\r\n" else False)
    for name, written, seen, method in (
        ("a length", length(b"5"), length(b"5"), b"GET"),
        ("a length of nothing", length(b"0", b""), length(b"0", b""), b"GET"),
        ("the last chunk", CHUNKED + HELLO + END, PLAIN, b"GET"),
        ("the answer to HEAD", length(b"4", b""), length(b"4", b""), b"HEAD"),
        ("the answer of chunks to HEAD", CHUNKED, OK + b"\r\n", b"HEAD"),
        ("204", b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.1 204 No\r\n\r\n", b"GET"),
        ("304", b"HTTP/1.1 304 No\r\nContent-Length: 4\r\n\r\n", b"HTTP/1.1 304 No\r\nContent-Length: 4\r\n\r\n", b"GET"),
        ("an answer that closes", OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", length(b"5"), b"GET"),
    )
    for what, more in (("four bytes", b"evil"), ("an answer", EVIL), ("a line end", b"\r\n"), ("noise", b"\0\1\2"), ("an interim answer", b"HTTP/1.1 100 X\r\n\r\n"))
]  # fmt: skip


@paces()
@table(
    length=LENGTHS, coding=CODINGS, bad_chunk=BAD_CHUNKS, close=UNTIL_CLOSE, old_client=OLD_CLIENTS, bodiless=BODILESS
)
def test_the_body_of_an_answer_ends_where_rfc_9112_says(case: Case, said: Said, pieces: int) -> None:
    check_said(case, said, pieces)


@table(LEFT_OVER)
def test_bytes_behind_an_answer_are_nobody_s(case: Case, said: Said) -> None:
    check_said(case, said)


def test_chunks_on_an_http_1_0_answer_are_faulty_framing(case: Case) -> None:
    """RFC 9112 §6.1: close after it; whether it is read or refused, nobody else is served on that connection."""
    case.reply(Reply((CHUNKED.replace(b"1.1", b"1.0", 1) + HELLO + END,)))
    answer = case.ask(get()).answer()
    case.expect(answer.status in (200, 502), f"got {answer.status}")
    case.expect(answer.status != 200 or answer.body == b"hello", f"got {answer.body!r}")
    case.expect(case.seen[0].gone.wait(PATIENCE), "the connection to the backend stays open")


# -- §8: what breaks off when the client has seen its beginning already
BEGUN = {
    "a length": (length(b"10"), b""),
    "chunks": (CHUNKED + HELLO, b""),
    "a chunk": (CHUNKED + b"a\r\nhello", b""),
    "a bad size": (CHUNKED + HELLO, b"zz\r\n"),
    "a bad end of a chunk": (CHUNKED + HELLO, b"5\r\nworldXX"),
    "a bare LF behind a size": (CHUNKED + HELLO, b"5\nworld\r\n" + END),
    "a bad trailer": (CHUNKED + HELLO, b"0\r\nX : y\r\n\r\n"),
    "the last chunk without its end": (CHUNKED + HELLO, b"0\r\n"),
    "a trailer without its end": (CHUNKED + HELLO, b"0\r\nX: y\r\n"),
    "another answer": (CHUNKED + HELLO, EVIL),
}


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"], ids=["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("how", BEGUN)
def test_an_answer_that_breaks_off_never_looks_whole(case: Case, how: str, end: str, version: bytes) -> None:
    """To HTTP/1.0 the end of the connection is the end of the answer: only a reset says that something is missing."""
    beginning, rest = BEGUN[how]
    case.reply(Reply((beginning, rest), end=end))
    wire = case.ask(request(b"GET " + TARGET + b" " + version, HOST))
    wire.wait_for(b"hello")
    case.seen[0].may_go_on.set()
    answer = wire.answer()
    case.expect(answer.status == 200 and answer.body.startswith(b"hello"), f"got {answer.status} {answer.body!r}")
    case.expect(not answer.whole, f"a cut answer passes for a whole one ({wire.end})")
    case.expect(b"evil" not in wire.received, "what is no chunk was passed on")
    case.expect(b"502" not in wire.received, "a second answer was put into the first")
    case.expect(case.seen[0].gone.wait(PATIENCE), "the connection to the backend stays open")


def test_an_answer_until_the_end_that_is_reset_never_looks_whole(case: Case) -> None:
    for version in (b"HTTP/1.1", b"HTTP/1.0"):
        case.reply(Reply((OK + b"\r\nhello", b" world"), end="reset"))
        wire = case.ask(request(b"GET " + TARGET + b" " + version, HOST))
        wire.wait_for(b"hello")
        case.seen[-1].may_go_on.set()
        answer = wire.answer()
        case.expect(not answer.whole, f"{version.decode()}: a cut answer passes for a whole one ({wire.end})")


# -- answers go to whom they belong, and as they come
def test_nothing_of_an_answer_waits_for_the_rest_of_it(case: Case) -> None:
    case.reply(Reply((CHUNKED + HELLO, b"5\r\nworld\r\n", END)))
    wire = case.ask(get())
    for part in (b"hello", b"world"):
        wire.wait_for(part)
        case.seen[0].may_go_on.set()
    answer = wire.answer()
    case.expect(answer.body == b"helloworld" and answer.whole, f"got {answer.body!r}")


def test_the_head_of_an_answer_does_not_wait_for_its_body(case: Case) -> None:
    for head, rest in ((length(b"5", b""), b"hello"), (CHUNKED, HELLO + END)):
        case.reply(Reply((head, rest)))
        wire = case.ask(get())
        wire.wait_for(b"\r\n\r\n")
        case.seen[-1].may_go_on.set()
        case.expect(wire.answer().body == b"hello", "another body")


def test_what_a_backend_says_without_being_asked_reaches_nobody(case: Case) -> None:
    """A kept connection on which bytes come (a late time-out message, an attack) is given up."""
    case.reply(Reply((length(b"5"), EVIL)))
    wire = case.ask(get())
    case.expect(wire.answer().body == b"hello", "another answer")
    case.seen[0].may_go_on.set()
    case.expect(case.seen[0].gone.wait(PATIENCE), "the connection to the backend stays open")
    case.expect(case.is_usable(wire), "the next request got another answer")


def test_head_and_get_take_turns_on_one_connection_to_the_backend(case: Case) -> None:
    """What a HEAD's length promises must not be waited for, nor eaten from the next answer."""
    wire = case.connect()
    for number in range(10):
        method = b"HEAD" if number % 2 else b"GET"
        case.send(wire, request(method + b" " + TARGET + b"/%d HTTP/1.1" % number, HOST))
        wanted = case.own(TARGET + b"/%d" % number)
        answer = wire.answer(method)
        case.expect(answer.values(b"Content-Length") == [b"%d" % len(wanted)], f"answer {number} has another length")
        case.expect(answer.body == (b"" if number % 2 else wanted), f"answer {number} has another body")
    case.expect(len({one.connection for one in case.seen}) == 1, "the connection was not kept")
