"""What a session is (docs/sessions.md), against every engine: found, written, ended, renamed, listed, revoked."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.identity import Identity
from gateway.core.sessions import Session, Visitor
from gateway.core.tickets import session_tickets
from gateway.errors import GatewayError, SessionInterrupted, SessionTooLarge, StoreUnavailable, TooManySessions
from gateway.store.directory import Cap, Listed
from gateway.store.engine import SessionEngine
from gateway.store.memory import MemorySessionEngine
from gateway.store.reader import Belief
from gateway.store.serializers import UnwritableValue
from gateway.store.sessions import Lost, Sessions
from gateway.store.values import name_of
from tests.core.tables import table
from tests.store.engines import Place
from tests.store.session_lab import (
    ALICE,
    BOB,
    FIREFOX,
    KINDS,
    LISTED,
    POLICY,
    REPLACED,
    REVOKED,
    RING,
    STORED,
    UNKNOWN,
    Clock,
    Faults,
    Kind,
    Steps,
    bogus_id,
    every_order,
    find,
    fresh_record,
    informed,
    living,
    make_sessions,
    settled,
    until,
    watched,
)

LINGER = 60.0
stored = pytest.mark.parametrize("kind", STORED, indirect=True, ids=str)
listed = pytest.mark.parametrize("kind", LISTED, indirect=True, ids=str)
QUICK = ("memory", "redis", "sqlite")
stored_quick = pytest.mark.parametrize("kind", [k for k in STORED if k.name in QUICK], indirect=True, ids=str)
listed_quick = pytest.mark.parametrize("kind", [k for k in LISTED if k.name in QUICK], indirect=True, ids=str)


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    made: Kind = request.param
    return made


@pytest.fixture
def place(kind: Kind, request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(tmp_path, request.getfixturevalue("redis_server").url if kind.case.needs_redis else "")


@pytest.fixture
async def engine(kind: Kind, place: Place) -> AsyncIterator[SessionEngine]:
    async with kind.case.open(place, LINGER) as made:
        yield made


@pytest.fixture
async def other_engine(kind: Kind, place: Place, engine: SessionEngine) -> AsyncIterator[SessionEngine]:
    if not kind.case.shared:
        yield engine
        return
    async with kind.case.open(place, LINGER) as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sessions(kind: Kind, engine: SessionEngine, clock: Clock) -> Sessions:
    return await informed(make_sessions(engine, cookie=kind.cookie, clock=clock))


@pytest.fixture
async def other(kind: Kind, other_engine: SessionEngine, clock: Clock) -> Sessions:
    """As another process sees the same store, where there can be one."""
    return await informed(make_sessions(other_engine, cookie=kind.cookie, clock=clock))


async def sign_in(sessions: Sessions, clock: Clock, user: Identity | None = ALICE, **data: Any) -> Session:
    session = await sessions.create(fresh_record(clock, user, **data), FIREFOX)
    await asyncio.sleep(0.002)  # two sign-ins in the same millisecond have no order
    return session


async def cookies_alive(sessions: Sessions, cookies: list[str]) -> list[bool]:
    return [isinstance(await find(sessions, cookie), Session) for cookie in cookies]


# -- create, find, save, delete
async def test_what_was_created_is_found_as_it_was_by_everybody(
    sessions: Sessions, other: Sessions, clock: Clock
) -> None:
    record = replace(fresh_record(clock, ALICE, cart=[1, {"x": None}], name="Grüße 🎉"), expiry=60)
    cookie = sessions.cookie_value(await sessions.create(record, FIREFOX))
    for each in (sessions, other):
        found = await living(each, cookie)
        assert found.record == replace(record, issued=clock.now)
        assert found.last_seen == clock.now
        assert found.came_from is None
        card = found.card
        assert (card.source, card.user_id, card.username) == (ALICE.source, ALICE.id, ALICE.username)
        assert (card.address, card.device) == ("192.0.2.7", "Firefox on Linux")


async def test_a_session_of_nobody_is_a_session(sessions: Sessions, clock: Clock) -> None:
    session = await sessions.create(fresh_record(clock, None, cart=1))
    found = await living(sessions, sessions.cookie_value(session))
    assert found.record.user is None
    assert found.record.data == {"cart": 1}


async def test_each_session_has_its_own_id_and_data(sessions: Sessions, other: Sessions, clock: Clock) -> None:
    made = [await sessions.create(fresh_record(clock, ALICE, number=number)) for number in range(20)]
    assert len({session.id for session in made}) == 20
    cookies = [sessions.cookie_value(session) for session in made]
    found = await asyncio.gather(*(living(other, cookie) for cookie in cookies))
    assert [session.record.data["number"] for session in found] == list(range(20))
    assert [session.id for session in found] == [session.id for session in made]


@stored
async def test_an_authentic_id_that_nobody_has_is_unknown(sessions: Sessions) -> None:
    cookie = session_tickets(RING).sign(bogus_id())
    assert await find(sessions, cookie) == UNKNOWN
    assert await sessions.find_id(bogus_id()) == UNKNOWN
    assert not await sessions.exists(bogus_id())


async def test_a_client_cannot_choose_its_id(sessions: Sessions, clock: Clock) -> None:
    """Fixation (P46, P48): neither an invented nor a cut cookie is anything."""
    cookie = sessions.cookie_value(await sign_in(sessions, clock))
    texts = ["", "x", cookie[:-1], cookie + "A", cookie[1:], "A" * len(cookie), cookie.swapcase(), cookie + "="]
    for text in texts:
        assert sessions.presented([text]) is None or await find(sessions, text) == UNKNOWN
    assert isinstance(await find(sessions, cookie), Session)


async def test_of_several_cookies_the_first_that_authenticates_counts(sessions: Sessions, clock: Clock) -> None:
    first, second = [sessions.cookie_value(await sign_in(sessions, clock, user)) for user in (ALICE, BOB)]
    for texts in ([first, second], ["junk", first, second], [second[:-4], first]):
        presented = sessions.presented(texts)
        assert presented is not None
        found = await sessions.find(presented)
        assert isinstance(found, Session)
        assert found.record.user == ALICE


async def test_what_is_saved_is_found_by_everybody(sessions: Sessions, other: Sessions, clock: Clock) -> None:
    session = await sign_in(sessions, clock, x=1)
    clock.now += 5
    saved = await sessions.save(session, replace(session.record, modified=clock.now, data={"y": [2]}, expiry=70))
    found = await living(other, sessions.cookie_value(saved))
    assert (found.record.data, found.record.expiry, found.record.modified) == ({"y": [2]}, 70, clock.now)
    assert found.record.created == session.record.created
    assert found.last_seen == clock.now
    again = await other.save(found, replace(found.record, data={"z": 3}))
    assert (await living(sessions, other.cookie_value(again))).record.data == {"z": 3}


async def test_what_cannot_be_written_names_its_key_and_changes_nothing(sessions: Sessions, clock: Clock) -> None:
    session = await sign_in(sessions, clock, x=1)
    with pytest.raises(UnwritableValue) as raised:
        await sessions.save(session, replace(session.record, data={"good": 1, "bad": {1, 2}}))
    assert raised.value.key == "bad"
    with pytest.raises(UnwritableValue):
        await sessions.create(fresh_record(clock, ALICE, bad=object()))
    assert (await living(sessions, sessions.cookie_value(session))).record.data == {"x": 1}
    if sessions.users is not None:
        assert len(await sessions.users.of(ALICE)) == 1


async def test_a_cookie_has_a_limit_and_says_so(sessions: Sessions, kind: Kind, clock: Clock) -> None:
    session = await sign_in(sessions, clock)
    large = replace(session.record, data={"text": "x" * 4000})
    if kind.cookie:
        with pytest.raises(SessionTooLarge):
            await sessions.save(session, large)
        with pytest.raises(SessionTooLarge):
            await sessions.create(large)
    else:
        assert (await sessions.save(session, large)).record.data == large.data


async def test_a_session_that_was_ended_is_over_for_everybody_and_says_why(
    sessions: Sessions, other: Sessions, clock: Clock
) -> None:
    session, bystander = await sign_in(sessions, clock), await sign_in(sessions, clock)
    cookie = sessions.cookie_value(session)
    await living(other, cookie)
    await sessions.delete(session)
    assert await find(sessions, cookie) == await find(other, cookie) == REVOKED
    await sessions.delete(session)
    assert isinstance(await find(other, sessions.cookie_value(bystander)), Session)


@stored
async def test_a_session_exists_until_it_is_ended(sessions: Sessions, other: Sessions, clock: Clock) -> None:
    session = await sign_in(sessions, clock)
    assert await other.exists(session.id)
    await sessions.delete(session)
    assert not await other.exists(session.id)


def test_the_capabilities_say_who_keeps_a_directory(sessions: Sessions, kind: Kind) -> None:
    if kind.cookie:
        assert sessions.users is None
    else:
        assert (sessions.users is not None) is sessions.engine.capabilities.directory


async def test_without_a_directory_there_are_no_others_to_end(sessions: Sessions, clock: Clock) -> None:
    first, second = await sign_in(sessions, clock), await sign_in(sessions, clock)
    if sessions.users is None:
        assert await sessions.end_others(first) == 0
        assert isinstance(await find(sessions, sessions.cookie_value(second)), Session)
    else:
        assert await sessions.end_others(first) == 1
        assert await find(sessions, sessions.cookie_value(second)) == REVOKED


# -- ends
ENDS: dict[str, tuple[dict[str, Any], float, str]] = {
    # what is unusual about the record, seconds until it ends, why
    "idle": ({}, 110, "expired_idle"),
    "age": ({"expiry": 60}, 60, "expired_age"),
    "a moment": ({"until": 90}, 90, "expired_age"),
    "absolute": ({"created": -9950}, 50, "expired_absolute"),
    "over before it began": ({"expiry": -1}, -1, "expired_age"),
}


@pytest.mark.parametrize(("unusual", "seconds", "code"), table(ENDS))
async def test_the_reasons_for_an_end_are_told_apart(
    sessions: Sessions, other: Sessions, clock: Clock, unusual: dict[str, Any], seconds: float, code: str
) -> None:
    moments = {name: clock.now + value if name in ("until", "created") else value for name, value in unusual.items()}
    cookie = sessions.cookie_value(await sessions.create(replace(fresh_record(clock), **moments)))
    started = clock.now
    clock.now = started + seconds - 0.01
    if seconds > 0:
        assert isinstance(await find(other, cookie), Session)
    for later in (0, 30, 100_000):
        clock.now = started + max(seconds, 0) + later
        assert await find(sessions, cookie) == await find(other, cookie)
        found = await find(sessions, cookie)
        assert found == Lost(code) or later, "later another end may have come, too"
        assert isinstance(found, Lost)


async def test_activity_moves_the_idle_end_and_nothing_else(
    sessions: Sessions, other: Sessions, kind: Kind, clock: Clock
) -> None:
    session = await sign_in(sessions, clock, x=1)
    created = session.record
    for _ in range(5):
        clock.now += 90
        session = await living(sessions, sessions.cookie_value(await sessions.touch(session)))
    found = await living(other, sessions.cookie_value(session))
    assert found.last_seen == clock.now
    assert found.record == created, "created and modified are where they were"
    clock.now += 110
    assert await find(other, sessions.cookie_value(session)) == Lost("expired_idle")


@stored
async def test_activity_is_written_at_most_every_touch_interval(
    sessions: Sessions, other: Sessions, clock: Clock
) -> None:
    session = await sign_in(sessions, clock)
    cookie, started = sessions.cookie_value(session), clock.now
    for seconds, written in [(1, 0), (9.9, 0), (10, 10), (19.9, 10), (21, 21), (30, 21), (31, 31)]:
        clock.now = started + seconds
        sessions.note_activity(await living(sessions, cookie))
        await settled(sessions)
        assert (await living(other, cookie)).last_seen == started + written


async def test_activity_of_a_cookie_is_due_when_it_is_old(engine: SessionEngine, clock: Clock) -> None:
    sessions = make_sessions(engine, cookie=True, clock=clock)
    session = await sign_in(sessions, clock)
    assert not sessions.renewal_is_due(session)
    clock.now += 10
    assert sessions.renewal_is_due(session)
    assert not sessions.renewal_is_due(await sessions.renew(session))


async def test_a_user_who_may_no_more_has_no_session(engine: SessionEngine, kind: Kind, clock: Clock) -> None:
    """P60, P71: asked at each request, not at sign-in."""
    allowed = {ALICE.id, BOB.id}
    belief = Belief(user_now=lambda user: user if user.id in allowed else None)
    sessions = make_sessions(engine, cookie=kind.cookie, clock=clock, belief=belief)
    cookies = {user.id: sessions.cookie_value(await sign_in(sessions, clock, user)) for user in (ALICE, BOB)}
    await living(sessions, cookies[ALICE.id])
    allowed.remove(ALICE.id)
    assert await find(sessions, cookies[ALICE.id]) == REVOKED
    await living(sessions, cookies[BOB.id])


# -- several writers
async def write(sessions: Sessions, session: Session, **data: Any) -> Session:
    return await sessions.save(session, replace(session.record, data={**session.record.data, **data}))


async def test_writers_of_different_keys_both_win_where_the_engine_merges(
    sessions: Sessions, other: Sessions, kind: Kind, clock: Clock
) -> None:
    session = await sign_in(sessions, clock, kept=0)
    cookie = sessions.cookie_value(session)
    mine, theirs = await living(sessions, cookie), await living(other, cookie)
    await write(sessions, mine, a=1)
    last = await write(other, theirs, b=2)
    found = (await living(sessions, other.cookie_value(last))).record.data
    merges = sessions.engine.capabilities.merge and not kind.cookie
    assert found == ({"kept": 0, "a": 1, "b": 2} if merges else {"kept": 0, "b": 2})


@stored
async def test_of_writers_of_one_key_the_last_wins_and_removed_keys_stay_removed(
    sessions: Sessions, other: Sessions, clock: Clock
) -> None:
    session = await sign_in(sessions, clock, same=0, mine=0, theirs=0)
    cookie = sessions.cookie_value(session)
    first, second = await living(sessions, cookie), await living(other, cookie)
    await sessions.save(first, replace(first.record, data={"same": 1, "theirs": 0}))
    await other.save(second, replace(second.record, data={"same": 2, "mine": 0}, expiry=77))
    record = (await living(sessions, cookie)).record
    assert (record.data, record.expiry) == ({"same": 2}, 77)


@stored
async def test_of_many_writers_at_once_none_loses_anything(sessions: Sessions, other: Sessions, clock: Clock) -> None:
    session = await sign_in(sessions, clock)
    cookie = sessions.cookie_value(session)
    await asyncio.gather(*(write((sessions, other)[n % 2], session, **{f"k{n}": n}) for n in range(12)))
    assert (await living(other, cookie)).record.data == {f"k{n}": n for n in range(12)}


async def test_a_write_after_the_end_is_interrupted_and_brings_nothing_back(
    sessions: Sessions, other: Sessions, clock: Clock
) -> None:
    session = await sign_in(sessions, clock)
    cookie = sessions.cookie_value(session)
    mine = await living(other, cookie)
    await sessions.delete(session)
    with pytest.raises(SessionInterrupted):
        await write(other, mine, x=1)
    touched = await other.touch(mine)
    other.note_activity(mine)
    await settled(other)
    for text in (cookie, other.cookie_value(touched)):
        assert await find(sessions, text) == await find(other, text) == REVOKED
    if sessions.users is not None:
        assert await sessions.users.of(ALICE) == []


@stored
async def test_a_new_id_for_what_was_ended_brings_nothing_back(
    sessions: Sessions, other: Sessions, clock: Clock
) -> None:
    session = await sign_in(sessions, clock)
    await sessions.delete(session)
    with pytest.raises(SessionInterrupted):
        await other.rotate(session)
    assert await find(other, sessions.cookie_value(session)) == REVOKED
    if other.users is not None:
        assert await other.users.of(ALICE) == []


@stored
async def test_an_end_among_writes_touches_and_new_ids_ends_it(
    sessions: Sessions, other: Sessions, clock: Clock
) -> None:
    for turn in range(6):
        session = await sign_in(sessions, clock)
        works: list[Coroutine[Any, Any, Any]] = [
            write(other, session, a=1),
            other.touch(session),
            sessions.rotate(session),
            other.rotate(session),
            write(sessions, session, b=2),
        ]
        works.insert(turn % len(works), other.delete(session))
        results = await asyncio.gather(*works, return_exceptions=True)
        assert all(isinstance(result, bool | Session | SessionInterrupted) for result in results), results
        cookies = [sessions.cookie_value(each) for each in (session, *results) if isinstance(each, Session)]
        assert not any(await cookies_alive(sessions, cookies))
        if other.users is not None:
            assert await other.users.of(ALICE) == []


# -- a new id at sign-in
async def test_a_replaced_id_is_dead_at_once_and_the_new_one_lives(
    sessions: Sessions, other: Sessions, clock: Clock
) -> None:
    old = await sessions.create(fresh_record(clock, None, cart=[1]), FIREFOX)
    cookie = sessions.cookie_value(old)
    await living(other, cookie)
    clock.now += 3
    new = await sessions.replace(old, replace(old.record, user=ALICE, created=clock.now))
    assert new.id != old.id
    assert await find(sessions, cookie) == await find(other, cookie) == REPLACED
    found = await living(other, sessions.cookie_value(new))
    assert (found.record.user, found.record.data, found.record.created) == (ALICE, {"cart": [1]}, clock.now)
    assert (found.card.address, found.card.device) == ("192.0.2.7", "Firefox on Linux")
    if other.users is not None:
        assert len(await other.users.of(ALICE)) == 1


@stored
async def test_a_session_replaced_while_it_was_given_a_new_id_leaves_only_the_last(
    sessions: Sessions, other: Sessions, clock: Clock
) -> None:
    old = await sign_in(sessions, clock)
    rotated = await other.rotate(old)
    new = await sessions.replace(old, old.record)
    alive = await cookies_alive(other, [sessions.cookie_value(each) for each in (old, rotated, new)])
    assert alive == [False, False, True]
    if sessions.users is not None:
        assert len(await sessions.users.of(ALICE)) == 1


# -- a new id now and then
@stored
async def test_an_old_id_leads_to_the_new_one_until_that_was_presented(
    sessions: Sessions, other: Sessions, clock: Clock
) -> None:
    session = await sign_in(sessions, clock, x=1)
    created, old = session.record.created, sessions.cookie_value(session)
    clock.now += 50
    session = await sessions.touch(await living(sessions, old))
    assert sessions.renewal_is_due(session)
    new = await sessions.renew(session)
    assert new.id != session.id
    assert new.moved
    for each in (sessions, other):
        found = await living(each, old)
        assert (found.id, found.moved, found.record.created) == (new.id, True, created)
        assert found.record.data == {"x": 1}
        assert each.renewal_is_due(found), "the answer gets the new cookie"
        assert await each.renew(found) == found, "and no newer one"
    saved = await write(other, await living(other, old), y=2)
    assert saved.id == new.id
    presented = await living(other, sessions.cookie_value(new))
    assert presented.record.data == {"x": 1, "y": 2}
    assert not presented.moved
    await settled(other)
    confirmed = await living(sessions, sessions.cookie_value(new))
    assert confirmed.record.before == ""
    assert not sessions.renewal_is_due(confirmed)
    assert (await living(sessions, old)).id == new.id, "parallel requests still run with the old one"


@stored
async def test_an_old_id_ends_after_the_grace_whoever_uses_it(
    engine: SessionEngine, other_engine: SessionEngine, clock: Clock
) -> None:
    policy = replace(POLICY, rotate_grace=0.3)
    sessions, other = (make_sessions(each, policy=policy, clock=clock) for each in (engine, other_engine))
    session = await sign_in(sessions, clock)
    old = sessions.cookie_value(session)
    new = sessions.cookie_value(await sessions.rotate(session))
    await living(other, new)
    await settled(other)

    async def is_over() -> bool:
        found = await find(sessions, old)
        if isinstance(found, Session):
            clock.now += 11
            await sessions.touch(found)  # use of the old id does not prolong it
            await sessions.touch(await living(sessions, new))
        return found == UNKNOWN

    await until(is_over)
    await living(other, new)


@stored
async def test_a_client_that_never_takes_the_new_cookie_stays_signed_in(sessions: Sessions, clock: Clock) -> None:
    session = await sign_in(sessions, clock)
    old, started = sessions.cookie_value(session), clock.now
    clock.now += 60
    moved = await sessions.rotate(await sessions.touch(session))
    for _ in range(20):
        clock.now += 60
        found = await living(sessions, old)
        assert (found.id, found.moved) == (moved.id, True)
        await sessions.touch(found)
    assert clock.now - started > 1000


async def test_pointers_live_in_the_store_as_long_as_they_are_used(clock: Clock) -> None:
    """The same with an engine whose own clock moves, too."""
    engine = MemorySessionEngine(POLICY.idle_timeout, clock)
    sessions = make_sessions(engine, clock=clock)
    session = await sign_in(sessions, clock)
    old = sessions.cookie_value(session)
    moved = await sessions.rotate(session)
    for _ in range(50):
        clock.now += 60
        await sessions.touch(await living(sessions, old))
    new = sessions.cookie_value(moved)
    await living(sessions, new)
    await settled(sessions)
    clock.now += POLICY.rotate_grace - 1
    await sessions.touch(await living(sessions, old))
    clock.now += 1
    assert await find(sessions, old) == UNKNOWN
    await living(sessions, new)


@pytest.mark.slow
@stored_quick
async def test_a_lost_answer_of_a_rotation_is_no_sign_out_in_real_time(kind: Kind, place: Place) -> None:
    policy = replace(POLICY, idle_timeout=2, touch_interval=0.25)
    async with kind.case.open(place, 0.2) as engine:
        sessions = make_sessions(engine, policy=policy)
        session = await sessions.create(fresh_record(sessions._clock))
        old, moved = sessions.cookie_value(session), await sessions.rotate(session)
        for _ in range(25):
            await asyncio.sleep(0.15)
            found = await living(sessions, old)
            assert found.id == moved.id
            sessions.note_activity(found)
        await settled(sessions)


@stored
async def test_of_twenty_new_ids_at_once_one_session_is_left_and_everybody_goes_on(
    sessions: Sessions, other: Sessions, clock: Clock
) -> None:
    session = await sign_in(sessions, clock, x=1)
    old = sessions.cookie_value(session)
    results = await asyncio.gather(*((sessions, other)[turn % 2].rotate(session) for turn in range(20)))
    assert len({result.id for result in results}) == 1
    assert all(result.moved and result.record.data == {"x": 1} for result in results)
    assert (await living(other, old)).id == results[0].id
    assert (await living(other, sessions.cookie_value(results[0]))).record.data == {"x": 1}
    if other.users is not None:
        assert len(await other.users.of(ALICE)) == 1
        assert len([one async for one in other.users.everything()]) == 1


@stored
async def test_a_new_id_takes_along_what_is_written_at_the_same_time(
    sessions: Sessions, other: Sessions, clock: Clock
) -> None:
    for turn in range(10):
        session = await sign_in(sessions, clock, start=turn)
        works: list[Coroutine[Any, Any, Session]] = [sessions.rotate(session), write(other, session, a=1)]
        works += [write(sessions, session, b=2), other.rotate(session)]
        await asyncio.gather(*(works if turn % 2 else works[::-1]))
        found = await living(other, sessions.cookie_value(session))
        assert found.record.data == {"start": turn, "a": 1, "b": 2}


# -- revocation while a new id is given: every order of their calls with few switches from one to the other (all are too many)
async def rotating(sessions: Sessions, session: Session) -> Session | None:
    with suppress(SessionInterrupted):
        return await sessions.rotate(session)
    return None


async def rotating_and_presenting(sessions: Sessions, session: Session) -> Session | None:
    new = await rotating(sessions, session)
    if new is not None:
        with suppress(SessionInterrupted):
            await find(sessions, sessions.cookie_value(new))
            await settled(sessions)
    return new


async def rotating_and_presenting_without_grace(sessions: Sessions, session: Session) -> Session | None:
    """The old id is gone when the new one was presented, and leads nowhere any more."""
    sessions.policy = replace(sessions.policy, rotate_grace=0)
    new = await rotating_and_presenting(sessions, session)
    await asyncio.sleep(0.003)
    return new


Work = Callable[[Sessions, Session], Coroutine[Any, Any, Session | None]]


async def nothing_survives(
    kind: Kind,
    engine: SessionEngine,
    clock: Clock,
    work: Work,
    revoke: Callable[..., Coroutine[Any, Any, Any]],
    switches: int = 3,
) -> int:
    steps = Steps()
    stepped, plain = make_sessions(watched(engine, steps), clock=clock), make_sessions(engine, clock=clock)

    async def once(prefix: str) -> str:
        session, keeper = await sign_in(plain, clock), await sign_in(plain, clock)
        shown = [] if plain.users is None else await plain.users.of(ALICE)
        trace, (new, result) = await steps.run(
            prefix, a=work(stepped, session), b=revoke(stepped, session, keeper, shown)
        )
        assert new is None or isinstance(new, Session), new
        assert not isinstance(result, BaseException), result
        await settled(stepped)
        cookies = [plain.cookie_value(each) for each in (session, new, keeper) if each is not None]
        alive = await cookies_alive(plain, cookies)
        assert alive == [False] * (len(cookies) - 1) + [True], f"order {trace}"
        if plain.users is not None:
            assert len(await plain.users.of(ALICE)) == 1, f"order {trace}"
            assert len([one async for one in plain.users.everything()]) == 1, f"order {trace}"
        await plain.delete(keeper)
        return trace

    return await every_order(once, switches=2 if kind.name == "sqlite" else switches)


async def by_sign_out(sessions: Sessions, session: Session, keeper: Session, shown: list[Listed]) -> None:
    await sessions.delete(session)


async def by_the_list(sessions: Sessions, session: Session, keeper: Session, shown: list[Listed]) -> None:
    """From a list that was shown before."""
    assert sessions.users is not None
    assert [one.card.handle for one in shown] == [session.card.handle, keeper.card.handle]
    await sessions.users.end(ALICE, shown[0])


async def by_the_others(sessions: Sessions, session: Session, keeper: Session, shown: list[Listed]) -> None:
    await sessions.end_others(keeper)


@stored_quick
@pytest.mark.parametrize("work", [rotating, rotating_and_presenting])
async def test_a_sign_out_while_a_new_id_is_given_ends_both(
    kind: Kind, engine: SessionEngine, clock: Clock, work: Work
) -> None:
    assert await nothing_survives(kind, engine, clock, work, by_sign_out) > 10


@listed_quick
@pytest.mark.parametrize("revoke", [by_the_list, by_the_others])
async def test_a_revocation_while_a_new_id_is_given_ends_both(
    kind: Kind, engine: SessionEngine, clock: Clock, revoke: Callable[..., Coroutine[Any, Any, Any]]
) -> None:
    assert await nothing_survives(kind, engine, clock, rotating, revoke) > 10


@pytest.mark.parametrize("kind", [kind for kind in LISTED if kind.name == "redis"], indirect=True, ids=str)
async def test_a_revocation_overtaken_by_a_whole_change_of_ids_looks_again(
    kind: Kind, engine: SessionEngine, clock: Clock
) -> None:
    work = rotating_and_presenting_without_grace
    assert await nothing_survives(kind, engine, clock, work, by_the_others, switches=2) > 10


@listed_quick
async def test_who_ends_his_other_sessions_while_he_is_given_a_new_id_stays(
    kind: Kind, engine: SessionEngine, clock: Clock
) -> None:
    steps = Steps()
    stepped, plain = make_sessions(watched(engine, steps), clock=clock), make_sessions(engine, clock=clock)

    async def once(prefix: str) -> str:
        session, victim = await sign_in(plain, clock), await sign_in(plain, clock)
        trace, (new, ended) = await steps.run(prefix, a=stepped.rotate(session), b=stepped.end_others(session))
        assert isinstance(new, Session), new
        assert ended == 1
        cookies = [plain.cookie_value(each) for each in (session, new, victim)]
        assert await cookies_alive(plain, cookies) == [True, True, False], f"order {trace}"
        assert [one.card.handle for one in await plain.users.of(ALICE)] == [session.card.handle]  # type: ignore[union-attr]
        await plain.delete(session)
        return trace

    assert await every_order(once, switches=2 if kind.name == "sqlite" else 3) > 5


@stored_quick
async def test_a_sign_in_while_a_new_id_is_given_leaves_only_the_session_that_it_opened(
    kind: Kind, engine: SessionEngine, clock: Clock
) -> None:
    steps = Steps()
    stepped, plain = make_sessions(watched(engine, steps), clock=clock), make_sessions(engine, clock=clock)

    async def once(prefix: str) -> str:
        session = await sign_in(plain, clock)
        trace, (new, opened) = await steps.run(
            prefix, a=rotating(stepped, session), b=stepped.replace(session, session.record)
        )
        assert new is None or isinstance(new, Session), new
        assert isinstance(opened, Session), opened
        cookies = [plain.cookie_value(each) for each in (session, new, opened) if each is not None]
        assert await cookies_alive(plain, cookies) == [False] * (len(cookies) - 1) + [True], f"order {trace}"
        if plain.users is not None:
            assert handles(await plain.users.of(ALICE)) == [opened.card.handle], f"order {trace}"
        await plain.delete(opened)
        return trace

    assert await every_order(once, switches=2 if kind.name == "sqlite" else 3) > 5


@listed_quick
async def test_end_others_by_a_request_that_brought_the_old_id_leaves_its_own_session(
    sessions: Sessions, clock: Clock
) -> None:
    session, victim = await sign_in(sessions, clock), await sign_in(sessions, clock)
    old = sessions.cookie_value(session)
    new = await sessions.rotate(session)
    assert await sessions.end_others(await living(sessions, old)) == 1
    assert await cookies_alive(sessions, [old, sessions.cookie_value(new)]) == [True, True]
    assert await find(sessions, sessions.cookie_value(victim)) == REVOKED


@listed_quick
async def test_an_old_id_that_could_not_be_taken_off_the_list_costs_nobody_his_session(
    engine: SessionEngine, clock: Clock
) -> None:
    async def around(name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        if name == "remove":
            raise StoreUnavailable("away, says the test")
        return await call()

    limping, sessions = make_sessions(watched(engine, around), clock=clock), make_sessions(engine, clock=clock)
    session, victim = await sign_in(sessions, clock), await sign_in(sessions, clock)
    new = await limping.rotate(session)
    assert sessions.users is not None
    assert sorted(handles(await sessions.users.of(ALICE))) == sorted([session.card.handle, victim.card.handle])
    assert await sessions.end_others(await living(sessions, sessions.cookie_value(new))) == 1
    cookies = [sessions.cookie_value(each) for each in (session, new, victim)]
    assert await cookies_alive(sessions, cookies) == [True, True, False]


# -- the list of a user's sessions
def handles(rows: list[Listed]) -> list[str]:
    return [row.card.handle for row in rows]


@listed
async def test_a_user_sees_his_sessions_oldest_first_with_what_helps_to_know_them(
    sessions: Sessions, other: Sessions, clock: Clock
) -> None:
    assert other.users is not None
    assert await other.users.of(ALICE) == []
    first = await sessions.create(fresh_record(clock), Visitor("2001:db8::1", "Safari on iPhone"))
    await asyncio.sleep(0.002)
    started = clock.now
    clock.now += 20
    second = await sign_in(sessions, clock)
    await sign_in(sessions, clock, BOB)
    clock.now += 20
    await sessions.touch(first)
    rows = await other.users.of(ALICE)
    assert handles(rows) == [first.card.handle, second.card.handle]
    assert len(set(handles(rows))) == 2
    card = rows[0].card
    assert (card.address, card.device, card.created) == ("2001:db8::1", "Safari on iPhone", started)
    assert card.last_seen == clock.now
    assert (card.source, card.user_id, card.username) == (ALICE.source, ALICE.id, ALICE.username)
    assert rows[1].card == second.card


@listed
async def test_a_handle_stays_when_the_id_changes(sessions: Sessions, other: Sessions, clock: Clock) -> None:
    assert other.users is not None
    session = await sign_in(sessions, clock)
    new = await sessions.rotate(session)
    assert handles(await other.users.of(ALICE)) == [session.card.handle]
    await living(other, sessions.cookie_value(new))
    await settled(other)
    assert handles(await other.users.of(ALICE)) == [session.card.handle]


@listed
async def test_users_of_the_same_id_from_other_sources_are_others(sessions: Sessions, clock: Clock) -> None:
    assert sessions.users is not None
    await sign_in(sessions, clock)
    for stranger in (replace(ALICE, source="ldap"), replace(ALICE, id=""), replace(ALICE, id="7", source="file:user")):
        assert await sessions.users.of(stranger) == []
    assert len(await sessions.users.of(replace(ALICE, username="renamed", name=""))) == 1


@listed
async def test_one_session_is_ended_from_the_list(sessions: Sessions, other: Sessions, clock: Clock) -> None:
    assert other.users is not None
    first, second = await sign_in(sessions, clock), await sign_in(sessions, clock)
    rows = await other.users.of(ALICE)
    assert await other.users.end(ALICE, rows[0])
    assert not await other.users.end(ALICE, rows[0]), "it was over already"
    assert await find(sessions, sessions.cookie_value(first)) == REVOKED
    assert handles(await other.users.of(ALICE)) == [second.card.handle]
    assert await other.users.end(None, rows[1]), "for commands: the card says whose it is"
    assert await other.users.of(ALICE) == []


@listed
async def test_all_others_are_ended_and_nobody_elses(sessions: Sessions, other: Sessions, clock: Clock) -> None:
    mine = [await sign_in(sessions, clock) for _ in range(5)]
    bobs = await sign_in(sessions, clock, BOB)
    assert await other.end_others(mine[2]) == 4
    alive = await cookies_alive(sessions, [sessions.cookie_value(session) for session in mine])
    assert alive == [False, False, True, False, False]
    await living(sessions, sessions.cookie_value(bobs))
    assert await other.end_others(mine[2]) == 0


@listed
async def test_everything_is_every_living_session_of_everybody(
    sessions: Sessions, other: Sessions, clock: Clock
) -> None:
    assert other.users is not None
    kept = [await sign_in(sessions, clock, user) for user in (ALICE, BOB, None)]
    await sessions.delete(await sign_in(sessions, clock))
    kept[0] = await sessions.rotate(kept[0])
    found = [one async for one in other.users.everything()]
    assert sorted(handles(found)) == sorted(session.card.handle for session in kept)


@listed
async def test_what_ended_by_itself_is_not_listed(kind: Kind, place: Place) -> None:
    policy = replace(POLICY, idle_timeout=0.2, touch_interval=0.1)
    async with kind.case.open(place, LINGER) as engine:
        sessions = make_sessions(engine, policy=policy)
        assert sessions.users is not None
        session = await sessions.create(fresh_record(sessions._clock))
        assert len(await sessions.users.of(ALICE)) <= 1
        users = sessions.users

        async def is_empty() -> bool:
            return await users.of(ALICE) == []

        await until(is_empty)
        assert await find(sessions, sessions.cookie_value(session)) == Lost("expired_idle"), "why is told all the same"


# -- so many and no more
@listed
async def test_at_the_cap_the_oldest_is_ended(kind: Kind, engine: SessionEngine, clock: Clock) -> None:
    sessions = make_sessions(engine, clock=clock, cap=Cap(3, evict=True))
    made = []
    for _ in range(5):
        made.append(await sign_in(sessions, clock))
        clock.now += 1
    alive = await cookies_alive(sessions, [sessions.cookie_value(session) for session in made])
    assert alive == [False, False, True, True, True]
    assert await find(sessions, sessions.cookie_value(made[0])) == REVOKED
    await sign_in(sessions, clock, BOB)
    assert sessions.users is not None
    assert handles(await sessions.users.of(ALICE)) == [session.card.handle for session in made[2:]]


@listed
async def test_at_the_cap_one_more_is_refused(engine: SessionEngine, clock: Clock) -> None:
    sessions = make_sessions(engine, clock=clock, cap=Cap(2, evict=False))
    made = [await sign_in(sessions, clock) for _ in range(2)]
    with pytest.raises(TooManySessions) as raised:
        await sign_in(sessions, clock)
    assert raised.value.parts == {"limit": "2"}
    assert all(await cookies_alive(sessions, [sessions.cookie_value(session) for session in made]))
    assert sessions.users is not None
    assert len([one async for one in sessions.users.everything()]) == 2, "the refused one is not left behind"
    await sessions.delete(made[0])
    await sign_in(sessions, clock)


@listed
async def test_at_the_cap_who_signs_in_again_on_the_same_device_is_not_refused(
    engine: SessionEngine, clock: Clock
) -> None:
    sessions = make_sessions(engine, clock=clock, cap=Cap(2, evict=False))
    first, second = await sign_in(sessions, clock), await sign_in(sessions, clock)
    for _ in range(3):
        old, first = first, await sessions.replace(first, first.record)
        assert await find(sessions, sessions.cookie_value(old)) == REPLACED
    assert all(await cookies_alive(sessions, [sessions.cookie_value(each) for each in (first, second)]))
    moved = await sessions.rotate(second)
    assert isinstance(await find(sessions, sessions.cookie_value(moved)), Session), "a new id is no new session"


@listed
async def test_who_is_refused_keeps_what_he_had(engine: SessionEngine, clock: Clock) -> None:
    sessions = make_sessions(engine, clock=clock, cap=Cap(1, evict=False))
    await sign_in(sessions, clock)
    bobs = await sign_in(sessions, clock, BOB)
    with pytest.raises(TooManySessions):
        await sessions.replace(bobs, replace(bobs.record, user=ALICE))
    await living(sessions, sessions.cookie_value(bobs))
    assert sessions.users is not None
    assert handles(await sessions.users.of(BOB)) == [bobs.card.handle]


@listed
@pytest.mark.parametrize("evict", [True, False])
async def test_twenty_sign_ins_at_once_never_leave_more_than_the_cap(
    engine: SessionEngine, other_engine: SessionEngine, clock: Clock, evict: bool
) -> None:
    two = [make_sessions(each, clock=clock, cap=Cap(5, evict=evict)) for each in (engine, other_engine)]
    works = [two[turn % 2].create(fresh_record(clock), FIREFOX) for turn in range(20)]
    results = await asyncio.gather(*works, return_exceptions=True)
    made = [result for result in results if isinstance(result, Session)]
    assert all(isinstance(result, Session | TooManySessions) for result in results), results
    alive = (await cookies_alive(two[0], [two[0].cookie_value(session) for session in made])).count(True)
    assert alive == 5 if evict else 1 <= alive <= 5
    assert two[0].users is not None
    assert len(await two[0].users.of(ALICE)) == alive
    assert len([one async for one in two[0].users.everything()]) == alive, "none is left that nobody knows of"


# -- answers that get lost
@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def faulty(kind: Kind, engine: SessionEngine, faults: Faults, clock: Clock) -> Sessions:
    return make_sessions(watched(engine, faults), cookie=kind.cookie, clock=clock, cap=Cap(2, evict=True))


async def attempt(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await work
    except GatewayError as error:
        return error


Try = Callable[[Sessions, Session], Coroutine[Any, Any, Any]]


async def with_each_answer_lost(
    faulty: Sessions, faults: Faults, clock: Clock, work: Try, check: Callable[..., Coroutine[Any, Any, None]]
) -> None:
    """``check(session, outcome)`` after the work was done with its first answer lost, with its second, and so on."""
    number, lost = 0, True
    while lost:
        session = await sign_in(faulty, clock, x=1)
        faults.lose = number
        outcome = await attempt(work(faulty, session))
        await settled(faulty)
        lost, faults.lose = faults.lose is None, None
        await check(session, outcome)
        assert isinstance(outcome, StoreUnavailable | SessionInterrupted) or not isinstance(outcome, GatewayError)
        for user in (ALICE, BOB):
            for one in [] if faulty.users is None else await faulty.users.of(user):
                assert faulty.users is not None
                await faulty.users.end(user, one)
        number += 1
    assert number > 1


async def listed_count(sessions: Sessions) -> int:
    return 0 if sessions.users is None else len(await sessions.users.of(ALICE))


@stored
async def test_a_sign_in_whose_answer_was_lost_leaves_nobody_signed_in(
    faulty: Sessions, faults: Faults, clock: Clock
) -> None:
    async def check(session: Session, outcome: Any) -> None:
        expected = 2 if isinstance(outcome, Session) else 1
        assert faulty.users is None or await listed_count(faulty) == expected
        await living(faulty, faulty.cookie_value(session))

    await with_each_answer_lost(faulty, faults, clock, lambda s, _: s.create(fresh_record(clock), FIREFOX), check)


@listed
async def test_a_sign_in_at_the_cap_whose_answer_was_lost_leaves_no_session_that_is_not_listed(
    faulty: Sessions, faults: Faults, clock: Clock
) -> None:
    """Its user could not end it."""
    assert faulty.users is not None
    users = faulty.users

    async def work(sessions: Sessions, session: Session) -> Session:
        return await sessions.create(fresh_record(clock), FIREFOX)

    number, lost = 0, True
    while lost:
        made = [await sign_in(faulty, clock) for _ in range(2)]
        faults.lose = number
        outcome = await attempt(work(faulty, made[0]))
        lost, faults.lose = faults.lose is None, None
        known = [*made, outcome] if isinstance(outcome, Session) else made
        rows = handles(await users.of(ALICE))
        assert len(rows) <= 2
        for session in known:
            if isinstance(await find(faulty, faulty.cookie_value(session)), Session):
                assert session.card.handle in rows
        for one in await users.of(ALICE):
            await users.end(ALICE, one)
        number += 1
    assert number > 3


async def test_a_write_whose_answer_was_lost_is_done_or_not_and_can_be_repeated(
    faulty: Sessions, faults: Faults, kind: Kind, clock: Clock
) -> None:
    async def check(session: Session, outcome: Any) -> None:
        cookie = faulty.cookie_value(outcome if isinstance(outcome, Session) else session)
        data = (await living(faulty, cookie)).record.data
        assert data == {"x": 1, "y": 2} or (data == {"x": 1} and isinstance(outcome, StoreUnavailable))
        again = await write(faulty, session, y=2)
        assert (await living(faulty, faulty.cookie_value(again))).record.data == {"x": 1, "y": 2}

    await with_each_answer_lost(faulty, faults, clock, lambda s, session: write(s, session, y=2), check)


async def test_a_sign_out_whose_answer_was_lost_is_repeated_with_the_same_cookie(
    faulty: Sessions, faults: Faults, clock: Clock
) -> None:
    async def check(session: Session, outcome: Any) -> None:
        cookie = faulty.cookie_value(session)
        if not isinstance(outcome, StoreUnavailable):
            assert isinstance(await find(faulty, cookie), Lost)
        await attempt(faulty.delete(session))
        assert isinstance(await find(faulty, cookie), Lost)
        assert await listed_count(faulty) == 0

    await with_each_answer_lost(faulty, faults, clock, lambda s, session: s.delete(session), check)


@stored
async def test_a_sign_out_by_the_old_id_whose_answer_was_lost_is_repeated_with_the_old_id(
    faulty: Sessions, faults: Faults, clock: Clock
) -> None:
    """What must not happen: the way to the session is gone, and the session lives."""
    number, lost = 0, True
    while lost:
        session = await sign_in(faulty, clock)
        new = await faulty.rotate(session)
        faults.lose = number
        await attempt(faulty.delete(session))
        lost, faults.lose = faults.lose is None, None
        found = await find(faulty, faulty.cookie_value(session))
        if isinstance(found, Session):
            await faulty.delete(found)
        assert isinstance(await find(faulty, faulty.cookie_value(new)), Lost)
        number += 1
    assert number > 2


@stored
async def test_a_new_id_whose_answer_was_lost_signs_nobody_out_and_leaves_no_double(
    faulty: Sessions, faults: Faults, clock: Clock
) -> None:
    async def check(session: Session, outcome: Any) -> None:
        found = await living(faulty, faulty.cookie_value(session))
        assert found.record.data == {"x": 1}
        if isinstance(outcome, Session):
            await living(faulty, faulty.cookie_value(outcome))
        if faulty.users is not None:
            assert len(set(handles(await faulty.users.of(ALICE)))) == 1
        await faulty.delete(found)
        assert not isinstance(await find(faulty, faulty.cookie_value(session)), Session)

    await with_each_answer_lost(faulty, faults, clock, lambda s, session: s.rotate(session), check)


@stored
async def test_a_replacement_whose_answer_was_lost_leaves_at_most_what_the_client_has(
    faulty: Sessions, faults: Faults, clock: Clock
) -> None:
    async def check(session: Session, outcome: Any) -> None:
        is_old_alive = isinstance(await find(faulty, faulty.cookie_value(session)), Session)
        if isinstance(outcome, Session):
            assert not is_old_alive
            await living(faulty, faulty.cookie_value(outcome))
        if faulty.users is not None:
            expected = [outcome.card.handle] if isinstance(outcome, Session) else [session.card.handle] * is_old_alive
            assert handles(await faulty.users.of(ALICE)) == expected

    await with_each_answer_lost(faulty, faults, clock, lambda s, session: s.replace(session, session.record), check)


@listed
async def test_a_revocation_whose_answer_was_lost_can_be_repeated(
    faulty: Sessions, faults: Faults, clock: Clock
) -> None:
    async def work(sessions: Sessions, session: Session) -> None:
        keeper = await sign_in(sessions, clock, ALICE)
        await sessions.end_others(keeper)

    async def check(session: Session, outcome: Any) -> None:
        keeper = await sign_in(faulty, clock, ALICE)
        await faulty.end_others(keeper)
        assert isinstance(await find(faulty, faulty.cookie_value(session)), Lost)
        assert handles(await faulty.users.of(ALICE)) == [keeper.card.handle]  # type: ignore[union-attr]

    await with_each_answer_lost(faulty, faults, clock, work, check)


# -- a store that is away
async def test_a_store_that_is_away_is_unavailable_and_never_an_ended_session(
    faulty: Sessions, faults: Faults, kind: Kind, clock: Clock
) -> None:
    session = await sign_in(faulty, clock)
    presented = faulty.presented([faulty.cookie_value(session)])
    assert presented is not None
    faults.away = True
    works: list[Callable[[], Coroutine[Any, Any, Any]]] = [
        lambda: faulty.delete(session),
        lambda: write(faulty, session, x=1),
        lambda: faulty.replace(session, session.record),
        lambda: faulty.ping(),
        lambda: faulty.announced(),
    ]
    if not kind.cookie:
        works += [
            lambda: faulty.find(presented),
            lambda: faulty.find_id(bogus_id()),
            lambda: faulty.exists(session.id),
            lambda: faulty.create(fresh_record(clock)),
            lambda: faulty.rotate(session),
        ]
    if faulty.users is not None:
        users = faulty.users
        works += [lambda: users.of(ALICE), lambda: faulty.end_others(session)]
    for work in works:
        with pytest.raises(StoreUnavailable):
            await work()
    assert isinstance(await faulty.touch(session), Session), "activity that cannot be noted fails nobody (R3)"
    if kind.cookie:
        assert isinstance(await faulty.find(presented), Session), "what is in the cookie counts"
    faults.away = False
    clock.now += 2
    await living(faulty, faulty.cookie_value(session))
    assert kind.cookie or await listed_count(faulty) in (0, 1)


@listed
async def test_after_an_outage_in_the_middle_of_a_replacement_the_old_session_is_still_listed(
    faulty: Sessions, faults: Faults, clock: Clock
) -> None:
    session = await sign_in(faulty, clock)
    assert faulty.users is not None
    with pytest.raises(UnwritableValue):
        await faulty.replace(session, replace(session.record, data={"bad": object()}))
    assert handles(await faulty.users.of(ALICE)) == [session.card.handle]


# -- for scripts and commands
async def test_what_is_encoded_is_decoded_and_anything_else_is_nothing(sessions: Sessions, clock: Clock) -> None:
    text = sessions.encode({"a": [1, None], "b": "ü"})
    assert sessions.decode(text) == {"a": [1, None], "b": "ü"}
    cookie = sessions.cookie_value(await sign_in(sessions, clock))
    for junk in ("", "x", text[:-1], text + "A", text[1:], cookie, "é", "A" * 100, os.urandom(40).hex()):
        assert sessions.decode(junk) == {}


async def test_the_broom_leaves_the_living(sessions: Sessions, clock: Clock) -> None:
    cookie = sessions.cookie_value(await sign_in(sessions, clock))
    assert await sessions.clear_expired() == 0
    await living(sessions, cookie)


# -- a new id at once, beside others
@stored
async def test_a_sign_out_that_began_before_a_new_id_was_given_ends_the_session_all_the_same(
    sessions: Sessions, other: Sessions, clock: Clock
) -> None:
    session = await sign_in(sessions, clock)
    found = await living(other, sessions.cookie_value(session))
    new = await sessions.replace(session, session.record)
    assert await other.delete(found)
    assert await find(sessions, sessions.cookie_value(new)) == REVOKED


@stored
async def test_a_sign_out_of_one_user_does_not_follow_to_who_signed_in_after_him(
    sessions: Sessions, clock: Clock
) -> None:
    alices = await sign_in(sessions, clock)
    bobs = await sessions.replace(alices, fresh_record(clock, BOB))
    await sessions.delete(alices)
    assert (await living(sessions, sessions.cookie_value(bobs))).record.user == BOB


@stored
async def test_what_others_wrote_while_a_new_id_was_given_is_kept(sessions: Sessions, clock: Clock) -> None:
    session = await sign_in(sessions, clock, cart=[1], seen=1)
    await sessions.save(session, replace(session.record, data={"cart": [1, 2], "seen": 1}))
    new = await sessions.replace(session, replace(session.record, data={"cart": [1], "seen": 2}))
    assert (await living(sessions, sessions.cookie_value(new))).record.data == {"cart": [1, 2], "seen": 2}


@stored_quick
async def test_in_every_order_of_a_sign_out_and_a_new_id_nothing_is_left_alive(
    engine: SessionEngine, clock: Clock
) -> None:
    steps = Steps()
    stepped, plain = make_sessions(watched(engine, steps), clock=clock), make_sessions(engine, clock=clock)

    async def once(prefix: str) -> str:
        session = await sign_in(plain, clock)
        trace, (new, _) = await steps.run(prefix, a=stepped.replace(session, session.record), b=stepped.delete(session))
        made = [session, *([new] if isinstance(new, Session) else [])]
        assert isinstance(new, Session | SessionInterrupted), new
        assert not any(await cookies_alive(plain, [plain.cookie_value(one) for one in made])), f"order {trace}"
        if plain.users is not None:
            assert await plain.users.of(ALICE) == [], f"order {trace}"
        return trace

    assert await every_order(once, switches=3) > 5


@listed_quick
async def test_at_the_cap_a_new_id_makes_no_room_for_anybody_else(engine: SessionEngine, clock: Clock) -> None:
    steps = Steps()
    cap = Cap(1, evict=False)
    stepped, plain = make_sessions(watched(engine, steps), clock=clock, cap=cap), make_sessions(engine, clock=clock)

    async def once(prefix: str) -> str:
        session = await sign_in(plain, clock)
        trace, (new, second) = await steps.run(
            prefix, a=stepped.replace(session, session.record), b=stepped.create(fresh_record(clock), FIREFOX)
        )
        assert isinstance(new, Session), new
        assert isinstance(second, TooManySessions), f"order {trace}"
        await plain.delete(new)
        return trace

    assert await every_order(once, switches=2) > 5


@stored_quick
async def test_a_new_id_whose_writing_was_carried_out_but_not_told_is_there(
    engine: SessionEngine, clock: Clock
) -> None:
    """The link to Redis repeats what it got no answer to: then the version it expects is there no more."""
    twice = 0

    async def around(name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        nonlocal twice
        answer = await call()
        if name == "update":
            twice += 1
            return await call()
        return answer

    sessions = make_sessions(watched(engine, around), clock=clock)
    session = await sign_in(sessions, clock)
    new = await sessions.replace(session, session.record)
    assert twice
    await living(sessions, sessions.cookie_value(new))
    assert await find(sessions, sessions.cookie_value(session)) == REPLACED


@listed_quick
async def test_an_old_id_on_the_list_counts_for_no_session_of_its_own(engine: SessionEngine, clock: Clock) -> None:
    async def around(name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        return None if name == "remove" else await call()

    keeps = make_sessions(watched(engine, around), clock=clock)
    session = await sign_in(keeps, clock)
    new = await keeps.replace(await keeps.rotate(session), session.record)
    capped = make_sessions(engine, clock=clock, cap=Cap(2, evict=True))
    second = await sign_in(capped, clock)
    assert all(await cookies_alive(capped, [capped.cookie_value(one) for one in (new, second)]))


@listed_quick
async def test_somebody_else_s_session_on_one_s_list_is_not_shown(engine: SessionEngine, clock: Clock) -> None:
    sessions = make_sessions(engine, clock=clock)
    mine, bobs = await sign_in(sessions, clock), await sign_in(sessions, clock, BOB)
    assert engine.directory is not None
    owners = sessions._values.owners(ALICE)
    await engine.directory.add(owners, name_of(bobs.id), 60)
    assert sessions.users is not None
    assert handles(await sessions.users.of(ALICE)) == [mine.card.handle]


async def test_activity_that_cannot_be_noted_is_said_once_a_second_and_not_at_each_request(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    faults = Faults()
    sessions = make_sessions(watched(MemorySessionEngine(LINGER), faults), clock=clock)
    session = await sign_in(sessions, clock)
    faults.away = True
    for _ in range(50):
        await sessions.touch(session)
    assert len(caplog.records) == 1
    clock.now += 2
    await sessions.touch(session)
    assert len(caplog.records) == 2
