"""RFC 9112 §6: where the body of a request ends. Two answers to that are what request smuggling lives on."""

from __future__ import annotations

from tests.conformance.cases import (
    HOST,
    INNER,
    TARGET,
    Row,
    breaks,
    check,
    either,
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
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
OLD = b"POST " + TARGET + b" HTTP/1.0"


def length(value: bytes, body: bytes = b"hello") -> bytes:
    return post(b"Content-Length: " + value, body=body)


def coding(value: bytes, *more: bytes, body: bytes = CHUNKS) -> bytes:
    return post(b"Transfer-Encoding: " + value, *more, body=body)


AS_CHUNKS = post(CHUNKED, body=b"hello")
LENGTHS = [  # §6.2: 1*DIGIT, and nothing else
    passes("a length", length(b"5")),
    passes("zero", length(b"0", b"")),
    passes("no body at all", post()),
    passes("blanks around it", length(b" \t5 \t"), length(b"5")),
    passes("without a blank", post(b"Content-Length:5", body=b"hello"), length(b"5")),
    passes("a name in other letters", post(b"CONTENT-length: 5", body=b"hello")),
    passes("a body of all bytes", length(b"256", bytes(range(256)))),
    passes("a body that looks like a request", length(b"%d" % len(INNER), INNER)),
    passes("a body of line ends", length(b"8", b"\r\n\r\n\n\r\r\n")),
    passes("an empty line behind the body", length(b"5", b"hello\r\n"), length(b"5")),  # §2.2: old clients send it
    either("leading zeros", length(b"005"), length(b"005")),
    either("thirty leading zeros", length(b"0" * 30 + b"5"), length(b"0" * 30 + b"5")),
    *(refused(f"Content-Length {text}", length(text.encode())) for text in (
        "+5", "-5", "-0", "+0", "0x5", "0x0", "5.", "5.0", ".5", "5e0", "1e1", "5_0", "5,", ",5", "5,5", "5, 5", "5,6", "5;5", "5;x",
        "5 5", "5\t5", "5 0", "'5'", '"5"', "(5)", "5h", "h", "05h", "five", "5\xb2", "\xb2", "٥", "５", "NaN", "Infinity", "null",
        "true", "18446744073709551616", "18446744073709551621", "4294967296000000000005", "9" * 100,
    )),
    refused("empty", post(b"Content-Length:", body=b"hello")),
    refused("of blanks", post(b"Content-Length: \t ", body=b"hello")),
    refused("a form feed behind it", length(b"5\x0c")),
    refused("a vertical tab before it", length(b"\x0b5")),
    refused("a NUL behind it", length(b"5\0")),
    refused("a no-break space behind it", length(b"5\xa0")),
    refused("twice, different", post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!")),
    refused("twice, different, the other way round", post(b"Content-Length: 6", b"Content-Length: 5", body=b"hello!")),
    refused("twice, the same", post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello")),
    refused("twice, in other letters", post(b"Content-Length: 5", b"CONTENT-LENGTH: 5", body=b"hello")),
    refused("twice, one empty", post(b"Content-Length: 5", b"Content-Length:", body=b"hello")),
    refused("twice, zero and five", post(b"Content-Length: 0", b"Content-Length: 5", body=b"hello")),
    refused("twice, five and 05", post(b"Content-Length: 5", b"Content-Length: 05", body=b"hello")),
    refused("twice, far apart", post(b"Content-Length: 5", *[b"X: y"] * 20, b"Content-Length: 6", body=b"hello!")),
    refused("three times", post(*[b"Content-Length: 5"] * 3, body=b"hello")),
]  # fmt: skip
CODINGS = [  # §6.1
    passes("chunked", coding(b"chunked"), AS_CHUNKS),
    passes("in capitals", coding(b"CHUNKED"), AS_CHUNKS),
    passes("in mixed letters", coding(b"cHuNkEd"), AS_CHUNKS),
    passes("blanks before it", coding(b" \t chunked"), AS_CHUNKS),
    passes("without a blank before it", post(b"Transfer-Encoding:chunked", body=CHUNKS), AS_CHUNKS),
    passes("a blank behind it", coding(b"chunked "), AS_CHUNKS),
    passes("a name in other letters", post(b"TRANSFER-encoding: chunked", body=CHUNKS), AS_CHUNKS),
    passes("no chunk but the last", coding(b"chunked", body=b"0\r\n\r\n"), post(CHUNKED)),
    either("a tab behind it", coding(b"chunked\t"), AS_CHUNKS),
    *(Row(f"Transfer-Encoding {text}", coding(text.encode("latin-1")), (400, 501), "", None, "closed") for text in (
        "gzip", "deflate", "compress", "identity", "x", "chunk", "chunkedd", "xchunked", "chunked1", "chunked;q=1", "chunked; x=y",
        '"chunked"', "'chunked'", "chu nked", "chunked\xa0", "\xa0chunked", "chunked.", "[chunked]", "chunked/1", "c", "none", "0",
        "gzip, chunked", "gzip,chunked", "identity, chunked", "chunked, gzip", "chunked, identity", "chunked, chunked", "chunked,chunked",
        ",chunked", "chunked,", ", chunked", "chunked, ", ",", ",,chunked", "trailers, chunked", "chunked chunked", "chunked\tchunked",
    )),
    refused("empty, with a length", post(b"Transfer-Encoding:", b"Content-Length: 5", body=b"hello")),
    refused("of blanks, with a length", post(b"Transfer-Encoding: \t", b"Content-Length: 5", body=b"hello")),
    refused("empty", post(b"Transfer-Encoding:", body=CHUNKS)),
    refused("a vertical tab before it", coding(b"\x0bchunked")),
    refused("a form feed behind it", coding(b"chunked\x0c")),
    refused("a NUL behind it", coding(b"chunked\0")),
    refused("a bare CR before it", coding(b"\rchunked")),
    refused("a bare LF before it", coding(b"\nchunked")),
    *(Row(f"twice: {one}, {two}", post(b"Transfer-Encoding: " + one.encode(), b"Transfer-Encoding: " + two.encode(), body=CHUNKS),
          (400, 501), "", None, "closed")
      for one, two in (("chunked", "chunked"), ("chunked", "identity"), ("identity", "chunked"), ("gzip", "chunked"), ("chunked", "gzip"),
                       ("", "chunked"), ("chunked", ""), ("x", "chunked"))),
]  # fmt: skip
BOTH = [  # §6.1: smuggling or response splitting; ought to be handled as an error
    refused("length, coding", post(b"Content-Length: 15", CHUNKED, body=CHUNKS)),
    refused("coding, length", post(CHUNKED, b"Content-Length: 15", body=CHUNKS)),
    refused("length 0, coding", post(b"Content-Length: 0", CHUNKED, body=CHUNKS)),
    refused("far apart", post(CHUNKED, *[b"X: y"] * 20, b"Content-Length: 15", body=CHUNKS)),
    refused("in other letters", post(b"content-length: 15", b"transfer-encoding: CHUNKED", body=CHUNKS)),
    refused("twice a length, a coding", post(b"Content-Length: 15", b"Content-Length: 15", CHUNKED, body=CHUNKS)),
    *(Row(f"a length and {text!r}", post(b"Content-Length: 15", b"Transfer-Encoding: " + text.encode("latin-1"), body=CHUNKS),
          (400, 501), "", None, "closed")
      for text in ("identity", "gzip", "xchunked", "chunked ", "chunked\t", "x, chunked", "chunked, x", ",", "\xa0chunked")),
    refused("on GET", get(b"Content-Length: 15", CHUNKED) + CHUNKS),
]  # fmt: skip
OLD_ONES = [  # §6.1: Transfer-Encoding in HTTP/1.0 is faulty framing, even with a length
    passes("a length on 1.0", request(OLD, HOST, b"Content-Length: 5", body=b"hello"), length(b"5"), "closed"),
    passes("nothing on 1.0", request(OLD, HOST), post(), "closed"),
    refused("chunked on 1.0", request(OLD, HOST, CHUNKED, body=CHUNKS)),
    refused("chunked and a length on 1.0", request(OLD, HOST, CHUNKED, b"Content-Length: 15", body=CHUNKS)),
    refused("chunked and keep-alive on 1.0", request(OLD, HOST, CHUNKED, b"Connection: keep-alive", body=CHUNKS)),
    Row("identity on 1.0", request(OLD, HOST, b"Transfer-Encoding: identity"), (400, 501), "", None, "closed"),
    refused("two lengths on 1.0", request(OLD, HOST, b"Content-Length: 5", b"Content-Length: 6", body=b"hello!")),
]
ANY_METHOD = [  # RFC 9112 §6: a body is where its framing says, whatever the method
    *(passes(f"a length on {name}", request(f"{name} /public/CASE0000 HTTP/1.1".encode(), HOST, b"Content-Length: 5", body=b"hello"))
      for name in ("GET", "HEAD", "DELETE", "OPTIONS", "PUT", "PATCH", "PROPFIND", "QUERY")),
    *(passes(f"chunks on {name}", request(f"{name} /public/CASE0000 HTTP/1.1".encode(), HOST, CHUNKED, body=CHUNKS),
             request(f"{name} /public/CASE0000 HTTP/1.1".encode(), HOST, CHUNKED, body=b"hello"))
      for name in ("GET", "HEAD", "DELETE", "OPTIONS", "PUT", "PATCH", "PROPFIND", "QUERY")),
    passes("a length of nothing on GET", get(b"Content-Length: 0")),
    passes("a request inside the body of GET", get(b"Content-Length: %d" % len(INNER)) + INNER),
    passes("a request inside a chunk of GET", get(CHUNKED) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(INNER), INNER), get(CHUNKED) + INNER),
    passes("no body is promised by a type", post(b"Content-Type: text/plain")),
    passes("multipart/byteranges frames nothing", post(b"Content-Type: multipart/byteranges; boundary=x", b"Content-Length: 5", body=b"hello")),
]  # fmt: skip
UPGRADED = [  # llhttp reads no body behind an upgrade: what is left would be the next request, here or at the backend
    passes("an upgrade with a length", post(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 5", body=b"hello"), length(b"5"), "closed"),
    passes("an upgrade with chunks", post(b"Connection: Upgrade", b"Upgrade: x", CHUNKED, body=CHUNKS), AS_CHUNKS, "closed"),
    refused("a WebSocket with chunks", post(b"Connection: Upgrade", b"Upgrade: websocket", CHUNKED, body=CHUNKS)),
    refused("a WebSocket with a length", get(b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 5") + b"hello"),
    refused("a WebSocket with a wrong key and a request behind it", get(b"Connection: keep-alive, Upgrade", b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: x") + INNER),
    passes("an upgrade with a request as its body", post(b"Upgrade: x", b"Connection: upgrade", b"Content-Length: %d" % len(INNER), body=INNER),
           length(b"%d" % len(INNER), INNER), "closed"),
    passes("an upgrade with a length of nothing", post(b"Connection: Upgrade", b"Upgrade: x", b"Content-Length: 0"), length(b"0", b""), "closed"),
    passes("an upgrade and a request behind it", get(b"Connection: Upgrade", b"Upgrade: h2c") + INNER, get(), "closed"),
    passes("an upgrade, a body and a request behind it", post(b"Connection: Upgrade", b"Upgrade: x", b"Content-Length: 5", body=b"hello" + INNER),
           length(b"5"), "closed"),
    passes("Upgrade that Connection does not name", post(b"Upgrade: x", b"Content-Length: 5", body=b"hello"), length(b"5"), "as it says"),
    passes("Connection that names no Upgrade", post(b"Connection: Upgrade", b"Content-Length: 5", body=b"hello"), length(b"5"), "as it says"),
    refused("an upgrade with two framings", post(b"Connection: Upgrade", b"Upgrade: x", b"Content-Length: 15", CHUNKED, body=CHUNKS)),
    refused("an upgrade with a bad length", post(b"Connection: Upgrade", b"Upgrade: x", b"Content-Length: +5", body=b"hello")),
    breaks("an upgrade with a bad chunk", post(b"Connection: Upgrade", b"Upgrade: x", CHUNKED, body=b"5\r\nhelloX\r\n0\r\n\r\n")),
]  # fmt: skip


@paces()
@rows(ANY_METHOD, UPGRADED, length=LENGTHS, coding=CODINGS, both=BOTH, HTTP_1_0=OLD_ONES)
def test_the_end_of_a_body_is_where_rfc_9112_section_6_says(case: Case, row: Row, pieces: int) -> None:
    check(case, row, pieces)


def test_a_body_that_never_ends_reaches_nobody_as_whole(case: Case) -> None:
    """RFC 9112 §8: an incomplete request. The backend must be able to tell it from a whole one."""
    for body in (
        b"Content-Length: 10\r\n\r\nhello",
        CHUNKED + b"\r\n\r\n5\r\nhello\r\n",
        CHUNKED + b"\r\n\r\nffffffffffffffff\r\nhello",
    ):
        wire = case.ask(b"POST " + TARGET + b" HTTP/1.1\r\n" + HOST + b"\r\n" + body)
        wire.half_close()
        case.expect(wire.answer().status in (0, 400, 408), f"answered: {wire.received!r}")
    case.expect(not any(exchange.whole for exchange in case.seen), "a cut request came to the backend as a whole one")
    for exchange in case.seen:
        case.expect(exchange.gone.wait(5), "the connection to the backend stays open")


def test_a_large_body_arrives_whole(case: Case) -> None:
    data = bytes(range(256)) * 8192
    wire = case.ask(length(b"%d" % len(data), data))
    case.expect(wire.answer().status == 200, "not answered")
    case.expect(case.arrived()[0].body == data, "another body came to the backend")
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(data[at : at + 5000]), data[at : at + 5000]) for at in range(0, len(data), 5000)
    )
    wire = case.ask(post(CHUNKED, body=chunks + b"0\r\n\r\n"))
    case.expect(wire.answer().status == 200, "not answered")
    case.expect(case.arrived(2)[1].body == data, "another body came to the backend")
    case.sent.clear()
