"""Two ``gateway serve`` processes on one Redis, and a third party that looks at it: a sign-out on one is a refusal on the
other, writers of different keys both win, and nothing brings back what was ended (founding decisions 4 and 6)."""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from redis import Redis

from gateway.core.identity import Identity
from gateway.core.sessions import Session
from gateway.errors import SessionInterrupted
from gateway.scripting import Store, open_store
from gateway.settings import Settings
from gateway.store.redis_server import RedisServer
from gateway.store.sessions import Sessions
from gateway.web.session import WebSession
from tests.faults.test_no_session_is_lost import People, Serve, Serving, people, serve
from tests.harness import ROOT, make_settings

__all__ = ["people", "serve"]
PROMISED = 1.0
"""Seconds until a revocation holds everywhere."""
MARGIN = 3
RACES = 200
RACES_OF_PROCESSES = 60
SECONDS = 60.0


@pytest.fixture
async def two(serve: Serve, redis_server: RedisServer) -> list[Serving]:
    config = {"url": redis_server.url}
    return list(await asyncio.gather(serve(redis=config), serve(redis=config)))


@pytest.fixture
def settings(redis_server: RedisServer) -> Settings:
    return make_settings(redis_server.url, "http://127.0.0.1:1")


@pytest.fixture
async def stores(settings: Settings) -> AsyncIterator[tuple[Store, Store]]:
    """Two stores with links of their own, as two processes have them."""
    async with open_store(settings) as one, open_store(settings) as two:
        yield one, two


class Other:
    """A Python process with a store of its own (:mod:`tests.faults.session_process`)."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._to, self._from = process, process.stdin, process.stdout

    async def ask(self, line: str) -> str:
        """Its answer."""
        self._to.write(f"{line}\n".encode())
        return await self.says()

    async def says(self) -> str:
        """What it says next."""
        async with asyncio.timeout(SECONDS):
            return (await self._from.readline()).decode().strip()

    async def stop(self) -> int:
        """Its exit code."""
        self._to.close()
        try:
            async with asyncio.timeout(SECONDS):
                return await self._process.wait()
        finally:
            with suppress(ProcessLookupError):
                self._process.kill()


@pytest.fixture
async def processes(redis_server: RedisServer) -> AsyncIterator[tuple[Other, Other]]:
    """Two, beside this one, on the run's Redis."""
    command = (sys.executable, "-m", "tests.faults.session_process", redis_server.url)
    made = [Other(await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=PIPE, stdout=PIPE)) for _ in "ab"]
    try:
        assert await asyncio.gather(*(other.says() for other in made)) == ["ready", "ready"]
        yield made[0], made[1]
    finally:
        ended = await asyncio.gather(*(other.stop() for other in made))
    assert ended == [0, 0]


async def test_a_sign_out_on_one_is_a_refusal_on_the_other_within_a_second(
    two: list[Serving], people: People, redis: Redis
) -> None:
    here, there = two
    waits = []
    for _ in range(10):
        alice, thief = people(), people()
        await alice.sign_in(here)
        thief.cookie = alice.cookie
        for gateway in (there, here, there):
            assert (await thief.request(gateway, "GET", "/orders"))[0] == 200
        assert len(redis.keys("gw:s:{*}")) == 1
        assert (await alice.request(here, "POST", "/auth/logout"))[0] == 200
        started = time.monotonic()
        assert redis.keys("gw:[st]:{*}") == [], "gone when it is acknowledged"
        while (await thief.request(there, "GET", "/orders"))[0] == 200:
            assert time.monotonic() - started < MARGIN * PROMISED
        waits.append(time.monotonic() - started)
    print(f"refused on the other process after {max(waits) * 1000:.0f} ms at most (promised: {PROMISED * 1000:.0f})")
    assert max(waits) < MARGIN * PROMISED


async def test_a_key_that_somebody_deletes_by_hand_is_a_refusal_on_both_within_a_second(
    two: list[Serving], people: People, redis: Redis
) -> None:
    alice = people()
    await alice.sign_in(two[0])
    for gateway in two * 2:
        assert await alice.served(gateway)
    redis.delete(*redis.keys("gw:s:{*}"))
    started = time.monotonic()
    cookie = alice.cookie
    for gateway in two:
        while True:
            alice.cookie = cookie
            status, text = await alice.request(gateway, "GET", "/orders")
            if status == 302:
                break
            assert time.monotonic() - started < MARGIN * PROMISED
        assert "unknown_session" in text
    print(f"refused on both after {(time.monotonic() - started) * 1000:.0f} ms (promised: {PROMISED * 1000:.0f})")


async def test_all_the_others_end_on_both(two: list[Serving], people: People) -> None:
    everybody = [people() for _ in range(4)]
    for number, person in enumerate(everybody):
        await person.sign_in(two[number % 2])
        for gateway in two:
            assert await person.served(gateway)
    here, *others = everybody
    assert (await here.request(two[1], "DELETE", "/auth/sessions"))[0] == 200
    started = time.monotonic()
    for person in others:
        for gateway in two:
            cookie = person.cookie
            while (await person.request(gateway, "GET", "/orders"))[0] == 200:
                assert time.monotonic() - started < MARGIN * PROMISED
            person.cookie = cookie
    assert [await here.served(gateway) for gateway in two] == [True, True]


async def test_what_a_script_ends_ends_on_both(two: list[Serving], people: People, stores: tuple[Store, Store]) -> None:
    alice = people()
    await alice.sign_in(two[0])
    for gateway in two:
        assert await alice.served(gateway)
    users = stores[0].sessions.users
    assert users is not None
    ended = [await users.end(None, listed) async for listed in users.everything()]
    assert ended == [True]
    started = time.monotonic()
    cookie = alice.cookie
    for gateway in two:
        alice.cookie = cookie
        while (await alice.request(gateway, "GET", "/orders"))[0] == 200:
            assert time.monotonic() - started < MARGIN * PROMISED


# -- writers
async def test_parallel_writers_of_different_keys_both_win(stores: tuple[Store, Store]) -> None:
    first = stores[0].session()
    first["begun"] = True
    await first.save()
    key = first.session_key

    async def write(store: Store, name: str) -> None:
        for number in range(50):
            session = store.session(key)
            await session.load()
            session[name] = number
            session[f"{name}{number}"] = True
            await session.save()

    await asyncio.gather(write(stores[0], "a"), write(stores[1], "b"), write(stores[1], "c"))
    seen = stores[1].session(key)
    await seen.load()
    assert {name: seen[name] for name in "abc"} == {"a": 49, "b": 49, "c": 49}
    assert len(seen) == 1 + 3 * 51


async def test_two_processes_that_write_different_keys_both_win(
    processes: tuple[Other, Other], stores: tuple[Store, Store]
) -> None:
    first = stores[0].session()
    await first.save()
    key = first.session_key
    answers = await asyncio.gather(
        *(one.ask(f"write {key} {name} 50") for one, name in zip(processes, "ab", strict=True))
    )
    assert answers == ["done", "done"]
    seen = stores[1].session(key)
    await seen.load()
    assert {name: seen[name] for name in "ab"} == {"a": 49, "b": 49}
    assert len(seen) == 2 * 51


async def moments(number: int) -> None:
    """A little later: another order of events each time."""
    for _ in range(number):
        await asyncio.sleep(0)


def records(redis: Redis) -> list[bytes]:
    """The keys of sessions; what only leads from an old id to a new one is none."""
    return [key for key in redis.keys("gw:s:{*}") if redis.getrange(key, 0, 0) == b"R"]


async def write(session: WebSession, later: int) -> str:
    await moments(later)
    try:
        await session.save()
    except SessionInterrupted:
        return "interrupted"
    return "written first"


async def leave(session: WebSession, later: int) -> None:
    await moments(later)
    await session.flush()


async def test_a_sign_out_is_never_undone_by_a_parallel_writer(stores: tuple[Store, Store], redis: Redis) -> None:
    one, two = stores
    outcomes = {"written first": 0, "interrupted": 0}
    for race in range(RACES):
        begun = one.session()
        await begun.sign_in(Identity("1", "alice"))
        writer, leaver = one.session(begun.session_key), two.session(begun.session_key)
        await asyncio.gather(writer.load(), leaver.load())
        writer["cart"] = race
        outcome, _ = await asyncio.gather(write(writer, race % 12), leave(leaver, 11 - race % 12))
        outcomes[outcome] += 1
        assert not await two.session().exists(str(begun.session_key))
        assert redis.keys("gw:[st]:{*}") == []
    print(f"{RACES} races: {outcomes}")
    assert all(outcomes.values()), "both orders have to be among them"


async def test_a_sign_out_in_one_process_is_never_undone_by_a_writer_in_another(
    processes: tuple[Other, Other], stores: tuple[Store, Store], redis: Redis
) -> None:
    """Who is first moves from the one to the other, by less than what one of them takes."""
    outcomes = {"done": 0, "interrupted": 0}
    for race in range(RACES_OF_PROCESSES):
        begun = stores[0].session()
        await begun.sign_in(Identity("1", "alice"))
        for process in processes:
            assert await process.ask(f"load {begun.session_key}") == "done"
        later = (race % 13 - 6) / 2000
        saved, ended = await asyncio.gather(
            processes[0].ask(f"save {max(later, 0)}"), processes[1].ask(f"flush {max(-later, 0)}")
        )
        assert ended == "done"
        outcomes[saved] += 1
        assert not await stores[1].session().exists(str(begun.session_key))
        assert redis.keys("gw:[st]:{*}") == []
    print(f"{RACES_OF_PROCESSES} races of two processes: {outcomes}")
    assert all(outcomes.values()), "both orders have to be among them"


async def test_a_sign_out_is_never_undone_by_a_rotation_or_a_touch(stores: tuple[Store, Store], redis: Redis) -> None:
    one, two = stores
    outcomes = {"rotated first": 0, "interrupted": 0}
    for race in range(RACES):
        begun = one.session()
        session = await begun.sign_in(Identity("1", "alice"))
        leaver = two.session(begun.session_key)
        await leaver.load()
        rotating = rotate(one.sessions, session, race % 12)
        outcome, *_ = await asyncio.gather(rotating, leave(leaver, 11 - race % 12), one.sessions.touch(session))
        outcomes[outcome] += 1
        assert not await two.session().exists(str(begun.session_key))
        assert records(redis) == []
    print(f"{RACES} races: {outcomes}")
    assert all(outcomes.values()), "both orders have to be among them"


async def rotate(sessions: Sessions, session: Session, later: int) -> str:
    await moments(later)
    try:
        await sessions.touch(await sessions.rotate(session))
    except SessionInterrupted:
        return "interrupted"
    return "rotated first"
