"""What Redis says has changed, for a cache in this process (hazard R8).

One connection of its own to every master, in RESP2: ``CLIENT TRACKING ON BCAST`` sends the names of changed keys under a
prefix to that same connection, which has subscribed to the channel they come in on. Redis puts all it sends to one
connection in one queue. So the answer to a PING proves that every change **acknowledged before that PING was sent** has
been told, and the cache may be used for as long as a proof of that kind is fresh: :attr:`Invalidations.is_live`.

What a cache must do in return: use what it keeps only while ``is_live``, and not keep the answer to a look-up that was under
way when its name, or everything, was called out; for the news may overtake the answer. That is enough, also for look-ups
made while nobody listened: everything is called out once more after all masters have begun to tell, before ``is_live``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from gateway.errors import StoreUnavailable
from gateway.store.redis import RedisLink
from gateway.store.redis_pool import Argument, Pool, converse, hang_up, pack, read_answer

log = logging.getLogger("gateway.tracking")

FRESH = 0.5
"""Seconds that an answered PING counts, from when it was sent."""
_PING_EVERY = 0.2
_IN_USE = 2.0
"""Seconds after the last look-up until PINGs stop."""
_GIVE_UP = 3.0
"""Seconds without an answer to a PING after which the connection is made again."""
_CONNECT_SECONDS = 2.0
_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)
_RARELY = 30.0
"""Seconds between attempts when Redis cannot or may not do this."""
_CHANNEL = b"__redis__:invalidate"
_PING = pack([("PING",)])
_NEVER = -float("inf")

Clock = Callable[[], float]


class _Unsupported(Exception):
    """Redis is too old, or our user may not."""


class _Wire:
    """The connection to one master. ``answered``: when the newest PING that has been answered was sent."""

    def __init__(self, connection: AbstractConnection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._asked: deque[float] = deque()
        self.answered = _NEVER

    @classmethod
    async def open(cls, master: Pool, prefix: bytes, clock: Clock) -> _Wire:
        """Connects and asks to be told.

        :raises _Unsupported: it never will be.
        :raises redis.exceptions.RedisError: not now.
        :raises OSError: not now.
        """
        connection = await master.dial()
        try:
            number = await _say(connection, "CLIENT", "ID")
            await _say(connection, "CLIENT", "TRACKING", "ON", "REDIRECT", number, "BCAST", "PREFIX", prefix)
            await _say(connection, "SUBSCRIBE", _CHANNEL)
        except BaseException:
            hang_up(connection)
            raise
        return cls(connection, clock)

    def ping(self) -> None:
        """Sends a PING, without waiting.

        :raises redis.exceptions.RedisError: it would be of no use.
        """
        now = self._clock()
        if self._asked and now - self._asked[0] > _GIVE_UP:
            raise RedisConnectionError(f"no answer to PING for {_GIVE_UP:g} s")
        if (writer := self._connection._writer) is None:
            raise RedisConnectionError("the connection is closed")
        self._asked.append(now)
        writer.write(_PING)

    async def listen(self, on_pong: Callable[[], None], on_push: Callable[[Sequence[bytes] | None], None]) -> None:
        """Until the connection breaks: that is an error. ``on_push`` gets None for: everything."""
        while True:
            answer = await read_answer(self._connection)
            match answer:
                case [b"pong", _] if self._asked:
                    self.answered = self._asked.popleft()
                    on_pong()
                case [b"message", channel, names] if channel == _CHANNEL:
                    on_push(names)
                case _:
                    raise RedisConnectionError(f"not an answer to PING and no invalidation: {answer!r:.100}")

    def close(self) -> None:
        """At once."""
        hang_up(self._connection)


async def _say(connection: AbstractConnection, *command: Argument) -> Any:
    answers = await converse(connection, [command])
    if isinstance(error := answers[0], ResponseError):
        if isinstance(error, NoPermissionError) or error.status_code == "ERR":  # not allowed, or not known
            raise _Unsupported(f"{command[0]!s} {command[1]!s}: {error}")
        raise error
    return answers[0]


class Invalidations:
    """Calls ``on_names`` with the keys under ``prefix`` that changed, and ``on_lost`` when anything may have changed.

    Both are called on the loop and must not wait. ``on_lost`` is called whenever a connection was lost or made again, the
    masters changed or a database was emptied: everything cached must go. Nothing is sent while nobody calls
    :meth:`note_use`: an idle gateway leaves Redis alone.
    """

    def __init__(
        self,
        link: RedisLink,
        prefix: bytes,
        *,
        on_names: Callable[[Sequence[bytes]], None],
        on_lost: Callable[[], None],
        clock: Clock = time.monotonic,
    ) -> None:
        self._link, self._prefix, self._clock = link, prefix, clock
        self._on_names, self._on_lost = on_names, on_lost
        self._wires: list[_Wire] = []
        self._generation = -1
        self._live_until = _NEVER
        self._used_at = _NEVER
        self._is_resting = True
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._has_warned = False

    def start(self) -> None:
        """Needs a running loop. Connects at the first use."""
        self._task = asyncio.create_task(self._run(), name="invalidations")
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A mistake of ours, or of a callback: the cache stays off, and it is told with its traceback."""
        if not task.cancelled() and (error := task.exception()) is not None:
            context = {"message": "following the changes in Redis failed", "exception": error, "task": task}
            task.get_loop().call_exception_handler(context)

    async def close(self) -> None:
        """Ends the connections."""
        if (task := self._task) is not None:
            self._task = None
            task.cancel()
            await asyncio.wait([task])

    def note_use(self) -> None:
        """Somebody looks something up: keep the proof fresh."""
        self._used_at = self._clock()
        if self._is_resting:
            self._is_resting = False
            self._wake.set()

    @property
    def is_live(self) -> bool:
        """Every master has proved, at most :data:`FRESH` seconds ago, that we know all that had changed by then."""
        return self._clock() < self._live_until and self._link.generation == self._generation

    @property
    def is_connected(self) -> bool:
        """Are changes told, as far as anybody knows? No proof: that is :attr:`is_live`."""
        return self._live_until > _NEVER and self._link.generation == self._generation

    async def _until_used(self) -> None:
        if self._clock() - self._used_at > _IN_USE:
            self._is_resting = True
            self._wake.clear()
            await self._wake.wait()

    async def _run(self) -> None:
        failures = 0
        while True:
            await self._until_used()
            try:
                if await self._follow():
                    failures, self._has_warned = 0, False
                pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
                failures += 1
            except _Unsupported as error:
                self._warn(error)
                pause = _RARELY
            await asyncio.sleep(pause)

    def _warn(self, error: _Unsupported) -> None:
        if not self._has_warned:
            log.warning("Redis tells no changes, so it is asked each time", extra={"fields": {"cause": str(error)}})
        self._has_warned = True

    async def _follow(self) -> bool:
        """From connecting until something is lost. Was it ever live?"""
        try:
            await self._connect()
            self._on_lost()  # what changed before is not known
            async with asyncio.TaskGroup() as tasks:
                for wire in self._wires:
                    tasks.create_task(wire.listen(self._note_pong, self._note_push))
                tasks.create_task(self._keep_asking())
        except* (RedisError, OSError, StoreUnavailable):
            pass  # told by whoever needs Redis for an answer; here it only means that there is no cache for a while
        finally:
            was_live = self._live_until > _NEVER
            self._live_until = _NEVER
            for wire in self._wires:
                wire.close()
            self._wires = []
            self._on_lost()
        return was_live

    async def _connect(self) -> None:
        async with asyncio.timeout(_CONNECT_SECONDS):
            masters = await self._link.masters()
            self._generation = self._link.generation
            for master in masters:
                self._wires.append(await _Wire.open(master, self._prefix, self._clock))

    async def _keep_asking(self) -> None:
        while True:
            await self._until_used()
            self._link.watch()
            if self._link.generation != self._generation:
                raise RedisConnectionError("the masters have changed")
            for wire in self._wires:
                wire.ping()
            await asyncio.sleep(_PING_EVERY)

    def _note_pong(self) -> None:
        self._live_until = min(wire.answered for wire in self._wires) + FRESH

    def _note_push(self, names: Sequence[bytes] | None) -> None:
        if names is None:
            self._on_lost()
        else:
            self._on_names(names)
