"""Who is the master now? Sentinels and the nodes of a Cluster are asked together, and the newest answer counts.

They learn of a failover one after the other, and one of them may be cut off or frozen. So all are asked at once, a
majority is enough, and of the answers the one with the highest epoch is taken.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from gateway.store.redis_options import Address
from gateway.store.redis_pool import Command, Pool

T = TypeVar("T")
_LEAST_PAUSE = 0.1
"""Seconds between two looks, however many requests fail."""


class Servers(Protocol):
    """One server, the master of Sentinel or a Cluster: where commands go."""

    @property
    def generation(self) -> int:
        """Changes whenever the set of masters does."""

    async def exchange(self, commands: Sequence[Command], with_wait: bool) -> list[Any]:
        """Sends them where they belong. ``with_wait``: the last is WAIT, for the others, whose keys are of one slot.

        Error answers stand among the answers.

        :raises redis.exceptions.RedisError: a server could not be reached, or there is none.
        :raises OSError: the same.
        """

    async def mend(self, *, wrong_server: bool) -> None:
        """A connection broke, or (``wrong_server``) somebody answered who is not, or not yet, the one to ask."""

    def watch(self) -> None:
        """Looks for changes in the background, when the last look is not of just now."""

    async def masters(self) -> list[Pool]:
        """Every master, after a new look."""

    async def close(self) -> None:
        """Closes every connection and ends the tasks."""


class Informants(Generic[T]):
    """Asks several servers the same. ``read`` makes epoch and news of one server's answers, or None.

    :attr:`trouble` says what the last one that told nothing said instead.
    """

    def __init__(
        self,
        connect: Callable[[Address], AbstractConnection],
        questions: Sequence[Command],
        read: Callable[[Address, list[Any]], tuple[int, T] | None],
        seconds: float,
    ) -> None:
        self._connect, self._questions, self._read, self._seconds = connect, questions, read, seconds
        self._pools: dict[Address, Pool] = {}
        self.trouble = "none answered in time"

    async def newest(self, addresses: Iterable[Address]) -> T | None:
        """What the best informed of a majority says, or None when nobody says anything in time."""
        addresses = set(addresses)
        for address in self._pools.keys() - addresses:
            self._pools.pop(address).close()
        asked = [asyncio.create_task(self._ask(address)) for address in addresses]
        heard: list[tuple[int, T]] = []
        try:
            async with asyncio.timeout(self._seconds):
                for coming in asyncio.as_completed(asked):
                    if (news := await coming) is not None:
                        heard.append(news)
                    if len(heard) > len(asked) // 2:
                        break
        except TimeoutError:
            pass
        finally:
            for task in asked:
                task.cancel()
            await asyncio.wait(asked)
        return max(heard, key=lambda news: news[0])[1] if heard else None

    async def _ask(self, address: Address) -> tuple[int, T] | None:
        if (pool := self._pools.get(address)) is None:
            connect = partial(self._connect, address)
            pool = self._pools[address] = Pool("{}:{}".format(*address), connect, 1, patience=self._seconds / 2)
        for _ in range(2):  # a kept connection may be dead
            try:
                answers = await pool.exchange(self._questions)
            except (RedisError, OSError) as error:
                self.trouble = f"{type(error).__name__}: {error}"
                continue
            self.trouble = next((str(answer) for answer in answers if isinstance(answer, RedisError)), self.trouble)
            try:
                return self._read(address, answers)
            except (ValueError, TypeError, LookupError):
                self.trouble = "what it answers makes no sense"
                return None
        return None

    def close(self) -> None:
        """Closes every connection."""
        for pool in self._pools.values():
            pool.close()


class Lookout:
    """Runs ``look`` for all who want it: one at a time, and in the background when that will do."""

    def __init__(self, look: Callable[[], Awaitable[None]], every: float) -> None:
        self._look = look
        self._every = every
        self._ended = -float("inf")
        self._task: asyncio.Task[None] | None = None

    @property
    def age(self) -> float:
        """Seconds since the last look ended, whatever it showed."""
        return time.monotonic() - self._ended

    def soon(self) -> None:
        """Starts a look unless one is under way or the last is younger than ``every``."""
        if self._task is None and self.age >= self._every:
            self._start().add_done_callback(_surface)

    async def now(self) -> None:
        """Returns after a look that has just ended; a cancelled caller does not stop it for the others."""
        if self._task is not None or self.age >= _LEAST_PAUSE:
            await asyncio.shield(self._task or self._start())

    def _start(self) -> asyncio.Task[None]:
        self._task = asyncio.create_task(self._run())
        return self._task

    async def _run(self) -> None:
        try:
            await self._look()
        finally:
            self._ended = time.monotonic()
            self._task = None

    async def close(self) -> None:
        """Ends the look under way."""
        if (task := self._task) is not None:
            task.cancel()
            await asyncio.wait([task])


def _surface(task: asyncio.Task[None]) -> None:
    """Nobody awaits this task: a mistake of ours in it must be seen."""
    if not task.cancelled() and (error := task.exception()) is not None:
        context = {"message": "looking for the masters of Redis failed", "exception": error, "task": task}
        task.get_loop().call_exception_handler(context)
