"""What only the engine ``cookie`` has: its text, its limit, its notes, and a session that nobody can look up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.core.keys import b64url, from_b64url
from gateway.core.sessions import Session
from gateway.errors import SessionTooLarge
from gateway.store.cookie_sessions import MAX_VALUE_BYTES
from gateway.store.engine import SessionEngine
from gateway.store.redis_server import RedisServer
from gateway.store.sessions import Sessions
from gateway.web.session import WebSession
from tests.store.engines import REDIS, Place
from tests.store.session_lab import (
    OLD_KEY,
    POLICY,
    REVOKED,
    UNKNOWN,
    Clock,
    Faults,
    bogus_id,
    find,
    fresh_record,
    informed,
    living,
    make_sessions,
    settled,
    watched,
)

LINGER = 60.0


@pytest.fixture
async def engine(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[SessionEngine]:
    async with REDIS.open(Place(tmp_path, redis_server.url), LINGER) as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sessions(engine: SessionEngine, clock: Clock) -> Sessions:
    return await informed(make_sessions(engine, cookie=True, clock=clock))


# -- the text
def opened(text: str, key: bytes, nonce: bytes, sealed: bytes) -> bytes | None:
    try:
        return AESGCM(key).decrypt(nonce, sealed, b"session cookie")
    except InvalidTag:
        return None


async def test_each_cookie_is_under_a_key_of_its_own_made_of_a_random_seed(sessions: Sessions, clock: Clock) -> None:
    session = await sessions.create(fresh_record(clock, cart="apples"))
    texts = [sessions.cookie_value(await sessions.renew(session)) for _ in range(20)]
    seeds = set()
    for text in texts:
        data = from_b64url(text)
        assert data is not None
        key_id, seed, sealed = data[:4], data[4:28], data[28:]
        assert key_id == OLD_KEY.id
        seeds.add(seed[:16])
        plain = opened(text, OLD_KEY.derived_for(b"session cookie", seed), seed[-12:], sealed)
        assert plain is not None
        assert b"apples" in plain
        assert opened(text, OLD_KEY.derived(b"session cookie"), seed[-12:], sealed) is None
    assert len(seeds) == len(texts)


async def test_a_part_of_another_cookie_opens_nothing(sessions: Sessions, clock: Clock) -> None:
    session = await sessions.create(fresh_record(clock))
    one, other = [from_b64url(sessions.cookie_value(await sessions.renew(session))) for _ in range(2)]
    assert one is not None
    assert other is not None
    for begin, end in ((4, 16), (4, 28), (16, 28), (28, 44), (28, len(one)), (len(one) - 16, len(one))):
        mixed = one[:begin] + other[begin:end] + one[end:]
        assert mixed not in (one, other)
        assert await find(sessions, b64url(mixed)) == UNKNOWN, (begin, end)
    assert isinstance(await find(sessions, b64url(one)), Session)


# -- the limit
def padded(session: Session, size: int) -> Any:
    return replace(session.record, data={"pad": "x" * size})


async def largest(write: Callable[[int], Awaitable[Session]]) -> Session:
    """The last one that is taken, one character more each time."""
    size, written = 1500, await write(1500)
    with suppress(SessionTooLarge):
        while size < MAX_VALUE_BYTES:
            size += 1
            written = await write(size)
    with pytest.raises(SessionTooLarge) as raised:
        await write(size)
    assert raised.value.parts["limit"] == str(MAX_VALUE_BYTES)
    assert int(raised.value.parts["size"]) > MAX_VALUE_BYTES
    return written


async def test_what_was_created_or_saved_can_be_renewed_until_it_is_over(sessions: Sessions, clock: Clock) -> None:
    small = await sessions.create(fresh_record(clock))
    created = await largest(lambda size: sessions.create(padded(small, size)))
    saved = await largest(lambda size: sessions.save(small, padded(small, size)))
    for session in (created, saved):
        assert len(sessions.cookie_value(session)) > MAX_VALUE_BYTES - 40
        current = session
        for step in (10.1, 10.12, 10.123, 10.1234567):
            clock.now += step
            assert sessions.renewal_is_due(current)
            current = await living(sessions, sessions.cookie_value(await sessions.renew(current)))
            assert current.record == session.record
            assert abs(current.last_seen - clock.now) < 0.001


async def test_a_save_that_does_not_fit_leaves_what_was(sessions: Sessions, clock: Clock) -> None:
    session = await sessions.create(fresh_record(clock, cart="apples"))
    with pytest.raises(SessionTooLarge):
        await sessions.save(session, padded(session, MAX_VALUE_BYTES))
    assert (await living(sessions, sessions.cookie_value(session))).record.data == {"cart": "apples"}


# -- the notes
class HeldBack:
    """The first look-up is answered by the engine, and its answer held back until ``let_go``."""

    def __init__(self) -> None:
        self.answered = asyncio.Event()
        self.let_go = asyncio.Event()

    async def __call__(self, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        answer = await call()
        if name == "load" and not self.answered.is_set():
            self.answered.set()
            await self.let_go.wait()
        return answer


async def test_a_sign_out_overtakes_a_look_up_that_began_before_it(engine: SessionEngine, clock: Clock) -> None:
    held = HeldBack()
    sessions = await informed(make_sessions(watched(engine, held), cookie=True, clock=clock))
    session = await sessions.create(fresh_record(clock))
    cookie = sessions.cookie_value(session)
    before = asyncio.create_task(find(sessions, cookie))
    async with asyncio.timeout(5):
        await held.answered.wait()
        assert await sessions.delete(session)
        assert await find(sessions, cookie) == REVOKED, "it must not share what was read before"
        held.let_go.set()
        assert isinstance(await before, Session)


# -- nothing that could be looked up
async def handler_s(sessions: Sessions, cookie: str, clock: Clock) -> WebSession:
    return WebSession(sessions, await living(sessions, cookie), clock=clock)


async def test_a_handler_that_loads_its_session_again_keeps_it(sessions: Sessions, clock: Clock) -> None:
    made = await sessions.create(fresh_record(clock, cart="apples"))
    session = await handler_s(sessions, sessions.cookie_value(made), clock)
    session["cart"] = "never saved"
    assert await session.load() == {"cart": "apples"}
    assert (session.lost, session.user, session.modified) == (None, made.record.user, False)
    session["cart"] = "pears"
    await session.save()
    assert await session.load() == {"cart": "pears"}
    assert session.session_key is not None
    assert await session.exists(session.session_key)
    assert session.found is not None
    assert (await living(sessions, sessions.cookie_value(session.found))).record.data == {"cart": "pears"}


async def test_what_was_ended_meanwhile_is_not_loaded_again(sessions: Sessions, clock: Clock) -> None:
    made = await sessions.create(fresh_record(clock, cart="apples"))
    session = await handler_s(sessions, sessions.cookie_value(made), clock)
    key = session.session_key
    assert key is not None
    await sessions.delete(made)
    assert not await session.exists(key)
    assert (await session.load(), session.lost, session.found) == ({}, "revoked", None)
    idle = await handler_s(sessions, sessions.cookie_value(await sessions.create(fresh_record(clock))), clock)
    clock.now += POLICY.idle_timeout + POLICY.touch_interval
    assert (await idle.load(), idle.lost) == ({}, "expired_idle")


async def test_with_redis_away_a_session_is_loaded_as_it_is_found(engine: SessionEngine, clock: Clock) -> None:
    faults = Faults()
    sessions = await informed(make_sessions(watched(engine, faults), cookie=True, clock=clock))
    session = await handler_s(
        sessions, sessions.cookie_value(await sessions.create(fresh_record(clock, cart="apples"))), clock
    )
    faults.away = True
    assert await session.load() == {"cart": "apples"}


async def test_a_script_finds_nothing_by_a_key(sessions: Sessions, clock: Clock) -> None:
    made = await sessions.create(fresh_record(clock, cart="apples"))
    for key in (b64url(made.id), b64url(bogus_id())):
        script = WebSession.for_key(sessions, key)
        assert not await script.exists(key)
        assert await script.load() == {}
        assert (script.session_key, script.lost) == (None, "unknown_session")
    assert isinstance(await find(sessions, sessions.cookie_value(made)), Session)


async def test_on_the_other_engines_loading_again_follows_new_ids_and_does_not_say_that_the_browser_has_them(
    engine: SessionEngine, clock: Clock
) -> None:
    sessions = await informed(make_sessions(engine, clock=clock))
    made = await sessions.create(fresh_record(clock, cart="apples"))
    cookie = sessions.cookie_value(made)
    early = await handler_s(sessions, cookie, clock)
    await sessions.rotate(made)
    late = await handler_s(sessions, cookie, clock)  # the new cookie was lost: the browser has the old one only
    for session in (early, late):
        assert await session.load() == {"cart": "apples"}
        assert session.found is not None
        assert session.found.moved, "the browser has to be told"
        assert session.found.id != made.id
    await settled(sessions)
    found = await living(sessions, cookie)
    assert found.record.before, "the old id is needed until the new one was presented"
