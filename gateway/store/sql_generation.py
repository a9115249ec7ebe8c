"""Which copies count: the one row of ``session_copies``, and what this process knows of it.

For :mod:`gateway.store.cached_sql`, which says why it is right; the numbers in brackets are those of its docstring.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import StoreUnavailable
from gateway.store.sql import Database
from gateway.store.sql_copies import Notices, Reach
from gateway.store.sql_tables import COPIES

TRUST = 1.0
"""Seconds for which a process believes what it read in the row."""
SETTLED = 1.25
"""Seconds after which every process knows of a generation: ``TRUST``, and something for the steps around it."""
QUIET = 5.0
"""Seconds for which copies are off at least."""
_SURELY = 10.0  # seconds after which a generation is settled by the clock of another machine, too


@dataclass(frozen=True, slots=True)
class Generation:
    """The row. ``trusted`` is 1 or 0, ``bumped`` epoch seconds."""

    number: int
    trusted: int
    incarnation: str
    bumped: float


async def read_generation(connection: AsyncConnection, *, lock: bool = False) -> Generation:
    """As it is now; with ``lock`` it stays so until the transaction ends."""
    columns = (COPIES.c.generation, COPIES.c.trusted, COPIES.c.incarnation, COPIES.c.bumped)
    query = select(*columns).where(COPIES.c.id == 1)
    return Generation(*(await connection.execute(query.with_for_update(read=True) if lock else query)).one())


class Generations:
    """``ping`` and ``incarnation`` ask the engine with the copies; ``clock`` gives epoch seconds."""

    def __init__(
        self,
        database: Database,
        reach: Reach,
        ping: Callable[[], Awaitable[None]],
        incarnation: Callable[[], Awaitable[str]] | None,
        clock: Callable[[], float],
        notices: Notices,
    ) -> None:
        self._database = database
        self._reach = reach
        self._ping = ping
        self._incarnation = incarnation
        self._clock = clock
        self._notices = notices
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._since = 0.0
        self.newest = Generation(0, 0, "", 0.0)
        """The newest that this process has heard of."""

    async def current(self) -> Generation:
        """The row as it was at most ``TRUST`` seconds ago.

        :raises StoreUnavailable: it cannot be read, so no copy can be trusted.
        """
        if time.monotonic() - self._read_at >= TRUST:
            async with self._lock:
                if time.monotonic() - self._read_at >= TRUST:
                    await self._read()
        return self.newest

    async def _read(self) -> None:
        started, known = time.monotonic(), self.newest.number
        there = await self._database.read(read_generation)
        if there.number < known:  # a backup was restored: those numbers have been used
            there = await self._step(there, known + 1)
        self.notice(there)
        await self._compare()
        self._read_at = started
        if not self.newest.trusted:
            self._notices.off("a process that could not reach Redis turned them off")
        elif self._reach.is_up:
            self._notices.on()

    def notice(self, generation: Generation) -> None:
        """Remembers since when a generation has been there, at the latest. Only what is committed may come here."""
        if generation.number > self.newest.number:
            age = self._clock() - generation.bumped
            self._since = time.monotonic() - (age if age > _SURELY else 0)
        if generation.number >= self.newest.number:
            self.newest = generation

    async def settle(self) -> None:
        """Returns when every process knows of the newest generation (3)."""
        delay = self._since + SETTLED - time.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)

    async def _compare(self) -> None:
        """Is it time to turn the copies on again (4); are they from another run of Redis (5)?"""
        newest = self.newest
        try:
            if newest.trusted and self._incarnation is not None:
                there = await self._reach.ask(self._incarnation)
                if there != newest.incarnation:
                    number = newest.number + 1 if newest.incarnation else newest.number
                    self.notice(await self._step(replace(newest, incarnation=there), number))
            elif not newest.trusted and time.monotonic() - self._since > QUIET:
                await self._reach.ask(self._ping)
                self.notice(await self._step(replace(newest, trusted=1), newest.number))
        except StoreUnavailable:
            return

    async def _step(self, after: Generation, number: int) -> Generation:
        """Writes ``after`` under another number, unless somebody else was first; answers what is there then."""
        bumped = after.bumped if number == after.number else self._clock()
        columns = {"generation": number, "trusted": after.trusted, "incarnation": after.incarnation, "bumped": bumped}
        change = update(COPIES).where(COPIES.c.id == 1, COPIES.c.generation == after.number).values(columns)

        async def step(connection: AsyncConnection) -> Generation:
            await connection.execute(change)
            return await read_generation(connection)

        return await self._database.write(step)

    async def turn_off(self, connection: AsyncConnection) -> Generation:
        """When it returns, copies are off until this transaction ends, at least (4).

        :raises StoreUnavailable: somebody turns them on again and again.
        """
        change = update(COPIES).where(COPIES.c.id == 1, COPIES.c.trusted == 1)
        change = change.values(generation=COPIES.c.generation + 1, trusted=0, bumped=self._clock())
        for _ in range(3):
            await connection.execute(change)
            there = await read_generation(connection, lock=True)
            if not there.trusted:
                return there
        raise StoreUnavailable("the copies of sessions cannot be turned off")
