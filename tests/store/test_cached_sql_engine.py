"""SQL with copies in Redis: nobody who asks after an answered change sees what was before it, whatever Redis does."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import update

from gateway.errors import StoreUnavailable
from gateway.store.cached_sql import CachedSqlSessionEngine
from gateway.store.engine import Gone, Kept, Write, version_of
from gateway.store.memory import MemorySessionEngine
from gateway.store.redis_server import RedisServer
from gateway.store.sql_generation import QUIET, TRUST
from gateway.store.sql_sessions import SqlSessionEngine
from gateway.store.sql_tables import SESSION
from tests.store.databases import KINDS, cached_sql_engine, engine_at, url_of
from tests.store.engines import fresh, number_in

LONG = 600.0
Open = Callable[..., AbstractAsyncContextManager[CachedSqlSessionEngine]]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    made: str = request.param
    return made


@pytest.fixture
async def url(kind: str, tmp_path: Path) -> AsyncIterator[str]:
    url = url_of(kind, tmp_path)
    async with engine_at(url):  # empties the tables
        yield url


@pytest.fixture
def open_engine(url: str, own_redis: RedisServer, tmp_path: Path) -> Open:
    """Another process on the same database and Redis (or the Redis at ``redis_url``)."""

    def open_one(
        redis_url: str | None = None, timeout: float = 10.0
    ) -> AbstractAsyncContextManager[CachedSqlSessionEngine]:
        return cached_sql_engine(tmp_path, redis_url or own_redis.url, timeout=timeout, url=url)

    return open_one


@pytest.fixture
async def sql(url: str) -> AsyncIterator[SqlSessionEngine]:
    """Past the copies, as a person with a prompt would."""
    engine = SqlSessionEngine(url, 60, timeout=10)
    yield engine
    await engine.close()


only_sqlite = pytest.mark.parametrize("kind", ["sqlite"], indirect=True)


async def make(engine: CachedSqlSessionEngine, name: bytes) -> bytes:
    value = fresh(b"0")
    assert await engine.create(name, value, b"seen", LONG)
    return value


async def look_up(engine: CachedSqlSessionEngine, name: bytes = b"n") -> Kept | Gone:
    (found,) = await engine.load([name])
    return found


def freeze(server: RedisServer) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)


def thaw(server: RedisServer) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGCONT)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def until_copied(engine: CachedSqlSessionEngine, server: RedisServer, count: int = 1) -> None:
    """There is a copy in Redis, and not only the lease for one."""

    async def is_copied() -> bool:
        await engine.load([b"n", b"m"])
        with Redis(unix_socket_path=str(server.socket)) as client:
            return len([key for key in client.scan_iter("c:s:*") if client.pttl(key) > 5000]) >= count

    await until(is_copied)


async def change_by_hand(sql: SqlSessionEngine, seen: bytes) -> None:
    await sql.database.write(lambda connection: connection.execute(update(SESSION).values(seen=seen)))


# -- copies
@only_sqlite
async def test_a_session_that_was_read_is_read_from_redis_afterwards(
    open_engine: Open, own_redis: RedisServer, sql: SqlSessionEngine
) -> None:
    async with open_engine() as engine, open_engine() as other:
        value = await make(engine, b"n")
        assert await look_up(engine) == Kept(value, b"seen")
        await until_copied(engine, own_redis)
        await change_by_hand(sql, b"by hand")
        assert await look_up(engine) == await look_up(other) == Kept(value, b"seen"), "this is the copy"


async def test_after_every_change_everybody_reads_the_new(open_engine: Open, own_redis: RedisServer) -> None:
    async with open_engine() as engine, open_engine() as other:
        value, second = await make(engine, b"n"), fresh()
        await until_copied(other, own_redis)
        assert await engine.update(b"n", second, b"s2", LONG, version_of(value)) is Write.DONE
        assert await look_up(other) == Kept(second, b"s2")
        await until_copied(other, own_redis)
        await engine.touch(b"n", b"s3", LONG)
        assert await look_up(other) == Kept(second, b"s3")
        await until_copied(other, own_redis)
        await engine.shorten(b"n", 0.05)
        await asyncio.sleep(0.06)
        assert await look_up(other) == Gone()
        value = await make(engine, b"m")
        await until_copied(other, own_redis)
        assert await engine.delete(b"m") == value
        assert await look_up(other, b"m") == Gone()


@only_sqlite
async def test_a_copy_ends_with_its_session(open_engine: Open, sql: SqlSessionEngine) -> None:
    async with cached_to_memory(sql) as engine:
        value = fresh()
        assert await engine.create(b"n", value, b"seen", 0.3 - 60)  # 60: its linger
        assert await look_up(engine) == Kept(value, b"seen")

        async def is_gone() -> bool:
            return await look_up(engine) == Gone()

        await until(is_gone, 2)


@asynccontextmanager
async def cached_to_memory(sql: SqlSessionEngine) -> AsyncIterator[CachedSqlSessionEngine]:
    engine = CachedSqlSessionEngine(sql, MemorySessionEngine(0.0))
    yield engine
    await engine.close()


class Hammer:
    """Counts one session's value up, and what is seen of another. What was answered is a floor for every later read."""

    def __init__(self, engines: list[CachedSqlSessionEngine]) -> None:
        self.engines = engines
        self.value = self.seen = 0
        self.reads = self.slowest = 0.0

    async def run(self, seconds: float, meanwhile: Coroutine[Any, Any, None] | None = None) -> None:
        assert await self.engines[0].create(b"n", fresh(b"0"), b"", LONG)
        assert await self.engines[0].create(b"m", fresh(), b"0", LONG)
        end = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for work in (self._update(end), self._touch(end), *(self._read(end) for _ in range(4))):
                group.create_task(work)
            if meanwhile:
                group.create_task(meanwhile)

    async def _read(self, end: float) -> None:
        while time.monotonic() < end:
            value, seen, started = self.value, self.seen, time.monotonic()
            found = await random.choice(self.engines).load([b"n", b"m"])
            assert number_in(_kept(found[0]).value) >= value, "an older value"
            assert int(_kept(found[1]).seen or b"") >= seen, "an older touch"
            self.reads += 1
            self.slowest = max(self.slowest, time.monotonic() - started)
            await asyncio.sleep(random.random() / 200)

    async def _update(self, end: float) -> None:
        while time.monotonic() < end:
            engine = random.choice(self.engines)
            found = _kept(await look_up(engine))
            assert number_in(found.value) == self.value
            after = fresh(b"%d" % (self.value + 1))
            assert await engine.update(b"n", after, b"", LONG, version_of(found.value)) is Write.DONE
            self.value += 1
            await asyncio.sleep(random.random() / 25)

    async def _touch(self, end: float) -> None:
        while time.monotonic() < end:
            await random.choice(self.engines).touch(b"m", b"%d" % (self.seen + 1), LONG)
            self.seen += 1
            await asyncio.sleep(random.random() / 25)


def _kept(found: Kept | Gone) -> Kept:
    assert isinstance(found, Kept)
    return found


async def test_readers_and_writers_at_once_never_see_what_was_before(open_engine: Open) -> None:
    async with open_engine() as first, open_engine() as second, open_engine() as third:
        hammer = Hammer([first, second, third])
        await hammer.run(2.5)
        assert min(hammer.reads, hammer.value * 5, hammer.seen * 5) > 100


async def trouble(server: RedisServer) -> None:
    """Frozen for long, killed, frozen for a moment."""
    await asyncio.sleep(0.3)
    freeze(server)
    await asyncio.sleep(2)
    thaw(server)
    await asyncio.sleep(1)
    server.kill()
    await asyncio.sleep(0.5)
    server.start()
    for _ in range(5):
        await asyncio.sleep(0.3)
        freeze(server)
        await asyncio.sleep(0.2)
        thaw(server)


@pytest.mark.slow
async def test_whatever_redis_does_nobody_sees_what_was_before(open_engine: Open, own_redis: RedisServer) -> None:
    async with open_engine() as first, open_engine() as second, open_engine() as third:
        hammer = Hammer([first, second, third])
        await hammer.run(QUIET + 9, trouble(own_redis))
        assert min(hammer.reads, hammer.value * 5, hammer.seen * 5) > 100
        assert hammer.slowest < 1.5


# -- without Redis
async def test_without_redis_everything_works(open_engine: Open, short_folder: Path) -> None:
    async with (
        open_engine(f"unix://{short_folder}/nobody.sock") as engine,
        open_engine(f"unix://{short_folder}/no") as other,
    ):
        value, second = await make(engine, b"n"), fresh()
        assert await look_up(other) == Kept(value, b"seen")
        assert await other.update(b"n", second, b"s2", LONG, version_of(value)) is Write.DONE
        await engine.touch(b"n", b"s3", LONG)
        assert await look_up(other) == Kept(second, b"s3")
        assert await other.directory.add([b"u"], b"n", LONG, limit=1) == []
        assert [entry.name for entry in await engine.directory.entries([b"u"])] == [b"n"]
        await engine.announce(["k"])
        assert await other.announced() == {"k"}
        await engine.shorten(b"n", LONG)
        assert await engine.delete(b"n") == second
        await engine.bury(b"n", "revoked", LONG)
        assert await look_up(other) == Gone("revoked")
        assert await engine.clear_expired() == 0
        await engine.ping()


@only_sqlite
async def test_a_frozen_redis_slows_down_one_moment_only(open_engine: Open, own_redis: RedisServer) -> None:
    async with open_engine() as engine:
        await make(engine, b"n")
        await until_copied(engine, own_redis)
        freeze(own_redis)
        started = time.monotonic()
        for _ in range(3):
            await asyncio.gather(*(engine.load([b"n"]) for _ in range(20)))
        await engine.touch(b"n", b"later", LONG)
        assert time.monotonic() - started < 2.5
        slowest = 0.0
        for _ in range(100):
            before = time.monotonic()
            assert await look_up(engine) != Gone()
            await engine.touch(b"n", b"later", LONG)
            slowest = max(slowest, time.monotonic() - before)
            await asyncio.sleep(0.02)
        thaw(own_redis)
    assert slowest < 0.4, "less than Redis was waited for"


async def test_what_was_deleted_while_redis_was_frozen_stays_deleted(open_engine: Open, own_redis: RedisServer) -> None:
    async with open_engine() as engine, open_engine() as other, open_engine() as third:
        await make(engine, b"n")
        await until_copied(other, own_redis)
        await until_copied(third, own_redis)
        freeze(own_redis)
        assert await engine.delete(b"n") is not None
        thaw(own_redis)
        for reader in (third, other, engine):
            assert await look_up(reader) == Gone()
        async with open_engine() as late:
            assert await look_up(late) == Gone()


async def test_who_alone_is_cut_off_from_redis_is_believed_by_all_others(
    open_engine: Open, own_redis: RedisServer, short_folder: Path
) -> None:
    async with open_engine() as engine, open_engine(f"unix://{short_folder}/nobody.sock") as cut_off:
        value = await make(engine, b"n")
        await make(engine, b"m")
        await until_copied(engine, own_redis, 2)
        assert await cut_off.delete(b"n") == value
        assert await look_up(engine) == Gone()
        started = time.monotonic()
        assert await cut_off.delete(b"m") is not None
        assert time.monotonic() - started < 1, "the copies are off: nobody has to be waited for"
        assert await look_up(engine, b"m") == Gone()


@pytest.mark.slow
@only_sqlite
async def test_copies_are_made_again_some_time_after_redis_came_back(
    open_engine: Open, own_redis: RedisServer, sql: SqlSessionEngine
) -> None:
    async with open_engine() as engine:
        await make(engine, b"n")
        await until_copied(engine, own_redis)
        own_redis.kill()
        await engine.touch(b"n", b"old", LONG)
        own_redis.start()

        async def is_copied() -> bool:
            """A copy is what does not follow a change by hand."""
            mark = os.urandom(4)
            await change_by_hand(sql, mark)
            found = await look_up(engine)
            return isinstance(found, Kept) and found.seen != mark

        await until(is_copied, QUIET + 10)
        await engine.touch(b"n", b"new", LONG)
        found = await look_up(engine)
        assert isinstance(found, Kept)
        assert found.seen == b"new"


# -- the operator is told
def told(caplog: pytest.LogCaptureFixture) -> list[int]:
    """The levels of what the engines said."""
    return [record.levelno for record in caplog.records if record.name == "gateway.sessions"]


@only_sqlite
async def test_the_operator_is_told_once_that_copies_are_off_and_once_that_they_are_back(
    open_engine: Open, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with open_engine() as engine:
        await make(engine, b"n")
        await until_copied(engine, own_redis)
        assert told(caplog) == [], "nothing was wrong"
        own_redis.kill()
        down = time.monotonic()
        while time.monotonic() < down + TRUST + 0.5:
            await asyncio.gather(*(engine.load([b"n"]) for _ in range(5)))
        assert told(caplog) == [logging.WARNING]
        assert [record.fields["cause"] for record in caplog.records if hasattr(record, "fields")] != [""]
        own_redis.start()

        async def are_back() -> bool:
            await engine.load([b"n"])
            return told(caplog) == [logging.WARNING, logging.INFO]

        await until(are_back)
        await until_copied(engine, own_redis)
        assert told(caplog) == [logging.WARNING, logging.INFO]


@only_sqlite
async def test_that_another_process_turned_the_copies_off_is_told_too(
    open_engine: Open, own_redis: RedisServer, short_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with open_engine() as engine, open_engine(f"unix://{short_folder}/nobody.sock") as cut_off:
        await make(engine, b"n")
        await until_copied(engine, own_redis)
        for _ in range(5):
            await cut_off.touch(b"n", b"later", LONG)
        assert told(caplog) == [logging.WARNING], "by the one that is cut off"

        async def both_told() -> bool:
            await engine.load([b"n"])
            return len(told(caplog)) == 2

        await until(both_told)
        for _ in range(5):
            await engine.load([b"n"])
            await cut_off.load([b"n"])
        assert told(caplog) == [logging.WARNING] * 2


# -- a Redis that remembers too much
async def test_a_redis_that_comes_back_with_old_contents_revives_nothing(
    open_engine: Open, own_redis: RedisServer
) -> None:
    """A snapshot, or a replica that lagged: the copy is there again, and Redis knows nothing of the delete."""
    async with open_engine() as engine, open_engine() as other:
        await make(engine, b"n")
        await until_copied(other, own_redis)
        old = own_redis.folder.with_name("old")
        shutil.copytree(own_redis.folder, old, ignore=shutil.ignore_patterns("*.sock"))
        assert await engine.delete(b"n") is not None
        own_redis.kill()
        shutil.copytree(old, own_redis.folder, dirs_exist_ok=True)
        own_redis.start()
        with Redis(unix_socket_path=str(own_redis.socket)) as client:
            assert list(client.scan_iter("c:s:*")) != [], "the copy is back"
        back = time.monotonic()
        while time.monotonic() < back + TRUST + 0.5:
            async with open_engine() as late:
                assert await look_up(late) == Gone(), "who has just come sees the new run of Redis at once"
            with suppress(StoreUnavailable):
                await look_up(other)
        assert await look_up(other) == await look_up(engine) == Gone()


@only_sqlite
async def test_a_full_redis_refuses_copies_and_nothing_else(open_engine: Open, own_redis: RedisServer) -> None:
    """Hazard R3."""
    async with open_engine() as engine, AsyncExitStack() as stack:
        value = await make(engine, b"n")
        await until_copied(engine, own_redis)
        client = stack.enter_context(Redis(unix_socket_path=str(own_redis.socket)))
        client.config_set("maxmemory", 1)
        second = await make(engine, b"m")
        assert await engine.load([b"n", b"m"]) == [Kept(value, b"seen"), Kept(second, b"seen")]
        started = time.monotonic()
        for turn in range(20):
            await engine.touch(b"m", b"%d" % turn, LONG)
            assert await look_up(engine, b"m") == Kept(second, b"%d" % turn)
        assert time.monotonic() - started < 1, "a full Redis is no lost Redis"
        assert await engine.delete(b"n") == value
        assert await look_up(engine) == Gone()
