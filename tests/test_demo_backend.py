"""The demo's legacy backend, over HTTP."""

import asyncio
import base64
import contextlib
import gzip
import hashlib
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient
from pytest_aiohttp import AiohttpClient

from demo.backend import create_app

ROOT = Path(__file__).parent.parent
API = "/api/mgr/customers"
USERNAME = "X-Forwarded-Preferred-Username"
VALID = {"name": "Ada", "phonenumber": "1", "address": "Here"}
MIB = 1024 * 1024

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> Client:
    return await aiohttp_client(create_app())


async def rows(client: Client) -> list[dict[str, Any]]:
    answer = await (await client.get(API)).json()
    assert answer["ret"] == 0
    return answer["retlist"]


async def raw(client: Client, request: str, encoding: str = "latin-1") -> tuple[str, bytes]:
    """Send a request as it stands; return the head and the body that come back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(request.encode(encoding))
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return head.decode(), body


async def raw_get(client: Client, target: str) -> tuple[str, bytes]:
    return await raw(client, f"GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")


def short(value: object) -> str:
    """A test id that stays readable for values of a hundred thousand characters."""
    return str(value)[:60]


def pattern(length: int) -> bytes:
    return bytes(i % 251 for i in range(length))


# --- the shop ---------------------------------------------------------------------------------------------------------

DATA, UPDATE = "X-Session-Data", "X-Session-Update"


def in_base64(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def from_base64(value: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(value + "=="))


async def test_the_shop_shows_its_session_data_and_counts_the_visit(client: Client) -> None:
    headers = {DATA: in_base64({"visits": 4, "cart": {"pen": 2, "gone": 1}})}
    response = await client.get("/shop", headers=headers)
    html = await response.text()
    assert '<strong id="visits">5</strong>' in html
    assert '<strong id="total">£49.00</strong>' in html
    assert from_base64(response.headers[UPDATE]) == {"visits": 5}


@pytest.mark.parametrize(
    ("form", "cart", "update"),
    [
        ({"add": "ink"}, {"pen": 2}, {"cart": {"ink": 1}}),
        ({"add": "pen"}, {"pen": 2}, {"cart": {"pen": 3}}),
        ({"add": "pen"}, {"pen": 99}, {"cart": {"pen": 99}}),
        ({"remove": "pen"}, {"pen": 2}, {"cart": {"pen": None}}),
        ({"empty": "yes"}, {"pen": 2, "ink": 1}, {"cart": None}),
    ],
)
async def test_a_button_of_the_shop_changes_what_it_names(
    client: Client, form: dict[str, str], cart: dict[str, int], update: Any
) -> None:
    headers = {DATA: in_base64({"visits": 1, "cart": cart})}
    response = await client.post("/shop/cart", data=form, headers=headers, allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (303, "/shop")
    assert from_base64(response.headers[UPDATE]) == update


async def test_without_session_data_the_shop_says_so_and_keeps_nothing(client: Client) -> None:
    response = await client.get("/shop")
    assert "There is no cart here" in await response.text()
    posted = await client.post("/shop/cart", data={"add": "ink"}, allow_redirects=False)
    assert (response.status, posted.status) == (200, 303)
    assert UPDATE not in response.headers
    assert UPDATE not in posted.headers


@pytest.mark.parametrize("form", [{}, {"add": "gold"}, {"remove": "<script>"}])
async def test_what_the_shop_does_not_have_cannot_be_put_into_the_cart(client: Client, form: dict[str, str]) -> None:
    assert (await client.post("/shop/cart", data=form, headers={DATA: "e30"})).status == 400


# --- pages -----------------------------------------------------------------------------------------------------------

PAGES = ["/", "/mgr/index.html", "/mgr/sign.html", "/orders", "/shop", "/public/about.html"]


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_is_html_without_inline_code_that_nobody_stores(client: Client, path: str) -> None:
    response = await client.get(path)
    html = await response.text()
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert html.startswith("<!doctype html>")
    assert not re.search(r"<style|<script>|\b(style|on[a-z]+)=", html)


@pytest.mark.parametrize("name", ["demo.css", "sign.js", "customers.js", "icon.svg"])
async def test_public_files_are_served_with_their_type(client: Client, name: str) -> None:
    types = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
    response = await client.get(f"/public/{name}")
    assert response.status == 200
    assert response.headers["Content-Type"] == types[name.partition(".")[2]]
    assert await response.read() == (ROOT / "demo/pages" / name).read_bytes()


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_loads_only_public_files_that_exist(client: Client, path: str) -> None:
    html = await (await client.get(path)).text()
    loaded = re.findall(r'<(?:script|link|img)\b[^>]*\b(?:src|href)="([^"]*)"', html)
    assert {"/public/demo.css", "/public/icon.svg"} <= set(loaded)
    for source in loaded:
        assert source.startswith("/public/")
        assert (await client.get(source)).status == 200


@pytest.mark.parametrize("path", ["/public/layout.html", "/public/customers.html", "/public/%2e%2e/views.py"])
async def test_templates_and_code_are_not_public_files(client: Client, path: str) -> None:
    head, _ = await raw_get(client, path)
    assert head.startswith("HTTP/1.1 404 ")


@pytest.mark.parametrize("path", ["/", "/mgr/index.html", "/orders"])
@pytest.mark.parametrize(
    ("header", "shown"),
    [
        ("ada", ">ada</bdi>"),
        ("%E5%B0%8F%E7%8E%8B%20M%C3%BCller", ">小王 Müller</bdi>"),
        ("a+b", ">a+b</bdi>"),
        ("%FF%zz", ">\ufffd%zz</bdi>"),
    ],
)
async def test_pages_name_the_user_percent_decoded(client: Client, path: str, header: str, shown: str) -> None:
    assert shown in await (await client.get(path, headers={USERNAME: header})).text()


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(
    "header",
    ["<script>alert(1)</script>", "%3Cscript%3Ealert(1)%3C/script%3E", "%22%3E%3Cscript%3Ealert(1)%3C/script%3E"],
)
async def test_a_user_name_cannot_become_markup(client: Client, path: str, header: str) -> None:
    html = await (await client.get(path, headers={USERNAME: header})).text()
    assert "<script>" not in html
    if path in ("/", "/mgr/index.html", "/orders"):
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


async def test_a_user_name_in_bytes_that_are_no_utf8_still_gives_a_page(client: Client) -> None:
    head, body = await raw(client, f"GET /orders HTTP/1.0\r\n{USERNAME}: caf\xe9\r\n\r\n")
    assert head.startswith("HTTP/1.0 200 ")
    assert "Hello, <bdi>caf\ufffd</bdi>" in body.decode()


async def test_without_the_gateway_nobody_is_signed_in(client: Client) -> None:
    for path in ("/mgr/index.html", "/orders"):
        assert "Not signed in" in await (await client.get(path)).text()


async def test_the_orders_page_has_plain_links_to_sign_out_and_to_the_other_pages(client: Client) -> None:
    html = await (await client.get("/orders")).text()
    for target in ("/auth/logout", "/", "/mgr/index.html", "/public/about.html"):
        assert f'href="{target}"' in html
    assert "<script" not in html


async def test_every_link_of_the_home_page_works(client: Client) -> None:
    html = await (await client.get("/")).text()
    targets = [part.split('"')[0].replace("&amp;", "&") for part in html.split('<a href="')[1:]]
    assert len(targets) >= 11
    for target in targets:
        wanted = 418 if target == "/status/418" else 200
        quick = target.replace("seconds=3", "seconds=0") + ("&interval=0" if "events" in target else "")
        assert (await client.get(quick)).status == wanted, target


async def test_the_sign_in_form_is_labelled_and_known_to_password_managers(client: Client) -> None:
    html = await (await client.get("/mgr/sign.html")).text()
    for part in ('label for="username"', 'label for="password"', 'autocomplete="username"', 'role="alert"'):
        assert part in html
    # post: without its script the form must not put the password into an address
    assert re.search(r'<form [^>]*method="post"', html)
    assert re.search(r'<input [^>]*type="password" autocomplete="current-password"', html)


async def test_the_backend_has_no_login_of_its_own(client: Client) -> None:
    assert (await client.post("/api/mgr/signin", json={"username": "a", "password": "b"})).status == 404
    assert (await client.post("/auth/logout")).status == 404


# --- customers -------------------------------------------------------------------------------------------------------


async def test_the_list_begins_with_a_few_customers(client: Client) -> None:
    listed = await rows(client)
    assert len(listed) >= 3
    assert all(set(row) == {"id", "name", "phonenumber", "address"} for row in listed)
    assert [row["id"] for row in listed] == list(range(1, len(listed) + 1))


async def test_a_customer_can_be_added_changed_and_deleted(client: Client) -> None:
    before = await rows(client)
    created = await client.post(API, json={"name": " 小王 ", "phonenumber": "+86", "address": ""})
    key = (await created.json())["id"]
    assert (await rows(client))[-1] == {"id": key, "name": "小王", "phonenumber": "+86", "address": ""}
    assert await (await client.put(f"{API}/{key}", json=VALID)).json() == {"ret": 0}
    assert (await rows(client))[-1] == {"id": key, **VALID}
    assert await (await client.delete(f"{API}/{key}")).json() == {"ret": 0}
    assert await rows(client) == before


async def test_the_id_of_a_deleted_customer_is_not_given_again(client: Client) -> None:
    first = (await (await client.post(API, json=VALID)).json())["id"]
    await client.delete(f"{API}/{first}")
    assert (await (await client.post(API, json=VALID)).json())["id"] == first + 1


def changed(field: str, value: object) -> bytes:
    return json.dumps({**VALID, field: value}).encode()


def without(field: str) -> bytes:
    return json.dumps({name: value for name, value in VALID.items() if name != field}).encode()


BAD_BODIES = [
    *((body, "JSON") for body in (b"", b"{", b"name=Ada", b"\xff\xfe\xfd", b"[" * 100_000, b"9" * 10_000)),
    *((body, "object") for body in (b"[]", b"null", b'"Ada"', b"1")),
    *((without(field), f"{field} is missing") for field in VALID),
    *((changed(field, value), f"{field} must be a text") for field in VALID for value in (1, None, ["c"], {}, True)),
    *((changed(field, "x" * 201), f"{field} is longer than 200") for field in VALID),
    *((changed("name", blank), "name must not be empty") for blank in ("", " \t")),
]


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(("body", "message"), BAD_BODIES, ids=short)
async def test_a_bad_customer_is_refused_with_the_reason(
    client: Client, method: str, body: bytes, message: str
) -> None:
    before = await rows(client)
    response = await client.request(method, API if method == "POST" else f"{API}/1", data=body)
    assert response.status == 400
    answer = await response.json()
    assert answer["ret"] == 1
    assert message in answer["msg"]
    assert await rows(client) == before


async def test_200_characters_are_not_too_long(client: Client) -> None:
    long = {"name": "王" * 200, "phonenumber": "1" * 200, "address": "x" * 200}
    assert (await client.post(API, json=long)).status == 200
    assert {**(await rows(client))[-1], "id": 0} == {**long, "id": 0}


@pytest.mark.parametrize("key", ["0", "999", "-1", "abc", "1.0", "%D9%A1", "1_0", "9" * 5000], ids=short)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_an_unknown_customer_is_404_in_the_same_shape(client: Client, method: str, key: str) -> None:
    response = await client.request(method, f"{API}/{key}", json=VALID)
    assert response.status == 404
    assert await response.json() == {"ret": 1, "msg": "there is no such customer"}


async def test_the_list_holds_a_thousand_customers_and_not_one_more(client: Client) -> None:
    for _ in range(1_000 - len(await rows(client))):
        assert (await client.post(API, json=VALID)).status == 200
    refused = await client.post(API, json=VALID)
    assert refused.status == 409
    assert (await refused.json())["ret"] == 1
    assert len(await rows(client)) == 1_000
    await client.delete(f"{API}/1")
    assert (await client.post(API, json=VALID)).status == 200


async def test_a_body_too_large_to_collect_is_refused_in_the_same_shape(client: Client) -> None:
    response = await client.post(API, data=b"x" * (2 * MIB))
    assert response.status == 413
    assert (await response.json())["ret"] == 1


async def test_each_backend_has_its_own_customers(aiohttp_client: AiohttpClient) -> None:
    one, other = await aiohttp_client(create_app()), await aiohttp_client(create_app())
    await one.delete(f"{API}/1")
    assert len(await rows(other)) == len(await rows(one)) + 1


# --- echo ------------------------------------------------------------------------------------------------------------


async def test_echo_shows_headers_in_order_with_repeats_case_and_every_byte(client: Client) -> None:
    sent = "Host: h|X-B: 1|x-a: caf\xe9 \xff|X-B: 2|COOKIE: k=v|cookie: k=w|Connection: close|Content-Length: 3"
    head, body = await raw(client, f"POST /echo?a HTTP/1.1|{sent}||abc".replace("|", "\r\n"))
    assert head.startswith("HTTP/1.1 200 ")
    assert json.loads(body) == {
        "method": "POST",
        "target": "/echo?a",
        "headers": [line.split(": ") for line in sent.split("|")],
        "length": 3,
        "sha256": hashlib.sha256(b"abc").hexdigest(),
    }


BELOW = " / /anything/below /../orders /%2e%2e/x //a%2Fb//c /a;b?c=/../d /%E5%B0%8F?q=%zz&+ ? ?a=1?b=2 ?x=%20&x=2"


@pytest.mark.parametrize("below", BELOW.split(" "))
async def test_echo_shows_the_target_as_it_was_received(client: Client, below: str) -> None:
    _, body = await raw_get(client, f"/echo{below}")
    assert json.loads(body)["target"] == f"/echo{below}"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_echo_takes_any_method(client: Client, method: str) -> None:
    assert (await (await client.request(method, "/echo")).json())["method"] == method


async def test_echo_answers_head_without_a_body(client: Client) -> None:
    response = await client.head("/echo")
    assert response.status == 200
    assert int(response.headers["Content-Length"]) > 0
    assert await response.read() == b""


# --- status, slow, cookie, health ------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [200, 201, 299, 300, 302, 304, 400, 401, 404, 418, 429, 500, 502, 503, 599])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_status_answers_with_the_code_asked_for(client: Client, method: str, code: int) -> None:
    response = await client.request(method, f"/status/{code}", allow_redirects=False)
    assert response.status == code
    if code != 304:
        assert await response.json() == {"status": code}


@pytest.mark.parametrize("code", [204, 205, 304])
async def test_some_statuses_have_no_body(client: Client, code: int) -> None:
    head, body = await raw_get(client, f"/status/{code}")
    assert head.startswith(f"HTTP/1.1 {code} ")
    assert body == b""


BAD_TARGETS = {
    "/status/": "199 100 600 0 -200 abc 2e2 2_00 %D9%A2%D9%A0%D9%A0",
    "/slow": " ?seconds= ?seconds=-1 ?seconds=60.1 ?seconds=nan ?seconds=inf ?seconds=1e1 ?seconds=abc ?seconds=%201",
    "/download": " ?bytes= ?bytes=-1 ?bytes=2147483649 ?bytes=1.5 ?bytes=abc ?bytes=1_0 ?bytes=" + "9" * 5000,
    "/download?bytes=1&chunked=": " 2 yes -1",
    "/events?count=": " -1 1000001 x",
    "/events?count=1&interval=": " -1 61 nan",
    "/cookie": " ?name=&value=v",
    "/cookie?value=v&name=": " a%20b a%3Db a%3Bb %C3%A9 a%0D%0Ab a%0A " + "a" * 65,
    "/cookie?name=n&value=": "a%3B%20Path=/x a%0D%0AX:%20y a%2Cb %22 %C3%A9 a%0A " + "a" * 1025,
}


@pytest.mark.parametrize(
    "target", [start + end for start, ends in BAD_TARGETS.items() for end in ends.split(" ")], ids=short
)
async def test_a_bad_value_is_a_400_that_says_what_is_wanted(client: Client, target: str) -> None:
    head, body = await raw_get(client, target)
    assert head.startswith("HTTP/1.1 400 ")
    assert "Set-Cookie" not in head
    assert "must be" in json.loads(body)["error"]


async def test_slow_waits_as_long_as_asked(client: Client) -> None:
    before = time.monotonic()
    response = await client.get("/slow?seconds=0.2")
    assert time.monotonic() - before >= 0.19
    assert await response.json() == {"seconds": 0.2}


@pytest.mark.parametrize("value", ["", "green", "a=b/c:d", "x" * 1024], ids=short)
async def test_cookie_sets_exactly_one_cookie(client: Client, value: str) -> None:
    response = await client.get("/cookie", params={"name": "legacy", "value": value})
    assert response.headers.getall("Set-Cookie") == [f"legacy={value}; Path=/; HttpOnly; SameSite=Lax"]


async def test_healthz_says_ok(client: Client) -> None:
    response = await client.get("/healthz")
    assert (response.status, await response.text()) == (200, "ok")


# --- streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 300_000])
async def test_download_has_the_length_and_the_bytes_it_promises(client: Client, size: int) -> None:
    response = await client.get(f"/download?bytes={size}")
    assert response.headers["Content-Length"] == str(size)
    assert await response.read() == pattern(size)


@pytest.mark.parametrize("size", [0, 1, 200_000])
async def test_a_chunked_download_has_no_content_length(client: Client, size: int) -> None:
    response = await client.get(f"/download?bytes={size}&chunked=1")
    assert "Content-Length" not in response.headers
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert await response.read() == pattern(size)


async def test_a_chunked_download_to_an_http_1_0_client_ends_with_the_connection(client: Client) -> None:
    head, body = await raw(client, "GET /download?bytes=1000&chunked=1 HTTP/1.0\r\n\r\n")
    assert "Transfer-Encoding" not in head
    assert body == pattern(1000)


async def test_two_gibibytes_can_be_asked_for(client: Client) -> None:
    target = f"/download?bytes={2 * 1024 * MIB}"
    assert (await client.head(target)).headers["Content-Length"] == str(2 * 1024 * MIB)
    response = await client.get(target)
    assert await response.content.readexactly(MIB) == pattern(MIB)
    response.close()


@pytest.mark.parametrize("path", ["/upload", "/echo"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_larger_than_the_collecting_limit_is_streamed(
    client: Client, path: str, method: str, chunked: bool
) -> None:
    body = pattern(5 * MIB)
    response = await client.request(method, path, data=pieces(body) if chunked else body)
    answer = await response.json()
    assert response.status == 200
    assert answer["length"] == len(body)
    assert answer["sha256"] == hashlib.sha256(body).hexdigest()


async def pieces(body: bytes) -> Any:
    for start in range(0, len(body), 100_000):
        yield body[start : start + 100_000]


async def test_events_come_numbered_with_the_user_and_end_after_count(client: Client) -> None:
    response = await client.get("/events?count=3&interval=0", headers={USERNAME: "M%C3%BCller"})
    assert response.headers["Content-Type"] == "text/event-stream"
    lines = (await response.text()).split("\n\n")
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line]
    assert events == [{"n": n, "user": "Müller"} for n in (1, 2, 3)]


async def test_the_first_event_comes_at_once(client: Client) -> None:
    response = await client.get("/events?interval=60")
    async with asyncio.timeout(10):
        assert await response.content.readline() == b'data: {"n": 1, "user": null}\n'
    response.close()


async def test_events_without_a_count_do_not_end_and_keep_their_interval(client: Client) -> None:
    before = time.monotonic()
    response = await client.get("/events?interval=0.05")
    async with asyncio.timeout(10):
        for number in range(1, 6):
            assert json.loads((await response.content.readuntil(b"\n\n"))[6:])["n"] == number
    assert time.monotonic() - before >= 0.19
    response.close()


async def test_the_websocket_echoes_text_and_binary_of_any_size(client: Client) -> None:
    async with client.ws_connect("/ws", max_msg_size=0) as socket:
        for text in ("", "小王", "x" * (5 * MIB)):
            await socket.send_str(text)
            assert await socket.receive_str() == text
        for data in (b"", b"\x00\xff", pattern(5 * MIB)):
            await socket.send_bytes(data)
            assert await socket.receive_bytes() == data
        await socket.close(code=1000)
    assert socket.close_code == 1000


async def test_a_plain_request_to_the_websocket_is_refused(client: Client) -> None:
    assert (await client.get("/ws")).status == 400


# --- the process -----------------------------------------------------------------------------------------------------


def start(port: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "demo", "--port", str(port)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_busy_port_is_one_clear_line_and_exit_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start(port) as process:
            out, err = process.communicate(timeout=20)
    wanted = f"Error: cannot listen on http://127.0.0.1:{port}: the port is already in use\n"
    assert (process.returncode, out, err) == (1, "", wanted)


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[tuple["subprocess.Popen[str]", int]]:
    """A backend process that has said that it listens, and its port."""
    with start(0) as process:
        try:
            assert process.stdout is not None
            line = await asyncio.to_thread(process.stdout.readline)
            told = re.fullmatch(r"legacy backend listening on http://127\.0\.0\.1:(\d+)\n", line)
            assert told, line
            yield process, int(told[1])
        finally:
            process.kill()


async def stop(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    process.send_signal(signal.SIGTERM)
    out, err = await asyncio.to_thread(process.communicate, timeout=10)
    return process.returncode, out, err


async def test_the_process_stops_on_sigterm_despite_an_endless_stream() -> None:
    async with running() as (process, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        assert await stop(process) == (0, "", "")
        writer.close()


async def test_a_compressed_body_is_counted_as_it_is_on_the_wire() -> None:
    body = gzip.compress(b"x" * 10_000)
    async with running() as (_, port), ClientSession(f"http://127.0.0.1:{port}") as session:
        for path in ("/echo", "/upload"):
            answer = await (await session.post(path, data=body, headers={"Content-Encoding": "gzip"})).json()
            assert (answer["length"], answer["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())


LEAVING = [
    b"GET /events?interval=0 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /download?bytes=100000000 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /slow?seconds=0.2 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc",
    b"POST /api/mgr/customers HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc",
    b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
]


async def test_clients_that_leave_early_are_no_error_and_the_process_still_serves() -> None:
    async with running() as (process, port):
        for request in LEAVING:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            await asyncio.sleep(0.1)
            writer.transport.abort()
        await asyncio.sleep(0.3)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await reader.read()).endswith(b"ok")
        writer.close()
        assert await stop(process) == (0, "", "")
