"""Signing in over HTTP (docs/http-api.md)."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, FormData
from redis import Redis

from tests.conftest import MakeGateway
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MANAGER, ROOT, Gateway, session_cookie

RECORDS = "gw:s:{*}"
"""The Redis keys of sessions; the announced key ids stand beside them."""
FORM_PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}


def field(html: str, name: str) -> str:
    found = re.search(rf'name="{name}"[^>]*value="([^"]*)"', html)
    assert found, html
    return found[1]


async def open_page(gateway: Gateway, path: str = "/auth/login", **kwargs: Any) -> tuple[str, str]:
    """The page's HTML and the Cookie header it leaves behind."""
    response = await gateway.get(path, **kwargs)
    assert response.status == 200
    cookies = "; ".join(f"{morsel.key}={morsel.value}" for morsel in response.cookies.values())
    return await response.text(), cookies


async def test_a_right_password_signs_in_and_the_cookie_opens_the_backend(gateway: Gateway) -> None:
    response = await gateway.post("/auth/login", json={**ALICE, "next": "/orders?page=2"})
    body = await response.json()
    assert (response.status, body["ret"], body["redirect"]) == (200, 0, "/orders?page=2")
    assert body["user"] == {
        "id": body["user"]["id"],
        "username": "alice",
        "name": "Alice Archer",
        "email": "alice@example.org",
        "usertype": "user",
        "groups": ["sales"],
    }
    assert (await gateway.get("/orders", cookie=session_cookie(response))).status == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"username": "ALICE", "password": "alice-demo"},
        {"username": "ａｌｉｃｅ", "password": "alice-demo"},
        {"username": " alice ", "password": "alice-demo"},
        {"email": "Alice@Example.org", "password": "alice-demo"},
        {"username": "alice@example.org", "password": "alice-demo"},
        {"username": "", "email": "alice@example.org", "password": "alice-demo"},
    ],
    ids=["upper-case", "full-width", "blanks", "email", "email-as-username", "empty-username"],
)
async def test_the_same_user_is_found_in_every_spelling(gateway: Gateway, fields: dict[str, str]) -> None:
    response = await gateway.post("/auth/login", json=fields)
    assert (response.status, (await response.json())["user"]["username"]) == (200, "alice")


@pytest.mark.parametrize(
    "name",
    [
        "alice@example.org@evil.example",
        "evil@evil.example@example.org",
        "alice,alice@example.org",
        "alice@example.org alice",
        "alice@EXAMPLE.org.",
        "<alice@example.org>",
        "alice@example.org%00",
        "alıce",
        "al\u00adice",
    ],
)
async def test_a_name_that_only_looks_like_somebody_is_nobody(gateway: Gateway, name: str) -> None:
    """Two @ (P67), lists, a dotless i, a soft hyphen: names are compared whole."""
    for field in ("username", "email"):
        response = await gateway.post("/auth/login", json={field: name, "password": "alice-demo"})
        assert response.status == 401


@pytest.mark.parametrize(
    "fields",
    [
        {"username": "alice", "password": "wrong-demo"},
        {"username": "nobody", "password": "alice-demo"},
        {"username": "alice", "password": "alice-demo "},
        {"username": "alice", "password": "Alice-demo"},
        {"username": "*", "password": "*"},
        {"username": "alice' or '1'='1", "password": "x"},
        {"username": "alice", "password": "密码" * 100},
    ],
    ids=["wrong", "unknown", "trailing-blank", "case", "wildcard", "sql", "chinese"],
)
async def test_wrong_names_and_passwords_get_one_and_the_same_answer(
    gateway: Gateway, redis: Redis, fields: dict[str, str]
) -> None:
    response = await gateway.post("/auth/login", json=fields)
    body = await response.json()
    assert (response.status, body["ret"], body["reason"]) == (401, 1, "bad_credentials")
    assert body["msg"] == "Wrong username or password"
    assert "Set-Cookie" not in response.headers
    assert "WWW-Authenticate" in response.headers
    assert redis.keys(RECORDS) == []


async def test_a_disabled_user_cannot_sign_in(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path
) -> None:
    """P71; and he is told nothing that an unknown one is not told."""
    users = tmp_path / "users.yaml"
    users.write_text(
        (ROOT / "config/users.yaml").read_text().replace("usertype: user", "usertype: user\n  disabled: true")
    )
    gateway = await make_gateway(backend.url, users=[{"source": "file", "path": str(users)}])
    response = await gateway.post("/auth/login", json=ALICE)
    assert (response.status, (await response.json())["reason"]) == (401, "bad_credentials")
    assert (await gateway.post("/auth/login", json=MANAGER)).status == 200


async def test_a_form_signs_in_a_page_load_with_a_303(gateway: Gateway) -> None:
    html, cookies = await open_page(gateway, "/auth/login?next=/orders")
    fields = {**ALICE, "csrf": field(html, "csrf"), "next": field(html, "next")}
    response = await gateway.post("/auth/login", data=fields, headers=FORM_PAGE, cookie=cookies)
    assert (response.status, response.headers["Location"]) == (303, "/orders")
    assert (await gateway.get("/orders", cookie=session_cookie(response))).status == 200


async def test_a_form_without_fetch_metadata_signs_in_by_origin(gateway: Gateway) -> None:
    """A browser on plain http sends no Sec-Fetch headers; it must see a page, not JSON."""
    html, cookies = await open_page(gateway)
    headers = {"Accept": "text/html", "Origin": gateway.url}
    response = await gateway.post(
        "/auth/login", data={**ALICE, "csrf": field(html, "csrf")}, headers=headers, cookie=cookies
    )
    assert (response.status, response.headers["Location"]) == (303, "/")


async def test_a_form_from_a_script_gets_json(gateway: Gateway) -> None:
    headers = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
    response = await gateway.post("/auth/login", data=ALICE, headers=headers)
    assert (response.status, (await response.json())["ret"]) == (200, 0)


async def test_the_alias_of_a_legacy_front_end_signs_in(gateway: Gateway, backend: RecordingBackend) -> None:
    response = await gateway.post("/api/mgr/signin", json=MANAGER)
    assert (response.status, (await response.json())["ret"]) == (200, 0)
    assert (await gateway.get("/mgr/index.html", cookie=session_cookie(response))).status == 200
    assert [request.target for request in backend.requests] == ["/mgr/index.html"]


async def test_an_alias_says_wrong_with_the_status_its_front_end_expects(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, login={"aliases": [{"path": "/signin", "wrong_status": 200}]})
    response = await gateway.post("/signin", json={**ALICE, "password": "wrong-one"})
    assert (response.status, (await response.json())["ret"]) == (200, 1)
    response = await gateway.get("/signin")
    assert (response.status, response.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(("ticked", "has_age"), [(True, True), (False, False)])
async def test_the_box_on_the_page_decides_whether_the_cookie_outlives_the_browser(
    gateway: Gateway, ticked: bool, has_age: bool
) -> None:
    """A box that is not ticked sends nothing, so a hidden "0" stands before it: of two the last counts."""
    html, cookies = await open_page(gateway)
    fields = FormData(
        [*ALICE.items(), ("csrf", field(html, "csrf")), ("remember", "0"), *([("remember", "1")] if ticked else [])]
    )
    response = await gateway.post("/auth/login", data=fields, headers=FORM_PAGE, cookie=cookies)
    assert response.status == 303
    assert bool(response.cookies["gw_session"]["max-age"]) is has_age


async def test_to_be_remembered_wins_over_a_policy_that_ends_with_the_browser(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, session={"expire_at_browser_close": True})
    for remember, has_age in ((True, True), (False, False), (None, False)):
        response = await gateway.post("/auth/login", json={**ALICE, "remember": remember})
        assert bool(response.cookies["gw_session"]["max-age"]) is has_age, remember


async def test_a_full_queue_tells_the_page_when_to_come_back(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, login={"threads": 1})
    html, cookies = await open_page(gateway)
    fields = {**ALICE, "password": "wrong-one", "csrf": field(html, "csrf")}
    headers = {**FORM_PAGE, "Cookie": cookies}

    async def one() -> ClientResponse:
        return await gateway.client.session.post(f"{gateway.url}/auth/login", data=fields, headers=headers)

    busy = [response for response in await asyncio.gather(*(one() for _ in range(60))) if response.status == 503]
    assert busy
    assert all(response.headers["Retry-After"] == "1" and response.content_type == "text/html" for response in busy)


async def test_who_is_not_welcome_where_he_wants_to_go_is_told_and_not_sent_back_there(gateway: Gateway) -> None:
    cookie = await gateway.sign_in(ALICE)
    html, _ = await open_page(gateway, "/auth/login?next=/mgr/index.html", cookie=cookie)
    assert "Only users of type mgr may go there" in html
    assert 'href="/mgr/index.html"' not in html
    assert "aria-invalid" not in html
    welcome, _ = await open_page(gateway, "/auth/login?next=/orders", cookie=cookie)
    assert 'role="alert"' not in welcome


async def test_the_wrong_password_shows_the_page_again_with_the_name_but_not_the_password(gateway: Gateway) -> None:
    html, cookies = await open_page(gateway)
    fields = {
        "username": "alice",
        "password": "wrong-demo",
        "csrf": field(html, "csrf"),
        "next": "/orders",
        "remember": "1",
    }
    response = await gateway.post("/auth/login", data=fields, headers=FORM_PAGE, cookie=cookies)
    page = await response.text()
    assert (response.status, response.content_type) == (401, "text/html")
    assert field(page, "next") == "/orders"
    assert 'value="alice"' in page
    assert "wrong-demo" not in page
    assert "Wrong username or password" in page
    assert "checked" in page


async def test_a_browser_without_cookies_is_told_so(gateway: Gateway, redis: Redis) -> None:
    html, _ = await open_page(gateway)
    response = await gateway.post("/auth/login", data={**ALICE, "csrf": field(html, "csrf")}, headers=FORM_PAGE)
    assert response.status == 400
    assert "keeps no cookies" in await response.text()
    assert redis.keys(RECORDS) == []


# -- what the cookie says
async def test_the_cookie_is_http_only_lax_and_as_old_as_the_session_may_get(gateway: Gateway) -> None:
    response = await gateway.post("/auth/login", json=ALICE)
    morsel = response.cookies["gw_session"]
    assert (morsel["httponly"], morsel["samesite"], morsel["path"], morsel["secure"]) == (True, "Lax", "/", "")
    assert 12 * 3600 - 5 <= int(morsel["max-age"]) <= 12 * 3600
    assert morsel["domain"] == ""


async def test_an_https_site_has_a_host_cookie(make_gateway: MakeGateway, backend: RecordingBackend) -> None:
    gateway = await make_gateway(backend.url, site={"url": "https://www.example.org"})
    response = await gateway.post("/auth/login", json=ALICE)
    assert response.cookies["__Host-gw_session"]["secure"] is True
    cookie = session_cookie(response)
    assert (await gateway.get("/orders", cookie=cookie)).status == 200
    assert (await gateway.get("/orders", cookie=cookie.removeprefix("__Host-"))).status == 302


@pytest.mark.parametrize(
    ("remember", "has_age"), [(True, True), (False, False), ("0", False), ("1", True), (None, True)]
)
async def test_remember_decides_whether_the_cookie_outlives_the_browser(
    gateway: Gateway, remember: Any, has_age: bool
) -> None:
    response = await gateway.post("/auth/login", json={**ALICE, "remember": remember})
    assert bool(response.cookies["gw_session"]["max-age"]) is has_age


# -- sessions at sign-in
async def test_signing_in_again_changes_the_id_and_the_old_one_is_dead_at_once(gateway: Gateway) -> None:
    first = await gateway.sign_in(ALICE)
    response = await gateway.post("/auth/login", json=ALICE, cookie=first)
    second = session_cookie(response)
    assert second != first
    assert (await gateway.get("/orders", cookie=second)).status == 200
    body = await (await gateway.get("/orders", cookie=first)).json()
    assert body["reason"] == "replaced"


async def test_a_cookie_somebody_chose_himself_is_never_adopted(gateway: Gateway, redis: Redis) -> None:
    response = await gateway.post("/auth/login", json=ALICE, cookie="gw_session=chosen-by-an-attacker")
    assert session_cookie(response) != "gw_session=chosen-by-an-attacker"
    assert (await gateway.get("/orders", cookie="gw_session=chosen-by-an-attacker")).status == 302


async def test_another_user_in_the_same_browser_inherits_nothing(gateway: Gateway) -> None:
    alice = await gateway.sign_in(ALICE)
    response = await gateway.post("/auth/login", json=MANAGER, cookie=alice)
    manager = session_cookie(response)
    who = await (await gateway.get("/auth/session", cookie=manager)).json()
    assert who["user"]["username"] == "mgr"
    assert (await gateway.get("/orders", cookie=alice)).status == 302


async def test_a_hundred_sign_ins_at_once_do_not_mix_up_anybody(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, login={"threads": 4})  # or the line would not have room for all from here

    async def one(user: dict[str, str]) -> tuple[str, str]:
        async with gateway.client.session.post(f"{gateway.url}/auth/login", json=user) as response:
            return user["username"], (await response.json())["user"]["username"]

    pairs = await asyncio.gather(*(one(ALICE if n % 2 else MANAGER) for n in range(40)))
    assert all(asked == got for asked, got in pairs)


async def test_more_sign_ins_than_the_queue_holds_are_asked_to_come_back(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, login={"threads": 1})

    async def one() -> ClientResponse:
        return await gateway.client.session.post(f"{gateway.url}/auth/login", json={**ALICE, "password": "wrong-one"})

    responses = await asyncio.gather(*(one() for _ in range(60)))
    busy = [response for response in responses if response.status == 503]
    assert busy
    assert {response.status for response in responses} == {401, 503}
    assert all(response.headers["Retry-After"] == "1" for response in busy)
    assert (await busy[0].json())["reason"] == "busy"
    assert (await gateway.post("/auth/login", json=ALICE)).status == 200


async def test_other_requests_go_on_while_passwords_are_checked(gateway: Gateway) -> None:
    """Hashing is not on the loop: a refusal is answered while sign-ins run (about 50 ms of CPU each)."""
    checks = [
        asyncio.create_task(gateway.client.session.post(f"{gateway.url}/auth/login", json=ALICE)) for _ in range(12)
    ]
    await asyncio.sleep(0.02)
    answered = 0
    while not all(check.done() for check in checks):
        assert (await gateway.get("/orders")).status == 302
        answered += 1
    for check in checks:
        (await check).release()
    assert answered > 3


# -- the page
async def test_the_page_is_for_everybody_and_asks_redis_nothing(gateway: Gateway, redis: Redis) -> None:
    html, cookies = await open_page(gateway, headers={"Accept-Language": "zh-CN"})
    assert 'lang="zh-CN"' in html
    assert cookies.startswith("gw_form=")
    stats = redis.info("commandstats")
    assert "cmdstat_mget" not in stats
    assert "cmdstat_get" not in stats


async def test_the_page_keeps_the_cookie_it_has_so_that_two_tabs_work(gateway: Gateway) -> None:
    html, cookies = await open_page(gateway)
    response = await gateway.get("/auth/login", cookie=cookies)
    assert "Set-Cookie" not in response.headers
    assert field(await response.text(), "csrf") == field(html, "csrf")


async def test_the_page_never_redirects_and_shows_who_is_signed_in(gateway: Gateway) -> None:
    cookie = await gateway.sign_in(ALICE)
    html, _ = await open_page(gateway, "/auth/login?next=/orders", cookie=cookie, headers=FORM_PAGE)
    assert "Alice Archer" in html
    assert 'href="/orders"' in html


async def test_the_language_can_be_switched_and_stays_switched(gateway: Gateway) -> None:
    html, _ = await open_page(gateway, "/auth/login?lang=zh&next=/orders")
    assert 'lang="zh-CN"' in html
    assert "lang=en" in html
    assert "/auth/login?lang=zh" in html


@pytest.mark.parametrize(
    "there",
    [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https:evil.example",
        "https://evil.example/",
        "/%09/evil.example".replace("%09", "\t"),
        "/\n/evil.example",
        "/.//evil.example",
        "/..//evil.example",
        "javascript:alert(1)",
        "/auth/logout",
        "",
        "/" + "a" * 5000,
    ],
)
async def test_a_next_that_leaves_the_site_becomes_its_root(gateway: Gateway, there: str) -> None:
    response = await gateway.post("/auth/login", json={**ALICE, "next": there})
    assert (await response.json())["redirect"] == "/"
    page = await gateway.get("/auth/login", params={"next": there})
    assert field(await page.text(), "next") == "/"


@pytest.mark.parametrize(
    ("there", "means"),
    [("/a/../b", "/b"), ("/%252f%252fevil", "/%252f%252fevil"), ("/中文", "/%E4%B8%AD%E6%96%87"), ("/x#top", "/x#top")],
)
async def test_a_next_on_the_site_is_sent_as_it_was_understood(gateway: Gateway, there: str, means: str) -> None:
    response = await gateway.post("/auth/login", json={**ALICE, "next": there})
    assert (await response.json())["redirect"] == means


@pytest.mark.parametrize("there", [None, 5, [], {"a": 1}, True])
async def test_a_next_that_is_no_text_is_the_root(gateway: Gateway, there: Any) -> None:
    response = await gateway.post("/auth/login", json={**ALICE, "next": there})
    assert (response.status, (await response.json())["redirect"]) == (200, "/")


# -- bad input
JSON_TYPE = {"Content-Type": "application/json"}
FORM_TYPE = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
BAD_BODIES: list[tuple[str, dict[str, str], bytes, int, str]] = [
    ("no-json", JSON_TYPE, b"{", 400, "bad_request"),
    ("empty-json", JSON_TYPE, b"", 400, "bad_field"),
    ("array", JSON_TYPE, b"[]", 400, "bad_request"),
    ("number", JSON_TYPE, b"1e300", 400, "bad_request"),
    ("null", JSON_TYPE, b"null", 400, "bad_request"),
    ("deep", JSON_TYPE, b"[" * 60000, 400, "bad_request"),
    ("latin-1", JSON_TYPE, b'{"username":"\xe9"}', 400, "bad_request"),
    ("utf-16", JSON_TYPE, json.dumps(ALICE).encode("utf-16"), 200, ""),
    ("surrogate", JSON_TYPE, b'{"username":"\\ud800","password":"alice-demo"}', 400, "bad_field"),
    ("nul", JSON_TYPE, b'{"username":"alice\\u0000","password":"alice-demo"}', 400, "bad_field"),
    ("newline", JSON_TYPE, b'{"username":"alice","password":"alice-demo\\n"}', 400, "bad_field"),
    ("no-password", JSON_TYPE, b'{"username":"alice"}', 400, "bad_field"),
    ("empty-password", JSON_TYPE, b'{"username":"alice","password":""}', 400, "bad_field"),
    ("no-username", JSON_TYPE, b'{"password":"alice-demo"}', 400, "bad_field"),
    ("blank-username", JSON_TYPE, b'{"username":"  ","password":"x"}', 400, "bad_field"),
    ("list-username", JSON_TYPE, b'{"username":["alice"],"password":"alice-demo"}', 400, "bad_field"),
    ("number-password", JSON_TYPE, b'{"username":"alice","password":12345678}', 400, "bad_field"),
    ("long-username", JSON_TYPE, json.dumps({**ALICE, "username": "a" * 10000}).encode(), 400, "bad_field"),
    ("long-password", JSON_TYPE, json.dumps({**ALICE, "password": "a" * 1025}).encode(), 400, "bad_field"),
    ("odd-remember", JSON_TYPE, json.dumps({**ALICE, "remember": "maybe"}).encode(), 400, "bad_field"),
    ("list-remember", JSON_TYPE, json.dumps({**ALICE, "remember": []}).encode(), 400, "bad_field"),
    ("too-large", JSON_TYPE, b'{"x":"' + b"a" * 70000 + b'"}', 413, "too_large"),
    ("too-large-form", FORM_TYPE, b"x=" + b"a" * 70000, 413, "too_large"),
    ("xml", {"Content-Type": "application/xml"}, b"<a/>", 415, "unsupported_type"),
    ("text", {"Content-Type": "text/plain"}, b"username=alice", 415, "unsupported_type"),
    ("no-type", {"Content-Type": ""}, b"{}", 415, "unsupported_type"),
    ("form-latin-1", FORM_TYPE, b"username=%FF&password=x", 401, "bad_credentials"),
    ("form-empty", FORM_TYPE, b"", 400, "bad_field"),
    ("form-garbage", FORM_TYPE, b"&&&=&%&=%zz", 400, "bad_field"),
    (
        "form-charset",
        {**FORM_TYPE, "Content-Type": "application/x-www-form-urlencoded; charset=nonsense"},
        b"a=b",
        400,
        "",
    ),
    ("multipart", {**FORM_TYPE, "Content-Type": "multipart/form-data; boundary=x"}, b"--x--", 415, "unsupported_type"),
    ("form-bytes", FORM_TYPE, b"username=\xff", 400, "bad_request"),
    ("form-many-fields", FORM_TYPE, b"a=b&" * 5000, 400, "bad_request"),
]


@pytest.mark.parametrize(
    ("headers", "body", "status", "reason"), [row[1:] for row in BAD_BODIES], ids=[row[0] for row in BAD_BODIES]
)
async def test_a_bad_body_is_told_clearly_and_stores_nothing(
    gateway: Gateway, redis: Redis, headers: dict[str, str], body: bytes, status: int, reason: str
) -> None:
    response = await gateway.post("/auth/login", data=body, headers=headers)
    answer = await response.json()
    assert response.status == status, answer
    assert answer.get("reason", "") == reason or not reason
    assert redis.keys(RECORDS) == [] or status == 200


async def test_a_chunked_body_without_end_is_cut_off_at_the_limit(gateway: Gateway) -> None:
    head = (
        b"POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    received = await gateway.raw(
        head + b"10000\r\n" + b"a" * 65536 + b"\r\n" + b"10\r\n" + b"a" * 16 + b"\r\n", seconds=5
    )
    assert received.startswith(b"HTTP/1.1 413 ")


async def test_a_client_that_waits_for_100_continue_is_invited_to_sign_in(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    body = json.dumps(ALICE).encode()
    head = "POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode())
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
    writer.close()


async def test_a_body_that_stops_coming_is_a_408(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.web.bodies.SECONDS", 0.3)
    head = b"POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    received = await gateway.raw(head, seconds=10)
    assert received.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("path", ["/auth/login", "/auth/logout"])
async def test_another_site_is_refused_before_its_body_is_looked_at(gateway: Gateway, path: str) -> None:
    headers = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
    response = await gateway.post(path, data=b"{}", headers=headers)
    assert (response.status, (await response.json())["reason"]) == (403, "cross_site")
    assert {"Origin", "Referer", "Sec-Fetch-Site"} <= {name.strip() for name in response.headers["Vary"].split(",")}


@pytest.mark.parametrize("hostile", ["a/b" + "(" * 300, "a/b;x=" + "(a)" * 5000, "a/b" + ";" * 16000, ";a*1*=y" * 2200])
async def test_a_hostile_content_type_is_a_415_at_once(gateway: Gateway, hostile: str) -> None:
    """The e-mail parser behind aiohttp's own property needed seconds for these, on the loop, or recursed to death."""
    started = time.process_time()
    response = await gateway.post("/auth/login", data=b"{}", headers={"Content-Type": hostile})
    assert (response.status, (await response.json())["reason"]) == (415, "unsupported_type")
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("path", ["/auth/login", "/auth/logout"])
async def test_a_body_that_goes_wrong_in_a_later_segment_is_a_400_too(gateway: Gateway, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    writer.write(head.encode())
    await asyncio.sleep(0.3)
    writer.write(b"zz\r\n")
    assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 400 ")
    writer.close()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_named_as_not_allowed(gateway: Gateway, method: str) -> None:
    response = await gateway.request(method, "/auth/login")
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD, POST")


async def test_head_of_the_page_has_no_body(gateway: Gateway) -> None:
    response = await gateway.request("HEAD", "/auth/login")
    assert (response.status, await response.read()) == (200, b"")


# -- cross-site requests
@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "{own}"}, True),
        ({"Origin": "{own}.evil.example"}, False),
        ({"Referer": "https://evil.example/{own}"}, False),
        ({"Referer": "{own}/auth/login"}, True),
        ({"Origin": "garbage", "Referer": "{own}/"}, False),
        ({}, True),
    ],
)
async def test_cross_site_sign_ins_are_refused(gateway: Gateway, headers: dict[str, str], passes: bool) -> None:
    sent = {name: value.replace("{own}", gateway.url) for name, value in headers.items()}
    response = await gateway.post("/auth/login", json=ALICE, headers=sent)
    assert response.status == (200 if passes else 403)
    if not passes:
        assert (await response.json())["reason"] == "cross_site"
        assert "Set-Cookie" not in response.headers


async def test_a_form_that_says_nothing_about_its_origin_needs_the_token_of_our_page(gateway: Gateway) -> None:
    html, cookies = await open_page(gateway)
    token = field(html, "csrf")
    _, other = await open_page(gateway)
    tries = [
        ({**ALICE}, cookies),
        ({**ALICE, "csrf": "x"}, cookies),
        ({**ALICE, "csrf": token}, ""),
        ({**ALICE, "csrf": token}, other),
    ]
    for fields, cookie in tries:
        response = await gateway.post("/auth/login", data=fields, cookie=cookie)
        assert response.status == 403, fields
    assert (await gateway.post("/auth/login", data={**ALICE, "csrf": token}, cookie=cookies)).status == 200


async def test_the_site_s_own_url_is_its_origin_when_it_is_set(
    make_gateway: MakeGateway, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url, site={"url": "https://www.example.org"})
    right = await gateway.post("/auth/login", json=ALICE, headers={"Origin": "https://www.example.org"})
    wrong = await gateway.post("/auth/login", json=ALICE, headers={"Origin": gateway.url})
    assert (right.status, wrong.status) == (200, 403)
