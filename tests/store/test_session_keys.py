"""Keys are handed out in two steps and rotate while people work: nobody is signed out by it (founding decision 3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from redis import Redis

from gateway.core.keys import KeyRing, b64url, format_key, from_b64url, parse_ring
from gateway.core.sessions import Session
from gateway.core.tickets import session_tickets
from gateway.engines import SessionParts, session_parts
from gateway.errors import StoreUnavailable, TooManySessions
from gateway.store.announcements import Announcements
from gateway.store.directory import Cap
from gateway.store.engine import Gone, Kept, SessionEngine
from gateway.store.redis_server import RedisServer
from gateway.store.sessions import Sessions
from gateway.store.values import name_of
from tests.harness import make_settings
from tests.store.engines import Place
from tests.store.session_lab import (
    ALICE,
    FIREFOX,
    KINDS,
    LISTED,
    NEW_KEY,
    OLD_KEY,
    REVOKED,
    UNKNOWN,
    Clock,
    Faults,
    Kind,
    bogus_id,
    find,
    fresh_record,
    informed,
    living,
    make_sessions,
    running,
    until,
    watched,
)

QUICK = ("memory", "file", "redis", "sqlite", "cookie")
BEFORE, BETWEEN, AFTER, LAST = (
    KeyRing([OLD_KEY]),
    KeyRing([OLD_KEY, NEW_KEY]),
    KeyRing([NEW_KEY, OLD_KEY]),
    KeyRing([NEW_KEY]),
)
OLD, NEW = OLD_KEY.id.hex(), NEW_KEY.id.hex()
listed = pytest.mark.parametrize("kind", [kind for kind in LISTED if kind.name in QUICK], indirect=True, ids=str)
stored = pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.name in QUICK and not kind.cookie], indirect=True, ids=str
)


@pytest.fixture(params=[kind for kind in KINDS if kind.name in QUICK], ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    made: Kind = request.param
    return made


@pytest.fixture
async def engine(kind: Kind, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SessionEngine]:
    url = request.getfixturevalue("redis_server").url if kind.case.needs_redis else ""
    async with kind.case.open(Place(tmp_path, url), 60.0) as made:
        yield made


class Site:
    """Processes with different rings on one store, at one time."""

    def __init__(self, engine: SessionEngine, kind: Kind) -> None:
        self.engine = engine
        self._kind = kind
        self.clock = Clock()

    def process(self, ring: KeyRing, cap: Cap = Cap()) -> Sessions:  # noqa: B008
        return make_sessions(self.engine, cookie=self._kind.cookie, ring=ring, clock=self.clock, cap=cap)

    async def informed(self, ring: KeyRing) -> Sessions:
        return await informed(self.process(ring))

    async def sign_in(self, sessions: Sessions) -> Session:
        await asyncio.sleep(0.002)
        return await sessions.create(fresh_record(self.clock, ALICE, x=1), FIREFOX)

    async def key_of(self, sessions: Sessions, session: Session) -> bytes:
        """Under which its data are."""
        if self._kind.cookie:
            return (from_b64url(sessions.cookie_value(session)) or b"")[:4]
        (kept,) = await self.engine.load([name_of(session.id)])
        assert isinstance(kept, Kept)
        return kept.value[1:5]


@pytest.fixture
def site(engine: SessionEngine, kind: Kind) -> Site:
    return Site(engine, kind)


# -- one step after the other
async def test_through_a_whole_rotation_nobody_is_signed_out(site: Site) -> None:
    rings = [BEFORE, BETWEEN, AFTER, LAST]
    sessions = site.process(BEFORE)
    session = await site.sign_in(sessions)
    for earlier, later in pairwise(rings):
        one, next_one = site.process(earlier), site.process(later)
        for each in (one, next_one, one, next_one):  # half of the processes have the ring already
            found = await living(each, each.cookie_value(session))
            session = await each.save(found, replace(found.record, data={"x": found.record.data["x"] + 1}))
        assert (await living(one, next_one.cookie_value(session))).record.data == session.record.data
    assert session.record.data == {"x": 13}


async def test_what_the_old_key_sealed_is_sealed_by_the_new_one_at_the_next_write(site: Site) -> None:
    old, new = site.process(BEFORE), site.process(AFTER)
    session = await site.sign_in(old)
    assert await site.key_of(old, session) == OLD_KEY.id
    found = await living(new, old.cookie_value(session))
    assert found.record.data == {"x": 1}
    saved = await new.save(found, found.record)
    assert await site.key_of(new, saved) == NEW_KEY.id
    await living(site.process(LAST), new.cookie_value(saved))


async def test_a_key_that_is_only_distributed_seals_nothing(site: Site) -> None:
    sessions = site.process(BETWEEN)
    session = await site.sign_in(sessions)
    assert await site.key_of(sessions, session) == OLD_KEY.id
    await living(site.process(BEFORE), sessions.cookie_value(session))


@stored
async def test_the_new_cookie_and_the_old_one_are_the_same_session(site: Site) -> None:
    old, new = site.process(BEFORE), site.process(AFTER)
    session = await site.sign_in(old)
    cookies = [old.cookie_value(session), new.cookie_value(session)]
    assert cookies[0] != cookies[1]
    assert [(await living(new, cookie)).id for cookie in cookies] == [session.id] * 2
    moved = await new.rotate(session)
    assert (await living(new, cookies[0])).id == moved.id


# -- a process that is one step behind
async def test_a_cookie_under_a_key_that_is_in_use_but_not_here_is_unavailable(site: Site) -> None:
    new = site.process(LAST)
    cookie = new.cookie_value(await site.sign_in(new))
    await site.engine.announce([OLD, NEW])
    behind = await site.informed(BEFORE)
    for texts in ([cookie], ["junk", cookie]):
        with pytest.raises(StoreUnavailable):
            behind.presented(texts)
    own = behind.cookie_value(await site.sign_in(behind))
    presented = behind.presented([cookie, own])
    assert presented is not None, "another cookie counts that can be judged"
    assert isinstance(await behind.find(presented), Session)


async def test_a_cookie_under_a_key_that_nobody_announced_is_none(site: Site) -> None:
    new = site.process(LAST)
    cookie = new.cookie_value(await site.sign_in(new))
    await site.engine.announce([OLD])
    assert (await site.informed(BEFORE)).presented([cookie]) is None
    await site.engine.announce([NEW])
    await site.engine.withdraw(NEW)
    assert (await site.informed(BEFORE)).presented([cookie]) is None


async def test_as_long_as_nobody_knows_which_keys_are_in_use_a_cookie_under_another_is_unavailable(site: Site) -> None:
    """The store was never reached since the start."""
    new = site.process(LAST)
    cookie = new.cookie_value(await site.sign_in(new))
    with pytest.raises(StoreUnavailable):
        site.process(BEFORE).presented([cookie])


async def test_what_has_not_the_form_of_a_cookie_is_none_whatever_is_announced(site: Site) -> None:
    for sessions in (site.process(BEFORE), await site.informed(BEFORE)):
        assert sessions.presented([]) is None
        assert sessions.presented(["", "x", "junk.junk", "é", "=" * 70]) is None


@stored
async def test_a_record_under_a_key_that_is_not_here_is_unavailable_if_announced_and_else_unknown(site: Site) -> None:
    """The cookie is from before the rotation, the record was written after it."""
    before, after = site.process(BEFORE), site.process(AFTER)
    session = await site.sign_in(before)
    cookie = before.cookie_value(session)
    await after.save(await living(after, cookie), session.record)
    never_reached = site.process(BEFORE)
    assert await find(never_reached, cookie) == UNKNOWN, "it asks who uses that key: nobody"
    await site.engine.announce([OLD, NEW])
    just_in_time = site.process(BEFORE)
    with pytest.raises(StoreUnavailable):
        await find(just_in_time, cookie)
    behind = await site.informed(BEFORE)
    with pytest.raises(StoreUnavailable):
        await find(behind, cookie)
    with pytest.raises(StoreUnavailable):
        await behind.exists(session.id)
    with pytest.raises(StoreUnavailable):
        await behind.save(session, replace(session.record, data={"x": 2}))
    await living(after, cookie)
    await site.engine.withdraw(NEW)
    assert await find(await site.informed(BEFORE), cookie) == UNKNOWN
    assert (await living(after, cookie)).record.data == {"x": 1}, "nothing was spoilt"


async def test_a_key_that_has_gone_takes_its_cookies_along(site: Site) -> None:
    old = site.process(BEFORE)
    cookie = old.cookie_value(await site.sign_in(old))
    await site.engine.announce([OLD, NEW])
    await site.engine.withdraw(OLD)
    assert (await site.informed(LAST)).presented([cookie]) is None


@stored
async def test_a_forged_key_id_does_not_help(site: Site) -> None:
    sessions = await site.informed(AFTER)
    for ring in (LAST, BEFORE):
        text = session_tickets(ring).sign(bogus_id())
        data = from_b64url(text) or b""
        other = NEW_KEY.id if ring is BEFORE else OLD_KEY.id
        assert sessions.presented([b64url(other + data[4:])]) is None


# -- the list of a user's sessions
@listed
async def test_the_list_shows_sessions_under_both_keys_and_ends_them(site: Site) -> None:
    old, new = site.process(BEFORE), site.process(AFTER)
    first, second = await site.sign_in(old), await site.sign_in(old)
    third, fourth = await site.sign_in(new), await site.sign_in(new)
    assert new.users is not None
    handles = [one.card.handle for one in await new.users.of(ALICE)]
    assert handles == [session.card.handle for session in (first, second, third, fourth)]
    assert await new.end_others(fourth) == 3
    for session in (first, second, third):
        assert await find(new, new.cookie_value(session)) == REVOKED
    await living(new, new.cookie_value(fourth))


@listed
async def test_after_a_write_a_session_is_listed_under_the_new_key_too(site: Site) -> None:
    old, new = site.process(BEFORE), site.process(AFTER)
    session = await site.sign_in(old)
    saved = await new.save(session, session.record)
    last = site.process(LAST)
    assert last.users is not None
    assert [one.card.handle for one in await last.users.of(ALICE)] == [session.card.handle]
    assert new.users is not None
    assert len(await new.users.of(ALICE)) == 1, "and not twice"
    await new.delete(saved)
    for each in (old, new, last):
        assert each.users is not None
        assert await each.users.of(ALICE) == []


@listed
@pytest.mark.parametrize("evict", [True, False])
async def test_the_cap_counts_under_all_keys(site: Site, evict: bool) -> None:
    old, new = site.process(BEFORE), site.process(AFTER, Cap(3, evict))
    made = [await site.sign_in(old) for _ in range(3)]
    if evict:
        made += [await site.sign_in(new) for _ in range(2)]
        alive = [isinstance(await find(new, new.cookie_value(session)), Session) for session in made]
        assert alive == [False, False, True, True, True]
    else:
        with pytest.raises(TooManySessions):
            await site.sign_in(new)
    assert new.users is not None
    assert len(await new.users.of(ALICE)) == 3


# -- announcements
async def test_processes_tell_each_other_their_keys_and_what_is_missing(engine: SessionEngine) -> None:
    old, new = Announcements(engine, BEFORE, poll=0.02), Announcements(engine, AFTER, poll=0.02)
    async with running([old.run]):

        async def has_told() -> bool:
            return await engine.announced() == {OLD}

        await until(has_told)
        assert old.missing == frozenset()
        async with running([new.run]):

            async def is_missing() -> bool:
                return old.missing == {NEW} and new._known == {OLD, NEW}

            await until(is_missing)
            assert new.missing == frozenset()
            assert old.may_be_ours(NEW_KEY.id)
        await engine.withdraw(NEW)

        async def is_forgotten() -> bool:
            return not old.missing and not old.may_be_ours(NEW_KEY.id)

        await until(is_forgotten)


async def test_announcements_wait_for_a_store_that_is_away(engine: SessionEngine) -> None:
    faults = Faults()
    faults.away = True
    announcements = Announcements(watched(engine, faults), BEFORE, poll=0.02)
    async with running([announcements.run]):

        async def has_tried() -> bool:
            return len(faults.calls) > 0

        await until(has_tried)
        assert announcements.may_be_ours(NEW_KEY.id), "nobody knows"
        assert announcements.missing == frozenset()
        faults.away = False

        async def has_told() -> bool:
            return await engine.announced() == {OLD} and not announcements.may_be_ours(NEW_KEY.id)

        await until(has_told)


async def test_a_store_that_lost_its_data_is_told_again_which_key_seals(engine: SessionEngine) -> None:
    async with running([Announcements(engine, AFTER, poll=0.02).run]):

        async def has_told() -> bool:
            return await engine.announced() >= {NEW}

        await until(has_told)
        await engine.withdraw(OLD)
        await engine.withdraw(NEW)
        await until(has_told)
        await asyncio.sleep(0.1)
        assert await engine.announced() == {NEW}, "one that only opens stays withdrawn"


# -- as the gateway puts it together, on Redis: by push, without polling
@pytest.fixture
async def behind(redis_server: RedisServer) -> AsyncIterator[SessionParts]:
    settings = make_settings(redis_server.url, "http://127.0.0.1:1")
    parts = session_parts(settings, BEFORE)
    tasks = await parts.start()
    yield parts
    for task in tasks:
        task.cancel()
    await parts.close()


async def is_live(parts: SessionParts) -> None:
    async def proven() -> bool:
        return parts.sessions._belief.in_cache()

    await until(proven)


async def test_redis_tells_within_a_second_that_a_key_came_into_use(behind: SessionParts, redis: Redis) -> None:
    await is_live(behind)
    redis.hset("gw:s:=keys", NEW, "1")

    async def is_known() -> bool:
        return behind.announcements.missing == {NEW}

    assert await until(is_known) < 1.0
    cookie = session_tickets(LAST).sign(bogus_id())
    with pytest.raises(StoreUnavailable):
        behind.sessions.presented([cookie])
    redis.hdel("gw:s:=keys", NEW)

    async def is_forgotten() -> bool:
        return behind.sessions.presented([cookie]) is None if not behind.announcements.missing else False

    assert await until(is_forgotten) < 1.0


async def test_after_flushall_the_key_is_announced_again(behind: SessionParts, redis: Redis) -> None:
    await is_live(behind)
    redis.flushall()

    async def is_told() -> bool:
        return redis.hkeys("gw:s:=keys") == [OLD.encode()]

    await until(is_told)
    await behind.sessions.ping()
    assert isinstance((await behind.sessions.engine.load([b"n"]))[0], Gone)


def test_a_ring_is_read_as_it_was_written() -> None:
    text = "".join(format_key(key._secret) for key in (NEW_KEY, OLD_KEY))
    assert [key.id for key in parse_ring(text)] == [NEW_KEY.id, OLD_KEY.id]
