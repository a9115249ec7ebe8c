"""RFC 9112 §2: message format, line ends, versions."""

from __future__ import annotations

import pytest

from tests.conformance.cases import (
    GET,
    HOST,
    POST,
    TARGET,
    Row,
    check,
    either,
    get,
    no_request,
    paces,
    passes,
    post,
    refused,
    request,
    rows,
)
from tests.conformance.lab import Case

EMPTY_LINES = [  # §2.2: at least one CRLF before a request line SHOULD be ignored
    passes("one empty line", b"\r\n" + get(), get()),
    passes("three empty lines", b"\r\n\r\n\r\n" + get(), get()),
    either("an empty line of a bare LF", b"\n" + get(), get()),
    either("an empty line of a bare CR", b"\r" + get(), get()),
    no_request("a blank before the request line", b" " + get()),
    no_request("a tab before the request line", b"\t" + get()),
    no_request("a NUL before the request line", b"\0" + get()),
    no_request("a byte order mark", b"\xef\xbb\xbf" + get()),
    no_request("a header before the request line", HOST + b"\r\n" + get()),
]
LINE_ENDS = [  # §2.2: a bare CR is never a line end; a bare LF may be taken for one, and is not here
    refused("bare LF behind the request line", GET + b"\n" + HOST + b"\r\n\r\n"),
    refused("bare LF behind a field", GET + b"\r\n" + HOST + b"\n\r\n"),
    refused("bare LF between two fields", get(b"X: a\nY: b")),
    refused("bare LF as the empty line", GET + b"\r\n" + HOST + b"\r\n\n"),
    refused("bare LF twice", GET + b"\r\n" + HOST + b"\n\n"),
    refused("bare LF everywhere", GET + b"\n" + HOST + b"\n\n"),
    refused("bare CR behind the request line", GET + b"\r" + HOST + b"\r\n\r\n"),
    refused("bare CR behind a field", GET + b"\r\n" + HOST + b"\rX: y\r\n\r\n"),
    refused("bare CR in a value", get(b"X: a\rb")),
    refused("bare CR at the end of a value", get(b"X: a\r")),
    refused("bare CR before a name", get(b"\rX: a")),
    refused("bare CR as the empty line", GET + b"\r\n" + HOST + b"\r\n\rX"),
    refused("CR CR LF", GET + b"\r\n" + HOST + b"\r\r\n\r\n"),
    refused("LF CR", GET + b"\n\r" + HOST + b"\n\r\n\r"),
    refused("blank line of blanks", GET + b"\r\n" + HOST + b"\r\n  \r\n\r\n"),
    refused("whitespace before the first field", request(GET, b" " + HOST)),  # §2.2: reject or drop the line
    refused("whitespace before the first field, which is not Host", request(GET, b" X: y", HOST)),
    refused("a tab before the first field", request(GET, b"\tX: y", HOST)),
]
NO_HTTP = [
    no_request("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    no_request("an SSH banner", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    no_request("only LFs in front of noise", b"\n\n\n\x01\x02\x03\r\n\r\n"),
    no_request("an answer", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    no_request("the proxy protocol", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" + get()),
    no_request("colons", b":::::::\r\n\r\n"),
]
VERSION = b"GET /public/CASE0000 "
VERSIONS = [  # §2.3; §2.6: HTTP-name is case-sensitive, DIGIT "." DIGIT
    Row("HTTP/1.0", request(VERSION + b"HTTP/1.0", HOST), (200,), "", get(), "closed"),
    *(
        refused(f"HTTP/{text}", request(VERSION + b"HTTP/" + text.encode(), HOST), 505, "bad_version")
        for text in ("0.9", "2.0")
    ),
    *(
        no_request(f"HTTP/{text}", request(VERSION + b"HTTP/" + text.encode(), HOST))
        for text in ("1.2", "1.9", "0.0", "3.0", "9.9", "1.10", "1.01", "01.1", "11.1", "1", "1.", ".1", "1,1", "1.1.1", "-1.1", "+1.1", "1.x", " 1.1", "1 .1", "", "1.1x", "१.१")
    ),
    refused("lower case", request(VERSION + b"http/1.1", HOST)),
    refused("mixed case", request(VERSION + b"Http/1.1", HOST)),
    refused("HTTPS", request(VERSION + b"HTTPS/1.1", HOST)),
    refused("no slash", request(VERSION + b"HTTP1.1", HOST)),
    refused("backslash", request(VERSION + b"HTTP\\1.1", HOST)),
    refused("blank behind", request(VERSION + b"HTTP/1.1 ", HOST)),
    refused("tab behind", request(VERSION + b"HTTP/1.1\t", HOST)),
    refused("a word behind", request(VERSION + b"HTTP/1.1 x", HOST)),
    refused("no version", request(b"GET " + TARGET, HOST), 505, "bad_version"),
    no_request("no version, a blank behind", request(VERSION, HOST)),
    # llhttp reads these protocols, too, and tells no difference: their version would pass for HTTP's
    *(
        no_request(f"{method} {name}", request(f"{method} /public/CASE0000 {name}".encode(), HOST))
        for method, name in [
            ("GET", "RTSP/1.0"), ("GET", "RTSP/1.1"), ("OPTIONS", "RTSP/1.0"), ("OPTIONS", "RTSP/1.1"), ("DESCRIBE", "RTSP/1.0"),
            ("GET_PARAMETER", "RTSP/1.1"), ("SOURCE", "ICE/1.0"), ("SOURCE", "ICE/1.1"), ("GET", "ICE/1.0"), ("GET", "ICY/1.0"),
            ("POST", "RTSP/1.1"), ("GET", "SIP/2.0"),
        ]
    ),
    no_request("RTSP, with HTTP in a field", request(VERSION + b"RTSP/1.1", HOST, b"X: /public/CASE0000 HTTP/1.1")),
    no_request("RTSP, with HTTP in its target", request(b"GET /public/CASE0000?/public/CASE0000%20HTTP/ RTSP/1.1", HOST)),
    no_request("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    no_request("PRI in HTTP/1.1", request(b"PRI /public/CASE0000 HTTP/1.1", HOST)),
    passes("an upgrade to HTTP/2 is not taken", get(b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"), get(b"HTTP2-Settings: AAMAAABkAAQAAP__"), "as it says"),
]  # fmt: skip
SEGMENTS = [  # what a segment ends with means nothing
    passes("a body", post(b"Content-Length: 5", body=b"hello")),
    passes("chunks", post(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"), post(b"Transfer-Encoding: chunked", body=b"hello")),
    passes("many fields", get(*(b"X-%d: %d" % (number, number) for number in range(20)))),
]  # fmt: skip


@paces()
@rows(EMPTY_LINES, LINE_ENDS, NO_HTTP, VERSIONS, SEGMENTS)
def test_a_message_is_what_rfc_9112_section_2_says(case: Case, row: Row, pieces: int) -> None:
    check(case, row, pieces)


BEFORE = {
    "a request": get(),
    "a body": post(b"Content-Length: %d" % (len(GET) + 4), body=b"\r\n" + GET + b"\r\n"),
    "a chunk": post(b"Transfer-Encoding: chunked", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(GET) + 1, b"\n" + GET)),
    "a field": get(b"X: y", start=POST),
}


@pytest.mark.parametrize("before", BEFORE)
def test_another_protocol_behind_http_is_none_either(case: Case, before: str) -> None:
    """The same line, but for HTTP/1.1, stands before it in the same segment; that says nothing about this request."""
    wire = case.ask(BEFORE[before] + get(start=GET.replace(b"HTTP/", b"RTSP/")))
    first, second = wire.answer(), wire.answer()
    case.expect(first.status == 200, f"the first got {first.status}")
    case.expect(second.status in (400, 501, 505), f"the second got {second.status}")
    if second.status >= 400:
        case.expect(wire.rest() == b"", "something came behind it")
