"""When a session is loaded and saved, and when its cookie is set or deleted: each sentence of the rules
(docs/sessions-for-django-users.md) on a real store, over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import aiohttp_session
import pytest
from aiohttp import ClientResponse, WSMsgType, web
from aiohttp.test_utils import TestClient
from redis import Redis

from gateway.core.identity import Identity
from gateway.core.sessions import SessionPolicy
from gateway.errors import GatewayError, StoreUnavailable
from gateway.store.redis_server import RedisServer
from gateway.store.sessions import Sessions
from gateway.web.cookies import CookieOptions
from gateway.web.session import WebSession
from gateway.web.storage import SessionStorage, save_before_head, with_session
from tests.behaviour.session_lab import RECORDS, Clock, answer, open_sessions, session_in
from tests.core.tables import table

ALICE = Identity("1", "alice", source="file")
Client = TestClient[Any, Any]
Act = Callable[[WebSession], Awaitable[Any]]


class Site:
    """An app whose handler does to its session what the test says, and answers as the test says."""

    client: Client

    def __init__(self, sessions: Sessions, clock: Clock) -> None:
        self.sessions = sessions
        self.clock = clock
        self.act: Act | None = None
        self.status = 200
        self.headers: dict[str, str] = {}

    async def get(self, act: Act | None, *, status: int = 200, path: str = "/", **headers: str) -> ClientResponse:
        """``act`` None: the handler does not ask for its session."""
        self.act, self.status = act, status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(path)

    async def keys(self) -> list[str]:
        """What the session holds now, as a new request sees it."""
        seen: list[str] = []

        async def look(session: WebSession) -> None:
            seen.extend(session)

        await self.get(look)
        return sorted(seen)


async def write(session: WebSession) -> None:
    session["n"] = session.get("n", 0) + 1


async def read(session: WebSession) -> None:
    session.get("n")


async def load_only(session: WebSession) -> None:
    pass


async def flush(session: WebSession) -> None:
    await session.flush()


async def delete(session: WebSession) -> None:
    await session.delete()


async def invalidate(session: WebSession) -> None:
    session.invalidate()


async def clear(session: WebSession) -> None:
    session.clear()


async def write_and_take_back(session: WebSession) -> None:
    session["n"] = 1
    del session["n"]


async def sign_in(session: WebSession) -> None:
    await session.sign_in(ALICE)


async def end_elsewhere(session: WebSession) -> None:
    """Another request ends the session while this one writes."""
    assert session.session_key is not None
    await WebSession.for_key(session._sessions, session.session_key).delete()
    session["n"] = 100


SITE = web.AppKey("site", Site)


async def page(request: web.Request) -> web.StreamResponse:
    site = request.app[SITE]
    if site.act is not None:
        await site.act(await session_in(request))
    return answer("x", status=site.status, headers=site.headers)


async def stream(request: web.Request) -> web.StreamResponse:
    """Writes before the head, and afterwards what the test says."""
    site = request.app[SITE]
    session = await session_in(request)
    if "unwritten" not in request.query:
        session["before"] = True
    response = web.StreamResponse(headers={"Cache-Control": "no-store"})
    await response.prepare(request)
    await response.write(b"begun ")
    if site.act is not None:
        await site.act(session)
    await response.write(b"done")
    await response.write_eof()
    return response


async def late_head(request: web.Request) -> web.StreamResponse:
    """Does what the test says before the head, so that the answer is refused when it is about to begin."""
    act = request.app[SITE].act
    assert act is not None
    await act(await session_in(request))
    response = web.StreamResponse()
    if "compressed" in request.query:
        response.enable_compression(web.ContentCoding.gzip)
    await response.prepare(request)
    await response.write_eof(b"begun")
    return response


async def socket(request: web.Request) -> web.StreamResponse:
    session = await session_in(request)
    session["opened"] = True
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for message in ws:
        if message.type is WSMsgType.TEXT:
            session["said"] = message.data
            await ws.close()
    return ws


@web.middleware
async def as_the_front_door(request: web.Request, handler: Any) -> web.StreamResponse:
    """Our errors become answers, as in the gateway."""
    try:
        response: web.StreamResponse = await handler(request)
    except GatewayError as error:
        return answer(error.reason.code, status=error.reason.status)
    return response


@pytest.fixture
async def make_site(aiohttp_client: Any, redis_server: RedisServer) -> AsyncIterator[Callable[..., Awaitable[Site]]]:
    opened: list[Any] = []

    async def make(policy: SessionPolicy | None = None, cookie: CookieOptions | None = None, **options: Any) -> Site:
        clock, cookie = Clock(), cookie or CookieOptions("sid")
        opening = open_sessions(redis_server, policy, clock=clock)
        opened.append(opening)
        sessions = await opening.__aenter__()
        storage = SessionStorage(sessions, cookie, **options)
        app = web.Application(middlewares=[as_the_front_door])
        app.on_response_prepare.append(save_before_head)
        app.router.add_get("/", with_session(storage, page))
        app.router.add_get("/passive", with_session(storage, page, activity=False))
        app.router.add_get("/stream", with_session(storage, stream))
        app.router.add_get("/late_head", with_session(storage, late_head))
        app.router.add_get("/socket", with_session(storage, socket))
        site = app[SITE] = Site(sessions, clock)
        site.client = await aiohttp_client(app)
        return site

    yield make
    for opening in opened:
        await opening.__aexit__(None, None, None)


@pytest.fixture
async def site(make_site: Callable[..., Awaitable[Site]]) -> Site:
    return await make_site()


def set_cookies(response: ClientResponse) -> list[str]:
    return response.headers.getall("Set-Cookie", [])


def writes(redis: Redis) -> int:
    """How many scripts that write records have run since the statistics were reset."""
    return int(redis.info("commandstats").get("cmdstat_eval", {"calls": 0})["calls"])


# -- load lazily, at first access
async def test_a_session_is_loaded_only_when_a_handler_asks(site: Site, redis: Redis) -> None:
    await site.get(write)
    redis.config_resetstat()
    await site.get(None)
    assert "cmdstat_mget" not in redis.info("commandstats")
    await site.get(read)
    assert "cmdstat_mget" in redis.info("commandstats")


@pytest.mark.parametrize("act", table({"nothing": None, "a look": read, "a write taken back": write_and_take_back}))
async def test_strangers_who_never_write_cost_nothing(site: Site, redis: Redis, act: Act | None) -> None:
    redis.config_resetstat()
    response = await site.get(act)
    assert set_cookies(response) == []
    assert not {"cmdstat_mget", "cmdstat_eval", "cmdstat_getdel"} & redis.info("commandstats").keys()


# -- a cookie was sent and the session is empty: the cookie goes
@pytest.mark.parametrize("status", [200, 302, 404, 500])
@pytest.mark.parametrize("act", table({"flush": flush, "invalidate": invalidate, "delete": delete}))
async def test_what_is_ended_is_gone_and_its_cookie_is_deleted(site: Site, redis: Redis, act: Act, status: int) -> None:
    await site.get(write)
    response = await site.get(act, status=status)
    assert response.cookies["sid"]["max-age"] == "0"
    assert len(set_cookies(response)) == 1
    assert redis.keys(RECORDS) == []


async def test_without_a_cookie_there_is_none_to_delete(site: Site) -> None:
    for act in (flush, invalidate, delete, clear):
        assert set_cookies(await site.get(act)) == []


async def test_a_session_emptied_of_data_keeps_its_id_and_its_cookie(site: Site, redis: Redis) -> None:
    first = (await site.get(write)).cookies["sid"].value
    assert (await site.get(clear)).cookies["sid"].value == first
    assert await site.keys() == []
    assert len(redis.keys(RECORDS)) == 1


async def test_a_cookie_is_deleted_with_the_attributes_it_was_set_with(
    make_site: Callable[..., Awaitable[Site]],
) -> None:
    cookie = CookieOptions("sid", path="/", samesite="Strict", httponly=False)
    site = await make_site(cookie=cookie)
    for response in (await site.get(write), await site.get(flush)):
        morsel = response.cookies["sid"]
        assert (morsel["path"], morsel["samesite"], morsel["httponly"], morsel["secure"]) == ("/", "Strict", "", "")


async def test_a_cookie_has_its_attributes(make_site: Callable[..., Awaitable[Site]]) -> None:
    site = await make_site(cookie=CookieOptions("sid", domain="site.test", path="/x", secure=True))
    (header,) = set_cookies(await site.get(write))
    parts = header.split("; ")
    assert {"Domain=site.test", "Path=/x", "Secure", "HttpOnly", "SameSite=Lax"} <= set(parts)


# -- touched: Vary: Cookie
VARY: dict[str, tuple[Act | None, str, str | None]] = {
    # what the handler does, what it says itself: what is answered
    "nothing": (None, "", None),
    "asked for and not looked at": (load_only, "", None),
    "read": (read, "", "Cookie"),
    "written": (write, "", "Cookie"),
    "flushed": (flush, "", "Cookie"),
    "signed in": (sign_in, "", "Cookie"),
    "another name": (read, "Accept", "Accept, Cookie"),
    "said already": (read, "accept, cookie", "accept, cookie"),
    "a name that contains it": (read, "X-Cookie-Law", "X-Cookie-Law, Cookie"),
    "everything": (read, "*", "*"),
}


@pytest.mark.parametrize(("act", "said", "answered"), table(VARY))
async def test_a_touched_session_is_told_to_caches(site: Site, act: Act, said: str, answered: str | None) -> None:
    response = await site.get(act, **({"Vary": said} if said else {}))
    assert response.headers.get("Vary") == answered


# -- save when modified and not empty and the status is below 500
@pytest.mark.parametrize(
    ("status", "saved"),
    [(200, True), (204, True), (302, True), (400, True), (404, True), (499, True), (500, False), (503, False)],
)
async def test_only_an_error_of_the_server_is_not_saved(site: Site, redis: Redis, status: int, saved: bool) -> None:
    response = await site.get(write, status=status)
    assert (len(set_cookies(response)), len(redis.keys(RECORDS))) == (int(saved), int(saved))


async def test_what_was_written_explicitly_has_its_cookie_even_with_an_error(site: Site) -> None:
    response = await site.get(sign_in, status=500)
    assert response.cookies["sid"].value


async def test_a_session_is_saved_once_for_each_request(site: Site, redis: Redis) -> None:
    for path in ("/", "/stream"):
        redis.config_resetstat()
        response = await site.get(write if path == "/" else None, path=path)
        await response.read()
        assert (writes(redis), len(set_cookies(response))) == (1, 1), path


async def test_reading_writes_nothing_and_sets_no_cookie(site: Site, redis: Redis) -> None:
    await site.get(write)
    redis.config_resetstat()
    assert set_cookies(await site.get(read)) == []
    assert writes(redis) == 0


async def test_with_save_every_request_every_session_is_saved_but_no_stranger_s(
    make_site: Callable[..., Awaitable[Site]], redis: Redis
) -> None:
    site = await make_site(SessionPolicy(save_every_request=True))
    assert set_cookies(await site.get(read)) == []
    assert redis.keys(RECORDS) == []
    await site.get(write)
    for act in (None, load_only, read):
        assert (await site.get(act)).cookies["sid"].value, act
    assert set_cookies(await site.get(read, status=500)) == []
    assert set_cookies(await site.get(None, status=500)) == []


async def test_changed_rights_get_another_id_when_the_handler_forgets_it(site: Site) -> None:
    first = (await site.get(sign_in)).cookies["sid"].value

    async def promote(session: WebSession) -> None:
        assert session.user is not None
        session.set_user(replace(session.user, usertype="mgr"))

    second = (await site.get(promote)).cookies["sid"].value
    assert second != first
    seen: list[str | None] = []

    async def look(session: WebSession) -> None:
        seen.append(session.user.usertype if session.user else None)

    site.act = look
    for value in (second, first):
        site.client.session.cookie_jar.clear()
        await site.client.get("/", headers={"Cookie": f"sid={value}"})
    assert seen == ["mgr", None]


async def test_two_parallel_requests_that_write_different_keys_both_win(site: Site) -> None:
    await site.get(write)
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def slow(session: WebSession) -> None:
        session["slow"] = True
        waiting.set()
        await go_on.wait()

    async def fast(session: WebSession) -> None:
        session["fast"] = True

    task = asyncio.create_task(site.get(slow))
    await asyncio.wait_for(waiting.wait(), 10)
    await site.get(fast)
    go_on.set()
    await task
    assert await site.keys() == ["fast", "n", "slow"]


# -- the cookie's age
async def test_the_cookie_has_the_real_age_of_the_session(make_site: Callable[..., Awaitable[Site]]) -> None:
    site = await make_site(SessionPolicy(age=1000, absolute_timeout=2000))
    morsel = (await site.get(write)).cookies["sid"]
    assert 998 <= int(morsel["max-age"]) <= 1000
    assert morsel["expires"].endswith("GMT")


async def test_the_cookie_never_outlives_the_absolute_timeout(make_site: Callable[..., Awaitable[Site]]) -> None:
    site = await make_site(SessionPolicy(age=100_000, absolute_timeout=2000))
    assert int((await site.get(write)).cookies["sid"]["max-age"]) <= 2000


async def test_a_session_that_ends_with_the_browser_has_a_cookie_without_age(site: Site) -> None:
    async def until_close(session: WebSession) -> None:
        session["a"] = 1
        session.set_expiry(0)

    morsel = (await site.get(until_close)).cookies["sid"]
    assert (morsel["max-age"], morsel["expires"]) == ("", "")


async def test_a_session_whose_expiry_is_over_loses_its_cookie(site: Site) -> None:
    await site.get(write)

    async def over(session: WebSession) -> None:
        session.set_expiry(-1)

    morsel = (await site.get(over)).cookies["sid"]
    assert (morsel.value, morsel["max-age"]) == ("", "0")
    assert await site.keys() == []


# -- deleted in parallel
async def test_what_was_deleted_in_parallel_is_not_saved_and_its_cookie_left_alone(site: Site, redis: Redis) -> None:
    await site.get(write)
    response = await site.get(end_elsewhere)
    assert (response.status, await response.json()) == (400, "session_interrupted")
    assert set_cookies(response) == []
    assert redis.keys(RECORDS) == []


@pytest.mark.parametrize("query", ["", "?compressed"])
async def test_before_a_streamed_answer_begins_it_can_still_be_refused(site: Site, query: str) -> None:
    await site.get(write)
    response = await site.get(end_elsewhere, path=f"/late_head{query}")
    assert (response.status, await response.json()) == (400, "session_interrupted")
    assert set_cookies(response) == []
    assert (await site.get(read)).status == 200  # the connection is still in step


async def test_an_outage_is_503_and_the_cookie_stays(aiohttp_client: Any, own_redis: RedisServer) -> None:
    async with open_sessions(own_redis) as sessions:
        app = web.Application(middlewares=[as_the_front_door])
        app.on_response_prepare.append(save_before_head)
        storage = SessionStorage(sessions, CookieOptions("sid"))
        for path, handler in (("/", page), ("/stream", stream)):
            app.router.add_get(path, with_session(storage, handler))
        site = app[SITE] = Site(sessions, Clock())
        site.client = await aiohttp_client(app)
        await site.get(write)
        own_redis.stop()
        for path in ("/", "/stream"):
            response = await site.get(read, path=path)
            assert (response.status, set_cookies(response)) == (503, [])
        own_redis.start()

        async def stop_and_write(session: WebSession) -> None:
            own_redis.stop()
            session["n"] = 5

        response = await site.get(stop_and_write)
        assert (response.status, set_cookies(response)) == (503, [])


# -- rotation
async def test_a_session_presented_under_its_old_id_gets_its_new_cookie(
    make_site: Callable[..., Awaitable[Site]],
) -> None:
    site = await make_site(SessionPolicy(rotate_interval=900))
    first = (await site.get(write)).cookies["sid"].value
    site.clock.ahead += 901
    second = (await site.get(read)).cookies["sid"].value
    assert second != first
    headers = {"Cookie": f"sid={first}"}
    site.client.session.cookie_jar.clear()
    site.act = read
    assert (await site.client.get("/", headers=headers)).cookies["sid"].value == second
    site.client.session.cookie_jar.clear()
    assert (await site.client.get("/passive", headers=headers)).cookies["sid"].value == second
    site.client.session.cookie_jar.clear()
    site.act = write
    assert (await site.client.get("/", headers=headers)).cookies["sid"].value == second
    assert await site.keys() == ["n"]


@pytest.mark.parametrize(
    ("headers", "renewed", "answered"),
    table(
        {
            "says nothing": ({}, True, "private"),
            "private": ({"Cache_Control": "private, max-age=60"}, True, "private, max-age=60"),
            "no-store": ({"Cache_Control": "no-store"}, True, "no-store"),
            "public": ({"Cache_Control": "public"}, False, "public"),
            "max-age": ({"Cache_Control": "max-age=60"}, False, "max-age=60"),
        }
    ),
)
async def test_a_new_id_never_stands_on_an_answer_that_a_shared_cache_may_store(
    make_site: Callable[..., Awaitable[Site]], headers: dict[str, str], renewed: bool, answered: str
) -> None:
    site = await make_site(SessionPolicy(rotate_interval=900))
    await site.get(write)
    site.clock.ahead += 901
    response = await site.get(read, **headers)
    assert bool(set_cookies(response)) is renewed
    assert response.headers["Cache-Control"] == answered
    assert set_cookies(await site.get(read)) != [] or renewed


async def test_an_answer_that_carries_the_cookie_is_kept_out_of_shared_caches(site: Site) -> None:
    assert (await site.get(write)).headers["Cache-Control"] == "private"
    assert (await site.get(write, Cache_Control="public, max-age=60")).headers["Cache-Control"] == "private"
    assert (await site.get(write, Cache_Control="no-store")).headers["Cache-Control"] == "no-store"
    assert "Cache-Control" not in (await site.get(read)).headers


# -- activity
async def test_who_only_reads_is_not_idle_and_who_polls_passively_is(make_site: Callable[..., Awaitable[Site]]) -> None:
    policy = SessionPolicy(idle_timeout=1000, touch_interval=60, rotate_interval=0)
    for path, alive in (("/", True), ("/passive", False)):
        site = await make_site(policy)
        site.client.session.cookie_jar.clear()
        await site.get(write)
        for _ in range(3):
            site.clock.ahead += 500
            await site.get(read, path=path)
            await settled(site)
        assert (await site.keys() == ["n"]) is alive, path


async def settled(site: Site) -> None:
    """Until what runs in the background is done."""
    async with asyncio.timeout(10):
        while site.sessions._tasks:
            await asyncio.gather(*site.sessions._tasks.values())


# -- streams and WebSockets
async def test_a_streamed_answer_has_the_cookie_of_its_session(site: Site) -> None:
    response = await site.get(None, path="/stream")
    assert (await response.text(), response.headers["Vary"]) == ("begun done", "Cookie")
    assert len(set_cookies(response)) == 1
    assert await site.keys() == ["before"]


async def test_what_a_streaming_handler_writes_later_is_saved_at_its_end(site: Site) -> None:
    await (await site.get(write, path="/stream")).read()
    await until(lambda: site.keys(), ["before", "n"])


async def test_what_is_too_late_for_a_cookie_is_lost_and_the_answer_is_whole(site: Site, redis: Redis) -> None:
    response = await site.get(write, path="/stream?unwritten")
    assert (await response.text(), set_cookies(response)) == ("begun done", [])
    assert await site.keys() == []
    assert redis.keys(RECORDS) == []


@pytest.mark.parametrize(
    "act", table({"deleted meanwhile": end_elsewhere, "flushed": flush, "invalidated": invalidate})
)
async def test_a_session_that_ends_while_its_answer_is_streamed_does_not_harm_the_answer(
    site: Site, redis: Redis, act: Act
) -> None:
    response = await site.get(act, path="/stream")
    assert await response.text() == "begun done"
    assert await site.keys() == []
    assert redis.keys(RECORDS) == []


async def test_a_value_that_cannot_be_written_late_does_not_harm_the_answer(site: Site) -> None:
    async def spoil(session: WebSession) -> None:
        session["bad"] = object()

    response = await site.get(spoil, path="/stream")
    assert await response.text() == "begun done"
    assert await site.keys() == ["before"]


async def test_a_websocket_has_its_cookie_and_what_it_writes_is_saved_at_its_end(site: Site) -> None:
    async with site.client.ws_connect("/socket") as ws:
        assert ws._response.cookies["sid"].value
        assert await site.keys() == ["opened"]
        await ws.send_str("hello")
        await ws.receive()
    await until(lambda: site.keys(), ["opened", "said"])


async def until(ask: Callable[[], Awaitable[Any]], wanted: Any, seconds: float = 10) -> None:
    """Waits for a condition; the server may finish a little after the client has its answer."""
    end = time.monotonic() + seconds
    while (found := await ask()) != wanted:
        assert time.monotonic() < end, found
        await asyncio.sleep(0.01)


# -- who came, and what stays
async def test_a_session_knows_the_address_and_the_browser_it_was_opened_from(site: Site) -> None:
    site.client.session.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
    await site.get(sign_in)
    assert site.sessions.users is not None
    (listed,) = await site.sessions.users.of(ALICE)
    assert (listed.card.address, listed.card.device) == ("127.0.0.1", "Firefox on Linux")


async def test_the_allow_list_of_the_site_counts_at_a_sign_in(make_site: Callable[..., Awaitable[Site]]) -> None:
    site = await make_site(keep_at_sign_in=["cart"])

    async def shop(session: WebSession) -> None:
        session.update({"cart": ["tea"], "seen": 5})

    await site.get(shop)
    await site.get(sign_in)
    assert await site.keys() == ["cart"]


async def test_a_browser_that_keeps_cookies_is_told_from_one_that_does_not(site: Site) -> None:
    worked: list[bool] = []

    async def ask(session: WebSession) -> None:
        session.set_test_cookie()

    async def look(session: WebSession) -> None:
        worked.append(session.test_cookie_worked())
        if worked[-1]:
            session.delete_test_cookie()

    await site.get(ask)
    await site.get(look)
    await site.get(look)
    assert worked == [True, False]


async def test_without_the_middleware_asking_for_a_session_says_what_is_missing() -> None:
    from aiohttp.test_utils import make_mocked_request

    with pytest.raises(RuntimeError, match="middleware"):
        await aiohttp_session.get_session(make_mocked_request("GET", "/"))


# -- the ways to have it, as the table of docs/sessions-for-django-users.md says
async def begin(request: web.Request) -> web.StreamResponse:
    """A new session, before the head and after it; streamed when the path says so."""
    session = await session_in(request)
    session["before"] = True
    if request.path == "/":
        return answer("x")
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"begun ")
    session["after"] = True
    await response.write_eof(b"done")
    return response


async def held(request: web.Request) -> web.StreamResponse:
    return answer(sorted(await session_in(request)))


async def interrupted(request: web.Request) -> web.StreamResponse:
    session = await session_in(request)
    session["n"] = 1
    await session.save()
    await end_elsewhere(session)
    return answer("x")


async def without_store(request: web.Request) -> web.StreamResponse:
    raise StoreUnavailable("the test says so")


def by_with_session(app: web.Application, storage: SessionStorage, routes: dict[str, Any]) -> None:
    app.add_routes([web.get(path, with_session(storage, handler)) for path, handler in routes.items()])


def by_aiohttp_session(app: web.Application, storage: SessionStorage, routes: dict[str, Any]) -> None:
    aiohttp_session.setup(app, storage)
    app.add_routes([web.get(path, handler) for path, handler in routes.items()])


WAYS: dict[str, tuple[Any, bool, list[str]]] = {
    # the way, with save_before_head: what is in the session after a streamed answer that begins it
    "with_session and the signal": (by_with_session, True, ["after", "before"]),
    "with_session alone": (by_with_session, False, []),
    "aiohttp_session.setup and the signal": (by_aiohttp_session, True, ["before"]),
    "aiohttp_session.setup alone": (by_aiohttp_session, False, []),
}


@pytest.mark.parametrize(("install", "signal", "kept"), table(WAYS))
async def test_what_each_way_to_have_sessions_saves_and_what_it_leaves_to_the_author(
    aiohttp_client: Any, redis_server: RedisServer, install: Any, signal: bool, kept: list[str]
) -> None:
    async with open_sessions(redis_server) as sessions:
        app = web.Application()
        routes = {"/": begin, "/stream": begin, "/held": held, "/interrupted": interrupted, "/away": without_store}
        install(app, SessionStorage(sessions, CookieOptions("sid")), routes)
        if signal:
            app.on_response_prepare.append(save_before_head)
        client = await aiohttp_client(app)
        assert await (await client.get("/stream")).text() == "begun done"

        async def now() -> Any:
            return await (await client.get("/held")).json()

        await until(now, kept)
        client.session.cookie_jar.clear()
        assert set_cookies(await client.get("/"))
        assert await now() == ["before"]
        for path in ("/interrupted", "/away"):
            response = await client.get(path)
            assert (response.status, set_cookies(response)) == (500, []), path
