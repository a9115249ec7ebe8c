"""Copies of SQL's sessions in another engine: what stands there, and whether that engine can be asked now.

For :mod:`gateway.store.cached_sql`, which says why it is right.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.errors import StoreUnavailable
from gateway.store.engine import VERSION_BYTES, Kept
from gateway.store.sql_sessions import Row

T = TypeVar("T")
log = logging.getLogger("gateway.sessions")
_HEAD = struct.Struct(">BdI")  # is it a copy (or a lease); kept until; length of what is seen
_NOTHING = 0xFFFFFFFF  # as that length: what was seen is forgotten, which is not the same as empty
_PAUSE = 1.0


def make_lease() -> bytes:
    """Says that somebody is about to put a copy here."""
    return os.urandom(VERSION_BYTES) + _HEAD.pack(0, 0.0, 0)


def pack(row: Row) -> bytes:
    """A copy of the row. What is seen is inside: a copy is right as a whole, or gone."""
    length = _NOTHING if row.seen is None else len(row.seen)
    return os.urandom(VERSION_BYTES) + _HEAD.pack(1, row.kept_until, length) + (row.seen or b"") + row.value


def unpack(copy: bytes, now: float) -> Kept | None:
    """What the row held. None: a lease, what is over (``now`` in epoch seconds), or nothing of ours."""
    start = VERSION_BYTES + _HEAD.size
    if len(copy) < start:
        return None
    is_copy, kept_until, length = _HEAD.unpack_from(copy, VERSION_BYTES)
    if not is_copy or kept_until <= now:
        return None
    if length == _NOTHING:
        return Kept(copy[start:], None)
    return Kept(copy[start + length :], copy[start : start + length])


class Notices:
    """Tells the operator once that copies are off, and once that they are back."""

    def __init__(self) -> None:
        self._are_off = False

    def off(self, cause: str) -> None:
        """They are not used any more."""
        if not self._are_off:
            self._are_off = True
            log.warning("copies in Redis are off", extra={"fields": {"cause": cause}})

    def on(self) -> None:
        """They are used."""
        if self._are_off:
            self._are_off = False
            log.info("copies in Redis are back")


class Reach:
    """Asks an engine only while it answers, ``budget`` seconds at most for one question.

    After a failure nobody asks, until a ``ping`` in the background was answered: an engine that is frozen costs the
    requests of one moment the budget, and all later ones nothing.
    """

    def __init__(self, ping: Callable[[], Awaitable[None]], budget: float, notices: Notices) -> None:
        self._ping = ping
        self._budget = budget
        self._notices = notices
        self._probe: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        """As far as is known."""
        return self._probe is None

    async def ask(self, call: Callable[[], Awaitable[T]], *, optional: bool = False) -> T:
        """What ``call`` answers. An ``optional`` one may fail without a conclusion: a store that is full answers reads.

        :raises StoreUnavailable: there is no answer now, or was none a moment ago.
        """
        if not self.is_up:
            raise StoreUnavailable("no answer a moment ago")
        try:
            async with asyncio.timeout(self._budget):
                return await call()
        except (StoreUnavailable, TimeoutError) as error:
            cause = getattr(error, "cause", "no answer in time")
            if not optional and self._probe is None:
                self._probe = asyncio.create_task(self._until_it_answers())
                self._notices.off(cause)
            raise StoreUnavailable(cause) from error

    async def _until_it_answers(self) -> None:
        while True:
            await asyncio.sleep(_PAUSE)
            try:
                async with asyncio.timeout(self._budget):
                    await self._ping()
            except (StoreUnavailable, TimeoutError):
                continue
            self._probe = None
            return

    async def close(self) -> None:
        """Asks no more."""
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.wait({self._probe})
