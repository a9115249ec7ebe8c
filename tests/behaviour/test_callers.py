"""Who is calling when proxies stand in front: what the backend, the log and the session are told, and whom nobody believes."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import SettingsError
from gateway.telemetry.access_log import Writer, as_json, flush, use
from tests.conftest import MakeGateway
from tests.fakes import Recorded, RecordingBackend
from tests.harness import ALICE, MASTER, ROOT, Gateway, GatewayProcess, make_settings, session_cookie

PUBLIC: list[dict[str, Any]] = [{"path": "/public/", "access": "public"}, {"path": "/"}]
PROXIES = {"trusted_proxies": ["127.0.0.1", "10.0.0.0/8"]}
CALLER = {"X-Forwarded-For": "198.51.100.1, 203.0.113.7, 10.0.0.9", "X-Forwarded-Proto": "https"}
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1 = b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\r\n"
V2 = (
    SIGNATURE + b"\x21\x11\x00\x0f" + socket.inet_aton("203.0.113.7") + socket.inet_aton("10.0.0.1") + b"\0\1\0\2\4\0\0"
)
V2_IPV6 = SIGNATURE + b"\x21\x21\x00\x24" + socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + b"\0\1\0\2"
V2_UNIX = SIGNATURE + b"\x21\x31\x00\xd8" + b"/run/a".ljust(216, b"\0")
GET = b"GET /public/x HTTP/1.1\r\nHost: site.test\r\n\r\n"
LAST = b"GET /public/x HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n"


@pytest.fixture
async def behind(make_gateway: MakeGateway, backend: RecordingBackend) -> Gateway:
    """A gateway behind a proxy: everybody who comes from 127.0.0.1 is it."""
    return await make_gateway(backend.url, routes=PUBLIC, server=PROXIES, headers={"forwarded": True})


@pytest.fixture
async def proxied(make_gateway: MakeGateway, backend: RecordingBackend) -> Gateway:
    """A gateway behind a load balancer that speaks the PROXY protocol."""
    return await make_gateway(
        backend.url, routes=PUBLIC, server={**PROXIES, "proxy_protocol": True, "head_timeout": 0.4}
    )


Start = Callable[..., Awaitable[GatewayProcess]]


@pytest.fixture
async def start(backend: RecordingBackend, tmp_path: Path) -> AsyncIterator[Start]:
    """``await start(**server)``: a gateway as a process of its own, with the event loop that it has in earnest."""
    started: list[GatewayProcess] = []

    async def make(**server: Any) -> GatewayProcess:
        settings = {
            "keys": {"master": MASTER},
            "session": {"engine": "cookie"},
            "users": [{"source": "file", "path": str(ROOT / "config/users.yaml")}],
            "upstreams": {"app": {"url": backend.url}},
            "routes": PUBLIC,
            "management": {"port": 0},
            "server": {"port": 0, **server},
        }
        path = tmp_path / "gateway.yaml"
        path.write_text(json.dumps(settings), encoding="utf-8")
        started.append(GatewayProcess("serve", "--config", str(path)))
        return await asyncio.to_thread(started[-1].start)

    yield make
    for process in started:
        await asyncio.to_thread(process.stop)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """The access log."""
    stream = io.StringIO()
    use(Writer(stream, as_json))
    yield stream
    use(None)


def peers(lines: io.StringIO) -> list[str]:
    """Of every request so far, as the log has them."""
    flush()
    return [json.loads(line).get("peer", "") for line in lines.getvalue().splitlines()]


def origin(request: Recorded) -> list[str | None]:
    """What the backend was told of where the request came from."""
    return [request.value(f"X-Forwarded-{name}") for name in ("For", "Proto", "Host", "Port")]


async def send(
    gateway: Gateway | GatewayProcess, *pieces: bytes, source: str = "127.0.0.1", ends: bool = False
) -> tuple[bytes, ConnectionError | None]:
    """Sends pieces, each on its own; all that comes back until the end, and how it ended: None, or a reset."""
    received, reset, writer = b"", None, None
    try:
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, local_addr=(source, 0))
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if ends:
                writer.write_eof()
            while piece := await reader.read(65536):
                received += piece
    except ConnectionError as error:
        reset = error
    if writer is not None:
        writer.close()
    return received, reset


# -- a proxy that is trusted
async def test_a_trusted_proxy_tells_who_is_calling_and_how(
    behind: Gateway, backend: RecordingBackend, lines: io.StringIO
) -> None:
    response = await behind.get("/public/x", headers={**CALLER, "Host": "site.test"})
    assert response.status == 200
    assert origin(backend.last) == ["203.0.113.7", "https", "site.test", "443"]
    assert backend.last.value("Forwarded") == 'for=203.0.113.7;host="site.test";proto=https'
    assert peers(lines) == ["203.0.113.7"]


async def test_forwarded_says_the_same(behind: Gateway, backend: RecordingBackend) -> None:
    said = 'for="[2001:db8::7]:4711";proto=https;host=evil.test, for=10.0.0.9;proto=http'
    await behind.get("/public/x", headers={"Forwarded": said, "Host": "site.test"})
    assert origin(backend.last) == ["2001:db8::7", "https", "site.test", "443"]
    assert backend.last.value("Forwarded") == 'for="[2001:db8::7]";host="site.test";proto=https'


async def test_without_a_word_the_proxy_itself_is_the_caller(behind: Gateway, backend: RecordingBackend) -> None:
    await behind.get("/public/x", headers={"Host": "site.test:8080"})
    assert origin(backend.last) == ["127.0.0.1", "http", "site.test:8080", "8080"]


async def test_every_request_on_one_connection_has_a_caller_of_its_own(
    behind: Gateway, backend: RecordingBackend, lines: io.StringIO
) -> None:
    """Equal bytes are parsed once; they are the same caller's only when the same proxy sent them."""
    first = GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n\r\n")
    second = first.replace(b"203.0.113.7", b"203.0.113.8").replace(b"https", b"http")
    data, _ = await send(behind, first + second + first + GET + first + LAST)
    assert data.count(b"HTTP/1.1 200") == 6
    expected = ["203.0.113.7", "203.0.113.8", "203.0.113.7", "127.0.0.1", "203.0.113.7", "127.0.0.1"]
    assert [request.value("X-Forwarded-For") for request in backend.requests] == expected
    schemes = [request.value("X-Forwarded-Proto") for request in backend.requests]
    assert schemes == ["https", "http", "https", "http", "https", "http"]
    assert peers(lines) == expected


async def test_the_list_of_my_sessions_has_the_callers_address(behind: Gateway) -> None:
    response = await behind.post("/auth/login", json=ALICE, headers=CALLER)
    cookie = session_cookie(response)
    told = await (await behind.get("/auth/sessions", cookie=cookie)).json()
    assert [one["address"] for one in told["sessions"]] == ["203.0.113.7"]


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"X-Forwarded-For": "a"}, "X-Forwarded-For"),
        ({"X-Forwarded-For": "203.0.113.7, 10.0.0.9, 10.0.0"}, "X-Forwarded-For"),
        ({"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "gopher"}, "X-Forwarded-Proto"),
        ({"Forwarded": "for=203.0.113.7:80"}, "Forwarded"),
        ({"X-Forwarded-For": "203.0.113.7", "Forwarded": "for=203.0.113.8"}, "X-Forwarded-For and Forwarded"),
        ({"X-Forwarded-Proto": "https", "Forwarded": "proto=http"}, "X-Forwarded-Proto and Forwarded"),
    ],
)
@pytest.mark.parametrize("path", ["/public/x", "/orders", "/auth/login"])
async def test_what_a_trusted_proxy_says_and_nobody_understands_is_refused(
    behind: Gateway, backend: RecordingBackend, headers: dict[str, str], name: str, path: str
) -> None:
    """P32: fails closed, for our own endpoints too."""
    response = await behind.get(path, headers=headers)
    told = await response.json()
    assert (response.status, told["reason"]) == (400, "bad_request")
    assert f": {name} c" in told["msg"]
    assert response.headers["Connection"] == "close"
    chinese = await (await behind.get(path, headers={**headers, "Accept-Language": "zh"})).json()
    assert "请求头" in chinese["msg"]
    assert backend.requests == []


async def test_the_scheme_that_a_trusted_proxy_tells_is_the_sites_when_nothing_else_says_it(behind: Gateway) -> None:
    async def sign_in(**headers: str) -> int:
        sent = {"Host": "site.test", "Origin": "https://site.test", **headers}
        return (await behind.post("/auth/login", json=ALICE, headers=sent)).status

    assert await sign_in(**CALLER) == 200
    assert await sign_in() == 403
    assert await sign_in(**{**CALLER, "X-Forwarded-Proto": "http"}) == 403


async def test_strangers_who_came_by_http_are_not_told_what_those_by_https_are(behind: Gateway) -> None:
    """Refusals are remembered; the page to come back to depends on the scheme."""
    sent = {"Host": "site.test", "Referer": "https://site.test/page"}
    for _ in range(2):
        for scheme, page in (("https", "%2Fpage"), ("http", "%2F")):
            told = await (await behind.get("/orders", headers={**sent, "X-Forwarded-Proto": scheme})).json()
            assert told["redirect"] == f"/auth/login?next={page}"


async def test_a_host_that_proxies_tell_is_not_believed(behind: Gateway, backend: RecordingBackend) -> None:
    """P35, P43."""
    lie = {"X-Forwarded-Host": "evil.test", "X-Forwarded-Port": "666", "X-Forwarded-Prefix": "/evil"}
    sent = {**CALLER, **lie, "Host": "site.test", "Forwarded": "for=203.0.113.7;host=evil.test"}
    await behind.get("/public/x", headers=sent)
    assert origin(backend.last) == ["203.0.113.7", "https", "site.test", "443"]
    assert "evil" not in str(backend.last.headers)
    foreign = await behind.post("/auth/login", json=ALICE, headers={**sent, "Origin": "https://evil.test"})
    assert foreign.status == 403


# -- everybody else
FORGED = {
    "X-Forwarded-For": "10.0.0.9, 198.51.100.1",
    "X-Forwarded-Proto": "https",
    "Forwarded": "for=198.51.100.2;proto=https",
    "X-Real-IP": "198.51.100.3",
    "X_Forwarded_For": "198.51.100.4",
}


@pytest.mark.parametrize("proxies", [[], ["10.0.0.0/8", "127.0.0.9", "::1", "unix"]])
async def test_nobody_else_is_believed(
    make_gateway: MakeGateway, backend: RecordingBackend, lines: io.StringIO, proxies: list[str]
) -> None:
    """P31, P33, P34."""
    gateway = await make_gateway(backend.url, routes=PUBLIC, server={"trusted_proxies": proxies})
    for headers in (FORGED, {"X-Forwarded-For": "a", "X-Forwarded-Proto": "x", "Forwarded": "="}):
        response = await gateway.get("/public/x", headers={**headers, "Host": "site.test"})
        assert response.status == 200
        assert origin(backend.last) == ["127.0.0.1", "http", "site.test", "80"]
        assert not {"198.51.100", "10.0.0"} & {value[:10] for _, value in backend.last.headers}
    foreign = {**FORGED, "Host": "site.test", "Origin": "https://site.test"}
    assert (await gateway.post("/auth/login", json=ALICE, headers=foreign)).status == 403
    assert set(peers(lines)) == {"127.0.0.1"}


async def test_the_same_bytes_from_a_proxy_and_from_somebody_else_are_two_callers(
    behind: Gateway, backend: RecordingBackend
) -> None:
    request = LAST.replace(b"Connection", b"X-Forwarded-Proto: https\r\nX-Forwarded-For: 127.0.0.2\r\nConnection")
    kept = request.replace(b"Connection: close\r\n", b"")
    for source, scheme in (("127.0.0.1", "https"), ("127.0.0.2", "http"), ("127.0.0.1", "https")):
        await send(behind, kept + request, source=source)
        told = {tuple(origin(one)) for one in backend.requests}
        assert told == {("127.0.0.2", scheme, "site.test", "443" if scheme == "https" else "80")}
        backend.requests.clear()


@pytest.mark.parametrize(("proxies", "caller"), [("unix", "203.0.113.7"), ("127.0.0.1", "")])
async def test_who_comes_by_a_unix_socket_is_believed_when_unix_is_listed(
    start: Start, backend: RecordingBackend, short_folder: Path, proxies: str, caller: str
) -> None:
    place = short_folder / "gateway.sock"
    await start(trusted_proxies=proxies, more_listeners=[{"unix": str(place)}])
    reader, writer = await asyncio.open_unix_connection(str(place))
    writer.write(LAST.replace(b"Connection", b"X-Forwarded-For: 203.0.113.7\r\nConnection"))
    async with asyncio.timeout(10):
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()
    assert backend.last.value("X-Forwarded-For") == caller


@pytest.mark.parametrize("expects", [False, True], ids=["plain", "PROXY"])
async def test_who_resets_his_connection_at_once_does_not_pass_for_a_unix_socket(
    start: Start, backend: RecordingBackend, expects: bool
) -> None:
    """It has no address any more when it is accepted (uvloop asks then), but what it sent can still be read."""
    process = await start(trusted_proxies="unix", proxy_protocol=expects)
    said = GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n")
    os.kill(process.pid, signal.SIGSTOP)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", process.port)) as sock:
            sock.sendall((V1 if expects else b"") + said)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.kill(process.pid, signal.SIGCONT)
    last, _ = await send(process, LAST)
    assert last.startswith(b"HTTP/1.1 200") is not expects
    await asyncio.to_thread(process.stop)
    expected = [] if expects else ["127.0.0.1"] + ["unknown"] * 20
    async with asyncio.timeout(10):
        while process.output.count('"gateway.access"') < len(expected):
            await asyncio.sleep(0.01)
    logged = [json.loads(line) for line in process.output.splitlines() if '"gateway.access"' in line]
    assert sorted(line.get("peer", "") for line in logged) == expected
    assert "198.51.100.1" not in str([request.headers for request in backend.requests])


# -- the PROXY protocol
@pytest.mark.parametrize(
    ("header", "caller"),
    [
        (V1, "203.0.113.7"),
        (V2, "203.0.113.7"),
        (V2_IPV6, "2001:db8::7"),
        (V2_UNIX, "unknown"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (SIGNATURE + b"\x20\x00\x00\x00", "127.0.0.1"),
    ],
    ids=["v1", "v2", "v2 of IPv6", "v2 of a unix socket", "v1 unknown", "v2 of the proxy itself"],
)
async def test_a_proxy_header_tells_who_is_at_the_other_end(
    proxied: Gateway, backend: RecordingBackend, lines: io.StringIO, header: bytes, caller: str
) -> None:
    together = await send(proxied, header + GET + LAST)
    apart = await send(proxied, header, GET, LAST)
    by_byte = await send(proxied, *[bytes([byte]) for byte in header + GET + LAST])
    for data, reset in (together, apart, by_byte):
        assert data.count(b"HTTP/1.1 200") == 2
        assert reset is None
    assert [request.value("X-Forwarded-For") for request in backend.requests] == [caller] * 6
    assert peers(lines) == [caller] * 6


@pytest.mark.parametrize(("through", "caller"), [(b"10.0.0.9", "198.51.100.1"), (b"203.0.113.7", "203.0.113.7")])
async def test_what_a_request_says_counts_only_when_the_address_of_the_header_is_trusted_too(
    proxied: Gateway, backend: RecordingBackend, through: bytes, caller: str
) -> None:
    said = LAST.replace(b"Connection", b"X-Forwarded-For: 198.51.100.1\r\nConnection")
    await send(proxied, V1.replace(b"203.0.113.7", through) + said)
    assert backend.last.value("X-Forwarded-For") == caller


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x21\x00\x00\x00"], ids=["v1", "v2"])
async def test_somebody_whom_the_proxy_does_not_know_is_not_the_proxy(
    proxied: Gateway, backend: RecordingBackend, header: bytes
) -> None:
    said = b"X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-Proto: https\r\nConnection"
    await send(proxied, header + LAST.replace(b"Connection", said))
    assert (backend.last.value("X-Forwarded-For"), backend.last.value("X-Forwarded-Proto")) == ("127.0.0.1", "http")


@pytest.mark.parametrize(
    "data",
    [
        GET,
        b"\x16\x03\x01\x02\x00\x01",
        b"proxy" + V1[5:] + GET,
        V1.replace(b"203", b"303") + GET,
        b"PROXY UNKNOWN " + b"f" * 100 + b"\r\n" + GET,
        SIGNATURE + b"\x21\x11\x00\x0b" + b"\0" * 11 + GET,
        SIGNATURE + b"\x21\x11\xff\xff" + GET,
    ],
    ids=["none", "TLS", "lower case", "no address", "v1 too long", "v2 too short", "v2 too long"],
)
async def test_a_connection_without_a_good_header_is_reset_without_an_answer(
    proxied: Gateway, backend: RecordingBackend, data: bytes
) -> None:
    received, reset = await send(proxied, data)
    assert received == b""
    assert isinstance(reset, ConnectionResetError)
    assert backend.requests == []
    assert (await send(proxied, V1 + LAST))[0].startswith(b"HTTP/1.1 200"), "others are served"


@pytest.mark.parametrize("data", [b"", b"P", V1[:-1], V2[:13], V2[:-1]])
async def test_a_header_that_does_not_come_in_time_is_waited_for_no_longer(proxied: Gateway, data: bytes) -> None:
    started = asyncio.get_running_loop().time()
    received, reset = await send(proxied, *([data] if data else []))
    took = asyncio.get_running_loop().time() - started
    assert received == b""
    assert isinstance(reset, ConnectionResetError)
    assert 0.3 < took < 5


async def test_a_header_that_trickles_gets_no_more_time_for_it(proxied: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxied.port)
    writer.write(b"PROXY UNKNOWN ")

    async def trickle() -> None:
        while True:
            writer.write(b"f")
            await writer.drain()
            with suppress(TimeoutError):
                assert await asyncio.wait_for(reader.read(1), 0.1) == b""

    async with asyncio.timeout(5):  # so long that 107 bytes would not have been too many yet
        with pytest.raises(ConnectionError):
            await trickle()
    writer.close()


@pytest.mark.parametrize("data", [[], [V1[:10]], [V2[:20]]])
async def test_a_connection_that_ends_before_its_header_does_is_over(proxied: Gateway, data: list[bytes]) -> None:
    received, _ = await send(proxied, *data, ends=True)
    assert received == b""
    assert (await send(proxied, V1 + LAST))[0].startswith(b"HTTP/1.1 200"), "others are served"


async def test_a_header_of_somebody_who_is_not_trusted_is_taken_from_nobody(
    proxied: Gateway, backend: RecordingBackend
) -> None:
    for data in (V1 + GET, GET):
        received, reset = await send(proxied, data, source="127.0.0.2")
        assert received == b""
        assert isinstance(reset, ConnectionResetError)
    assert backend.requests == []


async def test_the_operator_hears_of_each_cause_once_in_a_while_and_not_of_every_connection(
    proxied: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        await send(proxied, GET)
        await send(proxied, V1[:20], ends=True)
        await send(proxied, V1 + LAST, source="127.0.0.2")
        await send(proxied, ends=True)
        await send(proxied, V1 + LAST)
    told = [vars(record)["fields"] for record in caplog.records if record.name == "gateway.front.proxied"]
    assert len(told) == len({fields["cause"] for fields in told}) == 3
    assert [fields["peer"] for fields in told] == ["127.0.0.1", "127.0.0.1", "127.0.0.2"]


# Version 1 looks like a request of a method that nobody knows.
UNEXPECTED = [(V1, b"400"), (b"PROXY UNKNOWN\r\n", b"400"), (V2, b"400"), (V2_UNIX, b"400")]


@pytest.mark.parametrize(("header", "status"), UNEXPECTED)
async def test_a_second_header_is_no_request(
    proxied: Gateway, backend: RecordingBackend, header: bytes, status: bytes
) -> None:
    received, _ = await send(proxied, V1 + header + GET)
    assert received.startswith(b"HTTP/1.1 " + status)
    assert received.count(b"HTTP/1.1") == 1
    assert backend.requests == []


@pytest.mark.parametrize(("header", "status"), UNEXPECTED)
async def test_where_no_header_is_expected_it_is_no_request(
    behind: Gateway, backend: RecordingBackend, header: bytes, status: bytes
) -> None:
    received, _ = await send(behind, header + GET)
    assert received.startswith(b"HTTP/1.1 " + status)
    assert received.count(b"HTTP/1.1") == 1
    assert backend.requests == []


async def test_who_waits_with_a_header_holds_up_no_end_of_the_gateway(proxied: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxied.port)
    writer.write(V1[:5])
    kept, wrote = await asyncio.open_connection("127.0.0.1", proxied.port)
    wrote.write(V2 + GET)
    assert (await kept.readline()).startswith(b"HTTP/1.1 200")
    async with asyncio.timeout(10):
        await proxied.client.close()
        await kept.read()
        with suppress(ConnectionError):
            await reader.read()
    writer.close()
    wrote.close()


async def test_a_gateway_with_workers_and_its_own_loop_does_the_same(start: Start, backend: RecordingBackend) -> None:
    process = await start(workers=2, proxy_protocol=True, trusted_proxies="127.0.0.1", head_timeout=0.4)
    for header in (V1, V2):
        for pieces in ([header + GET + LAST], [bytes([byte]) for byte in header + GET + LAST]):
            received, reset = await send(process, *pieces)
            assert (received.count(b"HTTP/1.1 200"), reset) == (2, None)
    assert [request.value("X-Forwarded-For") for request in backend.requests] == ["203.0.113.7"] * 8
    for data, source in ((GET, "127.0.0.1"), (V2[:20], "127.0.0.1"), (V1 + GET, "127.0.0.2")):
        received, reset = await send(process, data, source=source)
        assert received == b""
        assert isinstance(reset, ConnectionResetError)


# -- the names of the site
@pytest.fixture
async def named(make_gateway: MakeGateway, backend: RecordingBackend) -> Gateway:
    """A gateway that knows its names."""
    site = {"hosts": ["site.test", "*.apps.test", "[::1]", "api.test:8443"]}
    return await make_gateway(backend.url, routes=PUBLIC, site=site)


def asking(target: str, *hosts: str, version: str = "1.1") -> bytes:
    lines = [f"GET {target} HTTP/{version}", *[f"Host: {host}" for host in hosts], "Connection: close", "", ""]
    return "\r\n".join(lines).encode()


@pytest.mark.parametrize(
    "host", ["site.test", "SITE.test.", "Site.Test:8080", "a.apps.test", "a.B.apps.test:1", "[::1]:80", "api.test:8443"]
)
async def test_a_site_answers_to_its_names(named: Gateway, backend: RecordingBackend, host: str) -> None:
    """P13."""
    assert (await named.raw(asking("/public/x", host))).startswith(b"HTTP/1.1 200 ")
    assert backend.last.value("Host") == host
    assert (await named.raw(asking("/auth/login", host))).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "host",
    ["evil.test", "xsite.test", "site.test.evil.test", "apps.test", "xapps.test", "127.0.0.1", "[::2]", "api.test"],
)
@pytest.mark.parametrize("path", ["/public/x", "/orders", "/nowhere", "/auth/login", "/auth/session"])
async def test_another_name_is_misdirected_wherever_it_leads(
    named: Gateway, backend: RecordingBackend, host: str, path: str
) -> None:
    received = await named.raw(asking(path, host))
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 421 ")
    told = json.loads(body)
    assert (told["ret"], told["reason"], "redirect" in told) == (421, "unknown_host", False)
    assert host.encode() not in received
    assert backend.requests == []


async def test_a_cookie_is_not_looked_at_under_another_name(named: Gateway) -> None:
    cookie = session_cookie(await named.post("/auth/login", json=ALICE, headers={"Host": "site.test"}))
    sent = {"Host": "evil.test", "Cookie": cookie}
    assert (await named.get("/auth/session", headers={**sent, "Host": "site.test"})).status == 200
    refused = await named.get("/auth/session", headers=sent)
    assert refused.status == 421
    assert "Set-Cookie" not in refused.headers


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (asking("http://site.test/public/x", "site.test"), b"200"),
        (asking("http://SITE.test:80/public/x", "site.test"), b"200"),
        (asking("http://evil.test/public/x", "site.test"), b"421"),
        (asking("http://site.test/public/x", "evil.test"), b"421"),
        (asking("/public/x", version="1.0"), b"421"),
        (asking("/public/x", "site.test", version="1.0"), b"200"),
        (asking("/public/x"), b"400"),
        (asking("/public/x", "site.test", "site.test"), b"400"),
    ],
)
async def test_the_name_counts_wherever_it_stands(named: Gateway, data: bytes, status: bytes) -> None:
    assert (await named.raw(data)).split(b" ", 2)[1] == status


async def test_without_names_any_will_do(gateway: Gateway) -> None:
    assert (await gateway.raw(asking("/public/x", "whatever.test"))).startswith(b"HTTP/1.1 200 ")


async def test_a_page_load_under_another_name_gets_a_page(named: Gateway) -> None:
    response = await named.get("/public/x", headers={"Host": "evil.test", "Accept": "text/html"})
    assert response.status == 421
    assert response.content_type == "text/html"
    assert "evil" not in await response.text()


# -- the settings
@pytest.mark.parametrize(
    ("over", "key"),
    [
        ({"server": {"proxy_protocol": True}}, "server.proxy_protocol"),
        ({"server": {"proxy_protocol": True, "trusted_proxies": []}}, "server.proxy_protocol"),
        ({"server": {"trusted_proxies": ["0.0.0.0/0"]}}, "server.trusted_proxies"),
        ({"server": {"trusted_proxies": ["10.0.0.1/8"]}}, "server.trusted_proxies"),
        ({"server": {"trusted_proxies": ["proxy.example.org"]}}, "server.trusted_proxies"),
        ({"site": {"hosts": ["https://site.test"]}}, "site.hosts"),
        ({"site": {"hosts": ["*"]}}, "site.hosts"),
        ({"site": {"hosts": ["a.test"], "url": "https://b.test"}}, "site.hosts"),
    ],
)
def test_what_would_not_work_is_an_error_of_the_configuration(over: dict[str, Any], key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        make_settings("redis://127.0.0.1:1/0", "http://127.0.0.1:9", **over)
    assert [problem.key for problem in caught.value.problems] == [key]


def test_one_proxy_and_one_name_need_no_brackets() -> None:
    over: dict[str, Any] = {
        "server": {"trusted_proxies": "10.0.0.1"},
        "site": {"hosts": "*.a.test", "url": "http://b.a.test"},
    }
    settings = make_settings("redis://127.0.0.1:1/0", "http://127.0.0.1:9", **over)
    assert settings.server.trusted_proxies == ("10.0.0.1",)
    assert settings.site.hosts == ("*.a.test",)


def test_the_headers_of_these_tests_are_what_the_protocol_says() -> None:
    assert struct.unpack("!H", V2[14:16])[0] == len(V2) - 16
    assert struct.unpack("!H", V2_IPV6[14:16])[0] == len(V2_IPV6) - 16
    assert struct.unpack("!H", V2_UNIX[14:16])[0] == len(V2_UNIX) - 16
