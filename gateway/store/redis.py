"""The link to Redis, with budgets, and its errors translated at this edge.

redis-py's defaults are five seconds of socket time-out and ten retries: with Redis frozen, one GET gave up after 16
seconds (hazard R1). Here one pipeline has ``timeout`` seconds in all, and within them it is sent again only when its
connection broke (R5) or when another server is the master by now (R4). Every error is :class:`StoreUnavailable`: none of
them says anything about a session (R6, R10).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from typing import Any

from redis.exceptions import ClusterDownError, ReadOnlyError, RedisError

from gateway.errors import StoreUnavailable
from gateway.store.redis_cluster import ClusterServers
from gateway.store.redis_lookout import Servers
from gateway.store.redis_options import RedisOptions
from gateway.store.redis_pool import Command, Dialer, Pool, is_broken
from gateway.store.redis_servers import OneServer, SentinelServers

__all__ = ["RedisLink", "RedisOptions"]

_WRONG_SERVER = (ReadOnlyError, ClusterDownError)
"""Error answers that another server may not give (MASTERDOWN is a :class:`ClusterDownError`, too)."""
_WAIT_SHARE = 0.8
"""Of the time-out: how long replicas may take, so that there is time to be told that they took too long."""
_SCAN_COUNT = 500


class RedisLink:
    """One server, Sentinel or a Cluster, behind one method: :meth:`pipeline`.

    :raises StartError: a certificate or key file cannot be used.
    """

    def __init__(self, options: RedisOptions) -> None:
        self._options = options
        self._timeout = options.timeout
        self._servers = _servers(options)

    async def pipeline(self, commands: Sequence[Command], *, durable: bool = False) -> list[Any]:
        """Sends the commands in one round trip, without MULTI, and returns their answers in order.

        In a Cluster: one round trip to each node concerned; the key of a command is its first argument, or a script's
        first key. What was sent may be sent again after a broken connection: only commands that may run twice without
        harm. Answers are those of RESP2: bytes, int, None, and flat lists of them. ``durable``: returns when
        ``wait_replicas`` replicas have it; all keys are of one slot then.

        :raises StoreUnavailable: whatever went wrong, within ``timeout`` seconds. The first error answer does, too; the
            commands before and behind it were carried out.
        """
        replicas = self._options.wait_replicas if durable else 0
        if replicas:
            commands = [*commands, ("WAIT", replicas, max(int(self._timeout * 1000 * _WAIT_SHARE), 1))]
        try:
            async with asyncio.timeout(self._timeout):
                answers = await self._exchange(commands, bool(replicas))
        except TimeoutError as error:
            raise StoreUnavailable(f"Redis did not answer within {self._timeout:g} s") from error
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error
        for answer in answers:
            if isinstance(answer, RedisError):
                raise _unavailable(answer) from answer
        if replicas and (acknowledged := answers.pop()) < replicas:
            raise StoreUnavailable(f"only {acknowledged} of {replicas} replicas acknowledged the write")
        return answers

    async def _exchange(self, commands: Sequence[Command], with_wait: bool) -> list[Any]:
        for _ in range(self._options.retries):
            wrong_server = True
            try:
                answers = await self._servers.exchange(commands, with_wait)
            except (RedisError, OSError) as error:
                if not is_broken(error):
                    raise
                wrong_server = False
            else:
                if not any(isinstance(answer, _WRONG_SERVER) for answer in answers):
                    return answers
            await self._servers.mend(wrong_server=wrong_server)
        return await self._servers.exchange(commands, with_wait)

    @property
    def generation(self) -> int:
        """Changes whenever there is another master, or one more, or one less."""
        return self._servers.generation

    def watch(self) -> None:
        """Looks for a change of masters in the background when it is time to (once a second; two in a Cluster)."""
        self._servers.watch()

    async def masters(self) -> list[Pool]:
        """Every master that holds keys, after a new look at who they are.

        :raises StoreUnavailable: nobody knows.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._servers.masters()
        except (RedisError, OSError) as error:  # TimeoutError is one
            raise _unavailable(error) from error

    async def scan(self, pattern: bytes) -> AsyncIterator[bytes]:
        """All keys that match, of all masters; some may come twice. For commands, never on a request's path.

        :raises StoreUnavailable: whatever went wrong; each step has ``timeout`` seconds.
        """
        for master in await self.masters():
            cursor = b"0"
            while True:
                cursor, keys = await self._ask(master, ("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_COUNT))
                for key in keys:
                    yield key
                if cursor == b"0":
                    break

    async def warn_policy(self) -> str | None:
        """The ``maxmemory-policy``, or None when it cannot be read: ``allkeys-…`` silently signs people out (hazard R3).

        Of several masters one whose policy is other than ``noeviction`` is named.
        """
        try:
            told = [await self._ask(master, ("INFO", "memory")) for master in await self.masters()]
        except StoreUnavailable:  # away, or not allowed
            return None
        lines = [line for text in told for line in text.decode().splitlines()]
        policies = [line.partition(":")[2] for line in lines if line.startswith("maxmemory_policy:")]
        return next((policy for policy in policies if policy != "noeviction"), policies[0] if policies else None)

    async def run_ids(self) -> str:
        """Which runs of Redis answer: another text after any master was started again or replaced.

        :raises StoreUnavailable: whatever went wrong.
        """
        told = [await self._ask(master, ("INFO", "server")) for master in await self.masters()]
        lines = [line for text in told for line in text.decode().splitlines()]
        runs = sorted(line.partition(":")[2] for line in lines if line.startswith("run_id:"))
        return sha256(",".join(runs).encode()).hexdigest()

    async def _ask(self, master: Pool, command: Command) -> Any:
        try:
            async with asyncio.timeout(self._timeout):
                (answer,) = await master.exchange([command])
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error
        if isinstance(answer, RedisError):
            raise _unavailable(answer) from answer
        return answer

    async def close(self) -> None:
        """Closes every connection."""
        await self._servers.close()


def _servers(options: RedisOptions) -> Servers:
    dialer = Dialer(options)
    if options.cluster:
        return ClusterServers(options, dialer)
    return SentinelServers(options, dialer) if options.sentinels else OneServer(options, dialer)


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"{type(error).__name__}: {error}")
