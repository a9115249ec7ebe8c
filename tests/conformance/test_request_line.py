"""RFC 9112 §3: request line, methods, the four forms of a target, and the path policy of gateway/core/paths.py."""

from __future__ import annotations

from tests.conformance.cases import (
    HOST,
    TARGET,
    Row,
    check,
    either,
    get,
    no_request,
    paces,
    passes,
    refused,
    request,
    rows,
)
from tests.conformance.lab import Case

END = b" HTTP/1.1"


def line(start: bytes) -> bytes:
    return request(start, HOST)


def at(target: bytes) -> bytes:
    return line(b"GET " + target + END)


def method(name: str) -> bytes:
    return line(name.encode() + b" " + TARGET + END)


# §3: single blanks. More of them MAY be taken for one; what goes on has one in any case.
SPACING = [
    either("two blanks behind the method", line(b"GET  " + TARGET + END), get()),
    either("two blanks before the version", line(b"GET " + TARGET + b"  HTTP/1.1"), get()),
    no_request("tab behind the method", line(b"GET\t" + TARGET + END)),
    no_request("tab before the version", line(b"GET " + TARGET + b"\tHTTP/1.1")),
    no_request("vertical tab behind the method", line(b"GET\x0b" + TARGET + END)),
    no_request("form feed before the version", line(b"GET " + TARGET + b"\x0cHTTP/1.1")),
    no_request("NUL behind the method", line(b"GET\0" + TARGET + END)),
    no_request("bare CR behind the method", line(b"GET\r" + TARGET + END)),
    no_request("no-break space behind the method", line(b"GET\xa0" + TARGET + END)),
    no_request("a blank in the target", at(b"/public/CASE0000 x")),
    no_request("a version in the target", at(b"/public/CASE0000 HTTP/1.1")),
    no_request("a blank and another version", line(b"GET " + TARGET + b" HTTP/1.0 HTTP/1.1")),
    no_request("a method alone", line(b"GET")),
    no_request("a method and a blank", line(b"GET ")),
    no_request("no target", line(b"GET HTTP/1.1")),
    no_request("two blanks for a target", line(b"GET  HTTP/1.1")),
    no_request("no method", line(TARGET + END)),
    no_request("no method but a blank", line(b" " + TARGET + END)),
]  # fmt: skip

LIKE_GET = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH", "PURGE", "NOTIFY", "MKCALENDAR", "LINK", "UNLINK", "QUERY"]  # fmt: skip
METHODS = [
    *(passes(name, method(name)) for name in LIKE_GET),
    *(refused(name, method(name), 501, "unknown_method") for name in ("FOO", "BREW", "TRACK", "DEBUG", "G", "GE", "GETS", "X-GET", "HTTP")),
    *(refused(name, method(name), 501, "unknown_method") for name in ("get", "Get", "gET", "post")),  # RFC 9110 §9.1: case-sensitive
    no_request("a method of a slash", method("G/T")),
    no_request("a method of a colon", method("GET:")),
    no_request("a method of quotes", method('"GET"')),
    no_request("a method with a letter of Latin-1", method("GÉT")),
    no_request("a method of one NUL", method("\0")),
    refused("a method of 4,000 letters", method("A" * 4000), 501, "unknown_method"),
    refused("CONNECT", line(b"CONNECT a.example:443 HTTP/1.1"), 405, "method_not_allowed"),
    refused("CONNECT to a path", method("CONNECT"), 405, "method_not_allowed"),
    refused("CONNECT with bytes behind it", line(b"CONNECT a.example:443 HTTP/1.1") + get(start=b"GET /public/CASE0000/tunnel HTTP/1.1"), 405, "method_not_allowed"),
    refused("CONNECT with a body", request(b"CONNECT a.example:443 HTTP/1.1", HOST, b"Content-Length: 5", body=b"hello"), 405, "method_not_allowed"),
]  # fmt: skip

HOST_B = b"Host: b.example"
FORMS = [  # §3.2
    passes("absolute-form", at(b"http://b.example" + TARGET), request(b"GET " + TARGET + END, HOST_B)),
    passes("absolute-form with a port", at(b"http://b.example:8080" + TARGET + b"?q"), request(b"GET " + TARGET + b"?q HTTP/1.1", HOST_B + b":8080")),
    passes("absolute-form of https", at(b"https://b.example" + TARGET), request(b"GET " + TARGET + END, HOST_B)),
    passes("absolute-form in capitals", at(b"HTTP://b.example" + TARGET), request(b"GET " + TARGET + END, HOST_B)),
    passes("absolute-form with IPv6", at(b"http://[::1]:80" + TARGET), request(b"GET " + TARGET + END, b"Host: [::1]:80")),
    passes("absolute-form, Host in its place", request(b"GET http://b.example" + TARGET + END, b"X-A: 1", HOST, b"X-B: 2"), request(b"GET " + TARGET + END, b"X-A: 1", HOST_B, b"X-B: 2")),
    passes("absolute-form, its path untouched", at(b"http://b.example" + TARGET + b"/%41/~x?a=%2f..//"), request(b"GET " + TARGET + b"/%41/~x?a=%2f..//" + END, HOST_B)),
    passes("absolute-form in HTTP/1.0 without Host", b"GET http://b.example" + TARGET + b" HTTP/1.0\r\n\r\n", request(b"GET " + TARGET + END, HOST_B), "closed"),
    refused("absolute-form without a path", at(b"http://b.example"), 404, "no_route", "as it says"),
    refused("absolute-form without Host", b"GET http://b.example" + TARGET + b" HTTP/1.1\r\n\r\n"),
    refused("absolute-form with two Hosts", request(b"GET http://b.example" + TARGET + END, HOST, HOST_B)),
    refused("absolute-form with a bad Host", request(b"GET http://b.example" + TARGET + END, b"Host: a/b")),
    refused("absolute-form of no host", at(b"http://" + TARGET)),
    refused("absolute-form of a port alone", at(b"http://:80" + TARGET)),
    refused("absolute-form with a user", at(b"http://u@b.example" + TARGET)),
    refused("absolute-form with a user and a password", at(b"http://u:p@b.example" + TARGET)),
    refused("absolute-form with two ats", at(b"http://u@v@b.example" + TARGET)),
    refused("absolute-form with a bad port", at(b"http://b.example:99999" + TARGET)),
    refused("absolute-form with a port of letters", at(b"http://b.example:8x" + TARGET)),
    refused("absolute-form with a backslash", at(b"http://b.example\\@c" + TARGET)),
    refused("absolute-form with an open bracket", at(b"http://[::1" + TARGET)),
    refused("absolute-form with a fragment", at(b"http://b.example" + TARGET + b"#x")),
    refused("absolute-form with an encoded host", at(b"http://b%zz.example" + TARGET)),
    refused("absolute-form with dots in its path", at(b"http://b.example/public/../admin/CASE0000"), 400, "ambiguous_path", "as it says"),
    refused("absolute-form to what is protected", at(b"http://b.example/admin/CASE0000"), 302, "no_session", "as it says"),
    no_request("absolute-form of another scheme", at(b"ftp://b.example" + TARGET)),
    no_request("absolute-form of a file", at(b"file:///public/CASE0000")),
    no_request("absolute-form with one slash", at(b"http:/b.example" + TARGET)),
    no_request("absolute-form without slashes", at(b"http:" + TARGET)),
    no_request("authority-form", at(b"b.example:80")),
    no_request("authority-form without a port", at(b"b.example")),
    no_request("a relative path", at(b"public/CASE0000")),
    no_request("a query alone", at(b"?CASE0000")),
    no_request("dots alone", at(b"..")),
    refused("asterisk-form", line(b"OPTIONS * HTTP/1.1"), 404, "no_route", "as it says"),
    refused("asterisk-form as absolute-form", line(b"OPTIONS http://b.example HTTP/1.1"), 404, "no_route", "as it says"),
    *(refused(f"asterisk-form of {name}", line(name.encode() + b" * HTTP/1.1"), after="as it says") for name in ("GET", "POST", "HEAD", "DELETE", "TRACE")),
    no_request("asterisk with a path", line(b"OPTIONS */x HTTP/1.1")),
    no_request("two asterisks", line(b"OPTIONS ** HTTP/1.1")),
]  # fmt: skip

AMBIGUOUS = [
    "/public/../admin/CASE0000",
    "/public/./CASE0000",
    "/public/CASE0000/..",
    "/public/CASE0000/.",
    "/public/%2e%2e/admin/CASE0000",
    "/public/%2E./CASE0000",
    "/public/.%2e/CASE0000",
    "/public/..;/admin/CASE0000",
    "/public/;/CASE0000",
    "/public/CASE0000;jsessionid=1",
    "/public/%3bCASE0000",
    "/public//CASE0000",
    "//admin/CASE0000",
    "//public/CASE0000",
    "/public/CASE0000%2fy",
    "/public%2f..%2fadmin/CASE0000",
    "/pub%2Flic/CASE0000",
    "/public/%5c..%5cadmin/CASE0000",
    "/public\\..\\admin\\CASE0000",
    "/public/CASE0000\\y",
    "/public/%252e%252e/admin/CASE0000",
    "/public/%252fCASE0000",
    "/public/CASE0000%2500",
    "/public/CASE0000%00",
    "/public/CASE0000%0d%0aX:y",
    "/public/CASE0000%7f",
    "/public/CASE0000%09",
    "/public/CASE0000%c0%ae",
    "/public/%e0%80%af/CASE0000",
    "/public/CASE0000//",
]
PATHS = [
    *(refused(path, at(path.encode()), 400, "ambiguous_path", "as it says") for path in AMBIGUOUS),
    *(passes(path, at(path.encode())) for path in (
        "/public/CASE0000/...", "/public/CASE0000/a..b", "/public/.CASE0000", "/public/CASE0000/C%23", "/public/CASE0000/what%3f",
        "/public/CASE0000?a=../..//;%2f", "/public/CASE0000/", "/public/CASE0000?", "/public/CASE0000??", "/public/CASE0000?x?y",
        "/public/CASE0000/x%20y", "/public/CASE0000/100%25", "/public/CASE0000/%e4%b8%ad", "/public/CASE0000/%ff", "/public/CASE0000?%zz",
        "/public/CASE0000/~!$&'()*+,=:@", "/public/CASE0000?<>\"`{}|^[]\\", "/%70ublic/CASE0000",
    )),
    refused("a fragment", at(b"/public/CASE0000#/../admin")),
    refused("a fragment behind a query", at(b"/public/CASE0000?x#y")),
    refused("a fragment of nothing", at(b"/public/CASE0000#")),
    refused("a broken escape", at(b"/public/CASE0000%zz"), after="as it says"),
    refused("a cut escape", at(b"/public/CASE0000%4"), after="as it says"),
    refused("no route", at(b"/elsewhere/CASE0000"), 404, "no_route", "as it says"),
    refused("a prefix ends at a slash", at(b"/publicCASE0000"), 404, "no_route", "as it says"),
    refused("paths are case-sensitive", at(b"/PUBLIC/CASE0000"), 404, "no_route", "as it says"),
    refused("below our own prefix", at(b"/auth/CASE0000"), 404, "no_route", "as it says"),
    *(no_request(f"byte {byte:02x} in a path", at(b"/public/CASE0000" + bytes([byte]))) for byte in (0, 1, 7, 8, 0x0b, 0x0c, 0x1b, 0x1f, 0x7f, 0x80, 0xa0, 0xc3, 0xff)),
    *(no_request(f"byte {byte:02x} in a query", at(b"/public/CASE0000?" + bytes([byte]))) for byte in (0, 1, 9, 0x0b, 0x0c, 0x1f, 0x7f, 0x80, 0xc3, 0xff)),
]  # fmt: skip


@paces()
@rows(SPACING, METHODS, FORMS, PATHS)
def test_a_request_line_is_what_rfc_9112_section_3_says(case: Case, row: Row, pieces: int) -> None:
    check(case, row, pieces)


def test_what_405_allows_is_named(case: Case) -> None:
    """RFC 9110 §15.5.6: a MUST."""
    answer = case.ask(line(b"CONNECT a.example:443 HTTP/1.1")).answer()
    case.expect(answer.status == 405, f"got {answer.status}")
    case.expect(len(answer.values(b"Allow")) == 1, f"Allow: {answer.values(b'Allow')}")


def test_head_is_refused_as_get_is_but_without_a_body(case: Case) -> None:
    """RFC 9110 §9.3.2; a body there would be the start of the next answer."""
    target = b"/admin/CASE0000"
    wire = case.ask(line(b"HEAD " + target + END) + line(b"GET " + target + END))
    head, whole = wire.answer(b"HEAD"), wire.answer()
    case.expect((head.status, whole.status) == (302, 302), f"got {head.status} and {whole.status}")
    case.expect(head.values(b"Content-Type") == whole.values(b"Content-Type"), "the fields differ")
    case.expect(whole.reason == "no_session", f"got {whole.reason}")
    case.expect(not case.seen, "the backend heard of it")
