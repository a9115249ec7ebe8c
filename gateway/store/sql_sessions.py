"""The session engine on SQL: SQLite, PostgreSQL, MySQL and MariaDB.

Every request asks the database; there is no copy anywhere, so a revocation holds at once. What is over and lingers no more
is not there, swept or not: every statement says so. The clocks of the machines must agree to a second or two.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Table, delete, insert, literal, or_, select, union_all, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.engine import Capabilities, Gone, Kept, Write, version_of
from gateway.store.sql import Database
from gateway.store.sql_directory import SqlDirectory
from gateway.store.sql_tables import DIRECTORY, KEY_ID, NOTE, SESSION, create_missing

T = TypeVar("T")
Within = Callable[[AsyncConnection], Awaitable[None]]
"""What else is to be done before the change is committed, on the same connection."""

_CHUNK = 500
_CAPABILITIES = Capabilities(
    directory=True,
    revocation_within_a_second=True,
    merge=True,
    survives_loss_of_redis=True,
    several_processes=True,
)


@dataclass(frozen=True, slots=True)
class Row:
    """A value as it is kept, and until when (epoch seconds)."""

    value: bytes
    seen: bytes | None
    kept_until: float


class SqlSessionEngine:
    """A :class:`gateway.store.engine.SessionEngine`.

    ``url`` as an operator writes it (:mod:`gateway.store.sql_url`); ``linger`` and ``timeout`` (one operation in all) in
    seconds; ``pool_size`` connections at most, in each process; ``clock`` gives epoch seconds. Tables are made at first
    use. The methods that change a session take ``within``, which is how :mod:`gateway.store.cached_sql` keeps its copies.

    :raises ValueError: the URL is none that we know, in words for the operator.
    """

    capabilities = _CAPABILITIES

    def __init__(
        self,
        url: str,
        linger: float,
        *,
        timeout: float = 2.0,
        pool_size: int = 8,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.database = Database(url, timeout=timeout, pool_size=pool_size, create=create_missing)
        self.clock = clock
        self._linger = linger
        self.directory = SqlDirectory(self.database, clock)

    def __repr__(self) -> str:
        return f"SqlSessionEngine({self.database!r})"

    async def load(self, names: Sequence[bytes]) -> list[Kept | Gone]:
        """One query, notes included."""
        keys = {name.decode() for name in names}
        if not keys:
            return []
        now = self.clock()
        kept = select(literal(1).label("kind"), SESSION.c.session_key, SESSION.c.session_data, SESSION.c.seen)
        notes = select(literal(0), NOTE.c.session_key, NOTE.c.note, NOTE.c.note)
        query = union_all(
            kept.where(SESSION.c.session_key.in_(keys), SESSION.c.kept_until > now),
            notes.where(NOTE.c.session_key.in_(keys), NOTE.c.expire_date > now),
        )

        async def read(connection: AsyncConnection) -> Sequence[Any]:
            return (await connection.execute(query)).all()

        rows = await self.database.read(read)
        found: dict[str, Kept | Gone] = {key: Gone(note.decode()) for kind, key, note, _ in rows if not kind}
        found |= {key: Kept(value, seen) for kind, key, value, seen in rows if kind}
        return [found.get(name.decode(), Gone()) for name in names]

    async def create(self, name: bytes, value: bytes, seen: bytes, ttl: float) -> bool:
        """Repeated after a lost answer it says False: the caller takes another name."""
        row = {"session_key": name.decode(), **self._columns(seen, ttl), **_of(value)}

        async def create(connection: AsyncConnection) -> bool:
            if await _insert(connection, SESSION, row):
                return True
            over = delete(SESSION).where(SESSION.c.session_key == name.decode(), SESSION.c.kept_until <= self.clock())
            return (await connection.execute(over)).rowcount > 0 and await _insert(connection, SESSION, row)

        return await self.database.write(create)

    def _columns(self, seen: bytes, ttl: float) -> dict[str, Any]:
        end = self.clock() + ttl
        return {"seen": seen, "expire_date": end, "kept_until": end + self._linger}

    async def _change(self, work: Callable[[AsyncConnection], Awaitable[T]], within: Within | None) -> T:
        if within is None:
            return await self.database.write(work)

        async def both(connection: AsyncConnection) -> T:
            result = await work(connection)
            await within(connection)
            return result

        return await self.database.transact(both)

    async def update(
        self, name: bytes, value: bytes, seen: bytes, ttl: float, expected: bytes, *, within: Within | None = None
    ) -> Write:
        """Repeated after a lost answer it finds its own version, and says DONE."""
        there = SESSION.c.session_key == name.decode(), SESSION.c.kept_until > self.clock()
        change = update(SESSION).where(*there, SESSION.c.version == expected)
        change = change.values(**self._columns(seen, ttl), **_of(value))

        async def compare_and_set(connection: AsyncConnection) -> Write:
            if (await connection.execute(change)).rowcount:
                return Write.DONE
            version = await connection.scalar(select(SESSION.c.version).where(*there))
            if version is None:
                return Write.GONE
            return Write.DONE if version == version_of(value) else Write.CHANGED

        return await self._change(compare_and_set, within)

    async def touch(self, name: bytes, seen: bytes, ttl: float, *, within: Within | None = None) -> None:
        """Leaves the value and its version alone; a pointer stays one."""
        stored = SESSION.c.seen
        matches = or_(stored.is_(None), stored != b"") if seen else stored == b""
        await self._move(name, self._columns(seen, ttl), within, matches)

    async def shorten(self, name: bytes, ttl: float, *, within: Within | None = None) -> None:
        """Both ends are the same then, and nothing is seen any more."""
        end = self.clock() + ttl
        await self._move(name, {"seen": None, "expire_date": end, "kept_until": end}, within)

    async def _move(
        self, name: bytes, columns: dict[str, Any], within: Within | None, *conditions: ColumnElement[bool]
    ) -> None:
        there = SESSION.c.session_key == name.decode(), SESSION.c.kept_until > self.clock(), *conditions
        change = update(SESSION).where(*there).values(**columns)

        async def move(connection: AsyncConnection) -> None:
            await connection.execute(change)

        await self._change(move, within)

    async def delete(self, name: bytes, *, within: Within | None = None) -> bytes | None:
        """The row is locked, read and deleted: MySQL cannot return what it deletes."""
        row = SESSION.c.session_key == name.decode()

        async def take(connection: AsyncConnection) -> bytes | None:
            had = select(SESSION.c.session_data, SESSION.c.kept_until).where(row).with_for_update()
            found = (await connection.execute(had)).first()
            await connection.execute(delete(SESSION).where(row))
            if within:
                await within(connection)
            return found[0] if found and found[1] > self.clock() else None

        return await self.database.transact(take)

    async def locked(self, name: bytes) -> Row | None:
        """The row once nobody is changing it, read while nobody can."""
        columns = select(SESSION.c.session_data, SESSION.c.seen, SESSION.c.kept_until)
        query = columns.where(SESSION.c.session_key == name.decode(), SESSION.c.kept_until > self.clock())

        async def read(connection: AsyncConnection) -> Row | None:
            found = (await connection.execute(query.with_for_update(read=True))).first()
            return Row(*found) if found else None

        return await self.database.transact(read)

    async def bury(self, name: bytes, note: str, ttl: float) -> None:
        """A table of its own; of two at once, either stays."""
        row = {"note": note.encode(), "expire_date": self.clock() + ttl}

        async def bury(connection: AsyncConnection) -> None:
            change = update(NOTE).where(NOTE.c.session_key == name.decode()).values(**row)
            if not (await connection.execute(change)).rowcount:
                await _insert(connection, NOTE, {"session_key": name.decode(), **row})

        await self.database.write(bury)

    async def announce(self, key_ids: Sequence[str]) -> None:
        """Of what is there already, nothing is written."""
        wanted = frozenset(key_ids)

        async def announce(connection: AsyncConnection) -> None:
            for key_id in sorted(wanted - await _announced(connection)):
                await _insert(connection, KEY_ID, {"key_id": key_id})

        await self.database.write(announce)

    async def withdraw(self, key_id: str) -> None:
        """It may be gone already."""

        async def withdraw(connection: AsyncConnection) -> None:
            await connection.execute(delete(KEY_ID).where(KEY_ID.c.key_id == key_id))

        await self.database.write(withdraw)

    async def announced(self) -> frozenset[str]:
        """One query."""
        return await self.database.read(_announced)

    async def clear_expired(self) -> int:
        """In chunks, each with its own budget; only sessions count, not the notes and the directory's entries."""
        count = await self._sweep(SESSION, SESSION.c.session_key, SESSION.c.kept_until)
        await self._sweep(NOTE, NOTE.c.session_key, NOTE.c.expire_date)
        await self._sweep(DIRECTORY, DIRECTORY.c.id, DIRECTORY.c.expire_date)
        return count

    async def _sweep(self, table: Table, key: Any, end: Any) -> int:
        now, count, found = self.clock(), 0, _CHUNK

        async def sweep(connection: AsyncConnection) -> tuple[int, int]:
            keys = (await connection.scalars(select(key).where(end <= now).limit(_CHUNK))).all()
            gone = await connection.execute(delete(table).where(key.in_(keys), end <= now)) if keys else None
            return len(keys), gone.rowcount if gone else 0

        while found == _CHUNK:
            found, swept = await self.database.write(sweep)
            count += swept
        return count

    async def ping(self) -> None:
        """One query on a table of ours."""
        await self.announced()

    async def close(self) -> None:
        """Closes the connections."""
        await self.database.close()


def _of(value: bytes) -> dict[str, bytes]:
    return {"session_data": value, "version": version_of(value)}


async def _insert(connection: AsyncConnection, table: Table, row: dict[str, Any]) -> bool:
    """False: it is there already. Outside of a transaction only: PostgreSQL's are over with the first error."""
    try:
        await connection.execute(insert(table).values(**row))
    except IntegrityError:
        return False
    return True


async def _announced(connection: AsyncConnection) -> frozenset[str]:
    return frozenset(await connection.scalars(select(KEY_ID.c.key_id)))
