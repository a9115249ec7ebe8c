"""Sessions kept in a process: fast, never another's, and never longer believed than Redis can vouch for."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from gateway.core.keys import KeyRing, MasterKey
from gateway.core.sessions import Session, SessionRecord
from gateway.core.tickets import session_tickets
from gateway.engines import SessionParts, session_parts
from gateway.errors import StoreUnavailable
from gateway.store import cache as cache_module
from gateway.store.cache import LOST_SECONDS, Lost, SessionCache
from gateway.store.engine import Gone, Kept, SessionEngine
from gateway.store.lookups import Lookups
from gateway.store.memory import MemorySessionEngine
from gateway.store.reader import Belief
from gateway.store.redis_server import RedisServer
from gateway.store.redis_tracking import FRESH
from gateway.store.sessions import Sessions
from gateway.store.values import name_of
from tests.harness import make_settings
from tests.store.session_lab import (
    ALICE,
    BOB,
    FIREFOX,
    RING,
    UNKNOWN,
    Faults,
    bogus_id,
    find,
    fresh_record,
    living,
    make_sessions,
    settled,
    until,
    watched,
)

NOW = 1000.0
SECOND = 1.0


def make(number: int = 0, version: bytes = b"v") -> Session:
    return Session(b"id-%d" % number, SessionRecord(1, 1, data={"number": number}), 1.0, version=version)


def put(cache: SessionCache, session: Session, size: int = 1) -> None:
    name = b"n" + session.id
    cache.asked(name, cache.asking(name), session, size)


# -- bookkeeping
def test_what_was_asked_for_is_kept_until_it_is_called_out() -> None:
    cache = SessionCache(10)
    assert cache.get(b"id-0") is None
    put(cache, make(0))
    put(cache, make(1))
    assert cache.get(b"id-0") == make(0)
    cache.forget([b"nid-0", b"unknown"])
    assert cache.get(b"id-0") is None
    assert cache.get(b"id-1") == make(1)
    cache.forget_all()
    assert cache.get(b"id-1") is None
    assert len(cache) == 0
    put(cache, make(1))
    assert cache.get(b"id-1") == make(1)


OVERTAKEN: dict[str, Callable[[SessionCache], object]] = {
    "its name was called out": lambda cache: cache.forget([b"nid-0"]),
    "among others": lambda cache: cache.forget([b"x", b"nid-0", b"y"]),
    "everything may have changed": lambda cache: cache.forget_all(),
    "called out, and asked for again": lambda cache: (cache.forget([b"nid-0"]), cache.asking(b"nid-0")),
    "called out, asked for again and answered": lambda cache: (cache.forget([b"nid-0"]), put(cache, make(0, b"newer"))),
}


@pytest.mark.parametrize("meanwhile", OVERTAKEN.values(), ids=OVERTAKEN.keys())
def test_an_answer_that_was_overtaken_is_not_kept(meanwhile: Callable[[SessionCache], object]) -> None:
    """Asked before the write, answered after its invalidation: kept, it would stay for ever."""
    cache = SessionCache(10)
    asking = cache.asking(b"nid-0")
    meanwhile(cache)
    cache.asked(b"nid-0", asking, make(0, b"older"), 1)
    assert cache.get(b"id-0") != make(0, b"older")


def test_an_invalidation_of_another_name_overtakes_nothing() -> None:
    cache = SessionCache(10)
    asking = cache.asking(b"nid-0")
    cache.forget([b"nid-1"])
    cache.asked(b"nid-0", asking, make(0), 1)
    assert cache.get(b"id-0") == make(0)


def test_of_look_ups_that_share_an_answer_each_may_end_first() -> None:
    cache = SessionCache(10)
    one, other = cache.asking(b"nid-0"), cache.asking(b"nid-0")
    cache.asked(b"nid-0", one, None)  # cancelled
    cache.asked(b"nid-0", other, make(0), 1)
    cache.forget([b"nid-0"])
    assert cache.get(b"id-0") is None
    third = cache.asking(b"nid-0")
    cache.asked(b"nid-0", one, make(0, b"stale"), 1)
    cache.asked(b"nid-0", third, make(0, b"fresh"), 1)
    kept = cache.get(b"id-0")
    assert kept is not None
    assert kept.version == b"fresh"


def test_the_least_recently_used_go_first_and_the_count_is_bounded() -> None:
    cache = SessionCache(3)
    for number in range(3):
        put(cache, make(number))
    cache.get(b"id-0")
    put(cache, make(3))
    assert [cache.get(b"id-%d" % number) is not None for number in range(4)] == [True, False, True, True]
    for number in range(100):
        put(cache, make(number))
        assert len(cache) <= 3


def test_the_bytes_are_bounded_too() -> None:
    at_most = cache_module._BYTES_AT_MOST
    cache = SessionCache(1000)
    for number in range(10):
        put(cache, make(number), at_most // 4)
    assert len(cache) == 4
    put(cache, make(9), 0)  # the same again, smaller: its old size counts no more
    put(cache, make(10), at_most // 4)
    assert len(cache) == 5
    put(cache, make(11), at_most + 1)
    assert cache.get(b"id-11") is None, "what is larger than all of it is not kept"
    cache.forget_all()
    for number in range(4):
        put(cache, make(number), at_most // 4)
    assert len(cache) == 4, "nothing is counted that is gone"


def test_a_cache_of_no_size_keeps_nothing() -> None:
    cache = SessionCache(0)
    put(cache, make())
    assert cache.get(b"id-0") is None
    assert len(cache) == 0


def test_why_an_id_is_lost_is_known_for_a_while() -> None:
    cache = SessionCache(10)
    cache.keep_lost(b"n", Lost("revoked"), NOW)
    assert cache.lost(b"n", NOW + LOST_SECONDS - 0.01) == Lost("revoked")
    assert cache.lost(b"n", NOW + LOST_SECONDS) is None
    assert cache.lost(b"m", NOW) is None
    cache.forget_all()
    assert cache.lost(b"n", NOW) is None
    for number in range(20_000):
        cache.keep_lost(b"%d" % number, Lost("revoked"), NOW)
    remembered = sum(cache.lost(b"%d" % number, NOW) is not None for number in range(20_000))
    assert 0 < remembered <= 10_000
    assert cache.lost(b"19999", NOW) is not None


def test_a_touch_is_kept_only_of_the_version_that_is_kept() -> None:
    cache = SessionCache(10)
    put(cache, make(0))
    cache.seen(make(0).seen_at(9.0))
    kept = cache.get(b"id-0")
    assert kept is not None
    assert kept.last_seen == 9.0
    cache.seen(make(0, b"other").seen_at(99.0))
    cache.seen(make(1).seen_at(99.0))
    assert cache.get(b"id-0") == kept
    assert cache.get(b"id-1") is None


# -- look-ups together
class Loads:
    """What an engine would answer: each name its own value. ``gate`` holds answers back."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.away = False

    async def __call__(self, names: Sequence[bytes]) -> list[Kept | Gone]:
        self.batches.append(list(names))
        await self.gate.wait()
        if self.away:
            raise StoreUnavailable("away, says the test")
        return [Kept(b"value of " + name, None) for name in names]


async def test_look_ups_of_one_turn_go_together_and_of_one_name_once() -> None:
    loads = Loads()
    lookups = Lookups(loads)
    names = [b"%d" % (number % 10) for number in range(100)]
    answers = await asyncio.gather(*(lookups.get(name) for name in names))
    assert answers == [Kept(b"value of " + name, None) for name in names]
    assert loads.batches == [[b"%d" % number for number in range(10)]]


async def test_of_very_many_no_batch_is_too_large() -> None:
    loads = Loads()
    lookups = Lookups(loads)
    names = [b"%d" % number for number in range(1000)]
    answers = await asyncio.gather(*(lookups.get(name) for name in names))
    assert [answer.value for answer in answers if isinstance(answer, Kept)] == [b"value of " + name for name in names]
    assert max(map(len, loads.batches)) <= 256
    assert sum(map(len, loads.batches)) == 1000


async def test_who_asks_while_an_answer_is_under_way_shares_it_unless_it_was_overtaken() -> None:
    loads = Loads()
    lookups = Lookups(loads)
    loads.gate.clear()
    asked = [asyncio.ensure_future(lookups.get(b"n"))]
    while not loads.batches:
        await asyncio.sleep(0)
    asked.append(asyncio.ensure_future(lookups.get(b"n")))
    await asyncio.sleep(0)
    lookups.overtake(b"n")
    asked.append(asyncio.ensure_future(lookups.get(b"n")))
    await asyncio.sleep(0.01)
    assert loads.batches == [[b"n"], [b"n"]]
    lookups.overtake_all()
    asked.append(asyncio.ensure_future(lookups.get(b"n")))
    await asyncio.sleep(0.01)
    loads.gate.set()
    assert len(set(await asyncio.gather(*asked))) == 1
    assert len(loads.batches) == 3
    await lookups.get(b"n")
    assert len(loads.batches) == 4, "an answer is not kept"


async def test_a_store_that_is_away_is_away_for_all_who_ask_and_not_for_the_next() -> None:
    loads = Loads()
    lookups = Lookups(loads)
    loads.away = True
    asked = [lookups.get(b"%d" % (number % 3)) for number in range(9)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    loads.away = False
    assert await lookups.get(b"1") == Kept(b"value of 1", None)


async def test_who_goes_away_takes_nobody_along() -> None:
    """P63, without a store: ten thousand times at any moment."""
    loads = Loads()
    lookups = Lookups(loads)
    answered = 0
    for _ in range(500):
        loads.gate.clear()
        names = [b"%d" % random.randrange(8) for _ in range(25)]
        tasks = [asyncio.ensure_future(lookups.get(name)) for name in names]
        leaving = random.sample(range(25), 20)
        for turn, number in enumerate(leaving):
            if turn == random.randrange(20):
                await asyncio.sleep(0)
            tasks[number].cancel()
        loads.gate.set()
        for number, task in enumerate(tasks):
            if number in leaving:
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                assert await task == Kept(b"value of " + names[number], None)
                answered += 1
    assert answered == 2500
    assert not lookups._under_way
    assert not lookups._queue


# -- workers on one Redis
@asynccontextmanager
async def worker(url: str, **session: Any) -> AsyncIterator[SessionParts]:
    """As a process of the gateway puts it together."""
    parts = session_parts(make_settings(url, "http://127.0.0.1:1", session=session), RING)
    tasks = await parts.start()
    await until(lambda: is_live(parts.sessions))
    yield parts
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await parts.close()


async def is_live(sessions: Sessions) -> bool:
    return sessions._belief.in_cache()


async def sign_in(sessions: Sessions, user: Any = ALICE, **data: Any) -> Session:
    return await sessions.create(fresh_record(sessions._clock, user, **data), FIREFOX)


async def known(sessions: Sessions, cookie: str) -> Session | Lost | None:
    presented = sessions.presented([cookie])
    assert presented is not None
    return sessions.known(presented)


async def cached(sessions: Sessions, cookie: str) -> Session:
    """Found, and known from then on without asking."""
    await living(sessions, cookie)

    async def is_cached() -> bool:
        if not isinstance(await known(sessions, cookie), Session):
            await find(sessions, cookie)
        return isinstance(await known(sessions, cookie), Session)

    await until(is_cached)
    found = await known(sessions, cookie)
    assert isinstance(found, Session)
    return found


@pytest.fixture
async def one(redis_server: RedisServer) -> AsyncIterator[Sessions]:
    async with worker(redis_server.url) as parts:
        yield parts.sessions


@pytest.fixture
async def two(redis_server: RedisServer) -> AsyncIterator[Sessions]:
    async with worker(redis_server.url) as parts:
        yield parts.sessions


CHANGES: dict[str, Callable[[Sessions, Session], Awaitable[object]]] = {
    "signed out": lambda sessions, session: sessions.delete(session),
    "replaced": lambda sessions, session: sessions.replace(session, session.record),
    "written": lambda sessions, session: sessions.save(session, replace(session.record, data={"x": 2})),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_a_change_by_one_worker_is_seen_by_the_other_within_a_second(
    one: Sessions, two: Sessions, change: Callable[[Sessions, Session], Awaitable[object]]
) -> None:
    for _ in range(3):
        session = await sign_in(one, x=1)
        cookie = one.cookie_value(session)
        before = await cached(two, cookie)
        await cached(one, cookie)
        await change(one, session)

        async def is_seen(cookie: str = cookie, before: Session = before) -> bool:
            found = await find(two, cookie)
            return isinstance(found, Lost) or found.record.data != before.record.data

        assert await until(is_seen) < SECOND
        mine = await find(one, cookie)
        assert isinstance(mine, Lost) or mine.record.data == {"x": 2}, "the one who changed it sees it at once"


async def test_a_revocation_from_the_list_is_seen_by_every_worker_within_a_second(one: Sessions, two: Sessions) -> None:
    victims = [await sign_in(one) for _ in range(5)]
    keeper = await sign_in(two)
    cookies = [one.cookie_value(session) for session in victims]
    for cookie in cookies:
        await cached(one, cookie)
        await cached(two, cookie)
    assert await two.end_others(keeper) == 5

    async def is_over() -> bool:
        found = [await find(each, cookie) for each in (one, two) for cookie in cookies]
        return all(isinstance(each, Lost) for each in found)

    assert await until(is_over) < SECOND
    assert isinstance(await find(one, one.cookie_value(keeper)), Session)


async def test_who_signs_out_by_an_old_id_is_out_at_once_in_his_own_worker(one: Sessions) -> None:
    for _ in range(20):
        session = await sign_in(one)
        new = await one.rotate(session)
        cookie = one.cookie_value(new)
        await cached(one, cookie)
        await one.delete(session)
        assert isinstance(await find(one, cookie), Lost)


def believing(engine: SessionEngine) -> Sessions:
    """Keeps sessions, and hears of no change by others."""
    sessions = make_sessions(engine)
    sessions.keep(100, Belief(in_cache=lambda: True))
    return sessions


async def test_what_a_worker_did_itself_it_knows_without_being_told() -> None:
    sessions = believing(MemorySessionEngine(60.0))
    session = await sign_in(sessions, x=1)
    await cached(sessions, sessions.cookie_value(session))
    await sessions.save(session, replace(session.record, data={"x": 2}))
    assert (await living(sessions, sessions.cookie_value(session))).record.data == {"x": 2}
    new = await sessions.rotate(await living(sessions, sessions.cookie_value(session)))
    assert (await living(sessions, sessions.cookie_value(session))).id == new.id
    await cached(sessions, sessions.cookie_value(new))
    await settled(sessions)
    await sessions.delete(session)
    for each in (session, new):
        assert isinstance(await find(sessions, sessions.cookie_value(each)), Lost)


async def test_who_asks_after_a_change_was_told_gets_no_answer_from_before_it() -> None:
    inside, held = MemorySessionEngine(60.0), asyncio.Event()
    answers = asyncio.Event()

    async def around(name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        answer = await call()
        if name == "load" and not held.is_set():
            held.set()
            await answers.wait()
        return answer

    sessions = believing(watched(inside, around))
    session = await sign_in(sessions, x=1)
    cookie = sessions.cookie_value(session)
    early = asyncio.ensure_future(find(sessions, cookie))
    await held.wait()
    assert await inside.delete(name_of(session.id))
    sessions.changed([name_of(session.id)])
    async with asyncio.timeout(5):
        assert await find(sessions, cookie) == UNKNOWN
    answers.set()
    assert isinstance(await early, Session), "it asked before"
    assert await find(sessions, cookie) == UNKNOWN, "and left nothing behind"


@pytest.mark.parametrize("how", ["DEL", "FLUSHALL", "FLUSHDB", "PEXPIRE"])
async def test_what_is_deleted_by_hand_is_gone_within_a_second(one: Sessions, redis: Redis, how: str) -> None:
    session = await sign_in(one)
    cookie, key = one.cookie_value(session), b"gw:s:{" + name_of(session.id) + b"}"
    await cached(one, cookie)
    assert redis.execute_command(
        *([how] if how.startswith("FLUSH") else [how, key, *([1] if how == "PEXPIRE" else [])])
    )

    async def is_gone() -> bool:
        return await find(one, cookie) == UNKNOWN

    assert await until(is_gone) < SECOND


async def test_a_touch_by_one_worker_leaves_the_copy_of_the_other_alone(one: Sessions, two: Sessions) -> None:
    session = await sign_in(one)
    cookie = one.cookie_value(session)
    before = await cached(two, cookie)
    for _ in range(5):
        await one.touch(session)
    bystander = await sign_in(one)  # told after the touches
    await one.delete(bystander)
    for _ in range(20):
        assert await known(two, cookie) == before
        await asyncio.sleep(0.01)


async def test_that_it_was_idle_is_not_believed_from_memory(redis_server: RedisServer) -> None:
    """The other worker may have seen it in use."""
    options = {"idle_timeout": 100, "touch_interval": 10}
    async with worker(redis_server.url, **options) as first, worker(redis_server.url, **options) as second:
        session = await sign_in(first.sessions)
        cookie = first.sessions.cookie_value(session)
        await cached(second.sessions, cookie)
        real = first.sessions._clock
        for each in (first.sessions, second.sessions):
            each._clock = lambda: real() + 90
        await first.sessions.touch(session)
        second.sessions._clock = lambda: real() + 130
        assert await known(second.sessions, cookie) is None, "the store has to be asked"
        assert isinstance(await find(second.sessions, cookie), Session)
        second.sessions._clock = lambda: real() + 90 + 111
        assert await find(second.sessions, cookie) == Lost("expired_idle")


async def test_other_ends_are_known_from_memory(one: Sessions) -> None:
    session = await one.create(replace(fresh_record(one._clock), until=one._clock() + 50))
    cookie = one.cookie_value(session)
    await cached(one, cookie)
    real = one._clock
    one._clock = lambda: real() + 51
    assert await known(one, cookie) == Lost("expired_age")


# -- what it costs
async def commands(redis: Redis) -> int:
    """How many Redis carried out, without the proof that the link lives and what the test itself asks."""
    stats = redis.info("commandstats")
    return sum(facts["calls"] for name, facts in stats.items() if name.split("_", 1)[1] not in ("ping", "info"))


async def test_a_thousand_hits_cost_redis_nothing(one: Sessions, redis: Redis) -> None:
    cookie = one.cookie_value(await sign_in(one))
    await cached(one, cookie)
    before = await commands(redis)
    for number in range(1000):
        if number % 100 == 0:
            await asyncio.sleep(0.02)
        presented = one.presented([cookie])
        assert presented is not None
        assert isinstance(one.known(presented), Session)
        one.note_activity(await living(one, cookie))
    await settled(one)
    assert await commands(redis) == before


async def test_strangers_cost_redis_nothing(one: Sessions, redis: Redis) -> None:
    cookie = one.cookie_value(await sign_in(one))
    await one._announcements.refresh()
    forged = session_tickets(KeyRing([MasterKey(os.urandom(32))]))
    before = await commands(redis)
    assert one.presented([]) is None
    for text in ("", "x", cookie[:-1], cookie + "A", "a" * 5000, "é", cookie.lower()):
        assert one.presented([text]) is None
    for number in range(10_000):
        flipped = cookie[:6] + os.urandom(60).hex()[: len(cookie) - 6]  # our key id, and 46 bytes of somebody's
        assert one.presented([forged.sign(bogus_id()) if number % 2 else flipped]) is None
    assert await commands(redis) == before


async def test_an_id_that_is_gone_costs_one_look_up(one: Sessions, redis: Redis) -> None:
    session = await sign_in(one)
    await one.delete(session)
    cookies = [one.cookie_value(session), session_tickets(RING).sign(bogus_id())]
    for cookie in cookies:
        await find(one, cookie)

    async def are_known() -> bool:
        found = [(await find(one, cookie), await known(one, cookie)) for cookie in cookies]
        return all(isinstance(each, Lost) for _, each in found)

    await until(are_known)
    before = await commands(redis)
    for _ in range(500):
        assert [await find(one, cookie) for cookie in cookies] == [Lost("revoked"), UNKNOWN]
    assert await commands(redis) == before


async def test_misses_of_one_turn_are_one_round_trip(redis_server: RedisServer) -> None:
    faults = Faults()
    settings = make_settings(redis_server.url, "http://127.0.0.1:1", session={"cache_size": 0})
    parts = session_parts(settings, RING)
    sessions = [await sign_in(parts.sessions, number=number) for number in range(50)]
    cookies = [parts.sessions.cookie_value(session) for session in sessions]
    counted = make_sessions(watched(parts.sessions.engine, faults))
    found = await asyncio.gather(*(living(counted, cookie) for cookie in cookies * 4))
    assert [session.record.data["number"] for session in found] == list(range(50)) * 4
    assert faults.calls == ["load"]
    await parts.close()


async def test_after_ten_thousand_cancelled_requests_everybody_gets_his_own_session(one: Sessions) -> None:
    """P61, P63, R2: the incident of March 2023."""
    sessions = [await sign_in(one, BOB if number % 2 else ALICE, number=number) for number in range(50)]
    cookies = [one.cookie_value(session) for session in sessions]
    cancelled = 0

    async def one_request(number: int) -> None:
        found = await living(one, cookies[number])
        assert found.id == sessions[number].id
        assert found.record.data == {"number": number}
        assert found.record.user == (BOB if number % 2 else ALICE)

    for turn in range(200):
        if turn % 4 == 0:
            one.anything_changed()  # nothing is known any more: everybody asks
        else:
            one.changed([name_of(session.id) for session in random.sample(sessions, 20)])
        numbers = [random.randrange(50) for _ in range(60)]
        tasks = [asyncio.ensure_future(one_request(number)) for number in numbers]
        await asyncio.sleep(0)  # all are under way
        for task in random.sample(tasks, 50):
            if random.random() < 0.15:
                await asyncio.sleep(random.choice([0, 0, 0.0005]))
            task.cancel()
            cancelled += 1
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError), result
    assert cancelled == 10_000
    await asyncio.gather(*(one_request(number) for number in range(50)))


# -- when Redis cannot vouch for it
async def test_a_frozen_redis_turns_the_cache_off_and_back_on(own_redis: RedisServer) -> None:
    async with worker(own_redis.url) as parts:
        sessions = parts.sessions
        cookie = sessions.cookie_value(await sign_in(sessions))
        await cached(sessions, cookie)
        assert own_redis.pid is not None
        os.kill(own_redis.pid, signal.SIGSTOP)
        try:

            async def is_off() -> bool:
                return await known(sessions, cookie) is None

            assert await until(is_off) < FRESH * 3
            with pytest.raises(StoreUnavailable):
                await find(sessions, cookie)
        finally:
            os.kill(own_redis.pid, signal.SIGCONT)

        async def is_on() -> bool:
            try:
                found = await find(sessions, cookie)
            except StoreUnavailable:
                return False
            assert isinstance(found, Session), "an outage is no sign-out"
            return isinstance(await known(sessions, cookie), Session)

        await until(is_on, 20)


async def test_what_was_revoked_while_this_worker_was_cut_off_is_not_believed_afterwards(
    own_redis: RedisServer,
) -> None:
    async with worker(own_redis.url) as parts:
        sessions = parts.sessions
        session = await sign_in(sessions)
        cookie = sessions.cookie_value(session)
        await cached(sessions, cookie)
        own_redis.kill()

        async def is_off() -> bool:
            return await known(sessions, cookie) is None

        assert await until(is_off) < FRESH * 3
        with pytest.raises(StoreUnavailable):
            await find(sessions, cookie)
        own_redis.start()
        with Redis(unix_socket_path=str(own_redis.socket)) as client:
            assert client.delete(b"gw:s:{" + name_of(session.id) + b"}") == 1
        await until(lambda: is_live(sessions), 20)
        assert await find(sessions, cookie) == UNKNOWN
