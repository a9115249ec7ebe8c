"""The connection to an SQL database: one budget for each operation, and its errors translated at this edge.

Every connection is in autocommit mode, so that one statement is one round trip; a transaction is begun and ended by hand.
An operation runs in a task of its own: a request that is cancelled leaves it alone, and it ends in order within its
budget. What ran out of time, or broke off inside a transaction, takes its connection with it: nobody is ever handed a
connection with half an answer in it (compare hazard R2).

Every error is :class:`~gateway.errors.StoreUnavailable`; none of them says anything about a session (R6).
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Any, TypeVar

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from gateway.errors import StoreUnavailable
from gateway.store.sql_url import existing_file, read_url

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]
"""Runs statements on the connection it is given, and nothing else on it. It may be run twice."""
_ATTEMPTS = 5
_GRACE = 0.1  # seconds for an operation to end by itself at the end of its budget
_IDLE_SECONDS = 1800  # younger than the 8 hours of MySQL's wait_timeout, and than what most firewalls forget
_ADVISORY = 0x6761746577617931
_BEGIN = {
    "sqlite": "BEGIN IMMEDIATE",  # a transaction that reads first and writes then can fail at the first write otherwise
    "postgresql": "BEGIN ISOLATION LEVEL READ COMMITTED",
    "mysql": "START TRANSACTION",
}
_ONE_AT_A_TIME = {
    "sqlite": "SELECT 1",  # BEGIN IMMEDIATE is enough
    "postgresql": f"SELECT pg_advisory_xact_lock({_ADVISORY})",
    "mysql": "SELECT GET_LOCK('gateway_tables', 10)",  # until the connection is closed: tables end MySQL's transactions
}
_AGAIN = {
    "sqlite": frozenset({5}),  # SQLITE_BUSY
    "postgresql": frozenset({"40001", "40P01"}),  # serialization_failure, deadlock_detected
    "mysql": frozenset({1020, 1205, 1213}),  # changed since last read, lock wait timeout, deadlock
}


class Database:
    """A pool of connections, used only through :meth:`read`, :meth:`write` and :meth:`transact`.

    ``timeout``: seconds for one operation in all, waiting for a connection and repetitions included. Operations are
    repeated when the connection was dead already (a restart leaves a pool full of those, R5) or the database asks for it
    (deadlocks); never when a COMMIT was sent and its answer lost.

    ``create`` makes what is missing of the tables, at first use. Without it they are somebody else's: nothing is made, not
    even SQLite's file.
    """

    def __init__(
        self, url: str, *, timeout: float, pool_size: int, create: Callable[[Connection], None] | None = None
    ) -> None:
        self._url, arguments = read_url(url, timeout)
        self.kind = self._url.get_backend_name()
        self._create = create
        if create is None and self.kind == "sqlite":
            self._url = existing_file(self._url)
        self._timeout = timeout
        self._engine = create_async_engine(
            self._url,
            connect_args=arguments,
            isolation_level="AUTOCOMMIT",
            skip_autocommit_rollback=True,
            pool_reset_on_return=None,  # nothing is open when a connection goes back: see _transaction
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=timeout,
            pool_recycle=_IDLE_SECONDS,
            pool_use_lifo=True,
            hide_parameters=True,
        )
        # SQLite has one writer at a time: in this process they wait in line instead of asking again and again.
        self._line: AbstractAsyncContextManager[Any] = asyncio.Lock() if self.kind == "sqlite" else nullcontext()
        self._tables = asyncio.Lock()
        self._has_tables = False
        self._tasks: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"Database({self.kind}, {self._url.host or ''}/{self._url.database})"

    async def read(self, work: Work[T]) -> T:
        """One statement that changes nothing.

        :raises StoreUnavailable: as all three, within ``timeout`` seconds.
        """
        return await self._run(lambda: self._plain(work))

    async def write(self, work: Work[T]) -> T:
        """One statement after the other, each for itself."""
        return await self._run(lambda: self._written(self._plain, work))

    async def transact(self, work: Work[T]) -> T:
        """All of it or nothing."""
        return await self._run(lambda: self._written(self._transaction, work))

    async def _run(self, attempt: Callable[[], Awaitable[T]]) -> T:
        task = asyncio.create_task(self._attempts(attempt))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait({task}, timeout=self._timeout + _GRACE)
        if not task.done() or task.cancelled():
            raise StoreUnavailable(f"{self.kind}: no answer within {self._timeout:g} s")
        return task.result()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited may have gone away

    async def _attempts(self, attempt: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self._timeout):
                for turn in range(1, _ATTEMPTS):
                    try:
                        return await attempt()
                    except DBAPIError as error:
                        if not self._may_be_repeated(error):
                            raise
                    await asyncio.sleep(random.random() * 0.01 * turn)  # noqa: S311  apart, not secret
                return await attempt()
        except TimeoutError as error:
            raise StoreUnavailable(f"{self.kind}: no answer within {self._timeout:g} s") from error
        except (SQLAlchemyError, OSError) as error:
            self._has_tables = False  # it may be another database by then
            raise StoreUnavailable(self._words(error)) from error

    def _may_be_repeated(self, error: DBAPIError) -> bool:
        cause: Any = error.orig
        if self.kind == "sqlite":
            code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        else:
            code = getattr(cause, "sqlstate", None) or next(iter(getattr(cause, "args", ())), None)
        return error.connection_invalidated or code in _AGAIN[self.kind]

    def _words(self, error: Exception) -> str:
        cause = getattr(error, "orig", None) or error
        text = f"{self.kind}: {type(cause).__name__}: {cause}".partition("\n")[0]
        password = str(self._url.password or "")
        return text.replace(password, "***") if password else text

    async def _plain(self, work: Work[T]) -> T:
        await self._require_tables()
        async with self._engine.connect() as connection:
            return await work(connection)

    async def _written(self, run: Callable[[Work[T]], Awaitable[T]], work: Work[T]) -> T:
        async with self._line:
            return await run(work)

    async def _transaction(self, work: Work[T]) -> T:
        await self._require_tables()
        async with self._engine.connect() as connection:
            await connection.exec_driver_sql(_BEGIN[self.kind])
            try:
                result = await work(connection)
            except BaseException:
                # A ROLLBACK could fail, or have to wait: without its connection the transaction is undone, too.
                await connection.invalidate()
                raise
            await self._commit(connection)
            return result

    async def _commit(self, connection: AsyncConnection) -> None:
        try:
            await connection.exec_driver_sql("COMMIT")
        except DBAPIError as error:
            was_lost = error.connection_invalidated
            await connection.invalidate()
            if was_lost:  # it may have been carried out: not to be repeated
                raise StoreUnavailable(self._words(error)) from error
            raise
        except BaseException:
            await connection.invalidate()
            raise

    # -- tables
    async def _require_tables(self) -> None:
        """Creates what is missing; several processes may start at once."""
        if self._has_tables or self._create is None:
            return
        async with self._tables:
            if self._has_tables:
                return
            if self.kind == "sqlite":
                await asyncio.to_thread(_private_file, str(self._url.database))
            async with self._engine.connect() as connection:
                await self._create_tables(connection, self._create)
            self._has_tables = True

    async def _create_tables(self, connection: AsyncConnection, create: Callable[[Connection], None]) -> None:
        try:
            if self.kind == "sqlite":
                await connection.exec_driver_sql("PRAGMA journal_mode=WAL")  # readers and a writer at once; it stays so
            await connection.exec_driver_sql(_BEGIN[self.kind])
            await connection.exec_driver_sql(_ONE_AT_A_TIME[self.kind])
            await connection.run_sync(create)
            await connection.exec_driver_sql("COMMIT")
        except BaseException:
            await connection.invalidate()
            raise
        if self.kind == "mysql":
            await connection.exec_driver_sql("DO RELEASE_LOCK('gateway_tables')")

    async def close(self) -> None:
        """Ends what is under way, and closes every connection."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._timeout)
        await self._engine.dispose()


def _private_file(path: str) -> None:
    """Sessions are nobody else's business, sealed or not. SQLite gives its side files the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    with suppress(PermissionError):  # somebody else's file, and we are let in
        os.chmod(path, 0o600)
