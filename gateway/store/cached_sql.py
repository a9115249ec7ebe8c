"""The session engine on SQL with copies in Redis: SQL is the truth, a read asks Redis first.

A copy is either what SQL holds, or nobody trusts it. What keeps it so, each with the race that it closes:

1. **A writer removes the copy inside its transaction**, after the row was changed and is locked, before the COMMIT. A kill
   at any point leaves either the old row or no copy. Only readers make copies.
2. **A reader makes a copy under a lease**: it puts a lease (its own, for a second, under the copy's name), *then* reads the
   row with a lock, *then* replaces the lease by the copy, if the lease is still there. If the row was read before a writer
   locked it, that writer removes the lease or the copy later; if after, the row read is the new one.
3. **Copies belong to a generation**, a number in the one row of ``session_copies``; it is part of their names. A process
   trusts copies only while it has read that row less than ``TRUST`` seconds ago. A writer reads the generation *after* it
   holds its row: a reader that knew a later one and had read the row before is thereby known to it, too. The writer of a
   change in a generation that is younger than ``SETTLED`` seconds answers only when it is that old, for until then
   somebody may still read copies of the one before.
4. **A writer that cannot reach Redis turns the copies off** in the same transaction as its change, with a new generation:
   no command that Redis carries out late, when it is thawed or the network heals, touches a name that is read again. It
   answers when everybody knows (see 3); while they are off, writers wait for nothing, and nobody makes copies. Whoever
   reaches Redis ``QUIET`` seconds later turns them on again: there are none of that generation yet, and those of older
   ones end by themselves. A writer that cannot reach Redis holds the row of ``session_copies`` against that until its
   COMMIT.
5. **A Redis that was started again may hold copies from long ago** (a snapshot, a replica that lagged): when the
   ``incarnation`` that it tells differs from the one in the row, the generation is a new one, within ``TRUST`` seconds.

So a change that was answered is seen by every read that begins later; for ``TRUST`` seconds after a Redis came back with
old contents, reads may see the old. Rows changed by hand are seen when the copies end, after ``_COPY_SECONDS``.

Without Redis everything works, at SQL's pace: after the first failure nobody here asks it again until a ``ping`` in the
background was answered. The log says once that the copies are off, and once that they are back. A directory, notes and key ids
are SQL's alone. The clocks of the machines must agree to a few seconds, as for all of SQL.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import StoreUnavailable
from gateway.store.engine import Capabilities, Gone, Kept, SessionEngine, Write, version_of
from gateway.store.sql_copies import Notices, Reach, make_lease, pack, unpack
from gateway.store.sql_generation import Generation, Generations, read_generation
from gateway.store.sql_sessions import SqlSessionEngine, Within

T = TypeVar("T")
_LEASE_SECONDS = 1.0
_COPY_SECONDS = 300.0
_FILLERS = 32
_FILL_PAUSE = 1.0
_CAPABILITIES = Capabilities(
    directory=True,
    revocation_within_a_second=True,
    merge=True,
    survives_loss_of_redis=True,
    several_processes=True,
)


class CachedSqlSessionEngine:
    """A :class:`gateway.store.engine.SessionEngine`.

    ``copies``: any engine, with no linger of its own; both engines are closed with this one. ``incarnation`` tells which
    run of Redis answers (its ``run_id``); without it a Redis that comes back with old contents goes unnoticed for
    ``_COPY_SECONDS``. ``budget``: seconds for one question to Redis.
    """

    capabilities = _CAPABILITIES

    def __init__(
        self,
        sql: SqlSessionEngine,
        copies: SessionEngine,
        *,
        incarnation: Callable[[], Awaitable[str]] | None = None,
        budget: float = 0.5,
    ) -> None:
        self._sql = sql
        self._copies = copies
        notices = Notices()
        self._reach = Reach(copies.ping, budget, notices)
        self._generations = Generations(sql.database, self._reach, copies.ping, incarnation, sql.clock, notices)
        self._fillers: dict[bytes, asyncio.Task[None]] = {}
        self._fill_after = 0.0
        self.directory = sql.directory

    def __repr__(self) -> str:
        return f"CachedSqlSessionEngine({self._sql!r}, {self._copies!r})"

    # -- reading
    async def load(self, names: Sequence[bytes]) -> list[Kept | Gone]:
        """One question to Redis; for what is not there, one to SQL."""
        if not names:
            return []
        generation = await self._generations.current()
        found = await self._copied(generation, names)
        missing = [name for name in dict.fromkeys(names) if name not in found]
        fresh = dict(zip(missing, await self._sql.load(missing), strict=True))
        for name in missing:
            if isinstance(fresh[name], Kept):
                self._fill(generation, name)
        return [found.get(name) or fresh[name] for name in names]

    async def _copied(self, generation: Generation, names: Sequence[bytes]) -> dict[bytes, Kept]:
        if not generation.trusted or not self._reach.is_up:
            return {}
        keys = [_key(generation, name) for name in names]
        try:
            answers = await self._reach.ask(lambda: self._copies.load(keys))
        except StoreUnavailable:
            return {}
        now = self._sql.clock()
        kept = {name: answer.value for name, answer in zip(names, answers, strict=True) if isinstance(answer, Kept)}
        copies = {name: unpack(value, now) for name, value in kept.items()}
        return {name: copy for name, copy in copies.items() if copy is not None}

    def _fill(self, generation: Generation, name: bytes) -> None:
        """In the background, and not at all when there is too much to do."""
        if not generation.trusted or not self._reach.is_up or time.monotonic() < self._fill_after:
            return
        if name not in self._fillers and len(self._fillers) < _FILLERS:
            task = asyncio.create_task(self._make_copy(name, _key(generation, name)))
            self._fillers[name] = task
            task.add_done_callback(lambda _: self._fillers.pop(name))

    async def _make_copy(self, name: bytes, key: bytes) -> None:
        """See 2 above. Failing is no harm."""
        lease = make_lease()
        try:
            if not await self._reach.ask(lambda: self._copies.create(key, lease, b"", _LEASE_SECONDS), optional=True):
                return
            row = await self._sql.locked(name)
            if row is None:
                return
            copy, ttl = pack(row), min(row.kept_until - self._sql.clock(), _COPY_SECONDS)
            put = partial(self._copies.update, key, copy, b"", ttl, version_of(lease))
            await self._reach.ask(put, optional=True)
        except StoreUnavailable:
            self._fill_after = time.monotonic() + _FILL_PAUSE

    # -- writing
    async def create(self, name: bytes, value: bytes, seen: bytes, ttl: float) -> bool:
        """SQL only: there is no copy of what is not there."""
        return await self._sql.create(name, value, seen, ttl)

    async def update(self, name: bytes, value: bytes, seen: bytes, ttl: float, expected: bytes) -> Write:
        """As the others: SQL, then everybody knows, then the answer."""
        return await self._change(
            name, lambda within: self._sql.update(name, value, seen, ttl, expected, within=within)
        )

    async def touch(self, name: bytes, seen: bytes, ttl: float) -> None:
        """The copy goes: the next read makes a new one."""
        await self._change(name, lambda within: self._sql.touch(name, seen, ttl, within=within))

    async def shorten(self, name: bytes, ttl: float) -> None:
        """The copy goes."""
        await self._change(name, lambda within: self._sql.shorten(name, ttl, within=within))

    async def delete(self, name: bytes) -> bytes | None:
        """The copy goes."""
        return await self._change(name, lambda within: self._sql.delete(name, within=within))

    async def _change(self, name: bytes, write: Callable[[Within], Awaitable[T]]) -> T:
        generation = self._generations.newest

        async def within(connection: AsyncConnection) -> None:
            nonlocal generation
            generation = await self._forget_copy(connection, name)

        result = await write(within)
        self._generations.notice(generation)
        await self._generations.settle()
        return result

    async def _forget_copy(self, connection: AsyncConnection, name: bytes) -> Generation:
        """See 1, 3 and 4; on the connection that holds the row."""
        generation = await read_generation(connection)
        try:
            await self._reach.ask(lambda: self._copies.delete(_key(generation, name)))
        except StoreUnavailable:
            return await self._generations.turn_off(connection)
        return generation

    # -- SQL's alone
    async def bury(self, name: bytes, note: str, ttl: float) -> None:
        """A copy is no note: notes are read from SQL."""
        await self._sql.bury(name, note, ttl)

    async def announce(self, key_ids: Sequence[str]) -> None:
        """In SQL."""
        await self._sql.announce(key_ids)

    async def withdraw(self, key_id: str) -> None:
        """In SQL."""
        await self._sql.withdraw(key_id)

    async def announced(self) -> frozenset[str]:
        """In SQL."""
        return await self._sql.announced()

    async def clear_expired(self) -> int:
        """Copies end by themselves."""
        return await self._sql.clear_expired()

    async def ping(self) -> None:
        """SQL's answer: without Redis everything works."""
        await self._sql.ping()

    async def close(self) -> None:
        """Both engines, and what is under way."""
        fillers = list(self._fillers.values())
        for task in fillers:
            task.cancel()
        if fillers:
            await asyncio.wait(fillers)
        await self._reach.close()
        await self._sql.close()
        await self._copies.close()


def _key(generation: Generation, name: bytes) -> bytes:
    return b"%d.%s" % (generation.number, name)
