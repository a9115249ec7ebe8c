"""API keys in Redis (6.2 or newer), in every topology.

``<prefix>apikey:<id>`` holds the sealed record; below it every change is told to the processes that keep keys.
``<prefix>apikeyused:<id>`` says when it was used last, and stands apart for that reason. ``<prefix>apikeys:u:<owner>`` lists
somebody's keys and ``<prefix>apikeys:all`` all of them, scored by when they vanish (epoch ms): :data:`LINGER` after their end.
Every name ends by itself then.

The lists are in other slots of a Cluster than the records, so no step covers both. The record alone is the truth, and is
written first: who reads a list takes out what has no record (any more), and must not meet a key that is just being made. A
record that got into no list is no danger: nobody was told its secret.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.store.api_key_store import LINGER, Sealed
from gateway.store.engine import Gone, Kept
from gateway.store.redis import RedisLink

# KEYS: the list. ARGV: now (ms), score, id, how many at most, what vanishes until then has expired (ms). Answers 0 when it is
# full. The list lives as long as its last entry. Repeated after a lost answer it finds its entry there.
_ADD = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1])
local living = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[5], '+inf')
if #living >= tonumber(ARGV[4]) and not redis.call('ZSCORE', KEYS[1], ARGV[3]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[3])
redis.call('PEXPIREAT', KEYS[1], redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2])
return 1
"""
# KEYS: the record. ARGV: what it was, what it is now.
_REPLACE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
"""
_RECORD, _USED, _LISTS = b"apikey:", b"apikeyused:", b"apikeys:"
_UNLIMITED = 1 << 53
_NEVER = 32_503_680_000.0  # the year 3000: a name without an end would need PERSIST, which nothing else here needs
_UNUSED = 400 * 86400.0
"""Seconds after which it is forgotten when a key that never expires was used last."""


def tracked_prefix(prefix: bytes) -> bytes:
    """Below this every change means something to those who keep keys in their process."""
    return prefix + _RECORD


class RedisApiKeyStore:
    """An :class:`~gateway.store.api_key_store.ApiKeyStore`. The link is somebody else's to close."""

    def __init__(self, link: RedisLink, prefix: str) -> None:
        self._link = link
        self._prefix = prefix.encode()

    def _record(self, key_id: str) -> bytes:
        return self._prefix + _RECORD + key_id.encode()

    def _used(self, key_id: str) -> bytes:
        return self._prefix + _USED + key_id.encode()

    def _list(self, owner: bytes | None) -> bytes:
        return self._prefix + _LISTS + (b"all" if owner is None else b"u:" + owner)

    async def load(self, key_ids: Sequence[bytes]) -> list[Kept | Gone]:
        """One round trip."""
        start = tracked_prefix(self._prefix)
        values = await self._link.pipeline([(b"GET", start + key_id) for key_id in key_ids])
        return [Kept(value, None) if value is not None else Gone() for value in values]

    async def create(self, key: Sealed, others: int, most: int, now: float) -> bool:
        """The record, then the lists; that of its owner keeps the limit in one step."""
        record = self._record(key.id)
        lasts = max(_vanishes(key.expires) - _ms(now), 1)
        await self._link.pipeline([(b"SET", record, key.value, b"PX", lasts)], durable=True)
        if not await self._add(key.owner, key, most - others, now):
            await self._link.pipeline([(b"DEL", record)])
            return False
        await self._add(None, key, _UNLIMITED, now)
        return True

    async def _add(self, owner: bytes | None, key: Sealed, most: int, now: float) -> bool:
        arguments = (_ms(now), _vanishes(key.expires), key.id.encode(), most, _ms(now + LINGER))
        (added,) = await self._link.pipeline([(b"EVAL", _ADD, 1, self._list(owner), *arguments)])
        return bool(added == 1)

    async def replace(self, key: Sealed, old: bytes, now: float) -> None:
        """The list under the newer name comes first: what is listed twice is shown once."""
        await self._add(key.owner, key, _UNLIMITED, now)
        await self._link.pipeline([(b"EVAL", _REPLACE, 1, self._record(key.id), old, key.value)])

    async def delete(self, key_id: str, owners: Sequence[bytes]) -> bool:
        """The record first: from then on the key opens nothing. DEL works at ``maxmemory``, too (hazard R9)."""
        (there,) = await self._link.pipeline([(b"DEL", self._record(key_id))], durable=True)
        lists = [(b"ZREM", self._list(owner), key_id.encode()) for owner in (*owners, None)]
        await self._link.pipeline([(b"DEL", self._used(key_id)), *lists])
        return bool(there)

    async def owned(self, owner: bytes) -> list[str]:
        """Those that end first come first."""
        return await self._listed(owner)

    async def everything(self) -> list[str]:
        """Those that end first come first."""
        return await self._listed(None)

    async def _listed(self, owner: bytes | None) -> list[str]:
        (names,) = await self._link.pipeline([(b"ZRANGE", self._list(owner), 0, -1)])
        return [name.decode("ascii", "replace") for name in names]

    async def disown(self, owner: bytes | None, key_ids: Sequence[str]) -> None:
        """One command."""
        if key_ids:
            await self._link.pipeline([(b"ZREM", self._list(owner), *(one.encode() for one in key_ids))])

    async def uses(self, key_ids: Sequence[str]) -> list[float | None]:
        """One round trip. Nobody vouches for these: they are for people who look."""
        values = await self._link.pipeline([(b"GET", self._used(key_id)) for key_id in key_ids]) if key_ids else []
        return [float(value) if value is not None and value.isdigit() else None for value in values]

    async def note_use(self, key_id: str, at: float, expires: float | None) -> None:
        """Ends with the key, or after some time."""
        seconds = _UNUSED if expires is None else expires + LINGER - at
        await self._link.pipeline([(b"SET", self._used(key_id), int(at), b"PX", max(_ms(seconds), 1))])

    async def close(self) -> None:
        """The link is somebody else's."""


def _vanishes(expires: float | None) -> int:
    """In epoch ms."""
    return _ms(_NEVER if expires is None else expires + LINGER)


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
