"""RFC 9112 §3.2, RFC 9110 §7.2: Host. It decides routes, redirects and cookies, so it is exactly one host or nothing."""

from __future__ import annotations

from tests.conformance.cases import GET, HOST, TARGET, Row, check, paces, passes, refused, request, rows
from tests.conformance.lab import Case

OLD = b"GET " + TARGET + b" HTTP/1.0"


def host(value: bytes) -> bytes:
    return request(GET, b"Host: " + value)


GOOD = [
    "a",
    "a.example",
    "A.EXAMPLE",
    "a.example.",
    "a.example:80",
    "a.example:0",
    "a.example:65535",
    "a.example:",
    "127.0.0.1",
    "127.0.0.1:8080",
    "[::1]",
    "[::1]:80",
    "[2001:db8::1]",
    "[::ffff:127.0.0.1]:443",
    "xn--bcher-kva.example",
    "a_b.example",
    "a-b.example",
    "%61.example",
    "a~b",
    "a!$&'()*+,;=b",
    "1",
    "-",
]
BAD = [
    "a/b",
    "a.example/",
    "/a",
    "u@a",
    "u:p@a",
    "@a",
    "a@",
    "a:b",
    "a:80:80",
    "a:99999",
    "a:65536",
    "a:-1",
    "a:+1",
    "a:0x50",
    "a:8_0",
    "a:80x",
    ":80",
    ":",
    "[::1",
    "::1",
    "::1]",
    "[]",
    "[a]",
    "[::1]x",
    "[::1]:x",
    "[::1%eth0]",
    "[::g]",
    "[1]",
    "[[::1]]",
    "a?b",
    "a#b",
    "a\\b",
    'a"b',
    "a<b",
    "a>b",
    "a^b",
    "a`b",
    "a{b",
    "a|b",
    "a}b",
    "%zz",
    "a%",
    "a%4",
    "http://a",
    "//a",
    "a,b/c",
    "a[b]",
    "{a}",
]
WELL = [
    *(passes(f"Host {text}", host(text.encode())) for text in GOOD),
    passes("no blank behind the colon", request(GET, b"Host:a.example"), request(GET, HOST)),
    passes(
        "blanks around it", request(GET, b"Host: \t a.example \t "), request(GET, HOST)
    ),  # §5.1: not part of the value
    passes("a tab behind it", request(GET, b"Host: a.example\t"), request(GET, HOST)),
    passes("in capitals", request(GET, b"HOST: a.example")),
    passes("in small letters", request(GET, b"host: a.example")),
    passes("last of all", request(GET, b"X-A: 1", b"X-B: 2", HOST)),
    passes("missing in HTTP/1.0", request(OLD), None, "closed"),
    passes("there in HTTP/1.0", request(OLD, HOST), request(GET, HOST), "closed"),
    passes(
        "named in Connection it stays", request(GET, HOST, b"Connection: Host"), request(GET, HOST)
    ),  # or which site is it?
]
BROKEN = [
    *(refused(f"Host {text}", host(text.encode())) for text in BAD),
    refused("empty", host(b"")),
    refused("of blanks", host(b" \t ")),
    refused("a blank inside", host(b"a b")),
    refused("a tab inside", host(b"a\tb")),
    refused("two in one", host(b"a.example, b.example")),
    refused("a letter of Latin-1", host(b"b\xfccher.example")),
    refused("UTF-8", host("bücher.example".encode())),
    refused("Arabic digits for a port", host("a:٨٠".encode())),
    refused("a NUL", host(b"a\0b")),
    refused("too long a port", host(b"a:" + b"0" * 4000 + b"80")),
    refused("missing", request(GET)),
    refused("missing, with other fields", request(GET, b"X: y")),
    refused("twice", request(GET, HOST, b"Host: b.example")),
    refused("twice the same", request(GET, HOST, HOST)),
    refused("twice in different letters", request(GET, HOST, b"hOST: a.example")),
    refused("twice, one empty", request(GET, HOST, b"Host:")),
    refused("twice, far apart", request(GET, HOST, *[b"X: y"] * 20, HOST)),
    refused("twice in HTTP/1.0", request(OLD, HOST, HOST)),
    refused("bad in HTTP/1.0", request(OLD, b"Host: a/b")),
    refused("empty in HTTP/1.0", request(OLD, b"Host:")),
    refused("a blank before the colon", request(GET, b"Host : a.example")),
    refused("a blank before the name", request(GET, b"X: y", b" Host: a.example")),
    refused("folded", request(GET, b"Host:\r\n a.example")),
    refused("folded behind", request(GET, HOST + b"\r\n .evil")),
    refused("only an underscore away", request(GET, b"Ho_st: a.example")),
    refused("only in X-Forwarded-Host", request(GET, b"X-Forwarded-Host: a.example")),
]


@paces()
@rows(WELL, BROKEN)
def test_a_request_has_exactly_one_host(case: Case, row: Row, pieces: int) -> None:
    if row.arrived == request(OLD):  # the backend is told the upstream's own name: HTTP/1.1 needs one
        name = case.lab.backend.url.removeprefix("http://").encode()
        row = passes(row.id, row.sent, request(GET, b"Host: " + name), "closed")
    check(case, row, pieces)


def test_what_the_backend_is_told_about_the_host_is_what_the_client_named(case: Case) -> None:
    wire = case.ask(request(GET, b"Host: www.example.org:8443", b"X-Forwarded-Host: evil", b"X-Forwarded-Port: 1"))
    case.expect(wire.answer().status == 200, "not answered")
    told = case.arrived()[0]
    case.expect(told.values(b"X-Forwarded-Host") == [b"www.example.org:8443"], "X-Forwarded-Host is another")
    case.expect(told.values(b"X-Forwarded-Port") == [b"8443"], "X-Forwarded-Port is another")


def test_the_host_of_an_absolute_target_is_the_one_that_counts(case: Case) -> None:
    """RFC 9112 §3.2.2: a proxy MUST ignore the received Host and replace it."""
    wire = case.ask(request(b"GET http://b.example:81" + TARGET + b" HTTP/1.1", HOST))
    case.expect(wire.answer().status == 200, "not answered")
    told = case.arrived()[0]
    for name, value in (
        (b"Host", b"b.example:81"),
        (b"X-Forwarded-Host", b"b.example:81"),
        (b"X-Forwarded-Port", b"81"),
    ):
        case.expect(told.values(name) == [value], f"{name.decode()}: {told.values(name)}")
