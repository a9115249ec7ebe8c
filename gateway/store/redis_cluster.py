"""Where commands go in a Cluster: each to the master that serves the slot of its key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, MovedError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway.store.redis_lookout import Informants, Lookout
from gateway.store.redis_options import Address, RedisOptions
from gateway.store.redis_pool import Command, Dialer, Pool, encode

_EVERY = 2.0
_REDIRECTIONS = 5
_TRY_AGAIN_SECONDS = 0.05
_STRANGER_SECONDS = 60.0
"""How long a node counts as a master that a redirection named but the nodes do not list (a slot on its way)."""

_ENDLESS = "the Cluster redirects without end"
_ELSEWHERE = (AskError, TryAgainError)
"""Error answers that mean: not here, or not yet (MOVED is an :class:`AskError`, too)."""

Slots = list[Address | None]
Part = tuple[Address, bool]
"""A node, and whether it must be told ASKING before each command."""


def key_of(command: Command) -> bytes | None:
    """The first key, or None. For the commands we use: argument 1, or after a script and the number of its keys."""
    name = encode(command[0]).upper()
    at = 1
    if name in (b"EVAL", b"EVALSHA", b"FCALL"):
        at = 3 if int(command[2]) else 0
    elif name in _WITHOUT_KEY:
        at = 0
    if not 0 < at < len(command):
        return None
    return encode(command[at])


_WITHOUT_KEY = frozenset({b"PING", b"TIME", b"INFO", b"CONFIG", b"WAIT", b"DBSIZE", b"SCRIPT", b"PUBLISH"})


class ClusterServers:
    """A :class:`gateway.store.redis_lookout.Servers` of many."""

    def __init__(self, options: RedisOptions, dialer: Dialer) -> None:
        self.generation = 0
        self._options, self._dialer = options, dialer
        self._seeds = options.nodes or (dialer.address,)
        self._slots: Slots = []
        self._masters: frozenset[Address] = frozenset()
        self._strangers: dict[Address, float] = {}
        self._pools: dict[Address, Pool] = {}
        self._turn = 0
        questions = [("CLUSTER", "INFO"), ("CLUSTER", "SLOTS")]
        self._nodes = Informants(dialer.node, questions, _read_slots, options.timeout / 3)
        self._lookout = Lookout(self._look, _EVERY)

    async def exchange(self, commands: Sequence[Command], with_wait: bool) -> list[Any]:
        """One round trip to each node concerned, and one more for each redirection."""
        if not self._slots:
            await self._lookout.now()
        if with_wait:
            return await self._exchange_and_wait(commands)
        answers: list[Any] = [None] * len(commands)
        parts = self._split(commands)
        for _ in range(_REDIRECTIONS):
            await self._send(parts, commands, answers)
            parts = await self._redirected(parts, answers)
            if not parts:
                return answers
        raise RedisConnectionError(_ENDLESS)

    async def _exchange_and_wait(self, commands: Sequence[Command]) -> list[Any]:
        """WAIT, the last command, goes with the others to their node; to both nodes when the slot is on its way.

        :raises ValueError: keys of several slots, a mistake of ours.
        """
        last = len(commands) - 1
        if len({key_slot(key) for command in commands if (key := key_of(command)) is not None}) > 1:
            raise ValueError("commands to wait for have keys of several slots")
        answers: list[Any] = [None] * len(commands)
        waits: list[Any] = []
        parts = self._split(commands[:last])
        for _ in range(_REDIRECTIONS):
            for part, indexes in parts.items():
                await self._send_part(part, [*indexes, last], commands, answers)
                if not all(isinstance(answers[index], _ELSEWHERE) for index in indexes):
                    waits.append(answers[last])  # something was carried out there
            parts = await self._redirected(parts, answers)
            if not parts:
                answers[last] = next((wait for wait in waits if isinstance(wait, Exception)), None) or min(waits)
                return answers
        raise RedisConnectionError(_ENDLESS)

    def _split(self, commands: Sequence[Command]) -> dict[Part, list[int]]:
        parts: dict[Part, list[int]] = {}
        anywhere: Address | None = None
        for index, command in enumerate(commands):
            if (key := key_of(command)) is None:
                address = anywhere = anywhere or self._serving(None)
            else:
                address = self._serving(key)
            parts.setdefault((address, False), []).append(index)
        return parts

    def _serving(self, key: bytes | None) -> Address:
        if key is None and self._masters:
            self._turn += 1  # the next one, not a random one: what failed is sent again to another
            return sorted(self._masters)[self._turn % len(self._masters)]
        address = self._slots[key_slot(key)] if key is not None and self._slots else None
        if address is None:
            raise RedisConnectionError(f"no node of the Cluster serves the slot: {self._nodes.trouble}")
        return address

    async def _send(self, parts: dict[Part, list[int]], commands: Sequence[Command], answers: list[Any]) -> None:
        sending = [self._send_part(part, indexes, commands, answers) for part, indexes in parts.items()]
        if len(sending) == 1:
            await sending[0]
            return
        for outcome in await asyncio.gather(*sending, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _send_part(self, part: Part, indexes: list[int], commands: Sequence[Command], answers: list[Any]) -> None:
        address, is_asking = part
        chosen: list[Command] = [commands[index] for index in indexes]
        if is_asking:
            chosen = [sent for command in chosen for sent in (("ASKING",), command)]
        heard = await self._pool(address).exchange(chosen)
        for index, answer in zip(indexes, heard[1::2] if is_asking else heard, strict=True):
            answers[index] = answer

    async def _redirected(self, parts: dict[Part, list[int]], answers: list[Any]) -> dict[Part, list[int]]:
        """What was not carried out because it belongs elsewhere, and where. Nothing, when all is done."""
        again: dict[Part, list[int]] = {}
        for part, indexes in parts.items():
            for index in indexes:
                if (other := self._follow(part, answers[index])) is not None:
                    again.setdefault(other, []).append(index)
        if any(isinstance(answers[index], TryAgainError) for indexes in again.values() for index in indexes):
            await asyncio.sleep(_TRY_AGAIN_SECONDS)
        return again

    def _follow(self, part: Part, answer: Any) -> Part | None:
        if isinstance(answer, TryAgainError):
            return part
        if not isinstance(answer, AskError):
            return None
        address = (answer.host or part[0][0], int(answer.port))
        if address not in self._masters:
            self._meet(address)
        if isinstance(answer, MovedError):
            self._slots[answer.slot_id] = address
            self._lookout.soon()
            return address, False
        return address, True

    def _meet(self, address: Address) -> None:
        """A master that we did not know: whoever follows all masters must hear of it before its data is used."""
        self._strangers[address] = time.monotonic() + _STRANGER_SECONDS
        self._set_masters(self._masters | {address})

    def _set_masters(self, masters: frozenset[Address]) -> None:
        if masters != self._masters:
            self._masters = masters
            self.generation += 1

    def _pool(self, address: Address) -> Pool:
        if (pool := self._pools.get(address)) is None:
            connect, patience = partial(self._dialer.node, address), self._options.timeout / 2
            pool = self._pools[address] = Pool(
                "{}:{}".format(*address), connect, self._options.pool_size, patience=patience
            )
        return pool

    async def mend(self, *, wrong_server: bool) -> None:
        """Asks the nodes who serves what."""
        await self._lookout.now()

    def watch(self) -> None:
        """Asks in the background."""
        self._lookout.soon()

    async def masters(self) -> list[Pool]:
        """Those that serve slots."""
        await self._lookout.now()
        if not self._masters:
            raise RedisConnectionError(f"no node of the Cluster answers: {self._nodes.trouble}")
        return [self._pool(address) for address in sorted(self._masters)]

    async def _look(self) -> None:
        slots = await self._nodes.newest((*self._seeds, *self._masters))
        if slots is None:
            return
        listed, now = frozenset(filter(None, slots)), time.monotonic()
        strangers = ((address, until) for address, until in self._strangers.items() if until > now)
        self._strangers = {address: until for address, until in strangers if address not in listed}
        self._slots = slots
        self._set_masters(listed | self._strangers.keys())
        for address in self._pools.keys() - self._masters:
            self._pools.pop(address).close()

    async def close(self) -> None:
        """Closes every connection and ends the look."""
        await self._lookout.close()
        self._nodes.close()
        for pool in self._pools.values():
            pool.close()


def _read_slots(asked: Address, answers: list[Any]) -> tuple[int, Slots] | None:
    info, ranges = answers
    if not isinstance(info, bytes) or not isinstance(ranges, list):
        return None
    named = dict(line.partition(":")[::2] for line in info.decode().splitlines())
    slots: Slots = [None] * REDIS_CLUSTER_HASH_SLOTS
    for first, last, (host, port, *_), *_ in ranges:
        name = host.decode() if host and host != b"?" else asked[0]  # the node does not know its own name yet
        slots[first : last + 1] = [(name, port)] * (last + 1 - first)
    return int(named.get("cluster_current_epoch", "0")), slots
