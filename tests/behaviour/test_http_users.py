"""Users whose passwords a legacy application checks: asked over HTTP, by its own sign-in. The application is a real one, on a
real socket; what it is asked is recorded byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestServer

from gateway.commands.check import warnings_of
from gateway.errors import SettingsError
from tests.behaviour.listener_lab import certificates
from tests.conftest import MakeGateway
from tests.fakes import Recorded, RecordingBackend
from tests.harness import Gateway, make_settings, run_gateway
from tests.redis_lab import make_ca

PASSWORDS = {"alice": "wonderland", "bob": "builder"}
IDENTITY = {"id": "/user/id", "username": "/user/login", "usertype": "/user/type", "groups": "/user/groups"}
ALICE: dict[str, Any] = {"id": 7, "login": "alice", "type": "mgr", "groups": ["staff"], "active": True}
RIGHT = {"username": "alice", "password": "wonderland"}
WRONG = {"username": "alice", "password": "queen"}


def answer(status: int, document: Any = None, *headers: str) -> bytes:
    """JSON as an application sends it."""
    body = b"" if document is None else json.dumps(document).encode()
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


class LegacyApp(RecordingBackend):
    """Takes a form or JSON with ``user`` and ``pass``; ``right`` and ``wrong`` are what it says then. Tells about users at
    ``/users/ID``."""

    def __init__(self) -> None:
        super().__init__()
        self.right: bytes = answer(200, {"ret": 0, "user": ALICE})
        self.wrong: bytes = answer(200, {"ret": 1, "msg": "wrong"})
        self.known: dict[str, bytes] = {"7": answer(200, {"user": ALICE})}
        self.answer = self._say

    async def _say(self, request: Recorded, writer: asyncio.StreamWriter) -> None:
        if request.method == "GET":
            writer.write(self.known.get(request.target.rpartition("/")[2], answer(404)))
            return
        given = fields_of(request)
        name, password = str(given.get("user")).lower(), given.get("pass")
        writer.write(self.right if password is not None and PASSWORDS.get(name) == password else self.wrong)


def fields_of(request: Recorded) -> dict[str, Any]:
    if request.value("Content-Type") == "application/json":
        return dict(json.loads(request.body))
    return {name: values[-1] for name, values in parse_qs(request.body.decode(), keep_blank_values=True).items()}


@pytest.fixture
async def legacy() -> Any:
    app = LegacyApp()
    await app.start()
    yield app
    await app.stop()


def source(legacy: LegacyApp, **over: Any) -> dict[str, Any]:
    """For ``users``."""
    given = {
        "source": "http",
        "url": f"{legacy.url}/signin",
        "fields": {"username": "user", "password": "pass"},
        "success": {"status": 200, "answer": {"/ret": 0}},
    }
    return {**given, **over}


Make = Callable[..., Any]


@pytest.fixture
def make(make_gateway: MakeGateway, backend: RecordingBackend, legacy: LegacyApp) -> Make:
    """``await make(…)``: a gateway whose only users are the application's."""

    async def made(**over: Any) -> Gateway:
        return await make_gateway(backend.url, users=[source(legacy, **over)])

    return made


async def try_to_sign_in(gateway: Gateway, user: dict[str, str], **kwargs: Any) -> ClientResponse:
    return await gateway.post("/auth/login", json=user, **kwargs)


async def reason_of(response: ClientResponse) -> tuple[int, Any]:
    return response.status, (await response.json()).get("reason")


async def user_of(response: ClientResponse) -> dict[str, Any]:
    assert response.status == 200, await response.text()
    return dict((await response.json())["user"])


BAD = (401, "bad_credentials")
AWAY = (503, "users_unavailable")


# -- who may come in, and as whom
async def test_a_right_password_opens_a_session_and_the_backend_is_told_who_it_is(
    make: Make, backend: RecordingBackend
) -> None:
    gateway = await make(identity=IDENTITY)
    cookie = await gateway.sign_in(RIGHT)
    assert (await gateway.get("/mgr/x", cookie=cookie)).status == 200
    told = [backend.last.value(f"X-Forwarded-{name}") for name in ("User", "Preferred-Username", "Usertype", "Groups")]
    assert told == ["7", "alice", "mgr", "staff"]


async def test_a_wrong_password_is_the_answer_of_every_source(make: Make) -> None:
    gateway = await make()
    for user in (WRONG, {"username": "nobody", "password": "x"}, {"username": "bob", "password": "wonderland"}):
        assert await reason_of(await try_to_sign_in(gateway, user)) == BAD


@pytest.mark.parametrize("form", ["form", "json"])
async def test_the_application_is_asked_in_its_own_words(form: str, make: Make, legacy: LegacyApp) -> None:
    gateway = await make(format=form, extra={"remember": "0", "from": "gate & way"}, headers={"X-Api-Key": "k1"})
    assert (await try_to_sign_in(gateway, RIGHT)).status == 200
    asked = legacy.last
    assert (asked.method, asked.target, asked.value("X-Api-Key")) == ("POST", "/signin", "k1")
    assert fields_of(asked) == {"user": "alice", "pass": "wonderland", "remember": "0", "from": "gate & way"}


async def test_constant_fields_of_a_form_may_be_numbers_and_flags(make: Make, legacy: LegacyApp) -> None:
    gateway = await make(extra={"remember": 0, "api": True})
    assert (await try_to_sign_in(gateway, RIGHT)).status == 200
    assert fields_of(legacy.last) == {"user": "alice", "pass": "wonderland", "remember": "0", "api": "true"}


@pytest.mark.parametrize(
    ("success", "right", "wrong"),
    [
        ({"status": 204}, answer(204), answer(401)),
        ({"status": [200, 201]}, answer(201), answer(403)),
        ({"answer": {"/ret": 0}}, answer(200, {"ret": 0}), answer(200, {"ret": 1})),
        ({"answer": {"/ret": 0}}, answer(200, {"ret": 0}), answer(401, {"ret": 0})),
        ({"answer": {"/error": None}}, answer(200, {"error": None}), answer(200, {"error": "wrong"})),
        ({"redirect": "/home*"}, answer(302, None, "Location: /home"), answer(302, None, "Location: /login?error=1")),
        ({"redirect": "/home*"}, answer(303, None, "Location: http://app/home?x=1"), answer(200, "<form>")),
        (
            {"cookie": "SID"},
            answer(302, None, "Location: /", "Set-Cookie: SID=abc; Path=/"),
            answer(302, None, "Location: /", "Set-Cookie: other=abc"),
        ),
        (
            {"cookie": "SID"},
            answer(200, None, "Set-Cookie: SID=abc; Max-Age=60"),
            answer(200, None, "Set-Cookie: SID=abc; Max-Age=0"),
        ),
        (
            {"cookie": "SID"},
            answer(200, None, "Set-Cookie: SID=abc"),
            answer(200, None, "Set-Cookie: SID=abc; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
        ),
        ({"cookie": "SID"}, answer(200, None, "Set-Cookie: SID=abc"), answer(200, None, "Set-Cookie: SID=")),
    ],
)
async def test_success_is_told_in_the_way_of_the_application(
    success: dict[str, Any], right: bytes, wrong: bytes, make: Make, legacy: LegacyApp
) -> None:
    legacy.right, legacy.wrong = right, wrong
    gateway = await make(success=success)
    assert await reason_of(await try_to_sign_in(gateway, WRONG)) == BAD
    assert (await user_of(await try_to_sign_in(gateway, RIGHT)))["username"] == "alice"


async def test_two_spellings_of_a_name_are_one_user(make: Make, legacy: LegacyApp) -> None:
    gateway = await make(identity={"usertype": "staff"})
    users = [
        await user_of(await try_to_sign_in(gateway, {**RIGHT, "username": n})) for n in ("alice", "ALICE", " Alice ")
    ]
    assert {(user["id"], user["username"], user["usertype"]) for user in users} == {("alice", "alice", "staff")}
    assert [fields_of(request)["user"] for request in legacy.requests] == ["alice"] * 3  # that is all that is known


async def test_the_application_may_say_who_a_name_belongs_to(make: Make) -> None:
    gateway = await make(identity=IDENTITY)
    user = await user_of(await try_to_sign_in(gateway, {**RIGHT, "username": "ALICE"}))
    assert (user["id"], user["username"]) == ("7", "alice")


async def test_the_legacy_form_of_a_front_end_signs_in_through_the_application(
    make_gateway: MakeGateway, backend: RecordingBackend, legacy: LegacyApp
) -> None:
    gateway = await make_gateway(backend.url, users=[source(legacy)])
    response = await gateway.post("/api/mgr/signin", data=RIGHT, headers={"Sec-Fetch-Site": "same-origin"})
    assert response.status == 200
    assert (await response.json())["ret"] == 0


async def test_users_of_a_file_and_of_an_application_stand_beside_each_other(
    make_gateway: MakeGateway, backend: RecordingBackend, legacy: LegacyApp, tmp_path: Path
) -> None:
    users = tmp_path / "users.yaml"
    done = run_gateway("users", "add", "carol", "--file", str(users), "--password-stdin", input="carols-secret\n")
    assert done.returncode == 0, done.stderr
    gateway = await make_gateway(backend.url, users=[{"source": "file", "path": str(users)}, source(legacy)])
    for name, password in (("carol", "carols-secret"), ("alice", "wonderland")):
        user = await user_of(await try_to_sign_in(gateway, {"username": name, "password": password}))
        assert user["username"] == name
    await legacy.stop()
    assert (await try_to_sign_in(gateway, {"username": "carol", "password": "carols-secret"})).status == 200
    assert await reason_of(await try_to_sign_in(gateway, RIGHT)) == AWAY
    await legacy.start()


# -- what names and passwords may hold
@pytest.mark.parametrize("form", ["form", "json"])
@pytest.mark.parametrize(
    "text", ["a&pass=x", "a=b", "%00", "a+b", 'q"\\', "' OR 1=1 --", "爱丽丝", "é\u0301🙂", "<b>", "{id}", ";"]
)
async def test_metacharacters_arrive_as_they_were_typed(text: str, form: str, make: Make, legacy: LegacyApp) -> None:
    gateway = await make(format=form, identity=IDENTITY)
    assert await reason_of(await try_to_sign_in(gateway, {"username": text, "password": f"p{text}"})) == BAD
    assert fields_of(legacy.last) == {"user": text, "pass": f"p{text}"}


@pytest.mark.parametrize("text", ["alice\0", "alice\r\nX: y", "ali\u0085ce", "ali\u2028ce", "\ud800", "alice\x7f"])
async def test_a_name_with_characters_that_end_a_text_is_not_asked_about(
    text: str, make: Make, legacy: LegacyApp
) -> None:
    gateway = await make()
    response = await try_to_sign_in(gateway, {"username": text, "password": "wonderland"})
    assert response.status in (400, 401)
    assert legacy.requests == []


async def test_a_name_of_ten_thousand_characters_is_not_asked_about(make: Make, legacy: LegacyApp) -> None:
    gateway = await make()
    assert (await try_to_sign_in(gateway, {"username": "x" * 10_000, "password": "y"})).status == 400
    assert legacy.requests == []


# -- when nobody can say
@pytest.mark.parametrize(
    "said",
    [
        answer(500, {"ret": 0}),
        answer(502),
        answer(503, None, "Retry-After: 9"),
        answer(429),
        answer(200, "fine"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<b>no</b>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_what_says_neither_yes_nor_no_is_503_for_everybody(said: bytes, make: Make, legacy: LegacyApp) -> None:
    legacy.right = legacy.wrong = said
    gateway = await make()
    for user in (RIGHT, WRONG):
        response = await try_to_sign_in(gateway, user)
        assert await reason_of(response) == AWAY
        assert int(response.headers["Retry-After"]) > 0
        assert "Set-Cookie" not in response.headers


async def test_an_answer_without_what_was_promised_signs_nobody_in(make: Make, legacy: LegacyApp) -> None:
    legacy.right = answer(200, {"ret": 0, "user": {"id": None}})
    gateway = await make(identity=IDENTITY)
    assert await reason_of(await try_to_sign_in(gateway, RIGHT)) == AWAY


async def test_a_redirect_is_not_followed(make: Make, legacy: LegacyApp) -> None:
    legacy.right = legacy.wrong = answer(307, None, f"Location: {legacy.url}/elsewhere")
    gateway = await make()
    assert await reason_of(await try_to_sign_in(gateway, RIGHT)) == BAD
    assert [request.target for request in legacy.requests] == ["/signin"]


async def test_an_application_that_does_not_listen_is_503(make: Make, legacy: LegacyApp) -> None:
    gateway = await make()
    await legacy.stop()
    assert await reason_of(await try_to_sign_in(gateway, RIGHT)) == AWAY
    await legacy.start()  # another port; only so that the fixture can stop it


async def test_readyz_names_a_source_that_is_away_until_it_answers_again(
    make: Make, legacy: LegacyApp, aiohttp_client: Any
) -> None:
    gateway = await make(identity=IDENTITY)
    operator = await aiohttp_client(TestServer(gateway.parts.management))

    async def state() -> str:
        components = (await (await operator.get("/readyz")).json())["components"]
        (name,) = [name for name in components if name.startswith("users:")]
        assert name == f"users:http:{legacy.url.removeprefix('http://')}"
        return str(components[name])

    assert await state() == "ok"
    legacy.right = answer(500)
    assert (await try_to_sign_in(gateway, RIGHT)).status == 503
    assert await state() == "unavailable"
    legacy.right = answer(200, {"ret": 0, "user": ALICE})
    assert (await try_to_sign_in(gateway, RIGHT)).status == 200
    assert await state() == "ok"


async def test_a_host_that_does_not_exist_is_503(make: Make) -> None:
    gateway = await make(url="http://no-such-host.invalid/signin")
    assert await reason_of(await try_to_sign_in(gateway, RIGHT)) == AWAY


async def _hang(request: Recorded, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _hang_in_the_middle(request: Recorded, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"ret"')
    await asyncio.Event().wait()


async def _break_off(request: Recorded, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"ret": 0}')
    await writer.drain()
    writer.close()


async def _leave(request: Recorded, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _flood(request: Recorded, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    while True:
        writer.write(piece)
        await writer.drain()


@pytest.mark.parametrize("doing", [_hang, _hang_in_the_middle, _break_off, _leave, _flood])
async def test_an_application_that_does_not_finish_is_503(doing: Any, make: Make, legacy: LegacyApp) -> None:
    legacy.answer = doing
    gateway = await make(timeout=1.0)
    started = time.monotonic()
    assert await reason_of(await try_to_sign_in(gateway, RIGHT)) == AWAY
    assert time.monotonic() - started < 10
    assert len(legacy.requests) == 1  # nothing is asked twice: a second time could shut the account


async def test_a_handshake_that_never_ends_is_503(make: Make, legacy: LegacyApp) -> None:
    gateway = await make(url=legacy.url.replace("http:", "https:") + "/signin", timeout=1.0)
    started = time.monotonic()
    assert await reason_of(await try_to_sign_in(gateway, RIGHT)) == AWAY
    assert time.monotonic() - started < 10


async def test_who_waits_in_a_crowd_gets_his_turn_or_503_and_never_more_than_so_many_ask_at_once(
    make: Make, legacy: LegacyApp
) -> None:
    at_once = most = 0

    async def slowly(request: Recorded, writer: asyncio.StreamWriter) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        writer.write(legacy.right)

    legacy.answer = slowly
    gateway = await make(max_requests=2, timeout=20)
    statuses = [one.status for one in await asyncio.gather(*(try_to_sign_in(gateway, RIGHT) for _ in range(40)))]
    assert most <= 2
    assert statuses.count(200) >= 20
    assert set(statuses) <= {200, 429, 503}


# -- one person's things do not get to another
async def test_cookies_of_the_application_go_neither_to_the_browser_nor_into_the_next_question(
    make: Make, legacy: LegacyApp
) -> None:
    legacy.right = answer(200, {"ret": 0}, "Set-Cookie: SID=alices; Path=/")
    gateway = await make()
    response = await try_to_sign_in(gateway, RIGHT)
    assert "SID" not in response.cookies
    await try_to_sign_in(gateway, RIGHT)
    assert [request.values("Cookie") for request in legacy.requests] == [[], []]
    assert legacy.connections == 2  # some applications remember who signed in on a connection


@pytest.mark.parametrize(("wanted", "told"), [(True, ["127.0.0.1"]), (False, [])])
async def test_the_persons_address_is_passed_on_if_that_is_wanted(
    wanted: bool, told: list[str], make: Make, legacy: LegacyApp
) -> None:
    gateway = await make(forward_address=wanted)
    await try_to_sign_in(gateway, RIGHT, headers={"X-Forwarded-For": "203.0.113.9"})
    assert legacy.last.values("X-Forwarded-For") == told


# -- sessions that are open
LOOKUP = {"identity": IDENTITY, "recheck": 1}


def lookup(legacy: LegacyApp, **over: Any) -> dict[str, Any]:
    given = {"url": f"{legacy.url}/users/{{id}}", "answer": {"/user/active": True}}
    return {**LOOKUP, "lookup": {**given, **over}}


async def until(gateway: Gateway, cookie: str, path: str, status: int, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while (await gateway.get(path, cookie=cookie)).status != status:
        assert time.monotonic() < deadline, f"{path} never was {status}"
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("gone", [answer(404), answer(200, {"user": {**ALICE, "active": False}})])
async def test_who_is_gone_or_disabled_is_signed_out_soon(gone: bytes, make: Make, legacy: LegacyApp) -> None:
    gateway = await make(**lookup(legacy))
    cookie = await gateway.sign_in(RIGHT)
    assert (await gateway.get("/mgr/x", cookie=cookie)).status == 200
    legacy.known["7"] = gone
    await until(gateway, cookie, "/mgr/x", 302)


async def test_another_usertype_is_felt_soon(make: Make, legacy: LegacyApp) -> None:
    gateway = await make(**lookup(legacy))
    cookie = await gateway.sign_in(RIGHT)
    assert (await gateway.get("/mgr/x", cookie=cookie)).status == 200
    legacy.known["7"] = answer(200, {"user": {**ALICE, "type": "guest"}})
    await until(gateway, cookie, "/mgr/x", 302)
    assert (await gateway.get("/orders", cookie=cookie)).status == 200


@pytest.mark.parametrize("said", [answer(500), answer(401), answer(200, {"error": "no database"}), b"nonsense\r\n\r\n"])
async def test_an_application_that_cannot_say_signs_nobody_out(said: bytes, make: Make, legacy: LegacyApp) -> None:
    gateway = await make(**lookup(legacy))
    cookie = await gateway.sign_in(RIGHT)
    legacy.known["7"] = said
    asked = len(legacy.requests)
    deadline = time.monotonic() + 30
    while len(legacy.requests) < asked + 3:
        assert (await gateway.get("/mgr/x", cookie=cookie)).status == 200
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert (await gateway.get("/mgr/x", cookie=cookie)).status == 200


async def test_an_id_cannot_change_the_address_that_is_asked(make: Make, legacy: LegacyApp) -> None:
    odd = "a/../b?x=1#y%2e"
    legacy.right = answer(200, {"ret": 0, "user": {**ALICE, "id": odd}})
    gateway = await make(**lookup(legacy))
    cookie = await gateway.sign_in(RIGHT)
    deadline = time.monotonic() + 20
    while not (asked := [request.target for request in legacy.requests if request.method == "GET"]):
        await gateway.get("/mgr/x", cookie=cookie)
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert asked[0] == "/users/a%2F..%2Fb%3Fx%3D1%23y%252e"


async def test_without_a_lookup_sessions_go_on_and_check_says_so(
    make: Make, legacy: LegacyApp, tmp_path: Path, backend: RecordingBackend
) -> None:
    gateway = await make()
    cookie = await gateway.sign_in(RIGHT)
    await legacy.stop()
    assert (await gateway.get("/orders", cookie=cookie)).status == 200
    await legacy.start()
    config = tmp_path / "c.yaml"
    config.write_text(
        json.dumps(
            {
                "keys": {"master": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"},
                "users": [source(legacy)],
                "upstreams": {"app": {"url": backend.url}},
                "routes": [{"path": "/"}],
            }
        )
    )
    done = await asyncio.to_thread(run_gateway, "check", "--config", str(config))
    assert done.returncode == 0, done.stderr
    assert "warning: users.0 has no lookup.url" in done.stderr
    assert done.stderr.count("warning:") == 1  # http:// to this machine is none


@pytest.mark.parametrize(
    ("url", "is_in_the_clear"),
    [
        ("http://app.example.org/in", True),
        ("HTTP://APP.EXAMPLE.ORG/in", True),
        ("http://10.0.0.5:8000/in", True),
        ("http://[fd00::5]:8000/in", True),
        ("http://127.0.0.1.example.org/in", True),
        ("https://app.example.org/in", False),
        ("http://127.0.0.2:8000/in", False),
        ("http://[::1]:8000/in", False),
        ("http://localhost/in", False),
        ("http://app:8000/in", False),
    ],
)
def test_passwords_in_the_clear_to_another_host_are_warned_of(url: str, is_in_the_clear: bool) -> None:
    lookup = {"url": f"{url}/{{id}}"}
    users = [{"source": "http", "url": url, "success": {"status": 200}, "lookup": lookup}]
    settings = make_settings("redis://127.0.0.1:1", "http://127.0.0.1:1", users=users)
    told = [text for text in warnings_of(settings) if "is http://" in text]
    assert [text.split()[0] for text in told] == ["users.0.url", "users.0.lookup.url"] * is_in_the_clear


async def test_a_password_of_the_application_is_not_changed_here(make: Make) -> None:
    gateway = await make()
    cookie = await gateway.sign_in(RIGHT)
    passwords = {"old_password": "wonderland", "new_password": "a-new-long-password-1"}
    assert (await gateway.post("/auth/password", json=passwords, cookie=cookie)).status == 501


# -- TLS
class TlsApp(LegacyApp):
    """The same behind TLS."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self._context = context

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._context)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ssl.SSLError):
            await super()._connected(reader, writer)


@pytest.mark.parametrize(
    ("name", "authority", "expected"),
    [
        ("localhost", "ca.crt", 200),
        ("127.0.0.1", "ca.crt", 503),
        ("localhost", None, 503),
        ("localhost", "other.crt", 503),
    ],
)
async def test_a_password_is_sent_to_the_right_certificate_alone(
    name: str, authority: str | None, expected: int, make: Make, tmp_path: Path
) -> None:
    certificates(tmp_path, "localhost")
    make_ca(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "localhost.crt", tmp_path / "localhost.key")
    app = TlsApp(context)
    await app.start()
    url = app.url.replace("http://127.0.0.1", f"https://{name}") + "/signin"
    try:
        gateway = await make(url=url, **({"ca_file": str(tmp_path / authority)} if authority else {}))
        assert (await try_to_sign_in(gateway, RIGHT)).status == expected
        assert len(app.requests) == (expected == 200)
    finally:
        await app.stop()


# -- settings
WRONG_SETTINGS = {
    "no way to tell success": ({"success": {}}, "users.0.success: say how success is told"),
    "no success at all": ({"success": None}, "users.0.success: is needed"),
    "a pointer without a slash": (
        {"success": {"answer": {"ret": 0}}},
        "users.0.success.answer: 'ret' is no JSON pointer",
    ),
    "a pointer with a bad escape": ({"identity": {"id": "/a~2"}}, "users.0.identity.id: must be a JSON pointer"),
    "a status of failure": ({"success": {"status": 500}}, "users.0.success.status"),
    "a refusal for success": ({"success": {"status": [200, 401]}}, "users.0.success: no status of 4xx"),
    "a redirect of no status": ({"success": {"status": 200, "redirect": "/x"}}, "users.0.success: redirect needs"),
    "a password in the address": ({"url": "http://a:hunter2@app/x"}, "users.0.url: must be http://HOST[:PORT]/PATH"),
    "no address": ({"url": "app/x"}, "users.0.url: must be http://HOST[:PORT]/PATH"),
    "a port that is none": ({"url": "http://app:99999/x"}, "users.0.url: must be http://HOST[:PORT]/PATH"),
    "a lookup of nowhere": ({"lookup": {"gone": 410}}, "users.0.lookup.url: is needed"),
    "a recheck of nobody": ({"recheck": 60}, "users.0: recheck is nothing without lookup.url"),
    "a lookup without an id": ({"lookup": {"url": "http://app/users"}}, "users.0.lookup.url: must have {id}"),
    "an id in the host": ({"lookup": {"url": "http://{id}/users"}}, "users.0.lookup.url: must have {id}"),
    "an id without a name": (
        {"lookup": {"url": "http://app/{id}"}, "identity": {"id": "/id"}},
        "users.0: with identity.id and a lookup an identity.username is needed",
    ),
    "a header of ours": ({"headers": {"Host": "x"}}, "users.0.headers: 'Host' is no header"),
    "two lines in a header": ({"headers": {"X-Key": "a\nhunter2"}}, "users.0.headers: 'X-Key' is no header"),
    "a setting of another kind": ({"path": "users.yaml"}, "users.0.path: there is no such setting"),
    "a misspelt setting": ({"sucess": {}}, "did you mean success?"),
    "a misspelt kind": ({"source": "htpp"}, "users.0.source: must be file, htpasswd, http, ldap or sql"),
}


@pytest.mark.parametrize(("over", "said"), list(WRONG_SETTINGS.values()), ids=list(WRONG_SETTINGS))
def test_a_wrong_setting_is_named(over: dict[str, Any], said: str) -> None:
    given = {
        "source": "http",
        "url": "http://app/signin",
        "success": {"status": 204},
        **over,
    }
    with pytest.raises(SettingsError) as caught:
        make_settings("redis://127.0.0.1:1", "http://127.0.0.1:1", users=[given])
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_settings_show_no_key_of_the_application() -> None:
    given = {
        "source": "http",
        "url": "http://app/signin",
        "success": {"status": 204},
        "headers": {"X-Api-Key": "hunter2"},
        "extra": {"token": "hunter3"},
    }
    settings = make_settings("redis://127.0.0.1:1", "http://127.0.0.1:1", users=[given])
    assert "hunter" not in repr(settings)
