"""Sessions on a real Redis for tests of their face: the store with a clock that can be moved, and small aiohttp apps."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp_session
from aiohttp import web
from redis import Redis

from gateway.core.keys import parse_ring
from gateway.core.sessions import SessionPolicy
from gateway.core.tickets import session_tickets
from gateway.store.announcements import Announcements
from gateway.store.directory import Cap, UserSessions
from gateway.store.redis import RedisLink, RedisOptions
from gateway.store.redis_server import RedisServer
from gateway.store.redis_sessions import RedisSessionEngine
from gateway.store.serializers import serializer_named
from gateway.store.sessions import Sessions
from gateway.store.values import Values
from gateway.web.session import WebSession
from tests.harness import MASTER

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
RECORDS = "t:s:{*}"


def living_records(redis: Redis) -> list[bytes]:
    """The keys of sessions, without what only says that an id was replaced."""
    return [key for key in redis.keys(RECORDS) if (redis.get(key) or b"").startswith(b"R")]


"""The Redis keys of records."""


@dataclass(slots=True)
class Clock:
    """Real time, and what was added to it."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@asynccontextmanager
async def open_sessions(
    server: RedisServer, policy: SessionPolicy | None = None, *, cap: Cap | None = None, clock: Clock | None = None
) -> AsyncIterator[Sessions]:
    """The store; closed at the end."""
    ring, policy = parse_ring(MASTER), policy or SessionPolicy()
    engine = RedisSessionEngine(RedisLink(RedisOptions(server.url)), "t:", 60.0)
    values, announcements = Values(ring, serializer_named("json")), Announcements(engine, ring, poll=None)
    await announcements.refresh()
    users = UserSessions(engine, engine.directory, values, policy, cap or Cap())
    sessions = Sessions(
        engine, values, session_tickets(ring), announcements, policy, users=users, clock=clock or Clock()
    )
    try:
        yield sessions
    finally:
        await sessions.close()


async def session_in(request: web.Request) -> WebSession:
    """The request's session, by aiohttp-session's own function."""
    session = await aiohttp_session.get_session(request)
    assert isinstance(session, WebSession)
    return session


def answer(value: Any, **kwargs: Any) -> web.Response:
    """JSON."""
    return web.json_response(value, **kwargs)
