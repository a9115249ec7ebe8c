"""RFC 9112 §11.2: the tricks with which one request becomes two. Whatever the answer, the inner one never comes to life:
not at the backend, not as an answer; and the next client on the same connection to the backend gets its own answer.
"""

from __future__ import annotations

from tests.conformance.cases import (
    GET,
    HOST,
    INNER,
    POST,
    TARGET,
    Row,
    get,
    paces,
    post,
    request,
    rows,
)
from tests.conformance.lab import Case

CHUNKED = b"Transfer-Encoding: chunked"
END = b"0\r\n\r\n"
SIZE = b"%x" % len(INNER)


def trick(id: str, sent: bytes) -> Row:
    return Row(id, sent, (200, 400, 501, 505))


def cl(value: int, *lines: bytes, body: bytes) -> bytes:
    return post(b"Content-Length: %d" % value, *lines, body=body)


def chunked(body: bytes, *lines: bytes) -> bytes:
    return post(CHUNKED, *lines, body=body)


TWO_FRAMINGS = [
    trick("CL.TE", cl(len(END + INNER), CHUNKED, body=END + INNER)),
    trick("TE.CL", post(CHUNKED, b"Content-Length: 4", body=SIZE + b"\r\n" + INNER + b"\r\n" + END)),
    trick("CL.TE with a length of nothing", cl(0, CHUNKED, body=END + INNER)),
    trick("TE.CL with a length of nothing", post(CHUNKED, b"Content-Length: 0", body=SIZE + b"\r\n" + INNER + b"\r\n" + END)),
    trick("CL.CL", post(b"Content-Length: 0", b"Content-Length: %d" % len(INNER), body=INNER)),
    trick("CL.CL the other way round", post(b"Content-Length: %d" % len(INNER), b"Content-Length: 0", body=INNER)),
    trick("CL list", post(b"Content-Length: 0, %d" % len(INNER), body=INNER)),
    trick("CL.0 on GET", get(b"Content-Length: %d" % len(INNER)) + INNER),
    trick("CL.0 on HEAD", request(GET.replace(b"GET", b"HEAD"), HOST, b"Content-Length: %d" % len(INNER), body=INNER)),
    trick("CL.0 on DELETE", request(GET.replace(b"GET", b"DELETE"), HOST, b"Content-Length: %d" % len(INNER), body=INNER)),
    trick("CL.0 on OPTIONS", request(GET.replace(b"GET", b"OPTIONS"), HOST, b"Content-Length: %d" % len(INNER), body=INNER)),
    trick("CL.0 on TRACE", request(GET.replace(b"GET", b"TRACE"), HOST, b"Content-Length: %d" % len(INNER), body=INNER)),
    trick("CL.0 through Connection", cl(len(INNER), b"Connection: Content-Length", body=INNER)),
    trick("CL.0 through Connection, in other letters", cl(len(INNER), b"Connection: keep-alive, content-LENGTH", body=INNER)),
    trick("TE.0 through Connection", chunked(SIZE + b"\r\n" + INNER + b"\r\n" + END, b"Connection: Transfer-Encoding")),
    trick("CL.TE through Connection", cl(len(END + INNER), CHUNKED, b"Connection: Transfer-Encoding", body=END + INNER)),
    trick("TE.CL through Connection", post(CHUNKED, b"Content-Length: 4", b"Connection: Content-Length", body=SIZE + b"\r\n" + INNER + b"\r\n" + END)),
    trick("0.CL with Expect", post(b"Expect: 100-continue", b"Content-Length: %d" % len(INNER), body=INNER)),
    trick("0.CL with an odd Expect", post(b"Expect: y 100-continue", b"Content-Length: %d" % len(INNER), body=INNER)),
    trick("0.CL with Expect on GET", get(b"Expect: 100-continue", b"Content-Length: %d" % len(INNER)) + INNER),
    trick("0.CL with an upgrade", cl(len(INNER), b"Connection: Upgrade", b"Upgrade: h2c", body=INNER)),
    trick("a length in HTTP/1.0 with chunks", request(POST.replace(b"1.1", b"1.0"), HOST, CHUNKED, b"Content-Length: 4", body=END + INNER)),
]  # fmt: skip
HIDDEN = [  # TE.TE: a coding that one of two programs does not see
    trick(f"hidden by {name}", post(b"Content-Length: %d" % len(END + INNER), line, body=END + INNER))
    for name, line in {
        "a blank before the colon": b"Transfer-Encoding : chunked",
        "a tab before the colon": b"Transfer-Encoding\t: chunked",
        "a vertical tab before the value": b"Transfer-Encoding:\x0bchunked",
        "a form feed before the value": b"Transfer-Encoding:\x0cchunked",
        "a no-break space before the value": b"Transfer-Encoding: \xa0chunked",
        "a blank before the name": b" Transfer-Encoding: chunked",
        "a field before it": b"X: y\r\n Transfer-Encoding: chunked",
        "a bare LF before it": b"X: y\nTransfer-Encoding: chunked",
        "a bare CR before it": b"X: y\rTransfer-Encoding: chunked",
        "a fold": b"Transfer-Encoding:\r\n chunked",
        "a fold in its name": b"Transfer-\r\n Encoding: chunked",
        "a NUL in its name": b"Transfer-Encoding\0: chunked",
        "a NUL in its value": b"Transfer-Encoding: chunked\0",
        "an underscore": b"Transfer_Encoding: chunked",
        "a dot": b"Transfer.Encoding: chunked",
        "a letter of Latin-1 in its name": b"Transfer-Encod\xefng: chunked",
        "a long s": "Tranſfer-Encoding: chunked".encode(),
        "a Kelvin sign": "Transfer-Encoding: chunKed".replace("K", "\u212a").encode(),
        "quotes": b'Transfer-Encoding: "chunked"',
        "a parameter": b"Transfer-Encoding: chunked;x",
        "a comma behind": b"Transfer-Encoding: chunked,",
        "a comma before": b"Transfer-Encoding: ,chunked",
        "a word before": b"Transfer-Encoding: x chunked",
        "a second line": b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "a second line of identity": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "an empty first line": b"Transfer-Encoding:\r\nTransfer-Encoding: chunked",
        "another header's value": b"X: \r\n\tTransfer-Encoding: chunked",
        "TE": b"TE: chunked",
        "no colon": b"Transfer-Encoding chunked",
        "the colon twice": b"Transfer-Encoding:: chunked",
        "no hyphen": b"TransferEncoding: chunked",
        "two hyphens": b"Transfer--Encoding: chunked",
    }.items()
]  # fmt: skip
LENGTHS = [
    trick(f"Content-Length {shape!r}", post(b"Content-Length:" + shape % len(INNER), body=INNER))
    for shape in (
        b" +%d", b" -%d", b" 0x%x", b" %d.", b" %d,", b" ,%d", b" %d;", b" %d 0", b" 0 %d", b" %d, 0", b" 00%d", b"\x0b%d", b" %d\x0b",
        b" %d\0", b"\0%d", b" %dL", b" %d\xa0", b"\xa0%d", b" 0\r\n %d", b" '%d'", b" 1%020d", b" %d_", b" 0\rContent-Length: %d",
        b" 0\nContent-Length: %d", b" %d\r\nContent_Length: 0", b" 0\r\nContent-Length : %d", b" 0\r\n Content-Length: %d",
    )
] + [trick("Content-Length that overflows to nothing", post(b"Content-Length: 18446744073709551616", body=INNER))]  # fmt: skip
CHUNKS = [  # who ends a chunk's line elsewhere finds another request in the data ("funky chunks", 2025)
    trick("TERM.EXT", chunked(b"5;\nxxxxx\r\n" + SIZE + b"\r\n" + END + INNER)),
    trick("EXT.TERM", chunked(SIZE + b";\n\r\n" + INNER + b"\r\n" + END)),
    trick("TERM.EXT with a name", chunked(b"2;x\nxx\r\n%x\r\n" % (len(INNER) + 5) + END + INNER + b"\r\n" + END)),
    trick("TERM.EXT with a bare CR", chunked(b"2;x\rxx\r\n%x\r\n" % (len(INNER) + 5) + END + INNER + b"\r\n" + END)),
    trick("TERM.SPILL", chunked(b"5\r\nhello\n%x\r\n" % (len(INNER) + 7) + END + INNER + b"\r\n" + END)),
    trick("SPILL.TERM", chunked(b"5\r\nhelloXX%x\r\n" % (len(INNER) + 7) + END + INNER + b"\r\n" + END)),
    trick("two bytes whatever they are behind the data", chunked(b"2\r\nxxAA" + SIZE + b"\r\n" + INNER + b"\r\n" + END)),
    trick("one byte behind the data", chunked(b"2\r\nxx\n" + SIZE + b"\r\n" + INNER + b"\r\n" + END)),
    trick("no bytes behind the data", chunked(b"2\r\nxx0\r\n\r\n" + INNER)),
    trick("a bare LF behind the last size", chunked(b"0\n\r\n" + INNER)),
    trick("bare LFs at the end", chunked(b"0\n\n" + INNER)),
    trick("a bare LF as the last line", chunked(b"0\r\n\n" + INNER)),
    trick("a bare CR as the last line", chunked(b"0\r\n\r" + INNER)),
    trick("no last line", chunked(b"0\r\n" + INNER)),
    trick("a size that overflows", chunked(b"1000000000000000a\r\n0123456789\r\n" + END + INNER)),
    trick("a size that overflows to nothing", chunked(b"10000000000000000\r\n\r\n" + INNER)),
    trick("a negative size", chunked(b"-%x\r\n" % len(INNER) + INNER)),
    trick("a size with a sign", chunked(b"+0\r\n\r\n" + INNER)),
    trick("a size with 0x", chunked(b"0x0\r\n\r\n" + INNER)),
    trick("a size with an underscore", chunked(b"0_0\r\n\r\n" + INNER)),
    trick("a size with a blank", chunked(b"0 1\r\n\r\n" + INNER)),
    trick("a size in Arabic digits", chunked("٠\r\n\r\n".encode() + INNER)),
    trick("a NUL for a size", chunked(b"\0\r\n\r\n" + INNER)),
    trick("no size", chunked(b"\r\n\r\n" + INNER)),
    trick("a semicolon for a size", chunked(b";\r\n\r\n" + INNER)),
    trick("an extension that looks like the end", chunked(b"5;\r\n0\r\n\r\n\r\n" + INNER)),
    trick("an extension with a quoted line end", chunked(b'0;x="\r\n\r\n' + INNER.replace(b"\r\n\r\n", b'"\r\n\r\n'))),
    trick("a request as trailers", chunked(b"0\r\n" + INNER)),
    trick("a trailer that frames", chunked(b"0\r\nContent-Length: %d\r\n\r\n" % len(INNER) + b"")),
    trick("a trailer that chunks", chunked(b"0\r\nTransfer-Encoding: chunked\r\n\r\n")),
]  # fmt: skip
LINES = [
    trick("a request in a header", get(b"X: y\n\n" + INNER)),
    trick("a request behind a bare CR", get(b"X: y\r\r" + INNER)),
    trick("a request behind an empty header", get(b"X:\r\n\n" + INNER)),
    trick("a request in the target", request(GET.replace(b" HTTP", b"?x%0d%0a%0d%0a HTTP"), HOST)),
    trick("line ends in the target", request(b"GET " + TARGET + b"\r\nX: HTTP/1.1", HOST)),
    trick("a vertical tab for a blank", request(b"GET\x0b" + TARGET + b"\x0bHTTP/1.1", HOST)),
    trick("a target in another's version", request(b"GET " + TARGET + b" HTTP/1.1 " + TARGET + b"/smuggled HTTP/1.1", HOST)),
    trick("two Hosts", request(GET, HOST, b"Host: evil")),
    trick("a tunnel", request(b"CONNECT a.example:80 HTTP/1.1", HOST) + INNER),
    trick("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + INNER),
    trick("RTSP", request(GET.replace(b"HTTP/", b"RTSP/"), HOST, b"Content-Length: %d" % len(INNER), body=INNER)),
    trick("no version", request(b"GET " + TARGET, HOST, b"Content-Length: %d" % len(INNER), body=INNER)),
]  # fmt: skip

SMUGGLED = b"/public/CASE0000/smuggled"


@paces()
@rows(TWO_FRAMINGS, HIDDEN, LENGTHS, CHUNKS, LINES)
def test_no_request_comes_out_of_another(case: Case, row: Row, pieces: int) -> None:
    wire = case.ask(row.sent, pieces=pieces)
    if not wire.is_answered(0.3):  # it waits for the rest of a body, which is one way to be safe
        wire.half_close()
    answer = wire.answer(row.method)
    case.expect(answer.status in (*row.status, 0, 405, 408, 417), f"got {answer.status} {answer.reason}")
    if answer.status and (answer.closes or answer.version == b"HTTP/1.0"):
        case.expect(wire.rest() == b"", "another answer came behind the first")
    elif answer.status:
        case.expect(case.is_usable(wire), "another answer came behind the first, or none to the next request")
    again = case.own(b"/public/CASE0000/again")
    targets = [exchange.target for exchange in case.seen if exchange.target != again]
    case.expect(case.own(SMUGGLED) not in targets, "the inner request came to the backend")
    case.expect(len(targets) < 2, "two requests came to the backend")
    victim = case.ask(get(b"X-Victim: 1").replace(TARGET, TARGET + b"/victim")).answer()
    case.expect(victim.body == case.own(TARGET + b"/victim"), f"the next client got {victim.status} {victim.body!r}")


def test_a_request_for_another_client_cannot_be_put_on_the_backend_s_connection(case: Case) -> None:
    """Many at once, so that connections to the backend are shared; each client must get its own answer."""
    attacks = [row for row in (*TWO_FRAMINGS, *CHUNKS) if len(row.sent) < 1000]
    for number, row in enumerate(attacks):
        wire = case.connect(5)
        wire.send(case.own(row.sent))
        own = TARGET + b"/%d" % number
        answer = case.ask(get(start=b"GET " + own + b" HTTP/1.1")).answer()
        case.expect(answer.body == case.own(own), f"behind {row.id} another client got {answer.status} {answer.body!r}")
    case.expect(case.own(SMUGGLED) not in [exchange.target for exchange in case.seen], "an inner request came to life")
    if not case.wrong:
        case.sent.clear()
