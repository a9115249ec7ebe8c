"""The denylist on Redis: ``<prefix>revoked:<id>``, which ends by itself; every process is told of each new one.

A revoked id is never taken back, so its name in the news (``redis_tracking``) is all there is to know: nothing is looked
up, and no answer can be older than the news. What was revoked before is read once, **after** Redis has begun to tell; until
then, and whenever the link is not proved alive, only Redis can say that an id is *not* revoked. What is known as revoked
stays so whatever happens to the link.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from gateway.errors import StoreUnavailable
from gateway.store.denylist import Revoked
from gateway.store.redis import RedisLink
from gateway.store.redis_directory import literally
from gateway.store.redis_tracking import Invalidations

log = logging.getLogger("gateway.tokens")
_AT_ONCE = 16
_READ_AGAIN = 1.0
"""Seconds between attempts to read what was revoked before."""
_WRITE_AGAIN = 1.0
"""Seconds between attempts to write what could not be written."""

# ARGV: ttl (ms). The DEL comes first on purpose: a script that has written already may go on at maxmemory
# (SCRIPT_WRITE_DIRTY, hazard R9). A longer end that is there stays.
_REVOKE = """
if redis.call('PTTL', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], '', 'PX', ARGV[1])
return 1
"""


def denied_prefix(prefix: bytes) -> bytes:
    """Below this stand the revoked ids. Not below the sessions' prefix (``s:``), nor is that one below this."""
    return prefix + b"revoked:"


def _text(one: bytes) -> str:
    """Whoever can write to Redis may have written anything; what is no text is no id of ours."""
    try:
        return one.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return ""


class RedisDenylist:
    """A :class:`gateway.store.denylist.Denylist` for many processes. ``longest``: seconds that any token can be good: news
    come without their end, and are kept for so long. While nobody asks, nothing is sent to Redis.
    """

    def __init__(
        self, link: RedisLink, prefix: str, *, longest: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._link, self._prefix = link, denied_prefix(prefix.encode())
        self._longest, self._clock = longest, clock
        self._revoked = Revoked(clock)
        self._told = Invalidations(link, self._prefix, on_names=self._hear, on_lost=self._lose, clock=clock)
        self._losses = 0
        self._read_at = -1  # how many losses there had been when all was read
        self._read_after = -math.inf
        self._reading: asyncio.Task[None] | None = None
        self._has_warned = False
        self._unwritten: dict[str, float] = {}
        self._is_closed = False
        self._writing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Needs a running loop. Connects now, so that the first token need not wait for it."""
        self._told.start()
        self._told.note_use()

    async def close(self) -> None:
        """Ends what runs, after a last attempt to write what could not be written; the link is the caller's."""
        self._is_closed = True
        tasks = [task for task in (self._reading, self._writing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(StoreUnavailable):
            await self._write(list(self._unwritten))
        await self._told.close()

    # -- asking
    def known(self, ids: Sequence[str]) -> bool | None:
        """True also while Redis is away; False only while Redis is known to tell of everything."""
        self._told.note_use()
        if self._revoked.has(ids):
            return True
        if not self._told.is_live:
            return None
        if self._read_at == self._losses:
            return False
        self._read_soon()
        return None

    async def ask(self, ids: Sequence[str]) -> bool:
        """One round trip (to each node concerned), or none.

        :raises StoreUnavailable: Redis does not answer.
        """
        known = self.known(ids)
        if known is not None:
            return known
        answers = await self._link.pipeline([(b"EXISTS", self._key(one)) for one in ids])
        there = [one for one, answer in zip(ids, answers, strict=True) if answer]
        self._revoked.add(there, self._longest)
        return bool(there) or self._revoked.has(ids)  # the news may have come meanwhile

    def _key(self, one: str) -> bytes:
        return self._prefix + one.encode("utf-8", "surrogatepass")

    # -- being told
    def _hear(self, keys: Iterable[bytes]) -> None:
        """Written, or over just now: nothing says which, so what is over is kept once more."""
        start = len(self._prefix)
        self._revoked.add([_text(key[start:]) for key in keys], self._longest)

    def _lose(self) -> None:
        """Nobody can say any more what else was revoked: all has to be read again."""
        self._losses += 1
        self._read_after = -math.inf

    def _read_soon(self) -> None:
        """Only called while the link is alive: every master tells, so what is revoked meanwhile is heard."""
        if self._reading is None and self._clock() >= self._read_after:
            self._reading = asyncio.create_task(self._read(), name="denylist")
            self._reading.add_done_callback(self._was_read)

    async def _read(self) -> None:
        losses = self._losses
        try:
            async for key in self._link.scan(literally(self._prefix) + b"*"):
                self._hear([key])
        except StoreUnavailable as error:
            self._read_after = self._clock() + _READ_AGAIN
            if not self._has_warned:
                words = "what was revoked cannot be read, so Redis is asked about every token"
                log.warning(words, extra={"fields": {"cause": error.cause}})
            self._has_warned = True
        else:
            self._read_at, self._has_warned = losses, False

    def _was_read(self, task: asyncio.Task[None]) -> None:
        self._reading = None
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    # -- revoking
    async def revoke(self, ids: Sequence[str], seconds: float) -> None:
        """Works at ``maxmemory``, too. What cannot be written now is tried again until it is or would be over.

        :raises StoreUnavailable: the other processes may not know.
        :raises ValueError: longer than ``longest``: the others would forget it before its time.
        """
        if seconds > self._longest:
            raise ValueError(f"{seconds:g} s is longer than any token can be good ({self._longest:g} s)")
        if not ids or seconds <= 0:
            return
        self._revoked.add(ids, seconds)
        until = self._clock() + seconds
        self._unwritten.update({one: max(until, self._unwritten.get(one, until)) for one in ids})
        try:
            await self._write(ids)
        finally:
            self._write_later()

    async def _write(self, ids: Sequence[str]) -> None:
        """Each by itself: in a Cluster only keys of one slot can be waited for together (``wait_replicas``)."""
        for start in range(0, len(ids), _AT_ONCE):
            part = [self._write_one(one) for one in ids[start : start + _AT_ONCE]]
            outcomes = await asyncio.gather(*part, return_exceptions=True)
            if (error := next(filter(None, outcomes), None)) is not None:
                raise error

    async def _write_one(self, one: str) -> None:
        until = self._unwritten.get(one, -math.inf)
        left = until - self._clock()
        if left > 0:
            command = (b"EVAL", _REVOKE, 1, self._key(one), math.ceil(left * 1000))
            await self._link.pipeline([command], durable=True)
        if self._unwritten.get(one) == until:  # nobody wants it longer by now
            del self._unwritten[one]

    def _write_later(self) -> None:
        if self._unwritten and self._writing is None and not self._is_closed:
            self._writing = asyncio.create_task(self._keep_writing(), name="denylist writes")
            self._writing.add_done_callback(self._was_written)

    async def _keep_writing(self) -> None:
        while self._unwritten:
            await asyncio.sleep(_WRITE_AGAIN)
            try:
                await self._write(list(self._unwritten))
            except StoreUnavailable:
                continue  # whoever revoked has been told

    def _was_written(self, task: asyncio.Task[None]) -> None:
        self._writing = None
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
