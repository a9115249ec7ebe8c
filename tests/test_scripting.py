"""Sessions outside the gateway: in a script, and in an aiohttp application of its author's own beside a real gateway."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientPayloadError, ClientResponse, web
from aiohttp.test_utils import TestClient

from gateway.core.identity import Identity
from gateway.engines import session_cookie
from gateway.errors import StoreUnavailable
from gateway.identity.passwords import PasswordChecker
from gateway.identity.users import Users
from gateway.identity.users_file import FileUsers, read_users
from gateway.scripting import Store, open_store, setup_sessions
from gateway.settings import Settings
from gateway.store.redis_server import RedisServer
from gateway.web.cookies import CookieOptions
from gateway.web.signed_cookies import get_signed_cookie, set_signed_cookie
from gateway.web.users import USERS, get_user
from tests.behaviour.session_lab import session_in
from tests.conftest import MakeGateway
from tests.core.tables import table
from tests.fakes import RecordingBackend
from tests.harness import ALICE, MASTER, ROOT, make_settings
from tests.harness import session_cookie as cookie_of
from tests.quick import cheap_users, make_gateway

__all__ = ["make_gateway"]
Client = TestClient[Any, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
MakeApp = Callable[..., Awaitable[Client]]
NAME = "gw_session"
BACKEND = "http://127.0.0.1:1"
PAGE = ROOT / "docs/sessions-for-django-users.md"


def example() -> dict[str, Any]:
    """What the page's application defines."""
    (code,) = [
        code
        for code in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)
        if "setup_sessions" in code
    ]
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, str(PAGE), "exec"), names)
    return names


# -- an application with a handler for each thing that can go wrong
STORE = web.AppKey("store", Store)


async def write(request: web.Request) -> web.StreamResponse:
    session = await session_in(request)
    session["n"] = session.get("n", 0) + 1
    return web.json_response(session["n"])


async def read(request: web.Request) -> web.StreamResponse:
    session = await session_in(request)
    return web.json_response(dict(session))


async def who(request: web.Request) -> web.StreamResponse:
    user = (await session_in(request)).user
    return web.json_response(user and user.username)


async def anew(request: web.Request) -> web.StreamResponse:
    """The same user, in a session that this application makes."""
    session = await session_in(request)
    user = session.user
    assert user is not None
    await session.flush()
    await session.sign_in(user)
    return web.json_response("signed in")


async def end_elsewhere(request: web.Request) -> web.StreamResponse:
    """Another process ends the session while this request writes; how the answer goes says the query."""
    session = await session_in(request)
    session["late"] = True
    assert session.session_key is not None
    await request.config_dict[STORE].session(session.session_key).delete()
    response = web.StreamResponse() if "streamed" in request.query else web.Response(text="done")
    response.set_cookie("mine", "1")
    if "compressed" in request.query:
        response.enable_compression(web.ContentCoding.gzip)
    if "streamed" in request.query:
        await response.prepare(request)
        await response.write_eof(b"done")
    return response


async def fail(request: web.Request) -> web.StreamResponse:
    """The store goes away when the answer has been prepared, or has begun. aiohttp holds back the head of a whole answer."""
    response = web.StreamResponse() if "begun" in request.query else web.Response(body=bytes(10_000))
    response.set_cookie("mine", "1")
    if "chunked" in request.query:
        response.enable_chunked_encoding()
    await response.prepare(request)
    if "begun" in request.query:
        await response.write(b"begun")
    raise StoreUnavailable("the test says so")


async def redirect(request: web.Request) -> web.StreamResponse:
    (await session_in(request))["seen"] = True
    raise web.HTTPSeeOther("/read")


async def theme(request: web.Request) -> web.StreamResponse:
    response = web.json_response(get_signed_cookie(request, "theme", None))
    set_signed_cookie(response, "theme", request.query["is"])
    return response


HANDLERS = (write, read, who, anew, end_elsewhere, fail, redirect, theme)


def routes() -> web.Application:
    app = web.Application()
    app.add_routes([web.get(f"/{handler.__name__}", handler) for handler in HANDLERS])
    return app


@pytest.fixture
async def make_app(aiohttp_client: Any, redis_server: RedisServer) -> AsyncIterator[MakeApp]:
    """The handlers above, on an open store of the same Redis and settings as a gateway's."""
    opened: list[Any] = []

    async def make(app: web.Application | None = None, *, settings: Settings | None = None, **over: Any) -> Client:
        opening = open_store(settings or make_settings(redis_server.url, BACKEND, **over))
        store = await opening.__aenter__()
        opened.append(opening)
        app = app or routes()
        app[STORE] = store
        store.setup(app)
        client: Client = await aiohttp_client(app)
        return client

    yield make
    for opening in opened:
        await opening.__aexit__(None, None, None)


def set_cookies(response: ClientResponse) -> list[str]:
    return response.headers.getall("Set-Cookie", [])


async def refused(response: ClientResponse) -> tuple[int, str]:
    """Status and reason of an error of ours; its form is checked, and that it sets no cookie."""
    body = await response.json()
    assert list(body) == ["ret", "msg", "reason"]
    assert (body["ret"], set_cookies(response)) == (response.status, [])
    assert response.headers["Cache-Control"] == "no-store"
    return response.status, body["reason"]


# -- the page's example
async def test_the_example_of_the_page_counts_and_streams(aiohttp_client: Any, redis_server: RedisServer) -> None:
    client = await aiohttp_client(example()["make_app"](make_settings(redis_server.url, BACKEND)))
    texts = []
    for _ in range(2):
        response = await client.get("/count")
        texts.append(await response.text())
        assert len(set_cookies(response)) == 1
    assert texts == ["visit 1\n", "visit 2\n"]


async def test_the_example_of_the_page_answers_400_when_its_session_is_ended_meanwhile(
    aiohttp_client: Any, redis_server: RedisServer
) -> None:
    names, settings = example(), make_settings(redis_server.url, BACKEND)
    get_session = names["get_session"]
    ending = False

    async def and_end(request: web.Request) -> Any:
        session = await get_session(request)
        if ending:
            await session.load()
            async with open_store(settings) as store:
                await store.session(session.session_key).delete()
        return session

    names["get_session"] = and_end
    client = await aiohttp_client(names["make_app"](settings))
    await (await client.get("/count")).text()
    ending = True
    assert await refused(await client.get("/count")) == (400, "session_interrupted")


async def test_the_example_of_the_page_starts_without_its_store_and_lives_through_an_outage(
    aiohttp_client: Any, own_redis: RedisServer
) -> None:
    own_redis.stop()
    client = await aiohttp_client(example()["make_app"](make_settings(own_redis.url, BACKEND)))
    response = await client.get("/count")
    assert await refused(response) == (503, "store_unavailable")
    assert int(response.headers["Retry-After"]) > 0
    own_redis.start()
    assert await until_answered(client, "/count") == "visit 1\n"
    own_redis.stop()
    assert await refused(await client.get("/count")) == (503, "store_unavailable")
    own_redis.start()
    assert await until_answered(client, "/count") == "visit 2\n"


async def until_answered(client: Client, path: str, seconds: float = 10) -> str:
    end = time.monotonic() + seconds
    while (response := await client.get(path)).status != 200:
        assert time.monotonic() < end, await response.text()
        await asyncio.sleep(0.02)
    return await response.text()


# -- beside a gateway
@pytest.mark.parametrize("site", table({"http": {}, "https": {"url": "https://shop.test"}}))
async def test_a_session_of_the_gateway_is_read_in_the_application_and_the_other_way_round(
    make_gateway: MakeGateway, make_app: MakeApp, backend: RecordingBackend, site: dict[str, str]
) -> None:
    gateway = await make_gateway(backend.url, site=site)
    client = await make_app(settings=gateway.settings)
    signed_in = await gateway.post("/auth/login", json=ALICE)
    theirs = next(morsel for name, morsel in signed_in.cookies.items() if name.endswith("gw_session"))
    headers = {"Cookie": f"{theirs.key}={theirs.value}"}
    assert await (await client.get("/who", headers=headers)).json() == "alice"
    assert await (await client.get("/write", headers=headers)).json() == 1
    client.session.cookie_jar.clear()
    made = await client.get("/anew", headers=headers)
    (ours,) = made.cookies.values()
    assert {**ours, "max-age": 0, "expires": 0} == {**theirs, "max-age": 0, "expires": 0}
    assert (ours.key, ours.value != theirs.value) == (theirs.key, True)
    assert (await gateway.get("/orders", cookie=f"{ours.key}={ours.value}")).status == 200
    assert backend.last.value("X-Forwarded-Preferred-Username") == "alice"
    gone = await gateway.get("/orders", cookie=headers["Cookie"])
    assert (gone.status, (await gone.json())["reason"]) == (302, "revoked")


async def test_who_is_signed_out_at_the_gateway_is_nobody_in_the_application_at_once(
    make_gateway: MakeGateway, make_app: MakeApp, backend: RecordingBackend
) -> None:
    gateway = await make_gateway(backend.url)
    client = await make_app(settings=gateway.settings)
    cookie = cookie_of(await gateway.post("/auth/login", json=ALICE))
    for expected in ("alice", "alice"):  # the second time it is known in the process
        assert await (await client.get("/who", headers={"Cookie": cookie})).json() == expected
    await gateway.post("/auth/logout", cookie=cookie)
    end = time.monotonic() + 1
    while (seen := await (await client.get("/who", headers={"Cookie": cookie})).json()) is not None:
        assert time.monotonic() < end, seen


async def test_with_the_users_of_the_site_the_application_knows_them_as_they_are_now(
    make_gateway: MakeGateway, make_app: MakeApp, backend: RecordingBackend, tmp_path: Path
) -> None:
    async def name(request: web.Request) -> web.StreamResponse:
        user = await get_user(request)
        return web.json_response([user.is_authenticated, user.username])

    users_file = cheap_users(tmp_path / "people.yaml")
    gateway = await make_gateway(backend.url, users=[{"source": "file", "path": str(users_file)}])
    users = Users([FileUsers(read_users(users_file), PasswordChecker(1), "file:people.yaml")])

    async def watching(app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(users.watch())
        yield
        task.cancel()

    app = routes()
    app.router.add_get("/name", name)
    app[USERS] = users
    app.cleanup_ctx.append(watching)
    client = await make_app(app, settings=gateway.settings)
    headers = {"Cookie": cookie_of(await gateway.post("/auth/login", json=ALICE))}
    assert await (await client.get("/name", headers=headers)).json() == [True, "alice"]
    users_file.write_text(users_file.read_text().replace("name: Alice", "disabled: true\n  name: Alice"))
    end = time.monotonic() + 10
    while (seen := await (await client.get("/name", headers=headers)).json()) != [False, ""]:
        assert time.monotonic() < end, seen
        await asyncio.sleep(0.02)


COOKIES: dict[str, tuple[str | None, dict[str, Any], CookieOptions]] = {
    # site.url, session.cookie: the cookie
    "http": (None, {}, CookieOptions(NAME)),
    "https": ("https://a.test", {}, CookieOptions(f"__Host-{NAME}", secure=True)),
    "a domain": (
        "https://a.test",
        {"domain": "a.test"},
        CookieOptions(f"__Secure-{NAME}", domain="a.test", secure=True),
    ),
    "a path": ("https://a.test", {"path": "/x"}, CookieOptions(f"__Secure-{NAME}", path="/x", secure=True)),
    "https and not secure": ("https://a.test", {"secure": False}, CookieOptions(NAME)),
    "https and secure": ("https://a.test", {"secure": True}, CookieOptions(f"__Host-{NAME}", secure=True)),
    "what it says": (
        None,
        {"name": "sid", "samesite": "Strict", "httponly": False},
        CookieOptions("sid", samesite="Strict", httponly=False),
    ),
}


@pytest.mark.parametrize(("url", "cookie", "made"), table(COOKIES))
def test_the_cookie_is_as_the_settings_say(url: str | None, cookie: dict[str, Any], made: CookieOptions) -> None:
    site = {} if url is None else {"url": url}
    settings = make_settings("redis://127.0.0.1:1/0", BACKEND, site=site, session={"cookie": cookie})
    assert session_cookie(settings) == made


# -- answers to our errors
@pytest.mark.parametrize("query", ["", "?streamed", "?streamed&compressed"])
async def test_a_session_ended_in_parallel_is_400_without_any_cookie(make_app: MakeApp, query: str) -> None:
    client = await make_app()
    await client.get("/write")
    assert await refused(await client.get(f"/end_elsewhere{query}")) == (400, "session_interrupted")
    assert await (await client.get("/read")).json() == {}  # the connection is still in step


@pytest.mark.parametrize(("accept", "words"), [("en", "The session was ended"), ("zh-CN", "会话已被注销")])
async def test_what_is_told_is_told_in_the_language_of_the_browser(make_app: MakeApp, accept: str, words: str) -> None:
    client = await make_app()
    await client.get("/write")
    response = await client.get("/end_elsewhere", headers={"Accept-Language": accept})
    assert words in (await response.json())["msg"]
    assert "Accept-Language" in response.headers["Vary"]


@pytest.mark.parametrize("query", ["", "?chunked"])
async def test_an_error_after_the_answer_was_prepared_is_an_answer_of_its_own(make_app: MakeApp, query: str) -> None:
    client = await make_app()
    response = await client.get(f"/fail{query}")
    assert await refused(response) == (503, "store_unavailable")
    assert int(response.headers["Content-Length"]) < 1000
    assert (await client.get("/read")).status == 200  # the connection is still in step


async def test_an_error_after_the_answer_has_begun_breaks_it_off_and_adds_nothing(make_app: MakeApp) -> None:
    client = await make_app()
    response = await client.get("/fail?begun")
    assert (response.status, await response.content.readexactly(5)) == (200, b"begun")
    with pytest.raises(ClientPayloadError):
        await response.content.readany()


# -- what else is around the handlers
async def test_an_answer_that_is_raised_is_saved_and_what_is_not_there_stays_404(make_app: MakeApp) -> None:
    client = await make_app()
    assert await (await client.get("/redirect")).json() == {"seen": True}
    assert (await client.get("/nothing")).status == 404


async def test_signed_cookies_work_in_every_handler(make_app: MakeApp) -> None:
    client = await make_app()
    assert await (await client.get("/theme?is=dark")).json() is None
    assert await (await client.get("/theme?is=light")).json() == "dark"


async def test_middlewares_of_the_author_and_sub_applications_have_sessions_too(make_app: MakeApp) -> None:
    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        session = await session_in(request)
        session["seen"] = session.get("seen", 0) + 1
        return await handler(request)

    app = web.Application(middlewares=[count])
    app.add_subapp("/part", routes())
    client = await make_app(app)
    assert [await (await client.get("/part/read")).json() for _ in range(2)] == [{"seen": 1}, {"seen": 2}]
    assert await refused(await client.get("/part/end_elsewhere?streamed")) == (400, "session_interrupted")


async def test_the_keys_that_stay_at_a_sign_in_are_those_of_the_settings(make_app: MakeApp) -> None:
    async def shop(request: web.Request) -> web.StreamResponse:
        (await session_in(request)).update({"cart": ["tea"], "seen": 5})
        return web.json_response("x")

    async def sign_in(request: web.Request) -> web.StreamResponse:
        await (await session_in(request)).sign_in(Identity("1", "alice", source="own"))
        return web.json_response("x")

    app = routes()
    app.add_routes([web.get("/shop", shop), web.get("/sign_in", sign_in)])
    client = await make_app(app, session={"keep_at_sign_in": ["cart"]})
    await client.get("/shop")
    await client.get("/sign_in")
    assert await (await client.get("/read")).json() == {"cart": ["tea"]}


async def test_an_application_that_runs_already_is_not_set_up(make_app: MakeApp, redis_server: RedisServer) -> None:
    client = await make_app()
    with pytest.raises(RuntimeError):
        setup_sessions(client.app, make_settings(redis_server.url, BACKEND))


# -- what docs/sessions.md says of engines
@pytest.mark.parametrize("engine", ["file", "memory", "cookie"])
async def test_without_a_directory_disabling_a_user_ends_his_sessions(
    make_gateway: MakeGateway, backend: RecordingBackend, tmp_path: Path, engine: str
) -> None:
    users_file = cheap_users(tmp_path / "people.yaml")
    users = [{"source": "file", "path": str(users_file)}]
    session = {"engine": engine, "file": {"path": str(tmp_path / "s")}} if engine == "file" else {"engine": engine}
    gateway = await make_gateway(backend.url, users=users, session=session)
    cookie = await gateway.sign_in(ALICE)
    assert (await gateway.get("/orders", cookie=cookie)).status == 200
    users_file.write_text(users_file.read_text().replace("name: Alice", "disabled: true\n  name: Alice"))
    end = time.monotonic() + 10
    while (response := await gateway.get("/orders", cookie=cookie)).status == 200:
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
    assert (response.status, (await response.json())["reason"]) == (302, "revoked")


def stored(session: dict[str, Any], **over: Any) -> Settings:
    return make_settings("redis://127.0.0.1:1/0", BACKEND, session=session, **over)


@pytest.mark.parametrize("engine", ["sql", "file"])
async def test_two_gateways_of_one_account_share_the_place_that_no_setting_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    named = {
        "sql": stored({"engine": "sql"}, sql={"url": f"sqlite:///{tmp_path / 'other.db'}"}),
        "file": stored({"engine": "file", "file": {"path": str(tmp_path / "other")}}),
    }
    unnamed = stored({"engine": engine})
    async with open_store(unnamed) as one, open_store(unnamed) as two, open_store(named[engine]) as other:
        session = one.session()
        session["a"] = 1
        await session.save()
        assert session.session_key is not None
        found = [await store.session().exists(session.session_key) for store in (one, two, other)]
    assert found == [True, True, False]


def test_a_serializer_of_ones_own_is_found_on_the_python_path_and_not_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "codes.py").write_text(
        "import json\n\n\nclass Codec:\n"
        "    def dumps(self, value):\n        return json.dumps(value).encode()\n\n"
        "    def loads(self, data):\n        return json.loads(data)\n"
    )
    (tmp_path / "users.yaml").write_text("users: []\n")
    (tmp_path / "gateway.yaml").write_text(
        f"keys: {{master: {MASTER}}}\nusers: [{{path: users.yaml}}]\nupstreams: {{app: {{url: 'http://127.0.0.1:9'}}}}\n"
        "routes: [{path: /}]\nsession: {engine: file, file: {path: sessions}, serializer: codes.Codec}\n"
    )
    # -P: as the console script, which does not look into the folder it is started in
    command = [sys.executable, "-P", "-m", "gateway", "clearsessions", "--config", "gateway.yaml"]
    for path, code, said in ((f"{ROOT}", 1, "session.serializer"), (f"{ROOT}:{tmp_path}", 0, "deleted 0 sessions")):
        environment = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stderr


# -- scripts
async def test_a_script_clears_what_is_over_and_is_told_how_many(tmp_path: Path) -> None:
    times = {"idle_timeout": 1, "touch_interval": 1}
    settings = make_settings(
        "redis://127.0.0.1:1/0", BACKEND, session={"engine": "file", "file": {"path": str(tmp_path / "s")}, **times}
    )
    async with open_store(settings) as store:
        assert await store.clear_expired() == 0
        for _ in range(2):
            session = store.session()
            session["a"] = 1
            await session.save()
        cleared, end = 0, time.monotonic() + 10
        while cleared < 2:
            assert time.monotonic() < end
            cleared += await store.clear_expired()
            await asyncio.sleep(0.05)
        assert (cleared, await store.clear_expired()) == (2, 0)


async def test_redis_clears_by_itself(redis_server: RedisServer) -> None:
    async with open_store(make_settings(redis_server.url, BACKEND)) as store:
        session = store.session()
        session["a"] = 1
        await session.save()
        assert await store.clear_expired() == 0
        assert session.session_key is not None
        assert await store.session().exists(session.session_key)
