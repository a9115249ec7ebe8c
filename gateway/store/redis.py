"""The connection to Redis, with budgets, and its errors translated at this edge.

redis-py's defaults are five seconds of socket time-out and ten retries: with Redis frozen, one GET gave up after 16
seconds (hazard R1). Here nothing is retried but a read or an idempotent write whose kept-alive connection had died (R5),
and one command in all has ``timeout`` seconds. Every error is :class:`StoreUnavailable`: none of them says anything about
a session (R6, R10).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.errors import StoreUnavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """``url``: ``redis://``, ``rediss://`` or ``unix://``; ``timeout`` in seconds for one command in all."""

    url: str
    username: str | None = None
    password: str | None = None
    prefix: str = "gw:"
    timeout: float = 1.0
    pool_size: int = 32

    def __repr__(self) -> str:
        return f"RedisOptions(prefix={self.prefix!r}, timeout={self.timeout}, pool_size={self.pool_size})"


class RedisLink:
    """A pool of connections; :meth:`run` is the only way to use it."""

    def __init__(self, options: RedisOptions) -> None:
        login = {"username": options.username, "password": options.password}
        self._pool = BlockingConnectionPool.from_url(
            options.url,
            max_connections=options.pool_size,
            timeout=options.timeout,
            # No time-outs of the driver's own: on Python 3.11 its wait_for() can swallow a cancellation that comes when the
            # reply does, and a client's going away would go unnoticed. The budget below covers connecting and waiting.
            socket_timeout=None,
            socket_connect_timeout=None,
            retry=Retry(NoBackoff(), 0),
            **{name: value for name, value in login.items() if value},
        )
        self._redis: Redis = Redis(connection_pool=self._pool)
        self._timeout = options.timeout

    async def run(self, command: Callable[[Redis], Awaitable[T]]) -> T:
        """Runs one command or pipeline that may be run twice without harm.

        :raises StoreUnavailable: whatever went wrong; the budget covers waiting for a connection and the retry.
        """
        try:
            async with asyncio.timeout(self._timeout):
                try:
                    return await command(self._redis)
                except RedisTimeoutError:
                    raise
                except (RedisConnectionError, ConnectionError):
                    await self._pool.disconnect(inuse_connections=False)  # R5: one is dead, so all idle ones may be
                    return await command(self._redis)
        except (RedisError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Closes every connection."""
        await self._redis.aclose()
        await self._pool.disconnect()
