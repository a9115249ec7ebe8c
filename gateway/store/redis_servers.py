"""Where commands go when there is one master: the server of the URL, or the one that Sentinel names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway.store.redis_lookout import Informants, Lookout
from gateway.store.redis_options import Address, RedisOptions
from gateway.store.redis_pool import Command, Dialer, Pool, converse

_EVERY = 1.0
_TOO_OLD = 3.0
"""Seconds: what was known before a longer rest is asked again before it is used."""


class OneServer:
    """A :class:`gateway.store.redis_lookout.Servers` of one."""

    def __init__(self, options: RedisOptions, dialer: Dialer) -> None:
        self.generation = 0
        self._pool = Pool("redis", dialer.server, options.pool_size, patience=options.timeout / 2)

    async def exchange(self, commands: Sequence[Command], with_wait: bool) -> list[Any]:
        """Straight to the pool."""
        return await self._pool.exchange(commands)

    async def mend(self, *, wrong_server: bool) -> None:
        """READONLY from the only server there is: its name may lead to another one by now."""
        if wrong_server:
            self._pool.drop_idle()
            self.generation += 1

    def watch(self) -> None:
        """Nothing can change."""

    async def masters(self) -> list[Pool]:
        """It."""
        return [self._pool]

    async def close(self) -> None:
        """Closes every connection."""
        self._pool.close()


class SentinelServers:
    """The master that Sentinels name, watched once a second while in use (hazard R4).

    Old connections are dropped when the address changes, and every new one is asked for its role first: a Sentinel that
    is behind may still name a server that is a replica by now, which would answer reads.
    """

    def __init__(self, options: RedisOptions, dialer: Dialer) -> None:
        self.generation = 0
        self._options, self._dialer = options, dialer
        self._address: Address | None = None
        self._pool: Pool | None = None
        name = options.sentinel_master
        questions = [("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name), ("SENTINEL", "MASTER", name)]
        self._sentinels = Informants(dialer.sentinel, questions, _read_master, options.timeout / 3)
        self._lookout = Lookout(self._look, _EVERY)

    async def exchange(self, commands: Sequence[Command], with_wait: bool) -> list[Any]:
        """To the master. While no Sentinel answers, the last known one is used."""
        if self._pool is None or self._lookout.age > _TOO_OLD:
            await self._lookout.now()
        else:
            self._lookout.soon()
        return await self._known().exchange(commands)

    def _known(self) -> Pool:
        if self._pool is None:
            name, trouble = self._options.sentinel_master, self._sentinels.trouble
            raise RedisConnectionError(f"no Sentinel names the master {name!r}: {trouble}")
        return self._pool

    async def mend(self, *, wrong_server: bool) -> None:
        """Asks who is master now."""
        if self._pool is not None:
            self._pool.drop_idle()
        await self._lookout.now()

    def watch(self) -> None:
        """Asks in the background."""
        self._lookout.soon()

    async def masters(self) -> list[Pool]:
        """The one there is."""
        await self._lookout.now()
        return [self._known()]

    async def _look(self) -> None:
        address = await self._sentinels.newest(self._options.sentinels)
        if address is None or address == self._address:
            return
        if self._pool is not None:
            self._pool.close()
        connect, patience = partial(self._dialer.node, address), self._options.timeout / 2
        self._pool = Pool(
            "{}:{}".format(*address), connect, self._options.pool_size, patience=patience, greet=_require_master
        )
        self._address = address
        self.generation += 1

    async def close(self) -> None:
        """Closes every connection and ends the look."""
        await self._lookout.close()
        self._sentinels.close()
        if self._pool is not None:
            self._pool.close()


def _read_master(_asked: Address, answers: list[Any]) -> tuple[int, Address] | None:
    """GET-MASTER-ADDR-BY-NAME names the new master earlier in a failover than MASTER, which has the epoch."""
    address, facts = answers
    if not isinstance(address, list) or not isinstance(facts, list):
        return None
    named = dict(zip(facts[::2], facts[1::2], strict=False))
    return int(named.get(b"config-epoch", b"0")), (address[0].decode(), int(address[1]))


async def _require_master(connection: AbstractConnection) -> None:
    (role,) = await converse(connection, [("ROLE",)])
    if isinstance(role, Exception):
        raise role
    if not isinstance(role, list) or role[:1] != [b"master"]:
        raise RedisConnectionError("what Sentinel names as the master is a replica")
