"""RFC 9112 §5: names, whitespace, folding, forbidden bytes; what passes keeps its bytes, its order and its number."""

from __future__ import annotations

import pytest

from tests.conformance.cases import GET, HOST, Row, check, get, paces, passes, refused, request, rows
from tests.conformance.lab import Case

TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
NO_TOKEN = [*range(0x21), *b'"(),/;<=>?@[\\]{}', 0x7F, 0x80, 0x85, 0xA0, 0xAD, 0xC3, 0xE9, 0xFE, 0xFF]
NO_VALUE = [byte for byte in range(256) if (byte < 32 and byte not in (9, 10, 13)) or byte == 127]
NAMES = [
    passes("every character of a token", get(TOKEN + b": x")),
    passes("names keep their letters", get(b"x-a: 1", b"X-A: 2", b"X-a: 3")),
    passes("a name of 1,000 letters", get(b"X" * 1000 + b": y")),
    *(
        refused(f"byte {byte:02x} in a name", get(b"X" + bytes([byte]) + b"Y: z"))
        for byte in NO_TOKEN
        if byte not in b":\r\n"
    ),
    refused("an empty name", get(b": x")),
    refused("a colon alone", get(b":")),
    refused("no colon", get(b"X")),
    refused("no colon, a blank", get(b"X y")),
    refused("a blank before the colon", get(b"X : y")),  # §5.1: a server MUST answer 400
    refused("a tab before the colon", get(b"X\t: y")),
    refused("two blanks before the colon", get(b"X  : y")),
    refused("a blank before the colon of Content-Length", get(b"Content-Length : 5")),
    refused("a blank before the colon of Transfer-Encoding", get(b"Transfer-Encoding : chunked")),
    refused("a request line as a field", get(GET)),
]
VALUES = [
    passes("empty", get(b"X-A:", b"X-B: ", b"X-C: \t "), get(b"X-A: ", b"X-B: ", b"X-C: ")),
    passes("without a blank", get(b"X:y"), get(b"X: y")),
    passes("blanks around", get(b"X:  \t y \t "), get(b"X: y")),
    passes("blanks and tabs inside", get(b"X: a  b\tc")),
    passes("colons", get(b"X: a: b:c", b"Y: :", b"Z: ::")),
    passes("bytes that are not ASCII", get(b"X: " + bytes(range(0x80, 0x100)))),
    passes("UTF-8", get("X: 中文 ☕".encode())),
    passes("no UTF-8", get(b"X: \xc3\x28 \xff\xfe")),
    passes("everything printable", get(b"X: " + bytes(range(0x21, 0x7F)))),
    passes("quotes that do not end", get(b'X: "a', b"Y: b")),
    passes("a value of 8,000 bytes", get(b"X: " + b"y" * 8000)),
    *(refused(f"byte {byte:02x} in a value", get(b"X: a" + bytes([byte]) + b"b")) for byte in NO_VALUE),
    *(refused(f"byte {byte:02x} before a value", get(b"X:" + bytes([byte]) + b"b")) for byte in NO_VALUE),
    *(refused(f"byte {byte:02x} behind a value", get(b"X: b" + bytes([byte]))) for byte in NO_VALUE),
    refused("NUL in an empty value", get(b"X:\0")),
]  # fmt: skip
FOLDED = [  # §5.2: 400, or blanks for the fold
    refused("with a blank", get(b"X: y\r\n z")),
    refused("with a tab", get(b"X: y\r\n\tz")),
    refused("with nothing in the first line", get(b"X:\r\n y")),
    refused("with nothing in the second line", get(b"X: y\r\n ")),
    refused("with a field in it", get(b"X: y\r\n Content-Length: 5")),
    refused("Content-Length", get(b"Content-Length:\r\n 5")),
    refused("Transfer-Encoding", get(b"Transfer-Encoding:\r\n chunked")),
    refused("Transfer-Encoding in its middle", get(b"Transfer-Encoding: chun\r\n ked")),
    refused("the last of all", GET + b"\r\n" + HOST + b"\r\n \r\n\r\n"),
]
KEPT = [  # RFC 9110 §5.3: the order of equal names matters; §5.1: what nobody knows is forwarded
    passes("order and repetition", get(b"X-One: 1", b"x-TWO: 2", b"X-One: 3", b"Accept: a, b", b"X-One: 1", b"Accept: c")),
    passes("fields nobody knows", get(b"Foo-Bar: x", b"!: y", b"0: z")),
    passes("conditions", get(b'If-None-Match: W/"a", "b"', b"If-Modified-Since: x", b'If-Match: *', b"If-Range: y", b"Range: bytes=0-1")),
    passes("what is negotiated", get(b"Accept: text/html;q=0.9, */*", b"Accept-Language: zh", b"Accept-Encoding: gzip, br", b"Accept-Charset: x")),
    passes("who asks with what", get(b"User-Agent: x/1 (y)", b"Referer: http://a.example/", b"Origin: null", b"DNT: 1", b"From: a@b")),
    passes("cookies", get(b"Cookie: a=1; b=\"2; 3\"", b"Cookie: c=4", b"Cookie: ;;d=\xff")),
    passes("caches", get(b"Cache-Control: no-cache", b"Pragma: no-cache")),
    passes("other servers' hop count", get(b"CDN-Loop: a", b"Via: 1.1 a", b"Via: 1.0 b (c)")),
    passes("ninety fields", get(*(b"X-%d: y" % number for number in range(88)))),
]  # fmt: skip
UNDERSCORED = [  # hazard A6: CGI, WSGI and PHP read these as the real thing
    passes(f"{name.decode()} is no header of that name", get(name + b": 5", b"X-A: 1"), get(b"X-A: 1"))
    for name in (
        b"Content_Length", b"content.length", b"Transfer_Encoding", b"TRANSFER.ENCODING", b"X_Forwarded_For", b"X.Forwarded.User",
        b"Remote_User", b"X_Real_IP", b"X_Request_Id", b"Proxy", b"Keep_Alive", b"Content_Type",
    )
]  # fmt: skip


@paces()
@rows(NAMES, VALUES, FOLDED, KEPT, UNDERSCORED)
def test_a_field_is_what_rfc_9112_section_5_says(case: Case, row: Row, pieces: int) -> None:
    check(case, row, pieces)


@pytest.mark.parametrize("cut", [b"X: a\r", b"X: a\r\n", b"X:", b"X", b"X: a\r\n\r"], ids=repr)
def test_a_head_that_is_cut_off_is_nobody_s_request(case: Case, cut: bytes) -> None:
    wire = case.ask(GET + b"\r\n" + HOST + b"\r\n" + cut)
    wire.half_close()
    answer = wire.answer()
    case.expect(answer.status in (0, 400, 408), f"got {answer.status}")
    case.expect(not case.seen, "the backend heard of it")


ADDED = [
    b"X-Forwarded-For: 127.0.0.1",
    b"X-Forwarded-Proto: http",
    b"X-Forwarded-Host: a.example",
    b"X-Forwarded-Port: 80",
]


def test_what_the_gateway_adds_stands_behind_what_the_client_sent(case: Case) -> None:
    wire = case.ask(get(b"X-A: 1", b"Via: 1.0 other", b"X-B: 2"))
    case.expect(wire.answer().status == 200, "not answered")
    lines = case.arrived()[0].lines
    case.expect(lines[2:5] == [b"X-A: 1", b"Via: 1.0 other", b"X-B: 2"], "the client's fields come first")
    case.expect(lines[5:9] == ADDED, f"then {ADDED}")
    case.expect(lines[9].startswith(b"X-Request-Id: ") and len(lines[9]) > 24, "then the id")
    case.expect(lines[10:] == [b"Via: 1.1 auth-gateway"], "and at the end Via (RFC 9110 §7.6.3: behind those before)")


def test_a_request_in_http_1_0_is_named_so_in_via(case: Case) -> None:
    """RFC 9110 §7.6.3: received-protocol is the protocol of the message that was received."""
    wire = case.ask(request(GET.replace(b"1.1", b"1.0"), HOST))
    case.expect(wire.answer().status == 200, "not answered")
    case.expect(case.arrived()[0].values(b"Via") == [b"1.0 auth-gateway"], "Via names another version")


def test_no_two_requests_have_the_same_id(case: Case) -> None:
    wire = case.connect()
    for _ in range(20):
        case.send(wire, get(b"X-Request-Id: chosen"))
        case.expect(wire.answer().status == 200, "not answered")
    ids = [value for exchange in case.arrived(20) for value in exchange.values(b"X-Request-Id")]
    case.expect(len(set(ids)) == 20 and b"chosen" not in ids, f"ids: {ids}")
