"""Whoever ends a session, however: its handle is told, so that its tokens end with it; a new id is no end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.identity import Identity
from gateway.core.sessions import Session
from gateway.errors import StoreUnavailable
from gateway.store.departed import Departed
from gateway.store.directory import Cap
from gateway.store.engine import SessionEngine
from gateway.store.sessions import Sessions
from gateway.store.values import name_of
from tests.store.engines import Place
from tests.store.session_lab import (
    ALICE,
    BOB,
    FIREFOX,
    KINDS,
    LISTED,
    STORED,
    Clock,
    Faults,
    Kind,
    Steps,
    every_order,
    find,
    fresh_record,
    informed,
    living,
    make_sessions,
    until,
    watched,
)

LINGER = 60.0
QUICK = ("memory", "redis", "sqlite", "cookie")
stored = pytest.mark.parametrize("kind", [k for k in STORED if k.name in QUICK], indirect=True, ids=str)
listed = pytest.mark.parametrize("kind", [k for k in LISTED if k.name in QUICK], indirect=True, ids=str)
cookie_only = pytest.mark.parametrize("kind", [k for k in KINDS if k.cookie], indirect=True, ids=str)


@pytest.fixture(params=[k for k in KINDS if k.name in QUICK], ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    made: Kind = request.param
    return made


@pytest.fixture
async def engine(kind: Kind, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SessionEngine]:
    url = request.getfixturevalue("redis_server").url if kind.case.needs_redis else ""
    async with kind.case.open(Place(tmp_path, url), LINGER) as made:
        yield made


class Told:
    """What ``on_ended`` was given since it was looked at last."""

    def __init__(self) -> None:
        self.handles: list[str] = []

    async def __call__(self, handles: Sequence[str]) -> None:
        assert handles
        self.handles += handles

    def fresh(self) -> list[str]:
        found, self.handles = self.handles, []
        return sorted(set(found))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def clock() -> Clock:
    return Clock()


Make = Callable[..., Sessions]


@pytest.fixture
def make(kind: Kind, clock: Clock, told: Told) -> Make:
    def made(engine: SessionEngine, **options: Any) -> Sessions:
        sessions = make_sessions(engine, cookie=kind.cookie, clock=clock, **options)
        sessions.on_ended = told
        return sessions

    return made


@pytest.fixture
async def sessions(engine: SessionEngine, make: Make) -> Sessions:
    return await informed(make(engine))


async def signed_in(sessions: Sessions, clock: Clock, user: Identity | None = ALICE) -> Session:
    return await sessions.create(fresh_record(clock, user), FIREFOX)


def handles(*some: Session) -> list[str]:
    return sorted(session.card.handle for session in some)


# -- ends
async def test_one_that_is_deleted(sessions: Sessions, clock: Clock, told: Told) -> None:
    one, other = await signed_in(sessions, clock), await signed_in(sessions, clock)
    assert await sessions.delete(one)
    assert told.fresh() == handles(one)
    assert await living(sessions, sessions.cookie_value(other))
    await sessions.delete(one)
    assert told.fresh() == handles(one), "again: whoever ended it may not have told"


@stored
async def test_one_that_is_deleted_by_an_older_id(sessions: Sessions, clock: Clock, told: Told) -> None:
    """And by an id alone."""
    old = await signed_in(sessions, clock)
    new = await sessions.rotate(old)
    assert told.fresh() == []
    assert await sessions.delete(old)
    assert told.fresh() == handles(old) == handles(new)
    old = await signed_in(sessions, clock)
    new = await sessions.rotate(old)
    await sessions.end_for_sure(old.id)
    assert told.fresh() == handles(new)


@listed
async def test_all_others_and_all(sessions: Sessions, clock: Clock, told: Told) -> None:
    here, *others = [await signed_in(sessions, clock) for _ in range(4)]
    bobs = await signed_in(sessions, clock, BOB)
    moved = await sessions.rotate(others[0])
    assert await sessions.end_others(here) >= 3
    assert told.fresh() == handles(moved, *others[1:])
    assert await sessions.end_all(ALICE) >= 1
    assert told.fresh() == handles(here)
    assert await living(sessions, sessions.cookie_value(bobs))


@listed
async def test_one_of_the_list(sessions: Sessions, clock: Clock, told: Told) -> None:
    """As a user ends it on another of his devices, and as the command does."""
    assert sessions.users is not None
    one, other = await signed_in(sessions, clock), await signed_in(sessions, clock)
    rows = {row.card.handle: row for row in await sessions.users.of(ALICE)}
    assert await sessions.users.end(ALICE, rows[one.card.handle])
    assert told.fresh() == handles(one)
    assert not await sessions.users.end(ALICE, rows[one.card.handle])
    assert told.fresh() == handles(one), "again: whoever ended it may not have told"
    everything = [row async for row in sessions.users.everything()]
    assert await sessions.users.end(None, next(row for row in everything if row.card.handle == other.card.handle))
    assert told.fresh() == handles(other)


@listed
async def test_all_of_a_user_who_is_gone(sessions: Sessions, clock: Clock, told: Told) -> None:
    some = [await signed_in(sessions, clock) for _ in range(2)]
    Departed(sessions)(ALICE)

    async def is_told() -> bool:
        return len(told.handles) == 2

    await until(is_told)
    assert told.fresh() == handles(*some)


@listed
async def test_the_oldest_when_there_is_one_too_many(
    engine: SessionEngine, make: Make, clock: Clock, told: Told
) -> None:
    sessions = await informed(make(engine, cap=Cap(2, evict=True)))
    some = []
    for _ in range(2):
        some.append(await signed_in(sessions, clock))
        clock.now += 1
        await asyncio.sleep(0.002)  # engines sort by milliseconds
    assert told.fresh() == []
    moved = await sessions.rotate(some[0])
    third = await signed_in(sessions, clock)
    left = {row.card.handle for row in await sessions.users.of(ALICE)} if sessions.users else set()
    assert len(left) == 2
    assert third.card.handle in left
    assert told.fresh() == sorted({moved.card.handle, *handles(*some)} - left)


@listed
async def test_of_those_who_sign_in_at_once_the_ones_who_are_ended(
    engine: SessionEngine, make: Make, clock: Clock, told: Told
) -> None:
    sessions = await informed(make(engine, cap=Cap(2, evict=True)))
    some = await asyncio.gather(*(signed_in(sessions, clock) for _ in range(6)))
    assert sessions.users is not None
    left = {row.card.handle for row in await sessions.users.of(ALICE)}
    assert set(told.fresh()) == set(handles(*some)) - left


# -- a new id
async def test_another_user_in_its_place_is_an_end(sessions: Sessions, clock: Clock, told: Told) -> None:
    alices = await signed_in(sessions, clock)
    bobs = await sessions.replace(alices, fresh_record(clock, BOB))
    assert told.fresh() == handles(alices)
    assert handles(bobs) != handles(alices)


async def test_nobody_in_its_place_is_an_end(sessions: Sessions, clock: Clock, told: Told) -> None:
    """As when the user's part of a session is over and the rest stays."""
    alices = await signed_in(sessions, clock)
    await sessions.replace(alices, fresh_record(clock, None))
    assert told.fresh() == handles(alices)


@stored
async def test_a_session_that_loses_its_user_is_an_end(sessions: Sessions, clock: Clock, told: Told) -> None:
    alices = await signed_in(sessions, clock)
    await sessions.save(alices, replace(alices.record, user=None))
    assert told.fresh() == handles(alices)


async def test_a_new_id_of_the_same_session_is_no_end(sessions: Sessions, clock: Clock, told: Told) -> None:
    session = await signed_in(sessions, clock)
    first = handles(session)
    for _ in range(3):
        session = await sessions.replace(session, replace(session.record, data={"seen": 1}))
        session = await sessions.save(session, replace(session.record, data={"seen": 2}))
        session = await sessions.renew(session)
        assert handles(session) == first
    assert told.fresh() == []
    await sessions.delete(session)
    assert told.fresh() == first


async def test_what_nobody_has_signed_in_to_has_no_tokens(sessions: Sessions, clock: Clock, told: Told) -> None:
    stranger = await signed_in(sessions, clock, None)
    alices = await sessions.replace(stranger, fresh_record(clock, ALICE))
    assert handles(alices) != handles(stranger), "tokens name a handle that no stranger has seen"
    await sessions.delete(await signed_in(sessions, clock, None))
    assert told.fresh() == []


# -- what goes wrong
async def test_an_end_of_which_the_answer_is_lost_is_told(
    engine: SessionEngine, make: Make, clock: Clock, told: Told
) -> None:
    faults = Faults()
    sessions = await informed(make(engine))
    faulty = await informed(make(watched(engine, faults)))
    for lost in range(3):
        one = await signed_in(sessions, clock)
        faults.lose = lost
        try:
            await faulty.delete(one)
        except StoreUnavailable:
            await asyncio.sleep(0)
        faults.lose = None

        async def is_told() -> bool:
            return bool(told.handles)

        await until(is_told)
        assert told.fresh() == handles(one)


async def test_a_store_that_is_away_is_not_waited_for_twice(
    engine: SessionEngine, make: Make, clock: Clock, told: Told
) -> None:
    """The end is told in the background: it was wanted, and this process can refuse its tokens at once."""
    faults, begun, go_on = Faults(), asyncio.Event(), asyncio.Event()
    sessions = await informed(make(watched(engine, faults)))

    async def slowly(given: Sequence[str]) -> None:
        begun.set()
        await go_on.wait()
        await told(given)

    sessions.on_ended = slowly
    one = await signed_in(sessions, clock)
    faults.away = True
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(sessions.delete(one), 5)
    await asyncio.wait_for(begun.wait(), 5)
    faults.away = False
    go_on.set()
    await sessions.close()
    assert told.fresh() == handles(one), "closing waits for it"


@stored
async def test_an_end_that_is_cancelled_on_the_way_is_told(
    engine: SessionEngine, make: Make, clock: Clock, told: Told
) -> None:
    """The client went away."""
    reached = asyncio.Event()

    async def hang(name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        answer = await call()
        if name == "delete":
            reached.set()
            await asyncio.Event().wait()
        return answer

    sessions = await informed(make(watched(engine, hang)))
    one = await signed_in(sessions, clock)
    ending = asyncio.create_task(sessions.delete(one))
    await asyncio.wait_for(reached.wait(), 5)
    ending.cancel()
    await asyncio.wait([ending])

    async def is_told() -> bool:
        return bool(told.handles)

    await until(is_told)
    assert told.fresh() == handles(one)


@stored
async def test_a_card_that_is_gone_keeps_nobody_from_ending_it(
    engine: SessionEngine, make: Make, clock: Clock, told: Told
) -> None:
    """It has another handle then, which is told."""
    sessions = await informed(make(engine))
    one = await signed_in(sessions, clock)
    broken = sessions._values.card(b"another name", one.card)
    await engine.touch(name_of(one.id), broken, 100)
    found = await living(sessions, sessions.cookie_value(one))
    assert handles(found) != handles(one)
    await sessions.end_for_sure(one.id)
    assert told.fresh() == handles(found)


@listed
async def test_in_whatever_order_an_end_and_a_new_id_come(
    engine: SessionEngine, make: Make, clock: Clock, told: Told
) -> None:
    sessions = await informed(make(engine))

    async def run(prefix: str) -> str:
        steps = Steps()
        stepped = await informed(make(watched(engine, steps)))
        one = await signed_in(sessions, clock)
        told.fresh()
        trace, (_, ended) = await steps.run(prefix, a=_rotated(stepped, one), b=stepped.end_all(ALICE))
        assert ended >= 1, trace
        assert told.fresh() == handles(one), trace
        assert not isinstance(await find(sessions, sessions.cookie_value(one)), Session)
        return trace

    assert await every_order(run, switches=2) > 5


async def _rotated(sessions: Sessions, session: Session) -> object:
    try:
        return await sessions.rotate(session)
    except Exception as error:  # noqa: BLE001 - that it was ended is one way it can go
        return error


@cookie_only
async def test_a_cookie_that_is_over_is_told_too(sessions: Sessions, clock: Clock, told: Told) -> None:
    one = await signed_in(sessions, clock)
    clock.now += 10_000_000
    assert not await sessions.delete(one)
    assert told.fresh() == handles(one)
