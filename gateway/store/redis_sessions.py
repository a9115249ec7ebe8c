"""The session engine on Redis (6.2 or newer).

Two keys a session, in one slot of a Cluster: ``<prefix>s:{name}`` holds the sealed record, ``<prefix>t:{name}`` when it
was last touched. What slides stands apart from the record so that a touch never rewrites it: a touch that ran beside a
write could otherwise undo it.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from gateway.store.engine import Kept
from gateway.store.redis import RedisLink

# KEYS: record, touched. ARGV: value, touched (ms), ttl (ms). One step, so that a delete in between cannot leave half.
_UPDATE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1
"""
_CREATE = _UPDATE.replace("== 0", "== 1")
# KEYS as above. ARGV: touched (ms), ttl (ms).
_TOUCH = """
if redis.call('PEXPIRE', KEYS[1], ARGV[2]) == 0 then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
"""


class RedisSessionEngine:
    """A :class:`gateway.store.engine.SessionEngine`."""

    def __init__(self, link: RedisLink, prefix: str) -> None:
        self._link = link
        self._prefix = prefix.encode()

    def _keys(self, name: bytes) -> tuple[bytes, bytes]:
        return self._prefix + b"s:{" + name + b"}", self._prefix + b"t:{" + name + b"}"

    async def load(self, name: bytes) -> Kept | None:
        """One round trip. A record whose touch is gone counts as touched when it was written: the caller knows when."""
        keys = self._keys(name)

        async def read(redis: Redis) -> Any:
            return await redis.mget(keys)

        value, touched = await self._link.run(read)
        if value is None:
            return None
        return Kept(value, int(touched) / 1000 if touched is not None and touched.isdigit() else None)

    async def create(self, name: bytes, value: bytes, touched: float, ttl: float) -> bool:
        """Keeps it only if nothing is there. Repeated after a lost answer it says False: the caller takes another name."""
        return await self._script(_CREATE, name, value, _ms(touched), _ms(ttl))

    async def update(self, name: bytes, value: bytes, touched: float, ttl: float) -> bool:
        """Keeps it only if it is still there."""
        return await self._script(_UPDATE, name, value, _ms(touched), _ms(ttl))

    async def touch(self, name: bytes, touched: float, ttl: float) -> None:
        """Moves the end of both keys."""
        await self._script(_TOUCH, name, _ms(touched), _ms(ttl))

    async def _script(self, script: str, name: bytes, *arguments: bytes | int) -> bool:
        keys = self._keys(name)

        async def run(redis: Redis) -> Any:
            return await redis.eval(script, len(keys), *keys, *arguments)

        return bool(await self._link.run(run) == 1)

    async def delete(self, name: bytes) -> bool:
        """Plain DEL: it works at ``maxmemory`` too (hazard R9)."""
        keys = self._keys(name)

        async def remove(redis: Redis) -> int:
            return await redis.delete(*keys)

        return await self._link.run(remove) > 0

    async def ping(self) -> None:
        """Returns when Redis answers PONG."""

        async def ping(redis: Redis) -> Any:
            return await redis.ping()

        await self._link.run(ping)

    async def close(self) -> None:
        """Closes the link."""
        await self._link.close()


def _ms(seconds: float) -> int:
    return max(int(seconds * 1000), 1)
