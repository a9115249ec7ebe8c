"""What the backend receives and what the client gets back (docs/http-api.md)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.identity.hashes import hash_password
from tests.conftest import MakeGateway
from tests.fakes import Recorded, RecordingBackend
from tests.harness import ALICE, MANAGER, Gateway

PUBLIC: list[dict[str, Any]] = [{"path": "/", "access": "public"}]


@pytest.fixture
async def public(make_gateway: MakeGateway, backend: RecordingBackend) -> Gateway:
    """Everything public: for tests of the way alone."""
    return await make_gateway(backend.url, routes=PUBLIC)


def writes(data: bytes, *, close: bool = False) -> Callable[[Recorded, asyncio.StreamWriter], Awaitable[None]]:
    """An answer of bytes, after which the backend may close."""

    async def answer(_: Recorded, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if close:
            writer.close()

    return answer


# -- the request
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "PURGE", "REPORT"])
async def test_any_method_passes(public: Gateway, backend: RecordingBackend, method: str) -> None:
    response = await public.request(method, "/x")
    assert (response.status, backend.last.method, backend.last.version) == (200, method, "HTTP/1.1")


async def test_path_and_query_arrive_byte_for_byte(public: Gateway, backend: RecordingBackend) -> None:
    target = "/a%20b/%E4%B8%AD%c4%e3/~'()*!$&,:@=+/file.tar.gz?q=%2f..%2f&x=//;#".rstrip("#") + "&empty=&%zz=1"
    await public.raw(b"GET " + target.encode() + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert backend.last.target == target


async def test_headers_keep_order_case_repeats_and_bytes(public: Gateway, backend: RecordingBackend) -> None:
    lines = [
        b"Host: a.example:81",
        b"X-One: 1",
        b"x-TWO: 2",
        b"X-One: 3",
        b"Accept: a, b",
        b"X-Latin: caf\xe9",
        b"X-Empty:",
    ]
    await public.raw(b"GET / HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\nConnection: close\r\n\r\n")
    assert backend.last.headers[: len(lines)] == [
        ("Host", "a.example:81"),
        ("X-One", "1"),
        ("x-TWO", "2"),
        ("X-One", "3"),
        ("Accept", "a, b"),
        ("X-Latin", "caf\xe9"),
        ("X-Empty", ""),
    ]


async def test_identity_is_told_and_nobody_else_can_tell_it(gateway: Gateway, backend: RecordingBackend) -> None:
    cookie = await gateway.sign_in(ALICE)
    forged = {
        "X-Forwarded-User": "admin",
        "x_forwarded_user": "admin",
        "X-FORWARDED_USERTYPE": "mgr",
        "Remote-User": "admin",
        "REMOTE_USER": "admin",
        "X-Auth-Request-User": "admin",
        "X-Forwarded-Groups": "admins",
        "X-Gateway-Assertion": "e30.e30.e30",
        "X-Session-Data": "e30",
        "X-Real-IP": "10.0.0.1",
        "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Prefix": "https://evil.example",
        "Forwarded": "for=10.0.0.1",
        "X-Original-URL": "/admin",
        "X-Rewrite-URL": "/admin",
        "X-Request-Id": "chosen",
        "Proxy": "http://evil.example",
    }
    await gateway.get("/orders", cookie=cookie, headers=forged)
    seen = backend.last
    assert seen.value("X-Forwarded-Preferred-Username") == "alice"
    assert seen.value("X-Forwarded-Email") == "alice@example.org"
    assert seen.value("X-Forwarded-Usertype") == "user"
    assert seen.value("X-Forwarded-Groups") == "sales"
    assert seen.value("X-Forwarded-User") not in (None, "admin")
    assert (seen.value("X-Forwarded-For"), seen.value("X-Forwarded-Proto")) == ("127.0.0.1", "http")
    assert seen.value("X-Forwarded-Host") == f"127.0.0.1:{gateway.port}"
    assert seen.value("X-Forwarded-Port") == str(gateway.port)
    assert seen.value("Via") == "1.1 auth-gateway"
    text = repr(seen.headers)
    assert not [word for word in ("admin", "evil", "10.0.0.1", "chosen", "e30") if word in text]
    names = [name.lower().replace("_", "-") for name, _ in seen.headers]
    assert names.count("x-forwarded-user") == 1


async def test_a_client_cannot_make_the_gateway_drop_its_own_headers(
    gateway: Gateway, backend: RecordingBackend
) -> None:
    """P29, P30: fields named in Connection end here, but ours are added afterwards."""
    cookie = await gateway.sign_in(ALICE)
    named = "close, X-Forwarded-User, x-forwarded-for, X-Custom, Via"
    await gateway.get("/orders", cookie=cookie, headers={"Connection": named, "X-Custom": "1"})
    assert backend.last.value("X-Forwarded-Preferred-Username") == "alice"
    assert backend.last.value("X-Forwarded-User") is not None
    assert backend.last.value("X-Forwarded-For") == "127.0.0.1"
    assert backend.last.value("X-Custom") is None
    assert backend.last.value("Connection") is None


async def test_a_public_route_looks_up_no_session_and_tells_no_identity(
    gateway: Gateway, backend: RecordingBackend
) -> None:
    cookie = await gateway.sign_in(ALICE)
    await gateway.get(
        "/public/about.html", cookie=cookie, headers={"X-Forwarded-User": "admin", "Remote_User": "admin"}
    )
    assert not [name for name, value in backend.last.headers if "user" in name.lower() and name != "User-Agent"]
    assert "admin" not in repr(backend.last.headers)


async def test_an_optional_route_tells_who_is_signed_in_and_serves_everybody(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    routes = [{"path": "/", "access": "public", "identity": "optional"}]
    gateway = await make_gateway(backend.url, routes=routes)
    await gateway.get("/", cookie=await gateway.sign_in(ALICE))
    assert backend.last.value("X-Forwarded-Preferred-Username") == "alice"
    assert (await gateway.get("/", headers={"X-Forwarded-User": "admin"})).status == 200
    assert backend.last.value("X-Forwarded-User") is None


async def test_our_cookies_never_reach_a_backend_and_others_keep_their_bytes(
    gateway: Gateway, backend: RecordingBackend
) -> None:
    ours = await gateway.sign_in(ALICE)
    cookie = f'sessionid=abc; {ours}; gw_form=x; theme="dark; blue"; __Host-gw_session=y; GW_SESSION=kept'
    await gateway.get("/orders", cookie=cookie)
    assert backend.last.value("Cookie") == 'sessionid=abc; theme="dark; blue"; GW_SESSION=kept'
    await gateway.get("/orders", cookie=ours)
    assert backend.last.value("Cookie") is None


async def test_the_authorization_header_is_the_gateway_s_unless_a_route_gives_it_away(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    routes = [{"path": "/", "authorization": "backend"}, {"path": "/ours/"}, {"path": "/public/", "access": "public"}]
    gateway = await make_gateway(backend.url, routes=routes)
    cookie = await gateway.sign_in(ALICE)
    basic = {"Authorization": "Basic " + base64.b64encode(b"a:b").decode()}
    for path, passes in (("/", True), ("/ours/", False), ("/public/", True)):
        await gateway.get(path, cookie=cookie, headers=basic)
        assert (backend.last.value("Authorization") is not None) is passes, path


async def test_the_host_is_the_client_s_or_the_upstream_s(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    routes = [*PUBLIC, {"path": "/own/", "access": "public", "preserve_host": False}]
    gateway = await make_gateway(backend.url, routes=routes)
    await gateway.get("/", headers={"Host": "www.example.org"})
    assert backend.last.value("Host") == "www.example.org"
    await gateway.get("/own/", headers={"Host": "www.example.org"})
    assert backend.last.value("Host") == backend.url.removeprefix("http://")
    assert backend.last.value("X-Forwarded-Host") == "www.example.org"


async def test_an_absolute_target_is_forwarded_as_a_path_with_its_host(
    public: Gateway, backend: RecordingBackend
) -> None:
    await public.raw(b"GET http://b.example/x?y HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
    assert (backend.last.target, backend.last.value("Host")) == ("/x?y", "b.example")


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ({"preset": "remote"}, ("Remote-Name", "Zo%C3%AB, 50%25")),
        ({"preset": "auth-request", "encoding": "utf8"}, ("X-Auth-Request-Preferred-Username", "Zo\xc3\xab, 50%")),
        ({"encoding": "latin1"}, ("X-Forwarded-Preferred-Username", "Zo\xeb, 50%")),
        ({"headers": {"username": "X-Login"}}, ("X-Login", "Zo%C3%AB, 50%25")),
    ],
)
async def test_identity_is_spelled_as_the_operator_says(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Any, identity: Any, expected: tuple[str, str]
) -> None:
    users = tmp_path / "users.yaml"
    users.write_text(f'users: [{{username: "Zoë, 50%", password: "{hash_password("secret-12")}"}}]', encoding="utf-8")
    gateway = await make_gateway(
        backend.url, identity=identity, users=[{"source": "file", "path": str(users)}], headers={"forwarded": True}
    )
    cookie = await gateway.sign_in({"username": "Zoë, 50%", "password": "secret-12"})
    name, value = expected
    await gateway.get("/", cookie=cookie, headers={name: "forged", name.replace("-", "_"): "forged"})
    assert backend.last.values(name) == [value]
    assert "forged" not in repr(backend.last.headers)
    assert backend.last.value("Forwarded") == f'for=127.0.0.1;host="127.0.0.1:{gateway.port}";proto=http'


# -- bodies
async def test_a_body_with_a_length_and_a_chunked_one_arrive_whole(demo_gateway: Gateway) -> None:
    cookie = await demo_gateway.sign_in(ALICE)
    data = bytes(range(256)) * 4096 * 3

    async def pieces() -> Any:
        for at in range(0, len(data), 50_001):
            yield data[at : at + 50_001]

    for body in (data, pieces()):
        answer = await (await demo_gateway.post("/echo", data=body, cookie=cookie)).json()
        assert (answer["length"], answer["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        names = [name.lower() for name, _ in answer["headers"]]
        assert names.count("content-length") + names.count("transfer-encoding") == 1


async def test_a_compressed_body_is_not_unpacked_on_the_way(public: Gateway, backend: RecordingBackend) -> None:
    data = gzip.compress(b"hello")
    await public.post("/", data=data, headers={"Content-Encoding": "gzip"})
    assert (backend.last.body, backend.last.value("Content-Encoding")) == (data, "gzip")


async def test_a_refused_stranger_is_not_invited_to_send_his_body(gateway: Gateway, backend: RecordingBackend) -> None:
    head = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
    received = await gateway.raw(head, seconds=2)
    assert received.startswith(b"HTTP/1.1 302 ")
    assert b"100 Continue" not in received
    assert backend.connections == 0


async def test_the_backend_invites_whoever_may_pass_to_send_his_body(make_gateway: MakeGateway) -> None:
    heads: list[bytes] = []

    async def invite(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(5)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)
        await writer.drain()

    async with await asyncio.start_server(invite, "127.0.0.1", 0) as server:
        gateway = await make_gateway(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", routes=PUBLIC)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello")
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert answer.endswith(b"\r\n\r\nhello")
        assert b"Expect: 100-continue\r\n" in heads[0]
        writer.close()


async def test_an_answer_before_the_end_of_the_body_is_passed_on(make_gateway: MakeGateway) -> None:
    """A backend may refuse an upload from its head."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await writer.drain()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        gateway = await make_gateway(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", routes=PUBLIC)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n" + b"a" * 100_000)
        assert (await asyncio.wait_for(reader.readuntil(b"big"), 5)).startswith(b"HTTP/1.1 413 Too Large\r\n")
        writer.close()


@pytest.mark.parametrize("size", [60_000, 100_000, 140_000, 180_000, 300_000])
async def test_a_connection_goes_on_behind_an_upload_that_nobody_took(make_gateway: MakeGateway, size: int) -> None:
    gateway = await make_gateway("http://127.0.0.1:1", routes=PUBLIC)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 502 ")
    if b"connection: close" not in head.lower():
        writer.write(b"GET /auth/session HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert b"HTTP/1.1 302 " in await asyncio.wait_for(reader.read(), 4)
    writer.close()


async def test_trailers_of_a_request_are_discarded(public: Gateway, backend: RecordingBackend) -> None:
    """Hazard A8: merged into the headers, a trailer would be a header that no rule has seen."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-Late\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    await public.raw(head + b"3\r\nabc\r\n0\r\nX-Late: 1\r\nX-Forwarded-User: admin\r\n\r\n")
    assert backend.last.body == b"abc"
    assert "Late" not in repr(backend.last.headers)
    assert backend.last.value("X-Forwarded-User") is None


async def test_a_request_whose_body_never_comes_is_cut_off_without_disturbing_others(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    """P87."""
    routes = [{"path": "/", "access": "public", "timeouts": {"between_bytes": 0.5}}]
    gateway = await make_gateway(backend.url, routes=routes)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"
    stuck = [asyncio.create_task(gateway.raw(head, seconds=10)) for _ in range(20)]
    assert (await gateway.get("/")).status == 200
    answers = await asyncio.gather(*stuck)
    assert {answer.split(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 408 Request Timeout"}
    assert all(b"slow_request" in answer for answer in answers)


async def test_a_backend_that_does_not_read_slows_the_sender_down(make_gateway: MakeGateway) -> None:
    """What nobody takes waits in the kernel and at the sender, never in the gateway."""
    over = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await over.wait()
        writer.transport.abort()

    async with await asyncio.start_server(deaf, "127.0.0.1", 0, limit=4096) as server:
        gateway = await make_gateway(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", routes=PUBLIC)
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 100 * 1024 * 1024:
                writer.write(bytes(65536))
                sent += 65536
                await asyncio.wait_for(writer.drain(), 1)
        over.set()
        writer.transport.abort()
    assert sent < 32 * 1024 * 1024


# -- the answer
ANSWER = (
    b"HTTP/1.1 207 Multi Status\r\nX-A: 1\r\nx-b: caf\xe9\r\n"
    b"X-A: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok"
)


async def test_the_answer_passes_byte_for_byte(public: Gateway, backend: RecordingBackend) -> None:
    backend.answer = ANSWER
    received = await public.raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    added = re.search(rb"Date: [^\r]* GMT\r\nConnection: close\r\n", received)
    assert added is not None  # RFC 9110 §6.6.1
    assert received.replace(added[0], b"") == ANSWER


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n",
            b"abcde",
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 10\r\n\r\n", b""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", b"x"),
        (b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", b""),
    ],
    ids=["chunked", "until-close", "http-1.0", "204", "304", "interim", "no-phrase"],
)
async def test_every_way_to_end_an_answer_is_understood(
    public: Gateway, backend: RecordingBackend, answer: bytes, body: bytes
) -> None:
    backend.answer = writes(answer, close=True)
    response = await public.get("/")
    assert await response.read() == body
    assert "X-Trailer" not in response.headers


async def test_head_keeps_the_length_and_sends_no_body(public: Gateway, backend: RecordingBackend) -> None:
    backend.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nETag: x\r\n\r\n"
    two = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    received = await public.raw(two)
    assert received.count(b"Content-Length: 5000\r\n") == 2
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert backend.connections == 1


async def test_an_old_client_gets_an_answer_it_can_end(public: Gateway, backend: RecordingBackend) -> None:
    backend.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    received = await public.raw(b"GET / HTTP/1.0\r\n\r\n")
    head, _, body = received.partition(b"\r\n\r\n")
    assert body == b"abc"
    assert b"chunked" not in head
    assert b"Connection: close" in head


async def test_a_backend_cannot_set_our_cookie(public: Gateway, backend: RecordingBackend) -> None:
    backend.answer = (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: gw_session=stolen; Path=/\r\nSet-Cookie: ok=1\r\n"
        b"Set-Cookie: __Host-gw_session=stolen\r\nContent-Length: 0\r\n\r\n"
    )
    response = await public.get("/")
    assert response.headers.getall("Set-Cookie") == ["ok=1"]


@pytest.mark.parametrize(
    ("cache", "sent", "seen"),
    [
        ("as_is", b"Cache-Control: public, max-age=60\r\n", "public, max-age=60"),
        ("private", b"Cache-Control: public, max-age=60, s-maxage=90\r\n", "private, max-age=60"),
        ("private", b"", "private"),
        ("no-store", b"Cache-Control: public, max-age=60\r\n", "no-store"),
    ],
)
async def test_the_cache_headers_are_as_the_route_says(
    make_gateway: MakeGateway, backend: RecordingBackend, cache: str, sent: bytes, seen: str
) -> None:
    gateway = await make_gateway(backend.url, routes=[{"path": "/", "access": "public", "cache": cache}])
    backend.answer = b"HTTP/1.1 200 OK\r\n" + sent + b"Content-Length: 0\r\n\r\n"
    assert (await gateway.get("/")).headers.getall("Cache-Control") == [seen]


async def test_connections_to_the_backend_are_kept(public: Gateway, backend: RecordingBackend) -> None:
    for _ in range(5):
        await (await public.get("/")).read()
    assert backend.connections == 1


async def test_events_pass_as_they_come(demo_gateway: Gateway) -> None:
    cookie = await demo_gateway.sign_in(ALICE)
    response = await demo_gateway.get("/events?count=0&interval=0.05", cookie=cookie)
    first = await asyncio.wait_for(response.content.readuntil(b"\n\n"), 5)
    second = await asyncio.wait_for(response.content.readuntil(b"\n\n"), 5)
    assert b'"alice"' in first
    assert first != second
    response.close()


# -- errors of the way
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "upstream_nonsense"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "upstream_nonsense"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello", "upstream_nonsense"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "upstream_nonsense"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "upstream_nonsense"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n", "upstream_nonsense"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, "upstream_nonsense"),
        (b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n", "upstream_nonsense"),
        (b"HTTP/1.1 200 OK\r\nCont", "upstream_nonsense"),
        (b"HTTP/1.1 102 P\r\n\r\n" * 40, "upstream_nonsense"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "upstream_nonsense"),
        (b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "upstream_nonsense"),
        (b"HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n", "upstream_nonsense"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "upstream_nonsense"),
        (b"", "upstream_unreachable"),
    ],
    ids=["ssh", "two-lengths", "bad-length", "length-and-chunked", "101", "many-headers", "endless-head", "nul", "cut-head",
         "endless-interim", "rtsp", "http-2.0", "nul-in-phrase", "coding", "closed"],
)  # fmt: skip
async def test_nonsense_from_a_backend_is_a_502_without_details(
    public: Gateway, backend: RecordingBackend, answer: bytes, reason: str
) -> None:
    backend.answer = writes(answer, close=True)
    response = await public.get("/")
    body = await response.json()
    assert (response.status, body["ret"], body["reason"]) == (502, 502, reason)
    assert "127.0.0.1" not in await response.text()


async def test_a_backend_that_is_not_there_is_a_502_and_a_page_for_a_page_load(make_gateway: MakeGateway) -> None:
    gateway = await make_gateway("http://127.0.0.1:1", routes=PUBLIC)
    response = await gateway.get("/")
    assert (response.status, (await response.json())["reason"]) == (502, "upstream_unreachable")
    page = await gateway.get("/", headers={"Sec-Fetch-Mode": "navigate"})
    assert (page.status, page.content_type) == (502, "text/html")


async def test_a_backend_that_does_not_answer_in_time_is_a_504(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    async def silence(_: Recorded, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    backend.answer = silence
    routes = [{"path": "/", "access": "public", "timeouts": {"first_byte": 0.3}}]
    gateway = await make_gateway(backend.url, routes=routes)
    response = await gateway.get("/")
    assert (response.status, (await response.json())["reason"]) == (504, "upstream_timeout")
    assert len(backend.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nonly \r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nonly \r\nZZ\r\n",
    ],
    ids=["short", "cut-chunks", "bad-chunk"],
)
async def test_a_cut_answer_can_not_pass_for_a_whole_one(
    public: Gateway, backend: RecordingBackend, answer: bytes
) -> None:
    head, end, body = answer.partition(b"\r\n\r\n")
    passed_on = asyncio.Event()

    async def break_off(_: Recorded, writer: asyncio.StreamWriter) -> None:
        writer.write(head + end)
        await passed_on.wait()
        writer.write(body)
        await writer.drain()
        writer.close()

    backend.answer = break_off
    reader, writer = await asyncio.open_connection("127.0.0.1", public.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    received = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    passed_on.set()
    with contextlib.suppress(ConnectionError):
        while piece := await asyncio.wait_for(reader.read(65536), 5):
            received += piece
    writer.close()
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert not received.endswith(b"0\r\n\r\n")


async def test_nonsense_that_comes_with_the_head_is_a_502(public: Gateway, backend: RecordingBackend) -> None:
    backend.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nonly \r\nZZ\r\n"
    response = await public.get("/")
    assert (response.status, (await response.json())["reason"]) == (502, "upstream_nonsense")


async def test_a_kept_connection_that_died_is_replaced_for_a_get_but_a_post_is_never_sent_twice(
    public: Gateway, backend: RecordingBackend
) -> None:
    """Hazard D17. The backend answers once, then closes when the next request arrives: nobody knows whether it was read."""

    async def once(request: Recorded, writer: asyncio.StreamWriter) -> None:
        if request.target == "/first" or backend.connections > 1:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        else:
            writer.close()

    backend.answer = once
    await (await public.get("/first")).read()
    assert (await public.get("/again")).status == 200
    assert [request.target for request in backend.requests] == ["/first", "/again", "/again"]
    backend.connections = 1
    response = await public.post("/post", data=b"x")
    assert response.status == 502
    assert [request.target for request in backend.requests].count("/post") == 1


async def test_bytes_behind_an_answer_are_never_another_answer(public: Gateway, backend: RecordingBackend) -> None:
    """Hazard D5: or one user gets what a backend put on the wire for another."""
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    backend.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + evil
    for _ in range(3):
        assert await (await public.get("/")).read() == b"ok"
    assert backend.connections == 3


async def test_a_client_that_goes_away_ends_the_backend_s_request(public: Gateway, backend: RecordingBackend) -> None:
    gone = asyncio.Event()

    async def endless(_: Recorded, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"1000\r\n" + b"a" * 4096 + b"\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            gone.set()
            raise

    backend.answer = endless
    response = await public.get("/")
    await response.content.readexactly(10_000)
    response.close()
    await asyncio.wait_for(gone.wait(), 10)


async def test_a_client_that_sends_and_leaves_ends_the_backend_s_request_too(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    """Each of these held a connection to the backend for as long as it took to answer."""
    open_now = 0

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass
        open_now -= 1
        writer.close()

    async with await asyncio.start_server(wait, "127.0.0.1", 0) as server:
        gateway = await make_gateway(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        cookie = await gateway.sign_in(ALICE)
        for number in range(60):
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(f"POST /x HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\nContent-Length: 5\r\n\r\nhello".encode())
            await asyncio.sleep(0.002 * (number % 10))
            writer.transport.abort()
        await asyncio.sleep(0.5)
        async with asyncio.timeout(20):
            while open_now:
                await asyncio.sleep(0.05)


async def test_a_body_that_goes_wrong_in_a_later_segment_ends_both_sides(
    public: Gateway, backend: RecordingBackend
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", public.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    await asyncio.sleep(0.3)
    writer.write(b"zz\r\n")
    assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 400 ")
    writer.close()
    assert backend.requests == []


@pytest.mark.parametrize("endless", [b"0\r\nX-Trailer: ", b"5;extension="])
async def test_an_answer_that_never_ends_its_chunks_is_cut_off(
    public: Gateway, backend: RecordingBackend, endless: bytes
) -> None:
    """The parser would gather it for ever, in quadratic time."""
    sent = 0

    async def flood(_: Recorded, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" + endless)
        while sent < 50_000_000:
            writer.write(b"a" * 65536)
            sent += 65536
            await writer.drain()

    backend.answer = flood
    received = await public.raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", seconds=20)
    assert not received.endswith(b"0\r\n\r\n")
    assert sent < 50_000_000


async def test_a_204_has_no_length(public: Gateway, backend: RecordingBackend) -> None:
    backend.answer = b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n"
    assert "Content-Length" not in (await public.get("/")).headers


async def test_two_users_on_one_kept_connection_get_their_own_identity(
    gateway: Gateway, backend: RecordingBackend
) -> None:
    """P61, P62: nothing of one request sticks to the next."""

    async def who(request: Recorded, writer: asyncio.StreamWriter) -> None:
        name = (request.value("X-Forwarded-Preferred-Username") or "nobody").encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name))

    backend.answer = who
    cookies = {"alice": await gateway.sign_in(ALICE), "mgr": await gateway.sign_in(MANAGER)}
    gateway.client.session.cookie_jar.clear()

    async def ask(name: str) -> bool:
        async with gateway.client.session.get(f"{gateway.url}/x", headers={"Cookie": cookies[name]}) as response:
            return await response.text() == name

    assert all(await asyncio.gather(*(ask(name) for name in ["alice", "mgr"] * 100)))
