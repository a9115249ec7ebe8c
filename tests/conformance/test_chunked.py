"""RFC 9112 §7: chunks, their sizes, extensions and trailers (hazards P86, A8)."""

from __future__ import annotations

import pytest

from tests.conformance.cases import (
    INNER,
    Row,
    breaks,
    check,
    check_arrived,
    either,
    get,
    paces,
    passes,
    post,
    rows,
)
from tests.conformance.lab import Case

CHUNKED = b"Transfer-Encoding: chunked"
END = b"0\r\n\r\n"


def chunks(body: bytes) -> bytes:
    return post(CHUNKED, body=body)


def good(id: str, body: bytes, arrived: bytes = b"hello") -> Row:
    return passes(id, chunks(body), chunks(arrived))


def bad(id: str, body: bytes) -> Row:
    return breaks(id, chunks(body))


def lax(id: str, body: bytes, arrived: bytes = b"hello") -> Row:
    """§7.1.1 wants it read; a stricter parser says 400. Both are safe."""
    row = either(id, chunks(body), chunks(arrived))
    return Row(row.id, row.sent, row.status, row.reason, row.arrived, row.after)


HELLO = b"5\r\nhello\r\n"
SIZES = [
    good("one chunk", HELLO + END),
    good("five chunks", b"1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n" + END),
    good("a leading zero", b"05\r\nhello\r\n" + END),
    good("many leading zeros", b"0" * 40 + b"5\r\nhello\r\n" + END),
    good("several zeros at the end", HELLO + b"00000\r\n\r\n"),
    good("small letters", b"a\r\n0123456789\r\n" + END, b"0123456789"),
    good("capitals", b"A\r\n0123456789\r\n" + END, b"0123456789"),
    good("a chunk of line ends", b"6\r\n\r\n\r\n\r\n\r\n" + END, b"\r\n\r\n\r\n"),
    good("a chunk that looks like the end", b"5\r\n0\r\n\r\n\r\n" + END, b"0\r\n\r\n"),
    good("a chunk that looks like a request", b"%x\r\n%b\r\n" % (len(INNER), INNER) + END, INNER),
    good("a chunk of all bytes", b"100\r\n" + bytes(range(256)) + b"\r\n" + END, bytes(range(256))),
    *(bad(f"the size {text}", text.encode("latin-1") + b"\r\nhello\r\n" + END) for text in (
        "0x5", "0X5", "+5", "-5", "-1", "5.", "5.0", "5h", "h5", "g", "x", "5,", "5,5", "5_0", "'5'", '"5"', "(5)", "$5", "5%", "\xb2", "٥"[:0] + "\xa05",
        "5\xa0", "&#53;", "5e0,", "0o5", "10000000000000000", "10000000000000005", "100000000000000005", "fffffffffffffffff", "f" * 100,
    )),
    bad("no size", b"\r\nhello\r\n" + END),
    bad("a blank for a size", b" \r\nhello\r\n" + END),
    bad("a blank before the size", b" 5\r\nhello\r\n" + END),
    bad("a tab before the size", b"\t5\r\nhello\r\n" + END),
    bad("a line end before the size", b"\r\n5\r\nhello\r\n" + END),
    bad("a bare LF before the size", b"\n5\r\nhello\r\n" + END),
    bad("a NUL before the size", b"\x005\r\nhello\r\n" + END),
    bad("a NUL behind the size", b"5\0\r\nhello\r\n" + END),
    bad("a blank in the size", b"0 5\r\nhello\r\n" + END),
    bad("a second line end", HELLO + b"\r\n" + END),
    lax("a blank behind the size", b"5 \r\nhello\r\n" + END),
    lax("a tab behind the size", b"5\t\r\nhello\r\n" + END),
    lax("many blanks behind the size", b"5" + b" " * 20 + b"\r\nhello\r\n" + END),
]  # fmt: skip
LINE_ENDS = [  # who reads a bare LF as a line end and who does not see another chunk, and so another request
    bad("bare LF behind the size", b"5\nhello\r\n" + END),
    bad("bare CR behind the size", b"5\rhello\r\n" + END),
    bad("CR CR LF behind the size", b"5\r\r\nhello\r\n" + END),
    bad("LF CR behind the size", b"5\n\rhello\r\n" + END),
    bad("bare LF behind the data", b"5\r\nhello\n" + END),
    bad("bare CR behind the data", b"5\r\nhello\r" + END),
    bad("CR CR LF behind the data", b"5\r\nhello\r\r\n" + END),
    bad("nothing behind the data", b"5\r\nhello" + END),
    bad("two letters behind the data", b"5\r\nhelloXX" + END),
    bad("a blank and LF behind the data", b"5\r\nhello \n" + END),
    bad("one byte too many", b"5\r\nhelloX\r\n" + END),
    bad("one byte too few", b"6\r\nhello\r\n" + END),
    bad("bare LF behind the last size", HELLO + b"0\n\r\n"),
    bad("bare LF at the very end", HELLO + b"0\r\n\n"),
    bad("bare LFs at the end", HELLO + b"0\n\n"),
    bad("bare CR at the very end", HELLO + b"0\r\n\rX"),
    bad("another size than none at the end", HELLO + b"-0\r\n\r\n"),
    bad("bare LFs all over", b"5\nhello\n0\n\n"),
]
EXTENSIONS = [  # §7.1.1: a recipient MUST ignore those it does not know; they end here
    good("a name", b"5;x\r\nhello\r\n" + END),
    good("a name and a value", b"5;x=y\r\nhello\r\n" + END),
    good("a quoted value", b'5;x="a b;c=d"\r\nhello\r\n' + END),
    good("a quoted pair", b'5;x="a\\"b\\\\"\r\nhello\r\n' + END),
    good("several", b'5;a;b=c;d="e"\r\nhello\r\n' + END),
    good("one at the end", HELLO + b"0;x=y\r\n\r\n"),
    good("one of 1,000 bytes", b"5;x=" + b"y" * 1000 + b"\r\nhello\r\n" + END),
    lax("a blank before the semicolon", b"5 ;x\r\nhello\r\n" + END),
    lax("a blank behind the semicolon", b"5; x\r\nhello\r\n" + END),
    lax("blanks around the equals sign", b"5;x = y\r\nhello\r\n" + END),
    lax("a semicolon alone", b"5;\r\nhello\r\n" + END),
    lax("no name", b"5;=y\r\nhello\r\n" + END),
    lax("no value", b"5;x=\r\nhello\r\n" + END),
    lax("a letter of Latin-1 in quotes", b'5;x="\xe9"\r\nhello\r\n' + END),
    bad("a letter of Latin-1", b"5;x=\xe9\r\nhello\r\n" + END),
    bad("a quote that does not end", b'5;x="y\r\nhello\r\n' + END),
    bad("no semicolon", b"5x=y\r\nhello\r\n" + END),
    bad("a NUL", b"5;x\0\r\nhello\r\n" + END),
    bad("a bare LF behind it", b"5;x\nhello\r\n" + END),
    bad("a bare LF in it", b"5;x\ny\r\nhello\r\n" + END),
    bad("a bare LF behind the semicolon", b"5;\nhello\r\n" + END),
    bad("a bare LF behind a value", b"5;x=y\nhello\r\n" + END),
    bad("a bare LF in quotes", b'5;x="\n"\r\nhello\r\n' + END),
    bad("a bare CR in it", b"5;x\ry\r\nhello\r\n" + END),
    bad("a bare CR in quotes", b'5;x="\r"\r\nhello\r\n' + END),
    bad("a bare LF behind it at the end", HELLO + b"0;x\n\r\n"),
]
TRAILERS = [  # §7.1.2: discarded; RFC 9110 §6.5.1: never merged into the header section
    good("one", HELLO + b"0\r\nX-Late: 1\r\n\r\n"),
    good("several", HELLO + b"0\r\nX-Late: 1\r\nX-Later: 2\r\nX-Late: 3\r\n\r\n"),
    good("one without a value", HELLO + b"0\r\nX-Late:\r\n\r\n"),
    good("Host", HELLO + b"0\r\nHost: evil\r\n\r\n"),
    good("two Hosts", HELLO + b"0\r\nHost: evil\r\nHost: b\r\n\r\n"),
    good("the identity", HELLO + b"0\r\nX-Forwarded-User: admin\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"),
    good("what controls", HELLO + b"0\r\nExpect: 100-continue\r\nMax-Forwards: 0\r\nRange: x\r\nTE: x\r\n\r\n"),
    good("what identifies", HELLO + b"0\r\nAuthorization: x\r\nCookie: gw_session=x\r\n\r\n"),
    good(
        "what says how to read it",
        HELLO + b"0\r\nContent-Encoding: gzip\r\nContent-Type: x\r\nContent-Range: x\r\n\r\n",
    ),
    good("Trailer", HELLO + b"0\r\nTrailer: x\r\n\r\n"),
    lax("Content-Length", HELLO + b"0\r\nContent-Length: 5\r\n\r\n"),
    lax("Transfer-Encoding", HELLO + b"0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    lax("Transfer-Encoding that is none", HELLO + b"0\r\nTransfer-Encoding: identity\r\n\r\n"),
    bad("a blank before the colon", HELLO + b"0\r\nX : y\r\n\r\n"),
    bad("no colon", HELLO + b"0\r\nX\r\n\r\n"),
    bad("no name", HELLO + b"0\r\n: x\r\n\r\n"),
    bad("a bare LF", HELLO + b"0\r\nX: y\nZ: a\r\n\r\n"),
    bad("a bare LF at the end", HELLO + b"0\r\nX: y\n\r\n"),
    bad("a NUL", HELLO + b"0\r\nX: a\0b\r\n\r\n"),
    bad("a fold", HELLO + b"0\r\nX: y\r\n z\r\n\r\n"),
    bad("a request", HELLO + b"0\r\n" + INNER),
]


@paces()
@rows(size=SIZES, line_end=LINE_ENDS, extension=EXTENSIONS, trailer=TRAILERS)
def test_a_chunk_is_what_rfc_9112_section_7_says(case: Case, row: Row, pieces: int) -> None:
    if 400 in row.status and 200 in row.status:
        if check_lax(case, row, pieces):
            return
    else:
        check(case, row, pieces)


def check_lax(case: Case, row: Row, pieces: int) -> bool:
    """Refused like a broken body, or read like a good one."""
    answer = case.ask(row.sent, pieces=pieces).answer()
    if answer.status == 200:
        check_arrived(case, [row.arrived or b""])
        return True
    says_so = answer.closes or answer.version == b"HTTP/1.0"
    case.expect(answer.status == 400 and says_so, f"got {answer.status}, closes: {answer.closes}")
    case.expect(not any(exchange.whole for exchange in case.seen), "the backend takes it for a whole request")
    return False


AFTER_TRAILERS = [
    b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: x\r\n",
    b"Connection: keep-alive, X\r\n",
    b"X: y\r\n",
]


@pytest.mark.parametrize("trailer", AFTER_TRAILERS, ids=repr)
def test_a_trailer_says_nothing_about_the_connection(case: Case, trailer: bytes) -> None:
    """llhttp sets the same marks for it as for a header."""
    wire = case.ask(chunks(HELLO + b"0\r\n" + trailer + b"\r\n") + get())
    for number in ("first", "second"):
        answer = wire.answer()
        case.expect(answer.status == 200, f"the {number} got {answer.status}")
    check_arrived(case, [chunks(b"hello"), get()])


def test_trailers_of_one_request_are_no_headers_of_the_next(case: Case) -> None:
    wire = case.connect()
    for _ in range(3):
        case.send(wire, chunks(HELLO + b"0\r\nX-Late: 1\r\nHost: evil\r\n\r\n"))
        case.expect(wire.answer().status == 200, "not answered")
    check_arrived(case, [chunks(b"hello")] * 3)


@pytest.mark.parametrize("endless", [b"5;" + b"x" * 100, b"0\r\nX: " + b"y" * 100, b"0\r\n" + b"X: y\r\n" * 20], ids=["extension", "trailer", "trailers"])  # fmt: skip
def test_a_body_that_only_seems_to_go_on_is_cut_off(case: Case, endless: bytes) -> None:
    """Neither extensions nor trailers are part of a body: no limit of the body's counts them, so another one must."""
    wire = case.ask(chunks(HELLO + endless))
    more = (endless[5:] if endless.startswith(b"0") else endless[2:]) * 100
    for _ in range(400):
        if wire.silence(0.0):
            break
        wire.send(more)
    answer = wire.answer()
    case.expect(answer.status in (400, 413, 431), f"{400 * len(more)} bytes were taken; got {answer.status}")
    case.expect(not any(exchange.whole for exchange in case.seen), "the backend takes it for a whole request")


def test_a_trailer_announced_is_not_announced_to_the_backend(case: Case) -> None:
    wire = case.ask(post(b"Trailer: X-Late", CHUNKED, body=HELLO + b"0\r\nX-Late: 1\r\n\r\n"))
    case.expect(wire.answer().status == 200, "not answered")
    check_arrived(case, [chunks(b"hello")])
