"""Requests that no backend may see: one table of raw bytes (docs/http-api.md; hazards A, D, P)."""

from __future__ import annotations

import json
import re

import pytest

from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import Gateway


@pytest.fixture
async def open_gateway(make_gateway: MakeGateway, backend: RecordingBackend) -> Gateway:
    """A public subtree beside a protected one: what the peers were bypassed through."""
    routes = [{"path": "/public/", "access": "public"}, {"path": "/admin/"}]
    return await make_gateway(backend.url, routes=routes)


def get(target: str, *headers: str, version: str = "HTTP/1.1") -> bytes:
    lines = [f"GET {target} {version}", *(headers or ("Host: a",)), "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1")


AMBIGUOUS = [
    "/public/../admin/x", "/public/./x", "/public/..", "/public/.", "/public/%2e%2e/admin/x", "/public/%2E./x", "/public/.%2e/x",
    "/public/..;/admin/x", "/public/;/x", "/public/x;jsessionid=1", "/public/%3bx", "/public//admin", "//admin/x", "//public/x",
    "/public/x%2fy", "/public%2f..%2fadmin", "/pre%2Ffix/x", "/public/%5c..%5cadmin", "/public\\..\\admin", "/public/x\\y",
    "/public/%252e%252e/admin", "/public/%252fx", "/public/%2500", "/public/%00", "/public/x%0d%0ay", "/public/%7f", "/public/a%09b",
]  # fmt: skip
MALFORMED: list[tuple[str, bytes, int, str]] = [
    ("fragment", get("/public#/../admin"), 400, "bad_request"),
    ("fragment-behind-query", get("/public/?x#/admin"), 400, "bad_request"),
    ("broken-escape", get("/public/%zz"), 400, "bad_request"),
    ("cut-escape", get("/public/%4"), 400, "bad_request"),
    ("no-slash", get("public/x"), 400, "bad_request"),
    ("other-scheme", get("ftp://a/public/x"), 400, "bad_request"),
    ("userinfo", get("http://a@b/public/x"), 400, "bad_request"),
    ("non-ascii", get("/public/\xe9"), 400, "bad_request"),
    ("http-2.0", get("/public/x", version="HTTP/2.0"), 505, "bad_version"),
    ("http-1.2", get("/public/x", version="HTTP/1.2"), 400, "bad_request"),
    ("http-0.9", b"GET /public/x\r\n\r\n", 505, "bad_version"),
    ("no-host", get("/public/x", "X: y"), 400, "bad_request"),
    ("two-hosts", get("/public/x", "Host: a", "Host: b"), 400, "bad_request"),
    ("host-with-blank", get("/public/x", "Host: a b"), 400, "bad_request"),
    ("empty-host", get("/public/x", "Host:"), 400, "bad_request"),
    ("host-with-path", get("/public/x", "Host: a/b"), 400, "bad_request"),
    ("host-with-user", get("/public/x", "Host: u@a"), 400, "bad_request"),
    ("host-with-bad-port", get("/public/x", "Host: a:99999"), 400, "bad_request"),
    ("blank-before-colon", get("/public/x", "Host : a"), 400, "bad_request"),
    ("obs-fold", get("/public/x", "Host: a", "X: y\r\n z"), 400, "bad_request"),
    ("nul", get("/public/x", "Host: a", "X: a\x00b"), 400, "bad_request"),
    ("bare-cr", get("/public/x", "Host: a", "X: a\rb"), 400, "bad_request"),
    ("two-lengths", b"POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, "bad_request"),
    ("bad-length", b"POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", 400, "bad_request"),
    ("length-and-chunked",
     b"POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_request"),
    ("chunked-on-1.0", b"POST /public/x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_request"),
    ("empty-coding", b"POST /public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\nContent-Length: 3\r\n\r\nabc", 400, "bad_request"),
    ("blank-coding", b"POST /public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \t\r\nContent-Length: 3\r\n\r\nabc", 400, "bad_request"),
    ("empty-coding-alone", b"POST /public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 400, "bad_request"),
    ("two-codings", b"POST /public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "unknown_coding"),
    ("bad-chunk-size", b"POST /public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", 400, "bad_request"),
    ("long-target", get("/public/" + "a" * 20_000), 414, "target_too_long"),
    ("long-header", get("/public/x", "Host: a", "X: " + "a" * 20_000), 431, "headers_too_large"),
    ("many-headers", get("/public/x", "Host: a", *["X: y"] * 5000), 431, "headers_too_large"),
    ("connect", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405, "method_not_allowed"),
    ("unknown-method", get("/public/x").replace(b"GET", b"FOO"), 501, "unknown_method"),
    ("tls-hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "bad_request"),
    ("expect-tea", get("/public/x", "Host: a", "Expect: tea"), 417, "expectation_failed"),
]  # fmt: skip


async def refused(gateway: Gateway, data: bytes) -> tuple[int, str]:
    received = await gateway.raw(data, seconds=5)
    head, _, body = received.partition(b"\r\n\r\n")
    assert head, "no answer"
    assert head.startswith((b"HTTP/1.1 ", b"HTTP/1.0 "))
    assert b"aiohttp" not in head
    assert b"Python" not in head
    answer = json.loads(body)
    assert answer["request_id"].encode() in head
    return answer["ret"], answer["reason"]


@pytest.mark.parametrize("target", AMBIGUOUS)
async def test_a_path_that_can_be_read_in_two_ways_is_refused(
    open_gateway: Gateway, backend: RecordingBackend, target: str
) -> None:
    assert await refused(open_gateway, get(target)) == (400, "ambiguous_path")
    assert backend.connections == 0


@pytest.mark.parametrize(
    ("data", "status", "reason"), [row[1:] for row in MALFORMED], ids=[row[0] for row in MALFORMED]
)
async def test_a_malformed_request_is_refused_in_our_words_and_the_connection_closed(
    open_gateway: Gateway, backend: RecordingBackend, data: bytes, status: int, reason: str
) -> None:
    assert await refused(open_gateway, data) == (status, reason)
    assert backend.requests == []


async def test_what_only_looks_odd_passes(open_gateway: Gateway, backend: RecordingBackend) -> None:
    targets = [
        "/public/...",
        "/public/a..b",
        "/public/.well-known/x",
        "/public/C%23",
        "/public/what%3f",
        "/public/x?a=../..//;%2f",
    ]
    for target in [*targets, "/public", "/public/", "/public/x%20y", "/public/100%25", "/public/?"]:
        received = await open_gateway.raw(get(target))
        assert received.startswith(b"HTTP/1.1 200 "), target
        assert backend.last.target == target


@pytest.mark.parametrize(
    "path", ["/publicx", "/public-admin", "/public.evil", "/PUBLIC/x", "/evil/public/x", "/xpublic/"]
)
async def test_a_prefix_ends_at_a_slash(open_gateway: Gateway, path: str) -> None:
    assert (await open_gateway.get(path)).status == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Original-URL": "/public/x"},
        {"X-Rewrite-URL": "/public/x"},
        {"X-Forwarded-Uri": "/public/x"},
        {"X-Forwarded-Prefix": "/public"},
        {"X-Envoy-Original-Path": "/public/x"},
        {"X-HTTP-Method-Override": "GET"},
        {"User-Agent": "kube-probe/1.30"},
        {"User-Agent": "GoogleHC/1.0"},
        {"X-Middleware-Subrequest": "middleware"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-User": "admin"},
        {"X-Session-Update": "e30"},
        {"X-Gateway-Assertion": "e30.e30."},
    ],
    ids=lambda headers: next(iter(headers)),
)
async def test_no_header_opens_a_protected_path(
    open_gateway: Gateway, backend: RecordingBackend, headers: dict[str, str]
) -> None:
    response = await open_gateway.get("/admin/x", headers=headers)
    assert (response.status, (await response.json())["reason"]) == (302, "no_session")
    assert backend.connections == 0


async def test_pipelined_requests_are_answered_in_order(open_gateway: Gateway, backend: RecordingBackend) -> None:
    data = b"".join(f"GET /public/{n} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for n in range(5)) + get("/admin/x")
    received = await open_gateway.raw(data)
    assert [request.target for request in backend.requests] == [f"/public/{n}" for n in range(5)]
    assert re.findall(rb"HTTP/1.1 (\d+) ", received) == [b"200"] * 5 + [b"302"]


async def test_a_refused_request_does_not_smuggle_its_body_in_as_the_next_one(
    open_gateway: Gateway, backend: RecordingBackend
) -> None:
    inner = get("/public/smuggled")
    outer = b"POST /admin/x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(inner)
    await open_gateway.raw(outer + inner, seconds=2)
    assert backend.requests == []


async def test_what_follows_an_upgrade_or_an_unread_body_is_no_request(
    open_gateway: Gateway, backend: RecordingBackend
) -> None:
    inner = get("/public/smuggled")
    upgrade = b"POST /public/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n"
    expect = b"POST /admin/x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(inner)
    for outer in (upgrade, expect):
        received = await open_gateway.raw(outer + inner, seconds=5)
        assert b"connection: close" in received.lower()
    assert "/public/smuggled" not in [request.target for request in backend.requests]


@pytest.fixture
async def slash_gateway(make_gateway: MakeGateway, backend: RecordingBackend) -> Gateway:
    """Like ``open_gateway``, with a backend that has encoded slashes in its addresses."""
    routes = [{"path": "/", "access": "public", "encoded_slash": "pass"}, {"path": "/admin/"}]
    return await make_gateway(backend.url, routes=routes, login={"aliases": [{"path": "/api/signin"}]})


async def test_an_encoded_slash_reaches_a_backend_that_wants_it_as_it_came(
    slash_gateway: Gateway, backend: RecordingBackend
) -> None:
    for target in ("/projects/group%2Fproject?x=%2f", "/queues/%2f/jobs"):
        assert (await slash_gateway.raw(get(target))).startswith(b"HTTP/1.1 200 ")
        assert backend.last.target == target


@pytest.mark.parametrize(
    "target",
    ["/admin%2fx", "/admin/x%2fy", "/%2fadmin/x", "/x%2f..%2fadmin", "/x%2f%2e%2e/admin", "/auth%2flogin", "/auth/login%2f",
     "/auth%2fx", "/%2fauth/login", "/%2f%2fauth", "/api%2fsignin", "/%2fapi/signin", "/auth/static/x%2fy"],
)  # fmt: skip
async def test_an_encoded_slash_leads_around_no_rule_and_to_no_endpoint_of_ours(
    slash_gateway: Gateway, backend: RecordingBackend, target: str
) -> None:
    assert await refused(slash_gateway, get(target)) == (400, "ambiguous_path")
    assert backend.requests == []
