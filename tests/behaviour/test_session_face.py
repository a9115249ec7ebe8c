"""Handlers use aiohttp-session as they know it; the storage and the rules behind it are ours (docs/http-api.md)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp_session
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from redis import Redis

from gateway.core.identity import Identity
from gateway.core.keys import b64url, parse_ring
from gateway.core.sessions import Session, SessionPolicy, SessionRecord
from gateway.core.tickets import session_tickets
from gateway.errors import SessionInterrupted
from gateway.store.redis import RedisLink, RedisOptions
from gateway.store.redis_server import RedisServer
from gateway.store.redis_sessions import RedisSessionEngine
from gateway.store.sealing import Sealer
from gateway.store.sessions import Sessions
from gateway.web.cookies import CookieOptions
from gateway.web.session import WebSession
from gateway.web.storage import SessionStorage, with_session
from tests.harness import MASTER

Ask = Callable[..., Awaitable[Any]]


async def visits(request: web.Request) -> web.Response:
    """As in aiohttp-session's own documentation, word for word."""
    session = await aiohttp_session.get_session(request)
    session["visits"] = session.get("visits", 0) + 1
    return web.json_response(session["visits"])


async def peek(request: web.Request) -> web.Response:
    session = await aiohttp_session.get_session(request)
    return web.json_response({"keys": sorted(session), "new": session.new, "empty": session.empty})


async def untouched(_: web.Request) -> web.Response:
    return web.json_response("x")


async def deep(request: web.Request) -> web.Response:
    session = await aiohttp_session.get_session(request)
    if "cart" not in session:
        session["cart"] = {"items": []}
    else:
        session["cart"]["items"].append("tea")
    return web.json_response(session["cart"]["items"])


async def invalidate(request: web.Request) -> web.Response:
    (await aiohttp_session.get_session(request)).invalidate()
    return web.json_response("x")


async def broken(request: web.Request) -> web.Response:
    session = await aiohttp_session.get_session(request)
    session["visits"] = 1000
    return web.json_response("broken", status=500)


async def cycle(request: web.Request) -> web.Response:
    session = await aiohttp_session.get_session(request)
    assert isinstance(session, WebSession)
    created, key = session.found and session.found.record.created, session.session_key
    await session.cycle_key()
    assert session.found is not None
    return web.json_response([session.found.record.created == created, session.session_key != key])


async def gone_meanwhile(request: web.Request) -> web.Response:
    session = await aiohttp_session.get_session(request)
    assert isinstance(session, WebSession)
    assert session.found is not None
    session["x"] = 1
    other = WebSession(request.app[SESSIONS], session.found)
    await other.flush()
    with pytest.raises(SessionInterrupted):
        await session.save()
    session.invalidate()
    return web.json_response("x")


async def sign_in(request: web.Request) -> web.Response:
    session = await aiohttp_session.get_session(request)
    assert isinstance(session, WebSession)
    await session.sign_in(Identity(request.query["id"], request.query["id"]), None)
    return web.json_response({"keys": sorted(session), "user": session.user.id if session.user else None})


SESSIONS = web.AppKey("sessions", Sessions)
HANDLERS = (visits, peek, untouched, deep, invalidate, broken, cycle, gone_meanwhile, sign_in)


@pytest.fixture
async def client(aiohttp_client: Any, redis_server: RedisServer) -> TestClient[Any, Any]:
    ring = parse_ring(MASTER)
    engine = RedisSessionEngine(RedisLink(RedisOptions(redis_server.url)), "t:")
    sessions = Sessions(engine, Sealer(ring), SessionPolicy())
    storage = SessionStorage(sessions, session_tickets(ring), CookieOptions("sid"))
    app = web.Application()
    app[SESSIONS] = sessions
    for handler in HANDLERS:
        app.router.add_get(f"/{handler.__name__}", with_session(storage, handler))
    made: TestClient[Any, Any] = await aiohttp_client(app)
    yield made
    await sessions.close()


async def test_a_handler_written_for_aiohttp_session_works_unchanged(client: TestClient[Any, Any]) -> None:
    assert [await (await client.get("/visits")).json() for _ in range(3)] == [1, 2, 3]
    assert await (await client.get("/peek")).json() == {"keys": ["visits"], "new": False, "empty": False}


async def test_a_session_nobody_writes_costs_nothing(client: TestClient[Any, Any], redis: Redis) -> None:
    response = await client.get("/peek")
    assert await response.json() == {"keys": [], "new": True, "empty": True}
    assert "Set-Cookie" not in response.headers
    assert redis.dbsize() == 0


async def test_vary_says_whether_the_session_was_looked_at(client: TestClient[Any, Any]) -> None:
    await client.get("/visits")
    assert (await client.get("/visits")).headers["Vary"] == "Cookie"
    assert "Vary" not in (await client.get("/untouched")).headers


async def test_a_change_deep_inside_a_value_is_noticed(client: TestClient[Any, Any]) -> None:
    assert [await (await client.get("/deep")).json() for _ in range(3)] == [[], ["tea"], ["tea", "tea"]]


async def test_an_invalidated_session_is_gone_in_the_store_too(client: TestClient[Any, Any], redis: Redis) -> None:
    await client.get("/visits")
    response = await client.get("/invalidate")
    assert response.cookies["sid"]["max-age"] == "0"
    assert redis.dbsize() == 0
    assert await (await client.get("/visits")).json() == 1


async def test_an_error_of_the_server_saves_nothing(client: TestClient[Any, Any]) -> None:
    await client.get("/visits")
    response = await client.get("/broken")
    assert "Set-Cookie" not in response.headers
    assert await (await client.get("/visits")).json() == 2


async def test_cycling_the_key_keeps_data_and_age_and_kills_the_old_id(
    client: TestClient[Any, Any], redis: Redis
) -> None:
    await client.get("/visits")
    old = redis.keys("t:s:*")
    assert await (await client.get("/cycle")).json() == [True, True]
    new = redis.keys("t:s:*")
    assert len(new) == 1
    assert new != old
    assert await (await client.get("/visits")).json() == 2


async def test_a_save_after_a_parallel_end_writes_nothing(client: TestClient[Any, Any], redis: Redis) -> None:
    await client.get("/visits")
    response = await client.get("/gone_meanwhile")
    assert response.cookies["sid"]["max-age"] == "0"
    assert redis.dbsize() == 0


async def test_signing_in_drops_what_was_another_s_and_keeps_what_is_his(client: TestClient[Any, Any]) -> None:
    await client.get("/visits")
    assert await (await client.get("/sign_in?id=a")).json() == {"keys": [], "user": "a"}
    await client.get("/visits")
    assert await (await client.get("/sign_in?id=a")).json() == {"keys": ["visits"], "user": "a"}
    assert await (await client.get("/sign_in?id=b")).json() == {"keys": [], "user": "b"}


async def test_an_invented_or_dead_cookie_is_never_adopted_and_a_dead_one_is_deleted(
    client: TestClient[Any, Any],
) -> None:
    invented = await client.get("/peek", headers={"Cookie": "sid=chosen"})
    assert "Set-Cookie" not in invented.headers
    dead = session_tickets(parse_ring(MASTER)).sign(bytes(32))
    response = await client.get("/peek", headers={"Cookie": f"sid={dead}"})
    assert response.cookies["sid"]["max-age"] == "0"
    client.session.cookie_jar.clear()
    written = await client.get("/visits", headers={"Cookie": f"sid={dead}"})
    assert written.cookies["sid"].value not in ("", dead)


def test_the_session_does_not_show_its_id() -> None:
    found = Session(bytes(range(32)), SessionRecord(1, 1, data={"cart": "secret"}), 1)
    shown = repr(WebSession(None, found)) + repr(found)  # type: ignore[arg-type]
    assert "cart" in shown
    assert "secret" not in shown
    assert repr(found.id)[2:-1] not in shown
    assert b64url(found.id) not in shown
