"""Sessions by owner in SQL, beside the sessions: who is alive is one join away.

A user's sign-ins wait for each other: they lock the rows of ``session_lock`` that stand for the owners, in one order, so
that counting and noting are one step also where a count locks nothing. SQLite locks the whole database anyway.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any
from zlib import crc32

from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.engine import Entry
from gateway.store.sql import Database
from gateway.store.sql_tables import DIRECTORY, LOCK, LOCK_SLOTS, SESSION

_CHUNK = 500


class SqlDirectory:
    """A :class:`gateway.store.engine.SessionDirectory`. ``clock`` gives epoch seconds."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    async def add(
        self, owners: Sequence[bytes], name: bytes, ttl: float, *, limit: int | None = None, evict: bool = False
    ) -> list[bytes] | None:
        """One transaction. When its answer is lost it may have taken sessions out without telling anybody."""

        async def add(connection: AsyncConnection) -> list[bytes] | None:
            await _lock(connection, owners)
            now = self._clock()
            living, dead = _parted(await _noted(connection, owners), now)
            known = [row for row in living if row.session_key == name.decode()]
            if known:
                await _take_out(connection, [*dead, *known[1:]])  # (owner, session_key) is unique
                noted = {"owner": owners[0].decode(), "expire_date": now + ttl}
                await connection.execute(update(DIRECTORY).where(DIRECTORY.c.id == known[0].id).values(**noted))
                return []
            sessions = [row for row in living if row.seen != b""]  # and not pointers
            over = 0 if limit is None else max(len(sessions) + 1 - limit, 0)
            if over and not evict:
                return None
            await _take_out(connection, [*dead, *sessions[:over]])
            row = {"owner": owners[0].decode(), "session_key": name.decode(), "noted": now, "expire_date": now + ttl}
            await connection.execute(insert(DIRECTORY).values(**row))
            return [row.session_key.encode() for row in sessions[:over]]

        return await self._database.transact(add)

    async def remove(self, owners: Sequence[bytes], name: bytes) -> None:
        """Under every owner."""
        noted = DIRECTORY.c.session_key == name.decode()

        async def remove(connection: AsyncConnection) -> None:
            await connection.execute(delete(DIRECTORY).where(noted, _owned_by(owners)))

        await self._database.write(remove)

    async def entries(self, owners: Sequence[bytes]) -> list[Entry]:
        """One query, and a second when somebody is dead."""
        rows = await self._database.read(lambda connection: _noted(connection, owners))
        living, dead = _parted(rows, self._clock())
        if dead:
            await self._database.write(lambda connection: _take_out(connection, dead))
        return [Entry(row.session_key.encode(), row.seen) for row in living]

    async def everything(self) -> AsyncIterator[Entry]:
        """From the sessions' own table: also those before sign-in, whom nobody owns."""
        columns = select(SESSION.c.session_key, SESSION.c.seen).order_by(SESSION.c.session_key).limit(_CHUNK)
        last = ""
        while True:
            page = columns.where(SESSION.c.session_key > last, *_is_alive(self._clock()))
            rows = await self._database.read(partial(_all, query=page))
            for row in rows:
                yield Entry(row.session_key.encode(), row.seen)
            if len(rows) < _CHUNK:
                return
            last = rows[-1].session_key


def _is_alive(now: float) -> tuple[Any, ...]:
    return SESSION.c.expire_date > now, SESSION.c.seen.is_not(None)


def _owned_by(owners: Sequence[bytes]) -> Any:
    return DIRECTORY.c.owner.in_([owner.decode() for owner in owners])


async def _all(connection: AsyncConnection, query: Select[Any]) -> list[Any]:
    return list((await connection.execute(query)).all())


async def _lock(connection: AsyncConnection, owners: Sequence[bytes]) -> None:
    slots = sorted({crc32(owner) % LOCK_SLOTS for owner in owners})
    await connection.execute(select(LOCK.c.slot).where(LOCK.c.slot.in_(slots)).order_by(LOCK.c.slot).with_for_update())


async def _noted(connection: AsyncConnection, owners: Sequence[bytes]) -> Sequence[Any]:
    """The owner's entries, oldest first; ``end``: of the session, None when there is none any more."""
    entries = DIRECTORY.outerjoin(SESSION, DIRECTORY.c.session_key == SESSION.c.session_key)
    columns = (DIRECTORY.c.id, DIRECTORY.c.session_key, DIRECTORY.c.expire_date, SESSION.c.expire_date.label("end"))
    query = select(*columns, SESSION.c.seen).select_from(entries).where(_owned_by(owners))
    return await _all(connection, query.order_by(DIRECTORY.c.noted, DIRECTORY.c.id))


def _parted(rows: Sequence[Any], now: float) -> tuple[list[Any], list[Any]]:
    """The living and the dead; of a session noted under two owners the second entry counts as dead. Where what is seen is
    gone the session was shortened, or is no more.
    """
    living: dict[str, Any] = {}
    dead = []
    for row in rows:
        if row.seen is None or min(row.end, row.expire_date) <= now or row.session_key in living:
            dead.append(row)
        else:
            living[row.session_key] = row
    return list(living.values()), dead


async def _take_out(connection: AsyncConnection, rows: Sequence[Any]) -> None:
    if rows:
        await connection.execute(delete(DIRECTORY).where(DIRECTORY.c.id.in_([row.id for row in rows])))
