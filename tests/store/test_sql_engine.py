"""The session engine on SQL, on real databases: what the contract suite cannot ask of every engine."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from gateway.errors import StoreUnavailable
from gateway.store.engine import Gone, Kept, Write, version_of
from gateway.store.sql_sessions import SqlSessionEngine
from gateway.store.sql_tables import METADATA
from gateway.store.sql_url import read_url
from tests.store.databases import KINDS, PASSWORD, Server, engine_at, mariadb_server, postgres_server, url_of
from tests.store.engines import fresh

LONG = 600.0


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_of(request.param, tmp_path)


@pytest.fixture
async def engine(url: str) -> AsyncIterator[SqlSessionEngine]:
    async with engine_at(url) as made:
        yield made


async def make(engine: SqlSessionEngine, name: bytes, ttl: float = LONG) -> bytes:
    value = fresh(b"value")
    assert await engine.create(name, value, b"seen", ttl)
    return value


# -- URLs
@pytest.mark.parametrize(
    "url",
    ["", "x", "mssql://u:secret@h/d", "postgresql+psycopg://u:secret@h/d", "mysql+pymysql://u:secret@h/d", "sqlite://",
     "sqlite:///:memory:", "postgresql://u:secret@h", "postgresql://u:secret@h:port/d", "mysql://u:secret@h:x:secret/d",
     "postgresql://u:secret@h/d?sslmod=require", "mysql://u:secret@h/d?ssl=maybe", "mysql://u:secret@h/d?ssl_ca=/nowhere/ca",
     "redis://u:secret@h/0", "sqlite:////f.db?mode=ro"],
)  # fmt: skip
def test_a_url_that_cannot_be_used_is_said_in_words_without_the_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"database|URL") as raised:
        SqlSessionEngine(url, 1)
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None or "secret" not in str(raised.value.__cause__)


@pytest.mark.parametrize(
    ("url", "kind"),
    [("sqlite:////folder/f.db", "sqlite"), ("postgresql://u:secret@h/d?sslmode=verify-full&sslrootcert=/ca", "postgresql"),
     ("postgres://u:secret@h:1/d", "postgresql"), ("postgresql+asyncpg://u:secret@h/d", "postgresql"),
     ("mysql://u:secret@h/d?ssl=true", "mysql"), ("mariadb://u:secret@h/d", "mysql")],
)  # fmt: skip
def test_the_forms_an_operator_writes_are_understood_and_hide_the_password(url: str, kind: str) -> None:
    engine = SqlSessionEngine(url, 1)
    assert engine.database.kind == kind
    assert "secret" not in repr(engine)


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
@pytest.mark.parametrize("change", [(PASSWORD, "secret-and-wrong"), ("gateway:", "nobody-known:")])
async def test_a_wrong_login_is_unavailable_and_the_password_is_not_told(
    kind: str, change: tuple[str, str], tmp_path: Path
) -> None:
    engine = SqlSessionEngine(url_of(kind, tmp_path).replace(*change), 1)
    with pytest.raises(StoreUnavailable) as raised:
        await engine.load([b"n"])
    assert raised.value.cause
    assert PASSWORD not in raised.value.cause
    assert change[1] not in raised.value.cause or change[1] == "nobody-known:"
    await engine.close()


async def test_a_server_that_speaks_no_tls_is_unavailable_to_one_who_asks_for_it(tmp_path: Path) -> None:
    engine = SqlSessionEngine(f"{url_of('postgresql', tmp_path)}&sslmode=verify-full", 1)
    with pytest.raises(StoreUnavailable):
        await engine.ping()
    await engine.close()


@pytest.mark.parametrize(
    "url",
    ["sqlite:////nowhere/at/all.db", "postgresql://u:secret@127.0.0.1:1/d", "mysql://u:secret@127.0.0.1:1/d",
     "postgresql://u:secret@nowhere.invalid/d"],
)  # fmt: skip
async def test_a_database_that_is_not_there_is_unavailable_and_nothing_else(url: str) -> None:
    engine = SqlSessionEngine(url, 1)
    started = time.monotonic()
    assert engine.directory is not None
    calls = [
        *(
            engine.load([b"n"]),
            engine.create(b"n", b"v", b"", 1),
            engine.update(b"n", b"v", b"", 1, b"x"),
            engine.ping(),
        ),
        *(engine.touch(b"n", b"", 1), engine.shorten(b"n", 1), engine.delete(b"n"), engine.bury(b"n", "x", 1)),
        *(engine.announce(["a"]), engine.announced(), engine.withdraw("a"), engine.clear_expired()),
        *(
            engine.directory.add([b"u"], b"n", 1),
            engine.directory.entries([b"u"]),
            engine.directory.remove([b"u"], b"n"),
        ),
    ]
    for failure in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(failure, StoreUnavailable), failure
        assert failure.cause
        assert "secret" not in failure.cause
    assert time.monotonic() - started < 4
    await engine.close()


# -- what is particular to these databases
async def test_an_update_whose_answer_was_lost_may_be_repeated(engine: SqlSessionEngine) -> None:
    first, second = await make(engine, b"n"), fresh()
    for _ in range(2):
        assert await engine.update(b"n", second, b"s", LONG, version_of(first)) is Write.DONE
    assert await engine.update(b"n", fresh(), b"s", LONG, version_of(first)) is Write.CHANGED


async def test_the_broom_takes_more_than_one_chunk_and_the_notes_too(url: str) -> None:
    now = 1_000_000.0
    engine = SqlSessionEngine(url, 10, timeout=20, clock=lambda: now)
    async with engine_at(url):
        for start in range(0, 1100, 100):
            await asyncio.gather(*(make(engine, b"%d" % number, 5) for number in range(start, start + 100)))
        await make(engine, b"living")
        await engine.bury(b"gone", "why", 5)
        await engine.bury(b"later", "why", LONG)
        now += 14.9
        assert await engine.clear_expired() == 0
        assert isinstance((await engine.load([b"7"]))[0], Kept)
        now += 0.2
        assert await engine.load([b"7"]) == [Gone()]
        assert await engine.clear_expired() == 1100
        assert [type(found) for found in await engine.load([b"7", b"living"])] == [Gone, Kept]
        assert await engine.load([b"gone", b"later"]) == [Gone(), Gone("why")]
        now -= 15.1
        assert await engine.load([b"7", b"gone"]) == [Gone(), Gone()], "swept, not only hidden"
        await engine.close()


@pytest.mark.parametrize("evict", [True, False])
async def test_parallel_sign_ins_of_processes_that_know_other_keys_keep_the_limit(url: str, evict: bool) -> None:
    """Each process writes under the owner of its own newest key and reads all: they have to meet nevertheless."""
    async with engine_at(url) as first, engine_at(url) as second:
        assert first.directory is not None
        assert second.directory is not None
        owners = [[b"new", b"old"], [b"old", b"new"]]
        names = [b"%02d" % number for number in range(20)]
        await asyncio.gather(*(make(first, name) for name in names))
        answers = await asyncio.gather(
            *(
                (first, second)[turn % 2].directory.add(owners[turn % 2], name, LONG, limit=4, evict=evict)  # type: ignore[union-attr]
                for turn, name in enumerate(names)
            )
        )
        listed = [entry.name for entry in await first.directory.entries(owners[1])]
        assert len(listed) == 4
        if evict:
            assert sorted(listed + [name for answer in answers if answer for name in answer]) == names
        else:
            assert sorted(n for n, answer in zip(names, answers, strict=True) if answer == []) == sorted(listed)


async def test_processes_that_start_at_once_make_the_tables_once(url: str) -> None:
    async with engine_at(url) as engine:
        await engine.database.transact(lambda connection: connection.run_sync(METADATA.drop_all))
    engines = [SqlSessionEngine(url, 1, timeout=20) for _ in range(6)]
    await asyncio.gather(*(make(engine, b"%d" % number) for number, engine in enumerate(engines)))
    for engine in engines:
        assert all(isinstance(found, Kept) for found in await engine.load([b"%d" % number for number in range(6)]))
        await engine.close()


async def test_tables_that_were_dropped_are_made_again(engine: SqlSessionEngine) -> None:
    await make(engine, b"n")
    await engine.database.transact(lambda connection: connection.run_sync(METADATA.drop_all))
    with pytest.raises(StoreUnavailable):
        await engine.load([b"n"])
    assert await engine.load([b"n"]) == [Gone()]
    await make(engine, b"n")


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
async def test_whoever_waits_for_a_lock_too_long_is_told_and_nothing_happens_later(kind: str, tmp_path: Path) -> None:
    async with engine_at(url_of(kind, tmp_path)) as holder, engine_at(url_of(kind, tmp_path), timeout=0.5) as engine:
        value = await make(holder, b"n")
        has_it, release = asyncio.Event(), asyncio.Event()

        async def hold(_: Any) -> None:
            has_it.set()
            await release.wait()

        held = asyncio.ensure_future(holder.touch(b"n", b"held", LONG, within=hold))
        await has_it.wait()
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await engine.update(b"n", fresh(), b"late", LONG, version_of(value))
        assert time.monotonic() - started < 1.5
        assert await engine.load([b"n"]) == [Kept(value, b"seen")], "readers do not wait"
        await asyncio.sleep(started + 2 - time.monotonic())  # MySQL counts whole seconds
        release.set()
        await held
        assert await engine.delete(b"n") == value


async def test_cancelled_writes_leave_every_connection_fit_for_the_next(engine: SqlSessionEngine) -> None:
    assert engine.directory is not None
    values = {b"%d" % number: await make(engine, b"%d" % number) for number in range(5)}
    for turn in range(40):
        calls = [
            asyncio.ensure_future(call)
            for call in (
                *(engine.delete(b"x%d" % turn), engine.directory.add([b"u"], b"%d" % (turn % 5), LONG, limit=3)),
                *(engine.locked(b"1"), engine.load(list(values)), engine.touch(b"2", b"seen", LONG)),
            )
        ]
        await asyncio.sleep(turn / 10_000)
        for call in calls:
            call.cancel()
        found = await engine.load(list(values))
        assert found == [Kept(value, b"seen") for value in values.values()]
        await asyncio.gather(*calls, return_exceptions=True)


async def test_a_change_that_breaks_off_before_its_end_is_undone_and_nobody_inherits_it(
    engine: SqlSessionEngine,
) -> None:
    value = await make(engine, b"n")

    async def break_off(_: Any) -> None:
        raise LookupError

    for change in (engine.touch(b"n", b"half", LONG, within=break_off), engine.delete(b"n", within=break_off)):
        with pytest.raises(LookupError):
            await change
        assert await engine.load([b"n"]) == [Kept(value, b"seen")]
    await engine.touch(b"n", b"whole", LONG)
    assert await engine.load([b"n"]) == [Kept(value, b"whole")]


# -- databases that stop
@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The run's; however the test ends, it is up again."""
    made: Server = {"postgresql": postgres_server, "mariadb": mariadb_server}[request.param]()
    yield made
    made.thaw() if made.process and made.process.poll() is None else made.start()


async def until_it_works(engine: SqlSessionEngine, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await engine.ping()
        except StoreUnavailable:
            assert time.monotonic() < deadline


async def test_a_frozen_database_is_unavailable_in_time_and_works_again_when_thawed(server: Server) -> None:
    async with engine_at(server.url, timeout=0.5) as engine:
        value = await make(engine, b"n")
        await asyncio.gather(*(engine.load([b"n"]) for _ in range(20)))
        server.freeze()
        started = time.monotonic()
        calls = [*(engine.load([b"n"]) for _ in range(20)), engine.delete(b"n"), engine.touch(b"n", b"late", LONG)]
        failures = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - started < 1.5
        assert all(isinstance(failure, StoreUnavailable) for failure in failures)
        server.thaw()
        await until_it_works(engine)
        (found,) = await engine.load([b"n"])
        assert found == Gone() or (isinstance(found, Kept) and found.value == value), "done or not, but not half"
        await make(engine, b"m")


async def test_a_killed_database_is_unavailable_and_has_every_answered_write_when_it_is_back(server: Server) -> None:
    async with engine_at(server.url, timeout=2.0) as engine:
        answered: dict[bytes, bytes] = {}

        async def write(number: int) -> None:
            for turn in range(100_000):
                name = b"%d-%d" % (number, turn)
                answered[name] = await make(engine, name)

        writers = [asyncio.ensure_future(write(number)) for number in range(4)]
        while len(answered) < 100:
            await asyncio.sleep(0.01)
        server.kill()
        for failure in await asyncio.gather(*writers, return_exceptions=True):
            assert isinstance(failure, StoreUnavailable)
        with pytest.raises(StoreUnavailable):
            await engine.ping()
        server.start()
        await until_it_works(engine)
        assert await engine.load(list(answered)) == [Kept(value, b"seen") for value in answered.values()]


async def test_a_restart_between_two_requests_is_not_noticed(server: Server) -> None:
    """Hazard R5: every pooled connection is dead."""
    async with engine_at(server.url, timeout=5.0) as engine:
        value = await make(engine, b"n")
        await asyncio.gather(*(engine.load([b"n"]) for _ in range(20)))
        server.kill()
        server.start()
        second = fresh()
        assert await engine.update(b"n", second, b"later", LONG, version_of(value)) is Write.DONE
        assert engine.directory is not None
        assert await engine.directory.add([b"u"], b"n", LONG, limit=1) == []
        answers = await asyncio.gather(*(engine.load([b"n"]) for _ in range(20)))
        assert answers == [[Kept(second, b"later")]] * 20


# -- SQLite
async def test_the_files_are_the_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "sessions.db").touch(mode=0o644)
    async with engine_at(url_of("sqlite", tmp_path)) as engine:
        await make(engine, b"n")
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("sessions.db", "sessions.db-wal", "sessions.db-shm"), 0o600)


def test_a_closed_connection_holds_no_lock_although_somebody_still_has_its_cursors(tmp_path: Path) -> None:
    """An operation that was cancelled leaves them in tracebacks: a close that waited for those blocked every writer."""
    url, arguments = read_url(url_of("sqlite", tmp_path), 0.0)
    closed = sqlite3.connect(str(url.database), isolation_level=None, **arguments)
    unread = closed.cursor()
    unread.execute("BEGIN IMMEDIATE")
    unread.execute("SELECT 1 UNION SELECT 2")
    closed.close()
    other = sqlite3.connect(str(url.database), isolation_level=None, **arguments)
    other.execute("BEGIN IMMEDIATE")
    other.close()
    with pytest.raises(sqlite3.ProgrammingError):
        unread.fetchone()


async def test_a_locked_file_is_unavailable_in_time_and_free_afterwards(tmp_path: Path) -> None:
    async with engine_at(url_of("sqlite", tmp_path), timeout=0.5) as engine:
        value = await make(engine, b"n")
        other = sqlite3.connect(tmp_path / "sessions.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        failures = await asyncio.gather(*(engine.touch(b"n", b"x", LONG) for _ in range(10)), return_exceptions=True)
        assert all(isinstance(failure, StoreUnavailable) for failure in failures)
        assert time.monotonic() - started < 1.5
        assert isinstance((await engine.load([b"n"]))[0], Kept), "readers do not wait"
        other.execute("ROLLBACK")
        other.close()
        await until_it_works(engine)
        assert await engine.delete(b"n") == value


async def test_a_full_disk_is_unavailable_and_sessions_can_still_be_read_and_ended(tmp_path: Path) -> None:
    """Hazard R9."""

    def limit(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA max_page_count=60")
        cursor.close()

    event.listen(Pool, "connect", limit)
    try:
        async with engine_at(url_of("sqlite", tmp_path)) as engine:
            written: dict[bytes, bytes] = {}

            async def fill() -> None:
                for number in range(1000):
                    value = fresh(os.urandom(2000))
                    assert await engine.create(b"%d" % number, value, b"seen", LONG)
                    written[b"%d" % number] = value

            with pytest.raises(StoreUnavailable) as raised:
                await fill()
            assert "full" in raised.value.cause
            assert await engine.load(list(written)) == [Kept(value, b"seen") for value in written.values()]
            for name, value in written.items():
                assert await engine.delete(name) == value
            await make(engine, b"again")
    finally:
        event.remove(Pool, "connect", limit)


_COUNTER = """
import asyncio, sys
from gateway.store.engine import Write, version_of
from gateway.store.sql_sessions import SqlSessionEngine
from tests.store.engines import fresh, number_in

async def main():
    engine = SqlSessionEngine(sys.argv[1], 1, timeout=20)
    await engine.create(b"n", fresh(b"0"), b"", 600)
    done = 0
    while done < 25:
        found, = await engine.load([b"n"])
        value = fresh(b"%d" % (number_in(found.value) + 1))
        done += await engine.update(b"n", value, b"", 600, version_of(found.value)) is Write.DONE
    await engine.close()

asyncio.run(main())
"""


async def test_several_processes_count_on_one_file_and_none_loses_a_step(tmp_path: Path) -> None:
    url = url_of("sqlite", tmp_path)
    root = Path(__file__).resolve().parent.parent.parent
    command = [sys.executable, "-c", _COUNTER, url]
    processes = [subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        _, errors = await asyncio.to_thread(process.communicate, timeout=60)
        assert process.returncode == 0, errors.decode()
    async with AsyncExitStack() as stack:
        engine = SqlSessionEngine(url, 1)
        stack.push_async_callback(engine.close)
        (found,) = await engine.load([b"n"])
        assert isinstance(found, Kept)
        assert found.value[17:] == b"75"
