"""Handlers use aiohttp-session as they know it, under its middleware or ours; the storage behind it is ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp_session
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from redis import Redis

from gateway.core.keys import b64url, parse_ring
from gateway.core.sessions import Session, SessionRecord
from gateway.core.tickets import session_tickets
from gateway.store.redis_server import RedisServer
from gateway.store.sessions import Sessions
from gateway.web.cookies import CookieOptions
from gateway.web.session import WebSession
from gateway.web.storage import SessionStorage, save_before_head, with_session
from tests.behaviour.session_lab import RECORDS, living_records, open_sessions
from tests.harness import MASTER

Client = TestClient[Any, Any]
SESSIONS = web.AppKey("sessions", Sessions)


# -- handlers as aiohttp-session's own documentation has them: nothing of ours in them
async def visits(request: web.Request) -> web.Response:
    session = await aiohttp_session.get_session(request)
    session["visits"] = session["visits"] + 1 if "visits" in session else 1
    return web.json_response(session["visits"])


async def peek(request: web.Request) -> web.Response:
    session = await aiohttp_session.get_session(request)
    known = {
        "keys": sorted(session),
        "new": session.new,
        "empty": session.empty,
        "has_id": session.identity is not None,
    }
    return web.json_response(known)


async def untouched(_: web.Request) -> web.Response:
    return web.json_response("x")


async def deep(request: web.Request) -> web.Response:
    session = await aiohttp_session.get_session(request)
    if "cart" not in session:
        session["cart"] = {"items": []}
    else:
        session["cart"]["items"].append("tea")
        session.changed()
    return web.json_response(session["cart"]["items"])


async def invalidate(request: web.Request) -> web.Response:
    (await aiohttp_session.get_session(request)).invalidate()
    return web.json_response("x")


async def invalidate_and_begin_again(request: web.Request) -> web.Response:
    session = await aiohttp_session.get_session(request)
    session.invalidate()
    session["fresh"] = True
    return web.json_response("x")


async def anew(request: web.Request) -> web.Response:
    """What aiohttp-session recommends at a sign-in, against fixation."""
    session = await aiohttp_session.new_session(request)
    session["user"] = "alice"
    return web.json_response(session.new)


async def new_but_unused(request: web.Request) -> web.Response:
    await aiohttp_session.new_session(request)
    return web.json_response("x")


async def short(request: web.Request) -> web.Response:
    session = await aiohttp_session.get_session(request)
    session.max_age = 60
    session["short"] = True
    return web.json_response(session.max_age)


async def over(request: web.Request) -> web.Response:
    (await aiohttp_session.get_session(request)).max_age = 0
    return web.json_response("x")


async def own_identity(request: web.Request) -> web.Response:
    session = await aiohttp_session.get_session(request)
    session.set_new_identity("chosen")
    session["x"] = 1
    return web.json_response("x")


async def raised(request: web.Request) -> web.Response:
    session = await aiohttp_session.get_session(request)
    session["visits"] = 7
    raise web.HTTPFound("/peek")


async def broken(request: web.Request) -> web.Response:
    session = await aiohttp_session.get_session(request)
    session["visits"] = 1000
    return web.json_response("broken", status=500)


HANDLERS = (
    visits,
    peek,
    untouched,
    deep,
    invalidate,
    invalidate_and_begin_again,
    anew,
    new_but_unused,
    short,
    over,
    own_identity,
    raised,
    broken,
)


def under_ours(app: web.Application, storage: SessionStorage) -> None:
    app.on_response_prepare.append(save_before_head)
    for handler in HANDLERS:
        app.router.add_get(f"/{handler.__name__}", with_session(storage, handler))


def under_theirs(app: web.Application, storage: SessionStorage) -> None:
    aiohttp_session.setup(app, storage)
    app.add_routes([web.get(f"/{handler.__name__}", handler) for handler in HANDLERS])


@pytest.fixture(params=[under_ours, under_theirs], ids=["with_session", "aiohttp_session.setup"])
async def client(
    request: pytest.FixtureRequest, aiohttp_client: Any, redis_server: RedisServer
) -> AsyncIterator[Client]:
    async with open_sessions(redis_server) as sessions:
        app = web.Application()
        setup: Callable[[web.Application, SessionStorage], None] = request.param
        setup(app, SessionStorage(sessions, CookieOptions("sid")))
        yield await aiohttp_client(app)


async def json_of(response: Awaitable[Any]) -> Any:
    answered = await response
    assert answered.status == 200, await answered.text()
    return await answered.json()


async def test_a_handler_written_for_aiohttp_session_works_unchanged(client: Client) -> None:
    assert [await json_of(client.get("/visits")) for _ in range(3)] == [1, 2, 3]
    assert await json_of(client.get("/peek")) == {"keys": ["visits"], "new": False, "empty": False, "has_id": True}


async def test_a_session_nobody_writes_costs_nothing(client: Client, redis: Redis) -> None:
    redis.config_resetstat()
    response = await client.get("/peek")
    assert await response.json() == {"keys": [], "new": True, "empty": True, "has_id": False}
    assert "Set-Cookie" not in response.headers
    assert redis.keys(RECORDS) == []
    assert not {"cmdstat_mget", "cmdstat_eval", "cmdstat_set"} & redis.info("commandstats").keys()


async def test_vary_says_whether_the_session_was_looked_at(client: Client) -> None:
    await client.get("/visits")
    assert (await client.get("/visits")).headers["Vary"] == "Cookie"
    assert (await client.get("/peek")).headers["Vary"] == "Cookie"
    assert "Vary" not in (await client.get("/untouched")).headers


async def test_a_change_deep_inside_a_value_is_kept(client: Client) -> None:
    assert [await json_of(client.get("/deep")) for _ in range(3)] == [[], ["tea"], ["tea", "tea"]]


async def test_an_invalidated_session_is_gone_in_the_store_too(client: Client, redis: Redis) -> None:
    await client.get("/visits")
    response = await client.get("/invalidate")
    assert response.cookies["sid"]["max-age"] == "0"
    assert redis.keys(RECORDS) == []
    assert await json_of(client.get("/visits")) == 1


async def test_what_is_written_after_invalidate_goes_into_another_session(client: Client, redis: Redis) -> None:
    old = (await client.get("/visits")).cookies["sid"].value
    new = (await client.get("/invalidate_and_begin_again")).cookies["sid"].value
    assert len(living_records(redis)) == 1
    assert new != old
    assert (await json_of(client.get("/peek")))["keys"] == ["fresh"]


async def test_new_session_gives_another_id_and_ends_the_session_it_replaces(client: Client, redis: Redis) -> None:
    old = (await client.get("/visits")).cookies["sid"].value
    response = await client.get("/anew")
    assert await response.json() is True
    assert response.cookies["sid"].value not in ("", old)
    assert len(living_records(redis)) == 1
    assert (await json_of(client.get("/peek")))["keys"] == ["user"]
    client.session.cookie_jar.clear()
    assert (await json_of(client.get("/peek", headers={"Cookie": f"sid={old}"})))["keys"] == []


async def test_a_new_session_that_nobody_writes_changes_nothing(client: Client) -> None:
    await client.get("/visits")
    assert "Set-Cookie" not in (await client.get("/new_but_unused")).headers
    assert await json_of(client.get("/visits")) == 2


async def test_max_age_is_the_age_of_cookie_and_record(client: Client, redis: Redis) -> None:
    response = await client.get("/short")
    assert await response.json() == 60
    assert 58 <= int(response.cookies["sid"]["max-age"]) <= 60
    assert (await client.get("/over")).cookies["sid"]["max-age"] == "0"
    assert (await json_of(client.get("/peek")))["keys"] == []


async def test_an_identity_of_one_s_own_is_for_new_sessions_and_the_id_stays_random(client: Client) -> None:
    response = await client.get("/own_identity")
    assert len(response.cookies["sid"].value) > 60
    assert (await client.get("/own_identity")).status == 500


async def test_a_response_that_is_raised_is_a_response(client: Client) -> None:
    response = await client.get("/raised", allow_redirects=False)
    assert (response.status, response.headers["Vary"]) == (302, "Cookie")
    assert len(response.headers.getall("Set-Cookie")) == 1
    assert await json_of(client.get("/visits")) == 8


async def test_an_error_of_the_server_saves_nothing(client: Client) -> None:
    await client.get("/visits")
    response = await client.get("/broken")
    assert "Set-Cookie" not in response.headers
    assert await json_of(client.get("/visits")) == 2


async def test_an_invented_or_dead_cookie_is_never_adopted_and_a_dead_one_is_deleted(client: Client) -> None:
    invented = await client.get("/peek", headers={"Cookie": "sid=chosen"})
    assert "Set-Cookie" not in invented.headers
    dead = session_tickets(parse_ring(MASTER)).sign(bytes(32))
    response = await client.get("/peek", headers={"Cookie": f"sid={dead}"})
    assert response.cookies["sid"]["max-age"] == "0"
    client.session.cookie_jar.clear()
    written = await client.get("/visits", headers={"Cookie": f"sid={dead}"})
    assert written.cookies["sid"].value not in ("", dead)


async def test_the_session_does_not_show_its_id(redis_server: RedisServer) -> None:
    found = Session(bytes(range(32)), SessionRecord(1, 1, data={"cart": "secret"}), 1)
    async with open_sessions(redis_server) as sessions:
        shown = repr(WebSession(sessions, found)) + repr(found)
    assert "cart" in shown
    assert "secret" not in shown
    assert repr(found.id)[2:-1] not in shown
    assert b64url(found.id) not in shown
